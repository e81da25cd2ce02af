"""Entries that a device sends: verified, then added to their chain, and the chain's new head witnessed.

At-least-once delivery becomes exactly once here: what is there already is counted as a duplicate. What does not fit is
refused whole, and what it shows is kept as evidence: a gap (something between is missing), a fork (the device signed
two different entries of one number, or continued another past than the one that is here).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, func, insert, select

from rollback_console.hub.database import Database
from rollback_console.hub.devices import Device
from rollback_console.hub.log import Head, Log, head_of
from rollback_console.hub.problems import Problem
from rollback_console.hub.tables import chains, claims, entries, evidence, messages
from rollback_console.journal import chain as chain_format
from rollback_console.journal.chain import Row
from rollback_console.journal.device import public_key, signed_by
from rollback_console.journal.receipt import Receipt
from rollback_console.model.value import dataclass

MOST = 1_000  # entries a request may carry
_INTEGER = 2**63
_EVIDENCE_A_CHAIN = 1_000  # a device that forks without end fills no disk


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of one delivery."""

    accepted: int
    duplicates: int
    head: Head
    receipt: Receipt


def append(database: Database, log: Log, device: Device, chain: str, prev: str, rows: Sequence[Row]) -> Appended:
    """Add `rows` (contiguous, `prev` before the first) to `chain`. Raises Problem: 403, 409, 422, 503."""
    if not rows:
        raise Problem(422, "bad-entry", "there are no entries", seq=0)
    if len(rows) > MOST:
        raise Problem(413, "too-large", f"a request carries at most {MOST} entries")
    known = _owner(database, chain)
    if known is not None and known[0] != device.id:
        raise Problem(403, "not-yours", "this chain belongs to another device")
    parsed = _verify(chain, prev, rows, public_key(known[1] if known is not None else device.key))
    if known is None and rows[0].seq > 1:
        _keep(database, "gap", device, chain, rows[0])
        raise _gap(Head(0, ""))
    rehearsal = _genesis(device, chain, parsed[0]) if known is None else False
    incidents = [_incident(row.kind, body) for row, body in zip(rows, parsed, strict=True)]
    try:
        with database.writing(log=True) as connection:
            log.must_not_be_halted(connection)
            accepted = _insert(database, log, connection, device, chain, rows, incidents, rehearsal)
    except _Refused as refused:
        _keep(database, refused.problem.code, device, chain, refused.row)
        raise refused.problem from None
    receipt = log.receipt(chain)
    if receipt is None:
        raise Problem(500, "defect", "a chain without a receipt")
    return Appended(accepted, len(rows) - accepted, Head(receipt.seq, receipt.hash), receipt)


class _Refused(Exception):
    def __init__(self, problem: Problem, row: Row) -> None:
        self.problem = problem
        self.row = row


def _owner(database: Database, chain: str) -> tuple[str, str] | None:
    with database.reading() as connection:
        found = connection.execute(select(chains.c.device, chains.c.key).where(chains.c.chain == chain)).one_or_none()
    return None if found is None else (found.device, found.key)


def _verify(chain: str, prev: str, rows: Sequence[Row], key: Ed25519PublicKey) -> list[Any]:
    """The bodies' values, once everything about the entries holds that they themselves can show. Raises Problem."""
    seq, bodies = rows[0].seq, []
    if (seq == 1) != (prev == ""):
        raise _bad(seq, "`prev` is empty before the first entry, and only there")
    for row in rows:
        if row.seq != seq or row.prev != prev:
            raise _bad(row.seq, "it does not follow the entry before it")
        if row.chain != chain:
            raise _bad(seq, "it is of another chain")
        if not (0 < row.seq < _INTEGER and abs(row.at) < _INTEGER and abs(row.mono) < _INTEGER):
            raise _bad(seq, "a number is out of range")
        if "\0" in f"{row.kind}{row.deployment}{row.operator}{row.body}":
            raise _bad(seq, "it holds a NUL character, which PostgreSQL cannot keep")
        try:
            right = chain_format.row_hash(row) == row.hash
        except UnicodeEncodeError:
            right = False
        if not right:
            raise _bad(seq, "its hash is not that of its content")
        if not signed_by(key, row.hash, row.signature):
            raise _bad(seq, "its signature is not the device's")
        try:
            bodies.append(chain_format.parse_body(row.body))
        except ValueError as error:
            raise _bad(seq, f"its body is not canonical JSON: {error}") from None
        seq, prev = row.seq + 1, row.hash
    return bodies


def _bad(seq: int, detail: str) -> Problem:
    return Problem(422, "bad-entry", "an entry does not verify", detail, seq=seq)


def _genesis(device: Device, chain: str, body: Any) -> bool:
    """Is it a rehearsal's chain. Raises Problem when the first entry does not say that this chain is this device's."""
    if not isinstance(body, dict) or body.get("chain") != chain:
        raise _bad(1, "the first entry names another chain")
    if body.get("device") != device.key:
        raise _bad(1, "the first entry names another device's key")
    return body.get("rehearsal") is True


def _incident(kind: str, body: Any) -> str:
    """The incident that an entry is about, where its body says it in the way that ours do."""
    found = body.get("id" if kind == "incident" else "incident") if isinstance(body, dict) else None
    return found if isinstance(found, str) else ""


def _insert(
    database: Database, log: Log, connection: Connection, device: Device, chain: str, rows: Sequence[Row],
    incidents: Sequence[str], rehearsal: bool,
) -> int:  # fmt: skip
    """Inside the log's transaction: what is new, and the leaf of the new head; how many. Raises _Refused."""
    head = head_of(connection, chain)
    if rows[0].seq > head.seq + 1:
        raise _Refused(_gap(head), rows[0])
    if rows[0].seq == head.seq + 1 and rows[0].prev != head.hash:
        raise _Refused(_fork(head, head.seq), rows[0])
    _compare(connection, chain, head, rows)
    fresh = [(row, incident) for row, incident in zip(rows, incidents, strict=True) if row.seq > head.seq]
    if not fresh:
        return 0
    now = database.now(connection)
    if head.seq == 0:
        first = {"chain": chain, "device": device.id, "key": device.key, "at": now, "rehearsal": int(rehearsal)}
        connection.execute(insert(chains), first)
    position = last_position(connection)
    new = [
        {"position": position + n, **row._asdict(), "incident": incident, "received": now}
        for n, (row, incident) in enumerate(fresh, start=1)
    ]
    database.add(connection, entries, new)
    last = fresh[-1][0]
    log.append(connection, chain, Head(last.seq, last.hash), now)
    return len(fresh)


def _compare(connection: Connection, chain: str, head: Head, rows: Sequence[Row]) -> None:
    """What is here already is what came again. Raises _Refused with the first entry that is not."""
    first, last = rows[0].seq, min(rows[-1].seq, head.seq)
    if first > last:
        return
    found = (
        connection.execute(
            select(entries.c.hash)
            .where(entries.c.chain == chain, entries.c.seq >= first, entries.c.seq <= last)
            .order_by(entries.c.seq)
        )
        .scalars()
        .all()
    )  # all: a statement that is left half read holds SQLite's lock beyond its transaction
    for row, ours in zip(rows, found, strict=False):
        if row.hash != ours:
            raise _Refused(_fork(head, row.seq), row)


def last_position(connection: Connection) -> int:
    """The last number of all that is numbered: stable inside the log's transaction."""
    found = [
        connection.execute(select(func.max(table.c.position))).scalar_one() for table in (entries, messages, claims)
    ]
    return max((int(each) for each in found if each is not None), default=0)


def _gap(head: Head) -> Problem:
    return Problem(409, "gap", "entries between are missing", head={"seq": head.seq, "hash": head.hash})


def _fork(head: Head, seq: int) -> Problem:
    return Problem(
        409, "fork", "another entry of this number is here",
        "this chain was continued twice: a copied or restored device",
        head={"seq": head.seq, "hash": head.hash}, seq=seq,
    )  # fmt: skip


def _keep(database: Database, code: str, device: Device, chain: str, row: Row) -> None:
    """The entry that shows it, once."""
    with database.writing(log=True) as connection:
        same = evidence.c.code == code, evidence.c.chain == chain
        if connection.execute(
            select(evidence.c.id).where(*same, evidence.c.seq == row.seq, evidence.c.digest == row.hash)
        ).one_or_none():
            return
        if connection.execute(select(func.count()).where(*same)).scalar_one() >= _EVIDENCE_A_CHAIN:
            return
        last = connection.execute(select(func.max(evidence.c.id))).scalar_one() or 0
        shown = {**row._asdict(), "at": str(row.at), "mono": str(row.mono), "signature": row.signature.hex()}
        connection.execute(
            insert(evidence),
            {"id": last + 1, "at": database.now(connection), "code": code, "device": device.id, "chain": chain,
             "seq": row.seq, "digest": row.hash, "detail": json.dumps(shown)},
        )  # fmt: skip

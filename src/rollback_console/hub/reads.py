"""What the hub holds, read back: chains, a chain's entries, and one timeline over all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from rollback_console.hub.database import Database
from rollback_console.hub.tables import chains, entries, evidence
from rollback_console.hub.wire import entry_out
from rollback_console.model.value import dataclass

PAGE = 1_000
_BYTES = 8 * 1024 * 1024  # an answer's bodies; a page ends early rather than to be larger


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries of the timeline: exact matches, "" for any; `since` is the entries' own time, nanoseconds."""

    deployment: str = ""
    incident: str = ""
    operator: str = ""
    kind: str = ""
    since: int | None = None


def all_chains(database: Database, chain: str = "") -> list[dict[str, Any]]:
    """Every chain (or the one) with its device and its head."""
    last = select(entries.c.chain, func.max(entries.c.seq).label("seq")).group_by(entries.c.chain)
    if chain:
        last = last.where(entries.c.chain == chain)
    heads = last.subquery()
    query = (
        select(chains, heads.c.seq, entries.c.hash)
        .join(heads, heads.c.chain == chains.c.chain)
        .join(entries, (entries.c.chain == chains.c.chain) & (entries.c.seq == heads.c.seq))
        .order_by(chains.c.at, chains.c.chain)
    )
    with database.reading() as connection:
        return [
            {"chain": row.chain, "device": row.device, "key": row.key, "rehearsal": bool(row.rehearsal),
             "head": {"seq": row.seq, "hash": row.hash}}
            for row in connection.execute(query)
        ]  # fmt: skip


def chain_entries(database: Database, chain: str, after: int, limit: int) -> list[dict[str, Any]]:
    """Entries of one chain with seq > after."""
    query = select(entries).where(entries.c.chain == chain, entries.c.seq > after).order_by(entries.c.seq)
    with database.reading() as connection:
        return _page(connection, query.limit(min(limit, PAGE)))


def timeline(database: Database, wanted: Wanted, after: int, limit: int) -> list[dict[str, Any]]:
    """Entries of all chains with position > after, in the order in which they came here."""
    with database.reading() as connection:
        return timeline_page(connection, wanted, after, limit)


def timeline_page(connection: Connection, wanted: Wanted, after: int, limit: int) -> list[dict[str, Any]]:
    query = select(entries).where(entries.c.position > after).order_by(entries.c.position)
    for column in ("deployment", "incident", "operator", "kind"):
        if value := getattr(wanted, column):
            query = query.where(entries.c[column] == value)
    if wanted.since is not None:
        query = query.where(entries.c.at >= wanted.since)
    return _page(connection, query.limit(min(limit, PAGE)))


def _page(connection: Connection, query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    size = 0
    with connection.execute(query) as rows:  # closed when left early: half read, it would hold SQLite's lock
        for row in rows:
            size += len(row.body)
            if found and size > _BYTES:
                break
            found.append(entry_out(row))
    return found


def counted(values: Sequence[dict[str, Any]], name: str, after: int) -> int:
    """`after` of the next page."""
    return int(values[-1][name]) if values else after


def shown_evidence(database: Database) -> list[dict[str, Any]]:
    """What was refused as a gap or a fork and kept, oldest first: the entry itself is in `detail`."""
    with database.reading() as connection:
        rows = connection.execute(select(evidence).order_by(evidence.c.id)).all()
    return [
        {"at": row.at, "code": row.code, "device": row.device, "chain": row.chain, "seq": row.seq, "hash": row.digest,
         "entry": json.loads(row.detail)}
        for row in rows
    ]  # fmt: skip

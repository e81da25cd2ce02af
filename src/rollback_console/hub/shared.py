"""What consoles share beside their journals: blobs, one snapshot of the fleet an environment, and leases.

A lease is fenced: its token grows with every holder, so that one who was slow is told apart from the one who has it
now. Leases end by the database's clock, which all processes of a hub share; after a restore from a backup, tokens go on
beyond all earlier ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from rollback_console.hub.database import Database
from rollback_console.hub.devices import Device
from rollback_console.hub.problems import Problem
from rollback_console.hub.tables import blobs, epochs, leases, snapshots
from rollback_console.journal.blobs import pack, unpack
from rollback_console.model.times import written

NS = 1_000_000_000
_TOKENS = 2**20  # leases a second that a restored hub is sure not to have given before


def rfc3339(nanos: int) -> str:
    return written(nanos / NS)


def next_version(connection: Connection, table: Table) -> int:
    """One more than any row's; inside the log's transaction, so that followers see them in order."""
    return int(connection.execute(select(func.max(table.c.version))).scalar_one() or 0) + 1


# -- blobs ------------------------------------------------------------------------------------------------------------


def put_blob(database: Database, device: Device, digest: str, data: bytes) -> None:
    """Raises Problem when the bytes are not those that the digest names."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise Problem(422, "bad-digest", "the bytes are not what the digest names")
    _, size, packed = pack(data)
    with database.writing() as connection:
        if connection.execute(select(blobs.c.size).where(blobs.c.digest == digest)).one_or_none() is not None:
            return
        row = {"digest": digest, "size": size, "data": packed, "device": device.id, "at": database.now(connection)}
        if database.postgresql:
            from sqlalchemy.dialects.postgresql import insert as upsert

            connection.execute(upsert(blobs).on_conflict_do_nothing(), row)  # two consoles may bring it at once
        else:
            connection.execute(insert(blobs), row)


def get_blob(database: Database, digest: str) -> bytes:
    """Raises Problem where it is not here, or no longer whole."""
    with database.reading() as connection:
        found = connection.execute(select(blobs).where(blobs.c.digest == digest)).one_or_none()
    data = unpack(found.size, bytes(found.data)) if found is not None else None
    if data is None or hashlib.sha256(data).hexdigest() != digest:
        raise Problem(404, "no-such-blob", "this blob is not here")
    return data


def missing_blobs(database: Database, digests: Sequence[str]) -> list[str]:
    """Those that are not here, in the order asked, each once."""
    known: set[str] = set()
    with database.reading() as connection:
        for start in range(0, len(digests), 500):
            some = digests[start : start + 500]
            known.update(connection.execute(select(blobs.c.digest).where(blobs.c.digest.in_(some))).scalars().all())
    return [digest for digest in dict.fromkeys(digests) if digest not in known]


# -- leases -----------------------------------------------------------------------------------------------------------


def lease_event(row: Any) -> dict[str, Any]:
    return {
        "name": row.name, "token": row.token, "holder": row.holder, "device": row.device,
        "expires_at": rfc3339(row.expires_at),
    }  # fmt: skip


def take_lease(database: Database, device: Device, name: str, holder: str, ttl_s: float) -> dict[str, Any]:
    """A lease nobody holds now, with a token above all earlier ones. Raises Problem 409 with who has it."""
    with database.writing(log=True) as connection:
        now = database.now(connection)
        found = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
        if found is not None and found.expires_at > now:
            raise _held(found)
        until = now + round(ttl_s * NS)
        new = {
            "token": max(found.token if found is not None else 0, _first_token(connection)) + 1,
            "holder": holder, "device": device.id, "expires_at": until,
            "version": next_version(connection, leases),
        }  # fmt: skip
        if found is None:
            connection.execute(insert(leases), {"name": name, **new})
        else:
            connection.execute(update(leases).where(leases.c.name == name).values(**new))
    return {"name": name, "holder": holder, "device": device.id, "token": new["token"],
            "expires_at": rfc3339(until)}  # fmt: skip


def _first_token(connection: Connection) -> int:
    """Below every token of this epoch and above every one of those before, which a backup does not know: made of the
    time of the restore. Below 2**53 until the year 2242."""
    last = connection.execute(
        select(epochs.c.number, epochs.c.at).order_by(epochs.c.number.desc()).limit(1)
    ).one_or_none()
    return 0 if last is None or last.number == 1 else int(last.at) // NS * _TOKENS


def renew_lease(database: Database, device: Device, name: str, token: int, ttl_s: float) -> dict[str, Any]:
    """The same lease for longer. Raises Problem 409 when it ended, or is somebody else's by now."""
    with database.writing(log=True) as connection:
        now = database.now(connection)
        found = _ours(connection, device, name, token, now)
        until = now + round(ttl_s * NS)
        version = next_version(connection, leases)
        connection.execute(update(leases).where(leases.c.name == name).values(expires_at=until, version=version))
    return {**lease_event(found), "expires_at": rfc3339(until)}


def release_lease(database: Database, device: Device, name: str, token: int) -> None:
    """Raises Problem 409 when it ended, or is somebody else's by now."""
    with database.writing(log=True) as connection:
        now = database.now(connection)
        _ours(connection, device, name, token, now)
        version = next_version(connection, leases)
        connection.execute(update(leases).where(leases.c.name == name).values(expires_at=now, version=version))


def get_lease(database: Database, name: str) -> dict[str, Any]:
    """Who holds it now. Raises Problem 404 when nobody does."""
    with database.reading() as connection:
        found = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
        if found is None or found.expires_at <= database.now(connection):
            raise Problem(404, "no-such-lease", "nobody holds this lease")
    return lease_event(found)


def _ours(connection: Connection, device: Device, name: str, token: int, now: int) -> Any:
    found = connection.execute(select(leases).where(leases.c.name == name)).one_or_none()
    if found is not None and found.token == token and found.device == device.id and found.expires_at > now:
        return found
    if found is not None and found.expires_at > now:
        raise _held(found)
    raise Problem(409, "lease-ended", "this lease has ended", "take it again, and look before you go on")


def _held(row: Any) -> Problem:
    return Problem(409, "held", "somebody else holds this lease", holder=row.holder, expires_at=rfc3339(row.expires_at))


# -- snapshots --------------------------------------------------------------------------------------------------------


def put_snapshot(database: Database, device: Device, environment: str, data: bytes, token: int) -> str:
    """The fleet as the holder of `poll/<environment>` sees it; its ETag. Raises Problem 409 for an old token."""
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    with database.writing(log=True) as connection:
        now = database.now(connection)
        _ours(connection, device, f"poll/{environment}", token, now)
        row = {
            "environment": environment, "etag": etag, "data": data, "token": token, "device": device.id, "at": now,
            "version": next_version(connection, snapshots),
        }  # fmt: skip
        connection.execute(delete(snapshots).where(snapshots.c.environment == environment))
        connection.execute(insert(snapshots), row)
    return etag


def get_snapshot(database: Database, environment: str, etag: str = "") -> tuple[Any, bytes | None]:
    """(row of etag, at, token; the bytes, None where the caller's `etag` is still right). Raises Problem 404."""
    with database.reading() as connection:
        current = connection.execute(
            select(snapshots.c.etag, snapshots.c.at, snapshots.c.token).where(snapshots.c.environment == environment)
        ).one_or_none()
        if current is None:
            raise Problem(404, "no-such-snapshot", "nobody has shared a snapshot of this environment")
        if current.etag == etag:
            return current, None
        data = connection.execute(select(snapshots.c.data).where(snapshots.c.environment == environment)).scalar_one()
    return current, bytes(data)


def snapshot_event(row: Any) -> dict[str, Any]:
    return {"environment": row.environment, "etag": row.etag, "at": rfc3339(row.at), "device": row.device}

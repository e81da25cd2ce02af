"""Making a journal: the file whole, or not at all; and the sealing of one row."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rollback_console.clock import Clock
from rollback_console.errors import JournalUnwritable
from rollback_console.journal import chain as chains
from rollback_console.journal.body import rules_of
from rollback_console.journal.chain import Row
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Body, Genesis
from rollback_console.journal.redact import clean

INSERT = f"INSERT INTO entries ({', '.join(chains.COLUMNS)}) VALUES ({', '.join('?' * len(chains.COLUMNS))})"  # noqa: S608 - column names of our own


def create(path: Path, device: DeviceKey, clock: Clock, genesis: Genesis) -> None:
    """Make the file whole, tables and genesis, under another name, and link it into place: nobody ever opens half a
    journal, and of several processes that race one wins and the others open its file. So a journal that is found
    empty was emptied by somebody, and is refused. Raises sqlite3.Error and OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with made_whole(path, _link) as connection:
        connection.execute(INSERT, first_row(device, clock, genesis))


def first_row(device: DeviceKey, clock: Clock, genesis: Genesis) -> Row:
    """The genesis entry, sealed."""
    return seal(device, genesis.chain, 1, times(clock), ("genesis", canonical_body(genesis), "", ""), "")


def times(clock: Clock) -> tuple[int, int]:
    """The wall's and the monotonic time, whole nanoseconds."""
    return chains.nanoseconds(clock.now()), chains.nanoseconds(clock.monotonic())


@contextmanager
def made_whole(path: Path, place: Callable[[Path, Path], None]) -> Iterator[sqlite3.Connection]:
    """A file with the journal's tables, under another name: within, its one transaction; afterwards, durable,
    `place(temporary, path)` puts it where it belongs. An error leaves nothing behind."""
    from rollback_console.journal.schema import migrate  # sqlite_utils: 73 ms, needed once in a file's life

    temp = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    os.close(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        connection = sqlite3.connect(temp, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("BEGIN IMMEDIATE")
            migrate(connection)
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()
        place(temp, path)
    finally:
        for end in ("", "-journal"):
            Path(f"{temp}{end}").unlink(missing_ok=True)


def _link(temp: Path, path: Path) -> None:
    with suppress(FileExistsError):
        try:
            os.link(temp, path)
        except PermissionError:  # a file system without hard links (FAT, some shares): the last to rename wins
            os.rename(temp, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make what was linked or renamed in it durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(
    device: DeviceKey, chain: str, seq: int, time: tuple[int, int], what: tuple[str, str, str, str], prev: str
) -> Row:
    """A row with its hash and signature. `what` is (kind, body, deployment, operator)."""
    kind, body, deployment, operator = what
    hash_ = chains.digest(chains.envelope(chain, seq, *time, kind, deployment, operator, body.encode(), prev))
    return Row(chain, seq, *time, kind, deployment, operator, body, prev, hash_, device.sign_hash(hash_))


def canonical_body(body: Body, keep: frozenset[str] = frozenset()) -> str:
    """A body's RFC 8785 text, every field's rule of redaction applied (`keep`: operators' names, which may be e-mail
    addresses). Python values, not pydantic's JSON mode, which would write a NaN as null in silence.

    Lone surrogates become U+FFFD: UTF-8 has no bytes for them, and one of them in what waits to be written must not
    keep everything else out of the journal.
    """
    document = clean(body.model_dump(), rules_of(type(body)), keep)
    try:
        return chains.canonical(document).decode()
    except ValueError as error:
        with suppress(ValueError):
            return chains.canonical(writable(document)).decode()
        raise JournalUnwritable(
            f"an entry of kind {body.kind} holds a value that cannot be recorded exactly ({error})",
            "this is a defect: numbers that may be infinite are recorded as words",
        ) from error


def writable(value: Any) -> Any:
    """The value with lone surrogates as U+FFFD, as `canonical_body` writes it."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {writable(key): writable(item) for key, item in value.items()}
    return [writable(item) for item in value] if isinstance(value, list | tuple) else value

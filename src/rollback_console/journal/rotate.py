"""Rotation: a journal's file is closed, and the chain goes on in a new one under the same name.

What happens, in this order, so that a process that dies anywhere leaves something that the next one finishes:

1. The file is marked as closed, durably: from then on its own triggers refuse every entry.
2. Its digest is taken, and it gets a second name, in `<journal>.segments`.
3. A new file is made whole, beside: its first entry names the closed one, by digest, last number and last hash.
4. The new file takes the name, in one step. Who had the old one open finds that out with the next append or read.

One process at a time does this, under `<journal>.rotating`; others that want to append wait for it, or finish it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from rollback_console.clock import Clock
from rollback_console.errors import JournalBusy, JournalUnwritable, Refused
from rollback_console.journal import chain as chains
from rollback_console.journal import database, segments
from rollback_console.journal.create import INSERT, canonical_body, made_whole, seal, sync_folder, times
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import SegmentBegun
from rollback_console.journal.locks import RotationLock
from rollback_console.journal.store import Journal
from rollback_console.version import __version__

CLOSED = "closed"
_PAUSE_S, _WAIT_S = 0.01, 30.0


def rotate(journal: Journal) -> Entry:
    """Close the journal's file and go on in a new one; the first entry of that. Raises Refused where there is nothing
    to close or another process keeps the file from it, `JournalError` where it cannot be done."""
    device = journal.device_key
    if device is None:
        raise JournalUnwritable(f"the journal {journal.path} is open for reading alone", "open it for appending")
    if journal.count_here() < 2:
        raise Refused(f"the file {journal.path} holds no entry but its first", "nothing to close")
    lock = RotationLock(journal.path)
    if not lock.try_acquire("rotates"):
        raise Refused("another process rotates this journal now", "nothing to do")
    with lock:
        journal.mark_closed()
        finish(journal.path, device, journal.clock)
    journal.follow()
    entry = journal.first_here()
    assert entry is not None  # noqa: S101 - it was made with it
    return entry


def finish_for(path: Path, device: DeviceKey, clock: Clock) -> None:
    """For an append that found its file closed: wait for whoever rotates, or finish what a dead one left. Raises
    JournalBusy when that takes too long."""
    lock, until = RotationLock(path), time.monotonic() + _WAIT_S
    while not lock.try_acquire("finishes a rotation"):
        if time.monotonic() > until:
            raise JournalBusy(f"the journal {path} is being rotated", "`rollback-console journal status` says who")
        time.sleep(_PAUSE_S)  # another process is at it: it takes as long as hashing the file
    with lock:
        finish(path, device, clock)


def finish(path: Path, device: DeviceKey, clock: Clock) -> None:
    """Make the file after one that is marked as closed, with the lock held; nothing where that was done already."""
    connection = database.connect(path)
    try:
        if not is_closed(connection):
            return
        _plain(connection, path)
        chain, first, last, hash_ = connection.execute(
            "SELECT chain, min(seq), max(seq), (SELECT hash FROM entries ORDER BY seq DESC LIMIT 1) FROM entries"
        ).fetchone()
        kind, text = connection.execute("SELECT kind, body FROM entries ORDER BY seq LIMIT 1").fetchone()
    except database.ERRORS as error:
        raise database.translate(error, path) from error
    finally:
        connection.close()
    before = chains.parse_canonical(text)
    body = SegmentBegun(
        chain=chain, device=device.public_openssh(), program=f"rollback-console {__version__}",
        rehearsal=before.get("rehearsal") is True, number=before["number"] + 1 if kind == segments.KIND else 2,
        before=segments.name(first, last), digest=segments.file_digest(path), first_seq=first, last_seq=last,
        last=hash_,
    )  # fmt: skip
    try:
        _keep(path, body.before)
        _replace(path, device, clock, body)
    except database.ERRORS as error:
        raise database.translate(error, path) from error
    except OSError as error:
        raise JournalUnwritable(
            f"the journal {path} cannot be rotated ({error.strerror or error})", "make its folder writable, free space"
        ) from error


def is_closed(connection: sqlite3.Connection) -> bool:
    """Was this file marked as closed."""
    return connection.execute("SELECT 1 FROM meta WHERE name = ?", (CLOSED,)).fetchone() is not None


def _plain(connection: sqlite3.Connection, path: Path) -> None:
    """Out of WAL mode, so that the file is all there is: its companions are found by its name, which it gives up."""
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        return
    try:
        connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()
    except sqlite3.OperationalError as error:
        if database.primary_code(error) != sqlite3.SQLITE_BUSY:
            raise
        raise JournalBusy(
            f"the journal {path} is in WAL mode and open in other processes", "close them, and rotate again"
        ) from error


def _keep(path: Path, name: str) -> None:
    """The closed file's second name."""
    place = segments.folder(path)
    place.mkdir(mode=0o700, exist_ok=True)
    kept = place / name
    if not kept.exists():
        os.link(path, kept)
    sync_folder(place)


def _replace(path: Path, device: DeviceKey, clock: Clock, body: SegmentBegun) -> None:
    """The new file, made whole under another name, takes the name."""
    with made_whole(path, _rename) as connection:
        after = [("after", str(body.last_seq)), ("after_hash", body.last)]
        connection.executemany("INSERT INTO meta (name, value) VALUES (?, ?)", after)
        what = (segments.KIND, canonical_body(body), "", "")
        connection.execute(INSERT, seal(device, body.chain, body.last_seq + 1, times(clock), what, body.last))


def _rename(temp: Path, path: Path) -> None:
    os.rename(temp, path)
    sync_folder(path.parent)

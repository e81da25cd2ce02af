"""The SQLite file under a journal: how it is opened, how it is read in pages, and what its errors mean.

No pydantic, no sqlite_utils: `journal verify` and an open that finds its file in order use the standard library alone.

Never open a journal's file by other means than SQLite in a process that may have it open: closing *any* descriptor of
a file drops all POSIX locks the process holds on it, SQLite's included.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollback_console.errors import JournalBroken, JournalBusy, JournalError, JournalUnwritable, UsageError
from rollback_console.journal.chain import COLUMNS

APPLICATION_ID = 0x52424A31  # "RBJ1", in the file's header
SCHEMA_VERSION = 2
PAGE = 500  # rows a read takes at once: no read transaction outlives one page, or it would hold up the writers
BUSY_TIMEOUT_S = 10.0

# 3.7.0 to 3.51.2 can corrupt a WAL that several connections reset at once (fixed in 3.51.3; docs/journal-format.md).
WAL_SAFE = sqlite3.sqlite_version_info >= (3, 51, 3)

# A damaged schema makes SQLite quote bytes that are no text, and Python's sqlite3 then raises UnicodeDecodeError.
ERRORS = (sqlite3.Error, UnicodeDecodeError)

SELECT = f"SELECT {', '.join(COLUMNS)} FROM entries"  # noqa: S608 - column names of our own


def connect(path: Path, timeout: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open an existing journal for writing, durable: FULL, WAL where it is safe, else a rollback journal.

    The rollback journal is truncated, not deleted, at commit: SQLite syncs the truncation, whereas a deletion that a
    power cut undoes would roll an acknowledged entry back. Raises sqlite3.Error.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: fsync alone leaves data in the drive's cache
        _choose_mode(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_writable(path: Path) -> None:
    """Say at the start, not at the first entry, that nothing can be recorded: SQLite opens what it may only read.

    The folder counts too: the rollback journal is made in it. Raises JournalUnwritable.
    """
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise JournalUnwritable(
                f"the journal {path} cannot be used: {place} is read-only", _UNWRITABLE[sqlite3.SQLITE_READONLY][1]
            )


def _choose_mode(connection: sqlite3.Connection) -> None:
    if WAL_SAFE:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY:
                raise  # busy: somebody has it open; a rollback journal is as durable, and the next open tries again
    connection.execute("PRAGMA journal_mode = TRUNCATE").fetchone()


def connect_read_only(path: Path, timeout: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """Open an existing journal for reading alone, also while others write to it and on read-only media.

    Raises as `fetch` does, and UsageError when there is no such file.
    """
    if not path.is_file():
        raise UsageError(f"there is no journal at {path}", "check the path, or name one with --journal")
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _open_checked(uri, path, timeout)
    except sqlite3.OperationalError:
        # A WAL database on read-only media has nowhere to put its index. Where nothing can write beside the file and
        # nothing is waiting to be replayed, nobody can change it, and SQLite may be told so.
        if os.access(path.parent, os.W_OK) or any(_waiting(path, end) for end in ("-wal", "-journal")):
            raise
    return _open_checked(f"{uri}&immutable=1", path, timeout)


def _open_checked(uri: str, path: Path, timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        fetch(connection, path, "SELECT count(*) FROM sqlite_master")
    except BaseException:
        connection.close()
        raise
    return connection


def fetch(connection: sqlite3.Connection, path: Path, query: str, values: Sequence[object] = ()) -> list[Any]:
    """All rows of a query on a connection that may be for reading alone. Raises one of ERRORS, and JournalUnwritable.

    A process that was killed in the middle of a transaction leaves a rollback journal, and a connection for reading
    alone cannot take the half transaction back: it fails. So one that may write does, and the query runs again.
    """
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_READONLY or not _waiting(path, "-journal"):
            raise
        _take_back(path, error)
    return connection.execute(query, values).fetchall()


def _take_back(path: Path, error: sqlite3.Error) -> None:
    try:
        check_writable(path)
    except JournalUnwritable:
        raise JournalUnwritable(
            f"the journal {path} was being written when its process died, and cannot be mended on read-only media",
            f"copy it together with {path.name}-journal to a folder you can write, and read it there",
        ) from error
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        connection.close()


def _waiting(path: Path, end: str) -> bool:
    try:
        return os.stat(f"{path}{end}").st_size > 0
    except OSError:
        return False


def check_format(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema version. Raises JournalBroken when it is some other program's database."""
    ((application,),) = fetch(connection, path, "PRAGMA application_id")
    ((version,),) = fetch(connection, path, "PRAGMA user_version")
    if application != APPLICATION_ID:
        raise JournalBroken(
            f"{path} is not a journal of rollback-console (application id {application:#010x})",
            "name another file with --journal; this one is left as it is",
        )
    return int(version)


def primary_code(error: Exception) -> int:
    """SQLite's primary result code of an error; 1 (SQLITE_ERROR) where it has none."""
    return (getattr(error, "sqlite_errorcode", None) or sqlite3.SQLITE_ERROR) & 0xFF


_UNWRITABLE = {
    sqlite3.SQLITE_FULL: ("the disk is full", "free some space; nothing was recorded, and nothing may be executed"),
    sqlite3.SQLITE_READONLY: ("it is read-only", "make the file and its folder writable, or name another --journal"),
    sqlite3.SQLITE_PERM: ("permission denied", "make the file and its folder writable, or name another --journal"),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check the path, and that the file and its folder are yours"),
    sqlite3.SQLITE_IOERR: ("the disk reported an error", "check the disk and its quota, or name another --journal"),
    sqlite3.SQLITE_BUSY: ("another process has held it for too long", "`rollback-console journal status` says who"),
    sqlite3.SQLITE_LOCKED: ("another process has held it for too long", "`rollback-console journal status` says who"),
    sqlite3.SQLITE_NOMEM: ("there is no memory left", "close something; nothing was recorded"),
}
_BROKEN = {
    sqlite3.SQLITE_CORRUPT: "its file is damaged",
    sqlite3.SQLITE_NOTADB: "it is not a database",
    sqlite3.SQLITE_CONSTRAINT: "its append-only guard refused the entry: another program wrote to it",
}


def translate(error: Exception, path: Path) -> JournalError:
    """What one of ERRORS means to the person at the console, with what to do."""
    code = primary_code(error)
    if code in _UNWRITABLE:
        why, step = _UNWRITABLE[code]
        sort = JournalBusy if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) else JournalUnwritable
        return sort(f"the journal {path} cannot be used: {why} ({error})", step)
    why = _BROKEN.get(code, "it does not answer as a journal does")
    return JournalBroken(
        f"the journal {path} is broken: {why} ({error})",
        "keep the file, `rollback-console journal verify` says how far it is good, go on with another --journal",
    )


def mode_for_writing(current: str) -> str:
    """How writers keep this journal, in words, from what a reader sees: a rollback journal is each connection's own
    choice, WAL is the file's."""
    return "WAL, FULL" if current == "wal" or WAL_SAFE else "rollback journal (TRUNCATE), FULL"

"""A copy of the hub's SQLite database, and its way back. PostgreSQL has its own tools; what is said here is the same.

A hub that was restored must not pass for the one that consoles knew: where anything it has signed may be missing, its
log goes on as another epoch (see `log.begin_epoch`).
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from sqlalchemy import func, select

from rollback_console.errors import UsageError
from rollback_console.hub import keyfile
from rollback_console.hub.database import Database
from rollback_console.hub.hub import lock_of, opened, speaking
from rollback_console.hub.keyfile import Mark
from rollback_console.hub.log import HALTED, Log, begin_epoch
from rollback_console.hub.settings import HubSettings
from rollback_console.hub.tables import entries, epochs, meta
from rollback_console.journal.signednote import NoteKey
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup holds; `size` in bytes."""

    entries: int
    leaves: int
    size: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What is there now. `aside`: where the database that was there is; `vkey`: the log's new key, "" for the old."""

    entries: int
    leaves: int
    aside: Path | None
    vkey: str


def backup(settings: HubSettings, file: Path) -> Kept:
    """Copy the database by SQLite's online backup: one state of it, while others write. Raises UsageError."""
    if settings.database.startswith("postgres"):
        raise UsageError("PostgreSQL is backed up by its own tools", "pg_dump --format=custom --file=FILE URL")
    if not settings.database_path.is_file():
        raise UsageError(f"there is no hub at {settings.data}", "name its folder with --data")
    if file.exists():
        raise UsageError(f"{file} exists", "name another file: a backup overwrites nothing")
    temp = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        _copy(settings.database_path, temp)
        kept = _looked_at(temp)
        os.link(temp, file)
    except FileExistsError:
        raise UsageError(f"{file} exists", "name another file: a backup overwrites nothing") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror})", "check its folder and the disk") from error
    finally:
        temp.unlink(missing_ok=True)
    return kept


def _copy(source: Path, target: Path) -> None:
    """By SQLite's online backup into a new file of its owner's alone, on disk when this returns."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with _reading(source) as found, closing(sqlite3.connect(target)) as copy:
        found.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, whatever the source's mode
    with target.open("rb") as written:
        os.fsync(written.fileno())


def _reading(file: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True))


def _looked_at(file: Path) -> Kept:
    """Raises UsageError for what is not the whole database of a hub."""
    try:
        with _reading(file) as found:
            if found.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                raise UsageError(f"{file} is damaged", "take another backup")
            ((count,),) = found.execute("SELECT count(*) FROM entries").fetchall()
            ((leaves,),) = found.execute("SELECT count(*) FROM log_leaves").fetchall()
            ((epoch,),) = found.execute("SELECT count(*) FROM epochs").fetchall()
    except sqlite3.Error as error:
        raise UsageError(f"{file} is not a hub's database ({error})", "name a file that `hub backup` wrote") from None
    if not epoch:
        raise UsageError(f"{file} is the database of a hub that never served", "there is nothing in it to restore")
    return Kept(count, leaves, file.stat().st_size)


def restore(settings: HubSettings, file: Path | None) -> Restored:
    """Put `file` in the database's place (PostgreSQL, whose own tools have done that: without `file`), and begin
    another epoch unless it is certain that nothing which was signed is missing. Raises UsageError, LockHeld."""
    postgresql = settings.database.startswith("postgres")
    if postgresql and file is not None:
        raise UsageError(
            "PostgreSQL is restored by its own tools", "pg_restore first, then `hub restore` without a file"
        )
    if not settings.key_path.exists():
        raise UsageError(f"there is no {settings.key_path}", "put the hub's own key there first")
    lock = lock_of(settings)
    try:
        aside = _put(settings, file) if file is not None else None
        database = opened(settings)
        try:
            with speaking(database):
                private = keyfile.load_or_create(settings.key_path)
                log = Log(database, private, settings.mark_path)
                vkey = ""
                if not _nothing_is_missing(database, log, keyfile.read_mark(settings.mark_path)):
                    vkey = begin_epoch(database, private, "", "restored from a backup")
                with database.reading() as connection:
                    count = connection.execute(select(func.count()).select_from(entries)).scalar_one()
                    return Restored(int(count), log.size(connection), aside, vkey)
        finally:
            database.close()
    finally:
        lock.release()


def _put(settings: HubSettings, file: Path) -> Path | None:
    """The backup in the place of what is there, which goes aside."""
    _looked_at(file)
    _check_key(settings, file)
    here = settings.database_path
    temp = here.with_name(f".{here.name}.{os.getpid()}")
    aside = here.with_name(f"{here.name}.before-restore-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    try:
        _copy(file, temp)
        there = here.exists()
        for end in ("", "-wal", "-shm", "-journal"):  # together: each alone would be another database
            if here.with_name(here.name + end).exists():
                os.replace(here.with_name(here.name + end), aside.with_name(aside.name + end))
        os.replace(temp, here)
    finally:
        temp.unlink(missing_ok=True)
    return aside if there else None


def _check_key(settings: HubSettings, file: Path) -> None:
    """Raises UsageError before anything is moved, when another key witnessed this backup."""
    with _reading(file) as found:
        origin, vkey = found.execute("SELECT origin, vkey FROM epochs ORDER BY number DESC LIMIT 1").fetchone()
    if NoteKey(origin, keyfile.load_or_create(settings.key_path)).vkey != vkey:
        raise UsageError(
            f"{file} is witnessed by another key than {settings.key_path}", "put the hub's own hub.key there first"
        )


def _nothing_is_missing(database: Database, log: Log, mark: Mark | None) -> bool:
    """Only where one process served, ended in order, wrote down what it had signed, and all of that is here."""
    if database.postgresql or mark is None or not mark.clean:
        return False
    with database.reading() as connection:
        origin = connection.execute(select(epochs.c.origin).order_by(epochs.c.number.desc()).limit(1)).scalar_one()
        halted = connection.execute(select(meta.c.value).where(meta.c.name == HALTED)).one_or_none()
        if mark.origin != origin or halted is not None or mark.size > log.size(connection):
            return False
        return log.root(connection, mark.size).hex() == mark.root

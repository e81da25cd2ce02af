"""One hub process's parts, put together once and handed to whoever answers requests."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError, ProgrammingError

from rollback_console.errors import BackendUnreachable, LockHeld, UsageError
from rollback_console.hub import keyfile, migrate
from rollback_console.hub.database import Database, sqlite_url
from rollback_console.hub.log import Log
from rollback_console.hub.settings import HubSettings
from rollback_console.hub.tables import meta
from rollback_console.journal.locks import HubLock


class Hub:
    """Database and log, open and checked, alone on its data folder. Raises UsageError from the constructor, with what
    to do; LockHeld where another process serves from this folder."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        with contextlib.ExitStack() as undone:  # what fails half way leaves nothing open behind it
            lock = lock_of(settings)
            undone.callback(lock.release)
            self.database = opened(settings)
            undone.callback(self.database.close)
            with speaking(self.database):
                self.log = Log(self.database, keyfile.load_or_create(settings.key_path), settings.mark_path)
                self.name = _name(self.database, settings.name)
                self.log.open(self.name)
            undone.callback(self.log.close)
            self._open = undone.pop_all()

    def close(self) -> None:
        """Mark, database, lock: in this order."""
        self._open.close()


def lock_of(settings: HubSettings) -> HubLock:
    """The data folder's lock, taken. Raises LockHeld when a hub runs on it."""
    lock = HubLock(settings.data)
    if not lock.try_acquire("hub"):
        raise LockHeld(f"a hub serves from {settings.data}", "end it first, or name another --data")
    return lock


@contextlib.contextmanager
def speaking(database: Database) -> Iterator[None]:
    """Within, what the database says no with is an error for a person."""
    try:
        yield
    except ProgrammingError as error:
        raise UsageError(
            f"the database {database.shown} refuses: {str(error.orig).splitlines()[0]}", "connect as a role that may"
        ) from error
    except DBAPIError as error:
        raise BackendUnreachable(
            f"the database {database.shown} does not answer ({str(error.orig).splitlines()[0]})", "check it and its URL"
        ) from error


def opened(settings: HubSettings) -> Database:
    """The database, with tables that fit this program: a SQLite file is made and migrated, PostgreSQL must be."""
    database = database_of(settings)
    with speaking(database):
        if database.postgresql:
            migrate.check(database)
        else:
            migrate.upgrade(database)
    return database


def database_of(settings: HubSettings) -> Database:
    return Database(settings.database or sqlite_url(settings.database_path))


def _name(database: Database, wanted: str) -> str:
    """The hub's name, which is the first part of its log's: chosen at the first start, kept from then on."""
    chosen = (
        wanted or "".join(char if char.isalnum() or char in ".-" else "-" for char in socket.gethostname()) or "hub"
    )
    with database.writing(log=True) as connection:
        known = connection.execute(select(meta.c.value).where(meta.c.name == "name")).scalar_one_or_none()
        if known is None:
            connection.execute(insert(meta), {"name": "name", "value": chosen})
    return str(known or chosen)

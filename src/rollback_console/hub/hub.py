"""One hub process's parts, put together once and handed to whoever answers requests."""

from __future__ import annotations

import socket

from sqlalchemy import insert, select

from rollback_console.hub import keyfile, migrate
from rollback_console.hub.database import Database, sqlite_url
from rollback_console.hub.log import Log
from rollback_console.hub.settings import HubSettings
from rollback_console.hub.tables import meta


class Hub:
    """Database and log, open and checked. Raises UsageError from the constructor, with what to do."""

    def __init__(self, settings: HubSettings) -> None:
        self.settings = settings
        self.database = database_of(settings)
        if self.database.postgresql:
            migrate.check(self.database)
        else:
            migrate.upgrade(self.database)
        self.log = Log(self.database, keyfile.load_or_create(settings.key_path), settings.mark_path)
        self.name = _name(self.database, settings.name)
        self.log.open(self.name)

    def close(self) -> None:
        self.log.close()
        self.database.close()


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

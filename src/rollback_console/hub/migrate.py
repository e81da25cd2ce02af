"""Brings a database to this program's tables, and gives the serving role what it may do and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback_console.errors import UsageError
from rollback_console.hub.tables import MUTABLE, RECORD

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from rollback_console.hub.database import Database


def _config(connection: Connection | None = None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "rollback_console.hub:migrations")
    config.attributes["connection"] = connection
    return config


def newest() -> str:
    """The revision that this program works with."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_config()).get_current_head())


def current(database: Database) -> str | None:
    """The revision that the database is at; None before the first migration."""
    from alembic.migration import MigrationContext

    with database.reading() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(database: Database) -> None:
    """To the newest revision, in one transaction. Several processes may try at once: one does it. Raises UsageError for
    a database of a newer program."""
    from alembic import command
    from alembic.util import CommandError

    try:
        with database.writing(log=True) as connection:
            command.upgrade(_config(connection), "head")
    except CommandError as error:
        raise UsageError(
            f"the tables of {database.shown} were made by a newer program ({error})", "update rollback-console"
        ) from error


def check(database: Database) -> None:
    """Raises UsageError when the database is not at the revision that this program works with."""
    found, wanted = current(database), newest()
    if found == wanted:
        return
    if found is None:
        raise UsageError(
            "the database has none of the hub's tables",
            "as its owner: rollback-console hub migrate --database URL --grant-to ROLE",
        )
    raise UsageError(
        f"the database's tables are at revision {found}, this program's at {wanted}",
        "as its owner: rollback-console hub migrate --database URL --grant-to ROLE (or update the older program)",
    )


def grant(database: Database, role: str) -> None:
    """PostgreSQL: `role` may read everything, add to the record, and change only what is not record."""
    with database.writing() as connection:
        quoted = connection.dialect.identifier_preparer.quote_identifier(role)
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
        in_schema = connection.dialect.identifier_preparer.quote_identifier(str(schema))
        every = ", ".join(table.name for table in (*RECORD, *MUTABLE))
        record = ", ".join(table.name for table in RECORD)
        mutable = ", ".join(table.name for table in MUTABLE)
        for statement in (
            f"REVOKE ALL ON {every}, alembic_version FROM {quoted}",
            f"GRANT USAGE ON SCHEMA {in_schema} TO {quoted}",
            f"GRANT SELECT ON {every}, alembic_version TO {quoted}",
            f"GRANT INSERT ON {record} TO {quoted}",
            f"GRANT INSERT, UPDATE, DELETE ON {mutable} TO {quoted}",
        ):
            connection.exec_driver_sql(statement)


def may_change_record(database: Database) -> bool:
    """PostgreSQL: could the role we serve as change or take away what is record? (SQLite's owner always could.)"""
    if not database.postgresql:
        return True
    with database.reading() as connection:
        return any(
            connection.exec_driver_sql(
                "SELECT has_table_privilege(%s, 'UPDATE') OR has_table_privilege(%s, 'DELETE') "
                "OR has_table_privilege(%s, 'TRUNCATE')",
                (table.name,) * 3,
            ).scalar_one()
            for table in RECORD
        )

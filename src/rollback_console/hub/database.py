"""The hub's database: a SQLite file for one hub, PostgreSQL for several processes of a team's.

Appends to a chain and to the log are one after the other: on PostgreSQL under one advisory lock that ends with the
transaction, on SQLite by BEGIN IMMEDIATE. So positions and leaves are numbered in the order of their commits.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from rollback_console.errors import UsageError
from rollback_console.journal.database import WAL_SAFE

_LOG_LOCK = 0x52424A48  # "RBJH": the advisory lock of appends
_BUSY_S = 10
_COPY_FROM = 20  # rows from which PostgreSQL's COPY is faster than an INSERT each


class Database:
    """`url` is SQLAlchemy's: `sqlite:////path/hub.db` or `postgresql://role@host/name`. Opens nothing until asked."""

    def __init__(self, url: str, connections: int = 16) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise UsageError("the database's URL cannot be read", "postgresql://role@host/name") from None
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise UsageError(f"{backend} is not a database that the hub knows", "postgresql://role@host/name")
        self.postgresql = backend == "postgresql"
        self.shown = parsed.render_as_string(hide_password=True)
        self.path = None if self.postgresql else Path(parsed.database or "")
        self._writer = threading.Lock()  # SQLite: in line here is quicker than SQLite's own waiting
        self.engine = _postgresql(parsed, connections) if self.postgresql else _sqlite(parsed, connections)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that reads one state of everything."""
        with self.engine.connect() as connection:
            if self.postgresql:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextlib.contextmanager
    def writing(self, *, log: bool = False) -> Iterator[Connection]:
        """A transaction that writes. `log`: it adds to what is numbered (positions, leaves), alone."""
        with self._writer if not self.postgresql else contextlib.nullcontext(), self.engine.connect() as connection:
            connection = connection.execution_options(writes=True)
            with connection.begin():
                if log and self.postgresql:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOG_LOCK})")
                yield connection

    def now(self, connection: Connection) -> int:
        """The database's clock, nanoseconds since the Unix epoch: the one clock that several hubs share."""
        if self.postgresql:
            query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
        else:
            query = "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000"
        return int(connection.exec_driver_sql(query).scalar_one())

    def add(self, connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
        """Insert many rows of the same columns by the quickest way the database has."""
        if not rows:
            return
        if not self.postgresql or len(rows) < _COPY_FROM:
            connection.execute(insert(table), list(rows))
            return
        names = list(rows[0])
        quote = connection.dialect.identifier_preparer.quote
        driver: Any = connection.connection.driver_connection  # psycopg's own: SQLAlchemy knows no COPY
        with (
            driver.cursor() as cursor,
            cursor.copy(f"COPY {table.name} ({', '.join(map(quote, names))}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row([row[name] for name in names])

    def close(self) -> None:
        self.engine.dispose()


def _postgresql(url: Any, connections: int) -> Engine:
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_BUSY_S,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text goes to a log, entries do not
        connect_args={"connect_timeout": 5, "options": "-c statement_timeout=30s -c lock_timeout=10s"},
    )


def _sqlite(url: Any, connections: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=_BUSY_S,
        hide_parameters=True,
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # BEGIN is ours, below
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute(f"PRAGMA journal_mode = {'WAL' if WAL_SAFE else 'TRUNCATE'}").fetchone()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file; the file is made, for its owner alone, when there is none."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return f"sqlite:///{path}"

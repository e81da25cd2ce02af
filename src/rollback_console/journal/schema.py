"""The journal's tables, made and migrated through sqlite-utils.

Imported only when a file is created or migrated: sqlite_utils costs 73 ms, and the hot path is the standard library's
sqlite3. A new version of the schema is a new function below `versions`; `PRAGMA user_version` is their number, so that
an open knows without importing this whether there is anything to do.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Iterator

from rollback_console.journal.database import APPLICATION_ID, SCHEMA_VERSION


@contextlib.contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Within, an import of these modules fails, unless they are loaded already."""
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None is how the import system says "none"
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# sqlite-utils imports pandas and numpy where they happen to be installed, to know types that no journal holds: 85 MB
# and half a second before the first states of a demo.
with _hidden("numpy", "pandas"):
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

versions = Migrations("rollback-console/journal")

_GUARDS = (
    # UPDATE OR REPLACE and upserts' DO UPDATE end here too.
    """CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
       BEGIN SELECT RAISE(ABORT, 'entries are append-only: no UPDATE'); END""",
    """CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
       BEGIN SELECT RAISE(ABORT, 'entries are append-only: no DELETE'); END""",
    # INSERT OR REPLACE deletes without firing the trigger above, so an existing number is refused before it can. The
    # same guard keeps a foreign program from leaving a gap or forking the chain.
    """CREATE TRIGGER entries_append BEFORE INSERT ON entries
       WHEN EXISTS (SELECT 1 FROM entries WHERE seq = NEW.seq)
         OR NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM entries)
         OR NEW.prev IS NOT coalesce((SELECT hash FROM entries WHERE seq = NEW.seq - 1), '')
       BEGIN SELECT RAISE(ABORT, 'entries are append-only: not the next entry'); END""",
)


@versions()
def v1(db: Database) -> None:
    """Entries, guarded; and what is beside them: blobs by digest, the derived cache, facts about the file."""
    entries = {
        "seq": int, "chain": str, "at": int, "mono": int, "kind": str, "deployment": str, "operator": str,
        "body": str, "prev": str, "hash": str, "signature": bytes,
    }  # fmt: skip
    db.table("entries").create(entries, pk="seq", not_null=set(entries) - {"seq"}, strict=True)
    for guard in _GUARDS:
        db.execute(guard)
    db.table("blobs").create(
        {"digest": str, "size": int, "data": bytes}, pk="digest", not_null={"size", "data"}, strict=True
    )
    db.table("live").create({"id": int, "at": float, "data": bytes}, pk="id", not_null={"at", "data"}, strict=True)
    db.table("meta").create({"name": str, "value": str}, pk="name", not_null={"value"}, strict=True)
    db.table("meta").insert({"name": "format", "value": "rollback-console/journal/v1"})


# Also refuses what comes after a file was closed, and lets a file begin where the one before it ended (`meta`).
_APPEND = """CREATE TRIGGER entries_append BEFORE INSERT ON entries
   WHEN EXISTS (SELECT 1 FROM entries WHERE seq = NEW.seq)
     OR EXISTS (SELECT 1 FROM meta WHERE name = 'closed')
     OR NEW.seq IS NOT coalesce((SELECT max(seq) FROM entries),
                                (SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'after'), 0) + 1
     OR NEW.prev IS NOT coalesce((SELECT hash FROM entries WHERE seq = NEW.seq - 1),
                                 (SELECT value FROM meta WHERE name = 'after_hash'), '')
   BEGIN SELECT RAISE(ABORT, 'entries are append-only: not the next entry'); END"""


@versions()
def v2(db: Database) -> None:
    """Segments: a file can be closed, and the next begins where it ended."""
    db.execute("DROP TRIGGER IF EXISTS entries_append")
    db.execute(_APPEND)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to this program's schema. Inside the caller's transaction: sqlite-utils then uses savepoints."""
    versions.apply(Database(connection))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

"""The tables: what migrations make is what the code asks for, and on SQLite, too, the record can only grow."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Table, select

from hub.hub_tools import chain_of
from rollback_console.errors import UsageError
from rollback_console.hub import append, devices, keyfile, log, migrate, people, shared
from rollback_console.hub.hub import Hub
from rollback_console.hub.problems import Problem
from rollback_console.hub.settings import HubSettings
from rollback_console.hub.tables import MUTABLE, RECORD, metadata
from rollback_console.hub.wire import ClaimIn, MessageIn
from rollback_console.journal import merkle
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.receipt import check
from rollback_console.journal.signednote import Checkpoint, NoteKey

KEY = DeviceKey.from_seed(b"tables")
DEVICE = devices.Device(KEY.fingerprint(), KEY.public_openssh(), "laptop", 0, None)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """With something in every table of record."""
    one = Hub(HubSettings(tmp_path_factory.mktemp("hub")))
    rows = chain_of(KEY, 4)
    append.append(one.database, one.log, DEVICE, rows[0].chain, "", rows[:3])
    late = chain_of(KEY, 5)[3:]
    with pytest.raises(Problem, match="gap"):
        append.append(one.database, one.log, DEVICE, late[0].chain, late[0].prev, late)
    people.claim(one.database, DEVICE, "inc-1", ClaimIn(role="working", operator="ana", action="take"))
    people.put_message(one.database, DEVICE, MessageIn(topic="t", id="m", body="aGk=", signature="s", key="k"))
    yield one
    one.close()


def test_every_table_is_either_record_or_not() -> None:
    assert {*RECORD, *MUTABLE} == set(metadata.sorted_tables)
    assert not {*RECORD} & {*MUTABLE}


def test_the_migrations_make_the_tables_that_the_code_asks_for(hub: Hub) -> None:
    with hub.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    assert migrate.current(hub.database) == migrate.newest()
    migrate.upgrade(hub.database)  # again changes nothing


@pytest.mark.parametrize("table", RECORD, ids=lambda table: table.name)
def test_on_sqlite_the_record_is_neither_changed_nor_replaced_nor_deleted(hub: Hub, table: Table) -> None:
    path = hub.settings.database_path
    column = next(iter(table.columns)).name
    with closing(sqlite3.connect(path)) as other:
        before = other.execute(f"SELECT * FROM {table.name}").fetchall()
        assert before, "a table without rows would prove nothing"
        marks = ", ".join("?" * len(before[0]))
        for statement, values in (
            (f'UPDATE {table.name} SET "{column}" = "{column}"', ()),
            (f'UPDATE OR REPLACE {table.name} SET "{column}" = "{column}"', ()),
            (f"DELETE FROM {table.name}", ()),
            (f"INSERT OR REPLACE INTO {table.name} VALUES ({marks})", before[0]),
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                other.execute(statement, values)
        other.rollback()
        assert other.execute(f"SELECT * FROM {table.name}").fetchall() == before


def test_the_database_is_kept_as_durably_as_a_journal(hub: Hub) -> None:
    from rollback_console.journal.database import WAL_SAFE

    with hub.database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    assert mode == ("wal" if WAL_SAFE else "truncate")


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    from rollback_console.hub.database import Database, sqlite_url
    from rollback_console.hub.tables import entries

    database = Database(sqlite_url(tmp_path / "hub.db"))
    with database.writing() as connection:
        entries.create(connection)  # in the way
    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(database)
    assert migrate.current(database) is None
    with closing(sqlite3.connect(tmp_path / "hub.db")) as other:
        assert other.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("entries",)]
    database.close()


def test_the_tables_of_a_newer_program_are_left_alone(tmp_path: Path) -> None:
    from rollback_console.hub.database import Database, sqlite_url

    database = Database(sqlite_url(tmp_path / "hub.db"))
    migrate.upgrade(database)
    with closing(sqlite3.connect(tmp_path / "hub.db")) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
        other.commit()
    with pytest.raises(UsageError, match="made by a newer program"):
        migrate.upgrade(database)
    with pytest.raises(UsageError, match="at revision 9999"):
        migrate.check(database)
    database.close()


def test_a_process_that_runs_through_a_restore_signs_under_the_new_name(tmp_path: Path) -> None:
    from rollback_console.hub.log import begin_epoch

    one = Hub(HubSettings(tmp_path))
    rows = chain_of(KEY, 4)
    before = append.append(one.database, one.log, DEVICE, rows[0].chain, "", rows[:2]).receipt
    vkey = begin_epoch(one.database, keyfile.load_or_create(one.settings.key_path), "", "restored from a backup")
    after = append.append(one.database, one.log, DEVICE, rows[0].chain, rows[1].hash, rows[2:]).receipt
    base = check(before, [first_key(one)]).origin
    assert re.fullmatch(re.escape(base) + r"/restored-20\d{12}", check(after, [vkey]).origin)
    first = shared.take_lease(one.database, DEVICE, "poll/prod", "ana", 30)
    assert 2**50 < first["token"] < 2**53  # beyond every token of the time before, and still a number of JSON's
    with pytest.raises(Problem, match="restored"):  # a console that was away: its log has ended, and it is told so
        one.log.witness(before.checkpoint)
    assert one.log.witness(after.checkpoint) == (2, [])
    one.close()
    mark = keyfile.read_mark(one.settings.mark_path)
    assert mark is not None
    assert (mark.origin, mark.size, mark.clean) == (vkey.split("+")[0], 2, True)
    again = Hub(HubSettings(tmp_path))
    assert again.log.key.vkey == vkey
    again.close()


def test_a_checkpoint_of_a_later_name_tells_a_hub_that_it_is_an_old_one(tmp_path: Path) -> None:
    """Restored twice, the second time by a copy of the folder: the database knows nothing of the first restore."""
    one = Hub(HubSettings(tmp_path))
    rows = chain_of(KEY, 2)
    append.append(one.database, one.log, DEVICE, rows[0].chain, "", rows[:1])
    later = log._next_origin(one.log.key.name, 1_780_000_000_000_000_000)
    key = keyfile.load_or_create(one.settings.key_path)
    note = NoteKey(later, key).sign(Checkpoint(later, 1, bytes(32)).text())
    with pytest.raises(Problem, match="rolled-back"):
        one.log.witness(note)
    with pytest.raises(Problem, match="rolled-back"):
        one.log.checkpoint()
    one.close()


def test_a_mark_of_a_later_name_keeps_a_hub_from_serving_an_old_database(tmp_path: Path) -> None:
    one = Hub(HubSettings(tmp_path))
    name = one.log.key.name
    one.close()
    later = log._next_origin(name, 1_780_000_000_000_000_000)
    keyfile.write_mark(tmp_path / "hub.mark", keyfile.Mark(later, 1, "00" * 32))
    with pytest.raises(UsageError, match="older than what this hub has signed"):
        Hub(HubSettings(tmp_path))
    keyfile.write_mark(tmp_path / "hub.mark", keyfile.Mark(name, 0, merkle.EMPTY_ROOT.hex()))
    Hub(HubSettings(tmp_path)).close()


def first_key(hub: Hub) -> str:
    """The key of the hub's first epoch."""
    from rollback_console.hub.tables import epochs

    with hub.database.reading() as connection:
        return str(connection.execute(select(epochs.c.vkey).where(epochs.c.number == 1)).scalar_one())


def test_no_name_comes_twice_though_one_backup_is_put_back_twice() -> None:
    """Twice from the same database, a moment apart, and with a clock that runs backwards."""
    first = log._next_origin("hub", 1_780_000_000_000_000_000)
    assert first == "hub/restored-20260528202640"
    assert log._next_origin("hub", 1_780_000_001_000_000_000) == "hub/restored-20260528202641"
    assert log._next_origin(first, 1_700_000_000_000_000_000) == "hub/restored-20260528202641"

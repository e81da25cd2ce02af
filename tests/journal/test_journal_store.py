"""Appending: exact, chained, durable, guarded; by several processes and threads; refused when it cannot be."""

from __future__ import annotations

import math
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_tools import BLOB, CHAIN, LAST, SAMPLES, START, as_nobody, device, full_journal, new_journal, stored

from rollback_console.clock import VirtualClock, WallClock
from rollback_console.errors import JournalBroken, JournalUnwritable, UsageError
from rollback_console.journal import chain, database, export
from rollback_console.journal.body import Free
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Body, DrillSummary, Note
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "journal.db"


def test_every_kind_goes_in_and_comes_back(path: Path) -> None:
    full_journal(path)
    with Journal.open_read_only(path) as journal:
        entries = list(journal.entries())
        assert [entry.parsed() for entry in entries[1:]] == list(SAMPLES)
        assert entries[0].kind == "genesis"
        assert (journal.chain, journal.rehearsal, journal.device) == (CHAIN, True, device().public_openssh())
        assert [entry.seq for entry in entries] == list(range(1, len(SAMPLES) + 2))
        assert all(entry.at == START for entry in entries)
        assert journal.head() == (entries[-1].seq, entries[-1].hash)
        assert journal.count() == len(entries)
        assert journal.size_bytes() == path.stat().st_size
        assert journal.get(3) == entries[2]
        assert journal.get(99) is None
    assert verify(path).ok


def test_reading_filters_limits_and_streams_over_pages(path: Path) -> None:
    clock = VirtualClock(START)
    with new_journal(path, clock) as journal:
        journal.append_all([(Note(text=str(n)), "production/a" if n % 2 else "staging/b", "") for n in range(1200)])
        clock._now += 1
        journal.append(Note(text="late"))
        assert [e.seq for e in journal.entries(after=1199)] == [1200, 1201, 1202]
        assert len(list(journal.entries(kinds=["note"], deployment="production/a"))) == 600
        assert len(list(journal.entries(limit=700))) == 700
        assert list(journal.entries(kinds=["note"], limit=0)) == []
        assert [e.seq for e in journal.entries(kinds=["genesis", "tick"])] == [1]
        assert [e.seq for e in journal.entries(since=START + 0.5)] == [1202]
        assert [e.seq for e in journal.tail(2, ["note"])] == [1201, 1202]
        assert [e.seq for e in journal.tail(1, deployment="staging/b")] == [1200]
        assert len(list(journal.rows())) == 1202


def test_blobs_and_the_derived_cache(path: Path) -> None:
    with new_journal(path) as journal:
        digest = journal.put_blob(BLOB)
        assert journal.put_blob(BLOB) == digest == chain.digest(BLOB)
        assert journal.get_blob(digest) == BLOB
        assert journal.get_blob("0" * 64) is None
        assert journal.get_blob(journal.put_blob(b"")) == b""
        assert journal.get_live() is None
        journal.put_live(b"first", 1.25)
        journal.put_live(b"second", 2.5)
        assert journal.get_live() == (2.5, b"second")
        journal.append_all([(Note(text="with its blob"), "", "")], blobs=[b"beside it"])
        assert journal.get_blob(chain.digest(b"beside it")) == b"beside it"
        journal._connection.execute("UPDATE blobs SET data = x'00' WHERE digest = ?", (digest,))
        with pytest.raises(JournalBroken, match="not what its digest says"):
            journal.get_blob(digest)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET operator = 'x' WHERE seq = 3",
        "UPDATE OR REPLACE entries SET seq = 4 WHERE seq = 3",
        "UPDATE entries SET seq = 400 WHERE seq = 3",
        "DELETE FROM entries WHERE seq = 3",
        "DELETE FROM entries",
        "INSERT OR REPLACE INTO entries SELECT * FROM entries WHERE seq = 3",
        "REPLACE INTO entries SELECT * FROM entries WHERE seq = 3",
        "INSERT INTO entries SELECT * FROM entries WHERE seq = 3 ON CONFLICT (seq) DO UPDATE SET operator = 'x'",
        "INSERT OR IGNORE INTO entries SELECT * FROM entries WHERE seq = 3",
        "INSERT INTO entries SELECT * FROM entries WHERE seq = 3",
        # a gap, a fork, and a row without a number
        "INSERT INTO entries SELECT 99, chain, at, mono, kind, deployment, operator, body, prev, hash, signature"
        " FROM entries WHERE seq = 3",
        f"INSERT INTO entries SELECT {LAST + 1}, chain, at, mono, kind, deployment, operator, body, prev, hash,"
        " signature FROM entries WHERE seq = 3",
        "INSERT INTO entries (chain, at, mono, kind, deployment, operator, body, prev, hash, signature)"
        " SELECT chain, at, mono, kind, deployment, operator, body, hash, hash, signature FROM entries"
        f" WHERE seq = {LAST}",
    ],
)
def test_the_table_itself_refuses_to_change(path: Path, statement: str) -> None:
    full_journal(path)
    connection = sqlite3.connect(path, isolation_level=None)
    before = stored(connection)
    assert len(before) == LAST
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute(statement)
    assert stored(connection) == before
    connection.close()


def test_the_columns_are_strict(path: Path) -> None:
    new_journal(path).close()
    connection = sqlite3.connect(path)
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'entries'").fetchone()
    assert sql.rstrip().endswith("STRICT")
    assert {row[1] for row in connection.execute("PRAGMA table_info(entries)")} == set(chain.COLUMNS)
    connection.close()


def test_equal_clocks_seeds_and_acts_give_equal_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("one", "two"):
        with Journal.open_read_only(full_journal(tmp_path / f"{name}.db", rounds=2)) as journal:
            texts.append("".join(export.jsonl(journal.rows())))
    assert texts[0] == texts[1]


def test_an_unknown_newer_kind_and_a_newer_form_survive(path: Path) -> None:
    class Telepathy(Body):
        kind = "telepathy"
        v: int = 3
        thought: Free

    class NewerNote(Body):
        kind = "note"
        v: int = 2
        text: Free
        mood: Free

    with new_journal(path) as journal:
        journal.append(Telepathy(thought="rain"))
        journal.append(NewerNote(text="x", mood="calm"))
        journal.append(Note(text="after"))
        entries = list(journal.entries())
    assert [entry.parsed() is None for entry in entries] == [False, True, True, False]
    assert entries[1].body == b'{"thought":"rain","v":3}'
    assert verify(path).ok


# The clock


def test_a_jump_of_the_wall_clock_is_an_entry_of_its_own(path: Path) -> None:
    class TwoClocks(VirtualClock):
        wall = 0.0

        def now(self) -> float:
            return self._now + self.wall

    clock = TwoClocks(START)
    with new_journal(path, clock) as journal:
        journal.append(Note(text="a"))
        clock._now += 1000
        clock.wall += 1.9
        journal.append(Note(text="a slow drift is none"))
        clock.wall -= 3600
        late = journal.append(Note(text="b"))
        clock.wall += 2.25
        journal.append(Note(text="c"))
        entries = list(journal.entries())
    assert [e.kind for e in entries] == ["genesis", "note", "note", "clock", "note", "clock", "note"]
    assert (entries[3].body, entries[5].body) == (b'{"seconds":-3600,"v":1}', b'{"seconds":2.25,"v":1}')
    assert (late.seq, late.body) == (5, b'{"text":"b","v":1}')
    assert verify(path).ok


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=8), st.floats() | st.integers()), max_size=5))
@settings(max_examples=40, deadline=None)
def test_anything_is_either_recorded_exactly_or_refused_whole(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[str, str, float]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "j.db"
    with new_journal(path) as journal:
        bodies = [DrillSummary(scenario=t, seed=1, passed=True, detail={"x": x}) for t, _, x in items]
        try:
            written = journal.append_all([(body, name, "") for body, (_, name, _) in zip(bodies, items, strict=True)])
            parsed = [entry.parsed() for entry in written]
            assert [body and body.scenario for body in parsed] == [t for t, _, _ in items]
            # A float of 2**53 and more is written in digits: it reads back as the number, not always as the type.
            assert [body and float(body.detail["x"]) for body in parsed] == [float(x) for _, _, x in items]
            assert [entry.deployment for entry in written] == [name for _, name, _ in items]
        except JournalUnwritable:
            assert any(not math.isfinite(x) or abs(x) >= 2**53 for _, _, x in items)
            assert journal.count() == 1
    assert verify(path).ok


def test_what_cannot_be_recorded_exactly_is_refused_and_nothing_written(path: Path) -> None:
    with new_journal(path) as journal:
        for value in (math.nan, math.inf, 2**53):
            with pytest.raises(JournalUnwritable, match="cannot be recorded exactly"):
                journal.append(DrillSummary(scenario="x", seed=1, passed=True, detail={"x": value}))
        with pytest.raises(JournalUnwritable, match="surrogate"):
            journal.append_all([(Note(text="fine"), "", ""), (Note(text="x"), "a/\ud800", "")])
        assert journal.append_all([]) == ()
        assert journal.count() == 1


def test_a_lone_surrogate_keeps_nothing_out_of_the_journal(path: Path) -> None:
    with new_journal(path) as journal:
        entry = journal.append(
            DrillSummary(scenario="a\ud800b", seed=1, passed=True, detail={"\udfff": "\ud83d\ude80"})
        )
        body = entry.parsed()
        assert isinstance(body, DrillSummary)
        assert body.scenario == "a\ufffdb"
        assert body.detail == {"\ufffd": "\U0001f680"}
    assert verify(path).ok


# Several at once

APPENDER = """
import sys, pathlib
from rollback_console.clock import WallClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Note
from rollback_console.journal.store import Journal
journal = Journal.open(pathlib.Path(sys.argv[1]),
    device=DeviceKey.from_seed(b"tests"), clock=WallClock(), rehearsal=True)
for n in range(int(sys.argv[3])):
    entry = journal.append(Note(text=f"{sys.argv[2]} {n}"))
    print(entry.seq, entry.hash, flush=True)
"""


def test_four_processes_at_once_from_the_first_moment_lose_nothing(path: Path) -> None:
    """All four also race to make the journal; one genesis stands."""
    each = 60
    started = [
        subprocess.Popen([sys.executable, "-c", APPENDER, path, f"p{n}", str(each)], stdout=subprocess.PIPE, text=True)
        for n in range(4)
    ]
    acknowledged = {}
    for one in started:
        out, _ = one.communicate(timeout=120)
        assert one.returncode == 0
        lines = [line.split() for line in out.splitlines()]
        assert len(lines) == each
        acknowledged |= {int(seq): hash_ for seq, hash_ in lines}
    found = verify(path)
    assert (found.ok, found.entries) == (True, 4 * each + 1)
    with Journal.open_read_only(path) as journal:
        assert {entry.seq: entry.hash for entry in journal.entries(after=1)} == acknowledged
        texts = [entry.body for entry in journal.entries(after=1)]
    assert len(set(texts)) == 4 * each
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_two_threads_share_one_journal(path: Path) -> None:
    with new_journal(path) as journal:

        def work() -> None:
            for n in range(50):
                journal.append(Note(text=f"background {n}"))

        thread = threading.Thread(target=work)
        thread.start()
        for n in range(50):
            journal.append(Note(text=f"main {n}"))
            list(journal.entries(after=journal.count() - 2))
        thread.join()
        assert journal.count() == 101
    assert verify(path).ok


def test_a_second_journal_object_sees_what_the_first_wrote_and_goes_on(path: Path) -> None:
    with new_journal(path) as one, new_journal(path) as two:
        one.append(Note(text="1"))
        two.append(Note(text="2"))
        assert one.append(Note(text="3")).seq == 4
        assert [e.seq for e in two.entries()] == [1, 2, 3, 4]
    assert verify(path).ok


def test_reading_and_verifying_while_another_writes(path: Path) -> None:
    with new_journal(path) as journal:
        journal.append_all([(Note(text=str(n)), "", "") for n in range(1500)])
        reader = Journal.open_read_only(path)
        stream = reader.entries()
        assert next(stream).seq == 1
        journal.append(Note(text="not held up by a reader in mid-stream"))
        assert sum(1 for _ in stream) == 1501
        journal._connection.execute("BEGIN IMMEDIATE")
        assert verify(path).ok
        journal._connection.execute("ROLLBACK")
        with pytest.raises(JournalUnwritable, match="reading alone"):
            reader.append(Note(text="x"))
        with pytest.raises(JournalUnwritable, match="reading alone"):
            reader.put_blob(b"new")
        reader.close()


# SQLite's modes


def test_a_rollback_journal_that_is_truncated_and_synced_unless_wal_is_safe(path: Path) -> None:
    with new_journal(path) as journal:
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert journal.mode() == ("wal" if sqlite3.sqlite_version_info >= (3, 51, 3) else "truncate")


def test_wal_where_it_is_safe(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newer mode, tried on whatever SQLite is here: one writer alone cannot meet the bug that forbids it."""
    monkeypatch.setattr(database, "WAL_SAFE", True)
    with new_journal(path) as journal:
        assert journal.mode() == "wal"
        journal.append(Note(text="in the log"))
        assert verify(path).ok
        monkeypatch.setattr(database, "WAL_SAFE", False)
        with pytest.raises(JournalUnwritable, match="held it for too long"):
            Journal.open(path, device=device(), clock=WallClock(), rehearsal=True, busy_timeout=0.05)
        with pytest.raises(JournalUnwritable, match="WAL mode"):
            journal.append(Note(text="refused: this SQLite must not"))
    with new_journal(path) as journal:  # nobody else has it open: turned back
        assert (journal.mode(), journal.append(Note(text="on")).seq) == ("truncate", 3)
    assert verify(path).ok


def test_a_wal_journal_on_read_only_media_is_read_and_verified(as_nobody_folder: Path) -> None:
    path = full_journal(as_nobody_folder / "j.db")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    path.chmod(0o444)
    as_nobody_folder.chmod(0o555)
    done = as_nobody(
        "p = pathlib.Path(sys.argv[1]); drop()\n"
        "found = verify.verify(p); print(found.ok, found.entries, found.problems)\n"
        "print(store.Journal.open_read_only(p).count())\n",
        path,
    )
    assert done.stdout.split() == ["True", str(LAST), "()", str(LAST)], done


def _killed_in_the_middle(path: Path, folder: Path) -> Path:
    """The journal at `path` as a process leaves it that dies in the middle of a large transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN IMMEDIATE")
    for n in range(50):
        connection.execute("INSERT INTO blobs VALUES (?, 1, zeroblob(9000))", (str(n),))
    for end in ("", "-journal"):
        shutil.copy(f"{path}{end}", folder / f"killed.db{end}")
    connection.execute("ROLLBACK")
    connection.close()
    assert (folder / "killed.db-journal").stat().st_size > 0
    return folder / "killed.db"


def test_half_a_transaction_of_a_dead_process_is_taken_back_by_who_only_reads(path: Path, tmp_path: Path) -> None:
    killed = _killed_in_the_middle(full_journal(path), tmp_path)
    found = verify(killed)
    assert (found.ok, found.entries) == (True, LAST)
    killed = _killed_in_the_middle(path, tmp_path)
    with Journal.open_read_only(killed) as journal:
        assert journal.count() == LAST


def test_half_a_transaction_on_read_only_media_is_explained(as_nobody_folder: Path, tmp_path: Path) -> None:
    killed = _killed_in_the_middle(full_journal(tmp_path / "j.db"), as_nobody_folder)
    for file in as_nobody_folder.iterdir():
        file.chmod(0o444)
    as_nobody_folder.chmod(0o555)
    done = as_nobody(
        "p = pathlib.Path(sys.argv[1]); drop()\n"
        "found = verify.verify(p); print(found.ok, found.problems[0])\n"
        "try:\n"
        "    store.Journal.open_read_only(p)\n"
        "except JournalUnwritable as error:\n"
        "    print(error)\n",
        killed,
    )
    assert done.stdout.count("copy it together with killed.db-journal to a folder you can write") == 2, done
    assert done.stdout.startswith("False the journal")


@pytest.fixture
def as_nobody_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that an unprivileged user can reach, whoever runs the tests."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="rc-journal-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


# What goes wrong


def test_a_read_only_file_and_folder_are_refused_at_the_start(as_nobody_folder: Path) -> None:
    path = full_journal(as_nobody_folder / "j.db")
    path.chmod(0o444)
    as_nobody_folder.chmod(0o555)
    done = as_nobody(
        "drop()\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        open_it(pathlib.Path(name))\n"
        "    except JournalUnwritable as error:\n"
        "        print('unwritable', error)\n",
        path,
        as_nobody_folder / "new.db",
        "/proc/version/j.db",
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    assert "read-only: make the file and its folder writable" in lines[0]
    assert "cannot be made" in lines[1]
    assert "cannot be made" in lines[2]


def test_a_full_disk_records_nothing_and_goes_on_when_there_is_room(path: Path) -> None:
    with new_journal(path) as journal:
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        written = 1

        def fill() -> None:
            nonlocal written
            for _ in range(1000):
                journal.append_all([(Note(text="x" * 500), "", ""), (Note(text="y" * 500), "", "")])
                written += 2

        with pytest.raises(JournalUnwritable, match="disk is full"):
            fill()
        assert journal.count() == written
        with pytest.raises(JournalUnwritable, match="disk is full"):
            journal.put_blob(random.Random(1).randbytes(60_000))
        journal._connection.execute("PRAGMA max_page_count = 1000000")
        assert journal.append(Note(text="room again")).seq == written + 1
    assert verify(path).ok


def test_a_file_that_may_not_grow_records_nothing(path: Path) -> None:
    """RLIMIT_FSIZE: the write itself fails, as on a quota."""
    new_journal(path).close()
    done = as_nobody(
        "import resource\n"
        "p = pathlib.Path(sys.argv[1]); size = p.stat().st_size\n"
        "j = open_it(p)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 8192, resource.RLIM_INFINITY))\n"
        "n = 1\n"
        "try:\n"
        "    for _ in range(1000):\n"
        "        j.append(kinds.Note(text='x' * 400)); n += 1\n"
        "except JournalUnwritable as error:\n"
        "    print(type(error).__name__, n, j.count())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "print(j.append(kinds.Note(text='again')).seq)\n",
        path,
    )
    name, count, stands, after = done.stdout.split()
    assert (name, count, int(after)) == ("JournalUnwritable", stands, int(stands) + 1), done
    assert verify(path).ok


def test_locked_for_too_long(path: Path) -> None:
    new_journal(path).close()
    holder = sqlite3.connect(path, isolation_level=None)
    with Journal.open(path, device=device(), clock=WallClock(), rehearsal=True, busy_timeout=0.05) as journal:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalUnwritable, match=r"held it for too long.*journal status"):
            journal.append(Note(text="x"))
        holder.execute("ROLLBACK")
        assert journal.append(Note(text="x")).seq == 2
    holder.close()


NO_JOURNALS = [b"", b"not a database at all, but long enough to be one " * 100, b"SQLite format 3\x00"]


@pytest.mark.parametrize("content", NO_JOURNALS)
def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    with pytest.raises(JournalBroken):
        new_journal(path)
    with pytest.raises(JournalBroken):
        Journal.open_read_only(path)
    assert path.read_bytes() == content
    found = verify(path)
    assert (found.ok, len(found.problems)) == (False, 1)


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE entries (seq INTEGER PRIMARY KEY, text TEXT)")
    connection.commit()
    before = path.read_bytes()
    with pytest.raises(JournalBroken, match="not a journal of rollback-console"):
        new_journal(path)
    assert path.read_bytes() == before
    connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    with pytest.raises(JournalBroken):
        new_journal(path)


def test_no_file_to_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no journal at"):
        Journal.open_read_only(tmp_path / "none.db")
    with pytest.raises(UsageError, match="no journal at"):
        verify(tmp_path / "none.db")


def test_only_its_own_device_purpose_and_chain_append(path: Path) -> None:
    new_journal(path).close()
    with pytest.raises(JournalUnwritable, match="another device"):
        Journal.open(path, device=DeviceKey.from_seed(b"x"), clock=WallClock(), rehearsal=True)
    with pytest.raises(JournalUnwritable, match="a rehearsal's"):
        Journal.open(path, device=device(), clock=WallClock())
    with pytest.raises(JournalUnwritable, match="holds chain"):
        Journal.open(path, device=device(), clock=WallClock(), rehearsal=True, chain="x")
    live = path.with_name("live.db")
    with Journal.open(live, device=device(), clock=WallClock()) as journal:
        assert len(journal.chain) == 32
    with pytest.raises(JournalUnwritable, match="a live one"):
        Journal.open(live, device=device(), clock=WallClock(), rehearsal=True)


def test_a_newer_schema_is_read_not_written_and_an_older_one_migrated(path: Path) -> None:
    full_journal(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    with pytest.raises(JournalUnwritable, match="newer program"):
        new_journal(path)
    with Journal.open_read_only(path) as journal:
        assert journal.count() == LAST
    found = verify(path)
    assert found.ok
    assert "newer program" in found.warnings[0].message
    connection.execute("PRAGMA user_version = 0")
    with new_journal(path) as journal:
        assert journal.append(Note(text="x")).seq == LAST + 1
    assert connection.execute("PRAGMA user_version").fetchone() == (database.SCHEMA_VERSION,)
    connection.close()


def test_a_changed_head_or_a_cut_tail_is_noticed_before_anything_is_built_on_it(path: Path) -> None:
    full_journal(path)
    with new_journal(path) as journal:
        other = sqlite3.connect(path, isolation_level=None)
        for name in ("entries_no_update", "entries_no_delete"):
            other.execute(f"DROP TRIGGER {name}")
        other.execute("DELETE FROM entries WHERE seq > 20")
        with pytest.raises(JournalBroken, match=rf"entry {LAST} .* was changed or removed"):
            journal.append(Note(text="x"))
        other.execute("DELETE FROM entries")
        with pytest.raises(JournalBroken, match="another journal stands"):
            journal.append(Note(text="x"))
        other.close()
    with pytest.raises(JournalBroken, match="genesis"):
        new_journal(path)


def test_a_head_that_does_not_verify_is_refused_at_open(path: Path) -> None:
    full_journal(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("DROP TRIGGER entries_no_update")
    connection.execute("UPDATE entries SET operator = 'mallory' WHERE seq = ?", (LAST,))
    connection.close()
    with pytest.raises(JournalBroken, match=rf"{LAST}, does not verify.*journal verify"):
        new_journal(path)


def test_a_journal_replaced_or_moved_while_open_is_noticed(path: Path) -> None:
    with new_journal(path) as journal:
        path.rename(path.with_name("moved.db"))
        with pytest.raises(JournalUnwritable, match="moved or replaced"):
            journal.append(Note(text="x"))
        full_journal(path)
        with pytest.raises(JournalUnwritable, match="moved or replaced"):
            journal.append(Note(text="x"))
        path.with_name("moved.db").replace(path)
        assert journal.append(Note(text="x")).seq == 2


def test_a_damaged_page_is_said_with_what_is_good(path: Path) -> None:
    full_journal(path, rounds=30)
    raw = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    middle = len(raw) // size // 2 * size
    raw[middle : middle + size] = b"\xa5" * size
    path.write_bytes(raw)
    found = verify(path)
    assert not found.ok
    assert found.first_bad_seq is not None
    assert found.first_bad_seq > 1
    with pytest.raises(JournalBroken, match=r"damaged.*journal verify"), Journal.open_read_only(path) as journal:
        list(journal.entries())


class FakeConnection:
    """Stands in for a sqlite3.Connection whose COMMIT raises: after it became durable, or instead."""

    def __init__(self, real: sqlite3.Connection, durable: bool) -> None:
        self._real, self._durable = real, durable

    def execute(self, statement: str, *values: object) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self._real.execute("COMMIT" if self._durable else "ROLLBACK")
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(statement, *values)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


@pytest.mark.parametrize("durable", [True, False])
def test_a_commit_that_raised_is_looked_up_before_anything_is_said(path: Path, durable: bool) -> None:
    with new_journal(path) as journal:
        journal._connection = FakeConnection(journal._connection, durable)  # type: ignore[assignment]
        if durable:
            assert journal.append(Note(text="once")).seq == 2
        else:
            with pytest.raises(JournalBroken):
                journal.append(Note(text="once"))
        assert journal.append(Note(text="next")).seq == (3 if durable else 2)
        assert [e.body for e in journal.entries(kinds=["note"])].count(b'{"text":"once","v":1}') == durable
    assert verify(path).ok


def test_a_connection_lost_in_a_commit_is_taken_up_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    with new_journal(path) as journal:
        journal._connection = FakeConnection(journal._connection, False)  # type: ignore[assignment]
        with monkeypatch.context() as patched:
            patched.setattr(database, "connect", gone)
            with pytest.raises(JournalUnwritable, match="at the moment of recording"):
                journal.append(Note(text="x"))
        assert journal.append(Note(text="y")).seq == 2


def test_importing_the_store_brings_no_heavy_library() -> None:
    code = (
        "import sys, rollback_console.journal.store\n"
        "print([m for m in ('keyring', 'httpx', 'textual', 'rich', 'requests', 'sqlite_utils') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_opening_a_journal_that_is_there_does_not_load_sqlite_utils(path: Path) -> None:
    new_journal(path).close()
    code = (
        "import sys, pathlib\n"
        "from rollback_console.clock import WallClock\n"
        "from rollback_console.journal.store import Journal\n"
        "from rollback_console.journal.device import DeviceKey\n"
        "key = DeviceKey.from_seed(b'tests')\n"
        "Journal.open(pathlib.Path(sys.argv[1]), device=key, clock=WallClock(), rehearsal=True)\n"
        "print('sqlite_utils' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True).stdout.strip() == "False"


def test_verification_does_not_grow_with_the_journal(tmp_path: Path) -> None:
    peaks = []
    for count in (1_000, 4_000):
        path = tmp_path / f"{count}.db"
        with new_journal(path) as journal:
            for start in range(0, count, 500):
                journal.append_all([(Note(text=f"{start} {n}"), f"a/{start + n}", "ada") for n in range(500)])
        tracemalloc.start()
        assert verify(path).entries == count + 1
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 1.2 + 50_000, peaks

"""One chain over several files: closed, gone on with by whoever has it open, verified across, in part elsewhere."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from journal_tools import BLOB, CHAIN, LAST, device, full_journal, new_journal, resealed, stored, unguarded

from rollback_console.cli.main import run
from rollback_console.errors import JournalUnwritable, Refused
from rollback_console.journal import database, rotate, segments
from rollback_console.journal.chain import digest
from rollback_console.journal.kinds import Note, SegmentBegun
from rollback_console.journal.schema import versions
from rollback_console.journal.sources import rows_of
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def _thrice(path: Path) -> Path:
    """A chain over three files: every kind in the first, notes in the others."""
    full_journal(path)
    with new_journal(path) as journal:
        for number in range(2):
            rotate.rotate(journal)
            journal.append(Note(text=f"file {number + 2}"))
    return path


def test_the_chain_goes_on_in_the_next_file_whose_first_entry_names_the_one_before(path: Path) -> None:
    full_journal(path)
    with new_journal(path) as journal:
        head = journal.head()
        entry = rotate.rotate(journal)
        body = entry.parsed()
        assert isinstance(body, SegmentBegun)
        assert (entry.seq, entry.prev) == (head[0] + 1, head[1])
        assert (body.number, body.first_seq, body.last_seq, body.last) == (2, 1, LAST, head[1])
        (segment,) = journal.segments
        assert (segment.path.name, segment.first, segment.last) == (body.before, 1, LAST)
        assert body.digest == digest(segment.path.read_bytes())
        assert journal.append(Note(text="on")).seq == LAST + 2
        assert journal.count_here() == 2
        with rotate.RotationLock(path) as held:
            assert held.try_acquire("another process")
            with pytest.raises(Refused, match="another process rotates"):
                rotate.rotate(journal)
    found = verify(path)
    assert (found.ok, found.entries, found.head[0], found.warnings) == (True, LAST + 2, LAST + 2, ())


def test_readers_read_across_the_files(path: Path) -> None:
    _thrice(path)
    with Journal.open_read_only(path) as journal:
        entries = list(journal.entries())
        assert [entry.seq for entry in entries] == list(range(1, LAST + 5))
        assert [entry.seq for entry in journal.entries(after=LAST - 1, limit=3)] == [LAST, LAST + 1, LAST + 2]
        assert [entry.kind for entry in journal.entries(kinds=("note",))] == ["note"] * 3
        assert [entry.seq for entry in journal.tail(6)] == list(range(LAST - 1, LAST + 5))
        assert [row.seq for row in journal.rows()] == list(range(1, LAST + 5))
        assert [row.seq for row in rows_of(path)] == list(range(1, LAST + 5))
        assert journal.get(3) == entries[2]
        assert journal.get(LAST + 2) == entries[LAST + 1]
        assert journal.get(LAST + 9) is None
        assert journal.get_blob(digest(BLOB)) == BLOB
        assert journal.count() == LAST + 4
        assert journal.not_as_signed(range(1, LAST + 5)) == ()
        assert journal.chain == CHAIN
    found = verify(path)
    assert (found.ok, found.entries, found.blobs_missing, found.warnings) == (True, LAST + 4, 0, ())


def test_status_names_the_closed_files(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _thrice(path)
    assert run(["journal", "status", "--journal", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["segments"]
    assert [(each["first"], each["last"]) for each in found] == [(1, LAST), (LAST + 1, LAST + 2)]
    assert all(Path(each["path"]).stat().st_size == each["size_bytes"] for each in found)
    assert run(["journal", "status", "--journal", str(path)]) == 0
    assert f"segments  {segments.name(1, LAST)}: entries 1 to {LAST}" in capsys.readouterr().out


def test_whoever_has_it_open_goes_on_in_the_new_file(path: Path) -> None:
    with new_journal(path) as one, new_journal(path) as other, Journal.open_read_only(path) as reader:
        other.append(Note(text="before"))
        assert reader.count() == 2
        streaming = reader.entries()
        assert next(streaming).seq == 1
        rotate.rotate(one)
        assert other.append(Note(text="after")).seq == 4
        assert one.append(Note(text="and after")).seq == 5
        assert [entry.seq for entry in streaming] == [2]  # as far as it had read ahead
        assert reader.head()[0] == 5
        reader_seqs = [entry.seq for entry in reader.entries(after=1)]
        assert reader_seqs == [2, 3, 4, 5]
        rotate.rotate(other)
        rotate.rotate(one) if one.count_here() > 1 else one.append(Note(text="x"))
        assert reader.tail(1)[0].seq == reader.count()
    assert verify(path).ok


@pytest.mark.parametrize("step", ["file_digest", "_keep", "_replace", "rename"])
def test_a_rotation_that_dies_anywhere_is_finished_by_the_next_append(
    path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Died

    full_journal(path)
    with new_journal(path) as beside:
        with new_journal(path) as journal, monkeypatch.context() as broken:
            target = {"file_digest": rotate.segments, "rename": rotate.os}.get(step, rotate)
            broken.setattr(target, step, die)
            with pytest.raises(Died):
                rotate.rotate(journal)
        for file in path.parent.glob(f".{path.name}.*"):
            file.unlink()  # a process that is killed leaves it; `journal status` does not mind
        assert verify(path).ok
        assert beside.append(Note(text="on")).seq == LAST + 2
    with new_journal(path) as again:
        assert again.append(Note(text="and on")).seq == LAST + 3
    found = verify(path)
    assert (found.ok, found.entries, found.warnings) == (True, LAST + 3, ())


def test_a_closed_file_takes_nothing_more_from_any_program(path: Path) -> None:
    full_journal(path)
    with new_journal(path) as journal:
        rotate.rotate(journal)
        (segment,) = journal.segments
    connection = sqlite3.connect(segment.path, isolation_level=None)
    row = stored(connection)[-1]
    after = resealed(row._replace(seq=row.seq + 1, prev=row.hash), device())
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("INSERT INTO entries (chain, seq, at, mono, kind, deployment, operator, body, prev, hash,"
                           " signature) VALUES (?,?,?,?,?,?,?,?,?,?,?)", after)  # fmt: skip
    connection.close()


def test_a_segment_kept_elsewhere_leaves_a_chain_that_verifies_from_there_on_and_says_so(path: Path) -> None:
    _thrice(path)
    first, second = segments.closed(path)
    first.path.rename(path.parent / "elsewhere.db")
    found = verify(path)
    assert (found.ok, found.entries, found.first_bad_seq) == (True, 4, None)
    assert f"entries 1 to {LAST} are in files that are not here" in str(found.warnings[0])
    with new_journal(path) as journal:
        assert journal.append(Note(text="on")).seq == LAST + 5
        assert [entry.seq for entry in journal.entries()] == list(range(LAST + 1, LAST + 6))
        assert journal.get(3) is None
    shutil.rmtree(segments.folder(path))
    assert verify(path).ok
    gone = verify(path)
    assert f"entries 1 to {LAST + 2} are in files" in str(gone.warnings[0])
    assert second.first == LAST + 1


def _swap(a: Path, b: Path) -> None:
    aside = a.with_suffix(".aside")
    a.rename(aside)
    b.rename(a)
    aside.rename(b)


@pytest.mark.parametrize("which", ["middle gone", "row changed", "swapped", "tail of a closed file cut"])
def test_tampering_with_closed_files_is_found(path: Path, which: str) -> None:
    _thrice(path)
    first, second = segments.closed(path)
    if which == "middle gone":
        second.path.unlink()
        bad = LAST + 1
    elif which == "swapped":
        _swap(first.path, second.path)
        bad = 1
    else:
        connection = unguarded(first.path)
        if which == "row changed":
            connection.execute("UPDATE entries SET operator = 'eve' WHERE seq = 5")
            bad = 5
        else:
            connection.execute(f"DELETE FROM entries WHERE seq > {LAST - 2}")
            bad = LAST - 1
        connection.close()
    found = verify(path)
    assert not found.ok
    assert found.first_bad_seq == bad or which == "swapped"


def test_a_closed_file_that_holds_something_else_beside_its_entries_is_said(path: Path) -> None:
    _thrice(path)
    first, _ = segments.closed(path)
    connection = sqlite3.connect(first.path, isolation_level=None)
    connection.execute("DELETE FROM blobs")
    connection.close()
    found = verify(path)
    assert found.ok
    assert any("is not as it was closed" in str(warning) for warning in found.warnings)


def test_a_file_of_the_schema_before_is_migrated_with_its_entries(path: Path) -> None:
    from sqlite_utils import Database

    from rollback_console.journal.create import INSERT, canonical_body, seal
    from rollback_console.journal.kinds import Genesis

    connection = sqlite3.connect(path, isolation_level=None)
    versions.apply(Database(connection), stop_before="v2")
    connection.execute(f"PRAGMA application_id = {database.APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    genesis = Genesis(chain=CHAIN, program="old", device=device().public_openssh(), rehearsal=True)
    first = seal(device(), CHAIN, 1, (1, 1), ("genesis", canonical_body(genesis), "", ""), "")
    note = seal(device(), CHAIN, 2, (2, 2), ("note", canonical_body(Note(text="old")), "", ""), first.hash)
    connection.executemany(INSERT, [first, note])
    connection.close()
    assert verify(path).ok
    with Journal.open_read_only(path) as journal:  # read as it is; only who appends migrates
        assert journal.count() == 2
    with new_journal(path) as journal:
        assert journal.append(Note(text="new")).seq == 3
        rotate.rotate(journal)
        assert journal.append(Note(text="newer")).seq == 5
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (database.SCHEMA_VERSION,)
    assert [row[0] for row in connection.execute("SELECT name FROM _sqlite_migrations ORDER BY name")] == ["v1", "v2"]
    connection.close()
    assert verify(path).entries == 5
    assert verify(path).ok


def test_nothing_to_rotate_is_refused(path: Path) -> None:
    with new_journal(path) as journal, pytest.raises(Refused, match="no entry but its first"):
        rotate.rotate(journal)
    with Journal.open_read_only(path) as reader, pytest.raises(JournalUnwritable, match="for reading alone"):
        rotate.rotate(reader)


def test_in_wal_mode_it_rotates_alone_and_else_says_who_is_in_the_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "WAL_SAFE", True)
    full_journal(path)
    with new_journal(path) as journal:
        assert journal.mode() == "wal"
    connection = database.connect(path)
    try:
        rotate._plain(connection, path)  # nobody else has it open
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "truncate"
    finally:
        connection.close()


WRITER = """
import pathlib, sys
from rollback_console.clock import WallClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Note
from rollback_console.journal import rotate
from rollback_console.errors import Refused
from rollback_console.journal.store import Journal
key = DeviceKey.from_seed(b"tests")
path = pathlib.Path(sys.argv[1])
journal = Journal.open(path, device=key, clock=WallClock(), rehearsal=True, busy_timeout=60.0)
for n in range(60):
    journal.append(Note(text=f"{sys.argv[2]} {n}"))
    if n % 20 == int(sys.argv[2]) * 5 + 4:
        try:
            rotate.rotate(journal)
        except Refused:
            pass
"""


def test_several_processes_append_and_rotate_at_once(path: Path) -> None:
    new_journal(path).close()
    running = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, str(n)], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    errors = [each.communicate(timeout=120)[1] for each in running]
    assert errors == ["", "", ""]
    found = verify(path)
    assert found.ok, found.problems
    assert found.warnings == ()
    with Journal.open_read_only(path) as journal:
        texts = [body.text for entry in journal.entries(kinds=("note",)) if isinstance(body := entry.parsed(), Note)]
        assert len(journal.segments) >= 3
    assert sorted(texts) == sorted(f"{n} {k}" for n in range(3) for k in range(60))

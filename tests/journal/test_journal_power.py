"""A power cut at any moment: what was acknowledged is there, the chain is whole, and the next start goes on.

Under the same cuts a journal with less than FULL durability loses entries: the check can fail.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from journal_tools import CAMPAIGN, new_journal
from shaky_disk import Disk, Event, after_cut, shaky

from rollback_console.errors import JournalError
from rollback_console.journal import database
from rollback_console.journal.kinds import Note
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify

ROUNDS = 1_500 if CAMPAIGN else 60


@dataclass(frozen=True)
class Recording:
    base: dict[str, bytes]
    events: list[Event]
    name: str


def record(folder: Path, weaken: str = "", appends: int = 60) -> Recording:
    """A journal that is written to on the recorded disk; each entry is acknowledged when `append_all` returns.

    `weaken`: a pragma that a journal never sets, to see what it would cost.
    """
    path = folder / "journal.db"
    new_journal(path).close()
    base = {str(file): file.read_bytes() for file in folder.iterdir() if file.name.startswith("journal.db")}
    dice = random.Random(3)
    with shaky() as disk:
        journal = new_journal(path)
        if weaken:
            journal._connection.execute(weaken)
        for number in range(appends):
            _append(journal, disk, number, dice)
        events = list(disk.events)  # the power fails while it is open: nothing is tidied up
        journal.close()
    return Recording(base, events, path.name)


def _append(journal: Journal, disk: Disk, number: int, dice: random.Random) -> None:
    items = [(Note(text=f"entry {number} " + "x" * dice.randrange(3_000)), "", "") for _ in range(number % 3 + 1)]
    for entry in journal.append_all(items, [dice.randbytes(dice.randrange(1, 40_000))] if number % 2 else []):
        disk.ack((entry.seq, entry.hash))
    if number % 7 == 6:
        journal.put_live(dice.randbytes(9_000), 1.0)


def lost(recording: Recording, rounds: int, folder: Path, dice: random.Random) -> int:
    """In how many cuts something acknowledged was gone or the file was no sound journal."""
    bad = 0
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir(parents=True)
        cut = dice.randrange(1, len(recording.events) + 1)
        told = after_cut(recording.base, recording.events[:cut], dice, place)
        bad += not _survived(place / recording.name, dict(told))
    return bad


def _survived(path: Path, told: dict[int, str]) -> bool:
    try:
        with new_journal(path) as journal:
            stored = {entry.seq: entry.hash for entry in journal.entries()}
            if any(stored.get(seq) != hash_ for seq, hash_ in told.items()):
                return False
            journal.append(Note(text="power is back"))
            for seq in stored:
                entry = journal.get(seq)
                assert entry is not None
    except (JournalError, AssertionError):
        return False
    return verify(path).ok


@pytest.fixture(params=["rollback journal", "WAL"])
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both modes that a journal may be kept in, whatever this SQLite would choose; one process is safe in either."""
    monkeypatch.setattr(database, "WAL_SAFE", request.param == "WAL")
    return str(request.param)


def test_no_acknowledged_entry_is_lost_to_a_power_cut(mode: str, tmp_path: Path) -> None:
    folder = tmp_path / "recorded"
    folder.mkdir()
    recording = record(folder)
    syncs = sum(event.op == "sync" for event in recording.events)
    assert syncs > 60
    assert any(event.path.endswith("-wal") for event in recording.events) == (mode == "WAL")
    assert lost(recording, ROUNDS, tmp_path / "cuts", random.Random(11)) == 0


def test_with_less_than_full_durability_the_same_cuts_lose_entries(mode: str, tmp_path: Path) -> None:
    folder = tmp_path / "recorded"
    folder.mkdir()
    recording = record(folder, weaken="PRAGMA synchronous = NORMAL")
    rounds = ROUNDS // 2
    assert lost(recording, rounds, tmp_path / "cuts", random.Random(11)) > rounds // 20


def test_a_cut_at_every_single_event_of_an_append(mode: str, tmp_path: Path) -> None:
    """Not by chance: after each of the writes and syncs of a few appends, with all or nothing of what was unsynced."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    recording = record(folder, appends=4)
    keeping: tuple[Callable[[], float], ...] = (lambda: 0.0, lambda: 1.0)
    for cut in range(1, len(recording.events) + 1):
        for number, _ in enumerate(keeping):
            place = tmp_path / f"{cut}-{number}"
            place.mkdir()
            dice = _Always(keeping[number]())
            told = after_cut(recording.base, recording.events[:cut], dice, place)
            assert _survived(place / recording.name, dict(told)), (cut, recording.events[cut - 1].op)


class _Always(random.Random):
    """Dice that keep everything unsynced (1.0), or nothing (0.0)."""

    def __init__(self, kept: float) -> None:
        super().__init__(0)
        self._kept = kept

    def random(self) -> float:
        return 0.25

    def choice(self, seq: object) -> float:  # type: ignore[override]  # the one choice there is: how much is kept
        return self._kept


def test_the_disk_under_it_is_the_sqlite_that_the_journal_uses(tmp_path: Path) -> None:
    with shaky() as disk:
        new_journal(tmp_path / "journal.db").close()
        assert {event.op for event in disk.events} >= {"write", "sync"}
    before = len(disk.events)
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (a)")
    assert len(disk.events) == before

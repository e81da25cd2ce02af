"""kill -9 at any moment: what was acknowledged is there, the chain is whole, and the next process goes on."""

from __future__ import annotations

import random
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from journal_tools import CAMPAIGN, CHAIN, new_journal

from rollback_console.journal.kinds import Note
from rollback_console.journal.locks import RecorderLock
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify

ROUNDS = 25 if CAMPAIGN else 15  # kills on one journal: four writers make tens of thousands of entries meanwhile
JOURNALS = 8 if CAMPAIGN else 1
PROCESSES = 4

WRITER = """
import itertools, os, pathlib, sys
from rollback_console.clock import WallClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Note
from rollback_console.journal.locks import RecorderLock
from rollback_console.journal.store import Journal
key = DeviceKey.from_seed(b"tests")
path = pathlib.Path(sys.argv[1])
journal = Journal.open(path, device=key, clock=WallClock(), rehearsal=True, chain=sys.argv[2], busy_timeout=60.0)
lock = RecorderLock(path)
for n in itertools.count():
    recorder = lock.try_acquire("records")
    body = Note(text=f"{os.getpid()} " + "x" * (n * 37 % 3000))
    entries = journal.append_all([(body, "", "")] * (n % 3 + 1), blobs=[str(n).encode() * 999] if recorder else [])
    for entry in entries:
        print(entry.seq, entry.hash, "recorder" if recorder else "beside", flush=True)
"""


class Writer:
    """A process that appends, and what it was told is durable."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WRITER, path, CHAIN], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):  # half a line tells nobody anything
                self.lines.append(line.decode())

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        assert errors == b"", errors

    def told(self) -> dict[int, str]:
        return {int(seq): hash_ for seq, hash_, _ in (line.split() for line in list(self.lines))}

    @property
    def recorded(self) -> bool:
        return any(line.endswith("recorder\n") for line in list(self.lines))


@contextmanager
def writers(path: Path) -> Iterator[list[Writer]]:
    found = [Writer(path) for _ in range(PROCESSES)]
    try:
        yield found
    finally:
        for each in found:
            if each.process.poll() is None:
                each.kill()


def _wait(condition: object, what: str) -> None:
    assert callable(condition)
    for _ in range(6_000):
        if condition():
            return
        select.select([], [], [], 0.01)
    raise AssertionError(what)


def _check(path: Path, acknowledged: dict[int, str], when: object) -> int:
    """No acknowledged entry is lost, no number missing or twice, the chain whole. How many entries there are."""
    found = verify(path)
    assert found.ok, (when, found.problems)
    with Journal.open_read_only(path) as journal:
        stored = [(entry.seq, entry.hash) for entry in journal.entries()]
    assert [seq for seq, _ in stored] == list(range(1, len(stored) + 1)), when
    known = dict(stored)
    lost = {seq for seq, hash_ in acknowledged.items() if known.get(seq) != hash_}
    assert not lost, (when, lost)
    return len(stored)


@pytest.mark.parametrize("journal_number", range(JOURNALS))
def test_no_acknowledged_entry_is_lost_to_kill_9_among_four_processes(tmp_path: Path, journal_number: int) -> None:
    """Four processes on one journal, one of them the recorder; in each round one of them is killed (every other time
    the recorder) somewhere in its appends, the others go on, and another takes its place."""
    path = tmp_path / "journal.db"
    new_journal(path).close()
    acknowledged: dict[int, str] = {}
    dice = random.Random(9 + journal_number)
    recorders = 0
    with writers(path) as running:
        for number in range(ROUNDS):
            # Each has written since it began: a newcomer too, among three that hold the file nearly all the time.
            _wait(lambda: all(each.lines for each in running), "a writer wrote nothing for a minute")
            holder = RecorderLock(path).holder()
            victim = next(
                (each for each in running if number % 2 and holder is not None and each.process.pid == holder.pid),
                dice.choice(running),
            )
            # Not always right after an acknowledgement: somewhere in the next appends.
            select.select([], [], [], dice.random() * 0.02)
            victim.kill()
            recorders += victim.recorded
            for seq, hash_ in victim.told().items():
                assert seq not in acknowledged, "one number was acknowledged twice"
                acknowledged[seq] = hash_
            if number % 10 == 4 or number == ROUNDS - 1:
                _check(path, acknowledged, number)  # while the others write
            running[running.index(victim)] = Writer(path)
    for each in running:
        acknowledged |= each.told()
    count = _check(path, acknowledged, "the end")
    assert recorders >= ROUNDS // 4
    assert len(acknowledged) > ROUNDS * 4
    with new_journal(path) as journal:
        assert journal.append(Note(text="on")).seq == count + 1


@pytest.mark.parametrize("number", range(3 if CAMPAIGN else 1))
def test_all_four_killed_at_one_moment(tmp_path: Path, number: int) -> None:
    path = tmp_path / "journal.db"
    new_journal(path).close()
    with writers(path) as running:
        _wait(lambda: all(each.lines for each in running), "a writer wrote nothing for a minute")
        for each in running:
            each.process.send_signal(signal.SIGKILL)
        for each in running:
            each.kill()
    acknowledged = {seq: hash_ for each in running for seq, hash_ in each.told().items()}
    count = _check(path, acknowledged, number)
    with new_journal(path) as journal:
        assert journal.append(Note(text="on")).seq == count + 1


def test_kill_9_while_a_journal_is_made_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    """Creation is one link: whenever the maker dies, the path holds nothing or a journal that verifies."""
    made = 0
    for number in range(ROUNDS // 3):
        path = tmp_path / f"{number}.db"
        with subprocess.Popen([sys.executable, "-c", WRITER, path, CHAIN], stdout=subprocess.PIPE) as writer:
            # The folder is empty until the maker's temporary file appears; then it has milliseconds left to die in.
            while not any(p.name.startswith((f".{number}.", f"{number}.")) for p in tmp_path.iterdir()):
                assert writer.poll() is None
            select.select([], [], [], number * 0.004)
            while number == ROUNDS // 3 - 1 and not path.exists():  # at least the last is made, on the slowest machine
                assert writer.poll() is None
            writer.send_signal(signal.SIGKILL)
        if path.exists():
            made += 1
            assert verify(path).ok
        with new_journal(path) as journal:
            assert journal.append(Note(text="on")).seq >= 2
    assert made > 0

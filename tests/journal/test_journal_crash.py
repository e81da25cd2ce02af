"""kill -9 at any moment: what was acknowledged is there, the chain is whole, and the next process goes on."""

from __future__ import annotations

import random
import select
import signal
import subprocess
import sys
from pathlib import Path

from journal_tools import CAMPAIGN, CHAIN, new_journal

from rollback_console.journal.kinds import Note
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify

ROUNDS = 200 if CAMPAIGN else 15

WRITER = """
import itertools, pathlib, sys
from rollback_console.clock import WallClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Note
from rollback_console.journal.store import Journal
key = DeviceKey.from_seed(b"tests")
journal = Journal.open(pathlib.Path(sys.argv[1]), device=key, clock=WallClock(), rehearsal=True, chain=sys.argv[2])
for n in itertools.count():
    body = Note(text="x" * (n * 37 % 3000))
    entries = journal.append_all([(body, "", "")] * (n % 3 + 1), blobs=[str(n).encode() * 999])
    for entry in entries:
        print(entry.seq, entry.hash, flush=True)
"""


def test_no_acknowledged_entry_is_lost_to_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    new_journal(path).close()
    acknowledged: dict[int, str] = {}
    dice = random.Random(9)
    for number in range(ROUNDS):
        wanted = dice.randrange(1, 60)
        with subprocess.Popen([sys.executable, "-c", WRITER, path, CHAIN], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            out = b""
            while out.count(b"\n") < wanted:
                chunk = writer.stdout.read1(65536)
                assert chunk, "the writer ended by itself"
                out += chunk
            # Not always right after an acknowledgement: somewhere in the next appends.
            select.select([], [], [], dice.random() * 0.01)
            writer.send_signal(signal.SIGKILL)
            out += writer.stdout.read()
        whole = out[: out.rfind(b"\n") + 1].decode().split()
        acknowledged |= {int(seq): hash_ for seq, hash_ in zip(whole[::2], whole[1::2], strict=True)}
        found = verify(path)
        assert found.ok, (number, found.problems)
        with Journal.open_read_only(path) as journal:
            stored = {entry.seq: entry.hash for entry in journal.entries()}
        lost = {seq for seq, hash_ in acknowledged.items() if stored.get(seq) != hash_}
        assert not lost, (number, lost)
    with new_journal(path) as journal:
        assert journal.append(Note(text="on")).seq == found.entries + 1
    assert len(acknowledged) > ROUNDS


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

"""Nothing was written for a while: an entry says so, with the head before it, and only where a recorder runs."""

from __future__ import annotations

from pathlib import Path

from rollback_console.clock import VirtualClock
from rollback_console.engine.silence import Silence, keep_silence
from rollback_console.engine.writer import Writer
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Checkpointed, Note
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify

QUIET_S = 900.0


def _journal(path: Path, clock: VirtualClock) -> Journal:
    return Journal.open(path, device=DeviceKey.from_seed(b"s"), clock=clock, rehearsal=True)


def _checkpoints(journal: Journal) -> list[Checkpointed]:
    bodies = (entry.parsed() for entry in journal.entries(kinds=("checkpoint",)))
    return [body for body in bodies if isinstance(body, Checkpointed)]


async def test_a_silence_is_an_entry_and_writing_begins_it_anew(tmp_path: Path) -> None:
    clock = VirtualClock(1_780_000_000.0)
    with _journal(tmp_path / "j.db", clock) as journal:
        silence = Silence(Writer(journal, (), inline=True), clock, QUIET_S, 12)
        silence.look()
        await clock.advance(899.0)
        silence.look()
        assert _checkpoints(journal) == []
        journal.append(Note(text="something happens"))
        head = journal.head()
        silence.look()
        await clock.advance(899.0)
        silence.look()
        assert _checkpoints(journal) == []
        await clock.advance(1.0)
        silence.look()
        (found,) = _checkpoints(journal)
        assert (found.head_seq, found.head, found.quiet_s, found.deployments) == (*head, 900.0, 12)
        assert found.wall == str(round(clock.now() * 1e9))
        silence.look()
        await clock.advance(900.0)
        silence.look()
        assert [c.head_seq for c in _checkpoints(journal)] == [2, 3]  # each goes on from the one before
    assert verify(tmp_path / "j.db").ok


async def test_the_engine_keeps_it_while_it_records_and_not_otherwise(tmp_path: Path) -> None:
    import asyncio

    clock = VirtualClock(1_780_000_000.0)
    recording = True
    with _journal(tmp_path / "j.db", clock) as journal:
        writer = Writer(journal, (), inline=True)
        task = asyncio.create_task(keep_silence(writer, clock, QUIET_S, 3, lambda: recording))
        for _ in range(20):
            await clock.advance(150.0)
        assert len(_checkpoints(journal)) == 3
        writer.evaluations = 7
        recording = False
        for _ in range(20):
            await clock.advance(150.0)
        assert len(_checkpoints(journal)) == 3
        task.cancel()

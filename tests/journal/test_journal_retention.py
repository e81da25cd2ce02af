"""Retention drops samples, never entries, and never what somebody still works on; the chain does not notice."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from journal_tools import DEPLOYMENT, device

from rollback_console.clock import VirtualClock
from rollback_console.errors import Refused
from rollback_console.journal import rotate
from rollback_console.journal.chain import digest
from rollback_console.journal.kinds import BlobsDropped, IncidentRecorded, PolicyInForce, Requested, TickRecorded
from rollback_console.journal.retention import BEFORE_ONSET_S, prune
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify

DAY = 86_400.0
START = 1_700_000_000.0


def _tick(journal: Journal, clock: VirtualClock) -> str:
    """Samples of an evaluation now; their digest."""
    data = random.Random(clock.now()).randbytes(9_000)
    body = TickRecorded(at=clock.now(), blob=digest(data), deployments=1, not_healthy=[])
    journal.append_all([(body, "", "")], [data])
    return body.blob


def _incident(journal: Journal, event: Any, onset: float, name: str = "i-1") -> None:
    body = IncidentRecorded(
        event=event, id=name, members=[DEPLOYMENT], onset=onset, attribution="release", reasons=[], sentence="v8"
    )
    journal.append(body)


def _open(path: Path, clock: VirtualClock) -> Journal:
    return Journal.open(path, device=device(), clock=clock, rehearsal=True)


async def _days(journal: Journal, clock: VirtualClock, count: int) -> list[str]:
    found = []
    for _ in range(count):
        found.append(_tick(journal, clock))
        await clock.advance(DAY)
    return found


async def test_old_samples_go_entries_and_everything_else_stay(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.db", VirtualClock(START)
    with _open(path, clock) as journal:
        policy, plan = journal.put_blob(b"policy: x"), journal.put_blob(b"the plan")
        journal.append(PolicyInForce(what="policy", name="p", version=1, digest=policy))
        journal.append(Requested(execution="e", plan=plan, plan_blob=plan, phrase="p", reason="r"))
        ticks = await _days(journal, clock, 10)
        before = journal.count()
        entry = prune(journal, clock.now() - 5 * DAY, "ana")
        body = entry.parsed()
        assert isinstance(body, BlobsDropped)
        assert (body.blobs, body.files, entry.operator) == (5, [], "ana")
        assert body.size_bytes > 0
        assert [journal.get_blob(each) is None for each in ticks] == [True] * 5 + [False] * 5
        assert journal.get_blob(policy) == b"policy: x"
        assert journal.get_blob(plan) == b"the plan"
        assert journal.count() == before + 1
        with pytest.raises(Refused, match="no samples that old"):
            prune(journal, clock.now() - 5 * DAY - 1, "ana")
    found = verify(path)
    assert (found.ok, found.blobs_missing) == (True, 5)


async def test_samples_of_an_open_incident_stay_until_it_is_closed(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.db", VirtualClock(START)
    with _open(path, clock) as journal:
        ticks = await _days(journal, clock, 6)
        _incident(journal, "opened", START + 2 * DAY + BEFORE_ONSET_S)
        prune(journal, clock.now(), "")
        assert [journal.get_blob(each) is None for each in ticks] == [True, True, False, False, False, False]
        _incident(journal, "closed", START + 2 * DAY)
        prune(journal, clock.now(), "")
        assert all(journal.get_blob(each) is None for each in ticks)
    assert verify(path).ok


async def test_closed_files_lose_theirs_too_and_their_new_digests_are_recorded(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.db", VirtualClock(START)
    with _open(path, clock) as journal:
        ticks = await _days(journal, clock, 4)
        rotate.rotate(journal)
        ticks += await _days(journal, clock, 4)
        size = journal.segments[0].path.stat().st_size
        body = prune(journal, START + 6 * DAY, "").parsed()
        assert isinstance(body, BlobsDropped)
        assert body.blobs == 6
        assert [file.name for file in body.files] == [journal.segments[0].path.name]
        assert journal.segments[0].path.stat().st_size < size
        assert [journal.get_blob(each) is None for each in ticks] == [True] * 6 + [False] * 2
        journal.append(PolicyInForce(what="policy", name="p", version=1, digest=journal.put_blob(b"x")))
    found = verify(path)
    assert found.ok
    assert [warning for warning in found.warnings if "not as it was closed" in str(warning)] == []


async def test_samples_that_something_newer_names_stay(tmp_path: Path) -> None:
    path, clock = tmp_path / "j.db", VirtualClock(START)
    with _open(path, clock) as journal:
        first = _tick(journal, clock)
        await clock.advance(3 * DAY)
        journal.append(TickRecorded(at=clock.now(), blob=first, deployments=1, not_healthy=[]))
        with pytest.raises(Refused, match="no samples that old"):
            prune(journal, START + 2 * DAY, "")
        assert journal.get_blob(first) is not None

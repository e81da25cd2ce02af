"""One execution at a time across the team: leases of a real hub under real executions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from execute.exec_support import ID, Bench
from hub.sync_tools import Laptop
from rollback_console.errors import LockHeld
from rollback_console.execute.leases import HubLeases
from rollback_console.execute.locks import MemoryLocks, TeamLock
from rollback_console.execute.protocol import Pointer
from rollback_console.journal.upstream import HubClient
from rollback_console.model.plan import ExecutionState
from servers.hub import Hub

pytestmark = pytest.mark.real
WHERE = "production/checkout ranker"


class Console:
    """A machine's leases; `url` may be changed to where nobody answers."""

    def __init__(self, laptop: Laptop, ttl_s: float = 30.0) -> None:
        self.url = laptop.url
        self.leases = HubLeases(lambda: HubClient(self.url, laptop.token, timeout_s=2.0), ttl_s)
        self.locks = MemoryLocks(lambda: 0.0)

    def lock(self, deployment: str = WHERE) -> TeamLock:
        return TeamLock(self.locks(deployment), self.leases, deployment)

    async def taken(self, note: str) -> TeamLock:
        lock = self.lock()
        assert lock.try_acquire(note)
        await lock.share()
        return lock


@pytest.fixture
def ana(hub: Hub, tmp_path: Path) -> Console:
    return Console(Laptop(tmp_path / "ana", hub))


@pytest.fixture
def ben(hub: Hub, tmp_path: Path) -> Console:
    return Console(Laptop(tmp_path / "ben", hub))


async def given_back(lock: TeamLock) -> None:
    lock.release()
    if giving := [each for each in asyncio.all_tasks() if "release" in repr(each.get_coro())]:
        await asyncio.wait(giving, timeout=10)


async def test_another_machine_is_refused_with_who_has_it_and_gets_it_after(ana: Console, ben: Console) -> None:
    first = await ana.taken("ex-1 by ana")
    assert first.words.startswith("the team's lease with token ")
    with pytest.raises(LockHeld, match=f"ex-1 by ana on .* is executing on {WHERE}"):
        await ben.taken("ex-2 by ben")
    assert await first.lost() == ""
    await given_back(first)
    ben.locks = MemoryLocks(lambda: 0.0)
    second = await ben.taken("ex-3 by ben")
    assert int(second.words.split()[-1]) > int(first.words.split()[-1])
    await given_back(second)


async def test_a_hub_that_is_down_keeps_nobody_from_a_rollback(ana: Console) -> None:
    ana.url = "http://127.0.0.1:9"
    lock = await ana.taken("ex-1 by ana")
    assert "the hub cannot be asked" in lock.words
    assert "this machine's lock alone holds" in lock.words
    assert await lock.lost() == ""
    await given_back(lock)


async def test_who_died_is_resumed_before_its_lease_lapses(hub: Hub, tmp_path: Path) -> None:
    laptop = Laptop(tmp_path / "ana", hub)
    died = await Console(laptop).taken("ex-9 by ana")
    resumed = await Console(laptop).taken("ex-9, resumed by ben")
    assert "earlier process" in resumed.words
    await given_back(resumed)
    await given_back(died)


async def test_an_execution_whose_lease_went_to_somebody_else_sets_nothing(
    hub: Hub, tmp_path: Path, ben: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off from the hub until the lease lapsed: the token is old, and the fence is asked right before the touch."""
    slow = Console(Laptop(tmp_path / "slow", hub), ttl_s=0.6)
    bench = Bench(tmp_path, lock_of=slow.lock)
    touched = bench.driver.hold_lock

    async def held_up(
        pointer: Pointer, holder: str, until: float
    ) -> str | None:  # the advisory lock comes before the pointer is set
        slow.url = "http://127.0.0.1:9"
        other = TeamLock(ben.locks("x"), ben.leases, str(ID))
        while True:
            try:
                await other.share()
                break
            except LockHeld:
                await asyncio.sleep(0.1)
        slow.url = hub.url
        return await touched(pointer, holder, until)

    monkeypatch.setattr(bench.driver, "hold_lock", held_up)
    ended = await bench.whole()
    assert ended.state is ExecutionState.FAILED
    assert "has the team's lease" in ended.detail
    assert bench.files.moves() == []

"""Back-off, budget, probe and health on a virtual clock: nothing sleeps."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.clock import VirtualClock
from rollback_console.errors import BackendError, BackendNonsense, BackendRefused, BackendUnreachable
from rollback_console.model.observation import BackendState
from rollback_console.observe.guard import Budget, Guard
from rollback_console.observe.http import Transient, WrongCredentials, server


class Highest(Random):
    """Full jitter at its longest, so that times can be named."""

    def uniform(self, a: float, b: float) -> float:
        return b


class World:
    """A backend that fails while `error` is set, and a guard before it."""

    def __init__(self, random: Random | None = None, per_minute: float = 1_000_000, in_flight: int = 4) -> None:
        self.clock = VirtualClock(1_000_000.0)
        self.error: BackendError | None = None
        self.asked = 0
        self.probes = 0
        self.guard = Guard(
            server("prometheus", "http://prometheus:9090"),
            clock=self.clock,
            random=random or Highest(),
            max_in_flight=in_flight,
            queries_per_minute=per_minute,
            probe=self._probe,
        )

    async def _probe(self) -> None:
        self.probes += 1
        await asyncio.sleep(0)
        if self.error:
            raise self.error

    async def _attempt(self) -> str:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return "answer"

    async def ask(self) -> str:
        return await self.guard.call(self._attempt)

    async def fails(self) -> BackendError:
        with pytest.raises(BackendError) as caught:
            await self.ask()
        return caught.value


def down() -> BackendUnreachable:
    return BackendUnreachable("prometheus at prometheus:9090 did not answer within 10 s")


async def settle() -> None:
    """Let everything that can run without time moving on run."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_it_connects_before_it_is_ok() -> None:
    world = World()
    assert world.guard.health().state is BackendState.CONNECTING
    assert await world.ask() == "answer"
    assert world.guard.health().state is BackendState.OK
    assert world.guard.health().last_ok == 1_000_000.0


async def test_failures_in_a_row_open_the_circuit_for_longer_and_longer() -> None:
    world = World()
    world.error = down()
    await world.fails()
    assert world.guard.health().state is BackendState.FAILING
    assert "next try" not in world.guard.health().detail
    await world.fails()
    waits = []
    for _ in range(8):
        error = await world.fails()
        asked, probes = world.asked, world.probes
        assert "backing off from prometheus, next try in" in str(error)
        assert "did not answer" in str(error)
        assert "next try in" in world.guard.health().detail
        wait = float(str(error).split("next try in ")[1].split(" s")[0])
        waits.append(wait)
        await world.clock.advance(wait - 0.5)
        await world.fails()
        assert (world.asked, world.probes) == (asked, probes), "it asked while backing off"
        await world.clock.advance(0.6)
        await world.fails()  # due: the probe goes out, and fails
        assert (world.asked, world.probes) == (asked, probes + 1)
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]


async def test_one_probe_decides_and_the_others_wait_for_it() -> None:
    world = World()
    world.error = down()
    await world.fails()
    await world.fails()
    await world.clock.advance(2.1)
    world.error = None
    assert await asyncio.gather(*(world.ask() for _ in range(6))) == ["answer"] * 6
    assert world.probes == 1
    assert world.guard.health().state is BackendState.OK


async def test_a_refused_probe_closes_the_circuit_too() -> None:
    world = World()
    world.error = down()
    await world.fails()
    await world.fails()
    await world.clock.advance(2.1)
    world.error = BackendRefused("prometheus refuses: parse error")
    assert isinstance(await world.fails(), BackendRefused)
    world.error = None
    assert await world.ask() == "answer"


async def test_queries_that_fail_together_are_one_failure() -> None:
    world = World(in_flight=8)
    world.error = down()
    results = await asyncio.gather(*(world.ask() for _ in range(8)), return_exceptions=True)
    assert all("did not answer" in str(result) and "backing off" not in str(result) for result in results)
    assert world.asked == 8
    await world.fails()
    assert world.asked == 9, "the circuit opened after what was one failure"


async def test_a_success_in_between_keeps_it_closed() -> None:
    world = World()
    for _ in range(5):
        world.error = BackendNonsense("prometheus at x answers with HTML")
        await world.fails()
        world.error = None
        assert await world.ask() == "answer"
    assert world.asked == 10


async def test_refusals_never_open_it() -> None:
    world = World()
    for error in (BackendRefused("parse error"), WrongCredentials("401")):
        world.error = error
        for _ in range(5):
            assert await world.fails() is error
    assert world.asked == 10
    assert world.guard.health().state is BackendState.FAILING  # the credentials
    world.error = BackendRefused("parse error")
    await world.fails()
    assert world.guard.health().state is BackendState.OK
    assert "parse error" in world.guard.health().detail


async def test_a_short_retry_after_is_waited_for_and_a_long_one_is_honoured() -> None:
    world = World()
    world.error = Transient("prometheus is not available (503)", "", 3.0)
    task = asyncio.ensure_future(world.ask())
    await settle()
    await world.clock.advance(2.9)
    assert world.asked == 1
    world.error = None
    await world.clock.advance(1.0)
    assert await task == "answer"
    assert world.asked == 2
    world.error = Transient("prometheus is not available (429)", "", 120.0)
    await world.fails()
    assert world.asked == 3, "it asked again though told to stay away"
    await world.clock.advance(119)
    assert "backing off" in str(await world.fails())
    world.error = None
    await world.clock.advance(2)
    assert await world.ask() == "answer"


async def test_an_absurd_retry_after_is_bounded() -> None:
    world = World()
    world.error = Transient("prometheus is not available (503)", "", 1e9)
    await world.fails()
    await world.clock.advance(301)
    world.error = None
    assert await world.ask() == "answer"


async def test_a_surprise_of_a_library_is_a_backend_error() -> None:
    world = World()

    async def surprise() -> str:
        raise KeyError("\x1b[2J")

    with pytest.raises(BackendNonsense, match="KeyError") as caught:
        await world.guard.call(surprise)
    assert "\x1b" not in str(caught.value)


async def test_urgent_calls_pass_an_open_circuit_and_an_empty_budget() -> None:
    world = World(per_minute=2)
    await world.ask()
    await world.ask()
    world.error = down()
    for _ in range(3):
        with pytest.raises(BackendUnreachable, match="did not answer"):
            await world.guard.call(world._attempt, urgent=True)
    world.error = None
    assert await world.guard.call(world._attempt, urgent=True) == "answer"


async def test_a_write_is_tried_once() -> None:
    world = World()
    world.error = Transient("connection reset")
    with pytest.raises(Transient):
        await world.guard.call(world._attempt, urgent=True, once=True)
    assert world.asked == 1


async def test_a_cancelled_probe_lets_the_next_one_try() -> None:
    world = World()
    world.error = down()
    await world.fails()
    await world.fails()
    await world.clock.advance(2.1)
    world.error = None
    first = asyncio.ensure_future(world.ask())
    second = asyncio.ensure_future(world.ask())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "answer"


async def test_the_budget_delays_and_then_refuses() -> None:
    world = World(per_minute=60)
    for _ in range(60):  # a burst of a minute's worth: what a cold start's back-fill needs
        await world.ask()
    begun = world.clock.now()
    tasks = [asyncio.ensure_future(world.ask()) for _ in range(15)]
    await settle()
    with pytest.raises(BackendUnreachable, match="over the budget of 60 queries a minute"):
        await world.ask()
    assert world.asked == 60
    await world.clock.advance(5.0)
    await settle()
    assert world.asked == 65, "one a second"
    await world.clock.advance(10.0)
    assert await asyncio.gather(*tasks) == ["answer"] * 15
    assert world.clock.now() == begun + 15
    assert world.guard.health().state is BackendState.OK, "our own budget is not the backend's failure"


@settings(max_examples=60, deadline=None)
@given(
    per_minute=st.integers(1, 600),
    gaps=st.lists(st.floats(0, 30, allow_nan=False), min_size=1, max_size=60),
)
def test_no_minute_sees_more_than_two_minutes_worth(per_minute: int, gaps: list[float]) -> None:
    """A bucket as large as a minute lets at most one burst and one minute's refill through in any minute."""

    async def run() -> list[float]:
        clock = VirtualClock()
        budget = Budget("prometheus", per_minute, clock)
        sent: list[float] = []

        async def one() -> None:
            try:
                await budget.take()
            except BackendUnreachable:
                return
            sent.append(clock.now())

        tasks = []
        for gap in gaps:
            tasks += [asyncio.ensure_future(one()) for _ in range(max(1, per_minute // 20))]
            await asyncio.sleep(0)
            await clock.advance(gap)
        await clock.advance(60)
        await asyncio.gather(*tasks)
        return sent

    sent = asyncio.run(run())
    for at in sent:
        assert sum(1 for other in sent if at <= other < at + 60) <= 2 * per_minute + 1


async def test_jitter_spreads_thirty_consoles() -> None:
    """Full jitter: consoles that failed at the same moment do not come back at the same moment."""
    tries = []
    for seed in range(30):
        world = World(Random(seed))
        world.error = down()
        for _ in range(8):
            with pytest.raises(BackendError):
                await world.ask()
            await world.clock.advance(max(0.0, world.guard._circuit.open_for_s) + 0.001)
        with pytest.raises(BackendError):
            await world.ask()
        tries.append(round(world.guard._circuit.open_for_s, 1))
    assert len(set(tries)) >= 20
    assert max(tries) <= 60

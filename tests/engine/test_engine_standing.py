"""A suspicion that has stood for longer than a cold start reads froze a level that nobody else knows: it is not called
settled."""

from __future__ import annotations

import pytest
from book_tools import DAY, HOUR, MONDAY, Recorded, day_shape, weighed

from rollback_console.clock import VirtualClock
from rollback_console.engine.backfill import Known, Replayed
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options

NOW = MONDAY + 13 * HOUR
BEGAN = NOW - 44 * HOUR  # a cold start reads from the mark before the last: thirteen hours and more


def fleet(drop: float) -> Recorded:
    """Sixteen days of one deployment that lost `drop` of its conversions at BEGAN."""
    return Recorded(
        MONDAY - 14 * DAY, NOW + HOUR, [weighed()], deployments=("d0",), visits=2_000.0,
        rate=lambda at: day_shape(at) * (1.0 - drop if at >= BEGAN else 1.0),
    )  # fmt: skip


def engine(data: Recorded, at: float) -> Engine:
    options = Options(step_s=60.0, delay_s=0.0, lookback_s=DAY, debug=True)
    return Engine(data.rules, data.metrics(until=at), None, VirtualClock(at), options, inline=True)


async def replayed(made: Engine, at: float) -> Replayed:
    found = await made.backfill.cold(at, lambda index, when: False, lambda notice, done, settled: None, None)
    assert not found.failing
    return found


@pytest.fixture(scope="module")
def dropped() -> Recorded:
    return fleet(0.06)


async def test_a_level_that_moved_is_not_called_settled(dropped: Recorded) -> None:
    cold = await replayed(engine(dropped, NOW), NOW)
    assert cold.unsettled == {0}
    unaware = engine(dropped, NOW)
    unaware.sampler.book.may_stand_frozen = lambda index, number, at: False  # type: ignore[union-attr, method-assign]
    assert (await replayed(unaware, NOW)).unsettled == set(), "nothing else would say so"


async def test_and_rightly_so_for_who_watched_compares_with_another(dropped: Recorded) -> None:
    watching = engine(dropped, BEGAN - HOUR)
    await watching.start()
    for k in range(1, round((NOW - BEGAN + HOUR) / 60.0) + 1):
        at = BEGAN - HOUR + 60.0 * k
        watching.clock._now = at  # type: ignore[attr-defined]
        watching.metrics.until = at  # type: ignore[attr-defined]
        await watching.step(at)
    (own,) = watching.board.memories[0].evidence
    assert own is not None
    assert own.frozen_at is not None
    assert own.frozen_at < BEGAN + 12 * HOUR, "it stands since long before what a cold start reads"
    cold = await replayed(engine(dropped, NOW), NOW)
    (other,) = cold.memories[0].evidence
    assert other is not None
    assert other.frozen_at != own.frozen_at


async def test_one_that_was_always_well_is_settled() -> None:
    data = fleet(0.0)
    cold = await replayed(engine(data, NOW), NOW)
    assert cold.unsettled == set()


async def test_who_knows_what_was_before_is_certain(dropped: Recorded) -> None:
    made = engine(dropped, NOW)
    before = await replayed(made, NOW - HOUR)
    known = Known(NOW - HOUR, before.memories)
    found = await made.backfill.cold(NOW, lambda index, when: False, lambda notice, done, settled: None, known)
    assert found.unsettled == set()

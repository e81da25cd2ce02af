"""The whole engine on learned baselines: a drop is found, and a console opened in its midst shows what one that watched
all along shows."""

from __future__ import annotations

import pytest
from book_tools import DAY, HOUR, MONDAY, Recorded, day_shape, weighed
from engine_tools import shown

from rollback_console.clock import VirtualClock
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.model.verdict import TriggerState

DROP = MONDAY + 10 * HOUR


@pytest.fixture(scope="module")
def dropping() -> Recorded:
    """Seventeen days of two deployments, and from Monday 10:00 on a fifth of the conversions of both gone."""
    return Recorded(
        MONDAY - 16 * DAY, DROP + 3 * HOUR, [weighed()], rate=lambda at: day_shape(at) * (0.8 if at >= DROP else 1)
    )


def engine(data: Recorded, at: float) -> Engine:
    options = Options(step_s=60.0, delay_s=0.0, lookback_s=2 * DAY, debug=True)
    return Engine(data.rules, data.metrics(until=at), None, VirtualClock(at), options, inline=True)


async def test_cold_in_the_midst_of_a_drop_is_as_if_it_had_watched(dropping: Recorded) -> None:
    start = DROP - 45 * 60
    watching = engine(dropping, start)
    await watching.start()
    fired = None
    states = []
    for k in range(1, 170):
        at = start + 60.0 * k
        watching.clock._now = at  # type: ignore[attr-defined]
        watching.metrics.until = at  # type: ignore[attr-defined]
        await watching.step(at)
        states.append({verdict.state for verdict in watching.board.verdicts.values()})
        if fired is None and states[-1] == {TriggerState.FIRED}:
            fired = at
        if k in (30, 58, 75, 120, 169):
            cold = engine(dropping, at)
            await cold.start()
            assert shown(cold) == shown(watching), k
    assert all(each == {TriggerState.HEALTHY} for each in states[:44])
    assert fired is not None
    assert 5 * 60 < fired - DROP < 90 * 60
    verdict = next(iter(watching.board.verdicts.values()))
    assert verdict.signals[0].note.startswith("learned from 16 days of history")
    assert verdict.signals[0].baseline == pytest.approx(day_shape(start + 169 * 60), rel=0.03)

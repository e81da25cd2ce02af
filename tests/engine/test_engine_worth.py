"""An order's value without a target: the usual order is learned from the buckets, and orders above it are counted."""

from __future__ import annotations

import json
import math
import random

import pytest
from book_tools import DAY, HOUR, MONDAY, MemoryShelf
from engine_tools import Flaky, fleet_rule, labelled

from rollback_console.clock import VirtualClock
from rollback_console.engine.history import History, Span
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.engine.record import layout_bytes, pack, unpack
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.model.observation import Blind, Series
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    SignalKind,
    SignalRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerState

MINUTE, INF = 60.0, math.inf
WINDOW, BY_HOUR = "buckets[1m]", "buckets[1h]"
EDGES = (10.0, 20.0, 40.0, 80.0, INF)
USUAL, CHEAP = (0.15, 0.25, 0.35, 0.2, 0.05), (0.3, 0.35, 0.25, 0.08, 0.02)  # shares of the buckets
HISTORY = 7 * DAY


def worth() -> SignalRule:
    return SignalRule(
        "worth", "Order value", "business", Worse.LOWER, Breach(), MINUTE, unit="%", kind=SignalKind.VALUE,
        baseline=Baseline(BaselineKind.SEASONAL, history_s=HISTORY), evidence=EvidenceRule(), sufficient_alone=True,
        buckets=WINDOW, buckets_hour=BY_HOUR,
    )  # fmt: skip


def rules() -> tuple[DeploymentRule, ...]:
    return (fleet_rule("d0", [worth()], Uses("worth"), serving=None),)


def recorded(
    start: float, end: float, cheap_from: float = INF, orders: int = 400, seed: int = 1
) -> dict[str, list[Series]]:
    """Minutes of orders by bucket, and the hours that they add up to."""
    draw = random.Random(seed)
    minutes: list[list[tuple[float, float]]] = [[] for _ in EDGES]
    hours: list[list[tuple[float, float]]] = [[] for _ in EDGES]
    sums, at = [0.0] * len(EDGES), start
    while at < end:
        shares = CHEAP if at >= cheap_from else USUAL
        at += MINUTE
        below = 0.0
        for k, share in enumerate(shares):
            below += max(0.0, draw.gauss(orders * share, math.sqrt(orders * share)))
            minutes[k].append((at, below))
            sums[k] += below
        if at % HOUR == 0.0:
            for k, total in enumerate(sums):
                hours[k].append((at, total))
            sums = [0.0] * len(EDGES)
    return {
        promql: [
            labelled(promql, "d0", points, le="+Inf" if edge == INF else f"{edge:g}")
            for edge, points in zip(EDGES, columns, strict=True)
        ]
        for promql, columns in ((WINDOW, minutes), (BY_HOUR, hours))
    }


def engine_of(series: dict[str, list[Series]], at: float) -> Engine:
    options = Options(step_s=MINUTE, delay_s=0.0, lookback_s=DAY, debug=True)
    return Engine(rules(), Flaky(series, lookback_s=MINUTE), None, VirtualClock(at), options, inline=True)


async def test_the_target_is_the_bound_nearest_to_the_median_and_the_baseline_the_share_above() -> None:
    book = SeasonalBook(rules(), Flaky(recorded(MONDAY - 17 * DAY, MONDAY + HOUR), lookback_s=MINUTE))
    await book.prepare(MONDAY + HOUR)
    found = book.norm(0, 0, MONDAY + HOUR)
    assert not isinstance(found, Blind)
    p, norm = found
    assert norm.bound == 20.0, "40 % lie up to 20, 75 % up to 40"
    assert p == pytest.approx(0.6, abs=0.01)


async def test_what_was_read_is_kept_between_runs() -> None:
    shelf, series = MemoryShelf(), recorded(MONDAY - 17 * DAY, MONDAY + HOUR)
    first = SeasonalBook(rules(), Flaky(series, lookback_s=MINUTE), shelf)
    await first.prepare(MONDAY + HOUR)
    metrics = Flaky(series, lookback_s=MINUTE)
    second = SeasonalBook(rules(), metrics, shelf)
    await second.prepare(MONDAY + HOUR)
    assert second.norm(0, 0, MONDAY + HOUR) == first.norm(0, 0, MONDAY + HOUR)
    assert BY_HOUR not in {promql for promql, _, _ in metrics.ranges}


async def test_cheaper_orders_fire_and_cold_is_as_if_it_had_watched() -> None:
    cheap = MONDAY + 26 * HOUR
    series = recorded(MONDAY - 17 * DAY, MONDAY + 28 * HOUR, cheap_from=cheap)
    always = engine_of(series, MONDAY + HOUR)
    await always.start()
    at, fired = MONDAY + HOUR, None
    while at < MONDAY + 27 * HOUR:
        at += MINUTE
        always.clock._now = at  # type: ignore[attr-defined]
        await always.step(at)
        if fired is None and always.board.verdicts[0].state is TriggerState.FIRED:
            fired = at
        if at in (MONDAY + 25.5 * HOUR, MONDAY + 26.5 * HOUR):
            opened = engine_of(series, at)
            await opened.start()
            assert opened.board.memories == always.board.memories
            assert opened.board.verdicts == always.board.verdicts
    assert fired is not None
    assert fired - cheap <= 20 * MINUTE
    tick = await always.sampler.assemble(at, await always.sampler.answers_at(at), {}, memories=always.board.memories)
    data, layout = pack(tick, "l"), layout_bytes(rules())
    assert json.loads(data.partition(b"\n")[0])["norms"] == ["bound"]
    again = unpack(data, lambda _: layout).observations[0].readings[0]
    seen = tick.observations[0].readings[0]
    assert (again.x, again.n, again.value, again.norm) == (seen.x, seen.n, seen.value, seen.norm)


async def test_a_backtest_is_in_the_states_of_one_that_watched_all_along() -> None:
    series = recorded(MONDAY - 17 * DAY, MONDAY + 28 * HOUR, cheap_from=MONDAY + 26 * HOUR)
    always = engine_of(series, MONDAY + 25 * HOUR)
    await always.start()
    history = History(rules(), Flaky(series, lookback_s=MINUTE), MINUTE, DAY)
    await history.begin([rules()], MONDAY + 25 * HOUR, cold=True)
    states = set()
    async for tick in history.ticks([Span(MONDAY + 25 * HOUR + MINUTE, MINUTE, 90)]):
        always.clock._now = tick.at  # type: ignore[attr-defined]
        await always.step(tick.at)
        (judged,) = history.lanes[0].take(tick)
        assert judged.state is always.board.verdicts[0].state, tick.at
        states.add(judged.state)
    assert history.lanes[0].memories() == always.board.memories
    assert TriggerState.FIRED in states


async def test_without_history_or_buckets_it_is_blind() -> None:
    engine = engine_of({}, MONDAY)
    await engine.start()
    assert engine.board.verdicts[0].signals[0].blind is Blind.NO_DATA

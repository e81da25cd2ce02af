"""Gauges in the book and in the engine: bounds by the hour, out of sample, noise that is autocorrelated; and a cold
start that knows what an always-on console knows."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from book_tools import DAY, HOUR, MONDAY
from engine_tools import Flaky, fleet_rule, labelled, new_journal

from rollback_console.clock import VirtualClock
from rollback_console.decide.evidence import COUNT
from rollback_console.engine.book import book_of
from rollback_console.engine.history import History, Span
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.engine.record import recompute
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.model.observation import Blind, Norm
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
from rollback_console.observe.sampled import SampledMetrics, asking
from rollback_console.observe.samples import read_samples

MINUTE = 60.0
QUERY = "max by (deployment) (queue_depth)"
Shape = Callable[[float], float]


def gauge(baseline: Baseline | None = None, worse: Worse = Worse.HIGHER) -> SignalRule:
    return SignalRule(
        "depth", "Queue depth", "technical", worse, Breach(), MINUTE, value=QUERY,
        baseline=baseline or Baseline(BaselineKind.SEASONAL, history_s=14 * DAY), evidence=EvidenceRule(),
        sufficient_alone=True, kind=SignalKind.GAUGE,
    )  # fmt: skip


def swings(at: float) -> float:
    """A level that doubles over the day."""
    return 20.0 * (1.5 + 0.5 * math.sin(2 * math.pi * at / DAY))


def series(
    start: float,
    end: float,
    *,
    seed: int = 1,
    level: Shape = swings,
    tau_minutes: float = 0.0,
    worse_from: float = math.inf,
) -> list[tuple[float, float]]:
    """A gauge, minute by minute: a level times AR(1) noise of 10 %, a third more from `worse_from` on."""
    draw, noise = random.Random(seed), 0.0
    keep = math.exp(-1.0 / tau_minutes) if tau_minutes else 0.0
    points, at = [], start
    while at < end:
        at += MINUTE
        noise = keep * noise + math.sqrt(1.0 - keep * keep) * draw.gauss(0.0, 0.1)
        points.append((at, level(at) * math.exp(noise) * (1.33 if at > worse_from else 1.0)))
    return points


def fleet(signal: SignalRule, names: tuple[str, ...] = ("d0",)) -> tuple[DeploymentRule, ...]:
    return tuple(fleet_rule(name, [signal], Uses("depth"), serving=None) for name in names)


def backend(points: list[tuple[float, float]], name: str = "d0") -> Flaky:
    return Flaky({QUERY: [labelled(QUERY, name, points)]}, lookback_s=MINUTE)


async def told(book: SeasonalBook, at: float, frozen_at: float | None = None) -> tuple[float, Norm] | Blind:
    await book.prepare(at)
    return book.norm(0, 0, at, frozen_at)


async def test_a_bound_follows_the_hour_of_the_day() -> None:
    points = series(MONDAY - 24 * DAY, MONDAY + DAY)
    book = SeasonalBook(fleet(gauge()), backend(points))
    for hour in (0.5, 6.5, 12.5, 18.5):
        at = MONDAY + hour * HOUR
        found = await told(book, at)
        assert not isinstance(found, Blind)
        middle, norm = found
        assert norm.bound is not None
        assert norm.share is not None
        assert middle == pytest.approx(swings(at), rel=0.08)
        assert norm.bound == pytest.approx(swings(at) * math.exp(0.1645), rel=0.1)
        assert 0.03 <= norm.share <= 0.09
        assert len(norm.phi) == COUNT


async def test_noise_that_stays_is_no_evidence_by_itself() -> None:
    phis = []
    for tau in (0.0, 60.0):
        book = SeasonalBook(fleet(gauge()), backend(series(MONDAY - 24 * DAY, MONDAY + HOUR, tau_minutes=tau)))
        found = await told(book, MONDAY + HOUR)
        assert not isinstance(found, Blind)
        phis.append(found[1].phi)
    calm, rough = phis
    assert max(calm) < 4.0
    assert all(more > 4.0 * less for more, less in zip(rough, calm, strict=True))


async def test_less_than_a_day_of_history_judges_nothing_and_more_says_how_little_it_is() -> None:
    points = series(MONDAY - 20 * HOUR, MONDAY + 8 * HOUR)
    book = SeasonalBook(fleet(gauge()), backend(points))
    assert await told(book, MONDAY) is Blind.NO_DATA
    found = await told(book, MONDAY + 7 * HOUR)
    assert not isinstance(found, Blind)
    assert found[1].hours == pytest.approx(26, abs=1)


async def test_last_week_is_the_same_hour_of_the_week_and_a_fixed_bound_is_itself() -> None:
    points = series(MONDAY - 40 * DAY, MONDAY + DAY, level=lambda at: 10.0 + 5.0 * ((at // DAY) % 7))
    weekly = SeasonalBook(fleet(gauge(Baseline(BaselineKind.LAST_WEEK))), backend(points))
    at = MONDAY + 12.5 * HOUR
    found = await told(weekly, at)
    assert not isinstance(found, Blind)
    assert found[0] == pytest.approx(10.0 + 5.0 * ((at // DAY) % 7), rel=0.1)
    fixed = SeasonalBook(fleet(gauge(Baseline(BaselineKind.FIXED, value=42.0))), backend(points))
    found = await told(fixed, at)
    assert not isinstance(found, Blind)
    assert (found[1].bound, found[1].share) == (42.0, 0.05)


def engine_of(points: list[tuple[float, float]], at: float, signal: SignalRule | None = None) -> Engine:
    rules, metrics = fleet(signal or gauge()), backend(points)
    options = Options(step_s=MINUTE, delay_s=0.0, lookback_s=DAY, debug=True)
    engine = Engine(rules, metrics, None, VirtualClock(at), options, inline=True)
    engine.sampler.book = book_of(rules, metrics)
    return engine


async def go(engine: Engine, start: float, end: float) -> float | None:
    """Evaluate every minute; when it fired first."""
    at = start
    while at <= end:
        engine.clock._now = at  # type: ignore[attr-defined]
        await engine.step(at)
        if engine.board.verdicts[0].state is TriggerState.FIRED:
            return at
        at += MINUTE
    return None


async def test_a_gauge_that_gets_worse_fires_and_says_how_often_it_was_beyond() -> None:
    bad = MONDAY + 2 * HOUR
    points = series(MONDAY - 24 * DAY, MONDAY + 8 * HOUR, worse_from=bad)
    engine = engine_of(points, MONDAY + HOUR)
    await engine.start()
    fired = await go(engine, MONDAY + HOUR + MINUTE, MONDAY + 8 * HOUR)
    assert fired is not None
    assert 5 * MINUTE <= fired - bad <= 90 * MINUTE
    verdict = engine.board.verdicts[0]
    found = verdict.signals[0]
    assert found.beyond is not None
    assert found.beyond[0] > 0.5
    assert found.beyond[1] <= found.beyond[0] <= found.beyond[2]
    assert found.limit is not None
    assert "queue depth" in verdict.sentence
    assert "above" in verdict.sentence
    assert "(usually " in verdict.sentence


async def test_a_gauge_that_wanders_as_ever_does_not_fire() -> None:
    points = series(MONDAY - 24 * DAY, MONDAY + 12 * HOUR, tau_minutes=30.0, seed=5)
    engine = engine_of(points, MONDAY + HOUR)
    await engine.start()
    assert await go(engine, MONDAY + HOUR + MINUTE, MONDAY + 12 * HOUR) is None


@pytest.mark.parametrize("seed", [3, 4])
async def test_a_cold_console_and_one_that_watched_all_along_are_in_identical_states(seed: int) -> None:
    points = series(
        MONDAY - 24 * DAY, MONDAY + 30 * HOUR, seed=seed, tau_minutes=10.0 * (seed - 3), worse_from=MONDAY + 27 * HOUR
    )
    always = engine_of(points, MONDAY + HOUR)
    await always.start()
    now = MONDAY + HOUR
    for cut in (MONDAY + 25.2 * HOUR, MONDAY + 28.4 * HOUR, MONDAY + 29.7 * HOUR):
        at = now + MINUTE
        while at <= cut:
            always.clock._now = at  # type: ignore[attr-defined]
            await always.step(at)
            now, at = at, at + MINUTE
        opened = engine_of(points, now)
        await opened.start()
        assert opened.board.memories == always.board.memories
        assert opened.board.verdicts == always.board.verdicts


async def test_a_backtest_is_in_the_states_of_one_that_watched_all_along() -> None:
    points = series(MONDAY - 24 * DAY, MONDAY + 30 * HOUR, seed=6, tau_minutes=5.0, worse_from=MONDAY + 27 * HOUR)
    always, rules = engine_of(points, MONDAY + 25 * HOUR), fleet(gauge())
    await always.start()
    history = History(rules, backend(points), MINUTE, DAY)
    await history.begin([rules, rules], MONDAY + 25 * HOUR, cold=True)
    states = set()
    async for tick in history.ticks([Span(MONDAY + 25 * HOUR + MINUTE, MINUTE, 240)]):
        always.clock._now = tick.at  # type: ignore[attr-defined]
        await always.step(tick.at)
        for lane in history.lanes:
            (judged,) = lane.take(tick)
            assert judged.state is always.board.verdicts[0].state, tick.at
        states.add(always.board.verdicts[0].state)
    assert all(lane.memories() == always.board.memories for lane in history.lanes)
    assert TriggerState.FIRED in states


async def test_history_that_somebody_took_out_makes_no_bound() -> None:
    bad = (MONDAY - 5 * DAY, MONDAY - 2 * DAY)
    points = [
        (at, value * (3.0 if bad[0] < at <= bad[1] else 1.0)) for at, value in series(MONDAY - 12 * DAY, MONDAY + DAY)
    ]
    from rollback_console.model.rules import Stretch

    kept = Baseline(BaselineKind.SEASONAL, history_s=10 * DAY)
    spared = replace(kept, exclude=(Stretch(*bad, "an incident"),))
    at = MONDAY + 12.5 * HOUR
    bounds = []
    for base in (kept, spared):
        found = await told(SeasonalBook(fleet(gauge(base)), backend(points)), at)
        assert not isinstance(found, Blind)
        bounds.append(found[1].bound or 0.0)
    assert bounds[0] > 1.5 * bounds[1]
    assert bounds[1] == pytest.approx(swings(at) * math.exp(0.1645), rel=0.1)


BESIDE = Baseline(BaselineKind.CONTROL, control="d0-canary")


def both(points: list[tuple[float, float]], own: float = 1.3, worse_from: float = math.inf) -> Flaky:
    """The gauge and its control, of one load; the deployment's own is always higher, and from some time on more."""
    draw = random.Random(8)
    mine = [(at, v * own * draw.gauss(1.0, 0.02) * (1.2 if at > worse_from else 1.0)) for at, v in points]
    other = [(at, v * draw.gauss(1.0, 0.02)) for at, v in points]
    answers = [labelled(QUERY, "d0", mine), labelled(QUERY, "d0-canary", other)]
    return Flaky({QUERY: answers, QUERY + " ": answers}, lookback_s=MINUTE)


def beside(metrics: Flaky, at: float) -> Engine:
    options = Options(step_s=MINUTE, delay_s=0.0, lookback_s=DAY, debug=True)
    return Engine(fleet(gauge(BESIDE)), metrics, None, VirtualClock(at), options, inline=True)


async def test_beside_a_control_what_both_share_is_no_news_and_what_is_its_own_fires() -> None:
    """From 02:00 on the load of both doubles; from 03:30 on the deployment's own is a fifth more than its control's."""
    bad, load = MONDAY + 3.5 * HOUR, MONDAY + 2 * HOUR
    points = [
        (at, v * (2.0 if at > load else 1.0))
        for at, v in series(MONDAY - 37 * DAY, MONDAY + 6 * HOUR, tau_minutes=30.0)
    ]
    metrics = both(points, worse_from=bad)
    engine = beside(metrics, MONDAY + 1.5 * HOUR)
    await engine.start()
    assert await go(engine, MONDAY + 1.5 * HOUR + MINUTE, load - MINUTE) is None
    found = engine.board.verdicts[0].signals[0]
    assert found.limit is not None
    assert found.baseline is not None
    assert found.baseline == pytest.approx(found.value, rel=0.15), "so much more than the control, as ever"
    assert found.limit > found.baseline
    fired = await go(engine, load, MONDAY + 6 * HOUR)
    assert fired is not None
    assert fired > bad
    opened = beside(metrics, fired)
    await opened.start()
    assert opened.board.memories == engine.board.memories


async def test_a_control_that_is_not_seen_leaves_nothing_to_compare_with() -> None:
    metrics = backend(series(MONDAY - 30 * DAY, MONDAY + HOUR))
    engine = beside(metrics, MONDAY + HOUR)
    await engine.start()
    found = engine.board.verdicts[0].signals[0]
    assert found.blind is not None
    assert "no baseline" in found.note


async def test_its_decisions_can_be_made_again_from_the_journal(tmp_path: Path) -> None:
    points = series(MONDAY - 24 * DAY, MONDAY + 4 * HOUR, worse_from=MONDAY + 2 * HOUR)
    rules, states = fleet(gauge()), set()
    options = Options(step_s=MINUTE, delay_s=0.0, lookback_s=DAY, debug=True)
    with new_journal(tmp_path / "j.db", MONDAY + HOUR) as journal:
        engine = Engine(
            rules, backend(points), None, VirtualClock(MONDAY + HOUR), options, journal=journal, inline=True
        )
        await engine.start()
        await go(engine, MONDAY + HOUR + MINUTE, MONDAY + 4 * HOUR)
        await engine.close()

        def blobs(digest: str) -> bytes | None:
            return b"policy" if digest == "0" * 64 else journal.get_blob(digest)

        for entry in journal.entries(kinds=("transition",)):
            assert recompute(entry, blobs, lambda *_: rules) is None
            body = entry.parsed()
            assert isinstance(body, TransitionRecorded)
            states.add(body.after)
            if body.after == "fired":
                assert body.verdict["signals"][0]["beyond"][0] > 0.5
    assert {"pending", "fired"} <= states


async def test_a_file_of_values_says_what_a_live_engine_said(tmp_path: Path) -> None:
    points = series(MONDAY - 16 * DAY, MONDAY + 4 * HOUR, worse_from=MONDAY + 2 * HOUR)
    file = tmp_path / "samples.csv"
    file.write_text("time,deployment,signal,value\n" + "".join(f"{at},d0,depth,{value!r}\n" for at, value in points))
    always = engine_of(points, MONDAY + HOUR)
    await always.start()
    samples = read_samples(file, fleet(gauge()))
    rules = asking(fleet(gauge()), samples)
    history = History(rules, SampledMetrics(samples, rules), MINUTE, DAY)
    await history.begin([rules], MONDAY + HOUR, cold=True)
    async for tick in history.ticks([Span(MONDAY + HOUR + MINUTE, MINUTE, 120)]):
        always.clock._now = tick.at  # type: ignore[attr-defined]
        await always.step(tick.at)
        (judged,) = history.lanes[0].take(tick)
        assert judged.state is always.board.verdicts[0].state
    assert always.board.verdicts[0].state is TriggerState.FIRED

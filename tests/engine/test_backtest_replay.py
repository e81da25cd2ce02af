"""A backtest is the live engine over the past: the same states, verdicts and memories, however it is fed."""

from __future__ import annotations

import csv
import math
import os
import random
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from engine_tools import (
    START,
    STEP,
    Flaky,
    Stream,
    bounded,
    cold,
    engine_on,
    fleet_rule,
    labelled,
    random_expression,
    random_policy,
    random_stream,
    ticks,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from decide import promtool_oracle
from rollback_console.engine import history as history_module
from rollback_console.engine.backtest import Lane, Turn, lost_per_minute
from rollback_console.engine.history import History, Span, grid, spans_of
from rollback_console.errors import BackendUnreachable
from rollback_console.model.observation import Blind, Observation, Reading, Series, Tick
from rollback_console.model.rules import BlindPolicyKind, DeploymentRule, ExpectedChange
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerState, Verdict
from rollback_console.observe.sampled import SampledMetrics, asking
from rollback_console.observe.samples import read_samples

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
SEEDS = range(100 if CAMPAIGN else 4)
FIRST = 31  # the first evaluation that is compared
_FIRING = (TriggerState.FIRED, TriggerState.CLEARING)


def history_of(stream: Stream, metrics: Flaky | None = None) -> History:
    return History(stream.rules, metrics or stream.metrics(), STEP, 7200.0)


async def replayed(stream: Stream, history: History, first: int, last: int) -> tuple[Lane, list[Turn], list[Tick]]:
    """The stream's evaluations from number `first` to `last`, by the policy as it stands."""
    await history.begin([stream.rules], START + (first - 1) * STEP, cold=True)
    (lane,) = history.lanes
    turns, seen = [], []
    async for tick in history.ticks([grid(START + first * STEP, START + last * STEP, STEP)]):
        seen.append(tick)
        turns.extend(judged.turn for judged in lane.take(tick) if judged.turn is not None)
    return lane, turns, seen


@pytest.mark.parametrize("seed", SEEDS)
async def test_backtest_watch_and_cold_console_are_in_identical_states(seed: int) -> None:
    stream = random_stream(seed)
    always = engine_on(stream, START + (FIRST - 1) * STEP)
    await always.start()
    states = {str(v.deployment): v.state for v in always.board.verdicts.values()}
    changes: list[tuple[TriggerState, Verdict]] = []

    def watch(snapshot: Snapshot) -> None:
        for view in sorted(snapshot.deployments, key=lambda view: always.index[view.id]):
            assert view.verdict is not None
            if view.verdict.state is not states[str(view.id)]:
                changes.append((states[str(view.id)], view.verdict))
                states[str(view.id)] = view.verdict.state

    await ticks(always, FIRST, stream.ticks, watch)
    lane, turns, _ = await replayed(stream, history_of(stream), FIRST, stream.ticks)
    assert [(turn.before, turn.verdict) for turn in turns if turn.before is not None] == changes
    assert len(changes) > 10, "the streams must lead somewhere"
    assert lane.memories() == always.board.memories
    assert lane.memories() == (await cold(stream, stream.end)).board.memories


@pytest.mark.parametrize("seed", range(8 if CAMPAIGN else 2))
async def test_how_much_is_read_at_once_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = random_stream(seed)
    whole = await replayed(stream, history_of(stream), FIRST, stream.ticks)
    monkeypatch.setattr(history_module, "MOST_READINGS", 7 * 30)
    metrics = stream.metrics()
    parts = await replayed(stream, history_of(stream, metrics), FIRST, stream.ticks)
    assert parts[1:] == whole[1:]
    assert parts[0].memories() == whole[0].memories()
    spans = [(end - start) / STEP + 1 for promql, start, end in metrics.ranges if "errors" in promql]
    assert max(spans[-10:]) <= 7


async def test_it_may_begin_anywhere() -> None:
    """From the first change on, a backtest that began later says the same."""
    stream = random_stream(1)
    _, whole, _ = await replayed(stream, history_of(stream), FIRST, stream.ticks)
    for first in range(FIRST + 5, stream.ticks, 40):
        _, part, _ = await replayed(stream, history_of(stream), first, stream.ticks)
        assert [t for t in part if t.before is not None] == [t for t in whole if t.verdict.at >= START + first * STEP]
        begun = {t.index: t.verdict.state for t in part if t.before is None}
        before = {t.index: t.verdict.state for t in whole if t.verdict.at < START + first * STEP}
        at_once = {t.index for t in part if t.verdict.at == START + first * STEP and t.before is not None}
        for index, state in before.items():
            if index not in at_once:
                assert begun.get(index, TriggerState.HEALTHY) is state


# -- a file of samples ------------------------------------------------------------------------------------------------


def plain_stream(seed: int) -> Stream:
    """Plain bounds alone, of every policy for blindness: what a file can say all of."""
    draw = random.Random(seed)
    signals = [bounded(name, blind=random_policy(draw)) for name in ("errors", "latency", "queue")]
    when = random_expression(draw, [signal.name for signal in signals])
    lengths = [0.0, 15.0, 40.0, 60.0, 150.0]
    dwell, hold = draw.choice(lengths), draw.choice(lengths)
    names = ["a", "b", "c"]
    rules = tuple(fleet_rule(each, signals, when, dwell=dwell, hold=hold, serving=None) for each in names)
    stream = Stream(rules, ticks=140)
    for signal in signals:
        found = []
        for each in names:
            points = [(START + k * STEP, _value(draw, k)) for k in range(141) if k < 30 or draw.random() > 0.1]
            found.append(labelled(str(signal.value), each, points))
        stream.series[str(signal.value)] = found
    return stream


def _value(draw: random.Random, k: int) -> float:
    return 1.0 if k < 30 else draw.choice((1.0, 1.0, 9.0, 9.0, math.nan))


def write_samples(stream: Stream, path: Path, shift: float = 0.0) -> None:
    """Every point of a stream as a row, `shift` seconds later, in random order."""
    rows = []
    for promql, series in stream.series.items():
        signal = promql.partition("(deployment) (")[2].rstrip(")")
        for one in series:
            deployment = dict(one.labels)["deployment"]
            rows += [(at + shift, deployment, signal, "NaN" if value != value else value) for at, value in one.points]
    random.Random(1).shuffle(rows)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("time", "deployment", "signal", "value"))
        writer.writerows(rows)


@pytest.mark.parametrize(("seed", "shift"), [(seed, shift) for seed in SEEDS for shift in (0.0, -7.25)])
async def test_a_file_says_what_a_live_engine_said_of_the_same_data(tmp_path: Path, seed: int, shift: float) -> None:
    """At its own times, or picked up by evaluations a few seconds later."""
    stream = plain_stream(seed)
    always = engine_on(stream, START)
    await always.start()
    write_samples(stream, tmp_path / "s.csv", shift)
    samples = read_samples(tmp_path / "s.csv", stream.rules)
    rules = asking(stream.rules, samples)
    metrics = SampledMetrics(samples, rules, within_s=STEP if shift else None)
    spans = (grid(START, stream.end, STEP),) if shift else spans_of(samples.times)
    lane, k = Lane(rules), 0
    async for tick in History(rules, metrics, STEP, 0.0).ticks(spans):
        states = [judged.state for judged in lane.take(tick)]
        await ticks(always, k, k)
        assert tick.at == pytest.approx(START + k * STEP + (0 if shift else shift), abs=1e-6)
        if k >= FIRST:
            assert states == [always.board.verdicts[index].state for index in range(3)], (seed, k)
        k += 1
    assert k == stream.ticks + 1
    assert lane.memories() == always.board.memories


def tick_of(rule: DeploymentRule, at: float, *readings: Reading, revenue: float | None = None) -> Tick:
    return Tick(at, (Observation(rule.deployment.id, at, readings, None, revenue),))


def states(rule: DeploymentRule, values: Sequence[float | None], step: float = STEP) -> list[str]:
    """The states that one deployment comes through, by one signal's values; None is no data."""
    lane, found = Lane([rule]), []
    for k, value in enumerate(values):
        reading = Reading(blind=Blind.NO_DATA) if value is None else Reading(value)
        found += [str(judged.state) for judged in lane.take(tick_of(rule, START + k * step, reading))]
    return found


def test_the_boundaries_are_prometheus_own_to_the_tick() -> None:
    """`for: 30s` at 15 s: the third breach fires. `keep_firing_for: 30s`: the third calm evaluation ends it."""
    rule = fleet_rule("a", [bounded("errors")], dwell=30.0, hold=30.0)
    assert states(rule, [9, 9, 9, 9, 1, 1, 9, 1, 1, 1, 1]) == [
        "pending", "pending", "fired", "fired", "clearing", "clearing", "fired", "clearing", "clearing", "healthy",
        "healthy",
    ]  # fmt: skip
    assert states(rule, [9, 9, 1, 9, 9, 9])[-1] == "fired"
    assert states(rule, [9, 9, 1, 9, 9]) == ["pending", "pending", "healthy", "pending", "pending"]
    assert states(fleet_rule("a", [bounded("errors")], dwell=31.0, hold=0.0), [9, 9, 9, 9, 1]) == [
        "pending", "pending", "pending", "fired", "healthy",
    ]  # fmt: skip
    assert states(fleet_rule("a", [bounded("errors")], dwell=0.0, hold=0.0), [5.0, 5.0001]) == ["healthy", "fired"]


@pytest.mark.parametrize("seed", range(60 if CAMPAIGN else 6))
async def test_a_file_has_prometheus_own_boundaries(tmp_path: Path, seed: int) -> None:
    """Random alerting rules over random series, as a file: the states that promtool agrees with
    (`test_decide_promtool`), at every evaluation."""
    draw = random.Random(seed)
    every = draw.choice((10.0, 15.0, 60.0))
    cases = [promtool_oracle.draw_case(draw, f"a{number}", every, every, 60 * every) for number in range(8)]
    rules = tuple(case.rule() for case in cases)
    lines = ["time,deployment,signal,value"]
    for case in cases:
        for k in range(61):
            seen = promtool_oracle.instant(case.points, k * every, open_end=True)
            value = "" if seen.blind is Blind.NO_DATA else "NaN" if seen.value is None else repr(seen.value)
            if value or draw.random() < 0.5:
                lines.append(f"{k * every},{case.name},s,{value}")
    lines.append("0,a0,users_per_minute,1")  # each time is there, whoever has a value
    lines += [f"{k * every},a0,users_per_minute,1" for k in range(1, 61)]
    (tmp_path / "s.csv").write_text("\n".join(lines))
    samples = read_samples(tmp_path / "s.csv", rules)
    asked = asking(rules, samples)
    history = History(asked, SampledMetrics(samples, asked), every, 0.0)
    await history.begin([asked], -every, cold=False)
    found: list[list[str]] = [[] for _ in cases]
    words = {TriggerState.PENDING: "pending", TriggerState.FIRED: "firing", TriggerState.CLEARING: "firing"}
    async for tick in history.ticks(spans_of(samples.times)):
        for judged in history.lanes[0].take(tick):
            found[judged.index].append(words.get(judged.state, ""))
    for case, states_found in zip(cases, found, strict=True):
        assert states_found == promtool_oracle.states(case, every, 60 * every, open_end=True), case


def test_what_it_comes_to() -> None:
    rule = fleet_rule("a", [bounded("errors")], dwell=15.0, hold=15.0, blind_dwell=30.0, cool_down=300.0)
    lane = Lane([rule])
    values = [1, 9, 9, 9, 1, 9, 1, 1, None, None, None, None, 1, 9, 9, 1, 1, *[1] * 20, 9, 9]
    for k, value in enumerate(values):
        reading = Reading(blind=Blind.NO_DATA) if value is None else Reading(value)
        list(lane.take(tick_of(rule, START + k * STEP, reading)))
    spans = [(round((f.start - START) / STEP), f.end and round((f.end - START) / STEP)) for f in lane.fires(0)]
    assert spans == [(2, 7), (14, 16), (38, None)], "a return within the hold is the same fire"
    counted = lane.counted(0)
    assert (counted.fires, counted.blind_fires) == (3, 1)
    assert counted.minutes_fired == pytest.approx((5 + 2) * STEP / 60)
    assert counted.rollbacks == 2, "the second fire came within the cool-down of the first"


def test_the_policys_guards_hold_back_would_be_rollbacks() -> None:
    """Five fires, an hour apart each: two within 24 hours are all that the loop guard lets through, none during an
    expected change."""
    rule = fleet_rule("a", [bounded("errors")], dwell=0.0, hold=0.0, cool_down=600.0)

    def rollbacks(**more: object) -> int:
        lane = Lane([replace(rule, trigger=replace(rule.trigger, **more))])  # type: ignore[arg-type]
        for k in range(300):
            list(lane.take(tick_of(rule, START + k * 60, Reading(9.0 if k % 60 == 30 else 1.0))))
        assert lane.counted(0).fires == 5
        return lane.counted(0).rollbacks

    assert rollbacks() == 2
    assert rollbacks(loop_guard=100) == 5
    assert rollbacks(loop_guard=100, cool_down_s=5400.0) == 3
    assert rollbacks(loop_guard=100, re_arm_s=7200.0) == 1
    change = ExpectedChange("sale", START, START + 3 * 3600)
    assert rollbacks(loop_guard=100, expected=(change,)) == 2


def test_what_fired_before_is_not_a_fire() -> None:
    rule = fleet_rule("a", [bounded("errors")], dwell=15.0, hold=0.0)
    lane = Lane([rule])
    for k in range(4):
        list(lane.take(tick_of(rule, START + k * STEP, Reading(9.0))))
    later = Lane([rule], lane.memories())
    (judged,) = later.take(tick_of(rule, START + 4 * STEP, Reading(9.0)))
    assert judged.turn is not None
    assert (judged.turn.before, judged.turn.verdict.state) == (None, TriggerState.FIRED)
    list(later.take(tick_of(rule, START + 5 * STEP, Reading(1.0))))
    assert later.counted(0).fires == 0
    assert later.counted(0).rollbacks == 0
    assert later.counted(0).minutes_fired == STEP / 60
    assert [fire.before for fire in later.fires(0)] == [True]


# -- theorems ---------------------------------------------------------------------------------------------------------

VALUES = st.lists(st.sampled_from([1.0, 9.0, 9.0, None, math.nan]), min_size=1, max_size=60)


def _readings(values: Sequence[float | None]) -> list[Reading]:
    kinds = {None: Reading(blind=Blind.NO_DATA)}
    return [kinds[None] if v is None else Reading(blind=Blind.NOT_A_NUMBER) if v != v else Reading(v) for v in values]


def _lane(rule: DeploymentRule, readings: Sequence[Reading]) -> tuple[Lane, list[bool]]:
    lane, firing = Lane([rule]), []
    for k, reading in enumerate(readings):
        firing += [judged.state in _FIRING for judged in lane.take(tick_of(rule, START + k * STEP, reading))]
    return lane, firing


@settings(max_examples=400 if CAMPAIGN else 60, deadline=None)
@given(
    VALUES, st.sampled_from(list(BlindPolicyKind)), st.sampled_from([0.0, 15.0, 40.0]),
    st.lists(st.sampled_from([0.0, 14.0, 15.0, 30.0, 45.0, 75.0, 150.0]), min_size=2, max_size=2).map(sorted),
)  # fmt: skip
def test_a_longer_dwell_fires_at_no_other_time_and_no_more_often(
    values: list[float | None], kind: BlindPolicyKind, hold: float, dwells: list[float]
) -> None:
    """A theorem for plain bounds, whatever is blind: the longer dwell's fire runs within the shorter's, and both end
    together, so that no two of it lie within one."""
    draw = random.Random(0)
    policy = next(p for p in iter(lambda: random_policy(draw), None) if p.kind is kind)
    short, long = (
        _lane(fleet_rule("a", [bounded("errors", blind=policy)], dwell=dwell, hold=hold), _readings(values))
        for dwell in dwells
    )
    assert all(was for was, is_ in zip(short[1], long[1], strict=True) if is_)
    assert long[0].counted(0).fires <= short[0].counted(0).fires
    ends = {fire.end for fire in short[0].fires(0)}
    assert {fire.end for fire in long[0].fires(0)} <= ends


@settings(max_examples=400 if CAMPAIGN else 60, deadline=None)
@given(
    st.lists(st.sampled_from([1.0, 3.0, 5.0, 9.0]), min_size=1, max_size=60), st.sampled_from([0.0, 15.0, 40.0]),
    st.sampled_from([0.0, 15.0, 45.0]), st.lists(st.sampled_from([0.5, 2.0, 4.0, 6.0]), min_size=2, max_size=2),
)  # fmt: skip
def test_a_wider_bound_fires_at_no_other_time(
    values: list[float], hold: float, dwell: float, bounds: list[float]
) -> None:
    """But it may fire more often: one long fire can become two. That is why counts are not compared here."""
    low, high = sorted(bounds)
    tight, wide = (
        _lane(fleet_rule("a", [bounded("errors", above=above)], dwell=dwell, hold=hold), _readings(values))
        for above in (low, high)
    )
    assert all(was for was, is_ in zip(tight[1], wide[1], strict=True) if is_)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_the_grid_is_the_live_engines() -> None:
    assert grid(START, START + 60, 15.0) == Span(START, 15.0, 5)
    assert grid(START + 1, START + 59, 15.0) == Span(START + 15, 15.0, 3)
    assert grid(START + 1, START + 14, 15.0).count == 0


@given(st.lists(st.integers(1, 500), min_size=1, max_size=40))
def test_spans_hold_every_time_once(gaps: list[int]) -> None:
    times = [START + 0.5]
    for gap in gaps:
        times.append(round(times[-1] + gap / 10, 3))
    found = [span.start + k * span.step for span in spans_of(times) for k in range(span.count)]
    assert found == pytest.approx(times, abs=1e-4)


def test_equal_steps_are_one_span() -> None:
    times = [START + 60 * k for k in range(100)] + [START + 10_000 + 60 * k for k in range(50)] + [START + 90_000]
    assert [span.count for span in spans_of(times)] == [100, 50, 1]


class Stumbling(Flaky):
    """Ranges of more than so many points do not answer."""

    most = 10

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        if (end - start) / step >= self.most:
            self.ranges.append((promql, start, end))
            raise BackendUnreachable("prometheus does not answer within 10 s", "try again")
        return await super().query_range(promql, start, end, step)


async def test_what_takes_too_long_is_asked_for_in_parts() -> None:
    stream = plain_stream(3)
    straight = [tick async for tick in history_of(stream).ticks([grid(START, stream.end, STEP)])]
    stumbling = History(stream.rules, Stumbling(stream.series), STEP, 0.0)
    assert [tick async for tick in stumbling.ticks([grid(START, stream.end, STEP)])] == straight


async def test_what_never_answers_is_raised_and_not_called_blind() -> None:
    stream = plain_stream(3)
    metrics = stream.metrics()
    metrics.silent = {next(iter(stream.series))}
    with pytest.raises(BackendUnreachable, match="prometheus does not answer"):
        await anext(history_of(stream, metrics).ticks([grid(START, stream.end, STEP)]))
    with pytest.raises(BackendUnreachable):
        await history_of(stream, metrics).begin([stream.rules], START, cold=True)


class Endless(Flaky):
    """History without an end, made when it is asked for."""

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        points = [(start + k * step, 1.0 + k % 3) for k in range(round((end - start) / step) + 1)]
        return tuple(labelled(promql, f"d{number}", points) for number in range(4))


async def test_ten_times_as_long_takes_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "MOST_READINGS", 400)
    rules = [fleet_rule(f"d{number}", [bounded("errors")], serving=None) for number in range(4)]
    peaks = []
    for count in (150, 1_500):
        history = History(rules, Endless({}), STEP, 0.0)
        await history.begin([rules], START, cold=False)
        tracemalloc.start()
        seen = 0
        async for tick in history.ticks([Span(START + STEP, STEP, count)]):
            seen += len(list(history.lanes[0].take(tick)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert seen == 4 * count
    assert peaks[1] < 2 * peaks[0]


# -- costs ------------------------------------------------------------------------------------------------------------


def test_what_is_lost_a_minute() -> None:
    from engine_tools import relative

    from rollback_console.model.rules import BaselineKind

    rule = fleet_rule("a", [relative("orders", BaselineKind.LAST_WEEK), bounded("errors")])

    def lost(value: float | None, revenue: float | None) -> float | None:
        tick = tick_of(rule, START, Reading(value, 100.0), Reading(9.0), revenue=revenue)
        (judged,) = Lane([rule]).take(tick)
        return lost_per_minute(rule, judged.observation, judged.step.signals)

    assert lost(80.0, 400.0) == pytest.approx(100.0)
    assert lost(120.0, 400.0) == 0.0
    assert lost(0.0, 0.0) == 0.0
    assert lost(80.0, None) is None
    assert lost(None, 400.0) is None

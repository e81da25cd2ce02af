"""Evidence in a backtest: as the live engine has it, setting by setting, and out of a file."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from engine_tools import Flaky
from evidence_tools import BEGIN, MINUTE, EvidenceStream, evidence_stream, watch

from rollback_console.decide.detectability import detectability
from rollback_console.engine.backtest import Lane, Traffic
from rollback_console.engine.history import History, Span
from rollback_console.model.rules import DeploymentRule
from rollback_console.observe.sampled import SampledMetrics, asking
from rollback_console.observe.samples import read_samples

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
SEEDS = range(100 if CAMPAIGN else 2)
MINUTES = 2400 if CAMPAIGN else 1100


async def through(
    stream: EvidenceStream, settings: Sequence[Sequence[DeploymentRule]], first: int, last: int
) -> tuple[list[Lane], list[list[tuple[str, ...]]]]:
    """Each setting's lane, and its deployments' states evaluation by evaluation."""
    metrics = Flaky(stream.series, lookback_s=MINUTE)
    history = History(stream.rules, metrics, MINUTE, 86_400.0)
    await history.begin(settings, BEGIN + (first - 1) * MINUTE, cold=True)
    states: list[list[tuple[str, ...]]] = [[] for _ in settings]
    async for tick in history.ticks([Span(BEGIN + first * MINUTE, MINUTE, last - first + 1)]):
        for lane, seen in zip(history.lanes, states, strict=True):
            seen.append(tuple(str(judged.state) for judged in lane.take(tick)))
    return history.lanes, states


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_backtest_and_an_always_on_watch_are_in_identical_states(seed: int) -> None:
    stream = evidence_stream(seed, minutes=MINUTES, hold=120.0 * (seed % 2))
    always = stream.engine(BEGIN + 5 * MINUTE)
    await always.start()
    (lane,), (states,) = await through(stream, [stream.rules], 6, MINUTES - 1)
    for k, state in enumerate(states):
        await watch(always, 6 + k, 6 + k)
        assert state == tuple(str(always.board.verdicts[index].state) for index in range(len(stream.rules))), k
    assert lane.memories() == always.board.memories
    assert len({each for state in states for each in state}) >= 2, "the streams must lead somewhere"


def with_evidence(rules: Sequence[DeploymentRule], **more: float) -> tuple[DeploymentRule, ...]:
    return tuple(
        replace(
            rule,
            signals=tuple(
                replace(each, evidence=replace(each.evidence, **more)) if each.evidence is not None else each
                for each in rule.signals
            ),
        )
        for rule in rules
    )


async def test_settings_side_by_side_are_each_as_if_it_were_alone() -> None:
    stream = evidence_stream(3, minutes=1100)
    settings = [
        stream.rules,
        with_evidence(stream.rules, dwell_s=1800.0),
        with_evidence(stream.rules, margin=0.3),
        with_evidence(stream.rules, budget_s=3_600.0),
    ]
    lanes, together = await through(stream, settings, 300, 1099)
    for rules, lane, states in zip(settings, lanes, together, strict=True):
        (alone,), (seen,) = await through(stream, [rules], 300, 1099)
        assert states == seen
        assert lane.memories() == alone.memories()
    assert len({str(states) for states in together}) >= 3, "settings must make a difference"


async def test_data_is_read_once_for_all_settings() -> None:
    stream = evidence_stream(4, minutes=600)
    asked = []
    for count in (1, 5):
        metrics = Flaky(stream.series, lookback_s=MINUTE)
        history = History(stream.rules, metrics, MINUTE, 86_400.0)
        settings = [with_evidence(stream.rules, dwell_s=60.0 * (k + 1)) for k in range(count)]
        await history.begin(settings, BEGIN, cold=False)
        metrics.ranges.clear()
        async for tick in history.ticks([Span(BEGIN + MINUTE, MINUTE, 599)]):
            for lane in history.lanes:
                list(lane.take(tick))
        asked.append(len(metrics.ranges))
    assert asked[0] == asked[1]


async def test_a_file_of_counts_says_what_a_live_engine_said(tmp_path: Path) -> None:
    """Versions are not in a file: a stream without a release."""
    stream = evidence_stream(1, minutes=1100)
    rules = tuple(replace(each, deployment=replace(each.deployment, serving_version=None)) for each in stream.rules)
    stream = EvidenceStream(rules, stream.series, stream.minutes)
    lines = []
    for signal in ("conversion", "errors"):
        for x, n in zip(stream.series[f"{signal}_x"], stream.series[f"{signal}_n"], strict=True):
            name = dict(x.labels)["deployment"]
            counts = [(at, value, trials) for (at, value), (_, trials) in zip(x.points, n.points, strict=True)]
            lines += [f"{at},{name},{signal},,{value},{trials}" for at, value, trials in counts]
    for one in stream.series["max by (deployment) (latency)"]:
        lines += [f"{at},{dict(one.labels)['deployment']},latency,{value},," for at, value in one.points]
    random.Random(2).shuffle(lines)
    (tmp_path / "s.csv").write_text("time,deployment,signal,value,x,n\n" + "\n".join(lines))
    samples = read_samples(tmp_path / "s.csv", rules)
    asked = asking(rules, samples)
    history = History(asked, SampledMetrics(samples, asked), MINUTE, 0.0)
    await history.begin([asked], BEGIN - MINUTE, cold=False)
    always = stream.engine(BEGIN)
    await always.start()
    (lane,), k, alarmed = history.lanes, 0, 0
    async for tick in history.ticks([Span(BEGIN, MINUTE, stream.minutes)]):
        states = [str(judged.state) for judged in lane.take(tick)]
        if k:
            await watch(always, k, k)
        if k > 60:
            assert states == [str(always.board.verdicts[index].state) for index in range(len(rules))], k
        alarmed += len({"pending", "fired"} & set(states))
        k += 1
    assert alarmed


async def test_what_can_be_detected_at_this_traffic() -> None:
    stream = evidence_stream(6, minutes=300)
    history = History(stream.rules, Flaky(stream.series, lookback_s=MINUTE), MINUTE, 86_400.0)
    await history.begin([stream.rules], BEGIN, cold=False)
    traffic = Traffic(stream.rules)
    async for tick in history.ticks([Span(BEGIN + MINUTE, MINUTE, 299)]):
        for judged in history.lanes[0].take(tick):
            traffic.add(judged)
    found = {(str(each.deployment), each.signal): each for each in traffic.told()}
    assert set(found) == {(str(r.deployment.id), s) for r in stream.rules for s in ("conversion", "errors")}
    one = found[str(stream.rules[0].deployment.id), "conversion"]
    points = [v for _, v in stream.series["conversion_n"][0].points[1:] if v > 0]
    assert one.trials == pytest.approx(sum(points) / len(points), rel=0.02)
    rule = stream.rules[0].signals[0]
    assert rule.evidence is not None
    assert one.norm is not None
    assert one.detectable == detectability(rule.evidence, rule.worse, 0.03, one.trials, one.norm, window_s=60.0)

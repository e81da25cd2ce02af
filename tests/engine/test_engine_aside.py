"""Distributions and slow signals: asked seldom, the same for whoever looks, in words, never in a trigger."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from engine_tools import VERSIONS, Flaky, bounded, fleet_rule, labelled, new_journal

from rollback_console.clock import VirtualClock
from rollback_console.decide.aside import as_of
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.engine.record import layout_bytes, pack, recompute, unpack
from rollback_console.engine.seldom import Seldom, pace_of
from rollback_console.engine.summary import summarize
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.model.incident import AttributionKind
from rollback_console.model.observation import Blind, Reading, Series
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    SignalKind,
    SignalRule,
    Stretch,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerState

DAY, WEEK, HOUR, MINUTE = 86_400.0, 604_800.0, 3_600.0, 60.0
NOON = 1_763_942_400.0 + 12 * HOUR  # Monday 2025-11-24
BUCKETS = "sum by (deployment, le) (increase(score_bucket[1h]))"
THEN = "sum by (deployment, le) (increase(score_bucket[1d]))"
CHURN = ("sum by (deployment) (increase(gone_total[1d]))", "sum by (deployment) (increase(users_total[1d]))")
EDGES = (0.2, 0.4, 0.6, 0.8, float("inf"))
EVEN, LOW = (200.0,) * 5, (500.0, 300.0, 100.0, 60.0, 40.0)


def score(baseline: Baseline | None = None) -> SignalRule:
    return SignalRule(
        "score", "Score", "inputs", Worse.HIGHER, Breach(), HOUR, baseline=baseline or Baseline(BaselineKind.LAST_WEEK),
        kind=SignalKind.DISTRIBUTION, buckets=BUCKETS, buckets_then=THEN,
    )  # fmt: skip


def churn(worse: Worse = Worse.HIGHER) -> SignalRule:
    return SignalRule(
        "churn", "Churn", "business", worse, Breach(), DAY, x=CHURN[0], n=CHURN[1], unit="%", minimum=100.0,
        baseline=Baseline(BaselineKind.LAST_WEEK), kind=SignalKind.SLOW, maturity_s=3 * DAY,
    )  # fmt: skip


def histogram(times: Mapping[float, tuple[float, ...]], promql: str = BUCKETS) -> list[Series]:
    """A cumulative series for each bucket."""
    found = []
    for k, edge in enumerate(EDGES):
        points = [(at, sum(counts[: k + 1])) for at, counts in sorted(times.items())]
        found.append(labelled(promql, "d0", points, le="+Inf" if edge == float("inf") else str(edge)))
    return found


def every(start: float, end: float, pace: float) -> list[float]:
    return [start + k * pace for k in range(round((end - start) / pace) + 1)]


def scores(drift_from: float, until: float) -> dict[str, list[Series]]:
    """Scores every 15 minutes over eight days, that move down at `drift_from`."""
    times = {at: LOW if at > drift_from else EVEN for at in every(until - 9 * DAY, until, 900.0)}
    return {BUCKETS: histogram(times)}


def rules_of(*signals: SignalRule, serving: str | None = None) -> tuple[DeploymentRule, ...]:
    return (fleet_rule("d0", [bounded("errors"), *signals], Uses("errors"), serving=serving),)


async def read(rules: tuple[DeploymentRule, ...], metrics: Flaky, at: float, raw: Reading | None = None) -> Reading:
    seldom = Seldom(rules, metrics)
    await seldom.prepare(at)
    return seldom.reading(0, 1, at, raw or Reading())


async def test_a_distribution_that_moved_is_told_with_its_onset() -> None:
    began = NOON - 2 * HOUR
    metrics, rules = Flaky(scores(began, NOON), lookback_s=900.0), rules_of(score())
    found = await read(rules, metrics, NOON + 100.0)
    assert found.drift is not None
    assert found.drift.drifted
    assert found.value == found.drift.psi > 0.5
    assert found.drift.since is not None
    assert abs(found.drift.since - began) <= HOUR, "to within its window"
    calm = await read(rules, metrics, began - HOUR)
    assert calm.drift is not None
    assert not calm.drift.drifted
    assert calm.drift.since is None


async def test_whoever_looks_whenever_they_began_is_told_the_same() -> None:
    metrics, rules = Flaky(scores(NOON - 2 * HOUR, NOON + HOUR), lookback_s=900.0), rules_of(score(), churn())
    always = Seldom(rules, metrics)
    for at in every(NOON - 4 * HOUR, NOON + HOUR, 7 * MINUTE):
        await always.prepare(at)
        opened = Seldom(rules, metrics)
        await opened.prepare(at, at - HOUR)
        assert always.reading(0, 1, at, Reading()) == opened.reading(0, 1, at, Reading())
        assert always.reading(0, 2, at, Reading()) == opened.reading(0, 2, at, Reading())


async def test_what_it_is_compared_with_may_be_a_period_or_the_version_before() -> None:
    period = Stretch(NOON - 5 * DAY, NOON - 4 * DAY, "calm")
    series = scores(NOON - 2 * HOUR, NOON) | {THEN: histogram({period.end: EVEN}, THEN)}
    metrics = Flaky(series, lookback_s=900.0)
    rules = rules_of(score(Baseline(BaselineKind.PERIOD, period=period)))
    found = await read(rules, metrics, NOON)
    assert found.drift is not None
    assert found.drift.drifted
    rules = rules_of(score(Baseline(BaselineKind.VERSION)))
    before = tuple((edge, 200.0 * (k + 1)) for k, edge in enumerate(EDGES))
    found = await read(rules, metrics, NOON, Reading(baseline=NOON - 3 * HOUR, buckets=before))
    assert found.drift is not None
    assert found.drift.drifted
    blind = await read(rules, metrics, NOON, Reading(baseline_blind=Blind.QUERY_FAILED))
    assert blind.blind is Blind.QUERY_FAILED


async def test_what_cannot_be_compared_is_blind_and_says_why() -> None:
    rules = rules_of(score())
    metrics = Flaky(scores(NOON - 2 * HOUR, NOON), lookback_s=900.0)
    metrics.silent.add(BUCKETS)
    assert (await read(rules, metrics, NOON)).blind is Blind.QUERY_FAILED
    few = {BUCKETS: histogram(dict.fromkeys(every(NOON - 8 * DAY, NOON, 900.0), (1.0,) * 5))}
    found = await read(rules, Flaky(few, lookback_s=900.0), NOON)
    assert (found.blind, found.drift, found.n) == (None, None, 5.0)
    excluded = rules_of(
        score(Baseline(BaselineKind.LAST_WEEK, exclude=(Stretch(NOON - 8 * DAY, NOON - 6 * DAY, "x"),)))
    )
    assert (await read(excluded, Flaky(scores(NOON, NOON), lookback_s=900.0), NOON)).blind is Blind.NO_DATA


def churned(until: float, worse_on: float = 0.0, seed: int = 2) -> dict[str, list[Series]]:
    """Daily churn of 5 % with 3 % of noise for fifty days, half as much again on one day."""
    draw, gone, users = random.Random(seed), [], []
    for day in every(until - 50 * DAY, until, DAY):
        users.append((day, 10_000.0))
        gone.append((day, round(500.0 * draw.gauss(1.0, 0.03) * (1.5 if day == worse_on else 1.0))))
    return {CHURN[0]: [labelled(CHURN[0], "d0", gone)], CHURN[1]: [labelled(CHURN[1], "d0", users)]}


def engine_of(
    rules: tuple[DeploymentRule, ...], series: Mapping[str, list[Series]], at: float, **more: object
) -> Engine:
    options = Options(step_s=MINUTE, delay_s=0.0, lookback_s=HOUR, debug=True)
    metrics = Flaky(series, lookback_s=900.0)
    return Engine(rules, metrics, None, VirtualClock(at), options, inline=True, **more)  # type: ignore[arg-type]


async def test_a_slow_signal_is_judged_when_mature_and_says_as_of_when() -> None:
    midnight = NOON - 12 * HOUR
    due = midnight - 3 * DAY
    assert as_of(churn(), NOON) == due
    errors = {
        "max by (deployment) (errors)": [labelled("e", "d0", [(at, 1.0) for at in every(NOON - 2 * HOUR, NOON, 60.0)])]
    }
    for bad, told in ((0.0, "within what is usual"), (due, "+")):
        engine = engine_of(rules_of(churn()), churned(midnight, bad) | errors, NOON)
        await engine.start()
        verdict = engine.board.verdicts[0]
        found = verdict.signals[1]
        assert found.note.startswith("as of 20 Nov 2025, mature: ")
        assert told in found.note
        assert found.breached is (bad > 0)
        assert found.interval is not None
        assert found.interval[0] < (found.degradation_pct or 0.0) < found.interval[1]
        assert verdict.state is TriggerState.HEALTHY, "it never fires"
        assert "churn" not in verdict.sentence


async def test_too_few_or_no_history_is_no_judgement() -> None:
    midnight = NOON - 12 * HOUR
    short = {q: [replace(s[0], points=s[0].points[-12:])] for q, s in churned(midnight).items()}
    found = await read(rules_of(churn()), Flaky(short, lookback_s=900.0), NOON)
    assert found.value is not None
    assert found.norm is None
    nothing = await read(rules_of(churn()), Flaky({}, lookback_s=900.0), NOON)
    assert nothing.blind is Blind.NO_DATA


async def test_drifted_inputs_explain_and_the_decision_can_be_made_again(tmp_path: Path) -> None:
    """A version that served well for hours degrades when its scores have moved: upstream, not its release."""
    bad = NOON - 30 * MINUTE
    times = every(NOON - 3 * HOUR, NOON, 60.0)
    errors = [(at, 9.0 if at > bad else 1.0) for at in times]
    versions = [
        labelled(VERSIONS, "d0", [(at, 1.0) for at in every(NOON - 40 * HOUR, NOON, 60.0)], job="serving", version="7")
    ]
    series = scores(NOON - 2 * HOUR, NOON) | {
        "max by (deployment) (errors)": [labelled("e", "d0", errors)], VERSIONS: versions,
    }  # fmt: skip
    journal = new_journal(tmp_path / "j.db", NOON - HOUR)
    rules = rules_of(score(), serving=VERSIONS)
    engine = engine_of(rules, series, NOON - HOUR, journal=journal)
    await engine.start()
    for at in every(NOON - HOUR + MINUTE, NOON, MINUTE):
        engine.clock._now = at  # type: ignore[attr-defined]
        await engine.step(at)
    snapshot = engine.publish()
    (incident,) = snapshot.incidents
    assert incident.attribution.kind is AttributionKind.UPSTREAM
    assert "stability index" in " ".join(incident.attribution.reasons)
    assert "Besides: d0 score: large drift (stability index" in summarize(snapshot)
    verdict = engine.board.verdicts[0]
    assert verdict.state is TriggerState.FIRED
    assert "score" not in verdict.sentence, "the trigger does not ask it"

    def blobs(digest: str) -> bytes | None:
        return b"policy" if digest == "0" * 64 else journal.get_blob(digest)

    fired = 0
    for entry in journal.entries(kinds=("transition",)):
        assert recompute(entry, blobs, lambda *_: rules) is None
        body = entry.parsed()
        assert isinstance(body, TransitionRecorded)
        fired += body.after == "fired"
    assert fired == 1
    tick = await engine.sampler.assemble(NOON, await engine.sampler.answers_at(NOON), {}, memories={})
    layout = layout_bytes(rules)
    data = pack(tick, "l")
    assert json.loads(data.partition(b"\n")[0])["v"] == 3
    again = unpack(data, lambda _: layout)
    assert again.observations[0].readings[1].drift == tick.observations[0].readings[1].drift
    journal.close()


def test_a_distribution_is_compared_four_times_a_window() -> None:
    assert pace_of(score()) == 900.0
    assert pace_of(replace(score(), window_s=300.0)) == 300.0


@pytest.mark.parametrize("kind", [SignalKind.DISTRIBUTION, SignalKind.SLOW])
def test_what_stands_aside_is_known_by_its_kind(kind: SignalKind) -> None:
    assert replace(score(), kind=kind).aside
    assert not bounded("errors").aside

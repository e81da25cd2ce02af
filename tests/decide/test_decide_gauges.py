"""What history says of a gauge: bounds by the hour, out of sample; noise scaled to what is judged; and its verdict."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.calendar import HOUR_S, LAG_S, SLOTS, Calendar
from rollback_console.decide.dispersion import Block
from rollback_console.decide.gauges import (
    Noise,
    Samples,
    apart,
    bands,
    beside,
    hours_of,
    norm_at,
    usual_share,
    windows_of,
)
from rollback_console.decide.judge import FRESH, decide
from rollback_console.decide.ranks import SELDOM
from rollback_console.decide.weighing import trial_of
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Norm, Observation, Reading
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    SignalKind,
    SignalRule,
    Stretch,
    Tiered,
    TriggerRule,
    Uses,
    Worse,
)

MONDAY, DAY, UTC = 1_763_942_400.0, 86_400.0, Calendar()
HISTORY = 14 * DAY
SIGNAL = SignalRule(
    "depth", "Queue depth", "technical", Worse.HIGHER, Breach(), 60.0, value="depth", kind=SignalKind.GAUGE,
    baseline=Baseline(BaselineKind.SEASONAL), evidence=EvidenceRule(),
)  # fmt: skip


def history(days: int = 14, seed: int = 1, *, level: float = 20.0) -> Samples:
    draw = random.Random(seed)
    values = [level * math.exp(draw.gauss(0.0, 0.1)) for _ in range(days * 96)]
    return Samples(MONDAY - LAG_S - days * DAY, 900.0, values)


def test_the_share_beyond_a_bound_is_what_was_asked_for_out_of_sample() -> None:
    found = bands(history(), MONDAY, HISTORY, UTC, (), Worse.HIGHER)
    assert found is not None
    assert (found.hours, len(found.bounds)) == (14 * 24, SLOTS)
    counted = hours_of(history(), found, UTC, (), Worse.HIGHER)
    assert usual_share(counted, found.end) == pytest.approx(SELDOM, abs=0.02)
    later = hours_of(replace(history(2, seed=9), start=MONDAY), found, UTC, (), Worse.HIGHER)
    assert usual_share(later, MONDAY + 3 * DAY) == pytest.approx(SELDOM, abs=0.05)


@given(st.floats(0.01, 1e6), st.sampled_from(list(Worse)))
@settings(max_examples=20, deadline=None)
def test_scaling_a_gauge_scales_its_bounds_and_changes_no_count(factor: float, worse: Worse) -> None:
    one = history(4)
    two = replace(one, values=[factor * value for value in one.values])
    first, second = (bands(each, MONDAY, 4 * DAY, UTC, (), worse) for each in (one, two))
    assert first is not None
    assert second is not None
    assert second.bounds == pytest.approx([factor * bound for bound in first.bounds])
    assert hours_of(one, first, UTC, (), worse).x == hours_of(two, second, UTC, (), worse).x


def test_a_day_is_counted_against_the_others_and_what_is_excluded_makes_no_bound() -> None:
    values = list(history(7).values)
    values[:96] = [200.0] * 96  # the first day was bad
    samples = Samples(MONDAY - LAG_S - 7 * DAY, 900.0, values)
    found = bands(samples, MONDAY, 7 * DAY, UTC, (), Worse.HIGHER)
    assert found is not None
    counted = hours_of(samples, found, UTC, (), Worse.HIGHER)
    assert list(counted.x[:24]) == [4.0] * 24, "beyond what the other days ever passed"
    spared = bands(samples, MONDAY, 7 * DAY, UTC, (Stretch(samples.start, samples.start + DAY, "bad"),), Worse.HIGHER)
    assert spared is not None
    assert max(spared.bounds) < 40.0 < max(found.bounds)


def test_less_than_a_day_is_no_history_and_gaps_are_no_samples() -> None:
    samples = history(1)
    assert bands(replace(samples, values=samples.values[:92]), MONDAY - HOUR_S, DAY, UTC, (), Worse.HIGHER) is None
    gaps = replace(samples, values=[math.nan if k % 2 else value for k, value in enumerate(samples.values)])
    found = bands(gaps, MONDAY, DAY, UTC, (), Worse.HIGHER)
    assert found is not None
    assert hours_of(gaps, found, UTC, (), Worse.HIGHER).n[0] == 2.0
    window = windows_of([1.0, math.nan, 99.0], MONDAY, 60.0, found, 0, Worse.HIGHER)
    assert (window.x[0], window.x[2]) == (0.0, 1.0)
    assert math.isnan(window.n[1])


def test_noise_of_sparse_samples_counts_for_as_many_as_are_judged() -> None:
    sparse = Noise((Block(15.0, 6.0, 24, 1.0),), (Block(60.0, 2.0, 300, 4 / 60),), 4 / 60, 0.0)
    calm = Noise((Block(15.0, 1.0, 24, 1.0),), (Block(60.0, 1.0, 300, 4 / 60),), 4 / 60, 0.0)
    rough, still = (norm_at(each, EvidenceRule(), SELDOM, 0, 60.0).phi for each in (sparse, calm))
    assert max(still) < 2.0
    near = 6.0 * (1.0 + math.sqrt(2.0 / 24))  # and a standard error
    assert max(rough) == pytest.approx(1.0 + (near + 15.0 - 1.0) * 2.0), "four times as long as was measured: twice"
    wary = norm_at(replace(calm, slow=0.5), EvidenceRule(), SELDOM, 96, 60.0)
    assert wary.margin > 1.25 + norm_at(calm, EvidenceRule(), SELDOM, 0, 60.0).margin


@pytest.mark.parametrize(
    ("worse", "value", "x"), [(Worse.HIGHER, 31.0, 1.0), (Worse.HIGHER, 30.0, 0.0), (Worse.LOWER, 29.0, 1.0)]
)
def test_an_evaluation_is_one_sample_beyond_its_bound_or_not(worse: Worse, value: float, x: float) -> None:
    norm = Norm(0.5, (1.0,), bound=30.0, share=0.05)
    trial = trial_of(replace(SIGNAL, worse=worse), Reading(value, 20.0, norm=norm))
    assert trial is not None
    assert (trial.x, trial.n, trial.p, trial.worse) == (x, 1.0, 0.05, Worse.HIGHER)


def rule() -> DeploymentRule:
    who = Deployment(DeploymentId("production", "a"), "high", "m", "champion", ())
    return DeploymentRule(who, (SIGNAL,), TriggerRule(Tiered((Uses("depth"),)), "t"), (), "p", 1, "0" * 64)


def test_the_verdict_is_of_the_gauges_own_value_and_says_how_often_it_was_beyond() -> None:
    memory, norm = FRESH, Norm(0.5, (1.0,) * 7, bound=30.0, share=0.05)
    for k in range(1, 20):
        seen = Observation(rule().deployment.id, MONDAY + 60.0 * k, (Reading(45.0, 20.0, norm=norm),))
        verdict, memory = decide(rule(), seen, memory)
    found = verdict.signals[0]
    assert (found.value, found.baseline, found.limit, found.degradation_pct) == (45.0, 20.0, 30.0, 125.0)
    assert found.breached
    assert found.beyond is not None
    assert found.beyond[0] == pytest.approx(1.0)
    assert found.beyond[3] == 0.05
    assert verdict.sentence.startswith("queue depth 45, above 30 in 100 % [")
    assert "(usually 5 %), evidence" in verdict.sentence


def test_without_a_bound_it_says_what_it_takes() -> None:
    reading = Reading(45.0, baseline_blind=Blind.NO_DATA, norm=Norm(0.02, (4.0,)))
    verdict, _ = decide(rule(), Observation(rule().deployment.id, MONDAY, (reading,)))
    assert verdict.signals[0].note == "no baseline: it takes a day of history"
    assert verdict.signals[0].blind is Blind.NO_DATA


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.floats(0.01, 100.0))
@settings(max_examples=60)
def test_beside_a_control_scale_cancels_and_the_way_back_is_exact(own: float, control: float, factor: float) -> None:
    distance = apart(own, control)
    assert -1.0 <= distance <= 1.0
    assert apart(own * factor, control * factor) == pytest.approx(distance)
    if 1e-6 < own / control < 1e6:
        assert beside(control, distance) == pytest.approx(own, rel=1e-6)
        assert beside(-control, apart(-own, -control)) == pytest.approx(-own, rel=1e-6)
    assert apart(0.0, 0.0) == 0.0
    assert beside(control, 1.0) == math.inf

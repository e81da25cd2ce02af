"""Sample ratio mismatch: found where arms do not get their share, hardly ever where they do; nothing fires on it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.arms import LIKELY, MISMATCH, NOTHING, added, log_factor, mismatch
from rollback_console.decide.attribution import Case, attribute
from rollback_console.decide.evidence import EMPTY, SPAN_S
from rollback_console.decide.judge import FRESH, decide
from rollback_console.decide.weighing import mismatched
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import AttributionKind
from rollback_console.model.observation import Norm, Observation, Reading
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict

MARK = 40_000 * SPAN_S
WHO = DeploymentId("production", "checkout")
SIGNAL = SignalRule(
    "conversion", "Conversion", "business", Worse.LOWER, Breach(), 60.0, x="x", n="n", unit="%",
    baseline=Baseline(BaselineKind.CONTROL, control="canary", share=0.5), evidence=EvidenceRule(),
    sufficient_alone=True,
)  # fmt: skip
RULE = DeploymentRule(
    Deployment(WHO, "high", "m", "champion", ()), (SIGNAL,), TriggerRule(Tiered((Uses("conversion"),)), "tiered"), (),
    "p", 1, "0" * 64,
)  # fmt: skip


def run(share: float, minutes: int, *, seed: int = 1, rate: float = 0.03) -> tuple[Verdict, TriggerMemory]:
    """Both arms convert alike (the deployment at `rate`); the control gets `share` of 1,000 visits a minute."""
    draw, memory = random.Random(seed), FRESH
    for k in range(1, minutes + 1):
        control = sum(draw.random() < share for _ in range(1_000))
        own = 1_000 - control
        x, y = sum(draw.random() < rate for _ in range(own)), sum(draw.random() < 0.03 for _ in range(control))
        norm = Norm(0.01, (1.0,), (float(y), float(control)), split=0.5)
        reading = Reading(x / own, y / control, float(own), None, None, float(x), norm)
        verdict, memory = decide(RULE, Observation(WHO, MARK + 60.0 * k, (reading,)), memory)
    return verdict, memory


def test_a_mismatch_is_found_said_and_nothing_fires_on_it() -> None:
    """Half of the conversions are gone, but so are many of the deployment's visits: not comparable."""
    verdict, memory = run(0.62, 40, rate=0.015)
    found = verdict.signals[0]
    assert memory.evidence[0] is not None
    assert memory.evidence[0].full_since is not None, "by the numbers alone it would have fired"
    assert found.breached is None
    assert found.note == (f"{MISMATCH}: 62 % of trials in the control, expected 50 %: the comparison cannot be trusted")
    assert verdict.state is not TriggerState.FIRED
    assert found.note in verdict.sentence
    fired, _ = run(0.5, 40, rate=0.015)
    assert fired.state is TriggerState.FIRED


def test_it_is_telemetry_in_the_attribution() -> None:
    verdict, _ = run(0.62, 40)
    case = Case([WHO], {WHO: MARK}, {WHO: verdict}, {WHO: RULE}, (), 1, 0)
    attribution, advice, sentence = attribute(case)
    assert attribution.kind is AttributionKind.TELEMETRY
    assert "62 % of trials in the control" in sentence
    assert advice[0].path is None


@pytest.mark.parametrize("share", [0.5, 0.505, 0.495])
def test_arms_as_planned_are_no_mismatch(share: float) -> None:
    verdict, _ = run(share, 60)
    assert MISMATCH not in verdict.signals[0].note


def test_looked_at_all_day_chance_hardly_ever_looks_like_one() -> None:
    """200 days of 1,440 looks, sessions of four visits that land together: none is taken for a mismatch."""
    wrong = 0
    for seed in range(200):
        draw, tally, last = random.Random(seed), NOTHING, None
        for k in range(1, 145):
            at = MARK + 600.0 * k
            control = 4.0 * round(draw.gauss(250.0 * 10, (250.0 * 10 * 0.25 * 4) ** 0.5) / 2)
            tally = added(tally, last, at, 20_000.0 / 2 - control, control)
            last = at
            wrong += mismatch(tally, 0.5) is not None
    assert wrong == 0


def test_it_forgets_at_marks_as_evidence_does() -> None:
    tally = added(NOTHING, None, MARK + 60.0, 1.0, 2.0)
    tally = added(tally, MARK + 60.0, MARK + SPAN_S + 60.0, 3.0, 4.0)
    assert tally == (3.0, 4.0, 1.0, 2.0)
    assert added(tally, MARK + SPAN_S + 60.0, MARK + 2 * SPAN_S + 60.0, 5.0, 6.0) == (5.0, 6.0, 3.0, 4.0)
    assert added(tally, MARK + 60.0, MARK + 4 * SPAN_S, 5.0, 6.0) == (5.0, 6.0, 0.0, 0.0)


@given(st.floats(0.05, 0.95), st.integers(10, 100_000))
@settings(max_examples=60)
def test_what_is_as_expected_never_counts_against_it(expected: float, trials: int) -> None:
    control = trials * expected
    assert log_factor(trials - control, control, expected) <= 0.0
    assert mismatch((trials - control, control, 0.0, 0.0), expected) is None


@given(st.floats(0.2, 0.8), st.integers(100, 10_000))
@settings(max_examples=40)
def test_more_of_the_same_mismatch_says_more(expected: float, trials: int) -> None:
    off = min(0.95, expected * 1.25)
    once = log_factor(trials * (1 - off), trials * off, expected)
    twice = log_factor(2 * trials * (1 - off), 2 * trials * off, expected)
    assert twice > once - 1.0
    assert LIKELY > 11.0


def test_without_an_expected_split_nothing_is_said() -> None:
    assert mismatch((1e6, 1.0, 0.0, 0.0), None) is None
    assert mismatched(EMPTY, Norm(0.01, (1.0,), (1.0, 10.0))) is None

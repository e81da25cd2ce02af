"""Keptn's relative criteria against our relative margins.

`Keptn` evaluates as its specification of service level objectives describes it: a criterion is an operator, a sign and
a number; `<=+10%` passes where the value is at most 10 % more than what it is compared with, the average (or another
aggregate) of the last n results that passed; where there is none yet, a relative criterion passes. The criteria of one
list must all hold.

A policy says `breach: {degraded_by: 10%, baseline: …}`: degraded where the value is *more* than 10 % beyond its
baseline, on the worse side. What it cannot express: `<+10%` at exactly 10 % (our bounds are strict the other way
round), `<=-5%` (an improvement asked for: a signal at its baseline is healthy), `<=+50` (a difference in the signal's
unit: write it into the query), `=`; and "passes without anything to compare with" is, with us, "cannot be told".
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.judge import FRESH, step
from rollback_console.decide.signals import judge
from rollback_console.errors import FileProblems
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import DeploymentRule
from rollback_console.policy.load import parse_policy

Aggregate = Callable[[Sequence[float]], float]
AGGREGATES: dict[str, Aggregate] = {
    "avg": statistics.fmean,
    "p50": statistics.median,
    "p90": lambda values: statistics.quantiles(values, n=10, method="inclusive")[8] if len(values) > 1 else values[0],
}


@dataclass
class Keptn:
    """One objective with its history."""

    criteria: tuple[str, ...]
    results: int = 3
    aggregate: Aggregate = statistics.fmean
    passed: list[float] = field(default_factory=list)

    def compared_with(self) -> float | None:
        return self.aggregate(self.passed[-self.results :]) if self.passed else None

    def evaluate(self, value: float) -> bool:
        base = self.compared_with()
        good = all(self._holds(each, value, base) for each in self.criteria)
        if good:
            self.passed.append(value)
        return good

    @staticmethod
    def _holds(criterion: str, value: float, base: float | None) -> bool:
        sign = "<=" if criterion.startswith("<=") else ">=" if criterion.startswith(">=") else criterion[0]
        rest = criterion.removeprefix(sign)
        if rest.endswith("%"):
            if base is None:
                return True
            limit = base * (100 + float(rest.rstrip("%"))) / 100
        elif rest[0] in "+-":
            if base is None:
                return True
            limit = base + float(rest)
        else:
            limit = float(rest)
        return {"<=": value <= limit, "<": value < limit, ">=": value >= limit, ">": value > limit}[sign]


def policy(signals: str, trigger: str = "dwell: 0") -> DeploymentRule:
    text = (
        "schema: rollback-console/policy/v1\nname: keptn\nversion: 1\n"
        "deployments:\n  - {name: a, environment: test, model: {name: a, alias: champion}}\n"
        f"signals:\n{signals}trigger: {{{trigger}}}\n"
    )
    return parse_policy(text.encode(), "keptn.yaml").rules[0]


def relative(worse: str, share: str) -> DeploymentRule:
    return policy(
        f"  s: {{worse: {worse}, value: latency, breach: {{degraded_by: {share}, baseline: {{kind: version}}}}}}\n"
    )


def degraded(rule: DeploymentRule, value: float, base: float | None) -> bool | None:
    reading = Reading(value, base, baseline_blind=None if base is not None else Blind.NO_DATA)
    return judge(rule.signals[0], reading).breached


EXPRESSED = [
    ("<=+10%", "higher", "10%"), ("<=+5%", "higher", "5%"), ("<=+100%", "higher", "100%"),
    ("<=+0.5%", "higher", "0.5%"),
    (">=-10%", "lower", "10%"), (">=-5%", "lower", "5%"), (">=-60%", "lower", "60%"),
]  # fmt: skip


@pytest.mark.parametrize(("criterion", "worse", "share"), EXPRESSED)
@settings(max_examples=60, deadline=None)
@given(base=st.floats(0.001, 1e6), times=st.floats(0.01, 3.0))
def test_a_relative_criterion_fails_where_the_signal_is_degraded(
    criterion: str, worse: str, share: str, base: float, times: float
) -> None:
    value = base * times
    limit = base * (1 + (1 if worse == "higher" else -1) * float(share.rstrip("%")) / 100)
    if abs(value - limit) < 1e-9 * base:
        return  # one rounding of the bound is another one's: the next test has the bounds that are exact
    assert degraded(relative(worse, share), value, base) is not Keptn((criterion,), passed=[base]).evaluate(value)


@pytest.mark.parametrize(
    ("criterion", "worse", "share", "base", "at"),
    [("<=+10%", "higher", "10%", 5.0, 5.5), ("<=+10%", "higher", "10%", 100.0, 110.0),
     ("<=+50%", "higher", "50%", 8.0, 12.0),
     (">=-25%", "lower", "25%", 64.0, 48.0)],
)  # fmt: skip
def test_at_exactly_the_bound_both_are_content(criterion: str, worse: str, share: str, base: float, at: float) -> None:
    assert Keptn((criterion,), passed=[base]).evaluate(at)
    assert degraded(relative(worse, share), at, base) is False


@pytest.mark.parametrize("aggregate", list(AGGREGATES))
@pytest.mark.parametrize("results", [1, 3, 5])
@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.sampled_from([80.0, 100.0, 104.0, 108.0, 113.0, 120.0, 150.0, 300.0]), min_size=1, max_size=25)
)
def test_the_last_passes_are_the_baseline_over_a_whole_history(
    aggregate: str, results: int, values: list[float]
) -> None:
    """Each verdict feeds the next one's baseline, so that one difference would show in all that follow."""
    keptn = Keptn(("<=+10%",), results, AGGREGATES[aggregate])
    rule = relative("higher", "10%")
    for value in values:
        base = keptn.compared_with()
        breached = degraded(rule, value, base)
        good = keptn.evaluate(value)
        if base is None:
            assert good
            assert breached is None, "nothing to compare with: it cannot be told, which is never degraded"
        elif abs(value - base * 1.1) > 1e-9:
            assert breached is not good


@settings(max_examples=150, deadline=None)
@given(value=st.sampled_from([90.0, 109.0, 111.0, 599.0, 600.0, 650.0]), base=st.sampled_from([100.0, 560.0, 700.0]))
def test_criteria_that_must_all_hold(value: float, base: float) -> None:
    """`["<=+10%", "<600"]`: degraded where any one fails. `<600` is above the number next to 600."""
    rule = policy(
        "  relative: {worse: higher, value: latency, breach: {degraded_by: 10%, baseline: {kind: version}}}\n"
        "  absolute: {worse: higher, value: latency, breach: {above: 599.9999999999999}}\n",
        "when: relative or absolute, dwell: 0",
    )
    seen = Observation(rule.deployment.id, 0.0, (Reading(value, base), Reading(value)))
    failed = step(rule, seen, FRESH).condition
    assert failed is not Keptn(("<=+10%", "<600"), passed=[base]).evaluate(value)


@settings(max_examples=150, deadline=None)
@given(st.tuples(*[st.sampled_from([90.0, 105.0, 111.0, 140.0])] * 3))
def test_a_total_score(values: tuple[float, float, float]) -> None:
    """Objectives of weights 1, 2 and 1 with a total score of 75 %: degraded where the failed ones weigh more than 1."""
    signals = "".join(
        f"  {name}: {{worse: higher, value: {name}, breach: {{degraded_by: 10%, baseline: {{kind: version}}}}}}\n"
        for name in "abc"
    )
    rule = policy(signals, "when: 'weight(a: 1, b: 2, c: 1) >= 2', dwell: 0")
    seen = Observation(rule.deployment.id, 0.0, tuple(Reading(value, 100.0) for value in values))
    passed = [Keptn(("<=+10%",), passed=[100.0]).evaluate(value) for value in values]
    score = sum(weight for weight, good in zip((1, 2, 1), passed, strict=True) if good) / 4
    assert step(rule, seen, FRESH).condition is not (score >= 0.75)


def test_what_cannot_be_expressed() -> None:
    assert Keptn(("<+10%",), passed=[100.0]).evaluate(110.0) is False
    assert degraded(relative("higher", "10%"), 110.0, 100.0) is False, "strict the other way round"
    with pytest.raises(FileProblems, match="is not more than 0%"):
        relative("higher", "-5%")
    assert Keptn(("<=+10%",)).evaluate(1e9), "Keptn passes what it cannot compare"
    assert degraded(relative("higher", "10%"), 1e9, None) is None, "we say that it cannot be told"

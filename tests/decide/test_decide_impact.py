"""What a degradation costs: its parts and their points, the range of the loss, and what came together since onset."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_console.decide.impact import accrue, formula, impact_of, scaled, total_words, waiting, waiting_words
from rollback_console.decide.judge import FRESH, decide
from rollback_console.engine.record import memory_document, memory_from
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    CostRule,
    DeploymentRule,
    EvidenceRule,
    ImpactRule,
    Or,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import Impact, SignalVerdict, TriggerMemory, TriggerState, Verdict

NAME = DeploymentId("production", "ranker")
AT = 1_763_640_000.0
CONVERSION = SignalRule(
    "conversion", "Conversion", "business", Worse.LOWER, Breach(degraded_by=0.05), 60.0, x="x", n="n", unit="%",
    baseline=Baseline(BaselineKind.LAST_WEEK),
)  # fmt: skip
ERRORS = SignalRule("errors", "Errors", "technical", Worse.HIGHER, Breach(above=0.02), 60.0, value="e", unit="%")
EVERY = ImpactRule(
    revenue_per_minute="r", users_per_minute="u", regulatory="low",
    satisfaction=CostRule(value="s", unit="tickets", full=50.0), market=CostRule(tier="medium"),
)  # fmt: skip


def rule_of(impact: ImpactRule = EVERY, *signals: SignalRule) -> DeploymentRule:
    chosen = signals or (CONVERSION, ERRORS)
    return DeploymentRule(
        Deployment(NAME, "high", "m", "champion", ()), chosen,
        TriggerRule(Or(tuple(Uses(each.name) for each in chosen)), "any", 60.0, 120.0), (), "ranking", 1, "0" * 64,
        impact=impact,
    )  # fmt: skip


def seen(
    at: float, conversion: float | None = 0.027, errors: float | None = 0.001, **more: float | None
) -> Observation:
    readings = (
        Reading(conversion, 0.03, 2000.0) if conversion is not None else Reading(blind=Blind.NO_DATA),
        Reading(errors) if errors is not None else Reading(blind=Blind.NO_DATA),
    )
    rates = {"revenue_per_minute": 4_500.0, "users_per_minute": 2_100.0, "satisfaction_per_minute": 9.0, **more}
    return Observation(NAME, at, readings, "8", **rates)


def run(rule: DeploymentRule, stream: Sequence[Observation]) -> tuple[Verdict, TriggerMemory]:
    memory, verdict = FRESH, None
    for observation in stream:
        verdict, memory = decide(rule, observation, memory)
    assert verdict is not None
    return verdict, memory


def stream_of(*conversions: float | None, **more: float | None) -> list[Observation]:
    return [seen(AT + 60.0 * number, each, **more) for number, each in enumerate(conversions)]


def parts(impact: Impact) -> dict[str, Any]:
    return {part.name: part for part in impact.parts}


# ── now


def test_every_part_has_its_value_unit_points_and_source_and_the_score_is_their_sum() -> None:
    verdict, _ = run(rule_of(), stream_of(0.027))
    found = parts(verdict.impact)
    assert list(found) == ["revenue", "users", "satisfaction", "market", "regulatory"]
    assert found["revenue"].value == pytest.approx(4_500.0 * 0.1 / 0.9)
    assert found["revenue"].source == "4,500 USD/min now; Conversion is 10.0 % below its baseline"
    assert found["satisfaction"].points == pytest.approx(15 * math.log10(10) / math.log10(51))
    assert (found["satisfaction"].value, found["satisfaction"].unit) == (9.0, "tickets/min")
    assert (found["market"].value, found["market"].unit, found["market"].points) == (
        None,
        "medium",
        pytest.approx(20 / 3),
    )
    assert found["regulatory"].points == 5.0
    assert verdict.impact.score == pytest.approx(sum(part.points for part in verdict.impact.parts))


@given(st.floats(0.0, 1e12), st.floats(0.0, 1e12), st.floats(1e-3, 1e9))
def test_points_grow_with_the_amount_and_stay_within_their_part(less: float, more: float, full: float) -> None:
    low, high = sorted((less, more))
    assert 0.0 <= scaled(low, 60.0, full) <= scaled(high, 60.0, full) <= 60.0
    assert scaled(full, 60.0, full) == pytest.approx(60.0)


def test_the_score_never_passes_100() -> None:
    rich = replace(EVERY, regulatory="high", market=CostRule(tier="high"), satisfaction=CostRule(constant=1e9))
    verdict, _ = run(rule_of(rich), [seen(AT, 0.001, revenue_per_minute=1e9, users_per_minute=1e9)])
    assert verdict.impact.score == 100.0


def test_a_revenue_that_the_policy_says_is_what_comes_in_while_healthy() -> None:
    verdict, _ = run(rule_of(ImpactRule(revenue_constant=5_000.0, unit="EUR")), stream_of(0.027))
    revenue = parts(verdict.impact)["revenue"]
    assert (revenue.value, revenue.unit) == (pytest.approx(500.0), "EUR/min")
    assert revenue.source == "5,000 EUR/min while healthy; Conversion is 10.0 % below its baseline"


def test_what_cannot_be_told_says_why_and_scores_nothing() -> None:
    blind, _ = run(rule_of(), stream_of(0.027, revenue_per_minute=None, users_per_minute=None))
    assert [(p.name, p.points, p.source) for p in blind.impact.parts[:2]] == [
        ("revenue", 0.0, "revenue is blind"), ("users", 0.0, "users are blind"),
    ]  # fmt: skip
    technical, _ = run(rule_of(), stream_of(0.0301, errors=0.5))
    assert parts(technical.impact)["revenue"].source == "no business signal says how much is lost"
    assert run(rule_of(), stream_of(0.0301))[0].impact == Impact(0.0)


def test_the_range_of_the_loss_is_the_signals_own() -> None:
    rule = rule_of(ImpactRule(revenue_per_minute="r"), replace(CONVERSION, evidence=EvidenceRule()))
    found = SignalVerdict(
        "conversion", 0.0271, 0.0301, 0.0295, 0.003, 10.0, False, None, 2000.0, "", 7.1, 11.8, AT - 1_800.0, (7.0, 13.0)
    )
    revenue = impact_of(rule, seen(AT), (found,)).parts[0]
    assert revenue.interval is not None
    low, high = revenue.interval
    assert [low, high] == pytest.approx([4_500 * 0.07 / 0.93, 4_500 * 0.13 / 0.87])
    assert low < (revenue.value or 0.0) < high


def test_the_formula_is_shown_with_its_numbers() -> None:
    rule = rule_of()
    verdict, _ = run(rule, stream_of(0.027))
    said = {part.name: formula(rule.impact, part) for part in verdict.impact.parts}
    assert said["revenue"] == "60 x log10(1 + 500) / log10(1 + 10,000) = 40.5"
    assert said["satisfaction"] == "15 x log10(1 + 9) / log10(1 + 50) = 8.8"
    assert said["market"] == "10 x 0.67 = 6.7"
    assert said["regulatory"] == "15 x 0.33 = 5.0"


def test_what_ten_more_minutes_cost() -> None:
    verdict, _ = run(rule_of(), stream_of(0.027))
    assert waiting_words(verdict.impact) == "10 more minutes cost about 5,000 USD, 21k users and 90 tickets"
    assert [part.value for part in waiting(verdict.impact, 1.0)] == [pytest.approx(500.0), 2_100.0, 9.0]
    assert waiting_words(Impact(0.0)) == ""


# ── since the onset


def test_the_total_counts_from_the_onset_and_stands_when_it_is_over() -> None:
    rule = rule_of()
    verdict, _ = run(rule, stream_of(0.0301, 0.027, 0.027, 0.027))
    revenue = parts(verdict.impact)["revenue"]
    assert verdict.impact.since == AT + 60.0
    assert revenue.total == pytest.approx(2 * 500.0)  # two minutes since, at 500 a minute
    assert not verdict.impact.at_least
    assert total_words(verdict.impact) == "so far about 1,000 USD, 4,200 users and 18 tickets"
    over, memory = run(rule, stream_of(0.0301, 0.027, 0.027, 0.027, 0.0301))
    assert over.state is TriggerState.CLEARING
    assert (over.impact.score, parts(over.impact)["revenue"].total) == (0.0, pytest.approx(1_000.0))
    assert memory.cost is not None
    _, calm = run(rule, stream_of(0.0301, 0.027, 0.027, 0.027, 0.0301, 0.0301, 0.0301))
    assert calm.cost is None


def test_time_that_nobody_saw_is_not_guessed_and_says_so() -> None:
    rule = rule_of()
    stream = stream_of(0.0301, 0.027, 0.027, 0.027)
    stream[2] = seen(AT + 120.0, 0.027, revenue_per_minute=None)
    verdict, _ = run(rule, stream)
    assert parts(verdict.impact)["revenue"].total == pytest.approx(500.0)
    assert total_words(verdict.impact).startswith("so far at least 500 USD")
    begun, _ = run(rule, stream_of(0.027, 0.027))  # degraded before anything was seen
    assert begun.impact.at_least


def test_noise_about_the_baseline_adds_up_to_nothing() -> None:
    """A trigger held by its errors, while conversion swings about its baseline: nothing is lost by that."""
    errors = [0.0301, 0.0299] * 5
    verdict, _ = run(rule_of(), [seen(AT - 60.0), *stream_of(*errors, errors=0.5)])
    assert (parts(verdict.impact)["revenue"].total or 0.0) < 1_100.0


def test_an_onset_that_evidence_finds_lies_in_the_past_and_is_counted_from_there() -> None:
    rule = rule_of(ImpactRule(revenue_constant=1_000.0), replace(CONVERSION, evidence=EvidenceRule()))
    found = SignalVerdict(
        "conversion", 0.0271, 0.0301, 0.0295, 0.003, 10.0, False, None, 2000.0, "", 7.1, 11.8, AT - 1_800.0, (7.0, 13.0)
    )
    before = TriggerMemory(at=AT - 60.0, known=True)
    first = accrue(rule, seen(AT), (found,), before, TriggerMemory(at=AT, active_since=AT - 1_800.0, known=True))
    assert first.cost is not None
    assert (first.cost.since, first.cost.whole) == (AT - 1_800.0, True)
    assert first.cost.lost[0] == pytest.approx(30 * 100.0)  # half an hour at a tenth of 1,000 a minute
    later = accrue(rule, seen(AT + 60.0), (found,), first, replace(first, at=AT + 60.0, cost=None))
    assert later.cost is not None
    assert later.cost.lost[0] == pytest.approx(31 * 100.0)


def test_without_prices_nothing_is_carried() -> None:
    _, memory = run(rule_of(ImpactRule(regulatory="high")), stream_of(0.0301, 0.027, 0.027))
    assert memory.cost is None


_values = st.sampled_from([0.0301, 0.0299, 0.027, 0.02, None])


_rows = st.tuples(_values, st.sampled_from([0.001, 0.5, None]), st.sampled_from([4_500.0, None]))


@given(st.lists(_rows, min_size=2, max_size=25), st.integers(0, 24))
def test_a_restart_anywhere_goes_on_with_the_same_sums(
    rows: list[tuple[float | None, float | None, float | None]], cut: int
) -> None:
    rule = rule_of()
    memory = FRESH
    cut = min(cut, len(rows) - 1)
    kept: list[TriggerMemory] = []
    stream = [
        seen(AT + 60.0 * number, conversion, errors, revenue_per_minute=revenue)
        for number, (conversion, errors, revenue) in enumerate(rows)
    ]
    for observation in stream:
        _, memory = decide(rule, observation, memory)
        kept.append(memory)
    resumed = memory_from(json.loads(json.dumps(memory_document(kept[cut]))))
    assert resumed == kept[cut]
    for observation in stream[cut + 1 :]:
        _, resumed = decide(rule, observation, resumed)
    assert resumed == memory


@given(st.lists(_values, min_size=1, max_size=12), st.lists(_values, min_size=1, max_size=12))
def test_whatever_came_before_a_calm_stretch_the_sums_after_it_are_the_same(
    before: list[float | None], after: list[float | None]
) -> None:
    """What a cold start relies on: it replays from a calm stretch on, an always-on watch saw all that came before."""
    calm: list[float | None] = [0.0301] * 5
    rule = rule_of()
    _, always = run(rule, stream_of(*before, *calm, *after))
    cold = stream_of(*before, *calm, *after)[len(before) :]
    _, fresh = run(rule, cold)
    assert (fresh.cost, fresh.active_since) == (always.cost, always.active_since)

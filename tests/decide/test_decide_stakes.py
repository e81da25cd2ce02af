"""What is at stake enters the decision: holds that the loss budget shortens, bounds that vary with what is lost, what a
false rollback costs, and a third rollback in a day that is a person's to decide."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_decide_weighed import BEGIN, NORM, WHO, counted, weighed_rule

from rollback_console.decide.adaptive import Stakes
from rollback_console.decide.attribution import Release
from rollback_console.decide.change import why_not
from rollback_console.decide.evidence import EMPTY
from rollback_console.decide.incidents import Fleet, Trouble, group
from rollback_console.decide.judge import FRESH, decide, step
from rollback_console.decide.reasons import tree
from rollback_console.decide.stakes import held_alone, staked, stakes_of, sure_loss, suspected_loss
from rollback_console.engine.advice import advice_against
from rollback_console.engine.record import memory_document, memory_from
from rollback_console.model.countdown import eta_words, hold_clock, hold_words
from rollback_console.model.countdown import minutes as minutes_of
from rollback_console.model.incident import Incident
from rollback_console.model.observation import Observation, Reading
from rollback_console.model.rules import (
    AdaptiveDwell,
    Breach,
    Curve,
    DeploymentRule,
    EvidenceRule,
    ImpactRule,
    Or,
    RecoveryPath,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict

PRICED = ImpactRule(revenue_per_minute="revenue", unit="USD")
CALM = counted(0.01)
QUIET = Reading(1.0)


def staked_rule(budget: float | None, *, dwell: float = 300.0, alone: float = 1_800.0) -> DeploymentRule:
    rule = weighed_rule(dwell=dwell, alone=alone)
    return replace(rule, impact=PRICED, trigger=replace(rule.trigger, loss_budget=budget))


def minutes(
    rule: DeploymentRule, rates: Sequence[float], revenue: float | None = 4_000.0, memory: TriggerMemory = FRESH
) -> Iterator[tuple[int, Verdict, TriggerMemory]]:
    """One evaluation a minute, conversion at these rates, the others calm."""
    for k, rate in enumerate(rates, 1):
        seen = Observation(WHO, BEGIN + 60.0 * k, (counted(rate), CALM, QUIET), "7", revenue)
        verdict, memory = decide(rule, seen, memory)
        yield k, verdict, memory


def fired_at(rule: DeploymentRule, rates: Sequence[float], revenue: float | None = 4_000.0) -> int | None:
    return next((k for k, verdict, _ in minutes(rule, rates, revenue) if verdict.state is TriggerState.FIRED), None)


DROP = [0.03] * 5 + [0.027] * 120  # -10 %, alone


def full_at(rule: DeploymentRule) -> int:
    return next(k for k, verdict, _ in minutes(rule, DROP) if verdict.signals[0].breached)


# ── the hold


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.one_of(st.none(), st.floats(1, 1e9)), st.floats(0, 1e9))
def test_a_hold_lies_between_the_dwell_and_the_policys_own(
    longest: float, least: float, budget: float | None, loss: float
) -> None:
    found = held_alone(longest, least, budget, loss)
    assert min(longest, least) <= found <= longest
    if budget is None or loss == 0.0:
        assert found == longest
    elif least <= 60.0 * budget / loss <= longest:
        assert found == 60.0 * budget / loss


def test_what_may_be_lost_says_how_long_a_signal_holds_alone() -> None:
    """At 4,000 USD coming in a minute a drop of 10 % loses some 400 of them: 5,000 are gone in a dozen minutes."""
    full = full_at(staked_rule(None))
    assert fired_at(staked_rule(None), DROP) == full + 30
    cheap, dear = fired_at(staked_rule(5_000.0), DROP), fired_at(staked_rule(1_000.0), DROP)
    assert cheap is not None
    assert full + 12 <= cheap <= full + 17, "by the lower end of what is lost"
    assert dear == full + 5, "never before a dwell is over"
    assert fired_at(staked_rule(50_000.0), DROP) == full + 30, "a budget that lasts longer changes nothing"
    assert fired_at(staked_rule(1_000.0), DROP, revenue=None) == full + 30, "nor does revenue that nobody sees"
    assert fired_at(replace(staked_rule(1_000.0), impact=ImpactRule()), DROP) == full + 30


def test_the_countdown_and_the_sentence_say_what_shortened_it() -> None:
    rule = staked_rule(5_000.0)
    full = full_at(rule)
    told = {k: verdict for k, verdict, _ in minutes(rule, DROP)}
    holding = told[full + 6]
    assert holding.state is TriggerState.PENDING
    assert holding.alone is not None
    assert (holding.alone.signal, holding.alone.held_s, holding.alone.budget) == ("conversion", 360.0, 5_000.0)
    assert holding.alone.loss_per_minute == pytest.approx(
        sure_loss(rule, Observation(WHO, 0.0, (), "7", 4_000.0), holding.signals)
    )
    words = hold_words(holding.alone)
    assert words.startswith("HOLD 6m of 1")
    assert "USD/min the loss budget of 5,000 USD is reached at " in words
    assert words.split(": ", 1)[1] in holding.sentence
    assert "nothing else agrees (lost tracking looks like this), so it must hold for 1" in holding.sentence
    assert holding.eta_s == pytest.approx(holding.alone.length_s - 360.0)
    assert "if it stays" in eta_words(holding)
    (node,) = [each for each in tree(rule, holding).because if each.kind == "alone"]
    assert (node.name, node.holds, node.text) == ("conversion", False, words)
    assert ("loss", "USD/min") in [(name, unit) for name, _, unit in node.numbers]
    assert any(f"full for {minutes_of(holding.alone.length_s)} with" in line for line in why_not(rule, holding))
    first = next(verdict for k, verdict in sorted(told.items()) if verdict.state is TriggerState.FIRED)
    assert "stood alone for 1" in first.sentence
    assert "the loss budget of 5,000 USD is spent at " in first.sentence
    assert first.alone is None


def test_without_a_budget_the_words_are_those_of_the_policys_own_hold() -> None:
    rule = staked_rule(None)
    told = {k: verdict for k, verdict, _ in minutes(rule, DROP)}
    holding = told[full_at(rule) + 6]
    assert holding.alone is not None
    assert hold_words(holding.alone) == "HOLD 6m of 30m: nothing else agrees"
    assert hold_clock(holding.alone, 100.0) == "HOLD 8m of 30m"
    assert "so it must hold for 30m; fires" in holding.sentence
    spent = replace(holding.alone, length_s=300.0, budget=1_000.0, loss_per_minute=500.0, unit="USD")
    assert hold_words(spent) == "HOLD 5m of 5m: at 500 USD/min the loss budget of 1,000 USD is spent within the dwell"


def test_a_plain_bound_that_holds_alone_is_shortened_as_well() -> None:
    """Conversion by a bound, 8 % below what it is compared with; nothing judged by evidence agrees."""
    plain = SignalRule("conversion", "Conversion", "business", Worse.LOWER, Breach(degraded_by=0.05), 60.0, value="c")
    rule = staked_rule(4_000.0)
    rule = replace(rule, signals=(plain, *rule.signals[1:]))
    fired = {}
    for budget in (4_000.0, None):
        memory, own = FRESH, replace(rule, trigger=replace(rule.trigger, loss_budget=budget))
        for k in range(1, 60):
            seen = Observation(WHO, BEGIN + 60.0 * k, (Reading(0.8, 1.0), CALM, QUIET), "7", 4_000.0)
            verdict, memory = decide(own, seen, memory)
            if verdict.state is TriggerState.FIRED:
                fired[budget] = k - 1
                break
    assert fired == {4_000.0: 5, None: 30}, "4,000 x 0.2 / 0.8 lost a minute: the budget is gone within the dwell"


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 70))
def test_cut_anywhere_and_gone_on_it_is_the_same(seed: int, cut: int) -> None:
    draw = random.Random(seed)
    rates = [0.03] * 5 + [draw.choice((0.0265, 0.027, 0.0275)) for _ in range(70)]
    rule = staked_rule(draw.choice((800.0, 3_000.0, 9_000.0)))
    whole = [(verdict.state, verdict.sentence) for _, verdict, _ in minutes(rule, rates)]
    *_, (_, _, memory) = minutes(rule, rates[:cut])
    memory = memory_from(json.loads(json.dumps(memory_document(memory))))
    found = []
    for k, rate in enumerate(rates[cut:], cut + 1):
        seen = Observation(WHO, BEGIN + 60.0 * k, (counted(rate), CALM, QUIET), "7", 4_000.0)
        verdict, memory = decide(rule, seen, memory)
        found.append((verdict.state, verdict.sentence))
    assert found == whole[cut:]


# ── bounds


BY_LOSS = Curve("impact", ((0.0, 0.05), (1_000.0, 0.01)))


def varying(*, evidence: bool, order: Sequence[int] = (0, 1)) -> DeploymentRule:
    """Errors by a bound that falls from 5 % to 1 % where 1,000 a minute are lost; conversion tells it."""
    base = weighed_rule()
    told = base.signals[0] if evidence else SignalRule(
        "conversion", "Conversion", "business", Worse.LOWER, Breach(degraded_by=0.05), 60.0, value="c"
    )  # fmt: skip
    errors = SignalRule("errors", "Errors", "technical", Worse.HIGHER, Breach(above=0.05, curve=BY_LOSS), 60.0,
                        value="e", unit="%")  # fmt: skip
    trigger = TriggerRule(Or((Uses("conversion"), Uses("errors"))), "conversion or errors", 0.0)
    signals = (told, errors)
    return replace(base, impact=PRICED, signals=tuple(signals[k] for k in order), trigger=trigger)


@pytest.mark.parametrize(("drop", "limit"), [(0.0, 0.05), (0.04, 0.05), (0.1, 0.05 - 0.04 * 4 / 9), (0.5, 0.01)])
def test_a_bound_falls_with_what_the_others_say_is_lost(drop: float, limit: float) -> None:
    """4,000 x d / (1 - d); below its own margin conversion says that nothing is lost."""
    for order in ((0, 1), (1, 0)):
        rule = varying(evidence=False, order=order)
        seen = (Reading(1.0 - drop, 1.0), Reading(0.02))
        done = step(rule, Observation(WHO, BEGIN, tuple(seen[k] for k in order), "7", 4_000.0))
        errors = done.signals[order.index(1)]
        assert errors.limit == pytest.approx(limit)
        assert errors.breached is (limit < 0.02)


def test_what_is_not_seen_makes_no_bound_stricter() -> None:
    rule = varying(evidence=False)
    for revenue in (None, 0.0):
        done = step(rule, Observation(WHO, BEGIN, (Reading(0.5, 1.0), Reading(0.02)), "7", revenue))
        assert done.signals[1].limit == 0.05
    blind = step(rule, Observation(WHO, BEGIN, (Reading(None, 1.0), Reading(0.02)), "7", 4_000.0))
    assert blind.signals[1].limit == 0.05


def test_beside_evidence_a_bound_goes_by_what_is_lost_for_certain() -> None:
    rule, memory, limits = varying(evidence=True), FRESH, []
    for k, rate in enumerate([0.03] * 5 + [0.0225] * 20, 1):
        seen = Observation(WHO, BEGIN + 60.0 * k, (counted(rate), Reading(0.02)), "7", 4_000.0)
        verdict, memory = decide(rule, seen, memory)
        limits.append(verdict.signals[1].limit or 0.0)
        loss = sure_loss(rule, seen, verdict.signals[:1] + verdict.signals[1:])
        assert limits[-1] == pytest.approx(0.05 - 0.04 * min(1.0, loss / 1_000.0))
    assert limits[0] == 0.05
    assert limits[-1] < 0.02 < limits[4]


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 0.95), st.floats(0.0, 0.95), st.floats(1.0, 1e6))
def test_the_more_is_lost_the_stricter_never_the_laxer(one: float, other: float, revenue: float) -> None:
    rule, limits = varying(evidence=False), []
    for drop in sorted((one, other)):
        seen = Observation(WHO, BEGIN, (Reading(1.0 - drop, 1.0), Reading(0.02)), "7", revenue)
        limits.append(step(rule, seen).signals[1].limit or 0.0)
    assert limits[0] >= limits[1]


# ── the adaptive dwell


def test_what_was_suspected_says_what_another_minute_loses() -> None:
    rule = staked_rule(None)
    *_, (_, verdict, memory) = minutes(rule, DROP[:60])
    now = Observation(WHO, BEGIN + 3_660.0, (counted(0.027), CALM, QUIET), "7", 4_000.0)
    loss = suspected_loss(rule, now, memory.evidence)
    low = min(verdict.signals[0].interval or (0.0,)) / 100.0
    assert loss == pytest.approx(4_000.0 * low / (1.0 - low))
    assert suspected_loss(rule, now, ()) is None
    assert suspected_loss(rule, now, (EMPTY, EMPTY, None)) is None
    assert suspected_loss(rule, replace(now, revenue_per_minute=None), memory.evidence) is None
    unlearned = replace(now, readings=(replace(now.readings[0], norm=None), CALM, QUIET))
    assert suspected_loss(rule, unlearned, memory.evidence) is None


def test_a_false_rollback_costs_what_the_policy_says_or_a_minute_of_the_worst() -> None:
    assert stakes_of(ImpactRule(revenue_constant=1.0), 5.0) == Stakes(10_000.0, 5.0)
    assert stakes_of(ImpactRule(revenue_constant=1.0, revenue_full=300.0), 5.0) == Stakes(300.0, 5.0)
    assert stakes_of(ImpactRule(revenue_constant=1.0, false_rollback=77.0), 5.0) == Stakes(77.0, 5.0)
    adaptive = replace(EvidenceRule(), adaptive=AdaptiveDwell(120.0, 1_800.0))
    rule = weighed_rule()
    assert not staked(replace(rule, impact=PRICED))
    rule = replace(rule, signals=(replace(rule.signals[0], evidence=adaptive), *rule.signals[1:]))
    assert not staked(rule)
    assert staked(replace(rule, impact=PRICED))
    assert staked(replace(rule, impact=ImpactRule(revenue_constant=5.0)))


def test_a_share_in_the_norm_is_the_bar_that_counts() -> None:
    """One false alarm in 90 days by the policy, one in a year by the norm."""
    shared = replace(NORM, budget_s=365 * 86_400.0)
    rule = weighed_rule(sufficient=("conversion",))
    bars, when = [], []
    for norm in (NORM, shared):
        memory, fired = FRESH, None
        for k in range(1, 200):
            reading = replace(counted(0.0279), norm=norm)
            verdict, memory = decide(rule, Observation(WHO, BEGIN + 60.0 * k, (reading, CALM, QUIET), "7"), memory)
            if fired is None and verdict.state is TriggerState.FIRED:
                fired = k
        bars.append(verdict.signals[0].bar)
        when.append(fired)
    assert bars == pytest.approx([11.772, 13.172], abs=1e-3)
    assert when[0] is not None
    assert when[1] is not None
    assert when[0] < when[1]


# ── a rollback after rollbacks


def to_and_fro(times: Sequence[float], *, guard: int = 2) -> Incident:
    """v8 was released an hour before NOW, and went back and forth with v7 at these seconds before."""
    now = 1_800_000_000.0
    trigger = TriggerRule(Uses("errors"), "errors", loop_guard=guard)
    base = weighed_rule()
    paths = (RecoveryPath("version", "mlflow-alias", "last_known_good"),)
    rule = replace(base, trigger=trigger, signals=(), recovery=paths, runbook="r")
    verdict = Verdict(
        WHO, now, "8", TriggerState.FIRED, now - 60, True, (), False, None, None, None, False, False, (), "so it is"
    )
    moves = []
    for ago in times:
        moves += [Release(WHO, now - ago - 600, "7", "8"), Release(WHO, now - ago, "8", "7", rollback=True)]
    releases = (*moves, Release(WHO, now - 900, "7", "8"))
    (incident,) = group(Fleet({WHO: rule}, releases), {WHO: verdict}, {WHO: Trouble(now - 60, ("errors",))})
    return incident


def test_after_two_rollbacks_in_a_day_another_is_a_persons_to_decide() -> None:
    once = to_and_fro([7_200.0]).recommendations[0]
    assert (once.path, once.to_version) == ("version", "7")
    twice = to_and_fro([36_000.0, 7_200.0]).recommendations[0]
    assert (twice.path, twice.to_version, twice.runbook) == (None, None, "rollback-of-a-rollback")
    assert twice.sentence == (
        "2 rollbacks in 24h, the last at 06:00 UTC: whether another one helps, a person has to decide"
    )
    shown = Snapshot(1_800_000_000.0, 1_800_000_000.0, 15.0, "TEST", (), (to_and_fro([36_000.0, 7_200.0]),))
    assert advice_against(shown, WHO) == f"the console advises against: {twice.sentence}", "and the plan says it"
    assert to_and_fro([100_000.0, 7_200.0]).recommendations[0].path == "version", "a day later it is another matter"
    assert to_and_fro([36_000.0, 7_200.0], guard=3).recommendations[0].path == "version"
    assert to_and_fro([36_000.0, 7_200.0], guard=0).recommendations[0].path == "version", "0 is of automatic ones"

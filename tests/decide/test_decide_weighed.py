"""Triggers with signals judged by evidence: who fires when, what is shown meanwhile, and that nothing else matters."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from decide_strategies import NAMES, expressions, knowns
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.condition import Support, evaluate, signals_of, tiered, waits
from rollback_console.decide.judge import FRESH, carry, decide, step
from rollback_console.engine.record import memory_document, memory_from
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Norm, Observation, Reading
from rollback_console.model.rules import (
    And,
    Baseline,
    BaselineKind,
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    Expression,
    Not,
    Or,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Weighted,
    Worse,
)
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict

STEP = 15.0
BEGIN = 43_200.0 * 40_000
NORM = Norm(0.01, (1.0,))
ALL = Tiered((Uses("conversion"), Uses("errors"), Uses("latency")))
WHO = DeploymentId("test", "x")


def weighed_rule(
    when: Expression = ALL,
    *,
    dwell: float = 300.0,
    hold: float = 0.0,
    sufficient: Sequence[str] = (),
    blind: BlindPolicy | None = None,
    alone: float = 1_800.0,
    order: Sequence[int] = (0, 1, 2),
) -> DeploymentRule:
    judged, policy = EvidenceRule(alone_hold_s=alone), blind or BlindPolicy()

    def ratio(name: str, worse: Worse, p: float) -> SignalRule:
        return SignalRule(
            name, name.capitalize(), "business", worse, Breach(), 60.0, x="x", n="n", minimum=100.0, blind=policy,
            baseline=Baseline(BaselineKind.FIXED, p), evidence=judged, sufficient_alone=name in sufficient,
        )  # fmt: skip

    signals = (
        ratio("conversion", Worse.LOWER, 0.03),
        ratio("errors", Worse.HIGHER, 0.01),
        SignalRule("latency", "Latency", "technical", Worse.HIGHER, Breach(above=5.0), 60.0, value="l", blind=policy,
                   sufficient_alone="latency" in sufficient),
    )  # fmt: skip
    facts = Deployment(WHO, "normal", "m", "champion", ())
    trigger = TriggerRule(when, "w", dwell, hold)
    return DeploymentRule(facts, tuple(signals[k] for k in order), trigger, (), "p", 1, "0" * 64)


def counted(rate: float, n: float = 2000.0) -> Reading:
    x = float(round(n * rate))
    return Reading(x / n, None, n, x=x, norm=NORM)


Row = tuple[Reading, ...]
GOOD: Row = (counted(0.03), counted(0.01), Reading(1.0))
BAD, BURSTING, SLOW = counted(0.02), counted(0.03), Reading(9.0)


def watch(
    rule: DeploymentRule,
    rows: Sequence[Row],
    memory: TriggerMemory = FRESH,
    start: int = 0,
    cooling: Sequence[bool] = (),
) -> list[tuple[Verdict, TriggerMemory]]:
    found = []
    for k, row in enumerate(rows, start):
        seen = Observation(WHO, BEGIN + k * STEP, row, "7")
        verdict, memory = decide(rule, seen, memory, cooling=bool(cooling) and cooling[k - start])
        found.append((verdict, memory))
    return found


def minutes(*rows: tuple[Row, int]) -> list[Row]:
    """Each row for so many minutes, four evaluations a minute."""
    return [row for row, count in rows for _ in range(4 * count)]


def first(found: Sequence[tuple[Verdict, TriggerMemory]], state: TriggerState) -> float | None:
    """The minute at which a state is first shown."""
    return next((k / 4 for k, (verdict, _) in enumerate(found) if verdict.state is state), None)


# ── expressions


@given(st.lists(st.tuples(expressions, st.floats(0.1, 5.0)), min_size=1, max_size=5), st.floats(0.1, 10.0), knowns)
def test_weights_hold_as_every_completion_says(
    items: list[tuple[Expression, float]], bar: float, known: dict[str, bool | None]
) -> None:
    """A three-valued sum is true (false) only where every way of the unknown items makes it so."""
    weighted = Weighted(tuple(items), bar)
    truths = [evaluate(item, known) for item, _ in items]
    ways = {
        sum(
            w for (_, w), t, free in zip(items, truths, _bits(k, len(items)), strict=True) if (free if t is None else t)
        )
        >= bar - 1e-9
        for k in range(2 ** len(items))
    }
    assert evaluate(weighted, known) == (None if len(ways) == 2 else ways.pop())
    assert evaluate(Not(weighted), known) == _negated(evaluate(weighted, known))
    assert set(signals_of(weighted)) == {name for item, _ in items for name in signals_of(item)}


def _bits(k: int, count: int) -> list[bool]:
    return [bool(k >> j & 1) for j in range(count)]


def _negated(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


@given(st.lists(st.sampled_from(NAMES), min_size=1, unique=True), st.data())
def test_the_tiered_rule_holds_as_every_completion_says(names: list[str], data: st.DataObject) -> None:
    rule = Tiered(tuple(Uses(name) for name in names))
    truth = st.sampled_from([True, False, None])
    support = {name: Support(data.draw(truth), data.draw(truth), data.draw(truth)) for name in names}
    ways = set()
    flat = [value for each in support.values() for value in (each.breached, each.agrees, each.alone)]
    for k in range(2 ** len(flat)):
        full = [bit if value is None else value for bit, value in zip(_bits(k, len(flat)), flat, strict=True)]
        parts = [full[j : j + 3] for j in range(0, len(full), 3)]
        ways.add(
            any(
                b and (alone or any(o[1] for i, o in enumerate(parts) if i != j))
                for j, (b, _, alone) in enumerate(parts)
            )
        )
        if len(ways) == 2:
            break
    found = evaluate(rule, {}, support)
    assert found is None or {found} == ways, "what is told is so"
    if len(ways) == 1 and None not in flat:
        assert found == ways.pop()
    assert tiered(And((Uses("a"), Not(rule))))
    assert not tiered(And((Uses("a"), Weighted(((Uses("b"), 1.0),), 1.0))))


def test_how_long_an_expression_takes() -> None:
    left: dict[str, float | None] = {"a": 10.0, "b": 40.0, "c": None}
    a, b, c = Uses("a"), Uses("b"), Uses("c")
    assert waits(Or((a, b, c)), left, {}) == 10.0
    assert waits(And((a, b)), left, {}) == 40.0
    assert waits(And((a, c)), left, {}) is None
    assert waits(And((a, Not(c))), left, {}) == 10.0
    assert waits(Weighted(((a, 1.0), (b, 2.0), (c, 9.0)), 3.0), left, {}) == 40.0
    assert waits(Weighted(((a, 1.0), (c, 9.0)), 3.0), left, {}) is None
    assert waits(Tiered((a, b)), left, {"a": 300.0}) == 40.0


# ── what fires


def test_alone_it_holds_and_with_another_it_fires_at_once() -> None:
    rows = minutes((GOOD, 60), ((BAD, GOOD[1], GOOD[2]), 60))
    alone = watch(weighed_rule(), rows)
    pending, fired = first(alone, TriggerState.PENDING), first(alone, TriggerState.FIRED)
    assert pending is not None
    assert 61 <= pending <= 64
    full = next(k / 4 for k, (verdict, _) in enumerate(alone) if verdict.signals[0].breached)
    assert fired == full + 30, "the hold of one that nobody agrees with"
    both = minutes((GOOD, 60), ((BAD, counted(0.02), GOOD[2]), 60))
    assert (first(watch(weighed_rule(), both), TriggerState.FIRED) or 99) <= full + 1, "another agrees"
    assert first(watch(weighed_rule(sufficient=["conversion"]), rows), TriggerState.FIRED) == full
    backed = minutes((GOOD, 60), ((BAD, GOOD[1], SLOW), 60))
    assert first(watch(weighed_rule(), backed), TriggerState.FIRED) == min(full, 65), "or its bound is passed"


def test_while_suspected_it_is_pending_since_the_onset_with_an_estimate_and_no_countdown() -> None:
    found = watch(weighed_rule(sufficient=["conversion"]), minutes((GOOD, 60), ((BAD, *GOOD[1:]), 30)))
    for k, (verdict, _) in enumerate(found):
        if verdict.state is TriggerState.PENDING:
            assert verdict.dwell_remaining_s is None
            assert verdict.since == pytest.approx(BEGIN + 59 * 60, abs=120)
            signal = verdict.signals[0]
            assert signal.onset is not None
            assert signal.interval is not None
            assert signal.interval[0] < (signal.degradation_pct or 0.0) < signal.interval[1]
            assert signal.evidence is not None
            assert signal.bar is not None
            assert signal.bar / 2 <= signal.evidence < signal.bar
            assert verdict.eta_s is not None
            fires = first(found, TriggerState.FIRED)
            assert fires is not None
            assert verdict.eta_s / 60 == pytest.approx(fires - k / 4, abs=2.5)
        elif verdict.state is TriggerState.FIRED:
            assert verdict.eta_s is None


def test_a_plain_bound_beside_evidence_holds_for_the_triggers_dwell_and_ends_at_once() -> None:
    rows = minutes((GOOD, 10), ((GOOD[0], GOOD[1], SLOW), 10), (GOOD, 3))
    found = watch(weighed_rule(sufficient=["latency"]), rows)
    assert first(found, TriggerState.PENDING) == 10
    assert first(found, TriggerState.FIRED) == 15
    assert [verdict.state for verdict, _ in found][-12:] == [TriggerState.HEALTHY] * 12
    pending = found[4 * 11][0]
    assert pending.eta_s == 240.0
    assert first(watch(weighed_rule(), rows), TriggerState.FIRED) is None, (
        "alone, it would have to hold for half an hour"
    )
    gap: Row = (GOOD[0], GOOD[1], Reading(blind=Blind.NO_DATA))
    slow: Row = (GOOD[0], GOOD[1], SLOW)
    late = watch(weighed_rule(sufficient=["latency"]), minutes((slow, 3), (gap, 2), (slow, 5)))
    assert first(late, TriggerState.FIRED) == 7.25, "what was not seen does not count, nor the way out of it"


def test_in_an_expression_of_peoples_own_all_of_it_must_hold() -> None:
    when = And((Uses("conversion"), Or((Uses("errors"), Uses("latency")))))
    only = watch(weighed_rule(when), minutes((GOOD, 60), ((BAD, *GOOD[1:]), 60)))
    assert {verdict.state for verdict, _ in only} == {TriggerState.HEALTHY}
    both = watch(weighed_rule(when), minutes((GOOD, 60), ((BAD, GOOD[1], SLOW), 60)))
    assert 64 <= (first(both, TriggerState.FIRED) or 0) <= 70


def test_a_missing_window_is_no_blindness_and_many_are() -> None:
    gone: Row = (Reading(blind=Blind.NO_DATA), *GOOD[1:])
    states = [verdict.state for verdict, _ in watch(weighed_rule(), minutes((GOOD, 30), (gone, 20)))]
    assert set(states[: 4 * 33]) == {TriggerState.HEALTHY}
    assert set(states[4 * 34 :]) == {TriggerState.BLIND}
    healthy = weighed_rule(blind=BlindPolicy(BlindPolicyKind.HEALTHY))
    assert {v.state for v, _ in watch(healthy, minutes((GOOD, 30), (gone, 20)))} == {TriggerState.HEALTHY}
    breach = watch(weighed_rule(blind=BlindPolicy(BlindPolicyKind.BREACH)), minutes((GOOD, 30), (gone, 20)))
    assert breach[-1][0].state is TriggerState.PENDING, "counts as degraded, and nobody agrees"


def test_it_does_not_fire_while_the_last_whole_window_is_missing() -> None:
    rule = weighed_rule(sufficient=["conversion"])
    bad: Row = (BAD, *GOOD[1:])
    found = watch(rule, minutes((GOOD, 60), (bad, 8)))
    at = first(found, TriggerState.FIRED)
    assert at is not None
    before = int(4 * at)
    rows = minutes((GOOD, 60), (bad, 8))[:before]
    full = replace(found[before - 1][1], evidence=found[before][1].evidence)
    missing: Row = (replace(BAD, x=None, n=None, value=None, blind=Blind.NO_DATA), *GOOD[1:])
    verdict, _ = watch(rule, [missing], full, before + 4)[0]
    assert verdict.signals[0].breached is None
    assert verdict.state is TriggerState.PENDING
    assert len(rows) == before


def test_below_the_minimum_sample_there_is_no_verdict() -> None:
    few: Row = (counted(0.0, 50.0), counted(0.5, 50.0), Reading(1.0))
    found = watch(weighed_rule(sufficient=["conversion", "errors"]), minutes((few, 60)))
    assert all(verdict.signals[0].breached is None for verdict, _ in found)
    assert found[-1][0].signals[0].note == "too few: 50 of 100"
    assert found[-1][0].state is TriggerState.BLIND, "it cannot be told"
    assert not found[-1][0].blind, "though nothing is broken"


def test_after_an_action_it_recovers_by_evidence_of_its_own() -> None:
    rule, bad = weighed_rule(sufficient=["conversion"]), (BAD, *GOOD[1:])
    fired = watch(rule, minutes((GOOD, 60), (bad, 20)))
    assert fired[-1][0].state is TriggerState.FIRED
    rows = minutes((bad, 1), (GOOD, 20))
    after = watch(rule, rows, fired[-1][1], 320, [True] * len(rows))
    ends = first(after, TriggerState.COOLING)
    assert ends is not None
    assert 2 <= ends <= 12
    still = watch(rule, minutes((bad, 60)), fired[-1][1], 320, [True] * 240)
    assert {verdict.state for verdict, _ in still} == {TriggerState.FIRED}, "a rollback that did not help"


# ── laws


def random_rows(seed: int, count: int) -> list[Row]:
    draw = random.Random(seed)
    rows, rate, error, slow = [], 0.03, 0.01, False
    for _ in range(count):
        if draw.random() < 0.01:
            rate, error = draw.choice((0.03, 0.03, 0.02, 0.026)), draw.choice((0.01, 0.01, 0.02))
            slow = draw.random() < 0.3

        def ratio(p: float) -> Reading:
            if draw.random() < 0.05:
                return Reading(n=0.0, blind=draw.choice(list(Blind)))
            n = draw.choice((2000.0, 2000.0, 60.0))
            x = float(min(n, max(0, round(draw.gauss(n * p, math.sqrt(n * p * (1 - p)))))))
            return Reading(x / n, None, n, x=x, norm=NORM)

        latency = Reading(9.0 if slow else 1.0) if draw.random() > 0.03 else Reading(blind=Blind.NO_DATA)
        rows.append((ratio(rate), ratio(error), latency))
    return rows


wholes = st.sampled_from([
    ALL, Or((Uses("conversion"), Uses("errors"))), And((Uses("conversion"), Or((Uses("errors"), Uses("latency"))))),
    Weighted(((Uses("conversion"), 2.0), (Uses("errors"), 1.0), (Uses("latency"), 1.0)), 2.0),
])  # fmt: skip
policies = st.sampled_from([BlindPolicy(kind, 60.0 * (kind is BlindPolicyKind.LAST)) for kind in BlindPolicyKind])
built = st.builds(
    weighed_rule, wholes, dwell=st.sampled_from([0.0, 60.0, 300.0]), hold=st.sampled_from([0.0, 90.0]), blind=policies,
    sufficient=st.sampled_from([(), ("conversion",), ("errors", "latency")]), alone=st.sampled_from([120.0, 1_800.0]),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(built, st.integers(0, 10_000), st.integers(0, 600), st.data())
def test_a_restart_anywhere_is_no_restart(rule: DeploymentRule, seed: int, cut: int, data: st.DataObject) -> None:
    rows = random_rows(seed, 600)
    cooled = data.draw(st.integers(0, 900))
    cooling = [cooled <= k < cooled + 100 for k in range(600)]
    whole = watch(rule, rows, cooling=cooling)
    memory = whole[cut - 1][1] if cut else FRESH
    stored = memory_from(json.loads(json.dumps(memory_document(memory))))
    assert stored == memory
    assert watch(rule, rows[cut:], stored, cut, cooling[cut:]) == whole[cut:]


@settings(max_examples=20, deadline=None)
@given(built, st.integers(0, 10_000), st.permutations([0, 1, 2]))
def test_the_order_of_signals_changes_nothing(rule: DeploymentRule, seed: int, order: list[int]) -> None:
    rows = random_rows(seed, 300)
    turned = replace(rule, signals=tuple(rule.signals[k] for k in order))
    one, two = watch(rule, rows), watch(turned, [tuple(row[k] for k in order) for row in rows])
    for (a, left), (b, right) in zip(one, two, strict=True):
        assert (a.state, a.since, a.condition, a.eta_s, a.impact) == (b.state, b.since, b.condition, b.eta_s, b.impact)
        assert [a.signals[k] for k in order] == list(b.signals)
        assert [left.evidence[k] for k in order] == list(right.evidence)


@settings(max_examples=20, deadline=None)
@given(built, st.integers(0, 10_000))
def test_evidence_alone_is_carried_as_the_whole_carries_it(rule: DeploymentRule, seed: int) -> None:
    memory, alone = FRESH, FRESH.evidence
    for k, row in enumerate(random_rows(seed, 200)):
        seen = Observation(WHO, BEGIN + k * STEP, row, "7" if k < 100 else "8")
        memory = step(rule, seen, memory).memory
        if k % 4 == 0:  # steps are taken on whole minutes, whoever else evaluates in between
            alone = carry(rule, seen, alone)
        assert alone == memory.evidence

"""Kleene's laws, clocks that freeze, what each policy for blindness does; the order of things does not matter."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.engine_tools import bounded, fleet_rule, relative
from rollback_console.decide.condition import evaluate, signals_of
from rollback_console.decide.judge import FRESH, decide, step
from rollback_console.decide.signals import judge
from rollback_console.decide.trigger import advance, dwell_remaining, state_of
from rollback_console.engine.record import memory_document, memory_from
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import (
    And,
    AtLeast,
    Baseline,
    BaselineKind,
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    DeploymentRule,
    Expression,
    Not,
    Or,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerMemory, TriggerState

NAMES = ("a", "b", "c")
TRUTH = st.sampled_from([True, False, None])
KNOWN = st.fixed_dictionaries(dict.fromkeys(NAMES, TRUTH))


def expressions() -> st.SearchStrategy[Expression]:
    def grow(inner: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
        items = st.lists(inner, min_size=1, max_size=4).map(tuple)
        return st.one_of(items.map(And), items.map(Or), inner.map(Not), st.builds(AtLeast, st.integers(1, 3), items))

    return st.recursive(st.sampled_from(NAMES).map(Uses), grow, max_leaves=12)


@given(expressions(), KNOWN)
def test_what_is_known_is_what_every_completion_agrees_on_or_unknown(
    expression: Expression, known: dict[str, bool | None]
) -> None:
    """Kleene is sound: a known value holds whatever the unknown signals turn out to be."""
    value = evaluate(expression, known)
    if value is None:
        return
    unknown = [name for name in NAMES if known[name] is None]
    for bits in range(2 ** len(unknown)):
        whole = {**known, **{name: bool(bits >> i & 1) for i, name in enumerate(unknown)}}
        assert evaluate(expression, whole) is value


@given(expressions(), st.fixed_dictionaries({name: st.booleans() for name in NAMES}))
def test_with_everything_known_there_is_an_answer(expression: Expression, known: dict[str, bool]) -> None:
    assert evaluate(expression, known) in (True, False)
    assert set(signals_of(expression)) <= set(NAMES)


@given(st.lists(expressions(), min_size=1, max_size=3), KNOWN)
def test_de_morgan(items: list[Expression], known: dict[str, bool | None]) -> None:
    left = evaluate(Not(And(tuple(items))), known)
    assert left is evaluate(Or(tuple(Not(item) for item in items)), known)


TRIGGER = TriggerRule(Uses("a"), "a", dwell_s=60.0, hold_s=45.0, blind_dwell_s=90.0)
STREAM = st.lists(TRUTH, min_size=1, max_size=60)


def run(stream: list[bool | None], memory: TriggerMemory = FRESH, start: int = 0) -> list[TriggerMemory]:
    out = []
    for k, condition in enumerate(stream, start):
        memory = advance(TRIGGER, memory, k * 15.0, condition, flagged=condition is None, reset=False)
        out.append(memory)
    return out


@given(STREAM)
def test_an_unknown_interval_never_advances_a_clock(stream: list[bool | None]) -> None:
    before: TriggerMemory | None = None
    for memory, condition in zip(run(stream), stream, strict=True):
        if before is not None and condition is None:
            assert dwell_remaining(TRIGGER, memory) == dwell_remaining(TRIGGER, before)
            assert memory.fired_at == before.fired_at
        before = memory


@given(STREAM, st.integers(0, 60))
def test_a_restart_anywhere_changes_nothing(stream: list[bool | None], cut: int) -> None:
    cut = min(cut, len(stream))
    first = run(stream[:cut])
    kept = memory_from(json.loads(json.dumps(memory_document(first[-1] if first else FRESH))))
    assert first + run(stream[cut:], kept, cut) == run(stream)


@given(STREAM)
def test_it_fires_exactly_when_the_condition_was_seen_true_for_the_dwell(stream: list[bool | None]) -> None:
    """An independent account: whole intervals whose both ends were seen true add up to the dwell."""
    held: float | None = None
    fired = False
    for k, memory in enumerate(run(stream)):
        condition, last = stream[k], stream[k - 1] if k else None
        if fired:
            fired = memory.fired_at is not None
            held = None
            continue
        if condition is True:
            held = 0.0 if held is None else held + (15.0 if last is True else 0.0)
        elif condition is False:
            held = None
        expected = held is not None and held >= 60.0 and condition is True
        assert (memory.fired_at is not None) == expected
        fired = expected


def reading(kind: str) -> Reading:
    return {
        "good": Reading(1.0),
        "bad": Reading(9.0),
        "gone": Reading(blind=Blind.NO_DATA),
    }[kind]


def seen(rule: DeploymentRule, kinds: list[str]) -> list[tuple[TriggerState, bool | None, float | None]]:
    memory, out = FRESH, []
    for k, kind in enumerate(kinds):
        verdict, memory = decide(rule, Observation(rule.deployment.id, k * 15.0, (reading(kind),)), memory)
        out.append((verdict.state, verdict.condition, verdict.dwell_remaining_s))
    return out


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (BlindPolicy(), [("pending", 60), ("pending", 45), ("pending", 45), ("pending", 45), ("pending", 30)]),
        (
            BlindPolicy(BlindPolicyKind.RESET),
            [("pending", 60), ("pending", 45), ("blind", None), ("pending", 60), ("pending", 45)],
        ),
        (
            BlindPolicy(BlindPolicyKind.HEALTHY),
            [("pending", 60), ("pending", 45), ("healthy", None), ("pending", 60), ("pending", 45)],
        ),
        (
            BlindPolicy(BlindPolicyKind.BREACH),
            [("pending", 60), ("pending", 45), ("pending", 30), ("pending", 15), ("fired", None)],
        ),
        (
            BlindPolicy(BlindPolicyKind.LAST, 15.0),
            [("pending", 60), ("pending", 45), ("pending", 30), ("pending", 15), ("fired", None)],
        ),
    ],
    ids=["freeze", "reset", "healthy", "breach", "last"],
)
def test_what_each_policy_for_blindness_does_to_the_dwell(
    policy: BlindPolicy, expected: list[tuple[str, float | None]]
) -> None:
    rule = fleet_rule("x", [bounded("errors", blind=policy)])
    found = [(str(state), left) for state, _, left in seen(rule, ["bad", "bad", "gone", "bad", "bad"])]
    assert found == expected


def test_the_last_known_judgement_is_forgotten_after_its_time() -> None:
    rule = fleet_rule("x", [bounded("errors", blind=BlindPolicy(BlindPolicyKind.LAST, 30.0))], dwell=600.0)
    conditions = [condition for _, condition, _ in seen(rule, ["bad", "gone", "gone", "gone", "bad"])]
    assert conditions == [True, True, True, None, True]


def test_blindness_fires_by_its_own_dwell_and_is_a_flag_beside_pending() -> None:
    rule = fleet_rule("x", [bounded("errors"), bounded("latency")])
    memory = FRESH
    shown = []
    for k in range(9):
        readings = (Reading(9.0), Reading(blind=Blind.NO_DATA))
        verdict, memory = decide(rule, Observation(rule.deployment.id, k * 15.0, readings), memory)
        shown.append((str(verdict.state), verdict.blind, verdict.fired_as_blind))
    assert shown[0] == ("pending", ("latency",), False)
    assert shown[4][0] == "fired"
    assert [blind for *_, blind in shown].index(True) == 6  # 90 s after it was first seen blind, to the tick


@given(
    st.floats(-1e6, 1e6, allow_nan=False), st.floats(-1e6, 1e6, allow_nan=False), st.floats(0.001, 3.0),
    st.sampled_from(list(Worse)),
)  # fmt: skip
def test_degradation_is_on_the_worse_side_and_bounds_are_strict(
    value: float, baseline: float, by: float, worse: Worse
) -> None:
    rule = replace(
        relative("orders", BaselineKind.FIXED),
        worse=worse, breach=Breach(degraded_by=by), baseline=Baseline(BaselineKind.FIXED, baseline),
    )  # fmt: skip
    verdict = judge(rule, Reading(value))
    assert verdict.degradation == (baseline - value if worse is Worse.LOWER else value - baseline)
    assert verdict.limit is not None
    assert verdict.breached is (value < verdict.limit if worse is Worse.LOWER else value > verdict.limit)
    if verdict.breached:
        assert verdict.degradation > 0
    assert judge(rule, Reading(verdict.limit)).breached is False


def test_too_few_is_neither_good_nor_bad_nor_blind() -> None:
    rule = replace(bounded("errors"), minimum=200.0)
    verdict = judge(rule, Reading(9.0, n=12.0))
    assert (verdict.breached, verdict.blind, verdict.note) == (None, None, "too few: 12 of 200")
    state, condition, _ = seen(fleet_rule("x", [rule]), ["bad"])[0]
    assert (state, condition) == (TriggerState.HEALTHY, None)


@given(st.permutations(range(3)), st.lists(st.sampled_from(["good", "bad", "gone"]), min_size=3, max_size=30))
def test_the_order_of_signals_changes_nothing(order: list[int], kinds: list[str]) -> None:
    signals = [bounded("errors"), bounded("latency"), bounded("queue")]
    when = Or((Uses("errors"), And((Uses("latency"), Uses("queue")))))
    one, other = fleet_rule("x", signals, when), fleet_rule("x", [signals[i] for i in order], when)
    first, second = FRESH, FRESH
    for k in range(len(kinds) // 3):
        readings = [reading(kind) for kind in kinds[3 * k : 3 * k + 3]]
        at = k * 15.0
        first = step(one, Observation(one.deployment.id, at, tuple(readings)), first).memory
        second = step(other, Observation(one.deployment.id, at, tuple(readings[i] for i in order)), second).memory
        assert replace(first, onset_signals=()) == replace(second, onset_signals=())
        assert set(first.onset_signals) == set(second.onset_signals)
        assert state_of(first, cooling=False) == state_of(second, cooling=False)


def test_an_observation_that_does_not_fit_is_refused() -> None:
    rule = fleet_rule("x", [bounded("errors")])
    with pytest.raises(ValueError, match="0 readings, 1 signals"):
        step(rule, Observation(rule.deployment.id, 0.0, ()))
    memory = step(rule, Observation(rule.deployment.id, 15.0, (Reading(1.0),))).memory
    with pytest.raises(ValueError, match="not after"):
        step(rule, Observation(rule.deployment.id, 15.0, (Reading(1.0),)), memory)

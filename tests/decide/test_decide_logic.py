"""Three-valued logic, frozen clocks, policies for blindness, and a memory that may be cut anywhere: by hypothesis."""

from __future__ import annotations

import json
import math
from dataclasses import replace

from decide_strategies import NAMES, STEP, expressions, knowns, lengths, rows, rule_of, rules, run
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.condition import evaluate, signals_of
from rollback_console.decide.judge import FRESH, Step, decide
from rollback_console.decide.trigger import state_of
from rollback_console.engine.record import layout_bytes, memory_document, memory_from, pack, unpack
from rollback_console.model.observation import Blind, Observation, Reading, Tick
from rollback_console.model.rules import (
    And,
    AtLeast,
    BlindPolicy,
    BlindPolicyKind,
    DeploymentRule,
    Expression,
    Not,
    Or,
    Uses,
)
from rollback_console.model.verdict import TriggerState

# -- Kleene ------------------------------------------------------------------------------------------------------------


@given(expressions, knowns)
def test_what_is_settled_stays_settled_whatever_the_unknown_turn_out_to_be(
    expression: Expression, known: dict[str, bool | None]
) -> None:
    """Kleene's logic is the weakest that is monotone: a known answer holds for every completion; and where it says
    unknown of a read-once expression, both answers are possible."""
    names = signals_of(expression)
    unknown = [name for name in names if known[name] is None]
    outcomes = set()
    for bits in range(2 ** len(unknown)):
        filled = known | {name: bool(bits >> k & 1) for k, name in enumerate(unknown)}
        outcomes.add(evaluate(expression, filled))
    found = evaluate(expression, known)
    assert None not in outcomes
    if found is not None:
        assert outcomes == {found}
    elif _read_once(expression):
        assert outcomes == {True, False}


def _read_once(expression: Expression) -> bool:
    def count(each: Expression) -> int:
        if isinstance(each, Uses):
            return 1
        return count(each.item) if isinstance(each, Not) else sum(count(item) for item in each.items)

    return count(expression) == len(signals_of(expression))


@given(st.lists(expressions, min_size=1, max_size=4), knowns, expressions)
def test_laws(items: list[Expression], known: dict[str, bool | None], other: Expression) -> None:
    all_of, any_of = And(tuple(items)), Or(tuple(items))
    negated = tuple(Not(item) for item in items)
    value = {name: evaluate(each, known) for name, each in (("all", all_of), ("any", any_of), ("other", other))}
    assert evaluate(Not(all_of), known) == evaluate(Or(negated), known), "De Morgan"
    assert evaluate(Not(any_of), known) == evaluate(And(negated), known)
    assert evaluate(Not(Not(other)), known) == value["other"]
    assert evaluate(AtLeast(len(items), tuple(items)), known) == value["all"]
    assert evaluate(AtLeast(1, tuple(items)), known) == value["any"]
    assert evaluate(And(tuple(reversed(items))), known) == value["all"]
    assert evaluate(And((other, other)), known) == evaluate(Or((other, other)), known) == value["other"]
    both, either = evaluate(And((any_of, other)), known), evaluate(Or((all_of, other)), known)
    assert both == evaluate(Or(tuple(And((item, other)) for item in items)), known), "distributive"
    assert either == evaluate(And(tuple(Or((item, other)) for item in items)), known)
    order: dict[bool | None, int] = {False: 0, None: 1, True: 2}
    ks = [order[evaluate(AtLeast(k, tuple(items)), known)] for k in range(1, len(items) + 1)]
    assert ks == sorted(ks, reverse=True), "more are asked of, never more likely"


@settings(max_examples=150, deadline=None)
@given(rules, rows, st.data())
def test_a_restart_anywhere_is_no_restart(
    rule: DeploymentRule, stream: list[tuple[Reading, ...]], data: st.DataObject
) -> None:
    whole = run(rule, stream)
    cut = data.draw(st.integers(0, len(stream)))
    memory = whole[cut - 1].memory if cut else FRESH
    stored = memory_from(json.loads(json.dumps(memory_document(memory))))
    assert stored == memory
    assert run(rule, stream[cut:], stored, cut * STEP) == whole[cut:]


@settings(max_examples=150, deadline=None)
@given(rules, rows)
def test_an_interval_with_an_unknown_end_advances_no_clock(
    rule: DeploymentRule, stream: list[tuple[Reading, ...]]
) -> None:
    """Dwell and hold count exactly the intervals whose two ends were seen, with the condition true (false)."""
    counted = cleared = 0.0
    before: Step | None = None
    for found in run(rule, stream):
        was = before.memory if before is not None else FRESH
        both = before is not None and before.condition is not None and found.condition is not None
        memory = found.memory
        if memory.active_since is None or was.active_since is None:
            counted = 0.0
        elif was.fired_at is None:
            counted += STEP if both else 0.0
        if was.clear_since is None:
            cleared = 0.0
        else:
            cleared += STEP if both else 0.0
        if memory.active_since is not None and was.fired_at is None:
            assert (memory.fired_at is not None) == (found.condition is True and counted >= rule.trigger.dwell_s)
        if was.fired_at is not None and memory.fired_at is None:
            assert found.condition is False
            assert was.clear_since is None or cleared >= rule.trigger.hold_s
        if found.condition is None and was.fired_at is not None:
            assert memory.fired_at == was.fired_at, "what fired stays fired while nothing is seen"
        if found.condition is None and was.active_since is not None and was.fired_at is None:
            reset = any(
                signal.blind.kind is BlindPolicyKind.RESET and signal.name in found.blind for signal in rule.signals
            )
            assert (memory.active_since is None) == reset, "frozen, unless a blind signal resets"
        before = found


@settings(max_examples=100, deadline=None)
@given(expressions, lengths, lengths, rows)
def test_healthy_is_a_known_good_and_breach_a_known_bad(
    when: Expression, dwell: float, hold: float, stream: list[tuple[Reading, ...]]
) -> None:
    for kind, stands_for in ((BlindPolicyKind.HEALTHY, Reading(1.0)), (BlindPolicyKind.BREACH, Reading(9.0))):
        rule = rule_of(when, [BlindPolicy(kind)] * 4, dwell, hold, 60.0)
        seen = [tuple(stands_for if reading.blind else reading for reading in row) for row in stream]
        blind, known = run(rule, stream), run(rule, seen)
        for one, other in zip(blind, known, strict=True):
            assert one.condition == other.condition
            assert (one.memory.active_since, one.memory.fired_at, one.memory.clear_since) == (
                other.memory.active_since, other.memory.fired_at, other.memory.clear_since,
            )  # fmt: skip
            flagged = any(v.blind for v in one.signals if v.name in signals_of(when))
            assert bool(one.blind) == (flagged and kind is BlindPolicyKind.BREACH)


@settings(max_examples=100, deadline=None)
@given(expressions, st.sampled_from([0.0, 15.0, 40.0]), rows)
def test_last_is_the_last_known_for_so_long_and_then_unknown(
    when: Expression, last_s: float, stream: list[tuple[Reading, ...]]
) -> None:
    rule = rule_of(when, [BlindPolicy(BlindPolicyKind.LAST, last_s)] * 4, 30.0, 30.0, 60.0)
    last: dict[str, tuple[bool, int]] = {}
    for k, (found, row) in enumerate(zip(run(rule, stream), stream, strict=True)):
        known: dict[str, bool | None] = {}
        for name, reading in zip(NAMES, row, strict=True):
            if reading.value is not None:
                last[name] = (reading.value > 5.0, k)
            value, when_seen = last.get(name, (None, -(10**9)))
            known[name] = value if (k - when_seen) * STEP <= last_s else None
        assert found.condition == evaluate(when, known)
        assert set(found.blind) == {name for name in signals_of(when) if known[name] is None}


@settings(max_examples=100, deadline=None)
@given(rules, rows, st.permutations(range(len(NAMES))))
def test_the_order_of_signals_changes_nothing(
    rule: DeploymentRule, stream: list[tuple[Reading, ...]], order: list[int]
) -> None:
    shuffled = replace(rule, signals=tuple(rule.signals[k] for k in order))
    one = run(rule, stream)
    other = run(shuffled, [tuple(row[k] for k in order) for row in stream])
    for a, b in zip(one, other, strict=True):
        assert a.condition == b.condition
        assert set(a.blind) == set(b.blind)
        assert {v.name: v for v in a.signals} == {v.name: v for v in b.signals}
        assert replace(a.memory, last_known=(), onset_signals=()) == replace(b.memory, last_known=(), onset_signals=())
        assert set(a.memory.onset_signals) == set(b.memory.onset_signals)


@settings(max_examples=60, deadline=None)
@given(rules, rows)
def test_blind_is_the_state_only_where_it_was_healthy_or_unknown(
    rule: DeploymentRule, stream: list[tuple[Reading, ...]]
) -> None:
    memory = FRESH
    for k, row in enumerate(stream):
        verdict, memory = decide(rule, Observation(rule.deployment.id, k * STEP, row), memory)
        if memory.fired_at is not None:
            assert verdict.state in (TriggerState.FIRED, TriggerState.CLEARING)
        elif memory.active_since is not None:
            assert verdict.state is TriggerState.PENDING
        else:
            assert (verdict.state is TriggerState.BLIND) == bool(verdict.blind)
        assert verdict.frozen == (
            verdict.condition is None and verdict.state in (TriggerState.PENDING, TriggerState.CLEARING)
        )
        assert (verdict.dwell_remaining_s is not None) == (verdict.state is TriggerState.PENDING)
        assert (verdict.hold_remaining_s is not None) == (verdict.state is TriggerState.CLEARING)
        assert verdict.sentence
        assert state_of(memory, cooling=False) == (verdict.state, verdict.since)
        assert state_of(memory, cooling=True)[0] is (
            TriggerState.COOLING if verdict.state is TriggerState.HEALTHY else verdict.state
        )


# -- samples as stored -------------------------------------------------------------------------------------------------

numbers = st.one_of(st.none(), st.floats(allow_nan=False))
any_reading = st.builds(
    Reading,
    numbers,
    numbers,
    numbers,
    st.one_of(st.none(), st.sampled_from(Blind)),
    st.one_of(st.none(), st.sampled_from(Blind)),
)
observations = st.tuples(
    st.tuples(*[any_reading] * len(NAMES)), st.one_of(st.none(), st.text(max_size=12)), numbers, numbers
)


@settings(max_examples=100, deadline=None)
@given(st.lists(observations, min_size=1, max_size=5), st.floats(0, 4e9))
def test_packing_is_exact(
    drawn: list[tuple[tuple[Reading, ...], str | None, float | None, float | None]], at: float
) -> None:
    named = [rule_of(Uses("a"), [BlindPolicy()] * 4, 0, 0, 0, f"d{k} [/x]\n") for k in range(len(drawn))]
    tick = Tick(
        at,
        tuple(
            Observation(rule.deployment.id, at, row, version, revenue, users)
            for rule, (row, version, revenue, users) in zip(named, drawn, strict=True)
        ),
    )
    layout = layout_bytes(named)
    again = unpack(pack(tick, "digest"), {"digest": layout}.get)
    assert again == tick
    for one, other in zip(again.observations, tick.observations, strict=True):
        for mine, theirs in zip(one.readings, other.readings, strict=True):
            assert _bits(mine) == _bits(theirs), "-0.0 too"


def _bits(reading: Reading) -> list[object]:
    return [None if v is None else (v, math.copysign(1, v)) for v in (reading.value, reading.baseline, reading.n)]

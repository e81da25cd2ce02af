"""What the tests of `decide` draw: expressions, policies for blindness, rules, streams of readings."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from rollback_console.decide.judge import FRESH, Step, step
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import (
    And,
    AtLeast,
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    DeploymentRule,
    Expression,
    Not,
    Or,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)  # fmt: skip
from rollback_console.model.verdict import TriggerMemory

NAMES = ("a", "b", "c", "d")
STEP = 15.0
KNOWN = st.sampled_from([True, False, None])
leaves = st.builds(Uses, st.sampled_from(NAMES))
expressions: st.SearchStrategy[Expression] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=1, max_size=4).map(lambda items: And(tuple(items))),
        st.lists(inner, min_size=1, max_size=4).map(lambda items: Or(tuple(items))),
        st.lists(inner, min_size=1, max_size=4).flatmap(
            lambda items: st.integers(1, len(items)).map(lambda k: AtLeast(k, tuple(items)))
        ),
    ),
    max_leaves=10,
)
knowns = st.fixed_dictionaries(dict.fromkeys(NAMES, KNOWN))


policies = st.one_of(
    st.sampled_from([BlindPolicy(kind) for kind in BlindPolicyKind if kind is not BlindPolicyKind.LAST]),
    st.sampled_from([15.0, 40.0, 300.0]).map(lambda seconds: BlindPolicy(BlindPolicyKind.LAST, seconds)),
)
lengths = st.sampled_from([0.0, 15.0, 20.0, 45.0, 100.0])


def rule_of(
    when: Expression, blind: Sequence[BlindPolicy], dwell: float, hold: float, blind_dwell: float, name: str = "x"
) -> DeploymentRule:
    signals = tuple(
        SignalRule(each, each.upper(), "technical", Worse.HIGHER, Breach(above=5.0), 60.0, value=each, blind=policy)
        for each, policy in zip(NAMES, blind, strict=True)
    )
    facts = Deployment(DeploymentId("test", name), "normal", "m", "champion", ())
    trigger = TriggerRule(when, "w", dwell, hold, blind_dwell_s=blind_dwell)
    return DeploymentRule(facts, signals, trigger, (), "p", 1, "0" * 64)


rules = st.builds(rule_of, expressions, st.tuples(*[policies] * len(NAMES)), lengths, lengths, lengths)
readings = st.one_of(
    st.sampled_from([Reading(1.0), Reading(9.0), Reading(5.0)]),
    st.sampled_from([Reading(blind=kind) for kind in Blind]),
)
rows = st.lists(st.tuples(*[readings] * len(NAMES)), min_size=1, max_size=30)


def run(
    rule: DeploymentRule, stream: Sequence[tuple[Reading, ...]], memory: TriggerMemory = FRESH, at: float = 0.0
) -> list[Step]:
    found = []
    for k, row in enumerate(stream):
        found.append(step(rule, Observation(rule.deployment.id, at + k * STEP, row), memory))
        memory = found[-1].memory
    return found

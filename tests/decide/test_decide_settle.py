"""How far back is far enough: after a calm stretch, what came before cannot matter. Attacked by hypothesis."""

from __future__ import annotations

from decide_strategies import NAMES, STEP, rows, rule_of, rules, run
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.judge import FRESH
from rollback_console.engine.backfill import _Calm
from rollback_console.model.observation import Blind, Reading
from rollback_console.model.rules import BlindPolicy, BlindPolicyKind, DeploymentRule, Uses

GOOD, BAD, GONE = Reading(1.0), Reading(9.0), Reading(blind=Blind.NO_DATA)
Row = tuple[Reading, ...]
calmer = st.lists(
    st.tuples(*[st.sampled_from([GOOD, GOOD, GOOD, GOOD, BAD, GONE])] * len(NAMES)), min_size=1, max_size=40
)


def settled_at(rule: DeploymentRule, stream: list[Row], first: int) -> int | None:
    """Where a replay from nothing that begins at evaluation `first` says that it is certain."""
    calm = _Calm(rule)
    for k, found in enumerate(run(rule, stream[first:], FRESH, first * STEP)):
        if calm.after((first + k) * STEP, found.condition, bool(found.blind)):
            return first + k
    return None


@settings(max_examples=400, deadline=None)
@given(rules, rows, calmer, st.integers(0, 20))
def test_after_a_calm_stretch_a_replay_from_nothing_is_exact(
    rule: DeploymentRule, before: list[Row], after: list[Row], skip: int
) -> None:
    stream = [*before, *after]
    first = min(len(before) + skip, len(stream) - 1)
    settled = settled_at(rule, stream, first)
    if settled is None:
        return
    truth, replay = run(rule, stream), run(rule, stream[first:], FRESH, first * STEP)
    for k in range(settled, len(stream)):
        assert replay[k - first] == truth[k]


def test_the_stretch_is_as_short_as_it_may_be() -> None:
    """One evaluation less, and what fired before could still be clearing: the property above is not vacuous."""
    rule = rule_of(Uses("a"), [BlindPolicy()] * 4, 0.0, 45.0, 60.0)
    stream: list[Row] = [(BAD,) * 4, *[(GOOD,) * 4] * 10]
    settled = settled_at(rule, stream, 1)
    assert settled == 4, "three intervals of 15 s"
    truth, replay = run(rule, stream), run(rule, stream[1:], FRESH, STEP)
    assert truth[4].memory == replay[3].memory
    assert truth[3].memory != replay[2].memory


def test_a_remembered_judgement_lengthens_it() -> None:
    rule = rule_of(Uses("a"), [BlindPolicy(BlindPolicyKind.LAST, 30.0)] * 4, 0.0, 15.0, 60.0)
    assert settled_at(rule, [(GOOD,) * 4] * 10, 0) == 3
    assert settled_at(rule, [(GONE,) * 4] * 10, 0) is None, "a blind start settles nothing"
    assert settled_at(rule, [(BAD,) * 4] * 10, 0) is None, "nor does one that fired long ago"

"""Grouping: a function of what is seen and nothing else, not of any order; names that stay and are one incident's."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.attribution import Release
from rollback_console.decide.incidents import Fleet, Trouble, group
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import Blind
from rollback_console.model.rules import DeploymentRule, RecoveryPath, TriggerRule, Uses
from rollback_console.model.verdict import SignalVerdict, TriggerState, Verdict

SIGNALS = ("errors", "orders")
STATES = [state for state in TriggerState if state is not TriggerState.COOLING]
World = tuple[Fleet, dict[DeploymentId, Verdict], dict[DeploymentId, Trouble]]


def name(number: int) -> DeploymentId:
    return DeploymentId("production", f"d{number}")


def verdict_of(who: DeploymentId, state: TriggerState, breached: tuple[str, ...], blind: Blind | None) -> Verdict:
    signals = tuple(
        SignalVerdict(s, None if blind else 1.0, None, 5.0, None, None, None if blind else s in breached, blind)
        for s in SIGNALS
    )
    condition = None if blind else state in (TriggerState.PENDING, TriggerState.FIRED)
    return Verdict(
        who, 1e6, "2", state, 1.0, condition, SIGNALS if blind else (), False, None, None, None,
        state is TriggerState.BLIND, False, signals, "so it is",
    )  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 8))
    rules, verdicts, troubles, releases = {}, {}, {}, []
    for number in range(count):
        who = name(number)
        on = draw(
            st.lists(st.sampled_from(["fv/a", "fv/b", "deployment/d0", "deployment/d1"]), max_size=2, unique=True)
        )
        facts = Deployment(who, "high", f"m{number}", "champion", (), depends_on=tuple(on))
        trigger = TriggerRule(Uses("errors"), "errors")
        paths = (RecoveryPath("version", "mlflow-alias", "last_known_good"),)
        rules[who] = DeploymentRule(facts, (), trigger, paths, "p", 1, "0" * 64)
        state = draw(st.sampled_from(STATES))
        breached = tuple(draw(st.lists(st.sampled_from(SIGNALS), max_size=2, unique=True)))
        blind = (
            draw(st.sampled_from(list(Blind))) if state is TriggerState.BLIND else draw(st.sampled_from([None, *Blind]))
        )
        verdicts[who] = verdict_of(who, state, breached, blind)
        onset = 1e5 + draw(st.integers(0, 30)) * 90.0
        if state is not TriggerState.HEALTHY:
            troubles[who] = Trouble(onset, () if state is TriggerState.BLIND else breached)
        if draw(st.booleans()):
            releases.append(Release(who, 1e5 + draw(st.integers(-100, 30)) * 90.0, "1", "2", draw(st.booleans())))
    return Fleet(rules, tuple(sorted(releases, key=lambda r: r.at))), verdicts, troubles


@settings(max_examples=100, deadline=None)
@given(worlds(), st.integers(0, 10**6))
def test_the_order_of_deployments_changes_nothing(world: World, seed: int) -> None:
    fleet, verdicts, troubles = world
    order = list(verdicts)
    random.Random(seed).shuffle(order)
    shuffled = Fleet({who: fleet.rules[who] for who in order}, fleet.releases)
    mixed = {who: verdicts[who] for who in reversed(order)}
    assert group(shuffled, mixed, dict(sorted(troubles.items(), reverse=True))) == group(fleet, verdicts, troubles)


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_who_is_in_trouble_is_in_one_incident_at_most_and_who_alarms_in_exactly_one(world: World) -> None:
    fleet, verdicts, troubles = world
    found = group(fleet, verdicts, troubles)
    members = [who for incident in found for who in incident.members]
    assert len(members) == len(set(members))
    assert {who for who, verdict in verdicts.items() if verdict.alarming} <= set(members) <= set(troubles)
    assert len({incident.id for incident in found}) == len(found)
    for incident in found:
        assert incident.onset == min(troubles[who].onset for who in incident.members)
        assert sorted(r.deployment for r in incident.recommendations) == sorted(incident.members)
        released = {r.deployment for r in fleet.releases if not r.rollback}
        for advice in incident.recommendations:
            assert advice.path is None or advice.deployment in released, "only a release is rolled back"


@settings(max_examples=100, deadline=None)
@given(worlds(), worlds())
def test_names_are_kept_and_never_shared(one: World, two: World) -> None:
    before = group(*one)
    after = group(*two, before)
    assert len({incident.id for incident in after}) == len(after)
    again = group(*two, after)
    assert {i.id for i in again} == {i.id for i in after}, "seen again, called the same"
    for incident in after:
        old = next((each for each in before if each.id == incident.id), None)
        assert old is None or not set(old.members).isdisjoint(incident.members) or _fresh(incident, two)


def _fresh(incident: Incident, world: World) -> bool:
    return incident.id in {each.id for each in group(*world)}


def test_what_began_while_nobody_looked_is_another_incident() -> None:
    who = name(0)
    rule = DeploymentRule(Deployment(who, "high", "m", "a", ()), (), TriggerRule(Uses("errors"), "e"), (), "p", 1, "0")
    fleet, fired = Fleet({who: rule}, ()), {who: verdict_of(who, TriggerState.FIRED, ("errors",), None)}
    old = group(fleet, fired, {who: Trouble(100.0, ("errors",))})
    later = {who: Trouble(9000.0, ("errors",))}
    assert group(fleet, fired, later, old)[0].id == old[0].id, "from one step to the next it is the same"
    assert group(fleet, fired, later, old, seen_at=5000.0)[0].id != old[0].id
    assert group(fleet, fired, later, old, seen_at=5000.0)[0].onset == 9000.0
    assert group(fleet, fired, {who: Trouble(4000.0)}, old, seen_at=5000.0)[0].id == old[0].id

"""What holds back action and advice, to the second, and that it is said in words."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.attribution import Release
from rollback_console.decide.guards import (
    Acts,
    Guard,
    Held,
    advice_held,
    clock,
    ends,
    holding,
    weekly_end,
)  # fmt: skip
from rollback_console.decide.incidents import Fleet, Trouble, group
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import AttributionKind, Incident
from rollback_console.model.rules import (
    DeploymentRule,
    ExpectedChange,
    RecoveryPath,
    TriggerRule,
    Uses,
    Weekly,
)  # fmt: skip
from rollback_console.model.verdict import TriggerState, Verdict

NOW = 1_800_000_000.0
HOUR, DAY = 3_600.0, 86_400.0
RULE = TriggerRule(Uses("errors"), "errors", cool_down_s=HOUR, not_before_s=600.0, re_arm_s=1_800.0, loop_guard=2)


def guards(rule: TriggerRule, at: float, acts: Acts) -> list[Guard]:
    return [held.guard for held in holding(rule, at, acts)]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_words_name_the_day_where_it_is_another() -> None:
    noon = at("2026-11-20T12:00:00+00:00")
    assert clock(noon + 300, noon) == "12:05 UTC"
    assert clock(noon + DAY, noon) == "2026-11-21 12:00 UTC"


def test_nothing_holds_back_where_nothing_happened() -> None:
    assert holding(RULE, NOW) == ()
    assert not advice_held(())


@pytest.mark.parametrize(("ago", "held"), [(0.0, True), (599.0, True), (600.0, False), (-1.0, False)])
def test_a_release_is_not_judged_before_its_time(ago: float, held: bool) -> None:
    found = holding(RULE, NOW, Acts(released=NOW - ago))
    assert [each.guard for each in found] == ([Guard.NOT_BEFORE] if held else [])
    assert advice_held(found) is held
    assert not held or found[0].until == NOW - ago + 600.0


@pytest.mark.parametrize(("ago", "held"), [(0.0, True), (3_599.0, True), (3_600.0, False)])
def test_the_cool_down_holds_back_action_and_not_advice(ago: float, held: bool) -> None:
    found = holding(RULE, NOW, Acts(acted=NOW - ago))
    assert bool(found) is held
    assert not advice_held(found)
    assert not held or found[0] == Held(Guard.COOL_DOWN, found[0].words, NOW - ago + HOUR, False)
    assert not held or "cooling down until" in found[0].words


def test_what_fires_again_at_once_is_armed_anew_by_health() -> None:
    assert guards(RULE, NOW, Acts(fired=NOW - 60, cleared=NOW - 360)) == [Guard.RE_ARM]
    assert guards(RULE, NOW, Acts(fired=NOW - 60, cleared=NOW - 60 - 1_800)) == []
    assert guards(RULE, NOW, Acts(fired=NOW - 60)) == []
    assert guards(RULE, NOW, Acts(fired=NOW - 900, cleared=NOW - 60)) == []  # cleared after: another order of things
    words = holding(RULE, NOW, Acts(fired=NOW - 60, cleared=NOW - 360))[0].words
    assert words == "fired again 5m after it had cleared: armed anew by 30m of health"


def test_no_more_automatic_actions_than_the_policy_allows_in_a_day() -> None:
    two = (NOW - 20 * HOUR, NOW - 2 * HOUR)
    (held,) = holding(RULE, NOW, Acts(automatic=two))
    assert held.guard is Guard.LOOP
    assert held.until == two[0] + DAY
    assert held.words == "2 automatic actions in 24h, and the policy allows 2: a person has to look"
    assert guards(RULE, NOW, Acts(automatic=two[1:])) == []
    assert guards(RULE, two[0] + DAY, Acts(automatic=two)) == []
    three = (*two, NOW - HOUR)
    assert holding(RULE, NOW, Acts(automatic=three))[0].until == two[1] + DAY  # two of the three must be past
    never = TriggerRule(Uses("errors"), "errors", loop_guard=0)
    assert holding(never, NOW)[0].words == "the policy allows no automatic action"


def test_an_expected_change_holds_back_advice_as_well() -> None:
    change = ExpectedChange("Black \x1b[31mFriday", NOW - 60, NOW + 540)
    rule = TriggerRule(Uses("errors"), "errors", expected=(change,))
    (held,) = holding(rule, NOW)
    assert (held.guard, held.until, held.advice) == (Guard.EXPECTED, NOW + 540, True)
    assert held.words == "expected now: Black ·[31mFriday, until 08:09 UTC"
    assert holding(rule, NOW + 540) == ()
    assert holding(rule, NOW - 61) == ()
    assert guards(RULE, NOW, Acts(expected=(change,))) == [Guard.EXPECTED]  # declared by hand


def test_what_has_no_end_is_never_going_on() -> None:
    assert ends(ExpectedChange("for ever", NOW - 60), NOW) is None


def test_all_that_holds_back_is_said() -> None:
    rule = TriggerRule(
        Uses("errors"), "errors", not_before_s=600.0, re_arm_s=1_800.0, loop_guard=1,
        expected=(ExpectedChange("a move", NOW - 1, NOW + 1),),
    )  # fmt: skip
    acts = Acts(NOW - 10, NOW - 30, (NOW - 30,), NOW - 5, NOW - 20)
    assert guards(rule, NOW, acts) == list(Guard)


SUNDAY = Weekly((6,), 2 * HOUR, 2 * HOUR, "Europe/Berlin")


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-11-22T00:59:59+00:00", None),  # 01:59:59 in Berlin
        ("2026-11-22T01:00:00+00:00", "2026-11-22T03:00:00+00:00"),
        ("2026-11-22T02:59:59+00:00", "2026-11-22T03:00:00+00:00"),
        ("2026-11-22T03:00:00+00:00", None),
        ("2026-11-23T01:30:00+00:00", None),  # a Monday
        ("2026-10-25T00:30:00+00:00", "2026-10-25T03:00:00+00:00"),  # summer time ends within: three hours long
        ("2026-03-29T01:30:00+00:00", "2026-03-29T02:00:00+00:00"),  # it begins within: one hour long
    ],
)
def test_a_time_of_the_week_follows_the_clock_on_the_wall(moment: str, until: str | None) -> None:
    assert weekly_end(SUNDAY, at(moment)) == (None if until is None else at(until))


def test_a_time_of_the_week_goes_on_over_midnight_and_ends_with_its_last_day() -> None:
    nightly = Weekly((4,), 22 * HOUR, 4 * HOUR)  # from Friday 22:00 to Saturday 02:00, UTC
    change = ExpectedChange("reindexing", None, at("2026-11-21T01:00:00+00:00"), nightly)
    assert ends(change, at("2026-11-20T23:00:00+00:00")) == at("2026-11-21T01:00:00+00:00")
    assert ends(change, at("2026-11-14T01:30:00+00:00")) == at("2026-11-14T02:00:00+00:00")
    assert ends(change, at("2026-11-27T23:00:00+00:00")) is None
    assert ends(change, at("2026-11-14T22:30:00+00:00")) is None


WEEKLIES = st.builds(
    Weekly,
    st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
    st.integers(0, 23 * 60 + 59).map(lambda minutes: minutes * 60.0),
    st.integers(10, 12 * 60).map(lambda minutes: minutes * 60.0),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]),
)


@settings(max_examples=200, deadline=None)
@given(WEEKLIES, st.floats(0, 7 * DAY))
def test_a_time_of_the_week_is_on_as_often_as_it_says(weekly: Weekly, into: float) -> None:
    """Within it the end lies ahead, no further than its length and the hour that a clock may be put back."""
    end = weekly_end(weekly, NOW + into)
    if end is not None:
        assert 0 < end - (NOW + into) <= weekly.length_s + HOUR
        assert weekly_end(weekly, end - 1) == end
        after = weekly_end(weekly, end)
        assert after is None or after > end


@settings(max_examples=100, deadline=None)
@given(WEEKLIES)
def test_a_week_holds_it_once_for_each_of_its_days(weekly: Weekly) -> None:
    steps = [weekly_end(weekly, NOW + 300.0 * k) for k in range(int(7 * DAY / 300))]
    seen = {end for end in steps if end is not None}
    whole = {end for end in seen if NOW + weekly.length_s + HOUR <= end <= NOW + 7 * DAY - HOUR}
    assert len(whole) <= len(weekly.days)
    assert len(seen) >= len(weekly.days) - 1


def world(trigger: TriggerRule, released: float) -> Incident:
    """A deployment that fired at NOW, its release before."""
    who = DeploymentId("production", "checkout")
    paths = (RecoveryPath("version", "mlflow-alias", "last_known_good"),)
    rule = DeploymentRule(Deployment(who, "high", "m", "a", ()), (), trigger, paths, "p", 1, "0" * 64)
    verdict = Verdict(
        who, NOW, "8", TriggerState.FIRED, NOW - 60, True, (), False, None, None, None, False, False, (), "so it is"
    )
    fleet = Fleet({who: rule}, (Release(who, released, "7", "8"),))
    (incident,) = group(fleet, {who: verdict}, {who: Trouble(NOW - 60, ("errors",))})
    return incident


def test_no_rollback_is_advised_while_it_was_to_be_expected_and_the_incident_stays() -> None:
    free = world(RULE, NOW - 900).recommendations[0]
    assert (free.path, free.to_version) == ("version", "7")
    young = world(RULE, NOW - 120)
    assert young.recommendations[0].path is None
    assert young.recommendations[0].sentence == (
        "released at 07:58 UTC: too young to be told before 08:08 UTC; no rollback is advised before"
    )
    assert (young.attribution.kind, young.members) == (
        AttributionKind.RELEASE,
        (DeploymentId("production", "checkout"),),
    )
    rule = TriggerRule(Uses("errors"), "errors", expected=(ExpectedChange("a move", NOW - 60, NOW + DAY),))
    assert world(rule, NOW - 900).recommendations[0].sentence == (
        "expected now: a move, until 2027-01-16 08:00 UTC; no rollback is advised before"
    )

"""What another mode would have done in the last 28 days, from transitions that the journal holds."""

from __future__ import annotations

import random

from rollback_console.decide.moving_up import Turned, moving_up
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.rules import DeploymentRule, ExpectedChange, TriggerRule, Uses
from rollback_console.model.verdict import TriggerState

NOW = 1_800_000_000.0  # 2027-01-15 08:00 UTC
HOUR, DAY = 3_600.0, 86_400.0
WHO, OTHER = DeploymentId("production", "checkout"), DeploymentId("production", "search")


def rule(who: DeploymentId, trigger: TriggerRule) -> DeploymentRule:
    return DeploymentRule(Deployment(who, "high", "m", "a", ()), (), trigger, (), "p", 1, "0" * 64)


TRIGGER = TriggerRule(
    Uses("errors"), "errors", cool_down_s=HOUR, re_arm_s=600.0, loop_guard=2,
    expected=(ExpectedChange("a move", NOW - 5 * DAY, NOW - 4 * DAY),),
)  # fmt: skip
RULES = {WHO: rule(WHO, TRIGGER), OTHER: rule(OTHER, TRIGGER)}


def fired(
    ago: float, advised: str | None = "7", who: DeploymentId = WHO, why: str = "", *, blind: bool = False
) -> Turned:
    return Turned(who, NOW - ago, TriggerState.FIRED, blind, advised, why)


def cleared(ago: float, who: DeploymentId = WHO) -> Turned:
    return Turned(who, NOW - ago, TriggerState.HEALTHY)


def words(*turned: Turned, done: dict[DeploymentId, list[float]] | None = None) -> list[str]:
    return [each.words for each in moving_up(RULES, turned, done or {}, NOW).firings]


def test_it_acts_on_advice_and_leaves_the_rest_to_people() -> None:
    assert words(
        fired(9 * DAY),
        fired(8 * DAY, None, why="do not roll back: mend feature-view/a"),
        fired(7 * DAY, "6", blind=True),
        fired(6 * DAY, None),
        fired(4.5 * DAY),
    ) == [
        "rolled back to v7",
        "left to people: do not roll back: mend feature-view/a",
        "left to people: it fired for not being seen",
        "left to people: no rollback was advised",
        "left to people: expected now: a move, until 2027-01-11 08:00 UTC",
    ]


def test_guards_count_what_it_would_have_done_itself() -> None:
    assert words(
        fired(10 * HOUR), cleared(9.9 * HOUR), fired(9.5 * HOUR), cleared(9 * HOUR),
        fired(8 * HOUR), cleared(7 * HOUR), fired(6 * HOUR),
    ) == [
        "rolled back to v7",
        "left to people: an action was taken at 22:00 UTC: cooling down until 23:00 UTC",
        "rolled back to v7",
        "left to people: 2 automatic actions in 24h, and the policy allows 2: a person has to look",
    ]  # fmt: skip


def test_what_people_did_cools_down_as_well_and_a_relapse_is_not_armed() -> None:
    assert words(fired(5 * HOUR), done={WHO: [NOW - 5.5 * HOUR, NOW - HOUR]}) == [
        "left to people: an action was taken at 02:30 UTC: cooling down until 03:30 UTC"
    ]
    assert words(fired(5 * HOUR, None), cleared(3 * HOUR), fired(3 * HOUR - 300)) == [
        "left to people: no rollback was advised",
        "left to people: fired again 5m after it had cleared: armed anew by 10m of health",
    ]


def test_a_summary_for_a_person() -> None:
    turned = [fired(40 * DAY), fired(27 * DAY), fired(2 * DAY, None, OTHER, "look at\x1b[2J its inputs"), fired(-DAY)]
    random.Random(3).shuffle(turned)
    strange = Turned(DeploymentId("production", "gone"), NOW - DAY, TriggerState.FIRED, advised="1")
    preview = moving_up(RULES, [*turned, strange], {}, NOW)
    assert preview.lines() == (
        "in the last 28 days: `advise` would have alarmed 2 times (0.5 a week), `act` would have rolled back by itself "
        "once",
        "2026-12-19 08:00 UTC production/checkout: rolled back to v7",
        "2027-01-13 08:00 UTC production/search: left to people: look at·[2J its inputs",
    )
    assert [each.to for each in preview.actions] == ["7"]
    assert moving_up(RULES, [], {}, NOW).lines() == (
        "in the last 28 days: `advise` would have alarmed 0 times (0.0 a week), `act` would have rolled back by itself "
        "0 times",
    )

"""What holds back automatic action, and advice, at a time: expected changes, a release just made, actions just taken.

A guard never touches the state. What fired stays fired on the screen, the guard's words beside it; a person may act
whenever they see fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from rollback_console.model.rules import ExpectedChange, TriggerRule, Weekly
from rollback_console.model.text import plain, span
from rollback_console.model.value import dataclass

DAY_S = 86_400.0


class Guard(StrEnum):
    """Which rule of the policy holds back."""

    EXPECTED = "expected"
    NOT_BEFORE = "not_before"
    COOL_DOWN = "cool_down"
    RE_ARM = "re_arm"
    LOOP = "loop_guard"


@dataclass(frozen=True, slots=True)
class Acts:
    """What happened to one deployment, as far as guards ask. Unix seconds; None: never, or not known.

    `released`: its last release, as serving reported it. `acted`: its last way back by anybody, `automatic` the
    automatic ones, `back` all of them by anybody (any order). `fired`: when the firing that is now began; `cleared`:
    when the one before it ended. `expected`: changes that people declared by hand.
    """

    released: float | None = None
    acted: float | None = None
    automatic: tuple[float, ...] = ()
    fired: float | None = None
    cleared: float | None = None
    expected: tuple[ExpectedChange, ...] = ()
    back: tuple[float, ...] = ()


NOTHING = Acts()


@dataclass(frozen=True, slots=True)
class Held:
    """One guard that holds back now. `until`: Unix seconds, None where it is no matter of time alone. `advice`: does it
    hold back advice as well as action."""

    guard: Guard
    words: str
    until: float | None
    advice: bool


def holding(rule: TriggerRule, at: float, acts: Acts = NOTHING) -> tuple[Held, ...]:
    """Everything that holds back at `at` (Unix seconds), in the order of the guards above; empty: nothing does."""
    found = [*_expected(rule, at, acts), _released(rule, at, acts), _cooling(rule, at, acts)]
    found += [_rearming(rule, acts), _looping(rule, at, acts), _to_and_fro(rule, at, acts)]
    return tuple(each for each in found if each is not None)


def advice_held(held: Sequence[Held]) -> bool:
    """May no rollback be advised: whatever is seen now was to be expected, or is too young to be told."""
    return any(each.advice for each in held)


def _expected(rule: TriggerRule, at: float, acts: Acts) -> list[Held]:
    found = []
    for change in (*rule.expected, *acts.expected):
        end = ends(change, at)
        if end is not None:
            words = f"expected now: {plain(change.why, 120)}, until {clock(end, at)}"
            found.append(Held(Guard.EXPECTED, words, end, True))
    return found


def _released(rule: TriggerRule, at: float, acts: Acts) -> Held | None:
    if acts.released is None or not 0 <= at - acts.released < rule.not_before_s:
        return None
    until = acts.released + rule.not_before_s
    words = f"released at {clock(acts.released, at)}: too young to be told before {clock(until, at)}"
    return Held(Guard.NOT_BEFORE, words, until, True)


def _cooling(rule: TriggerRule, at: float, acts: Acts) -> Held | None:
    if acts.acted is None or not 0 <= at - acts.acted < rule.cool_down_s:
        return None
    until = acts.acted + rule.cool_down_s
    words = f"an action was taken at {clock(acts.acted, at)}: cooling down until {clock(until, at)}"
    return Held(Guard.COOL_DOWN, words, until, False)


def _rearming(rule: TriggerRule, acts: Acts) -> Held | None:
    if acts.fired is None or acts.cleared is None or not 0 <= acts.fired - acts.cleared < rule.re_arm_s:
        return None
    after = span(acts.fired - acts.cleared)
    words = f"fired again {after} after it had cleared: armed anew by {span(rule.re_arm_s)} of health"
    return Held(Guard.RE_ARM, words, None, False)


def _looping(rule: TriggerRule, at: float, acts: Acts) -> Held | None:
    """At most k automatic actions in the 24 hours before now. With k = 0 there is never one."""
    recent = sorted(when for when in acts.automatic if at - DAY_S < when <= at)
    if len(recent) < rule.loop_guard:
        return None
    if rule.loop_guard == 0:
        return Held(Guard.LOOP, "the policy allows no automatic action", None, False)
    count = f"{len(recent)} automatic action{'' if len(recent) == 1 else 's'}"
    words = f"{count} in 24h, and the policy allows {rule.loop_guard}: a person has to look"
    return Held(Guard.LOOP, words, recent[-rule.loop_guard] + DAY_S, False)


def _to_and_fro(rule: TriggerRule, at: float, acts: Acts) -> Held | None:
    """After k ways back within 24 hours, whoever took them, another is a person's to decide: neither this version nor
    the ones before it were the remedy."""
    recent = sorted(when for when in acts.back if at - DAY_S < when <= at)
    if rule.loop_guard == 0 or len(recent) < rule.loop_guard:
        return None
    count = f"{len(recent)} rollback{'' if len(recent) == 1 else 's'}"
    words = f"{count} in 24h, the last at {clock(recent[-1], at)}: whether another one helps, a person has to decide"
    return Held(Guard.LOOP, words, recent[-rule.loop_guard] + DAY_S, True)


def clock(moment: float, at: float) -> str:
    """`14:05 UTC`, with its day where that is another than the day of `at` (both Unix seconds). Not "in 9 minutes": the
    words are of one evaluation, and stay true."""
    when, now = datetime.fromtimestamp(moment, UTC), datetime.fromtimestamp(at, UTC)
    return f"{when:%H:%M} UTC" if when.date() == now.date() else f"{when:%Y-%m-%d %H:%M} UTC"


# ── expected changes


def ends(change: ExpectedChange, at: float) -> float | None:
    """When the change that is going on at `at` ends (Unix seconds); None: it is not going on. What has neither an end
    nor a time of the week is not bounded, and never going on."""
    if (change.start is not None and at < change.start) or (change.end is not None and at >= change.end):
        return None
    if change.weekly is None:
        return change.end
    end = weekly_end(change.weekly, at)
    return end if end is None or change.end is None else min(end, change.end)


def weekly_end(weekly: Weekly, at: float) -> float | None:
    """When the weekly time that `at` lies in ends; None: it lies in none. Begin and end are times on the wall of its
    time zone, whatever daylight saving does in between. Raises ValueError for an unknown time zone."""
    zone = ZoneInfo(weekly.timezone)
    today = datetime.fromtimestamp(at, zone).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)
    found = None
    for midnight in (today - timedelta(days=1), today):
        if midnight.weekday() in weekly.days:
            begin = midnight + timedelta(seconds=weekly.start_s)
            end = begin + timedelta(seconds=weekly.length_s)
            if _moment(begin, zone) <= at < _moment(end, zone):
                found = _moment(end, zone)
    return found


def _moment(wall: datetime, zone: ZoneInfo) -> float:
    return wall.replace(tzinfo=zone).astimezone(UTC).timestamp()

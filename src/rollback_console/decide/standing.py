"""Whether a level that was frozen some days ago would be another than the one in force: what nobody can tell who begins
to look now, and what a suspicion that has stood since then hangs on."""

from __future__ import annotations

from rollback_console.decide.baselines import Hours, Profile, follow
from rollback_console.decide.calendar import HOUR_S, LAG_S, Calendar, hour_of, lessons
from rollback_console.model.rules import Stretch, Worse

_DAYS, _HOURS = 7, 24  # a level stays frozen for no longer than a week


def stood(
    profile: Profile, hours: Hours, at: float, calendar: Calendar, excluded: tuple[Stretch, ...], worse: Worse
) -> float:
    """How far the rate of some day of the week before `at`, in the profile's terms, stood on the better side of the
    level in force at `at` (a fraction of it; 0.0: none did). To a level frozen then the present looks worse by that."""
    last = hour_of(at) - LAG_S
    first = last - _DAYS * _HOURS * HOUR_S
    slots = lessons(calendar, excluded, first, _DAYS * _HOURS)
    xs, ns = hours.cut(first, _DAYS * _HOURS)
    rate = follow(profile, hours, at, calendar, excluded).rate
    found = 0.0
    for day in range(_DAYS):
        events = expected = 0.0
        for k in range(day * _HOURS, (day + 1) * _HOURS):
            if slots[k] >= 0 and ns[k] > 0.0 and xs[k] >= 0.0:
                events += xs[k]
                expected += ns[k] * profile.factors[slots[k]]
        if expected > 0.0:
            away = events / expected / rate - 1.0
            found = max(found, away if worse is Worse.LOWER else -away)
    return found

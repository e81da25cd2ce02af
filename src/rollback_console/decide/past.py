"""What went wrong before and came right by itself: the hours that look like it, and how long it lasted in them.

An excursion of a few minutes shows in its hour, if faintly. So the hours of history that came out worst are looked at
window by window, and no others: a month of single windows is more than anybody should have to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import nan, sqrt

from rollback_console.decide.baselines import Hours, Windows, expected_in, fitted
from rollback_console.decide.calendar import HOUR_S, Calendar, lessons
from rollback_console.decide.dispersion import excursions
from rollback_console.decide.shape import weight
from rollback_console.model.rules import Stretch, Worse

MOST_HOURS = 24
_WORSE = 1.0  # standard deviations of hours


def suspects(
    hours: Hours, anchor: float, history_s: float, calendar: Calendar, excluded: tuple[Stretch, ...], worse: Worse
) -> tuple[float, ...]:
    """The beginnings of the hours before `anchor` that came out worst, no more than `MOST_HOURS`, each worse than
    foretold by a standard deviation of hours at least. In order."""
    found = fitted(hours, anchor, history_s, calendar, excluded)
    if found is None:
        return ()
    profile, foretold = found
    first = min(foretold)
    xs, ns = hours.cut(first, len(foretold))
    sign, p = (-1.0 if worse is Worse.LOWER else 1.0), min(profile.level.rate, 0.999)
    off: list[tuple[float, float]] = []
    for k, (slot, x, n) in enumerate(zip(lessons(calendar, excluded, first, len(foretold)), xs, ns, strict=True)):
        hour = first + k * HOUR_S
        mean = n * profile.factors[slot] * foretold[hour] if slot >= 0 and n > 0.0 else nan
        if x >= 0.0 and mean > 0.0:
            far = sign * (x / mean - 1.0) / sqrt(profile.scale / weight(mean, p))
            if far > _WORSE:
                off.append((far, hour))
    return tuple(sorted(hour for _, hour in sorted(off, reverse=True)[:MOST_HOURS]))


def past_excursions(
    hours: Hours, anchor: float, history_s: float, calendar: Calendar, excluded: tuple[Stretch, ...], worse: Worse,
    stretches: Sequence[Windows],
) -> tuple[float, ...]:  # fmt: skip
    """How long the excursions in these hours (in order, of one step) lasted that recovered by themselves, in seconds.
    Hours that follow each other are one stretch; what an end cuts off is not counted."""
    found = fitted(hours, anchor, history_s, calendar, excluded)
    if found is None:
        return ()
    profile, foretold = found
    lasted: tuple[float, ...] = ()
    x: list[float] = []
    expected: list[float] = []
    end = None
    for stretch in stretches:
        if end is not None and stretch.start != end:
            lasted += excursions(x, expected, worse, stretch.step)
            x, expected = [], []
        x += stretch.x
        expected += expected_in(stretch, profile, foretold, calendar)
        end = stretch.start + len(stretch.x) * stretch.step
    return lasted + (excursions(x, expected, worse, stretches[-1].step) if stretches else ())

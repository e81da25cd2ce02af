"""The week as people live it: which hour of the local week a moment belongs to, daylight saving and holidays included.

A week has 168 slots. Slot k is the hour of the week whose *middle* lies at position k; between two middles a position
runs from k to k + 1, so that a baseline can glide from one hour to the next instead of jumping.

And the fixed times at which things are learned, so that whoever looks, whenever they began, learns the same.

The hour that a clock skips in spring has no moment; the one it repeats in autumn falls into the same slot twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from rollback_console.model.rules import Baseline, Stretch
from rollback_console.model.value import dataclass

HOUR_S, DAY_S, WEEK_S = 3_600.0, 86_400.0, 604_800.0
SLOTS = 168
SUNDAY = 6
LAG_S = 3_600.0  # what is younger is not learned from yet: a degradation does not become its own baseline
STRETCHES = 6  # of an hour each, whose single windows tell the noise of short blocks
NO_LESSON = -1  # an hour that nothing is learned from


@dataclass(frozen=True, slots=True)
class Calendar:
    """The week of one time zone (an IANA name). `holidays`: days of it, ``2026-12-25`` or, for every year, ``12-25``.

    Nothing is learned from a holiday. It is judged as the day of the week `holiday_as` (Monday is 0); None: not at all.
    Unknown time zones raise ValueError at the first question.
    """

    timezone: str = "UTC"
    holidays: frozenset[str] = frozenset()
    holiday_as: int | None = SUNDAY

    def position(self, at: float) -> float | None:
        """Where in the week `at` (Unix seconds) lies, in slots: 0 <= position < 168; an integer is a slot's middle.
        None on a holiday that is not judged."""
        return _position(self, at)

    def week_before(self, at: float) -> float:
        """The same local time a week before `at` (Unix seconds), whatever the clocks did since."""
        local = datetime.fromtimestamp(at, _zone(self.timezone))
        before = datetime.fromtimestamp(at - WEEK_S, _zone(self.timezone))
        now, then = local.utcoffset(), before.utcoffset()
        return at - WEEK_S + ((now - then).total_seconds() if now is not None and then is not None else 0.0)

    def is_holiday(self, at: float) -> bool:
        """Does `at` fall on a holiday, by the local date."""
        return bool(self.holidays) and _on(self.holidays, datetime.fromtimestamp(at, _zone(self.timezone)))


def calendar_of(baseline: Baseline) -> Calendar:
    """The calendar that a baseline is learned by."""
    return Calendar(baseline.timezone, frozenset(baseline.holidays))


def hour_of(at: float) -> float:
    """The full hour at or before `at`: what is judged at `at` is compared with what was known then."""
    return at // HOUR_S * HOUR_S


def anchor_of(at: float, since: float | None) -> float:
    """When the profile in force at `at` was learned. `since`: the beginning of the history, None where there is
    none."""
    return hour_of(at) if _young(at, since) else at // DAY_S * DAY_S


def history_words(hours: float) -> str:
    """How little history stands behind a baseline, and what that means."""
    lacks = ""
    if hours < 24:
        lacks = "; the hours of the day are not known yet"
    elif hours < 10 * 24:
        lacks = "; the days of the week are not known yet"
    told = f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.0f} days"
    return f"learned from {told} of history{lacks}, so its margin is wider"


def noise_anchor(at: float, since: float | None) -> tuple[float, tuple[float, ...]]:
    """(as of when, the beginnings of the hours) that tell the noise of short blocks in force at `at`: six hours spread
    over the week before this one began, over the day before today while history is younger, or the last six."""
    week = (at - 4 * DAY_S) // WEEK_S * WEEK_S + 4 * DAY_S  # Mondays: Unix time began on a Thursday
    if since is not None and since <= week - WEEK_S - LAG_S:
        anchor, span = week, WEEK_S
    elif not _young(at, since):
        anchor, span = at // DAY_S * DAY_S, DAY_S
    else:
        anchor, span = hour_of(at), STRETCHES * HOUR_S
    gap = span / STRETCHES
    return anchor, tuple(anchor - LAG_S - HOUR_S - k * gap for k in range(STRETCHES - 1, -1, -1))


def noise_key(anchor: float, hours: tuple[float, ...]) -> float:
    """A number for one measure of the noise: as of when, and, as a fraction of a second, how far apart its hours lie.
    Where history is as long as the week, a Monday is measured both by the week before and by the day before."""
    return anchor + (hours[1] - hours[0]) / WEEK_S


def _young(at: float, since: float | None) -> bool:
    """Was there less than a day of history when today began."""
    return since is None or since > at // DAY_S * DAY_S - DAY_S - LAG_S


@lru_cache(maxsize=256)
def lessons(calendar: Calendar, excluded: tuple[Stretch, ...], first: float, count: int) -> tuple[int, ...]:
    """The slots of `count` hours from `first` (Unix seconds, a full hour) on, `NO_LESSON` where nothing is learned
    from: holidays, and every hour that an excluded stretch touches. Shared by all signals of one calendar."""
    zone = _zone(calendar.timezone)
    found = []
    for k in range(count):
        start = first + k * HOUR_S
        local = datetime.fromtimestamp(start + HOUR_S / 2, zone)
        if (calendar.holidays and _on(calendar.holidays, local)) or touched(excluded, start, start + HOUR_S):
            found.append(NO_LESSON)
        else:
            found.append(round(_slots(local, local.weekday())) % SLOTS)
    return tuple(found)


def touched(excluded: Sequence[Stretch], start: float, end: float) -> bool:
    """Does any excluded stretch overlap start <= t < end (Unix seconds)."""
    return any(stretch.start < end and start < stretch.end for stretch in excluded)


@lru_cache(maxsize=8192)
def _position(calendar: Calendar, at: float) -> float | None:
    local = datetime.fromtimestamp(at, _zone(calendar.timezone))
    weekday: int | None = local.weekday()
    if calendar.holidays and _on(calendar.holidays, local):
        weekday = calendar.holiday_as
    return _slots(local, weekday) % SLOTS if weekday is not None else None


def _slots(local: datetime, weekday: int) -> float:
    """Hours of the local week, counted between the middles of hours as UTC counts them: where a zone is half an hour
    off, so are the middles of what is learned there."""
    offset = local.utcoffset()
    shift = offset.total_seconds() if offset is not None else 0.0
    middle = (HOUR_S / 2 + shift) % HOUR_S
    second = weekday * DAY_S + local.hour * HOUR_S + local.minute * 60 + local.second + local.microsecond / 1e6
    return (second - middle) / HOUR_S


def _on(holidays: frozenset[str], local: datetime) -> bool:
    day = local.strftime("%Y-%m-%d")
    return day in holidays or day[5:] in holidays


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo  # most fleets are judged by UTC

    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"there is no time zone {name!r}; names are those of the IANA, like Europe/Berlin") from None

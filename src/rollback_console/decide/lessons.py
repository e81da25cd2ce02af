"""The hours of history that something is learned from, and how they sort into days, hours of the day and slots.

How they sort hangs on the calendar alone, and a fleet's signals share that: it is found once and kept. What is left to
do for each signal is adding up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from rollback_console.decide.calendar import SLOTS
from rollback_console.model.value import dataclass

Gather = Any  # operator.itemgetter of several positions: a sequence -> a tuple


@dataclass(frozen=True, slots=True)
class Sorting:
    """Where lessons stand. By time: `days` are (day, first, beyond the last). Sorted by hour of the day, and by time
    within it: `order` (places by time), `ends` of the 24 groups, `day_of`, `slot_of`, `weekday_of` of each lesson;
    `whole`: (day of the week, places) of the days of which twelve hours were seen, `by_slot`: (slot, places)."""

    days: tuple[tuple[int, int, int], ...]
    order: Gather
    ends: tuple[tuple[int, int, int], ...]  # (hour of the day, first, beyond the last), none of them empty
    day_of: tuple[int, ...]
    slot_of: tuple[int, ...]
    weekday_of: tuple[int, ...]
    whole: tuple[tuple[int, Gather], ...]
    by_slot: tuple[tuple[int, int, Gather], ...]  # (slot, lessons in it, their places)
    slots: Gather  # of a value a slot, each lesson's, by time


@dataclass(frozen=True, slots=True)
class Lessons:
    """Hours of history in their order, a column each: hours since the window began, slots of the week, events x,
    trials n > 0."""

    hours: tuple[int, ...]
    slots: tuple[int, ...]
    x: Sequence[float]
    n: Sequence[float]

    def sorting(self) -> Sorting:
        """How they sort. Raises ValueError where there are none."""
        if not self.hours:
            raise ValueError("no lessons")
        return _sorting(self.hours, self.slots)


def taught(slots: tuple[int, ...], x: Sequence[float], n: Sequence[float], behind: int) -> Lessons:
    """The lessons among hours: not those without a slot (below 0) or trials, or with unknown (NaN) counts. `behind`:
    the number of the first hour."""
    total, trials = sum(x), sum(n)  # one NaN makes a sum NaN, which is not itself
    if total == total and trials == trials and _whole(slots) and min(x) >= 0.0 and min(n) > 0.0:
        return Lessons(_numbers(behind, len(slots)), slots, x, n)
    kept = [k for k, slot in enumerate(slots) if slot >= 0 and n[k] > 0.0 and x[k] >= 0.0]
    return Lessons(
        tuple([k + behind for k in kept]), tuple([slots[k] for k in kept]), [x[k] for k in kept], [n[k] for k in kept]
    )


@lru_cache(maxsize=64)
def _whole(slots: tuple[int, ...]) -> bool:
    return min(slots) >= 0


@lru_cache(maxsize=64)
def _numbers(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


@lru_cache(maxsize=128)
def _sorting(hours: tuple[int, ...], slots: tuple[int, ...]) -> Sorting:
    order = sorted(range(len(hours)), key=lambda k: slots[k] % 24)
    ends: list[tuple[int, int, int]] = []
    calendar_days: dict[int, list[int]] = {}
    by_slot: dict[int, list[int]] = {}
    for place, k in enumerate(order):
        hour = slots[k] % 24
        if ends and ends[-1][0] == hour:
            ends[-1] = (hour, ends[-1][1], place + 1)
        else:
            ends.append((hour, place, place + 1))
        calendar_days.setdefault((hours[k] // SLOTS) * 7 + slots[k] // 24, []).append(place)
        by_slot.setdefault(slots[k], []).append(place)
    days: list[tuple[int, int, int]] = []
    for k, number in enumerate(hours):
        if days and days[-1][0] == number // 24:
            days[-1] = (number // 24, days[-1][1], k + 1)
        else:
            days.append((number // 24, k, k + 1))
    return Sorting(
        tuple(days),
        gathering(order),
        tuple(ends),
        tuple([hours[k] // 24 for k in order]),
        tuple([slots[k] for k in order]),
        tuple([slots[k] // 24 for k in order]),
        tuple([(key % 7, gathering(places)) for key, places in calendar_days.items() if len(places) >= 12]),
        tuple([(slot, len(places), gathering(places)) for slot, places in by_slot.items()]),
        gathering(slots),
    )


def gathering(places: Sequence[int]) -> Gather:
    """Takes the values at these places, as a tuple."""
    return itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))

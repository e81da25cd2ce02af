"""How a history is gone through, hour by hour: what each is worth, the level that follows it, what it foretold."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from operator import mul
from statistics import median

from rollback_console.decide.calendar import HOUR_S, SLOTS
from rollback_console.decide.lessons import Lessons
from rollback_console.decide.residuals import Told
from rollback_console.decide.shape import Shape, weight

KEEPS = 0.5 ** (1 / 24)  # of an hour's weight, an hour later
HALF = 0.5  # Jeffreys' half event: no history makes a rate exactly nought
_CUT = 4.0  # standard deviations, and at least this share, at which an hour is cut before it moves the level
_LEAST_CUT = 0.10


def cut(x: float, mean: float, scale: float, p: float) -> float:
    """An hour's events, no further off than an hour may be."""
    mean = mean if mean > 1e-9 else 1e-9
    reach = _CUT * sqrt(scale / weight(mean, p))
    reach = mean * (reach if reach > _LEAST_CUT else _LEAST_CUT)
    return mean - reach if x < mean - reach else mean + reach if x > mean + reach else x


def worths_of(seen: Lessons, shape: Shape, slots: Sequence[int], xs: list[float], ns: list[float]) -> list[float]:
    """Of each hour its trials times its factor; 0 where it is no lesson."""
    factors = shape.factors
    if len(seen.hours) == len(ns):
        return list(map(mul, ns, seen.sorting().slots(factors)))
    return [
        n * factors[slot] if slot >= 0 and n > 0.0 and x >= 0.0 else 0.0
        for slot, x, n in zip(slots, xs, ns, strict=True)
    ]


def floats(values: Sequence[float]) -> list[float]:
    return values.tolist() if isinstance(values, array) else list(values)


def opening_of(seen: Lessons, shape: Shape, p: float) -> float:
    """The rate that the first day's hours are cut against: the median hour's, or where that is too rough, p."""
    x, n, slots = seen.x[:24], seen.n[:24], seen.slots[:24]
    rates = [events / (trials * shape.factors[slot]) for events, trials, slot in zip(x, n, slots, strict=True)]
    return median(rates) if sum(x) >= 5.0 * len(x) else p


def tracked(
    worths: Sequence[float], xs: Sequence[float], scale: float, opening: float, p: float
) -> tuple[tuple[float, float, float], list[float]]:  # fmt: skip
    """The level's (events, expected, square) after all hours, and for each hour the level's rate two hours before it
    ended: all that is known when it is judged. Before a day's worth of events stand behind the level, hours are cut
    against the `opening`. `worths`: of each hour its trials times its factor, 0 where it is no lesson."""
    events = expected = square = 0.0
    rate, before, ripe = opening, opening, 0
    keeps, twice = KEEPS, KEEPS * KEEPS
    foretold: list[float] = []
    for worth, x in zip(worths, xs, strict=True):
        foretold.append(before)
        before = rate
        events, expected, square = events * keeps, expected * keeps, square * twice
        if worth > 0.0:
            mean = worth * (rate if ripe >= 24 else opening)
            if abs(x - mean) > _LEAST_CUT * mean:  # (an hour that is nearer is never cut)
                x = cut(x, mean, scale, p)
            events, expected, square = events + x, expected + worth, square + x
            ripe += 1
        if expected > 0.0:
            rate = (events + HALF) / (expected + HALF)
    return (events, expected, square), foretold


def told_of(
    worths: Sequence[float], xs: Sequence[float], ns: Sequence[float], first: float, foretold: Sequence[float],
    start: float,
) -> Told:  # fmt: skip
    """What was foretold for each hour, once the level was a day old (or has to do)."""
    seen = round((start - first) / HOUR_S)
    skip = seen + (24 if len(xs) - seen > 72 else 2)
    opened = round(first / HOUR_S)
    if 0.0 not in worths[skip:]:
        means = list(map(mul, worths[skip:], foretold[skip:]))
        return Told(_numbers(opened + skip, len(xs) - skip), xs[skip:], means, ns[skip:])
    kept = [k for k in range(skip, len(xs)) if worths[k] > 0.0]
    return Told(
        tuple([opened + k for k in kept]),
        [xs[k] for k in kept],
        [worths[k] * foretold[k] for k in kept],
        [ns[k] for k in kept],
    )


@lru_cache(maxsize=64)
def _numbers(first: int, count: int) -> tuple[int, ...]:
    return tuple(range(first, first + count))


def trials_of(seen: Lessons) -> list[float]:
    """Trials a minute in each slot of the week: of that slot, else of that hour of the day, else of all."""
    places = seen.sorting()
    trials = places.order(seen.n)
    sums, counts = [0.0] * SLOTS, [0] * SLOTS
    for slot, count, gather in places.by_slot:
        sums[slot], counts[slot] = sum(gather(trials)), count
    overall = sum(sums) / sum(counts)
    hours = [
        sum(sums[hour::24]) / count if (count := sum(counts[hour::24])) else overall for hour in range(24)
    ]  # fmt: skip
    return [
        (total / count if count else hours[slot % 24]) / 60.0
        for slot, (total, count) in enumerate(zip(sums, counts, strict=True))
    ]

"""The shape of a week: what hourly rates are worth against each other, hour by hour of the local week.

Three layers, each shrunk toward nothing as far as its own noise explains it (empirical Bayes; Morris 1983,
doi 10.1080/01621459.1983.10477920): the hour of the day, the day of the week, and what a slot of the week adds to both.
On a stream without a shape that leaves a flat profile and adds no noise of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import median

from rollback_console.decide.calendar import SLOTS
from rollback_console.decide.dispersion import variance_ratio
from rollback_console.model.value import dataclass

# What is not known yet, as standard deviations of the rate: how the hours of a day, and the days of a week, differ.
UNSEEN_HOUR, UNSEEN_DAY = 0.05, 0.02
_WANDER = 0.02  # hours vary by this much beyond their counts: no hour weighs without bound
_KNOWN = 0.25  # of the spread of what was seen counts: evidence adds up over several hours, whose errors differ
_CUT = 4.0  # standard deviations at which an hour is cut
_TREND_DAYS, _DAYS, _REPEATED = 14, 7, 10  # days: for a trend; in a week; until days of the week have repeated
_RARE = 20.0  # events a day below which days have no rate of their own


@dataclass(frozen=True, slots=True)
class Lesson:
    """One hour of history that is learned from: hours since the window began, slot of the week, events, trials."""

    hour: int
    slot: int
    x: float
    n: float


@dataclass(frozen=True, slots=True)
class Shape:
    """`factors[slot]` times the level is the rate; `spreads[slot]`: the relative variance of what is known of that.
    `scale`: the variance of hours over what `weight` expects of them."""

    factors: tuple[float, ...]
    spreads: tuple[float, ...]
    scale: float


def weight(expected: float, p: float) -> float:
    """One over the relative variance that an hour of `expected` events is taken to have."""
    return 1.0 / ((1.0 - p) / expected + _WANDER * _WANDER)


def shape_of(seen: Sequence[Lesson], days: int, p: float) -> Shape:
    """The shape behind the hours `seen` (in order), of a stretch of `days` whose overall rate is p > 0. O(hours)."""
    levels = _daily_levels(seen, days, p)
    by_hour: list[list[tuple[float, float, Lesson]]] = [[] for _ in range(24)]
    for one in seen:
        level = levels[one.hour // 24]
        by_hour[one.slot % 24].append((one.x / (one.n * level) - 1.0, weight(one.n * level, p), one))
    squares, middles = [], []
    for group in by_hour:
        middle = median([each[0] for each in group]) if len(group) > 2 else 0.0
        middles.append(middle)
        squares += [(value - middle) ** 2 * trust for value, trust, _ in group]
    scale = max(variance_ratio(squares), 1e-6)
    cut = [
        (one, middle + min(max(value - middle, -reach), reach), trust)
        for group, middle in zip(by_hour, middles, strict=True)
        for value, trust, one in group
        for reach in (_CUT * sqrt(scale / trust),)
    ]
    hours = _layer([(one.slot % 24, value, trust) for one, value, trust in cut], 24, scale)
    left = [(one, value - hours[0][one.slot % 24], trust) for one, value, trust in cut]
    day_means = _means(((one.hour // SLOTS) * 7 + one.slot // 24, value, trust) for one, value, trust in left)
    whole = [(key % 7, total / trust, 1.0) for key, (total, trust, count) in day_means.items() if count >= 12]
    weekdays = _layer(whole, 7)
    rest = _layer([(one.slot, value - weekdays[0][one.slot // 24], 1.0) for one, value, _ in left], SLOTS)
    known_hours = {one.slot % 24 for one in seen}
    known_days = len({key for key, _, _ in whole}) == 7 and len(whole) >= _REPEATED
    factors, spreads = [], []
    for slot in range(SLOTS):
        hour, day = slot % 24, slot // 24
        factor = (1.0 + hours[0][hour]) * (1.0 + weekdays[0][day]) * (1.0 + rest[0][slot])
        factors.append(min(max(factor, 0.05), 20.0))
        spreads.append(
            (_KNOWN * hours[1][hour] if hour in known_hours else UNSEEN_HOUR**2)
            + (_KNOWN * weekdays[1][day] if known_days else UNSEEN_DAY**2)
            + _KNOWN * rest[1][slot]
        )
    squares = [
        (value - weekdays[0][one.slot // 24] - rest[0][one.slot]) ** 2 * trust for one, value, trust in left
    ]  # fmt: skip
    return Shape(tuple(factors), tuple(spreads), max(variance_ratio(squares), 1e-6))


def _layer(
    values: Sequence[tuple[int, float, float]], groups: int, scale: float | None = None
) -> tuple[list[float], list[float]]:
    """(effect, its variance) of each group of (group, value, trust), shrunk. With `scale` a value's variance is
    scale / trust; without, it is read off what groups differ by within themselves, and where nothing repeats often
    enough to tell, there is no effect."""
    means = _means(values)
    effects, variances = [0.0] * groups, [0.0] * groups
    if len(means) < 2:
        return effects, variances
    middles = {key: total / trust for key, (total, trust, _) in means.items()}
    if scale is None:
        repeats = len(values) - len(means)
        if repeats < max(3, groups // 7):
            return effects, variances
        within = sum((value - middles[key]) ** 2 for key, value, _ in values) / repeats
        errors = {key: within / count for key, (_, _, count) in means.items()}
    else:
        errors = {key: scale / trust for key, (_, trust, _) in means.items()}
    centre = sum(middles.values()) / len(middles)
    spread = sum((middle - centre) ** 2 for middle in middles.values()) / (len(middles) - 1)
    real = max(0.0, spread - sum(errors.values()) / len(errors))
    for key, middle in middles.items():
        kept = real / (real + errors[key]) if real > 0.0 else 0.0
        effects[key], variances[key] = kept * (middle - centre), kept * errors[key]
    return effects, variances


def _means(values: Iterable[tuple[int, float, float]]) -> dict[int, tuple[float, float, int]]:
    """(trust x value, trust, count), summed by group."""
    totals: dict[int, float] = defaultdict(float)
    trusts: dict[int, float] = defaultdict(float)
    counts: dict[int, int] = defaultdict(int)
    for key, value, trust in values:
        totals[key] += value * trust
        trusts[key] += trust
        counts[key] += 1
    return {key: (total, trusts[key], counts[key]) for key, total in totals.items()}


def _daily_levels(seen: Sequence[Lesson], days: int, p: float) -> list[float]:
    """The slow level on each day of the stretch: the median of the seven days around it, each weekday once; toward
    both ends along the trend between. p where days have too few events, or there are too few days."""
    events, trials = [0.0] * days, [0.0] * days
    for one in seen:
        events[one.hour // 24] += one.x
        trials[one.hour // 24] += one.n
    known = [day for day in range(days) if trials[day] > 0.0]
    if len(known) <= _DAYS or sum(events) < _RARE * len(known):
        return [p] * days
    rates = [events[day] / trials[day] for day in known]
    half = _DAYS // 2
    middles = [median(rates[k - half : k + half + 1]) for k in range(half, len(known) - half)]
    slope = (middles[-1] - middles[0]) / (len(middles) - 1) if len(known) >= _TREND_DAYS else 0.0
    least = 0.2 * min(middles)
    if least <= 0.0:
        return [p] * days
    found = [p] * days
    for k, day in enumerate(known):
        nearest = min(max(k - half, 0), len(middles) - 1)
        found[day] = max(middles[nearest] + slope * (k - half - nearest), least)
    return found

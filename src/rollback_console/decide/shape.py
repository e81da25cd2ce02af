"""The shape of a week: what hourly rates are worth against each other, hour by hour of the local week.

Three layers, each shrunk toward nothing as far as its own noise explains it (empirical Bayes; Morris 1983,
doi 10.1080/01621459.1983.10477920): the hour of the day, the day of the week, and what a slot of the week adds to both.
On a stream without a shape that leaves a flat profile and adds no noise of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from operator import mul
from statistics import median

from rollback_console.decide.calendar import SLOTS
from rollback_console.decide.dispersion import variance_ratio
from rollback_console.decide.lessons import Lessons, Sorting
from rollback_console.model.value import dataclass

# What is not known yet, as standard deviations of the rate: how the hours of a day, and the days of a week, differ.
UNSEEN_HOUR, UNSEEN_DAY = 0.05, 0.02
_WANDER = 0.02  # hours vary by this much beyond their counts: no hour weighs without bound
WANDERING = _WANDER * _WANDER
_KNOWN = 0.25  # of the spread of what was seen counts: evidence adds up over several hours, whose errors differ
_CUT = 4.0  # standard deviations at which an hour is cut
_TREND_DAYS, _DAYS, _REPEATED = 14, 7, 10  # days: for a trend; in a week; until days of the week have repeated
_RARE = 20.0  # events a day below which days have no rate of their own

Layer = tuple[list[float], list[float]]  # (effect, its variance) of each group


@dataclass(frozen=True, slots=True)
class Shape:
    """`factors[slot]` times the level is the rate; `spreads[slot]`: the relative variance of what is known of that.
    `scale`: the variance of hours over what `weight` expects of them."""

    factors: tuple[float, ...]
    spreads: tuple[float, ...]
    scale: float


def weight(expected: float, p: float) -> float:
    """One over the relative variance that an hour of `expected` events is taken to have."""
    return 1.0 / ((1.0 - p) / expected + WANDERING)


def shape_of(seen: Lessons, days: int, p: float) -> Shape:
    """The shape behind the hours `seen`, of a stretch of `days` whose overall rate is p > 0. O(hours)."""
    places = seen.sorting()
    levels = _daily_levels(seen, places, days, p)
    values, trusts = _against(seen, places, levels, 1.0 - p)
    values, scale = _cut_by_hour(values, trusts, places)
    totals = {
        hour: (sum(map(mul, trusts[low:high], values[low:high])), sum(trusts[low:high]), high - low)
        for hour, low, high in places.ends
    }
    hours = _shrunk(totals, 24, {hour: scale / trust for hour, (_, trust, _) in totals.items()})
    left = [
        value - effect for hour, low, high in places.ends for effect in (hours[0][hour],) for value in values[low:high]
    ]
    weekdays, known_days = _weekdays(left, trusts, places)
    within = weekdays[0]
    left = [value - within[day] for value, day in zip(left, places.weekday_of, strict=True)]
    rest = _slots(left, places)
    squares = [
        off * off * trust
        for value, slot, trust in zip(left, places.slot_of, trusts, strict=True)
        for off in (value - rest[0][slot],)
    ]
    factors, spreads = _together(hours, weekdays, rest, {hour for hour, _, _ in places.ends}, known_days)
    return Shape(factors, spreads, max(variance_ratio(squares), 1e-6))


def _against(seen: Lessons, places: Sorting, levels: Sequence[float], free: float) -> tuple[list[float], list[float]]:
    """(rates over their day's level less one, trust in each), by hour of the day. `free`: 1 - p."""
    values, trusts = [], []
    for day, x, n in zip(places.day_of, places.order(seen.x), places.order(seen.n), strict=True):
        expected = n * levels[day]
        values.append(x / expected - 1.0)
        trusts.append(1.0 / (free / expected + WANDERING))
    return values, trusts


def _cut_by_hour(values: list[float], trusts: list[float], places: Sorting) -> tuple[list[float], float]:
    """(the values, none further than four standard deviations from its hour's median; the scale of their noise)."""
    squares: list[float] = []
    middles = []
    for _, low, high in places.ends:
        group = values[low:high]
        middle = median(group) if high - low > 2 else 0.0
        middles.append(middle)
        squares += [
            (value - middle) * (value - middle) * trust for value, trust in zip(group, trusts[low:high], strict=True)
        ]
    scale = max(variance_ratio(squares), 1e-6)
    farthest = _CUT * _CUT * scale
    cut: list[float] = []
    for (_, low, high), middle in zip(places.ends, middles, strict=True):
        group = values[low:high]
        if max(squares[low:high]) > farthest:
            for k in range(low, high):
                if squares[k] > farthest:
                    reach = _CUT * sqrt(scale / trusts[k])
                    group[k - low] = middle + (reach if values[k] > middle else -reach)
        cut += group
    return cut, scale


def _weekdays(left: list[float], trusts: list[float], places: Sorting) -> tuple[Layer, bool]:
    """(the days of the week, whether they were seen well enough to know them), of what the hours leave."""
    trusted = list(map(mul, trusts, left))
    whole = [(day, sum(gather(trusted)) / sum(gather(trusts))) for day, gather in places.whole]
    known = len({day for day, _ in whole}) == 7 and len(whole) >= _REPEATED
    return _layer(whole, 7), known


def _slots(left: list[float], places: Sorting) -> Layer:
    """The slots of the week, of what hours and days of the week leave."""
    totals = {slot: (sum(gather(left)), float(count), count) for slot, count, gather in places.by_slot}
    repeats = len(left) - len(totals)
    if len(totals) < 2 or repeats < max(3, SLOTS // 7):
        return [0.0] * SLOTS, [0.0] * SLOTS
    middles = {slot: total / count for slot, (total, count, _) in totals.items()}
    within = sum([(value - middles[slot]) ** 2 for value, slot in zip(left, places.slot_of, strict=True)]) / repeats
    return _shrunk(totals, SLOTS, {slot: within / count for slot, (_, _, count) in totals.items()})


def _together(
    hours: Layer, weekdays: Layer, rest: Layer, known_hours: set[int], known_days: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(factors, spreads) of the slots."""
    factors, spreads = [], []
    hour_spreads = [_KNOWN * hours[1][hour] if hour in known_hours else UNSEEN_HOUR**2 for hour in range(24)]
    for day in range(7):
        day_factor = 1.0 + weekdays[0][day]
        day_spread = _KNOWN * weekdays[1][day] if known_days else UNSEEN_DAY**2
        for hour in range(24):
            slot = 24 * day + hour
            factor = (1.0 + hours[0][hour]) * day_factor * (1.0 + rest[0][slot])
            factors.append(0.05 if factor < 0.05 else 20.0 if factor > 20.0 else factor)
            spreads.append(hour_spreads[hour] + day_spread + _KNOWN * rest[1][slot])
    return tuple(factors), tuple(spreads)


def _layer(values: Sequence[tuple[int, float]], groups: int) -> Layer:
    """(effect, its variance) of each group of (group, value), shrunk by what groups differ by within themselves; where
    nothing repeats often enough to tell, there is no effect."""
    totals = _totals(values)
    repeats = len(values) - len(totals)
    if len(totals) < 2 or repeats < max(3, groups // 7):
        return [0.0] * groups, [0.0] * groups
    middles = {key: total / trust for key, (total, trust, _) in totals.items()}
    within = sum([(value - middles[key]) ** 2 for key, value in values]) / repeats
    return _shrunk(totals, groups, {key: within / count for key, (_, _, count) in totals.items()})


def _totals(values: Iterable[tuple[int, float]]) -> dict[int, tuple[float, float, int]]:
    """(sum, trust, count) by group; every value is trusted alike."""
    found: dict[int, tuple[float, float, int]] = {}
    for key, value in values:
        total, trust, count = found.get(key, (0.0, 0.0, 0))
        found[key] = (total + value, trust + 1.0, count + 1)
    return found


def _shrunk(totals: Mapping[int, tuple[float, float, int]], groups: int, errors: Mapping[int, float]) -> Layer:
    """(effect, its variance) of each group, given (sum of trust x value, trust, count) of those that were seen, and the
    variance of each one's mean."""
    effects, variances = [0.0] * groups, [0.0] * groups
    if len(totals) < 2:
        return effects, variances
    middles = {key: total / trust for key, (total, trust, _) in totals.items()}
    centre = sum(middles.values()) / len(middles)
    spread = sum([(middle - centre) ** 2 for middle in middles.values()]) / (len(middles) - 1)
    real = max(0.0, spread - sum(errors.values()) / len(errors))
    if real > 0.0:
        for key, middle in middles.items():
            error = errors[key]
            kept = real / (real + error)
            effects[key], variances[key] = kept * (middle - centre), kept * error
    return effects, variances


def _daily_levels(seen: Lessons, places: Sorting, days: int, p: float) -> list[float]:
    """The slow level on each day of the stretch: the median of the seven days around it, each weekday once; toward
    both ends along the trend between. p where days have too few events, or there are too few days."""
    x, n = seen.x, seen.n
    events = [sum(x[low:high]) for _, low, high in places.days]
    if len(events) <= _DAYS or sum(events) < _RARE * len(events):
        return [p] * days
    rates = [total / sum(n[low:high]) for total, (_, low, high) in zip(events, places.days, strict=True)]
    half = _DAYS // 2
    middles = [median(rates[k - half : k + half + 1]) for k in range(half, len(rates) - half)]
    slope = (middles[-1] - middles[0]) / (len(middles) - 1) if len(rates) >= _TREND_DAYS else 0.0
    least = 0.2 * min(middles)
    if least <= 0.0:
        return [p] * days
    found = [p] * days
    for k, (day, _, _) in enumerate(places.days):
        nearest = min(max(k - half, 0), len(middles) - 1)
        found[day] = max(middles[nearest] + slope * (k - half - nearest), least)
    return found

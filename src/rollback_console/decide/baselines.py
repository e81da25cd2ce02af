"""The learned baseline: a time-of-week profile times a slow level, and how much is known of it.

Everything is a function of the hours of history and of fixed times, never of when somebody began to look: a console
opened cold and one that watched all along learn the same numbers, bit for bit.

- Hours are sums over [h, h + 1 h) UTC. What is judged at t is compared with what was learned at the full hour before t,
  from hours that ended at least `LAG_S` earlier: a degradation does not become its own baseline.
- The profile is learned at `anchor_of`: each midnight UTC, and each hour while less than a day of history is there.
- The level is followed from there, hour by hour: events over expected events, each hour weighing half after a day.
  An hour far off counts as one that is a little off, so that an incident nobody named moves the level little.
- The margin is clip(1.25 s_slow, 0.5 %, 5 %) + 2 se(p). `s_slow`: the robust standard deviation of 6 h residuals of
  this very baseline, beyond sampling noise. se: the level's counts (overdispersed), the profile's spread, and, while
  hours of the day or days of the week were not seen yet, what they may differ by.

Cost: `learn` is linear in the hours (672 for four weeks: under 2 ms), `follow` at most 24 steps, a norm about 80 us.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress
from math import floor, nan, sqrt

from rollback_console.decide.budget import caution
from rollback_console.decide.calendar import HOUR_S, LAG_S, SLOTS, Calendar, hour_of, lessons, touched
from rollback_console.decide.dispersion import (
    LONGEST,
    SHORT_MINUTES,
    Block,
    blocks_of,
    blocks_together,
    dispersion,
    measured,
    phi_at,
)
from rollback_console.decide.fitting import HALF, KEEPS, cut, floats, opening_of, told_of, tracked, trials_of, worths_of
from rollback_console.decide.lessons import taught
from rollback_console.decide.residuals import long_noise, slow_error
from rollback_console.decide.shape import Shape, shape_of
from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Stretch, Worse
from rollback_console.model.value import dataclass

LEAST_MARGIN, MOST_MARGIN = 0.005, 0.05
CONTROL_MARGIN = 0.01
_DAYS_RESIDUALS = 8.0  # residuals of 6 h in two days
_MOST_P, _LEAST_P = 0.999, 1e-7


@dataclass(frozen=True, slots=True)
class Hours:
    """Hourly sums of one signal: events x[k] out of trials n[k] in [start + k h, start + (k + 1) h). NaN: unknown."""

    start: float
    x: Sequence[float]
    n: Sequence[float]

    def cut(self, first: float, count: int) -> tuple[Sequence[float], Sequence[float]]:
        """x and n of `count` hours from `first` on; unknown where these hours do not reach."""
        k = round((first - self.start) / HOUR_S)
        if k >= 0 and k + count <= len(self.x):
            return self.x[k : k + count], self.n[k : k + count]
        wanted = range(k, k + count)
        inside = range(len(self.x))
        return [self.x[j] if j in inside else nan for j in wanted], [self.n[j] if j in inside else nan for j in wanted]


@dataclass(frozen=True, slots=True)
class Windows:
    """Single windows of one signal: events x[k] out of n[k] in the window that ends at start + (k + 1) step."""

    start: float
    step: float
    x: Sequence[float]
    n: Sequence[float]


@dataclass(frozen=True, slots=True)
class Level:
    """The slow level: weighted sums of events and of the trials times their factors, over hours that ended by
    `through`; `square`: of events by the square of their weights (the variance of the first, of binomial counts)."""

    through: float
    events: float
    expected: float
    square: float

    @property
    def rate(self) -> float:
        return (self.events + HALF) / (self.expected + HALF)

    @property
    def variance(self) -> float:
        """Relative, of binomial counts."""
        return (self.square + HALF) / (self.events + HALF) ** 2


@dataclass(frozen=True, slots=True)
class Profile:
    """What the history before `anchor` (Unix seconds) says of one signal.

    `factors`, `spreads`, `trials`: per slot of the week, the rate over the level, its relative variance, trials a
    minute. `level`: as of the anchor. `hours`: of history behind it, `since`: the first of them began. `slow`: s_slow,
    read off `slow_worth` residuals. `long`: the noise of blocks of hours. `scale`: of single hours (`shape.weight`).
    `per_minute`: trials a minute, over all.
    """

    anchor: float
    factors: array[float]
    spreads: array[float]
    trials: array[float]
    level: Level
    hours: int
    since: float
    slow: float
    slow_worth: int
    long: tuple[Block, ...]
    scale: float
    per_minute: float

    def factor(self, position: float) -> float:
        """The rate over the level at a position in the week (`Calendar.position`), gliding between hours."""
        return _between(self.factors, position)


def _between(values: Sequence[float], position: float) -> float:
    slot = floor(position)
    share = position - slot
    return (1.0 - share) * values[slot % SLOTS] + share * values[(slot + 1) % SLOTS]


def since_of(hours: Hours, before: float, history_s: float) -> float | None:
    """When the history of at most `history_s` before the full hour `before` begins: its first hour with trials."""
    count = max(1, round(history_s / HOUR_S))
    first = before - LAG_S - count * HOUR_S
    seen = next(compress(range(count), map((0.0).__lt__, hours.cut(first, count)[1])), None)
    return None if seen is None else first + seen * HOUR_S


def learn(
    hours: Hours, anchor: float, history_s: float, calendar: Calendar, excluded: tuple[Stretch, ...] = ()
) -> Profile | None:
    """What the `history_s` before `anchor` (a full hour) say; None where there is not an hour of it. Hours that an
    excluded stretch touches, and holidays, might as well not have been."""
    found = _fitted(hours, anchor, history_s, calendar, excluded)
    return found[0] if found is not None else None


def follow(profile: Profile, hours: Hours, at: float, calendar: Calendar, excluded: tuple[Stretch, ...] = ()) -> Level:
    """The level in force at `at`, at or after the profile's anchor: from hours that ended `LAG_S` before the full
    hour."""
    first, end = profile.level.through, hour_of(at) - LAG_S
    count = round((end - first) / HOUR_S)
    if count <= 0:
        return profile.level
    slots = lessons(calendar, excluded, first, count)
    xs, ns = hours.cut(first, count)
    level = profile.level
    p = level.rate
    for slot, x, n in zip(slots, xs, ns, strict=True):
        level = _stepped(level, profile, slot, x, n, level.rate, p)
    return level


def _stepped(level: Level, known: Profile | Shape, slot: int, x: float, n: float, rate: float, p: float) -> Level:
    """The level an hour later: an hour that is no lesson only ages what was."""
    events, expected, square = level.events * KEEPS, level.expected * KEEPS, level.square * KEEPS * KEEPS
    if slot >= 0 and n > 0.0 and x >= 0.0:
        worth = n * known.factors[slot]
        x = cut(x, worth * rate, known.scale, p)
        events, expected, square = events + x, expected + worth, square + x
    return Level(level.through + HOUR_S, events, expected, square)


def fitted(
    hours: Hours, anchor: float, history_s: float, calendar: Calendar, excluded: tuple[Stretch, ...]
) -> tuple[Profile, dict[float, float]] | None:
    """The profile, and for each hour of the history (by its beginning) the rate that was foretold for it, of its
    factor freed: what the level was when that hour was judged."""
    found = _fitted(hours, anchor, history_s, calendar, excluded)
    if found is None:
        return None
    profile, first, foretold = found
    return profile, {first + k * HOUR_S: rate for k, rate in enumerate(foretold)}


def _fitted(
    hours: Hours, anchor: float, history_s: float, calendar: Calendar, excluded: tuple[Stretch, ...]
) -> tuple[Profile, float, list[float]] | None:
    """As `fitted`: the profile, the first hour's beginning, what was foretold for each from there on."""
    end, count = anchor - LAG_S, max(1, round(history_s / HOUR_S))
    first = end - count * HOUR_S
    slots = lessons(calendar, excluded, first, count)
    xs, ns = (floats(each) for each in hours.cut(first, count))
    behind = -count % 24  # days are counted back from the end
    seen = taught(slots, xs, ns, behind)
    if not seen.hours:
        return None
    events, trials = sum(seen.x), sum(seen.n)
    p = min((events + HALF) / (trials + HALF), _MOST_P)
    shape = shape_of(seen, (count + behind) // 24, p)
    start = first + (seen.hours[0] - behind) * HOUR_S
    worths = worths_of(seen, shape, slots, xs, ns)
    reached, foretold = tracked(worths, xs, shape.scale, opening_of(seen, shape, p), p)
    level = Level(first + count * HOUR_S, *reached)
    told = told_of(worths, xs, ns, first, foretold, start)
    long = long_noise(told, p)
    slow, worth = slow_error(told, p, phi_at(long, LONGEST))
    profile = Profile(
        anchor, array("f", shape.factors), array("f", shape.spreads), array("f", trials_of(seen)), level,
        len(seen.hours), start, slow, worth, long, shape.scale, trials / len(seen.hours) / 60.0,
    )  # fmt: skip
    return profile, first, foretold


def short_noise(
    hours: Hours, anchor: float, history_s: float, calendar: Calendar, excluded: tuple[Stretch, ...],
    stretches: Sequence[Windows],
) -> tuple[Block, ...]:  # fmt: skip
    """The noise of short blocks (1, 5, 15 minutes, in whole windows) on `stretches` of single windows before `anchor`
    (`noise_anchor`), against what was foretold for them."""
    found = fitted(hours, anchor, history_s, calendar, excluded)
    if found is None:
        return ()
    profile, foretold = found
    p = min(profile.level.rate, _MOST_P)
    squares: dict[int, list[float]] = {}
    trials = count = 0.0
    step = 60.0
    for stretch in stretches:
        step = stretch.step
        end = stretch.start + len(stretch.x) * step
        if touched(excluded, stretch.start, end) or calendar.is_holiday(stretch.start):
            continue
        expected = expected_in(stretch, profile, foretold, calendar)
        seen = [n for n in stretch.n if n > 0.0]
        trials, count = trials + sum(seen), count + len(seen)
        for width in {max(1, round(minutes * 60.0 / step)) for minutes in SHORT_MINUTES}:
            squares.setdefault(width, []).extend(blocks_of(stretch.x, expected, width, p))
    pace = trials / count * 60.0 / step if count else 0.0
    blocks: list[Block] = []
    for width in sorted(squares):
        if width * step < HOUR_S:
            blocks += measured(width * step / 60.0, squares[width], pace)
    return tuple(blocks)


def expected_in(stretch: Windows, profile: Profile, foretold: Mapping[float, float], calendar: Calendar) -> list[float]:
    """The events that were foretold for each window of a stretch within one hour; NaN where nothing was."""
    rate, factors = foretold.get(hour_of(stretch.start), profile.level.rate), profile.factors
    places = _places_in(calendar, stretch.start, stretch.step, len(stretch.n))
    return [
        n * rate * ((1.0 - share) * factors[slot] + share * factors[after]) if slot >= 0 else nan
        for n, (slot, after, share) in zip(stretch.n, places, strict=True)
    ]


@lru_cache(maxsize=512)
def _places_in(calendar: Calendar, start: float, step: float, count: int) -> tuple[tuple[int, int, float], ...]:
    """Where in the week each of `count` windows lies: (slot, the one after, how far on the way to it), as `_between`
    takes it; a slot of -1 where it is not judged. Shared by all signals of one calendar."""
    found = []
    for k in range(count):
        position = calendar.position(start + (k + 0.5) * step)
        if position is None:
            found.append((-1, -1, 0.0))
        else:
            slot = floor(position)
            found.append((slot % SLOTS, (slot + 1) % SLOTS, position - slot))
    return tuple(found)


def rate_at(profile: Profile, level: Level, position: float) -> float:
    """The baseline p at a position in the week."""
    return min(max(level.rate * profile.factor(position), _LEAST_P), _MOST_P)


def error_of(profile: Profile, level: Level, position: float, noise: Sequence[Block]) -> float:
    """se(p) over p: the level's own counts, and the profile's spread. The counts are overdispersed as blocks of four
    hours are, as far as s_slow, which measures the very same error, is not yet read off a few days."""
    unknown = _DAYS_RESIDUALS / (_DAYS_RESIDUALS + profile.slow_worth)
    phi = 1.0 + unknown * (phi_at(noise, LONGEST, profile.per_minute) - 1.0)
    return sqrt(level.variance * phi + _between(profile.spreads, position))


def margin_of(rule: EvidenceRule, slow: float, error: float, worse: Worse) -> float:
    """m, a fraction of the baseline: the policy's own, or clip(1.25 s_slow, the least, 5 %); plus two standard errors
    of the baseline either way. Of both there is more where the budget is a share of a large rotation's."""
    more = caution(rule.budget_s)
    own = rule.margin if rule.margin is not None else min(max(1.25 * more * slow, rule.least_margin), MOST_MARGIN)
    margin = own + 2.0 * more * error
    return min(margin, 0.9) if worse is Worse.LOWER else min(margin, 9.0)


def control_margin(rule: EvidenceRule | None) -> float:
    """m beside a control: the policy's own, or 1 % (the least, where that is more). The control's own noise is part of
    the likelihood, so nothing is added for it."""
    if rule is None:
        return CONTROL_MARGIN
    return rule.margin if rule.margin is not None else max(CONTROL_MARGIN, rule.least_margin)


def norm_of(
    profile: Profile, level: Level, short: Sequence[Block], rule: EvidenceRule, worse: Worse, position: float
) -> tuple[float, Norm]:
    """(p, norm) of a signal at a position in the week."""
    noise = blocks_together(short, profile.long)
    p = rate_at(profile, level, position)
    margin = margin_of(rule, profile.slow, error_of(profile, level, position, noise), worse)
    trials = _between(profile.trials, position)
    return p, Norm(margin, dispersion(worse, rule, p, margin, trials, noise))


def week_before(
    hours: Hours, at: float, calendar: Calendar, excluded: tuple[Stretch, ...] = ()
) -> tuple[float, float] | None:
    """(rate, its relative variance) of the three hours around the same local time a week before `at`, or another week
    earlier (up to four) where nothing may be learned from that one; None where nothing was seen. Three hours, because
    one window would be too few events to compare with."""
    for _ in range(4):
        at = calendar.week_before(at)
        first = hour_of(at - HOUR_S)
        events = trials = 0.0
        for slot, x, n in zip(lessons(calendar, excluded, first, 3), *hours.cut(first, 3), strict=True):
            if slot >= 0 and n > 0.0 and x >= 0.0:
                events, trials = events + x, trials + n
        if trials:
            return min(max((events + HALF) / (trials + HALF), _LEAST_P), _MOST_P), 1.0 / (events + HALF)
    return None


def norm_beside(
    profile: Profile, short: Sequence[Block], rule: EvidenceRule, worse: Worse, position: float, p: float,
    variance: float = 0.0,
) -> Norm:  # fmt: skip
    """The norm of a signal whose baseline p is not this one (a fixed value, last week), but whose noise is. `variance`:
    of p, relative, of binomial counts. A baseline that does not follow the level is off by more than one that does, by
    the root of two where it was the level once."""
    noise = blocks_together(short, profile.long)
    slow = profile.slow * (sqrt(2.0) if variance else 1.0)
    error = sqrt(variance * phi_at(noise, 180.0, profile.per_minute))
    margin = margin_of(rule, slow, error, worse)
    return Norm(margin, dispersion(worse, rule, p, margin, _between(profile.trials, position), noise))


def little(profile: Profile, history_s: float) -> float | None:
    """The hours of history behind a baseline where they are less than was asked for, a tenth of gaps aside."""
    return float(profile.hours) if profile.hours < 0.9 * history_s / HOUR_S else None

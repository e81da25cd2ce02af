"""What history says of a gauge: the value that it rarely passes, hour of the day by hour, and how often it does.

A gauge's values are nobody's events. What can be counted is how often it lies beyond what its history rarely passed
(`decide.ranks`): x samples out of n, which evidence weighs as it does any others. Here hours of such counts are made of
samples, and the learned baseline of shares (`decide.baselines`) is learned from them.

- *Bands*: for each hour of the local day the bound that one in twenty of the samples around that hour passed on the
  worse side, of the whole history; for `last_week` of the same hour of the week. Where an hour was seen on too few
  days, of all hours. One in twenty, because what matters is then many times as frequent, even where days differ.
- *Out of sample*: the hours of the history are counted against a band learned from the *other* days. A day that helped
  to make its own bound would look calmer than the next one will be.
- *Autocorrelation* is the trap: a gauge that is beyond its bound now is so a minute later, and sixty such samples say
  hardly more than one. The dispersion (variance over the binomial's, in blocks of minutes and hours) is measured on
  this very history and divides the evidence. History is sampled more sparsely than it is judged: what its blocks of
  hours spread by beyond chance counts as many times as samples are judged for each, and to it comes what neighbours
  have in common, which is seen in single windows. All of it is measured at a bound that a fifth passes: what is rarer
  resembles itself no longer, and too seldom to measure it.
- The share counts as no smaller than in the whole history: after a calm day, its usual share is no degradation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import copysign, inf, isfinite, nan, sqrt

from rollback_console.decide.baselines import Hours, Level, Profile, Windows, error_of, rate_at
from rollback_console.decide.budget import caution
from rollback_console.decide.calendar import HOUR_S, LAG_S, SLOTS, Calendar, lessons
from rollback_console.decide.dispersion import COUNTED, Block, blocks_together, dispersion, phi_at
from rollback_console.decide.ranks import SELDOM, beyond
from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Stretch, Worse
from rollback_console.model.value import dataclass

LEAST_HOURS = 24  # of history before a gauge is judged at all
_OWN_DAYS = 3  # days that an hour must have been seen on to have a bound of its own
_MOST_MARGIN, _MOST_SHARE = 9.0, 0.9
_SLOW = 2.5  # s_slow: days whose level differs by half a deviation differ in their share beyond by a factor
_ERROR_MINUTES = 180.0  # the block in which the samples around an hour lie


@dataclass(frozen=True, slots=True)
class Noise:
    """How a gauge resembles itself: blocks of minutes, judged evaluation by evaluation, and of hours, of its samples
    (`per_minute` of them); `slow`: s_slow of their share beyond."""

    short: Sequence[Block]
    long: Sequence[Block]
    per_minute: float
    slow: float


Pool = list[tuple[float, int]]  # (value, day), the worst first


@dataclass(frozen=True, slots=True)
class Samples:
    """A gauge's history: values[k] was seen at start + (k + 1) step, NaN where nothing was. Steps make whole hours."""

    start: float
    step: float
    values: Sequence[float]

    @property
    def per_hour(self) -> int:
        return round(HOUR_S / self.step)

    def hour(self, start: float) -> Sequence[float]:
        """The samples in the hour that begins at `start`; none where history does not reach."""
        k = round((start - self.start) / self.step)
        return self.values[k : k + self.per_hour] if k >= 0 else ()


@dataclass(frozen=True, slots=True)
class Bands:
    """What a gauge rarely passed. `bounds`, `middles`: per slot of the week its bound and its median; `spared[slot]`:
    the bound without each day (counted back from the end). `pool`: samples behind the poorest bound. `hours`: seen
    before `end`."""

    end: float
    bounds: tuple[float, ...]
    middles: tuple[float, ...]
    spared: tuple[dict[int, float], ...]
    pool: int
    hours: int

    def bound(self, slot: int, day: int | None = None) -> float:
        """The bound of a slot, as the days other than `day` have it."""
        return self.bounds[slot] if day is None else self.spared[slot].get(day, self.bounds[slot])


def bands(
    samples: Samples, anchor: float, history_s: float, calendar: Calendar, excluded: tuple[Stretch, ...], worse: Worse,
    *, share: float = SELDOM, weekly: bool = False,
) -> Bands | None:  # fmt: skip
    """The bands that `share` of the samples in the `history_s` before `anchor` (a full hour) passed; None where there
    is less than a day of them. `weekly`: of the hours of the week instead of the day. O(samples x days)."""
    end, count = anchor - LAG_S, max(1, round(history_s / HOUR_S))
    first = end - count * HOUR_S
    groups: dict[int, Pool] = {}
    whole: Pool = []
    hours = 0
    width = SLOTS if weekly else 24
    for k, slot in enumerate(lessons(calendar, excluded, first, count)):
        if slot < 0:
            continue
        seen = [(value, (count - 1 - k) // 24) for value in samples.hour(first + k * HOUR_S) if isfinite(value)]
        hours += bool(seen)
        groups.setdefault(slot % width, []).extend(seen)
        whole += seen
    if hours < LEAST_HOURS:
        return None
    found = {slot: _around(groups, slot, width, worse) for slot in range(width)}
    _sort(whole, worse)
    shared = _band(whole, share)
    own = {
        slot: _band(pool, share) if len({day for _, day in pool}) >= _OWN_DAYS else shared
        for slot, pool in found.items()
    }
    slots = [own[slot % width] for slot in range(SLOTS)]
    return Bands(
        end, tuple([band[0] for band in slots]), tuple([band[1] for band in slots]), tuple([band[2] for band in slots]),
        min(band[3] for band in slots), hours,
    )  # fmt: skip


def _around(groups: dict[int, Pool], slot: int, width: int, worse: Worse) -> Pool:
    """The samples of a slot and its two neighbours."""
    pool = [each for near in (-1, 0, 1) for each in groups.get((slot + near) % width, ())]
    _sort(pool, worse)
    return pool


def _sort(pool: Pool, worse: Worse) -> None:
    pool.sort(reverse=worse is Worse.HIGHER)


Band = tuple[float, float, dict[int, float], int]  # bound, median, bound without each day, samples


def _band(pool: Pool, share: float) -> Band:
    """The band of a pool that is not empty."""
    counts: dict[int, int] = {}
    for _, day in pool:
        counts[day] = counts.get(day, 0) + 1
    spared = {}
    if len(counts) > 1:
        for day, own in counts.items():
            left = int((len(pool) - own) * share)
            for value, of in pool:
                if of != day:
                    if not left:
                        spared[day] = value
                        break
                    left -= 1
    return pool[int(len(pool) * share)][0], pool[len(pool) // 2][0], spared, len(pool)


def hours_of(
    samples: Samples, found: Bands, calendar: Calendar, excluded: tuple[Stretch, ...], worse: Worse,
    fixed: float | None = None,
) -> Hours:  # fmt: skip
    """Hours of counts: samples beyond the bound, out of all. Those that made the bands against the other days', later
    ones against all. `fixed`: one bound for all of them."""
    per_hour = samples.per_hour
    count = len(samples.values) // per_hour
    xs, ns = [], []
    for k, slot in enumerate(lessons(calendar, excluded, samples.start, count)):
        start = samples.start + k * HOUR_S
        values = samples.values[k * per_hour : (k + 1) * per_hour]
        day = int((found.end - HOUR_S - start) // HOUR_S) // 24 if start < found.end else None
        bound = fixed if fixed is not None else found.bound(slot, day) if slot >= 0 else nan
        x, n = beyond([value for value in values if isfinite(value)], bound, worse)
        xs.append(x)
        ns.append(n if n else nan)
    return Hours(samples.start, xs, ns)


def windows_of(
    values: Sequence[float], hour: float, step: float, found: Bands, slot: int, worse: Worse,
    fixed: float | None = None,
) -> Windows:  # fmt: skip
    """Single evaluations of one hour (values[k] at hour + (k + 1) step) as counts of one, unknown where not seen."""
    day = int((found.end - HOUR_S - hour) // HOUR_S) // 24 if hour < found.end else None
    bound = fixed if fixed is not None else found.bound(slot, day) if slot >= 0 else nan
    xs, ns = [], []
    for value in values:
        x, n = beyond((value,), bound, worse) if isfinite(value) else (nan, nan)
        xs.append(x)
        ns.append(n)
    return Windows(hour, step, xs, ns)


def apart(own: float, control: float) -> float:
    """How far a gauge lies from its control's, between -1 and 1 whatever their scale: a load that both share cancels.
    0 where they are alike; NaN where either is not seen."""
    whole = abs(own) + abs(control)
    return (own - control) / whole if whole else own - control


def beside(control: float, distance: float) -> float:
    """The gauge's value that lies so far (`apart`) from its control's; infinite where nothing lies further."""
    if distance >= 1.0 or distance <= -1.0:
        return copysign(inf, distance)
    factor = (1.0 + distance) / (1.0 - distance)
    return control * factor if control >= 0.0 else control / factor


def share_and_norm(
    profile: Profile, level: Level, noise: Noise, rule: EvidenceRule, position: float, usual: float, samples: int,
    window_s: float,
) -> tuple[float, Norm]:  # fmt: skip
    """(the healthy share beyond the bound, norm) at a position in the week. `usual`: the share of the whole history;
    `samples`: behind the bound, whose own error (of a quantile, in shares) widens the margin; 0: a bound without."""
    p = min(max(rate_at(profile, level, position), usual), _MOST_SHARE)
    error = error_of(profile, level, position, noise.long)
    return p, norm_at(noise, rule, p, samples, window_s, error)


def norm_at(noise: Noise, rule: EvidenceRule, p: float, samples: int, window_s: float, error: float = 0.0) -> Norm:
    """The norm where the share p is given (a fixed bound, another version's; `error`: its relative standard error) and
    only the noise is learned.

    Of the noise of single windows, which six hours tell, one standard error more is taken (a variance of k blocks is
    known to about the root of 2 / k), and all of its excess counts: a sample a window leaves winsorising nothing to do.
    m: 2.5 s_slow, and two standard errors of the share and of its bound. Unlike a ratio's it has no upper end: a level
    that differs by half a deviation from day to day doubles the share beyond.
    """
    own = (1.0 - p) / (p * samples) * phi_at(noise.long, _ERROR_MINUTES, noise.per_minute) if samples else 0.0
    more, pace = caution(rule.budget_s), 60.0 / window_s
    margin = max(_SLOW * more * noise.slow, rule.least_margin) + 2.0 * more * sqrt(error * error + own)
    margin = min(margin, _MOST_MARGIN)
    short = [replace(block, phi=block.phi * (1.0 + sqrt(2.0 / block.count))) for block in noise.short]
    near = max((block.phi for block in short), default=1.0)
    blocks = blocks_together(short, [_scaled(block, pace, near) for block in noise.long])
    blocks = tuple([replace(block, phi=1.0 + max(0.0, block.phi - 1.0) / COUNTED) for block in blocks])
    return Norm(margin, dispersion(Worse.HIGHER, rule, p, margin, pace, blocks))


def _scaled(block: Block, pace: float, near: float) -> Block:
    """A block as it would have come out with `pace` samples a minute: what neighbours have in common (`near`, the
    dispersion of the longest blocks that were seen sample by sample), and what sparse samples have, so many times."""
    if block.per_minute <= 0.0 or pace <= block.per_minute:
        return block
    more = max(0.0, block.phi - 1.0) * pace / block.per_minute
    return Block(block.minutes, max(1.0, near) + more, block.count, pace)


def usual_share(hours: Hours, before: float) -> float:
    """The share beyond over all hours that ended by `before`; of nothing seen beyond, half a sample."""
    x = n = 0.0
    for k, trials in enumerate(hours.n):
        if hours.start + (k + 1) * HOUR_S <= before and trials > 0.0:
            x, n = x + hours.x[k], n + trials
    return (x + 0.5) / (n + 1.0)

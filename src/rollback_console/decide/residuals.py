"""How a learned baseline did: what was foretold for each hour of history against what came.

Two kinds of error, told apart by how long they last, because the detector meets them differently. What is off for six
hours and more (days that differ, drift, the level's own error) is the margin's business: `s_slow`. What comes and goes
within a day is the dispersion's: blocks of one, two and four hours, against their own day's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import sqrt
from statistics import median

from rollback_console.decide.dispersion import Block, measured
from rollback_console.model.value import dataclass

SLOW_HOURS = 6
LONG_HOURS = (1, 2, 4)
_UNKNOWN_SLOW, _SLOW_WORTH = 0.02, 2.0  # s_slow before any was seen, and how many 6 h residuals outweigh that
Runs = tuple[tuple[int, int], ...]  # (first place, beyond the last)


@dataclass(frozen=True, slots=True)
class Told:
    """Hours in their order, a column each: their numbers (Unix time over 3,600), the events that came, those foretold
    (above 0), the trials."""

    hours: tuple[int, ...]
    x: Sequence[float]
    mean: Sequence[float]
    n: Sequence[float]

    def blocks(self, width: int) -> Runs:
        """The aligned blocks of `width` hours that were seen, whole or in part."""
        return _runs(self.hours, width)


@lru_cache(maxsize=256)
def _runs(hours: tuple[int, ...], width: int) -> Runs:
    found: list[tuple[int, int]] = []
    last = None
    for place, hour in enumerate(hours):
        if hour // width == last:
            found[-1] = (found[-1][0], place + 1)
        else:
            found.append((place, place + 1))
        last = hour // width
    return tuple(found)


def slow_error(told: Told, p: float, phi: float) -> tuple[float, int]:
    """(s_slow, 6 h residuals behind it): the robust standard deviation of relative residuals over aligned blocks of
    6 h, beyond sampling noise and what comes and goes faster (`phi`, the dispersion of long blocks). Where few were
    seen it is drawn toward 2 %."""
    shares, noises = [], []
    for first, last in told.blocks(SLOW_HOURS):
        if 2 * (last - first) > SLOW_HOURS:
            mean = sum(told.mean[first:last])
            shares.append(abs(sum(told.x[first:last]) / mean - 1.0))
            noises.append(phi * (1.0 - p) / mean)
    square = (1.4826 * median(shares)) ** 2 - median(noises) if shares else 0.0
    worth = len(shares)
    return sqrt((worth * max(0.0, square) + _SLOW_WORTH * _UNKNOWN_SLOW**2) / (worth + _SLOW_WORTH)), worth


def long_noise(told: Told, p: float) -> tuple[Block, ...]:
    """The dispersion of blocks of 1, 2 and 4 hours about their own day's mean (days are UTC's: blocks need no names).
    What a mean of m blocks takes from their variance is given back."""
    level, means = _by_own_day(told)
    found: list[Block] = []
    for width in LONG_HOURS:
        if width == 1:
            xs, expected, trials = level.x, level.mean, level.n
        else:
            whole = [run for run in level.blocks(width) if run[1] - run[0] == width]
            xs, expected, trials = (
                [sum(column[first:last]) for first, last in whole] for column in (level.x, level.mean, level.n)
            )
        count = len(xs)
        if count <= means:
            continue
        back = count / (count - means) / (1.0 - p)
        squares = [back * (x - mean) ** 2 / mean for x, mean in zip(xs, expected, strict=True)]
        found += measured(60.0 * width, squares, sum(trials) / count / (60.0 * width))
    return tuple(found)


def _by_own_day(told: Told) -> tuple[Told, int]:
    """(the hours of days with events, what was foretold as each day came out; the number of those days)."""
    hours: tuple[int, ...] = ()
    x: list[float] = []
    mean: list[float] = []
    n: list[float] = []
    means = 0
    days = [(run, sum(told.x[run[0] : run[1]])) for run in told.blocks(24)]
    for (first, last), events in days:
        if events > 0.0:
            means += 1
            share = events / sum(told.mean[first:last])
            mean += [each * share for each in told.mean[first:last]]
    if means == len(days):
        return Told(told.hours, told.x, mean, told.n), means
    for (first, last), events in days:
        if events > 0.0:
            hours += told.hours[first:last]
            x += told.x[first:last]
            n += told.n[first:last]
    return Told(hours, x, mean, n), means

"""How a learned baseline did: what was foretold for each hour of history against what came.

Two kinds of error, told apart by how long they last, because the detector meets them differently. What is off for six
hours and more (days that differ, drift, the level's own error) is the margin's business: `s_slow`. What comes and goes
within a day is the dispersion's: blocks of one, two and four hours, against their own day's mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import median

from rollback_console.decide.dispersion import Block, measured

SLOW_HOURS = 6
LONG_HOURS = (1, 2, 4)
_UNKNOWN_SLOW, _SLOW_WORTH = 0.02, 2.0  # s_slow before any was seen, and how many 6 h residuals outweigh that


# One hour: its number (Unix time over 3,600), the events that came, those foretold, the trials.
Hour = tuple[int, float, float, float]


def slow_error(told: Sequence[Hour], p: float, phi: float) -> tuple[float, int]:
    """(s_slow, 6 h residuals behind it): the robust standard deviation of relative residuals over aligned blocks of
    6 h, beyond sampling noise and what comes and goes faster (`phi`, the dispersion of long blocks). Where few were
    seen it is drawn toward 2 %."""
    shares = [
        (abs(x / mean - 1.0), phi * (1.0 - p) / mean)
        for x, mean, _, count in _blocks(told, SLOW_HOURS)
        if 2 * count > SLOW_HOURS and mean > 0.0
    ]
    square = 0.0
    if shares:
        square = (1.4826 * median([share for share, _ in shares])) ** 2 - median([noise for _, noise in shares])
    worth = len(shares)
    return sqrt((worth * max(0.0, square) + _SLOW_WORTH * _UNKNOWN_SLOW**2) / (worth + _SLOW_WORTH)), worth


def long_noise(told: Sequence[Hour], p: float) -> tuple[Block, ...]:
    """The dispersion of blocks of 1, 2 and 4 hours about their own day's mean (days are UTC's: blocks need no names).
    What a mean of m blocks takes from their variance is given back."""
    days = {day: x / mean for day, (x, mean) in _by_day(told).items() if mean > 0.0}
    level = [(hour, x, mean * days[hour // 24], n) for hour, x, mean, n in told if days.get(hour // 24)]
    means = len({hour // 24 for hour, *_ in level})
    found: list[Block] = []
    for width in LONG_HOURS:
        whole = [block for block in _blocks(level, width) if block[3] == width]
        count = len(whole)
        if count <= means:
            continue
        back = count / (count - means) / (1.0 - p)
        squares = [back * (x - mean) ** 2 / mean for x, mean, _, _ in whole]
        found += measured(60.0 * width, squares, sum([block[2] for block in whole]) / count / (60.0 * width))
    return tuple(found)


def _by_day(told: Sequence[Hour]) -> dict[int, tuple[float, float]]:
    found: dict[int, tuple[float, float]] = {}
    for hour, x, mean, _ in told:
        had = found.get(hour // 24, (0.0, 0.0))
        found[hour // 24] = (had[0] + x, had[1] + mean)
    return found


def _blocks(told: Sequence[Hour], width: int) -> list[tuple[float, float, float, int]]:
    """(x, mean, n, hours seen) of aligned blocks of `width` hours, in order."""
    if width == 1:
        return [(x, mean, n, 1) for _, x, mean, n in told]
    found: dict[int, tuple[float, float, float, int]] = {}
    for hour, x, mean, n in told:
        had = found.get(hour // width)
        found[hour // width] = (had[0] + x, had[1] + mean, had[2] + n, had[3] + 1) if had else (x, mean, n, 1)
    return list(found.values())

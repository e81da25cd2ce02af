"""Gauges, which are no events out of trials, judged as if they were: by rank, so that no outlier counts for more.

A gauge (a queue's length, a score's mean) says how often it was on the worse side of what its history rarely passed:
x samples beyond the baseline's quantile out of n, and goes through `decide.evidence` as any ratio does; ties and
samples at the bound count as not beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite

from rollback_console.model.rules import Worse

SELDOM = 0.05  # of the samples of a healthy gauge that lie beyond its bound (`decide.gauges`) ...
GAUGE_SHARE = 0.2  # ... and beyond the one at which its noise is measured


def bound_of(samples: Iterable[float], worse: Worse, share: float = GAUGE_SHARE) -> float | None:
    """The value on the worse side of which about `share` of the samples lie; not-a-numbers are left out. None where
    there is no sample, or where all are alike: ranks say nothing then.

    The bound is always a value that was seen, so that scaling the samples scales it.
    """
    if not 0.0 < share < 1.0:
        raise ValueError("a share lies between 0 and 1")
    ordered = sorted(value for value in samples if isfinite(value))
    if not ordered or ordered[0] == ordered[-1]:
        return None
    few = int(len(ordered) * share)
    return ordered[few] if worse is Worse.LOWER else ordered[-1 - few]


def beyond(samples: Iterable[float], bound: float, worse: Worse) -> tuple[float, float]:
    """(x, n): samples strictly on the worse side of the bound, out of all that are numbers. More of them is worse,
    whichever side that is: a signal made of this is `worse: higher`."""
    x = n = 0
    for value in samples:
        if value == value:
            n += 1
            x += value > bound if worse is Worse.HIGHER else value < bound
    return float(x), float(n)

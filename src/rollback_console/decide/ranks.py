"""Quantities that are no events out of trials, judged as if they were: by rank, so that no outlier counts for more.

A gauge (a queue's length, a score's mean) says how often it was on the worse side of what its history rarely passed:
x samples beyond the baseline's quantile out of n. An order's value says how often it was above the baseline's median: a
mean of revenue needs twenty thousand orders to show a tenth less, this share shows it in seven hundred. Latency says
how many requests were over the target. All of them go through `decide.evidence` as any ratio does; ties and samples at
the bound count as not beyond it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf, isfinite, isinf

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


def median_of(samples: Iterable[float]) -> float | None:
    """The baseline's median order: the lower one of two, so that it is a value that was seen. None without samples."""
    ordered = sorted(value for value in samples if isfinite(value))
    return ordered[(len(ordered) - 1) // 2] if ordered else None


def above(samples: Iterable[float], median: float) -> tuple[float, float]:
    """(x, n) for value per order: orders above the baseline's median out of all orders. Fewer of them is worse: a
    signal made of this is `worse: lower`."""
    return beyond(samples, median, Worse.HIGHER)


def over_target(buckets: Sequence[tuple[float, float]], target: float) -> tuple[float, float] | None:
    """(x, n) from a cumulative histogram, as (upper bound, count at or below it) in any order with +Inf among them:
    events over the `target`, linear within its bucket, as `histogram_quantile` takes it. None where the histogram has
    no +Inf bucket, or is not cumulative."""
    ordered = sorted(buckets)
    if not ordered or not isinf(ordered[-1][0]):
        return None
    total = ordered[-1][1]
    lower, before = (0.0 if ordered[0][0] > 0.0 else -inf), 0.0
    for upper, count in ordered:
        if not count >= before:
            return None
        if target <= upper:
            if target == upper:
                below = count
            elif isinf(upper) or isinf(lower):
                below = before if isinf(upper) else count
            else:
                below = before + (count - before) * max(0.0, target - lower) / (upper - lower)
            return total - below, total
        lower, before = upper, count
    return 0.0, total

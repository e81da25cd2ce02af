"""What a count of streams can say: rates, shares and quantiles with their 95 % intervals, exact, without a table of
any kind."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from quality.noises import Flags

_TAIL = 0.025
NEVER = math.inf


@dataclass(frozen=True)
class Estimate:
    """A figure, its 95 % interval, and how many streams or trials stand behind it."""

    value: float
    low: float
    high: float
    of: int


def clusters(flags: Flags, apart: int = 120) -> list[int]:
    """Where events begin: exceedances with fewer than `apart` minutes between one and the next are one event."""
    at = np.flatnonzero(flags).tolist()
    return at[:1] + [after for before, after in pairwise(at) if after - before >= apart]


def rate(events: int, streams: int) -> Estimate:
    """Events a stream, by Garwood's exact interval for a Poisson count."""
    low = 0.0 if events == 0 else _root(lambda mean: 1 - _poisson(events - 1, mean) - _TAIL, 0.0, float(events))
    high = _root(lambda mean: _TAIL - _poisson(events, mean), float(events), events + 20 + 10 * math.sqrt(events + 1))
    return Estimate(events / streams, low / streams, high / streams, streams)


def share(hits: int, trials: int) -> Estimate:
    """A proportion, by Clopper and Pearson's exact interval."""
    low = 0.0 if hits == 0 else _root(lambda p: 1 - _binomial(hits - 1, trials, p) - _TAIL, 0.0, hits / trials)
    high = 1.0 if hits == trials else _root(lambda p: _TAIL - _binomial(hits, trials, p), hits / trials, 1.0)
    return Estimate(hits / trials, low, high, trials)


def quantile(values: Sequence[float], level: float) -> Estimate:
    """The smallest value with at least `level` of all at or below it; the interval by order statistics. NEVER sorts
    last."""
    ranked, count = sorted(values), len(values)

    def at(rank: int) -> float:
        return ranked[min(count - 1, max(0, rank))]

    spread = 1.96 * math.sqrt(count * level * (1 - level))
    point = math.ceil(level * count - 1e-9) - 1
    return Estimate(at(point), at(math.floor(level * count - spread) - 1), at(math.ceil(level * count + spread)), count)


def _poisson(k: int, mean: float) -> float:
    """P(at most k) of a Poisson count."""
    if mean <= 0:
        return 1.0
    return math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(k + 1))


def _binomial(k: int, trials: int, p: float) -> float:
    """P(at most k) of a binomial count."""
    if p <= 0 or k >= trials:
        return 1.0
    if p >= 1:
        return 0.0
    whole, log_p, log_q = math.lgamma(trials + 1), math.log(p), math.log1p(-p)
    return math.fsum(
        math.exp(whole - math.lgamma(i + 1) - math.lgamma(trials - i + 1) + i * log_p + (trials - i) * log_q)
        for i in range(k + 1)
    )


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes zero, by halving."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2

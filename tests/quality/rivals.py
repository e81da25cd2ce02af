"""What others do with the same minutes: each rule written from its own published semantics, none of their code.

A rule is asked for minutes [start, end) of a whole stream and answers, for each, whether it stands fired at that
minute's end. All thresholds are "10 % below what is expected" (`BELOW`). None of these tools learns a baseline: where
a rule's `expects` is LEARNED it is lent ours, of the healthy stream, which no degradation has touched; that is
generous, and without it a fixed threshold meets the day's own shape (`FLAT`). Where a rule stops and starts again
after it fired, it starts at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from quality.noises import DAY, Flags, Floats, Stream

BELOW = 0.10


class Expects(StrEnum):
    """What a rule compares with."""

    FLAT = "the mean of the history"
    WEEK = "the same window a week before"
    LEARNED = "our learned baseline"
    CONTROL = "a control beside it"


@dataclass(frozen=True)
class Facts:
    """What a rule may know of a healthy stream: `base` expected ratio of every minute, `flat` the history's mean,
    `scale` the standard deviation of the history's standardised minutes."""

    base: Floats
    flat: float
    scale: float


@dataclass(frozen=True)
class Rival:
    """A rule with its name as the tables print it and its source."""

    name: str
    fired: Callable[[Stream, Facts, int, int], Flags]


def facts_of(stream: Stream, base: Floats) -> Facts:
    """`base`: what is expected of every minute, the history's too."""
    part = slice(0, stream.history)
    seen = stream.seen[part] & (stream.n[part] > 0)
    n, x, p = stream.n[part][seen], stream.x[part][seen], base[part][seen]
    z = (x - n * p) / np.sqrt(n * p * (1 - p))
    return Facts(base, float(x.sum() / n.sum()), max(1.0, float(np.std(z))))


def trailing(values: Floats, start: int, end: int, window: int) -> Floats:
    """Sums over the `window` minutes that end with each minute of [start, end). `start` is at least `window` - 1."""
    total = np.concatenate(([0.0], np.cumsum(values[start - window + 1 : end])))
    sums: Floats = total[window:] - total[:-window]
    return sums


def ratio(stream: Stream, start: int, end: int, window: int) -> Floats:
    """Conversions of visits over the window, of the minutes that were seen; NaN where there was none."""
    low = start - window + 1
    seen = stream.seen[low:end]
    x = trailing(stream.x[low:end] * seen, window - 1, end - low, window)
    n = trailing(stream.n[low:end] * seen, window - 1, end - low, window)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, x / n, np.nan)


def expected(stream: Stream, facts: Facts, start: int, end: int, window: int, expects: Expects) -> Floats:
    """What the ratio of the same window is compared with."""
    if expects is Expects.WEEK:
        return ratio(stream, start - 7 * DAY, end - 7 * DAY, window)
    if expects is Expects.FLAT:
        return np.full(end - start, facts.flat)
    low = start - window + 1
    weight = stream.n[low:end] * stream.seen[low:end]
    among = trailing(weight * facts.base[low:end], window - 1, end - low, window)
    n = trailing(weight, window - 1, end - low, window)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, among / n, np.nan)


def below(stream: Stream, facts: Facts, start: int, end: int, window: int, expects: Expects) -> Floats:
    """1 where the window's ratio is more than BELOW under what is expected, 0 where not, NaN without data."""
    found = ratio(stream, start, end, window)
    against = expected(stream, facts, start, end, window, expects)
    return np.where(np.isnan(found) | np.isnan(against), np.nan, found < (1 - BELOW) * against)


# -- Prometheus --------------------------------------------------------------------------------------------------------


def prometheus(window: int, dwell: int, expects: Expects) -> Callable[[Stream, Facts, int, int], Flags]:
    """An alerting rule ``rate(x[w]) / rate(n[w]) < 0.9 * expected`` with ``for``, evaluated every minute.

    Pending from the first evaluation with the condition, firing at the first with at least `for` since; one evaluation
    without it, no data included, starts over. `rate` needs two samples in its window, so an empty one gives no series.
    Source: prometheus.io/docs/prometheus/latest/configuration/alerting_rules and querying/functions (rate).
    """

    def fired(stream: Stream, facts: Facts, start: int, end: int) -> Flags:
        holds = below(stream, facts, start - dwell, end, window, expects) == 1.0
        return trailing(holds.astype(float), dwell, len(holds), dwell + 1) >= dwell + 0.5

    return fired


# -- Argo Rollouts -----------------------------------------------------------------------------------------------------


def argo(run: int | None) -> Callable[[Stream, Facts, int, int], Flags]:
    """Background analysis as the documentation's example has it: ``interval: 5m``, a query over 5 min, ``failureLimit:
    3``.

    Failures are counted over the whole run and never forgotten; the run fails with more of them than the limit. An
    empty answer makes the condition's evaluation an error; more than four errors in a row (``consecutiveErrorLimit``)
    end the run as Error, which aborts the rollout as a failure does. `run`: minutes a rollout takes, one after the
    other (the example's four pauses of 10 min: 40); None: one run until it fails. Source:
    argo-rollouts.readthedocs.io, features/analysis; specification of AnalysisTemplate (consecutiveErrorLimit, default
    4).
    """
    interval, limit, errors_allowed = 5, 3, 4

    def fired(stream: Stream, facts: Facts, start: int, end: int) -> Flags:
        found = below(stream, facts, start - 2 * interval, end, interval, Expects.LEARNED)
        flags = np.zeros(end - start, dtype=bool)
        failures = errors = 0
        for i in range(start - 2 * interval, end):
            if i % interval:
                continue
            if run is not None and i % run == 0:
                failures = errors = 0
            verdict = found[i - start + 2 * interval]
            if math.isnan(verdict):
                errors += 1
            else:
                errors, failures = 0, failures + int(verdict)
            if failures > limit or errors > errors_allowed:
                failures = errors = 0
                if i >= start:
                    flags[i - start] = True
        return flags

    return fired


# -- Flagger -----------------------------------------------------------------------------------------------------------


def flagger(window: int) -> Callable[[Stream, Facts, int, int], Flags]:
    """Canary analysis, ``interval: 1m``, ``threshold: 10``, ``maxWeight: 50``, ``stepWeight: 5`` (the documentation's
    example).

    Every interval is one check of the metric over `window` minutes. A failed check, and one without a value, adds to
    the count and halts the advance; the count is never lowered within an analysis, and at `threshold` the next
    interval rolls back. Ten passed checks (50 / 5) promote; then the next analysis begins with an empty count. Source:
    docs.flagger.app, usage/how-it-works and usage/metrics.
    """
    threshold, steps = 10, 10

    def fired(stream: Stream, facts: Facts, start: int, end: int) -> Flags:
        warm = 60
        verdicts = below(stream, facts, start - warm, end, window, Expects.LEARNED)
        flags = np.zeros(end - start, dtype=bool)
        failed = passed = 0
        for i, failing in enumerate((verdicts != 0.0).tolist()):
            if failed >= threshold:
                if i >= warm:
                    flags[i - warm] = True
                failed = passed = 0
                continue
            if failing:  # NaN, no value, too
                failed += 1
                continue
            passed += 1
            if passed >= steps:
                failed = passed = 0
        return flags

    return fired


# -- control charts ----------------------------------------------------------------------------------------------------


def standardised(stream: Stream, facts: Facts, start: int, end: int) -> list[float]:
    """Each minute's distance from what is expected, in standard deviations of the history's minutes; NaN where
    missing."""
    n, p = stream.n[start:end], facts.base[start:end]
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (stream.x[start:end] - n * p) / (facts.scale * np.sqrt(n * p * (1 - p)))
    found: list[float] = np.where(stream.seen[start:end] & (n > 0), z, np.nan).tolist()
    return found


def ewma(keep: float, width: float) -> Callable[[Stream, Facts, int, int], Flags]:
    """EWMA chart, the lower limit only: E <- weight z + (1 - weight) E, fired while E < -width sqrt(weight / (2 -
    weight)).

    weight 0.2 and width 3 are the usual choices (and qcc's defaults). A missing minute leaves E as it is. Source:
    Roberts 1959; NIST/SEMATECH e-Handbook 6.3.2.4.
    """

    def fired(stream: Stream, facts: Facts, start: int, end: int) -> Flags:
        warm = 60
        flags = np.zeros(end - start, dtype=bool)
        limit, level = -width * math.sqrt(keep / (2 - keep)), 0.0
        for i, z in enumerate(standardised(stream, facts, start - warm, end)):
            if z == z:
                level += keep * (z - level)
            if i >= warm:
                flags[i - warm] = level < limit
        return flags

    return fired


def cusum(slack: float, height: float) -> Callable[[Stream, Facts, int, int], Flags]:
    """Tabular CUSUM, the lower side only: S <- max(0, S - z - slack), fired at S > height, then begun again.

    slack 0.5 and height 5 (in standard deviations) are the usual choices (and qcc's). A missing minute leaves S as it
    is. Source: Page 1954; NIST/SEMATECH e-Handbook 6.3.2.3.
    """

    def fired(stream: Stream, facts: Facts, start: int, end: int) -> Flags:
        warm = 60
        flags = np.zeros(end - start, dtype=bool)
        level = 0.0
        for i, z in enumerate(standardised(stream, facts, start - warm, end)):
            if z == z:
                level = max(0.0, level - z - slack)
            if level > height:
                level = 0.0
                if i >= warm:
                    flags[i - warm] = True
        return flags

    return fired

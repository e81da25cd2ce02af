"""A samples file as a metric backend: the same sampler, and the same book of baselines, ask it what they would ask
Prometheus.

`asking` gives the policy's rules the queries that a file answers; everything they are judged by stays.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import BackendHealth, BackendState, Series
from rollback_console.model.rules import DeploymentRule, SignalRule
from rollback_console.observe.samples import CONTROLS, IMPACT_SIGNALS, NOTHING, Column, Samples

_PREFIX = "samples:"
_EXACT_S = 0.001  # times nearer than this are one
_HOUR_S = 3_600.0
_SEEN = 1_000  # gaps between rows that say how far apart they stand
Points = tuple[tuple[float, float], ...]


def asking(rules: Sequence[DeploymentRule], samples: Samples) -> tuple[DeploymentRule, ...]:
    """The rules with queries that `SampledMetrics` answers: each signal as the file gives it. A file knows nothing of
    heartbeats and serving versions, and knows a deployment by its name alone."""
    names = Counter(rule.deployment.id.name for rule in rules)
    given = {name for _, name in samples.columns}
    shared: dict[int, tuple[SignalRule, ...]] = {}
    out = []
    for rule in rules:
        signals = shared.get(id(rule.signals))
        if signals is None:
            signals = shared[id(rule.signals)] = tuple(_signal(each, samples, given) for each in rule.signals)
        own = rule.deployment
        label = own.id.name if names[own.id.name] == 1 else str(own.id)
        revenue, users = (
            f"{_PREFIX}{name}:value" if name in given and all(each.name != name for each in rule.signals) else None
            for name in IMPACT_SIGNALS
        )
        impact = replace(rule.impact, revenue_per_minute=revenue, users_per_minute=users)
        deployment = replace(own, labels=(("deployment", label),), serving_version=None)
        out.append(replace(rule, deployment=deployment, signals=signals, impact=impact))
    return tuple(out)


def _signal(rule: SignalRule, samples: Samples, given: set[str]) -> SignalRule:
    """A signal that the file does not give is asked as the policy has it: there is no data then."""
    name = _PREFIX + rule.name
    if rule.name in samples.counts or (rule.x is not None and rule.name not in given):
        hours = (name + ":x_hour", name + ":n_hour") if rule.x_hour is not None else (None, None)
        return replace(
            rule, value=None, x=name + ":x", n=name + ":n", x_hour=hours[0], n_hour=hours[1], heartbeat=None,
            stale_s=None,
        )  # fmt: skip
    return replace(rule, value=name + ":value", x=None, n=None, x_hour=None, n_hour=None, heartbeat=None, stale_s=None)


def of_some(samples: Samples, rules: Sequence[DeploymentRule]) -> Samples:
    """The samples of these deployments, and of what runs beside any."""
    kept = {rule.deployment.id for rule in rules}
    columns = {
        key: column for key, column in samples.columns.items() if key[0] in kept or key[0].environment == CONTROLS
    }
    return replace(samples, columns=columns)


class SampledMetrics:
    """A `MetricBackend` over a samples file, for rules that came from `asking`.

    A row counts at an evaluation if it is the newest at or before it and less than `within_s` older; without `within_s`
    only at its own time. Hours, which baselines are learned from, are the sums of their rows.
    """

    def __init__(self, samples: Samples, rules: Sequence[DeploymentRule], *, within_s: float | None = None) -> None:
        self._within = within_s
        self._labels = {rule.deployment.id: rule.deployment.labels for rule in rules}
        self._windows = {signal.name: signal.window_s for rule in rules for signal in rule.signals}
        self._sums: dict[tuple[int, str], array[float]] = {}
        self._by_signal: dict[str, list[tuple[tuple[tuple[str, str], ...], Column]]] = {}
        for (deployment, signal), column in samples.columns.items():
            self._by_signal.setdefault(signal, []).append((self._labelled(deployment), column))

    def _labelled(self, deployment: DeploymentId) -> tuple[tuple[str, str], ...]:
        if deployment.environment == CONTROLS:
            return (("deployment", deployment.name),)
        return self._labels[deployment]

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        return await self.query_range(promql, at, at, 1.0)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        signal, _, part = promql.removeprefix(_PREFIX).rpartition(":")
        if not promql.startswith(_PREFIX):
            return ()
        count, found = round((end - start) / step) + 1, []
        for labels, column in self._by_signal.get(signal, ()):
            if part.endswith("_hour"):
                points = self._hours(column, part[0], self._windows[signal], [start + k * step for k in range(count)])
            else:
                points = self._points(column, part, start, count, step)
            if points:
                found.append(Series(labels, points))
        return tuple(found)

    def _points(self, column: Column, part: str, start: float, count: int, step: float) -> Points:
        times, values = column.times, column.n if part == "n" else column.values
        if not values:
            return ()
        within = self._within - _EXACT_S if self._within is not None else _EXACT_S
        index, known = bisect_left(times, start + _EXACT_S), len(times)
        found = []
        for k in range(count):
            at = start + k * step
            while index < known and times[index] < at + _EXACT_S:
                index += 1
            if index and at - times[index - 1] < within and (value := values[index - 1]) != NOTHING:
                found.append((at, value))
        return tuple(found)

    def _hours(self, column: Column, part: str, window_s: float, ends: Sequence[float]) -> Points:
        """Sums over the hours that end there. Rows that stand nearer to each other than their window count the same
        events more than once, and are weighed so. An hour without a row is not there."""
        times, sums = column.times, self._sums.get((id(column), part))
        if not column.n:
            return ()
        if sums is None:
            sums = self._sums[id(column), part] = array("d", [0.0])
            for value in column.n if part == "n" else column.values:
                sums.append(sums[-1] + (value if math.isfinite(value) else 0.0))
        weight = min(1.0, _apart(times) / window_s)
        found = []
        for end in ends:
            low, high = bisect_left(times, end - _HOUR_S + _EXACT_S), bisect_left(times, end + _EXACT_S)
            if high > low:
                found.append((end, (sums[high] - sums[low]) * weight))
        return tuple(found)

    def health(self) -> BackendHealth:
        return BackendHealth("samples", BackendState.OK, latency_s=0.0)

    async def close(self) -> None:
        """Nothing to close."""


def _apart(times: array[float]) -> float:
    """How far apart rows stand, most of them."""
    gaps = Counter(round(after - before, 3) for before, after in pairwise(times[:_SEEN]))
    return gaps.most_common(1)[0][0] if gaps else math.inf

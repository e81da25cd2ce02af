"""A samples file as a metric backend: the same sampler asks it what it would ask Prometheus.

`asking` gives the policy's rules the queries that a file answers; everything they are judged by stays.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import BackendHealth, BackendState, Series
from rollback_console.model.rules import DeploymentRule, SignalRule
from rollback_console.observe.samples import IMPACT_SIGNALS, NOTHING, Column, Samples

_PREFIX = "samples:"
_EXACT_S = 0.001  # times nearer than this are one


def asking(rules: Sequence[DeploymentRule], samples: Samples) -> tuple[DeploymentRule, ...]:
    """The rules with queries that `SampledMetrics` answers: each signal as the file gives it. A file knows nothing of
    heartbeats and serving versions. Deployments that carry the same labels get labels of their own."""
    taken = Counter(rule.deployment.labels for rule in rules)
    shared: dict[int, tuple[SignalRule, ...]] = {}
    out = []
    for rule in rules:
        signals = shared.get(id(rule.signals))
        if signals is None:
            signals = shared[id(rule.signals)] = tuple(_signal(each, samples) for each in rule.signals)
        own = rule.deployment
        labels = own.labels if taken[own.labels] == 1 else (("deployment", str(own.id)),)
        named = {name for _, name in samples.columns} - {each.name for each in rule.signals}
        revenue, users = (_PREFIX + name + ":value" if name in named else None for name in IMPACT_SIGNALS)
        impact = replace(rule.impact, revenue_per_minute=revenue, users_per_minute=users)
        deployment = replace(own, labels=labels, serving_version=None)
        out.append(replace(rule, deployment=deployment, signals=signals, impact=impact))
    return tuple(out)


def _signal(rule: SignalRule, samples: Samples) -> SignalRule:
    """A signal that the file does not give is asked as the policy has it: there is no data then."""
    name = _PREFIX + rule.name
    counts = rule.name in samples.counts or (rule.x is not None and not _given(rule.name, samples))
    if counts:
        return replace(rule, value=None, x=name + ":x", n=name + ":n", heartbeat=None, stale_s=None)
    return replace(rule, value=name + ":value", x=None, n=None, heartbeat=None, stale_s=None)


def _given(signal: str, samples: Samples) -> bool:
    return any(name == signal for _, name in samples.columns)


class SampledMetrics:
    """A `MetricBackend` over a samples file, for rules that came from `asking`.

    A row counts at an evaluation if it is the newest at or before it and less than `within_s` older; without `within_s`
    only at its own time.
    """

    def __init__(self, samples: Samples, rules: Sequence[DeploymentRule], *, within_s: float | None = None) -> None:
        self._within = within_s
        self._labels: dict[DeploymentId, tuple[tuple[str, str], ...]] = {
            rule.deployment.id: rule.deployment.labels for rule in rules
        }
        self._by_signal: dict[str, list[tuple[DeploymentId, Column]]] = {}
        for (deployment, signal), column in samples.columns.items():
            self._by_signal.setdefault(signal, []).append((deployment, column))

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        return await self.query_range(promql, at, at, 1.0)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        signal, _, part = promql.removeprefix(_PREFIX).rpartition(":")
        if not promql.startswith(_PREFIX):
            return ()
        found = []
        for deployment, column in self._by_signal.get(signal, ()):
            points = self._points(column, part, start, round((end - start) / step) + 1, step)
            if points:
                found.append(Series(self._labels[deployment], points))
        return tuple(found)

    def _points(
        self, column: Column, part: str, start: float, count: int, step: float
    ) -> tuple[tuple[float, float], ...]:
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

    def health(self) -> BackendHealth:
        return BackendHealth("samples", BackendState.OK, latency_s=0.0)

    async def close(self) -> None:
        """Nothing to close."""

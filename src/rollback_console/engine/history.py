"""A fleet's past, evaluation by evaluation: read in stretches, so that a month of it needs no month of memory.

The sampler and the back-fill are the live engine's own. Where a live engine shows a query that fails as blind, a look
at the past insists: it asks again for shorter stretches, and raises what remains.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence

from rollback_console.engine.backfill import Backfill
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.versions import VersionHistory
from rollback_console.errors import BackendError
from rollback_console.model.observation import BackendHealth, Series, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerMemory
from rollback_console.observe.protocol import MetricBackend

MOST_READINGS = 250_000  # held at once: about 100 MB
_TRIES = 5  # each for a quarter of the stretch before
_TOLERANCE_S = 5e-4  # times are kept to the millisecond


@dataclass(frozen=True, slots=True)
class Span:
    """Evaluations at ``start + k * step`` for k below `count`. Seconds."""

    start: float
    step: float
    count: int

    @property
    def end(self) -> float:
        """The last evaluation."""
        return self.start + (self.count - 1) * self.step


def grid(start: float, end: float, step: float) -> Span:
    """The evaluations of a live engine between two times, both included: whole multiples of the step."""
    first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
    return Span(first * step, step, max(0, last - first + 1))


def spans_of(times: Sequence[float]) -> tuple[Span, ...]:
    """Given times (increasing), as the longest stretches in which they are equally far apart."""
    out: list[Span] = []
    index = 0
    while index < len(times):
        if index + 1 == len(times):
            out.append(Span(times[index], 1.0, 1))
            break
        step, count = round(times[index + 1] - times[index], 3), 2
        while index + count < len(times) and abs(times[index] + count * step - times[index + count]) < _TOLERANCE_S:
            count += 1
        out.append(Span(times[index], step, count))
        index += count
    return tuple(out)


class _Watched:
    """A backend that remembers what it failed with: the sampler makes a blind answer of it."""

    def __init__(self, metrics: MetricBackend) -> None:
        self._metrics = metrics
        self._failure: BackendError | None = None

    def forget(self) -> None:
        """What failed before is not asked about."""
        self._failure = None

    def failure(self) -> BackendError | None:
        """What it failed with since then, the last."""
        return self._failure

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        try:
            return await self._metrics.query(promql, at)
        except BackendError as error:
            self._failure = error
            raise

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        try:
            return await self._metrics.query_range(promql, start, end, step)
        except BackendError as error:
            self._failure = error
            raise

    def health(self) -> BackendHealth:
        return self._metrics.health()

    async def close(self) -> None:
        await self._metrics.close()


class History:
    """The past of one fleet, for whoever judges it."""

    def __init__(
        self, rules: Sequence[DeploymentRule], metrics: MetricBackend, step_s: float, lookback_s: float
    ) -> None:
        self.rules = tuple(rules)
        self._watched = _Watched(metrics)
        self._step, self._lookback = step_s, lookback_s
        self._versions, self._backfill = self._parts(self.rules)
        readings = sum(len(rule.signals) + 1 for rule in self.rules)
        self._most = max(1, MOST_READINGS // max(1, readings))

    def _parts(self, rules: Sequence[DeploymentRule]) -> tuple[VersionHistory, Backfill]:
        sampler = Sampler(rules, self._watched)
        versions = VersionHistory(sampler, self._step, self._lookback)
        return versions, Backfill(sampler, versions, self._step, self._lookback)

    async def memories_at(self, rules: Sequence[DeploymentRule], at: float) -> dict[int, TriggerMemory]:
        """What a console that watched all along would carry on after its evaluation at `at`, judging by `rules` (these
        ask the same queries as the history's). Raises BackendError."""
        self._watched.forget()
        versions, backfill = self._parts(rules)
        await versions.load(at)
        replayed = await backfill.cold(at, lambda index, when: False, lambda notice, done, settled: None)
        self._raise()
        return replayed.memories

    async def begin(self, at: float) -> None:
        """Read what served before `at`. Raises BackendError."""
        self._watched.forget()
        await self._versions.load(at)
        self._raise()

    def _raise(self) -> None:
        failure = self._watched.failure()
        if failure is not None:
            raise failure

    async def ticks(self, spans: Sequence[Span]) -> AsyncIterator[Tick]:
        """Every evaluation of the spans, in their order. Raises BackendError where history cannot be read."""
        for span in spans:
            for part in _parts_of(span, self._most):
                async for tick in self._insist(part, _TRIES):
                    yield tick

    async def _insist(self, span: Span, tries: int) -> AsyncIterator[Tick]:
        self._watched.forget()
        ticks = await self._backfill.between(span.start, span.end, None, span.step)
        failure = self._watched.failure()
        if failure is None:
            ticks.reverse()
            while ticks:  # each is let go once it was judged
                yield ticks.pop()
            return
        if tries <= 1:
            raise failure
        for part in _parts_of(span, max(1, span.count // 4)):
            async for tick in self._insist(part, tries - 1):
                yield tick


def _parts_of(span: Span, most: int) -> Iterator[Span]:
    """The span in parts of at most so many evaluations."""
    for first in range(0, span.count, most):
        yield Span(span.start + first * span.step, span.step, min(most, span.count - first))

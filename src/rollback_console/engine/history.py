"""A fleet's past, evaluation by evaluation: read in stretches, so that a month of it needs no month of memory.

The sampler and the back-fill are the live engine's own. Where a live engine shows a query that fails as blind, a look
at the past insists: it asks again for shorter stretches, and raises what remains.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import TypeVar

from rollback_console.engine.backfill import Backfill
from rollback_console.engine.backtest import Lane
from rollback_console.engine.declared import Declared
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.engine.versions import VersionHistory
from rollback_console.errors import BackendError
from rollback_console.model.observation import BackendHealth, Series, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.value import dataclass
from rollback_console.observe.protocol import MetricBackend

T = TypeVar("T")

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
    """A backend that remembers what it failed with: the sampler makes a blind answer of it, the book leaves it out."""

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


class _Shared:
    """A backend that lanes ask in turn, each the same: an answer is kept until each of them has had it."""

    def __init__(self, metrics: _Watched) -> None:
        self._metrics = metrics
        self.sharing = 0
        self._kept: dict[tuple[str, float, float, float], tuple[int, tuple[Series, ...]]] = {}

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        return await self._metrics.query(promql, at)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        key = (promql, start, end, step)
        left, answer = self._kept.pop(key, (0, None))
        if answer is None:
            left, answer = self.sharing, await self._metrics.query_range(promql, start, end, step)
        if left > 1:
            self._kept[key] = (left - 1, answer)
        return answer

    def forget(self) -> None:
        """What some lane did not ask for is let go."""
        self._kept.clear()

    def health(self) -> BackendHealth:
        return self._metrics.health()

    async def close(self) -> None:
        """The one behind is closed by whoever made it."""


class History:
    """The past of one fleet, and the lanes that go through it."""

    def __init__(
        self,
        rules: Sequence[DeploymentRule],
        metrics: MetricBackend,
        step_s: float,
        lookback_s: float,
        declared: Declared | None = None,
    ) -> None:
        """`declared`: what people declared by hand; each evaluation is told what was known then."""
        self.rules = tuple(rules)
        self.lanes: list[Lane] = []
        self._declared = declared
        self._watched = _Watched(metrics)
        self._shared = _Shared(self._watched)
        self._step, self._lookback = step_s, lookback_s
        self._versions, self._backfill = self._parts(Sampler(self.rules, self._watched))
        readings = sum(len(rule.signals) + 1 for rule in self.rules)
        self._most = max(1, MOST_READINGS // max(1, readings))

    def _parts(self, sampler: Sampler) -> tuple[VersionHistory, Backfill]:
        if self._declared is not None:
            sampler.leave_out(self._declared)
        versions = VersionHistory(sampler, self._step, self._lookback)
        return versions, Backfill(sampler, versions, self._step, self._lookback)

    async def begin(self, settings: Sequence[Sequence[DeploymentRule]], at: float, *, cold: bool) -> None:
        """Put a lane for each setting (rules that ask the same queries as the history's) at the beginning, just after
        the evaluation at `at`. `cold`: each carries what a console that watched all along would carry from there; else
        it knows nothing yet. Raises BackendError."""
        self._shared.sharing = len(settings)
        await self._insistent(self._versions.load(at))
        lender: SeasonalBook | None = None
        for rules in settings:
            book = SeasonalBook(rules, self._shared)
            if lender is None or self._declared is not None or not book.borrow(lender):
                lender = lender or book  # (what people declared makes baselines of its own)
            sampler = Sampler(rules, self._shared, book)
            if self._declared is not None:
                sampler.leave_out(self._declared)
            memories = None
            if cold:
                versions, backfill = self._parts(sampler)
                await self._insistent(versions.load(at))
                replayed = await self._insistent(
                    backfill.cold(at, lambda index, when: False, lambda notice, done, settled: None)
                )
                memories = replayed.memories
            self.lanes.append(Lane(rules, memories, sampler, self._declared))
        self._shared.forget()

    async def _insistent(self, work: Awaitable[T]) -> T:
        """Raises what the backend failed with meanwhile, where it was made a blind answer of."""
        self._watched.forget()
        done = await work
        failure = self._watched.failure()
        if failure is not None:
            raise failure
        return done

    async def ticks(self, spans: Sequence[Span]) -> AsyncIterator[Tick]:
        """Every evaluation of the spans, in their order; what the lanes need to judge them is ready then. Raises
        BackendError where history cannot be read."""
        for span in spans:
            for part in _parts_of(span, self._most):
                async for tick in self._stretch(part, _TRIES):
                    yield tick

    async def _stretch(self, span: Span, tries: int) -> AsyncIterator[Tick]:
        try:
            ticks = await self._insistent(self._backfill.unlearned(span.start, span.end, None, span.step))
            for lane in self.lanes:
                await self._insistent(lane.prepare(span.start, span.end))
            self._shared.forget()
        except BackendError:
            if tries <= 1:
                raise
        else:
            ticks.reverse()
            while ticks:  # each is let go once it was judged
                yield ticks.pop()
            return
        for part in _parts_of(span, max(1, span.count // 4)):
            async for tick in self._stretch(part, tries - 1):
                yield tick


def _parts_of(span: Span, most: int) -> Iterator[Span]:
    """The span in parts of at most so many evaluations."""
    for first in range(0, span.count, most):
        yield Span(span.start + first * span.step, span.step, min(most, span.count - first))

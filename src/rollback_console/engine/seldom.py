"""Signals asked seldom that never trigger: distributions, which explain, and slow ones, which are judged when mature.

Both are asked at times of their own, whole multiples of a pace, whenever somebody evaluates: what is told at `at` is a
function of the backend's data and of `at` alone, so that a console opened cold, one that watched all along and a
backtest show the same. Like everything that a fleet asks, one query serves all deployments that share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from math import inf, log

from rollback_console.decide.aside import DAY_S, PAST_DAYS, as_of, lag_of, reach_of
from rollback_console.decide.calendar import WEEK_S, touched
from rollback_console.decide.drift import compare, differences
from rollback_console.engine.backoff import Backoff
from rollback_console.engine.book import LeftOut
from rollback_console.engine.queries import Answer, Splitter, split_points
from rollback_console.errors import BackendError
from rollback_console.model.observation import Blind, Drift, Norm, Reading
from rollback_console.model.rules import BaselineKind, DeploymentRule, SignalKind, SignalRule, Stretch
from rollback_console.model.value import dataclass
from rollback_console.observe.protocol import MetricBackend

ONSET_S = 86_400.0  # how far back the beginning of a drift is looked for
_SHARE = 4  # of its window: how often a distribution is compared
_LEAST_PACE_S = 300.0
_WAIT_S = 15.0
_ON_GRID = 1e-6

Histogram = Mapping[float, float]  # cumulative counts by upper bound
Place = tuple[int, int]


def pace_of(signal: SignalRule) -> float:
    """The seconds between two comparisons of a distribution."""
    return max(_LEAST_PACE_S, signal.window_s // _SHARE // 60 * 60)


@dataclass(slots=True)
class _Column:
    """One query's answers by the time that they were asked for."""

    promql: str
    buckets: bool
    scope: set[int] = field(default_factory=set)
    answers: dict[float, Answer] = field(default_factory=dict)
    wanted: set[float] = field(default_factory=set)


class Seldom:
    """`prepare` reads what evaluations need, `reading` answers at once."""

    def __init__(self, rules: Sequence[DeploymentRule], metrics: MetricBackend) -> None:
        self._metrics = metrics
        self._splitter = Splitter(rules)
        self._columns: dict[str, _Column] = {}
        self._signals: dict[Place, SignalRule] = {}
        self._drifts: dict[tuple[Place, float, float], Drift | None] = {}
        self._again = Backoff(_WAIT_S)
        self._ready: tuple[float, ...] | None = None
        self._names = [str(rule.deployment.id) for rule in rules]
        self.left_out: LeftOut | None = None
        for index, rule in enumerate(rules):
            for number, signal in enumerate(rule.signals):
                if signal.aside:
                    self._signals[index, number] = signal
                    for promql in self._queries(signal):
                        column = self._columns.setdefault(
                            promql, _Column(promql, signal.kind is SignalKind.DISTRIBUTION)
                        )
                        column.scope.add(index)

        self._kinds = list(dict.fromkeys(self._signals.values()))  # deployments of one policy share theirs

    @staticmethod
    def _queries(signal: SignalRule) -> Iterable[str]:
        return [each for each in (signal.value, signal.x, signal.n, signal.buckets, signal.buckets_then) if each]

    # -- reading ------------------------------------------------------------------------------------------------------

    async def prepare(self, at: float, since: float | None = None) -> None:
        """Read what the evaluations from `since` (default: `at` alone) to `at` need and is not here; never raises."""
        since = at if since is None else min(since, at)
        due = tuple([_due(signal, moment) for signal in self._kinds for moment in (since, at)])
        if due == self._ready:
            return
        for column in self._columns.values():
            column.wanted.clear()
        for signal in self._kinds:
            for promql, times in self._times(signal, since, at):
                self._columns[promql].wanted |= times
        missing = {
            column.promql: sorted(time for time in column.wanted if _lacks(column.answers.get(time)))
            for column in self._columns.values()
        }
        failed = any(missing.values())
        if failed and self._again.due(at):
            failed = False
            for promql, lacking in missing.items():
                for first, last, step in _stretches(lacking):
                    failed = not await self._read(self._columns[promql], first, last, step) or failed
            self._again.failed(at) if failed else self._again.answered()
        for column in self._columns.values():
            column.answers = {time: found for time, found in column.answers.items() if time in column.wanted}
        self._ready = None if failed else due
        oldest = since - ONSET_S - WEEK_S
        self._drifts = {key: found for key, found in self._drifts.items() if key[1] >= oldest}

    def _times(self, signal: SignalRule, since: float, at: float) -> Iterable[tuple[str, set[float]]]:
        """Which query is wanted at which times."""
        if signal.kind is SignalKind.SLOW:
            days = {
                day - k * DAY_S
                for day in _grid(as_of(signal, since), as_of(signal, at), DAY_S)
                for k in range(PAST_DAYS + round(lag_of(signal) / DAY_S) + 1)
            }
            for promql in self._queries(signal):
                yield promql, days
            return
        now = _grid(_aligned(since, pace_of(signal)) - ONSET_S, _aligned(at, pace_of(signal)), pace_of(signal))
        base = signal.baseline
        yield (
            signal.buckets or "",
            now
            | ({time - WEEK_S for time in now} if base is not None and base.kind is BaselineKind.LAST_WEEK else set()),
        )
        if base is not None and base.kind is BaselineKind.PERIOD and base.period is not None:
            yield signal.buckets_then or "", {base.period.end}

    async def _read(self, column: _Column, first: float, last: float, step: float) -> bool:
        """False where the backend did not answer."""
        count = round((last - first) / step) + 1
        try:
            series = await self._metrics.query_range(column.promql, first, last, step)
        except BackendError:
            for k in range(count):
                column.answers[first + k * step] = Answer(failed=True)
            return False
        found = split_points(self._splitter, series, column.scope, count, first, step, False, buckets=column.buckets)
        for k, answer in enumerate(found):
            column.answers[first + k * step] = answer
        return True

    # -- answering ----------------------------------------------------------------------------------------------------

    def reading(self, index: int, number: int, at: float, raw: Reading) -> Reading:
        """What is known of the signal at `at`. `raw`: of a version baseline, when that version ended and its buckets
        before that, or why there are none."""
        signal = self._signals[index, number]
        if signal.kind is SignalKind.SLOW:
            return self._slow(signal, index, at)
        return self._distribution(signal, (index, number), at, raw)

    def _distribution(self, signal: SignalRule, place: Place, at: float, base: Reading) -> Reading:
        pace = pace_of(signal)
        now = _aligned(at, pace)
        seen = self._histogram(signal.buckets, now, place[0])
        if isinstance(seen, Blind):
            return Reading(blind=seen)
        before = self._compared_with(signal, place, now, base)
        if isinstance(before, Blind):
            return Reading(baseline_blind=before, blind=before)
        found = self._drift(signal, place, now, base)
        if found is None:
            return Reading(n=max(seen.values(), default=0.0))
        since = now
        if found.drifted:
            for k in range(1, round(ONSET_S / pace)):
                earlier = self._drift(signal, place, now - k * pace, base)
                if earlier is None or not earlier.drifted:
                    break
                since = now - k * pace
            found = replace(found, since=since - signal.window_s / 2)
        return Reading(found.psi, n=found.m, drift=found)

    def _drift(self, signal: SignalRule, place: Place, at: float, base: Reading) -> Drift | None:
        key = (place, at, base.baseline or 0.0)
        if key not in self._drifts:
            now = self._histogram(signal.buckets, at, place[0])
            before = self._compared_with(signal, place, at, base)
            if isinstance(now, Blind) or isinstance(before, Blind):
                return None
            self._drifts[key] = _compared(before, now)
        return self._drifts[key]

    def _compared_with(self, signal: SignalRule, place: Place, at: float, base: Reading) -> Histogram | Blind:
        baseline = signal.baseline
        if baseline is None:
            return Blind.NO_DATA
        if baseline.kind is BaselineKind.VERSION:
            return dict(base.buckets) if base.buckets is not None else base.baseline_blind or Blind.NO_DATA
        if baseline.kind is BaselineKind.PERIOD and baseline.period is not None:
            return self._histogram(signal.buckets_then, baseline.period.end, place[0])
        then = at - WEEK_S
        if touched(self._excluded(signal, place[0], at), then - signal.window_s, then):
            return Blind.NO_DATA
        return self._histogram(signal.buckets, then, place[0])

    def _excluded(self, signal: SignalRule, index: int, at: float) -> tuple[Stretch, ...]:
        """What is no example, by the policy and, as the evaluation at `at` knew it, by hand."""
        written = signal.baseline.exclude if signal.baseline is not None else ()
        return written if self.left_out is None else (*written, *self.left_out.excluded(self._names[index], at))

    def _histogram(self, promql: str | None, at: float, index: int) -> Histogram | Blind:
        answer = self._answer(promql, at)
        if answer is None or answer.unanswered(index):
            return Blind.QUERY_FAILED
        return answer.buckets.get(index, Blind.NO_DATA)

    def _answer(self, promql: str | None, at: float) -> Answer | None:
        column = self._columns.get(promql or "")
        return column.answers.get(at) if column is not None else None

    def _slow(self, signal: SignalRule, index: int, at: float) -> Reading:
        """The last mature value, what it is compared with, and how far two such values differ by chance."""
        day = as_of(signal, at)
        value, n, x = self._value(signal, day, index)
        if isinstance(value, Blind):
            return Reading(blind=value)
        base: float | Blind | None = None
        lag = lag_of(signal)
        if signal.baseline is not None and signal.baseline.kind is BaselineKind.LAST_WEEK:
            base = self._value(signal, day - lag, index)[0]
        ratios = []
        exclude = self._excluded(signal, index, at)
        for k in range(1, PAST_DAYS + 1):
            then = day - k * DAY_S
            one, two = self._value(signal, then, index)[0], self._value(signal, then - lag, index)[0]
            spared = touched(exclude, then - signal.window_s, then) or touched(
                exclude, then - lag - signal.window_s, then - lag
            )
            if not isinstance(one, Blind) and not isinstance(two, Blind) and one > 0.0 and two > 0.0 and not spared:
                ratios.append(log(one / two))
        reach = reach_of(ratios)
        norm = None if reach is None else Norm(reach, ())
        blind = base if isinstance(base, Blind) else None
        return Reading(value, None if isinstance(base, Blind) else base, n, None, blind, x, norm)

    def _value(self, signal: SignalRule, at: float, index: int) -> tuple[float | Blind, float | None, float | None]:
        """(value, trials, events) of the window that ended at `at`."""
        if signal.value is not None:
            return _look(self._answer(signal.value, at), index), None, None
        n, x = _look(self._answer(signal.n, at), index), _look(self._answer(signal.x, at), index)
        if isinstance(n, Blind) or isinstance(x, Blind):
            return (n if isinstance(n, Blind) else Blind.NO_DATA), None, None
        return (x / n, n, x) if n > 0.0 else (Blind.NO_DATA, None, None)


def _compared(before: Histogram, now: Histogram) -> Drift | None:
    """The drift between two histograms, over the buckets that both have; None where there is too little to compare."""
    bounds = sorted(before.keys() & now.keys())
    if not bounds or bounds[-1] != inf:
        return None
    return compare(
        bounds, differences(bounds, [before[bound] for bound in bounds]), differences(bounds, [now[b] for b in bounds])
    )


def _look(answer: Answer | None, index: int) -> float | Blind:
    return answer.of(index) if answer is not None else Blind.QUERY_FAILED


def _due(signal: SignalRule, at: float) -> float:
    """When what is told at `at` was asked for."""
    return as_of(signal, at) if signal.kind is SignalKind.SLOW else _aligned(at, pace_of(signal))


def _lacks(answer: Answer | None) -> bool:
    return answer is None or answer.failed


def _aligned(at: float, pace: float) -> float:
    return (at + _ON_GRID) // pace * pace


def _grid(first: float, last: float, step: float) -> set[float]:
    return {first + k * step for k in range(round((last - first) / step) + 1)}


def _stretches(times: Sequence[float]) -> Iterable[tuple[float, float, float]]:
    """Times in order as (first, last, step), the steps within each alike."""
    k = 0
    while k < len(times):
        if k + 1 == len(times):
            yield times[k], times[k], 60.0
            return
        step, end = times[k + 1] - times[k], k + 1
        while end + 1 < len(times) and times[end + 1] - times[end] == step:
            end += 1
        yield times[k], times[end], step
        k = end + 1

"""Backends' answers become ticks: one evaluation now, or many at once out of history, through the same assembly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from functools import lru_cache
from math import inf, isfinite
from typing import TYPE_CHECKING

from rollback_console.decide.ranks import SELDOM
from rollback_console.decide.stakes import staked, stakes_of, suspected_loss
from rollback_console.engine.book import Book, LeftOut
from rollback_console.engine.queries import (
    FAILED,
    WEEK_S,
    Answer,
    Before,
    QueryPlan,
    SignalColumns,
    Splitter,
    VersionBaseline,
    plan_queries,
    split_instant,
    split_points,
)
from rollback_console.errors import BackendError
from rollback_console.model.observation import Blind, Norm, Observation, Reading, Tick
from rollback_console.model.rules import BaselineKind, DeploymentRule, EvidenceRule, SignalKind, SignalRule
from rollback_console.model.verdict import EvidenceMemory, TriggerMemory
from rollback_console.observe.protocol import MetricBackend

if TYPE_CHECKING:
    from rollback_console.engine.seldom import Seldom
    from rollback_console.engine.weeks import WeeksBefore

# (deployment number, signal number) -> the version baseline in force, or why there is none
VersionBaselines = Mapping[tuple[int, int], VersionBaseline]
_LEARNED = (BaselineKind.SEASONAL, BaselineKind.CONTROL)
_UNLEARNED_MARGIN = 0.02
_UNLEARNED_PHI = (
    4.0,
)  # counts per minute in real traffic are never less noisy than binomial, and often this much more
_NO_MEMORIES: Mapping[int, TriggerMemory] = {}
_SLICE = 200  # deployments assembled before others may run


class Sampler:
    """Asks each query once for the fleet and assembles observations. Stateless but for its plan, and for what the
    `book` of learned baselines holds ready."""

    def __init__(self, rules: Sequence[DeploymentRule], metrics: MetricBackend, book: Book | None = None) -> None:
        self.rules = tuple(rules)
        self.book = book
        self.plan: QueryPlan = plan_queries(self.rules)
        self._splitter = Splitter(self.rules)
        self._metrics = metrics
        self.left_out: LeftOut | None = None
        self._weeks: WeeksBefore | None = None  # where anything of last week may have been left out
        self._staked = tuple(staked(rule) for rule in self.rules)
        self._divided = tuple(rule.trigger.false_alarms_a_week is not None for rule in self.rules)
        # Per deployment: the signals whose norm, or whose baseline itself, is learned.
        self._learned = [
            tuple(
                number
                for number, signal in enumerate(rule.signals)
                if signal.evidence or signal.aside or _from_book(signal)
            )
            for rule in self.rules
        ]
        self.seldom: Seldom | None = None
        if any(signal.aside for rule in self.rules for signal in rule.signals):
            from rollback_console.engine.seldom import Seldom

            self.seldom = Seldom(self.rules, metrics)
        self._excludes = any(
            signal.baseline is not None and bool(signal.baseline.exclude)
            for rule in self.rules
            for signal in rule.signals
        )

    def leave_out(self, left_out: LeftOut) -> None:
        """From here on, no baseline goes by what people excluded by hand; each evaluation as it knew that."""
        self.left_out = left_out
        if self.book is not None:
            self.book.leave_out(left_out)
        if self.seldom is not None:
            self.seldom.left_out = left_out

    def _other_weeks(self, query: int) -> WeeksBefore | None:
        """Who puts another week's answers in the place of last week's, where any may have to be."""
        if self.plan.queries[query].offset_s < WEEK_S:
            return None
        if not self._excludes and (self.left_out is None or not self.left_out.moments()):
            return None
        if self._weeks is None:
            from rollback_console.engine.weeks import WeeksBefore  # seldom needed

            self._weeks = WeeksBefore(self.rules, self.plan, self._metrics)
        self._weeks.left_out = self.left_out
        return self._weeks if self._weeks.concerns(query) else None

    async def answers_at(self, at: float) -> list[Answer]:
        """Every query's answer at `at` (Unix seconds). A failed query is an answer too; nothing is raised."""
        return list(await asyncio.gather(*(self._instant(index, at) for index in range(len(self.plan.queries)))))

    async def answers_between(
        self, start: float, end: float, step: float, wanted: Set[int] | None = None
    ) -> list[list[Answer]]:
        """Every query's answers at each ``start + k * step`` up to `end`, inclusive; outer index is the query's. Those
        that are not `wanted` are not asked: they answer nothing."""
        times = round((end - start) / step) + 1
        asked = [index for index in range(len(self.plan.queries)) if wanted is None or index in wanted]
        found = await asyncio.gather(*(self._range(index, start, end, step, times) for index in asked))
        answers = dict(zip(asked, found, strict=True))
        return [answers.get(index) or [Answer()] * times for index in range(len(self.plan.queries))]

    async def versions_between(self, start: float, end: float, step: float) -> list[list[Answer]]:
        """As `answers_between`, of the serving-version queries alone (others' lists are empty)."""
        times = round((end - start) / step) + 1
        wanted = self.plan.version_queries
        answers: list[list[Answer]] = [[] for _ in self.plan.queries]
        for index in sorted(wanted):
            answers[index] = await self._range(index, start, end, step, times)
        return answers

    async def _instant(self, index: int, at: float) -> Answer:
        query = self.plan.queries[index]
        try:
            series = await self._metrics.query(query.promql, at - query.offset_s)
        except BackendError:
            return FAILED
        answer = split_instant(self._splitter, series, self.plan.scopes[index], query.version, buckets=query.buckets)
        other = self._other_weeks(index)
        return answer if other is None else await other.instant(index, at, answer)

    async def _range(self, index: int, start: float, end: float, step: float, times: int) -> list[Answer]:
        query = self.plan.queries[index]
        try:
            series = await self._metrics.query_range(query.promql, start - query.offset_s, end - query.offset_s, step)
        except BackendError:
            return [FAILED] * times
        answers = split_points(
            self._splitter, series, self.plan.scopes[index], times, start - query.offset_s, step,
            query.version, buckets=query.buckets,
        )  # fmt: skip
        other = self._other_weeks(index)
        return answers if other is None else await other.between(index, start, step, answers)

    async def history(
        self,
        promql: str,
        owners: set[int],
        start: float,
        end: float,
        step: float,
        leaves_out: Callable[[int, float], bool] | None = None,
    ) -> dict[int, list[float]]:
        """The finite values of a query between two times, for each of `owners`, without those that it (asked for the
        owner and the time) leaves out. Raises `BackendError`."""
        found: dict[int, list[float]] = {}
        for one in await self._metrics.query_range(promql, start, end, step):
            for owner in self._splitter.owners(one.labels, owners):
                found.setdefault(owner, []).extend(
                    value
                    for at, value in one.points
                    if isfinite(value) and not (leaves_out is not None and leaves_out(owner, at))
                )
        return found

    async def buckets_at(self, promql: str, owners: set[int], at: float) -> dict[int, dict[float, float]]:
        """A histogram's cumulative buckets, for each of `owners`. Raises `BackendError`."""
        series = await self._metrics.query(promql, at)
        return split_instant(self._splitter, series, owners, False, buckets=True).buckets

    async def serving_now(self, deployment: int, at: float) -> str | None:
        """What a deployment's serving reports at `at`, asked for it alone; None when it cannot be told."""
        index = self.plan.columns[deployment].version
        if index < 0:
            return None
        return (await self._instant(index, at)).versions.get(deployment)

    def version_at(self, answers: Sequence[Answer], deployment: int) -> str | None:
        """What a deployment's serving reports in these answers."""
        index = self.plan.columns[deployment].version
        return answers[index].versions.get(deployment) if index >= 0 else None

    async def prepare(self, at: float, since: float | None = None, *, learned: bool = True) -> None:
        """Have the learned baselines ready for the evaluations from `since` (default: `at` alone) to `at`; with
        `learned` False only what takes no learning."""
        if self.book is not None:
            await self.book.prepare(at, since, learned=learned)
        if self.seldom is not None:
            await self.seldom.prepare(at, since)

    async def assemble(
        self,
        at: float,
        answers: Sequence[Answer],
        baselines: VersionBaselines,
        only: Sequence[int] | None = None,
        memories: Mapping[int, TriggerMemory] | None = _NO_MEMORIES,
    ) -> Tick:
        """The tick at `at` out of its answers; `only` limits it to some deployments (a deeper back-fill). `memories`
        (by deployment, before this evaluation) say whose baseline a suspicion has frozen; None: what is learned is left
        out, for `normed` to fill in once the memory is known."""
        if memories is not None:
            await self.prepare(at)
        observations = []
        for count, index in enumerate(range(len(self.rules)) if only is None else only):
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            seen = self._observe(index, at, answers, baselines)
            observations.append(seen if memories is None else self.normed(index, seen, memories.get(index)))
        return Tick(at, tuple(observations))

    def normed(self, index: int, observation: Observation, memory: TriggerMemory | None) -> Observation:
        """The observation with what is learned: the norm of each signal that is judged by evidence, and the baselines
        that are learned themselves, as they are for the `memory` before."""
        if not self._learned[index]:
            return observation
        carried = memory.evidence if memory is not None else ()
        readings = list(observation.readings)
        for number in self._learned[index]:
            own = carried[number] if carried else None
            frozen = own.frozen_at if own is not None else None
            readings[number] = self._normed(index, number, readings[number], observation.at, frozen)
        o = observation  # (not `replace`, which takes five times as long, for every deployment at every evaluation)
        seen = Observation(
            o.deployment, o.at, tuple(readings), o.version, o.revenue_per_minute, o.users_per_minute,
            o.satisfaction_per_minute, o.market_per_minute,
        )  # fmt: skip
        return self._by_stakes(index, seen, carried) if carried and self._staked[index] else seen

    def learned(self, index: int) -> tuple[int, ...]:
        """The signals (by number) of a deployment of which anything is learned."""
        return self._learned[index]

    def unlearned(self, index: int, observation: Observation) -> Observation:
        """The observation, what is learned unknown: it is not learned yet."""
        numbers = self._learned[index]
        readings = tuple(
            Reading(n=reading.n, blind=reading.blind or Blind.LEARNING) if number in numbers else reading
            for number, reading in enumerate(observation.readings)
        )
        return replace(observation, readings=readings)

    def _by_stakes(self, index: int, observation: Observation, carried: Sequence[EvidenceMemory | None]) -> Observation:
        """The observation with the adaptive dwells that what is at stake chooses: where something is suspected, and it
        is known what another minute of it loses."""
        rule = self.rules[index]
        loss = suspected_loss(rule, observation, carried)
        if loss is None or self.book is None:
            return observation
        readings, stakes = list(observation.readings), stakes_of(rule.impact, loss)
        for number, (signal, reading, own) in enumerate(zip(rule.signals, observation.readings, carried, strict=True)):
            if reading.norm is not None and signal.evidence is not None and signal.evidence.adaptive is not None:
                frozen = own.frozen_at if own is not None else None
                dwell = self.book.dwell(index, number, observation.at, frozen, stakes)
                if dwell is not None:
                    readings[number] = replace(reading, norm=replace(reading.norm, dwell_s=dwell))
        return replace(observation, readings=tuple(readings))

    def _normed(self, index: int, number: int, reading: Reading, at: float, frozen_at: float | None) -> Reading:
        signal = self.rules[index].signals[number]
        if signal.aside and self.seldom is not None:
            return self.seldom.reading(index, number, at, reading)
        found = self.book.norm(index, number, at, frozen_at) if self.book is not None else Blind.NO_DATA
        norm = None if signal.evidence is None else _unlearned(signal.evidence)
        if norm is not None and isinstance(found, Blind) and self._divided[index] and self.book is not None:
            norm = replace(norm, budget_s=self.book.share(index, number, at))
        base, blind = reading.baseline, reading.baseline_blind
        if not isinstance(found, Blind):
            norm = norm and found[1]
            if _from_book(signal):
                base, blind = found[0], None
        elif self.book is not None and _from_book(signal):
            base, blind = None, found
        if signal.kind is SignalKind.GAUGE:
            return _gauge(signal, reading, base, blind, norm)
        if signal.kind is SignalKind.VALUE:
            return _valued(reading, base, blind, norm)
        return Reading(reading.value, base, reading.n, reading.blind, blind, reading.x, norm)

    def _observe(self, index: int, at: float, answers: Sequence[Answer], baselines: VersionBaselines) -> Observation:
        rule, columns = self.rules[index], self.plan.columns[index]
        readings = tuple(
            [
                _reading(signal, column, index, at, answers, baselines.get((index, number)) if baselines else None)
                for number, (signal, column) in enumerate(zip(rule.signals, columns.signals, strict=True))
            ]
        )
        return Observation(
            rule.deployment.id,
            at,
            readings,
            self.version_at(answers, index),
            _finite(answers, columns.revenue, index),
            _finite(answers, columns.users, index),
            _finite(answers, columns.satisfaction, index),
            _finite(answers, columns.market, index),
        )


def _from_book(signal: SignalRule) -> bool:
    """Is the baseline itself learned."""
    if signal.baseline is None or signal.aside:
        return False
    if signal.kind is SignalKind.GAUGE:
        return signal.baseline.kind is not BaselineKind.VERSION
    if signal.evidence is not None and signal.baseline.kind is BaselineKind.LAST_WEEK:
        return True  # of hours: one window of last week would be too few events to compare with
    return signal.baseline.kind in _LEARNED


def _gauge(signal: SignalRule, reading: Reading, base: float | None, blind: Blind | None, norm: Norm | None) -> Reading:
    """A gauge's reading: its baseline is its median, its bound stands in the norm. Against another version the bound is
    what that version rarely passed, and takes the median's place."""
    if norm is not None and signal.baseline is not None and signal.baseline.kind is BaselineKind.VERSION:
        norm = replace(norm, bound=base, share=SELDOM)
    return Reading(reading.value, base, None, reading.blind, blind, None, norm)


def _valued(reading: Reading, base: float | None, blind: Blind | None, norm: Norm | None) -> Reading:
    """Orders above the learned target, counted from the buckets as they were asked."""
    if reading.buckets is None or norm is None or norm.bound is None:
        why = reading.blind or (Blind.NO_DATA if reading.buckets is None else None)
        return Reading(None, None, None, why, blind or Blind.NO_DATA, None, norm, None, reading.buckets)
    counts = dict(reading.buckets)
    n, under = counts.get(inf), counts.get(norm.bound)
    if n is None or under is None or n <= 0.0:
        return Reading(None, base, n, Blind.NO_DATA, blind, None, norm, None, reading.buckets)
    x = max(0.0, n - under)
    return Reading(x / n, base, n, reading.blind, blind, x, norm, None, reading.buckets)


@lru_cache(maxsize=1024)
def _unlearned(rule: EvidenceRule) -> Norm:
    """A cautious norm for a stream that nothing is known of."""
    return Norm(rule.margin if rule.margin is not None else _UNLEARNED_MARGIN, _UNLEARNED_PHI)


def _finite(answers: Sequence[Answer], query: int, index: int) -> float | None:
    if query < 0:
        return None
    value = answers[query].values.get(index)
    return value if value is not None and isfinite(value) else None


def _ratio(answers: Sequence[Answer], x: int, n: int, index: int) -> tuple[float | Blind, float | None]:
    """x out of n and n; no trials is no data, never good and never bad."""
    trials = answers[n].of(index)
    if isinstance(trials, Blind):
        return trials, None
    if trials <= 0:
        return Blind.NO_DATA, trials
    events = answers[x].of(index)
    return (events if isinstance(events, Blind) else events / trials), trials


def _reading(
    signal: SignalRule,
    columns: SignalColumns,
    index: int,
    at: float,
    answers: Sequence[Answer],
    version_baseline: VersionBaseline | None,
) -> Reading:
    if signal.aside:
        if isinstance(version_baseline, Before):
            return Reading(baseline=version_baseline.ended, buckets=version_baseline.buckets)
        return Reading(baseline_blind=version_baseline if isinstance(version_baseline, Blind) else None)
    if isinstance(version_baseline, Before):
        version_baseline = None  # of a distribution alone
    if columns.buckets >= 0:
        return _counted(signal, columns, index, answers, version_baseline)
    trials: float | None = None
    if columns.value >= 0:
        if (
            columns.heartbeat < 0
            and signal.evidence is None
            and (signal.baseline is None or signal.baseline.kind is BaselineKind.FIXED)
        ):
            answer = answers[columns.value]  # most signals, most of the time: a number, and nothing to set beside it
            plain = answer.values.get(index)
            if plain is not None and isfinite(plain) and not answer.unanswered(index):
                return Reading(plain)
        value = answers[columns.value].of(index)
    else:
        value, trials = _ratio(answers, columns.x, columns.n, index)
    if columns.heartbeat >= 0 and not isinstance(value, Blind):
        value = _fresh(value, answers[columns.heartbeat].of(index), at, signal.stale_s)
    base: float | Blind | None = None
    if signal.baseline is not None and signal.baseline.kind is not BaselineKind.FIXED:
        if signal.baseline.kind is BaselineKind.VERSION:
            base = version_baseline if version_baseline is not None else Blind.NO_DATA
        elif signal.baseline.kind in _LEARNED:
            base = Blind.NO_DATA  # until `normed` fills it in
        elif columns.base_value >= 0:
            base = answers[columns.base_value].of(index)
        else:
            base, _ = _ratio(answers, columns.base_x, columns.base_n, index)
    blind = value if isinstance(value, Blind) else None
    events = None
    if signal.evidence is not None and columns.x >= 0 and blind is None:
        events = answers[columns.x].values.get(index)
    return Reading(
        None if isinstance(value, Blind) else value,
        None if isinstance(base, Blind) else base,
        trials,
        blind,
        base if isinstance(base, Blind) else None,
        events,
    )


def _counted(
    signal: SignalRule, columns: SignalColumns, index: int, answers: Sequence[Answer], version: float | Blind | None
) -> Reading:
    """A histogram's buckets, which `normed` counts once it is known above what."""
    answer = answers[columns.buckets]
    base: float | Blind = Blind.NO_DATA
    if signal.baseline is not None and signal.baseline.kind is BaselineKind.VERSION and version is not None:
        base = version
    blind, found = None, answer.buckets.get(index)
    if answer.unanswered(index):
        blind, found = Blind.QUERY_FAILED, None
    elif found is None or not all(map(isfinite, found.values())):
        blind, found = (Blind.NO_DATA if found is None else Blind.NOT_A_NUMBER), None
    return Reading(
        None, base if not isinstance(base, Blind) else None, None, blind, base if isinstance(base, Blind) else None,
        buckets=tuple(sorted(found.items())) if found is not None else None,
    )  # fmt: skip


def _fresh(value: float, newest: float | Blind, at: float, stale_s: float | None) -> float | Blind:
    """A value whose heartbeat is older than the policy allows is stale; a heartbeat that cannot be read says nothing
    good about the value it vouches for."""
    if isinstance(newest, Blind):
        return newest
    return Blind.STALE if stale_s is not None and at - newest > stale_s else value

"""A cold start or a gap, mended: the same `decide`, replayed over what history holds.

How far back is far enough? A trigger's memory is known for certain after its condition was false, and seen, for as long
as its hold: whatever it was before, it is healthy then. So the replay reaches back until every deployment shows such a
calm stretch, doubling the span, up to `lookback`; deeper rounds look only at deployments that are not settled yet. Or
until it meets the last evaluation of a console that slept, whose memories are as certain.

Signals that are judged by evidence remember for longer: their detectors are replayed first, over the last day
(`engine.warmup`), and a calm stretch settles a deployment only from where on its evidence is certain.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import field

from rollback_console.decide.judge import FRESH, Step, decide, step, weighed
from rollback_console.decide.signals import lingers
from rollback_console.decide.trigger import state_of
from rollback_console.engine.progress import Progress
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.versions import VersionHistory
from rollback_console.engine.warmup import Warm, Warmup
from rollback_console.model.observation import Blind, Observation, Tick
from rollback_console.model.rules import BlindPolicyKind, DeploymentRule, SignalRule
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import SignalVerdict, TriggerMemory, TriggerState, Verdict

BASELINES = -2  # (-1 is no query): stands for the queries of version baselines among the numbers of those that failed
_MOST_POINTS = 4_000_000  # that a cold start asks of the backend, its version history aside
_LONG = 200  # detectors: less are learned, and replayed, before anybody has read the screen
_SLICE = 50  # evaluations between two chances for others to run: a few milliseconds
Cooling = Callable[[int, float], bool]  # (deployment number, at): is a cool-down running


@dataclass(frozen=True, slots=True)
class Change:
    """A change of state that a replay came through, with what it was decided from."""

    index: int
    observation: Observation
    before: TriggerMemory
    state_before: TriggerState
    verdict: Verdict
    after: TriggerMemory


@dataclass(slots=True)
class Replayed:
    """What a replay reached at `at`: per deployment the memory, the memory before it, the last verdict; every change of
    state on the way, and the newest observations of all (for sparklines)."""

    at: float
    memories: dict[int, TriggerMemory] = field(default_factory=dict)
    before: dict[int, TriggerMemory] = field(default_factory=dict)
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    rows: dict[int, list[Observation]] = field(default_factory=dict)
    unsettled: set[int] = field(default_factory=set)  # not known for certain even at the end of the look-back
    failing: set[int] = field(default_factory=set)  # queries that did not answer

    def go_on(self, later: Replayed) -> None:
        """And then what a replay from here on came to."""
        self.at = later.at
        self.memories |= later.memories
        self.before |= later.before
        self.verdicts |= later.verdicts
        self.changes += later.changes
        for index, rows in later.rows.items():
            self.rows[index] = [*self.rows.get(index, []), *rows]
        self.failing |= later.failing


@dataclass(frozen=True, slots=True)
class Known:
    """What a console knew at its last evaluation `at`: a replay goes on from there and need not go deeper."""

    at: float
    memories: Mapping[int, TriggerMemory]


Tell = Callable[[str, "Replayed", Set[int]], None]  # (notice, what is reached so far, who is settled)
Glimpse = Callable[[int, Sequence[Observation]], None]  # (deployment number, its last evaluations, nothing learned)


def first_span(rules: Sequence[DeploymentRule]) -> float:
    """The span (seconds) that settles a calm fleet: the longest hold and remembered judgement of any policy, and room
    to see a dwell begin."""
    longest = 0.0
    for rule in rules:
        remembered = max((signal.blind.last_s for signal in rule.signals), default=0.0)
        trigger = rule.trigger
        longest = max(longest, trigger.dwell_s + trigger.hold_s + remembered, trigger.blind_dwell_s)
    return longest


class Backfill:
    """Replays a fleet's history into memories."""

    def __init__(self, sampler: Sampler, versions: VersionHistory, step_s: float, lookback_s: float) -> None:
        self._sampler = sampler
        self._versions = versions
        self._step = step_s
        self._lookback = lookback_s
        self._count = 0
        self._warmup = Warmup(sampler, versions, step_s, lookback_s)
        self.settling_s = max(first_span(sampler.rules) * 1.25, 4 * step_s)  # what settles a calm fleet

    @property
    def progress(self) -> Progress | None:
        """How far the long part of a cold start has come, where one is under way."""
        book = self._sampler.book
        return (book.progress if book is not None else None) or self._warmup.progress

    @property
    def long(self) -> bool:
        """Does a cold start that finds nothing on a shelf take so long that somebody would wait."""
        return self._warmup.detectors >= _LONG

    async def cold(
        self,
        until: float,
        cooling: Cooling,
        progress: Tell,
        known: Known | None = None,
        glimpse: Glimpse | None = None,
    ) -> Replayed:
        """The fleet's state at `until`, out of history, and out of what was `known` where history settles nothing
        since. What history lacks is blind; nothing is raised. `progress` hears before each round what comes, and which
        deployments are settled: their verdicts are final. `glimpse` is shown those that have to wait for what is
        learned, before that begins."""
        done = Replayed(until)
        weighed = set(self._warmup.deployments)
        plain = set(range(len(self._sampler.rules))) - weighed
        changes: dict[int, list[Change]] = {}
        if plain or not weighed:  # whose states are known soon
            await self._rounds(done, plain, until, cooling, progress, known, None, changes)
        if weighed:
            progress("back-filling the evidence of the last day", done, plain - done.unsettled)
            if glimpse is not None:
                await self._glimpsed(sorted(weighed), until, glimpse)
            memories, since = (known.memories, known.at) if known is not None else ({}, -math.inf)
            warm = await self._warmup.run(until, self._lows(until, known), cooling, memories, since)
            done.failing |= warm.failing
            await self._rounds(done, weighed, until, cooling, progress, known, warm, changes)
        done.changes = sorted(
            (c for found in changes.values() for c in found), key=lambda c: (c.observation.at, c.index)
        )
        return done

    async def _glimpsed(self, who: Sequence[int], until: float, glimpse: Glimpse) -> None:
        ticks, failing = await self._ticks(self._lows(until, None)[0], until, who)
        if failing:
            return
        for place, index in enumerate(who):
            glimpse(index, [tick.observations[place] for tick in ticks])
            await asyncio.sleep(0)

    def _lows(self, until: float, known: Known | None) -> list[float]:
        """Where the rounds of a back-fill to `until` begin, the nearest first."""
        after, furthest, span = (
            known.at + self._step if known is not None else -math.inf,
            self._furthest(),
            self.settling_s,
        )
        lows = []
        while True:
            low = max(after, until - math.ceil(min(span, furthest) / self._step) * self._step)
            lows.append(low)
            if low == after or span >= furthest:
                return lows
            span *= 2

    async def _rounds(
        self,
        done: Replayed,
        deployments: Set[int],
        until: float,
        cooling: Cooling,
        progress: Tell,
        known: Known | None,
        warm: Warm | None,
        changes: dict[int, list[Change]],
    ) -> None:
        """Replay some deployments, deeper and deeper, until they are settled; `warm` is their evidence."""
        lows, others = self._lows(until, known), set(done.rows) - done.unsettled
        rows: dict[int, list[Observation]] = {index: [] for index in deployments}
        high, unsettled = until, set(deployments)
        after = known.at + self._step if known is not None else -math.inf
        while unsettled and lows:
            low = lows.pop(0)
            progress(f"back-filling {round(until - low)} s of history", done, others | (set(rows) - unsettled))
            only = sorted(unsettled)
            older: dict[int, list[Observation]] = {index: [] for index in only}
            ticks, failing = await self._ticks(low, high, only)
            await self._sampler.prepare(until, low, learned=not deployments.isdisjoint(self._warmup.deployments))
            for tick in ticks:
                for index, observation in zip(only, tick.observations, strict=True):
                    older[index].append(observation)
            for index in only:
                rows[index] = older[index] + rows[index]
                memory, fresh, certain = _begins_with(index, low, known if low == after else None, warm)
                settled, changes[index] = await self._replay(
                    done, index, rows[index], memory, cooling, fresh=fresh, certain=certain
                )
                if settled:
                    unsettled.discard(index)
                    if fresh and certain == math.inf:  # its clocks are certain, its evidence is not: no round helps
                        done.unsettled.add(index)
            done.failing |= failing
            if failing and known is None:
                break  # deeper history would be as blind
            high = low - self._step
            if failing:
                lows = lows[-1:]
        done.rows |= rows
        done.unsettled |= unsettled

    def _furthest(self) -> float:
        """How far back a cold start reads at the most (seconds): the look-back, or what a large fleet's share of points
        allows. Whose trigger is not settled by then is shown as of there; one long-blind deployment in a thousand must
        not make every console read a day of all of them."""
        points = max(1, len(self._sampler.rules) * len(self._sampler.plan.queries))
        return min(self._lookback, max(self.settling_s, _MOST_POINTS / points * self._step))

    async def gap(self, known: Known, until: float, cooling: Cooling) -> Replayed:
        """Go on from what was known to `until`, evaluation by evaluation, as if nobody had slept."""
        done = Replayed(until)
        done.rows = {index: [] for index in known.memories}
        ticks, done.failing = await self._ticks(known.at + self._step, until)
        for tick in ticks:
            for index, observation in enumerate(tick.observations):
                done.rows[index].append(observation)
        await self._sampler.prepare(until, _oldest(known, known.at))
        for index, observations in done.rows.items():
            _, changes = await self._replay(done, index, observations, known.memories[index], cooling, fresh=False)
            done.changes.extend(changes)
        done.changes.sort(key=lambda change: (change.observation.at, change.index))
        return done

    async def between(
        self, start: float, end: float, only: Sequence[int] | None = None, every: float | None = None
    ) -> list[Tick]:
        """The ticks from `start` to `end`, both on the grid, inclusive, `every` so many seconds (default: each), with
        what is learned as of each, no suspicion considered."""
        ticks = await self.unlearned(start, end, only, every)
        await self._sampler.prepare(end, start)
        numbers = range(len(self._sampler.rules)) if only is None else only
        return [
            Tick(tick.at, tuple(map(self._sampler.normed, numbers, tick.observations, itertools.repeat(None))))
            for tick in ticks
        ]

    async def unlearned(
        self, start: float, end: float, only: Sequence[int] | None = None, every: float | None = None
    ) -> list[Tick]:
        """As `between`, without what is learned."""
        return (await self._ticks(start, end, only, every))[0]

    async def _ticks(
        self, start: float, end: float, only: Sequence[int] | None = None, every: float | None = None
    ) -> tuple[list[Tick], set[int]]:
        """As `between`, without what is learned, and the numbers of the queries that did not answer."""
        pace = every or self._step
        answers = await self._sampler.answers_between(start, end, pace)
        failing = {index for index, column in enumerate(answers) if any(answer.failed for answer in column)}
        silent = frozenset(failing)
        ticks = []
        for k in range(round((end - start) / pace) + 1):
            at = start + k * pace
            row = [column[k] for column in answers]
            if only is None:
                for index in range(len(self._sampler.rules)):
                    self._versions.note(index, at, self._sampler.version_at(row, index))
            baselines = await self._versions.baselines(at, silent)
            if Blind.QUERY_FAILED in baselines.values():
                failing.add(BASELINES)
            ticks.append(await self._sampler.assemble(at, row, baselines, only, None))
        return ticks, failing

    async def _replay(
        self,
        done: Replayed,
        index: int,
        observations: list[Observation],
        memory: TriggerMemory,
        cooling: Cooling,
        *,
        fresh: bool,
        certain: float = -math.inf,
    ) -> tuple[bool, list[Change]]:
        """One deployment through its observations, each given what is learned as of the memory before it; the changes
        are those after the last settling calm, if any. `fresh`: nobody had the memory that it begins with; `certain`:
        from when on the evidence in it is an always-on console's (infinite: nobody can tell, and it is not asked)."""
        rule = self._sampler.rules[index]
        calm, sure = _Calm(rule), _Certain(rule, certain if certain < math.inf else -math.inf)
        changes: list[Change] = []
        unknown = fresh
        began = memory.at if memory.at is not None else observations[0].at
        state, _ = state_of(memory, cooling=cooling(index, began))
        for number, raw in enumerate(observations):
            self._count += 1
            if self._count % _SLICE == 0:
                await asyncio.sleep(0)
            observation = observations[number] = self._sampler.normed(index, raw, memory)
            before, state_before = memory, state
            cool = cooling(index, observation.at)
            done_step = step(rule, observation, memory, cooling=cool)
            memory = done_step.memory
            state, _ = state_of(memory, cooling=cool)
            if state is not state_before or number == len(observations) - 1:
                verdict, memory = decide(rule, observation, before, cooling=cool)
                done.before[index], done.verdicts[index], done.memories[index] = before, verdict, memory
                if state is not state_before:
                    changes.append(Change(index, observation, before, state_before, verdict, memory))
            if calm.after(observation.at, sure.condition(observation.at, done_step), bool(done_step.blind)) and unknown:
                unknown = False
                changes.clear()  # what came before the calm began with a memory that nobody had
        return not unknown, changes


def _begins_with(index: int, low: float, known: Known | None, warm: Warm | None) -> tuple[TriggerMemory, bool, float]:
    """What a deployment is replayed with from `low` on: the memory, whether nobody had it, from when on its evidence is
    certain. `known`: what a console knew right before that."""
    memory = known.memories.get(index, FRESH) if known is not None else FRESH
    fresh = memory is FRESH
    if fresh and warm is not None:
        memory = warm.before(index, low) or FRESH
    return memory, fresh, warm.certain.get(index, -math.inf) if warm is not None else -math.inf


def _oldest(known: Known, default: float) -> float:
    """The oldest time whose baseline a memory still uses, or the default where that is older."""
    frozen = [
        own.frozen_at
        for memory in known.memories.values()
        for own in memory.evidence
        if own is not None and own.frozen_at is not None
    ]
    return min([default, *frozen])


class _Calm:
    """Watches for the stretch after which a memory is known whatever came before."""

    def __init__(self, rule: DeploymentRule) -> None:
        remembered = max((signal.blind.last_s for signal in rule.signals), default=0.0)
        self._need = rule.trigger.hold_s + remembered
        self._start: float | None = None

    def after(self, at: float, condition: bool | None, blind: bool) -> bool:
        """True at an evaluation that ends such a stretch."""
        if condition is not False or blind:
            self._start = None
            return False
        self._start = at if self._start is None else self._start
        return at - self._start >= self._need


class _Certain:
    """Watches for the time from which on a condition rests on nothing that only an always-on console knows: evidence
    from before the beginning (until `certain`), the clocks of signals that have one of their own (`weighing.hold`)."""

    def __init__(self, rule: DeploymentRule, certain: float) -> None:
        self._rule, self._certain = rule, certain
        self._clocked = (
            {number for number, signal in enumerate(rule.signals) if signal.evidence is None and not signal.aside}
            if weighed(rule)
            else set()
        )

    def condition(self, at: float, done: Step) -> bool | None:
        """The condition, where it is certain; else None."""
        if any(map(lingers, self._rule.signals, done.signals)):
            return None  # who fired before would be so still
        if self._clocked:
            self._clocked = {
                number for number in self._clocked if not _stopped(self._rule.signals[number], done.signals[number])
            }
        return None if self._clocked or at < self._certain else done.condition


def _stopped(rule: SignalRule, verdict: SignalVerdict) -> bool:
    """Does a signal's own clock stand at nothing for certain after this verdict."""
    if verdict.breached is not None:
        return not verdict.breached
    return verdict.blind is not None and rule.blind.kind in (BlindPolicyKind.HEALTHY, BlindPolicyKind.RESET)

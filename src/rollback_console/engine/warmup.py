"""The evidence of the last day, replayed before the rest: a detector's memory hangs on more than a trigger's.

Only what detectors step on is read: the counts of the signals that are judged by evidence, at the times that are whole
multiples of their windows. At marks (`decide.evidence`) starts of before the last mark are forgotten, so a replay that
begins empty at one mark holds the very numbers of a console that never slept from the next mark on. What stays of older
times is a suspicion and its size, until it has been calm for ten minutes: from then on everything is the same.

Two things an empty beginning cannot know, and the deployment does not count as settled for so long: the product of a
known start, where a release came before what is read (it ends a day after the release); and, where a level is learned,
that it was frozen by a suspicion older than what is read. That cannot be seen; that it would matter can: some day of
the week before stood on the better side of the level in force, by more than half a margin (`decide.standing`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rollback_console.decide.evidence import CALM_S, RELEASE_S, SPAN_S
from rollback_console.decide.judge import carry
from rollback_console.decide.stakes import staked
from rollback_console.engine.progress import Progress
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.versions import VersionHistory
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import EvidenceMemory, TriggerMemory

Carried = tuple[EvidenceMemory | None, ...]
Cooling = Callable[[int, float], bool]
_MOST_STEPS = 1_500_000  # of all detectors together: some twenty seconds
_CHUNK = 120  # evaluations read at once
_SLICE = 25  # steps between two chances for others to run
_MS = 1000


@dataclass(slots=True)
class Warm:
    """What a warm-up reached. `carried`: per deployment, its evidence before the evaluation at each asked time.
    `certain`: from when on that is an always-on console's; infinite where what was read does not say. `failing`:
    queries that did not answer."""

    carried: dict[int, dict[float, Carried]] = field(default_factory=dict)
    certain: dict[int, float] = field(default_factory=dict)
    failing: set[int] = field(default_factory=set)

    def before(self, index: int, at: float) -> TriggerMemory | None:
        """The memory to replay a deployment with from `at` on; None where it carries no evidence."""
        found = self.carried.get(index, {}).get(at)
        return None if found is None else TriggerMemory(evidence=found)


def pace_of(rules: Iterable[DeploymentRule], step_s: float) -> float:
    """The widest pace (seconds) on the evaluations' grid that meets every time at which a detector takes a step."""
    windows = {signal.window_s for rule in rules for signal in rule.signals if signal.evidence is not None}
    step = round(step_s * _MS)
    return math.gcd(*(math.lcm(round(window * _MS), step) for window in windows)) / _MS if windows else step_s


class Warmup:
    """Replays the evidence of a fleet."""

    def __init__(self, sampler: Sampler, versions: VersionHistory, step_s: float, lookback_s: float) -> None:
        self._sampler, self._versions, self._step, self._lookback = sampler, versions, step_s, lookback_s
        self.deployments = tuple(
            index for index, rule in enumerate(sampler.rules) if any(signal.evidence for signal in rule.signals)
        )
        self.pace = pace_of([sampler.rules[index] for index in self.deployments], step_s)
        self._wanted = self._queries()
        self.progress: Progress | None = None
        self.detectors = sum(
            signal.evidence is not None for index in self.deployments for signal in sampler.rules[index].signals
        )

    def _queries(self) -> set[int]:
        wanted: set[int] = set()
        for index in self.deployments:
            columns = self._sampler.plan.columns[index]
            wanted.add(columns.version)
            if staked(self._sampler.rules[index]):  # its dwells hang on what was lost
                wanted.add(columns.revenue)
            for signal, own in zip(self._sampler.rules[index].signals, columns.signals, strict=True):
                if signal.evidence is not None:
                    wanted |= {
                        own.value,
                        own.x,
                        own.n,
                        own.base_value,
                        own.base_x,
                        own.base_n,
                        own.heartbeat,
                        own.buckets,
                    }
        return wanted - {-1}

    def begin(self, until: float) -> float:
        """Where a warm-up up to `until` begins: at the mark before the last, or as far back as is read at all. A large
        fleet's share is less: its evidence is then that of fewer hours, and does not count as certain."""
        mark = (until // SPAN_S - 1) * SPAN_S
        reach = min(self._lookback, _MOST_STEPS / max(1, self.detectors) * self.pace)
        return max(mark, math.ceil((until - reach) / self.pace) * self.pace)

    async def run(
        self, until: float, asked: Sequence[float], cooling: Cooling, known: Mapping[int, TriggerMemory], since: float
    ) -> Warm:
        """The evidence of every deployment before the evaluations at the `asked` times (on the grid, none later than
        `until`). `known`: memories of the evaluation at `since`, to go on from; without any it begins empty."""
        warm = Warm(carried={index: {} for index in self.deployments})
        if known and since >= until - self._lookback:
            start = math.floor(since / self.pace + 1) * self.pace
            now = {index: known[index].evidence for index in self.deployments if index in known}
            exact = start
        else:
            start, now = self.begin(until), {}
            exact = math.ceil(start / SPAN_S) * SPAN_S + SPAN_S
        watch = {index: _Certain(self._from(index, start, exact, bool(known))) for index in self.deployments}
        waiting = sorted(asked)
        await self._sampler.prepare(until, start)
        if not now:
            await self._beware(watch, start)
        self.progress = progress = Progress(
            "back-filling the evidence of the last day", round((until - start) / self.pace)
        )
        low = start
        while low <= until:
            high = min(low + (_CHUNK - 1) * self.pace, until)
            high = low + math.floor((high - low) / self.pace + 1e-9) * self.pace
            answers = await self._sampler.answers_between(low, high, self.pace, self._wanted)
            warm.failing |= {index for index, column in enumerate(answers) if any(each.failed for each in column)}
            silent = frozenset(warm.failing)
            for k in range(round((high - low) / self.pace) + 1):
                at = low + k * self.pace
                while waiting and waiting[0] <= at:
                    self._keep(warm, now, waiting.pop(0))
                row = [column[k] for column in answers]
                baselines = await self._versions.baselines(at, silent)
                tick = await self._sampler.assemble(at, row, baselines, self.deployments, None)
                for count, (index, observation) in enumerate(zip(self.deployments, tick.observations, strict=True)):
                    if count % _SLICE == 0:
                        await asyncio.sleep(0)
                    before = TriggerMemory(evidence=now.get(index, ()))
                    seen = self._sampler.normed(index, observation, before)
                    rule = self._sampler.rules[index]
                    now[index] = carry(rule, seen, before.evidence, cooling=cooling(index, at))
                    watch[index].after(now[index])
                progress.done += 1
            low = high + self.pace
        self.progress = None
        for at in waiting:
            self._keep(warm, now, at)
        warm.certain = {index: math.inf if warm.failing else each.at for index, each in watch.items()}
        return warm

    async def _beware(self, watch: dict[int, _Certain], start: float) -> None:
        """Nothing that begins empty at `start` is certain of a deployment whose level a suspicion may have frozen
        before: what was seen then is not read, and the level in force has followed it since."""
        book = self._sampler.book
        for count, index in enumerate(self.deployments if book is not None else ()):
            if count % _SLICE == 0:
                await asyncio.sleep(0)
            weighed = [k for k, signal in enumerate(self._sampler.rules[index].signals) if signal.evidence is not None]
            if book is not None and any(book.may_stand_frozen(index, number, start) for number in weighed):
                watch[index] = _Certain(math.inf)

    def _keep(self, warm: Warm, now: Mapping[int, Carried], at: float) -> None:
        for index in self.deployments:
            warm.carried[index][at] = now.get(index, ())

    def _from(self, index: int, start: float, exact: float, known: bool) -> float:
        """From when on a deployment's numbers are exact: later where a release came shortly before the beginning."""
        if known:
            return exact
        releases = [at for at, _, _ in self._versions.changes.get(index, ()) if start - RELEASE_S <= at < start]
        return max([exact, *(at + RELEASE_S + self.pace for at in releases)])


class _Certain:
    """Watches for the time from which on nothing of before the beginning is left in a deployment's evidence."""

    def __init__(self, exact: float) -> None:
        self.at = math.inf
        self._exact = exact
        self._calm: dict[int, float] = {}  # by signal: nothing is suspected since this step

    def after(self, carried: Carried) -> None:
        if self.at < math.inf:
            return
        settled = True
        for number, memory in enumerate(carried):
            if memory is None:
                continue
            if memory.at is None or memory.at < self._exact or memory.onset is not None:
                self._calm.pop(number, None)
                settled = False
                continue
            since = self._calm.setdefault(number, memory.at)
            settled = settled and memory.at - since >= CALM_S
        if settled:
            self.at = max(
                (memory.at for memory in carried if memory is not None and memory.at is not None), default=0.0
            )

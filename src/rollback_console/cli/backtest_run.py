"""A backtest's run: each deployment through the past by every setting, in this process or shared out between several.

Deployments do not meet before they are grouped, and a backtest groups nothing: who judges which makes no difference.
What is told is told in one order all the same, evaluation by evaluation and in the order of the policy, so that the
output of two processes is that of one, byte for byte.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rollback_console.cli.backtest_words import trace_facts, turn_facts
from rollback_console.cli.common import json_line
from rollback_console.engine.backtest import Judged, Lane, Losses, Traffic, Turn
from rollback_console.engine.history import History, Span
from rollback_console.errors import BackendError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from rollback_console.engine.declared import Declared
    from rollback_console.model.backtest import Mark
    from rollback_console.model.rules import DeploymentRule
    from rollback_console.observe.protocol import MetricBackend
    from rollback_console.policy.variants import Variant

_MOST_JOBS = 16
_WORTH_IT = 300_000  # readings judged in all: less than that is done before a second process is up
_SENT_S = 0.2  # between two messages of a process


@dataclass(frozen=True, slots=True)
class Past:
    """What is replayed: where it is read from, when, and by which settings. `cold`: there is history before it.
    `before`: what is judged first, only to know how things stand when it begins. `jobs`: so many processes at most."""

    opened: Callable[[Sequence[DeploymentRule]], MetricBackend]  # for these deployments
    variants: tuple[Variant, ...]
    spans: tuple[Span, ...]
    step_s: float
    lookback_s: float
    cold: bool
    before: tuple[Span, ...] = ()
    jobs: int | None = 1  # None: one a core, where that is worth it
    declared: Declared | None = None  # by hand

    @property
    def written(self) -> int:
        """The number of the policy as it stands, among the settings."""
        return next(number for number, each in enumerate(self.variants) if each.setting.as_written)

    @property
    def rules(self) -> tuple[DeploymentRule, ...]:
        return self.variants[self.written].rules

    @property
    def evaluations(self) -> int:
        return sum(span.count for span in (*self.before, *self.spans))

    def part(self, numbers: Sequence[int]) -> Past:
        """The same for some of the deployments."""
        some = tuple(replace(each, rules=tuple(each.rules[number] for number in numbers)) for each in self.variants)
        return replace(self, variants=some)


@dataclass(frozen=True, slots=True)
class Told:
    """What one evaluation (by its number) says of one deployment (by its number among all): lines, and its turn."""

    evaluation: int
    index: int
    lines: tuple[str, ...]
    turn: Turn | None


@dataclass(slots=True)
class Batch:
    """So many evaluations are judged, up to the one at `at`; what they told since the batch before."""

    evaluations: int
    at: float
    told: list[Told] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Failed:
    """A backend's error, and the evaluation that it came to."""

    kind: type[BackendError]
    message: str
    next_step: str
    at: float


@dataclass(slots=True)
class Outcome:
    """What became of the deployments: a lane a setting; what marked incidents cost; the traffic that was met."""

    lanes: list[Lane]
    losses: Losses
    traffic: Traffic

    def kept(self) -> tuple[Any, ...]:
        """As values that another process can `take`."""
        return [lane.kept() for lane in self.lanes], self.losses.kept(), self.traffic.kept()

    def take(self, numbers: Sequence[int], kept: tuple[Any, ...]) -> None:
        """Take over what became of the deployments with these numbers."""
        lanes, losses, traffic = kept
        for lane, part in zip(self.lanes, lanes, strict=True):
            lane.keep(numbers, part)
        self.losses.keep(losses)
        self.traffic.keep(numbers, traffic)


def outcome_of(past: Past, marks: Sequence[Mark], lanes: Sequence[Lane] | None = None) -> Outcome:
    """Nothing yet, of these deployments; `lanes` where they are going already."""
    known = {rule.deployment.id for rule in past.rules}
    losses = Losses(past.rules, [mark for mark in marks if mark.deployment in known])
    started = [Lane(each.rules) for each in past.variants] if lanes is None else list(lanes)
    return Outcome(started, losses, Traffic(past.rules))


class Judging:
    """Some deployments (`numbers` among all) through the past. `as_json`: transitions are told as lines; `trace`: so is
    every evaluation."""

    def __init__(self, past: Past, numbers: Sequence[int], marks: Sequence[Mark], as_json: bool, trace: bool) -> None:
        self.past, self.numbers = past.part(numbers), tuple(numbers)
        self._marks, self._json, self._trace = marks, as_json, trace
        self.outcome: Outcome | None = None
        self.at = past.spans[0].start  # came to

    async def batches(self) -> AsyncIterator[Batch]:
        """Every evaluation judged by every setting. Raises BackendError where history cannot be read."""
        past = self.past
        metrics = past.opened(past.rules)
        history = History(past.rules, metrics, past.step_s, past.lookback_s, past.declared)
        number = 0
        try:
            await history.begin([each.rules for each in past.variants], self.at - past.step_s, cold=past.cold)
            lanes = history.lanes
            async for tick in history.ticks(past.before):
                for lane in lanes:
                    for _ in lane.take(tick):
                        pass
                number += 1
                yield Batch(number, tick.at)
            if past.before:
                for lane in lanes:
                    lane.begin(lane.memories())
            self.outcome = outcome_of(past, self._marks, lanes)
            async for tick in history.ticks(past.spans):
                self.at, batch = tick.at, Batch(number + 1, tick.at)
                for k, lane in enumerate(lanes):
                    for judged in lane.take(tick):
                        if k == past.written:
                            self._note(number, judged, batch.told)
                number += 1
                yield batch
        finally:
            await metrics.close()

    def _note(self, number: int, judged: Judged, told: list[Told]) -> None:
        assert self.outcome is not None  # noqa: S101 - `batches` made it
        self.outcome.losses.add(judged)
        self.outcome.traffic.add(judged)
        rule, lines = self.past.rules[judged.index], []
        if self._json and self._trace:
            lines.append(json_line(trace_facts(rule, judged)))
        turn = judged.turn
        if turn is not None and self._json:
            lines.append(json_line(turn_facts(rule, turn)))
        if lines or turn is not None:
            index = self.numbers[judged.index]
            told.append(Told(number, index, tuple(lines), turn and replace(turn, index=index)))


def jobs_of(past: Past) -> int:
    """In how many processes it runs. One, where deployments share what they may alarm falsely: that hangs on the
    traffic of all of them."""
    readings = past.evaluations * sum(len(rule.signals) for each in past.variants for rule in each.rules)
    shared = any(
        rule.trigger.false_alarms_a_week is not None for each in past.variants for rule in each.rules
    )  # fmt: skip
    if shared or sys.platform != "linux" or (past.jobs is None and readings < _WORTH_IT):
        return 1
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores if past.jobs is None else past.jobs, len(past.rules), _MOST_JOBS))


def run(
    past: Past, marks: Sequence[Mark], take: Callable[[Batch], bool], *, as_json: bool, trace: bool
) -> Outcome | None:
    """Judge it all. `take` is called with everything told so far, in order, and says whether to go on; None where it
    did not. Raises BackendError, whose message says where it came to."""
    jobs = jobs_of(past)
    everybody = range(len(past.rules))
    if jobs == 1:
        return asyncio.run(_alone(Judging(past, everybody, marks, as_json, trace), take))
    parts = [Judging(past, everybody[k::jobs], marks, as_json, trace) for k in range(jobs)]
    return _together(past, parts, marks, take)


async def _alone(judging: Judging, take: Callable[[Batch], bool]) -> Outcome | None:
    try:
        async for batch in judging.batches():
            if not take(batch):
                return None
            await asyncio.sleep(0)
    except BackendError as error:
        raise came_to(Failed(type(error), error.message, error.next_step, judging.at)) from None
    return judging.outcome


def came_to(failed: Failed) -> BackendError:
    from rollback_console.model.times import written

    return failed.kind(f"the backtest came to {written(failed.at)}: {failed.message}", failed.next_step)


# -- several processes ------------------------------------------------------------------------------------------------


def _together(
    past: Past, parts: Sequence[Judging], marks: Sequence[Mark], take: Callable[[Batch], bool]
) -> Outcome | None:
    """Each part in a process of its own, forked: what was read of a file is there already."""
    import multiprocessing
    from multiprocessing.connection import wait

    fork = multiprocessing.get_context("fork")
    ends: dict[Connection, int] = {}
    workers = []
    order, outcome = InOrder(len(parts)), outcome_of(past, marks)
    try:
        for number, part in enumerate(parts):
            ours, theirs = fork.Pipe(duplex=False)
            worker = fork.Process(target=_work, args=(part, theirs), daemon=True)
            worker.start()
            theirs.close()
            workers.append(worker)
            ends[ours] = number
        while ends:
            ready = wait(list(ends))
            for end in [each for each in ends if each in ready]:
                number = ends[end]
                try:
                    found = end.recv()
                except EOFError:
                    raise BackendError(
                        "a process of the backtest has ended", "is there memory enough? give --jobs 1"
                    ) from None
                if isinstance(found, Failed):
                    raise came_to(found)
                if isinstance(found, Batch):
                    order.take(number, found)
                else:
                    outcome.take(parts[number].numbers, found)
                    del ends[end]
            if not take(order.ready()):
                return None
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    return outcome


def _work(part: Judging, end: Connection) -> None:
    """One process: judges its part, and sends what it told every now and then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever began it hears Ctrl-C, and ends it
    try:
        asyncio.run(_send(part, end))
    except BackendError as error:
        end.send(Failed(type(error), error.message, error.next_step, part.at))
    except (BrokenPipeError, ConnectionResetError):
        return  # nobody listens any more
    finally:
        end.close()


async def _send(part: Judging, end: Connection) -> None:
    gathered, sent = Batch(0, part.at), time.monotonic()
    async for batch in part.batches():
        gathered.evaluations, gathered.at = batch.evaluations, batch.at
        gathered.told += batch.told
        if time.monotonic() - sent >= _SENT_S:
            end.send(gathered)
            gathered, sent = Batch(batch.evaluations, batch.at), time.monotonic()
    end.send(gathered)
    if part.outcome is not None:
        end.send(part.outcome.kept())


class InOrder:
    """What several processes tell, in the order of evaluations and deployments."""

    def __init__(self, parts: int) -> None:
        self._done = [Batch(0, 0.0) for _ in range(parts)]

    def take(self, part: int, batch: Batch) -> None:
        batch.told = [*self._done[part].told, *batch.told]
        self._done[part] = batch

    def ready(self) -> Batch:
        """What every part has come to by now, and was not given out before."""
        last = min(self._done, key=lambda each: each.evaluations)
        return Batch(last.evaluations, last.at, sorted(self._given(last.evaluations), key=_place))

    def _given(self, evaluations: int) -> Iterator[Told]:
        for each in self._done:
            count = next((k for k, one in enumerate(each.told) if one.evaluation >= evaluations), len(each.told))
            yield from each.told[:count]
            del each.told[:count]


def _place(told: Told) -> tuple[int, int]:
    return told.evaluation, told.index

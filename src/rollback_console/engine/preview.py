"""What can be told of a fleet while its baselines are learned, or its evidence of the last day is replayed.

A first start of a large fleet takes a minute for that. Nobody waits for plain bounds: a deployment that is judged by
nothing else is judged at once, evaluation by evaluation; of one that has learned signals beside, those are unknown
("still learning"), and it is shown where the bounds alone decide: three-valued conditions only grow more certain, so
what fires without a signal fires with it.

All of it is for the eye. Nothing of a preview is recorded or acted on, and nothing is carried on from it: what was
known at the start and every evaluation since is judged again once everything is learned (`engine.backfill`), so that a
console that showed a preview ends in the very states of one that watched all along.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from rollback_console.clock import Clock
from rollback_console.decide.judge import FRESH, decide, step
from rollback_console.decide.trigger import state_of
from rollback_console.engine.backfill import Backfill, Cooling
from rollback_console.engine.board import Board
from rollback_console.engine.progress import Watched
from rollback_console.engine.sampler import Sampler
from rollback_console.model.observation import Observation
from rollback_console.model.rules import BaselineKind, BlindPolicy, BlindPolicyKind, DeploymentRule
from rollback_console.model.verdict import TriggerMemory, TriggerState

_LOOK_S = 1.0  # between two looks at how far it has come
_SLICE = 40  # decisions between two chances for a key
_CERTAIN = (TriggerState.PENDING, TriggerState.FIRED, TriggerState.CLEARING)


def by_bounds_alone(rule: DeploymentRule, learned: tuple[int, ...]) -> DeploymentRule:
    """The rule, its learned signals (by number) unknown for as long as they are blind, whatever the policy makes of
    blindness; and without a dwell of blindness' own."""
    unknown = BlindPolicy(BlindPolicyKind.FREEZE)
    signals = tuple(
        replace(signal, blind=unknown) if number in learned else signal for number, signal in enumerate(rule.signals)
    )
    return replace(rule, signals=signals, trigger=replace(rule.trigger, blind_dwell_s=math.inf))


class Preview:
    """The fleet by plain bounds alone, on the board that is shown, until somebody cancels `run`."""

    def __init__(
        self,
        sampler: Sampler,
        backfill: Backfill,
        board: Board,
        clock: Clock,
        cooling: Cooling,
        show: Callable[[str], None],  # the fleet as it stands, and how far it has come, in words
    ) -> None:
        self._sampler, self._backfill, self._board, self._clock = sampler, backfill, board, clock
        self._cooling, self._show = cooling, show
        self._watched = Watched()
        self._rules: dict[int, DeploymentRule] = {}
        self._memories: dict[int, TriggerMemory] = {}

    async def run(self, at: float, aligned: Callable[[float], float]) -> None:
        """From the evaluation at `at` on. `aligned`: the newest evaluation that is due at a time."""
        told = ""
        while True:
            now = aligned(self._clock.now())
            judged = now > at
            if judged:
                at = now
                await self._judge(at)
            progress = self._backfill.progress
            words = self._watched.words(progress, self._clock.monotonic()) if progress is not None else told
            if judged or words != told:
                told = words
                self._show(words)
            await self._clock.sleep(_LOOK_S)

    def begin(self, index: int, rows: Sequence[Observation]) -> None:
        """A deployment that has learned signals, by the bounds beside them: through its last evaluations."""
        learned = self._sampler.learned(index)
        if not rows or len(learned) == len(rows[0].readings):
            return  # there are no bounds beside them
        rule = self._rules[index] = by_bounds_alone(self._sampler.rules[index], learned)
        memory = FRESH
        for row in rows[:-1]:
            seen = self._sampler.unlearned(index, row)
            memory = step(rule, seen, memory, cooling=self._cooling(index, row.at)).memory
        self._memories[index] = memory
        self._decide(index, rule, rows[-1])

    def leave(self, index: int) -> bool:
        """It is known now how this deployment stands. Was it shown by its bounds alone until now."""
        return self._rules.pop(index, None) is not None

    async def _judge(self, at: float) -> None:
        """The evaluation at `at`, of everybody who is shown by bounds alone."""
        answers = await self._sampler.answers_at(at)
        if any(answer.failed for answer in answers):
            return  # what is shown stays; the replay afterwards looks again
        tick = await self._sampler.assemble(at, answers, {}, memories=None)
        for index, observation in enumerate(tick.observations):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            if index in self._rules:
                self._decide(index, self._rules[index], observation)
            elif index in self._board.memories and _plain(self._sampler.rules[index]):
                before, cool = self._board.memories[index], self._cooling(index, at)
                self._board.put(index, before, *decide(self._sampler.rules[index], observation, before, cooling=cool))

    def _decide(self, index: int, rule: DeploymentRule, observation: Observation) -> None:
        before, cool = self._memories[index], self._cooling(index, observation.at)
        seen = self._sampler.unlearned(index, observation)
        after = self._memories[index] = step(rule, seen, before, cooling=cool).memory
        if state_of(after, cooling=cool)[0] in _CERTAIN:
            self._board.put(index, before, *decide(rule, seen, before, cooling=cool))
        else:
            self._board.forget(index)


def _plain(rule: DeploymentRule) -> bool:
    """Is it judged by nothing that is learned, or read from a version's past."""
    known = (None, BaselineKind.FIXED, BaselineKind.LAST_WEEK)
    return all(
        signal.evidence is None and (signal.baseline is None or signal.baseline.kind in known)
        for signal in rule.signals
    )

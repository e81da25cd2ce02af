"""Plays an operator that a team wrote (`policy.operator_script`), step by step, from the screen alone."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState, Plan, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerState
from rollback_console.policy.operator_script import OperatorGuard, OperatorScript, OperatorStep
from rollback_console.rehearse import operators_sight as sight
from rollback_console.rehearse.desk import Desk, Script

_LOADS_S = 60.0


def script_of(written: OperatorScript) -> Script:
    """The script that takes these steps."""

    async def script(desk: Desk) -> AsyncGenerator[None, None]:
        player = _Player(desk, written)
        async for _ in player.play():
            yield

    return script


class _Player:
    """One reading of one file: what is in hand, what was planned and executed, which runbook is walked."""

    def __init__(self, desk: Desk, written: OperatorScript) -> None:
        self._desk, self._written = desk, written
        self._it: DeploymentId | None = None
        self._taken: set[DeploymentId] = set()
        self._plan: Plan | None = None
        self._execution: str | None = None
        self._asked_at = 0.0  # when it was last asked to go on
        self._walk: str | None = None
        self._over = False

    async def play(self) -> AsyncGenerator[None, None]:
        async for step in self._in_turn():
            if step is None:
                yield  # at least one evaluation a round: a file that only repeats notes must not stop the clock
                continue
            async for _ in self._take(step):
                yield

    async def _in_turn(self) -> AsyncIterator[OperatorStep | None]:
        """The steps whose guards hold when their turn comes, None before each round."""
        rounds = itertools.count() if self._written.repeats else range(1)
        for _ in rounds:
            yield None
            for step in self._written.steps:
                if self._over:
                    return
                if step.if_ is None or self._holds(step.if_):
                    yield step

    def _holds(self, guard: OperatorGuard) -> bool:
        """Is all that a guard asks for on the screen now."""
        seen, it = self._desk.seen, self._it
        incident = seen.incident_of(it) if it is not None else None
        advice = sight.advice_for(seen, it) if it is not None else None
        view = seen.view(it) if it is not None else None
        state = view.verdict.state if view is not None and view.verdict is not None else None
        origin = str(incident.attribution.kind) if incident is not None else None
        advised = "rollback" if advice is not None and advice.path is not None else "nothing"
        return (
            guard.origin in (None, origin)
            and guard.advised in (None, advised)
            and guard.state in (None, str(state))
            and guard.plan in (None, self._came_of_it())
        )

    def _came_of_it(self) -> str:
        """What became of the last plan: whether it may be executed, and if it was, how that stands."""
        found = sight.execution_of(self._desk.seen, self._execution) if self._execution is not None else None
        if found is not None:
            return str(found.state)
        return "executable" if self._plan is not None and self._plan.executable else "refused"

    # -- acts

    async def _take(self, step: OperatorStep) -> AsyncIterator[None]:
        desk, act = self._desk, step.act
        if act == "when":
            async for _ in self._when(step):
                yield
        elif act == "wait":
            async for _ in desk.wait(step.wait or 0.0):
                yield
        elif act == "open":
            self._it = self._named(step.open)
            if self._it is not None:
                await desk.focus(self._it)
        elif act == "walk":
            async for _ in self._walks(step):
                yield
        elif act == "skip":
            await self._skip(step)
        elif act == "stop":
            self._over = True
        else:
            await self._at_once(step)

    async def _at_once(self, step: OperatorStep) -> None:
        """Acts that take no time on the drill's clock."""
        desk, name = self._desk, self._named(step.plan or step.resume) if step.plan or step.resume else self._it
        if step.note is not None:
            await desk.note(step.note, self._it)
        if name is None:
            return
        if step.plan is not None:
            self._execution = None
            self._plan = await desk.plan(name, step.path, step.to)
        elif step.execute is not None and self._plan is not None:
            self._execution, self._asked_at = await desk.execute(self._plan, step.execute), desk.at
        elif step.resume is not None and (running := sight.running_on(desk.seen, name)) is not None:
            self._execution, self._asked_at = running.id, desk.at
            await desk.resume(running.id, name)
        elif step.snooze is not None:
            await desk.snooze(name, step.snooze, f"by {self._written.name}")

    def _named(self, name: str | None) -> DeploymentId | None:
        """The deployment of that name, or of that environment/name; the one in hand for `it`."""
        if name == "it":
            return self._it
        return next((view.id for view in self._desk.seen.deployments if name in (str(view.id), view.id.name)), None)

    # -- waiting

    async def _when(self, step: OperatorStep) -> AsyncIterator[None]:
        """Until it is so; with `fired` and its like, the deployment is then in hand. If it never is, that was all."""
        end = self._desk.at + step.within
        while not self._is_so(step.when or ""):
            if self._desk.at >= end:
                self._over = True
                return
            yield

    def _is_so(self, when: str) -> bool:
        seen = self._desk.seen
        if when in ("ended", "calm"):
            return self._ended(seen) if when == "ended" else not sight.alarming(seen)
        for view in seen.deployments:
            if view.id not in self._taken and _FINDS[when](seen, view.id):
                self._it = view.id
                if when in ("fired", "safety", "blind"):
                    self._taken.add(view.id)
                return True
        return False

    def _ended(self, seen: Snapshot) -> bool:
        if self._execution is None:
            return True
        if seen.at <= self._asked_at:
            return False  # the screen does not show yet what was asked for
        found = sight.execution_of(seen, self._execution)
        return found is not None and (found.state in sight.ENDED or found.state is ExecutionState.UNFINISHED)

    # -- the runbook

    async def _walks(self, step: OperatorStep) -> AsyncIterator[None]:
        """Walk a runbook, or the rest of the one begun: to its end, or to the step that asks for the rollback."""
        desk, it = self._desk, self._it
        if it is None:
            return
        if step.walk != "rest":
            async for _ in desk.until(lambda seen: sight.loaded(seen, it), _LOADS_S):
                yield
            advice, view = sight.advice_for(desk.seen, it), desk.seen.view(it)
            wanted = advice.runbook if advice is not None else view.rule.runbook if view is not None else None
            wanted = wanted if step.walk == "advised" else step.walk
            self._walk = await desk.start_walk(sight.runbook_named(desk.seen, wanted), it)
            yield
        for each in sight.open_steps(desk.seen, self._walk):
            await desk.mark(self._walk or "", each.step.id, StepState.RUNNING)
            async for _ in desk.wait(step.pace):
                yield
            if step.until == "rollback" and each.step.act in ("rollback", "execute"):
                return  # done by the act itself; the rest of the walk says so
            if each.step.act in sight.MOVES and self._execution is None:
                await desk.mark(self._walk or "", each.step.id, StepState.SKIPPED, "nothing is moved")
            else:
                await desk.mark(self._walk or "", each.step.id, StepState.DONE)
        await self._end_walk()

    async def _skip(self, step: OperatorStep) -> None:
        """Skip the next steps of the runbook that is walked."""
        steps = sight.open_steps(self._desk.seen, self._walk)
        count = len(steps) if step.skip == "all" else int(step.skip or 0)
        for each in steps[:count]:
            await self._desk.mark(self._walk or "", each.step.id, StepState.SKIPPED, step.because)
        if count >= len(steps):
            await self._end_walk()

    async def _end_walk(self) -> None:
        if self._walk is not None:
            await self._desk.end_walk(self._walk)
            self._walk = None


def _state(*states: TriggerState) -> Callable[[Snapshot, DeploymentId], bool]:
    def finds(seen: Snapshot, name: DeploymentId) -> bool:
        view = seen.view(name)
        return view is not None and view.verdict is not None and view.verdict.state in states

    return finds


def _unfinished(seen: Snapshot, name: DeploymentId) -> bool:
    return any(e.plan.deployment == name and e.state is ExecutionState.UNFINISHED for e in seen.executions)


_FINDS: dict[str, Callable[[Snapshot, DeploymentId], bool]] = {
    "pending": _state(TriggerState.PENDING),
    "fired": sight.is_alarming,
    "blind": _state(TriggerState.BLIND),
    "safety": lambda seen, name: sight.is_alarming(seen, name) and sight.safety_stop(seen, name),
    "unfinished": _unfinished,
    "moved": lambda seen, name: bool(seen.alarms_of(name)),
    "announced": lambda seen, name: seen.announcement(name) is not None,
}

"""One execution while it runs: its history so far, what is written of it, and how it can be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import field, replace
from enum import StrEnum
from typing import Literal, Protocol, TypeVar

from rollback_console.execute.fold import VERIFYING, History, fold
from rollback_console.execute.locks import DeploymentLock
from rollback_console.execute.protocol import Pointer
from rollback_console.journal.entry import Recorder
from rollback_console.journal.kinds import ExecutionEnded, Intent, Outcome, PointerMoved
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, ExecutionState, Plan
from rollback_console.model.value import dataclass

_T = TypeVar("_T")


class OnJournal(Protocol):
    """Runs what blocks on the journal where it holds up no key, one at a time and in order: `Writer.run`. Cancelled, it
    ends when what was under way has ended: nobody may take up a deployment while an entry of ours can still land."""

    def __call__(self, function: Callable[[], _T]) -> Awaitable[_T]: ...


async def here(function: Callable[[], _T]) -> _T:
    """Right here: for a rehearsal's journal, which nobody shares, and whose order is its seed's."""
    return function()


class RecoveryState(StrEnum):
    """What the signals say since serving reported the target."""

    CONFIRMED = "confirmed"
    VERIFYING = "verifying"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Recovery:
    """`FAILED` is final: say it only when waiting longer cannot help. `detail` is one sentence with its numbers."""

    state: RecoveryState
    detail: str = ""


class Observer(Protocol):
    """What the runner asks of the engine. A backend that does not answer is `None` / `VERIFYING`, never an error."""

    async def serving_version(self, deployment: DeploymentId) -> str | None:
        """The version serving reports now; None when it cannot be told now."""
        ...

    def can_tell_serving(self, deployment: DeploymentId) -> bool:
        """Whether the policy names a way to ask serving at all."""
        ...

    async def recovered(self, deployment: DeploymentId, since: float) -> Recovery:
        """Have the signals recovered, by evidence from after `since` (Unix seconds) alone."""
        ...

    def earliest(self, deployment: DeploymentId, since: float) -> float:
        """When `recovered` can say confirmed at the earliest (Unix seconds), by what was seen since `since` so far."""
        ...


class Stopped(Exception):
    """An execution ends here; why, in one sentence. Never leaves this folder."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Aborted(Stopped):
    """Somebody asked to stop; raised between touches only."""


class NotConfirmed(Stopped):
    """The move stands, and its effect could not be confirmed in time."""


@dataclass
class Run:
    """A running execution. Every `write` is durable when it returns; `say` reaches the screen alone."""

    plan: Plan
    history: History
    journal: Recorder
    lock: DeploymentLock
    publish: Callable[[Execution], None]
    operator: str  # who is at it now: the requester, whoever resumed it, whoever aborts it
    on_journal: OnJournal = here
    abort_by: str = ""
    abort_reason: str = ""
    task: asyncio.Task[Execution] | None = None
    lock_until: float = 0.0
    _said: dict[str, str] = field(default_factory=dict)
    _sleeper: asyncio.Future[None] | None = None

    @property
    def id(self) -> str:
        return self.history.asked.execution

    @property
    def pointer(self) -> Pointer:
        return Pointer(self.plan.model, self.plan.alias)

    @property
    def holder(self) -> str:
        """The advisory lock's holder: the same words after a resume, whoever resumes, so that it finds its own lock."""
        return f"{self.id} by {self.history.request.operator or 'unknown'}"

    async def intent(self, step: str, detail: str) -> int:
        """Journal that a step is about to touch the world; returns the attempt's number. When this raises, the world
        must not be touched."""
        attempt = len(self.history.intents(step)) + 1
        await self._write(Intent(execution=self.id, step=step, detail=detail, attempt=attempt))
        return attempt

    async def outcome(self, step: str, state: Literal["done", "failed", "skipped"], detail: str, attempt: int) -> None:
        self._said.pop(step, None)
        await self._write(Outcome(execution=self.id, step=step, state=state, detail=detail, attempt=attempt))

    async def end(self, state: Literal["done", "not confirmed", "failed", "aborted"], detail: str) -> None:
        await self._write(ExecutionEnded(execution=self.id, state=state, detail=detail))

    async def _write(self, body: Intent | Outcome | ExecutionEnded) -> None:
        """Durable when it returns, without holding up a key meanwhile."""
        by = self.operator
        where = str(self.plan.deployment)
        self.history.add(await self.on_journal(lambda: self.journal.append(body, deployment=where, operator=by)))
        self.changed()

    async def moves(self, after: int) -> list[PointerMoved]:
        """Moves of the plan's pointer that the journal holds after entry `after`."""
        entries = await self.on_journal(lambda: list(self.journal.entries(after=after, kinds=("pointer",))))
        bodies = (entry.parsed() for entry in entries)
        return [
            body
            for body in bodies
            if isinstance(body, PointerMoved) and (body.model, body.alias) == (self.plan.model, self.plan.alias)
        ]

    def say(self, step: str, detail: str) -> None:
        """What a waiting step waits for, now. Not journaled: it says nothing that lasts."""
        if self._said.get(step) != detail:
            self._said[step] = detail
            self.changed()

    def execution(self, *, alive: bool = True) -> Execution:
        """As it stands; `alive` False once its lock is given up."""
        execution = fold(self.history, self.plan, lambda _: not alive)
        if not alive or self.history.ended is not None or not self._said:
            return execution
        steps = tuple(
            replace(step, detail=self._said[step.name]) if step.name in self._said else step for step in execution.steps
        )
        said = next((self._said[name] for name in VERIFYING if name in self._said), execution.detail)
        detail = said if execution.state is ExecutionState.VERIFYING else execution.detail
        return replace(execution, steps=steps, detail=detail)

    def changed(self) -> None:
        self.publish(self.execution())

    def stop(self, by: str, reason: str) -> None:
        """Ask to stop before the next touch; a step that only waits ends its wait."""
        self.abort_by, self.abort_reason, self.operator = by or "unknown", reason, by
        if self._sleeper is not None:
            self._sleeper.cancel()

    def check_abort(self) -> None:
        """Raises `Aborted` when somebody asked to stop."""
        if self.abort_by:
            raise Aborted(f"aborted by {self.abort_by}: {self.abort_reason}")

    async def pause(self, sleep: Callable[[float], asyncio.Future[None]], seconds: float) -> None:
        """Wait on the clock; an abort ends the wait early. Raises `Aborted`."""
        self.check_abort()
        self._sleeper = sleep(seconds)
        try:
            await self._sleeper
        except asyncio.CancelledError:
            if not self.abort_by:
                raise  # the whole program stops, not this execution
        finally:
            self._sleeper = None
        self.check_abort()

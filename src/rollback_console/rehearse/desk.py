"""Where a headless operator sits: it sees Snapshots, as a person does, and asks through `commands.Commands`.

A script is an asynchronous generator that yields whenever it would look again at the next evaluation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from rollback_console.commands import Commands
from rollback_console.errors import ConsoleError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Plan, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that an operator asked for, and the refusal if it was one."""

    at: float
    act: str
    deployment: DeploymentId | None = None
    detail: str = ""
    refused: str = ""


class Desk:
    """The operator's view and hands. Everything asked for is remembered in `acts`; a refusal is remembered and
    returned as None, because an operator who is told no goes on living."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._snapshot: Snapshot | None = None
        self._walks: dict[str, DeploymentId | None] = {}
        self.acts: list[Act] = []

    def show(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def seen(self) -> Snapshot:
        """The screen now. Raises RuntimeError before anything was shown."""
        if self._snapshot is None:
            raise RuntimeError("an operator was asked to act before the first snapshot")
        return self._snapshot

    @property
    def at(self) -> float:
        """The time on the screen, Unix seconds."""
        return self.seen.at

    async def wait(self, seconds: float) -> AsyncIterator[None]:
        """Evaluations until `seconds` have passed on the screen's clock."""
        until = self.at + seconds
        while self.at < until:
            yield

    async def until(self, holds: Callable[[Snapshot], bool], limit_s: float) -> AsyncIterator[None]:
        """Evaluations until `holds`, or until `limit_s` have passed."""
        end = self.at + limit_s
        while not holds(self.seen) and self.at < end:
            yield

    async def focus(self, deployment: DeploymentId) -> None:
        await self._commands.focus(deployment)
        self._did("focus", deployment)

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan | None:
        try:
            plan = await self._commands.plan(deployment, path, to)
        except ConsoleError as error:
            self._did("plan", deployment, to or "", error)
            return None
        self._did("plan", deployment, plan.to_version)
        return plan

    async def execute(self, plan: Plan, reason: str) -> str | None:
        """Types the right phrase. The execution's id, or None where it was refused."""
        try:
            execution = await self._commands.execute(plan, reason, self._commands.phrase(plan))
        except ConsoleError as error:
            self._did("execute", plan.deployment, plan.to_version, error)
            return None
        self._did("execute", plan.deployment, plan.to_version)
        return execution

    async def resume(self, execution: str, deployment: DeploymentId) -> bool:
        """Go on with an unfinished execution; False where that was refused."""
        try:
            await self._commands.resume(execution)
        except ConsoleError as error:
            self._did("resume", deployment, execution, error)
            return False
        self._did("resume", deployment, execution)
        return True

    async def snooze(self, deployment: DeploymentId, seconds: float, reason: str) -> None:
        try:
            await self._commands.snooze(deployment, seconds, reason)
        except ConsoleError as error:
            self._did("snooze", deployment, reason, error)
            return
        self._did("snooze", deployment, reason)

    async def start_walk(self, runbook: str, deployment: DeploymentId) -> str | None:
        try:
            walk = await self._commands.start_walk(runbook, deployment)
        except ConsoleError as error:
            self._did("start_walk", deployment, runbook, error)
            return None
        self._walks[walk] = deployment
        self._did("start_walk", deployment, runbook)
        return walk

    async def mark(self, walk: str, step: str, state: StepState, reason: str = "") -> None:
        try:
            await self._commands.mark_step(walk, step, state, reason)
        except ConsoleError as error:
            self._did("mark_step", self._walks.get(walk), str(state), error)
            return
        self._did("mark_step", self._walks.get(walk), str(state))

    async def end_walk(self, walk: str) -> None:
        try:
            await self._commands.end_walk(walk)
        except ConsoleError as error:
            self._did("end_walk", self._walks.get(walk), "", error)
            return
        self._did("end_walk", self._walks.get(walk))

    async def note(self, text: str, deployment: DeploymentId | None = None) -> None:
        try:
            await self._commands.note(text, deployment)
        except ConsoleError as error:
            self._did("note", deployment, text, error)
            return
        self._did("note", deployment, text)

    def _did(
        self, act: str, deployment: DeploymentId | None, detail: str = "", error: ConsoleError | None = None
    ) -> None:
        self.acts.append(Act(self.at, act, deployment, detail, "" if error is None else str(error)))


Script = Callable[[Desk], AsyncGenerator[None, None]]

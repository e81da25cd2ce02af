"""What a person asked for in a drill, remembered as a headless operator's desk remembers it: for the score."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from rollback_console.errors import ConsoleError, Refused
from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse.desk import Act

if TYPE_CHECKING:
    from rollback_console.commands import Commands
    from rollback_console.model.automatic import Announcement
    from rollback_console.model.plan import Plan, StepState
    from rollback_console.model.walk import CheckResult

_T = TypeVar("_T")


class Witness:
    """`commands.Commands` of a drill: passes on what is asked for, and remembers it with a refusal if it was one. What
    tells nothing of how an operator works (a summary, a key's passphrase) is passed on unseen."""

    def __init__(self, commands: Commands, now: Callable[[], float], told: Callable[[], None] = lambda: None) -> None:
        """`told` is called after each thing that is remembered."""
        self._commands = commands
        self._now = now
        self._told_of = told
        self._focus: DeploymentId | None = None
        self._walks: dict[str, DeploymentId | None] = {}
        self.acts: list[Act] = []
        self.over = False  # from then on nothing is done any more: what is shown has been scored

    def __getattr__(self, name: str) -> Any:
        return getattr(self._commands, name)

    def looked(self, deployment: DeploymentId | None, what: str) -> None:
        """Somebody looks at a screen or a section of one."""
        last = self.acts[-1] if self.acts else None
        if last is None or (last.act, last.deployment, last.detail) != ("look", deployment, what):
            self._did("look", deployment, what)

    async def focus(self, deployment: DeploymentId | None) -> None:
        await self._commands.focus(deployment)
        if deployment is not None and deployment != self._focus:
            self._did("focus", deployment)
        self._focus = deployment

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan:
        try:
            plan = await self._commands.plan(deployment, path, to)
        except ConsoleError as error:
            self._did("plan", deployment, to or "", error)
            raise
        self._did("plan", deployment, plan.to_version)
        return plan

    async def execute(self, plan: Plan, reason: str, typed: str) -> str:
        self._still()
        return await self._told(
            "execute", plan.deployment, plan.to_version, self._commands.execute(plan, reason, typed)
        )  # fmt: skip

    async def resume(self, execution: str) -> None:
        self._still()
        await self._told("resume", None, execution, self._commands.resume(execution))

    async def abort(self, execution: str, reason: str) -> None:
        self._still()
        await self._told("abort", None, execution, self._commands.abort(execution, reason))

    async def adopt(self, deployment: DeploymentId, reason: str) -> None:
        await self._told("adopt", deployment, reason, self._commands.adopt(deployment, reason))

    async def hold(self, deployment: DeploymentId, reason: str) -> Announcement:
        return await self._told("hold", deployment, reason, self._commands.hold(deployment, reason))

    async def snooze(self, deployment: DeploymentId, seconds: float, reason: str) -> None:
        await self._told("snooze", deployment, reason, self._commands.snooze(deployment, seconds, reason))

    async def claim(self, deployment: DeploymentId) -> str:
        return await self._told("claim", deployment, "", self._commands.claim(deployment))

    async def command(self, deployment: DeploymentId, reason: str = "") -> str:
        return await self._told("command", deployment, reason, self._commands.command(deployment, reason))

    async def note(self, text: str, deployment: DeploymentId | None = None) -> None:
        await self._told("note", deployment, text, self._commands.note(text, deployment))

    async def start_walk(self, runbook: str, deployment: DeploymentId | None = None) -> str:
        walk = await self._told("start_walk", deployment, runbook, self._commands.start_walk(runbook, deployment))
        self._walks[walk] = deployment
        return walk

    async def mark_step(self, walk: str, step: str, state: StepState, reason: str = "") -> None:
        done = self._commands.mark_step(walk, step, state, reason)
        await self._told("mark_step", self._walks.get(walk), str(state), done)

    async def end_walk(self, walk: str) -> None:
        await self._told("end_walk", self._walks.get(walk), "", self._commands.end_walk(walk))

    async def check(self, promql: str, deployment: DeploymentId | None) -> CheckResult:
        self._did("check", deployment, promql)
        return await self._commands.check(promql, deployment)

    def set_speed(self, speed: float) -> None:
        self._still()
        self._commands.set_speed(speed)

    async def _told(self, act: str, deployment: DeploymentId | None, detail: str, done: Awaitable[_T]) -> _T:
        try:
            found = await done
        except ConsoleError as error:
            self._did(act, deployment, detail, error)
            raise
        self._did(act, deployment, detail)
        return found

    def _still(self) -> None:
        if self.over:
            raise Refused("the drill is over", "D shows its report again, q leaves")

    def _did(
        self, act: str, deployment: DeploymentId | None, detail: str = "", error: ConsoleError | None = None
    ) -> None:
        if not self.over:
            self.acts.append(Act(self._now(), act, deployment, detail, "" if error is None else str(error)))
            self._told_of()

"""What the screens may ask for: what an act of `actions` does once it is asked for, and what a drill adds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from rollback_console.model.automatic import Announcement
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Plan, StepState
from rollback_console.model.walk import CheckResult

if TYPE_CHECKING:
    from rollback_console.model.declared import Exclusion, Expectation
    from rollback_console.model.drill import DrillView
    from rollback_console.model.judgement import Docket, FollowUp, Judgement
    from rollback_console.model.message import Message


class DrillControl(Protocol):
    """What the screens may ask of a drill. What it cannot do now raises `ConsoleError`."""

    @property
    def view(self) -> DrillView:
        """Its own part of a Snapshot, also before there is one."""
        ...

    def begin(self) -> None:
        """The story was read: time goes."""
        ...

    def looked(self, deployment: DeploymentId | None, what: str) -> None:
        """The operator looks at something."""
        ...

    async def step(self) -> str:
        """On by one evaluation, standing still; what came of it, in words."""
        ...

    async def jump(self) -> str:
        """On to the next event; what it is, in words."""
        ...

    def end(self, decision: str = "", reason: str = "", /) -> None:
        """It is over, with what was decided where that is asked for (`DrillView.asks`)."""
        ...

    def check(self, decision: str) -> str:
        """What is wrong with a decision, "" where nothing is."""
        ...


class Judges(Protocol):
    """What is made of an incident afterwards, and what stakeholders are told. As `Commands`."""

    async def docket(self) -> Docket:
        """What can be judged, what was made of it, and what waits. Looking: needs no permission."""
        ...

    async def judge(self, judgement: Judgement) -> Judgement:
        """Sign and write a judgement that supersedes the last one on its subject, which it must name."""
        ...

    async def follow_up(self, subject: str, what: str, owner: str, due: str) -> FollowUp:
        """Something to do, by whom and until which day (2026-12-24)."""
        ...

    async def end_follow_up(self, follow_up: str, reason: str = "", *, dropped: bool = False) -> FollowUp:
        """It is done, or dropped with a reason."""
        ...

    async def drafts(self, incident: str) -> tuple[Message, ...]:
        """What could be told of an incident now, by every template. Looking: needs no permission."""
        ...

    async def told(self, message: Message, how: str, to: str = "") -> None:
        """It was copied, written or sent: recorded word for word."""
        ...


class Commands(Judges, Protocol):
    """What the screens may ask for. Each raises `ConsoleError` with its reason when it will not be done; each is
    gated and journaled where it is done, whatever the screen thought."""

    async def focus(self, deployment: DeploymentId | None) -> None:
        """Somebody looks at this deployment: fetch its details (they arrive in a later Snapshot)."""
        ...

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan: ...

    def phrase(self, plan: Plan) -> str:
        """What must be typed to execute: `production/checkout-ranker v7`; a rehearsal's starts with `rehearsal`."""
        ...

    async def execute(self, plan: Plan, reason: str, typed: str) -> str:
        """Starts an execution and returns its id; progress arrives in Snapshots."""
        ...

    async def resume(self, execution: str) -> None: ...

    async def abort(self, execution: str, reason: str) -> None: ...

    async def adopt(self, deployment: DeploymentId, reason: str) -> None: ...

    async def break_glass(self, reason: str, place: str = "") -> str:
        """Go on with an emergency journal while the journal cannot be written; where it is. `place` "" chooses one."""
        ...

    async def note(self, text: str, deployment: DeploymentId | None = None) -> None: ...

    async def snooze(self, deployment: DeploymentId, seconds: float, reason: str) -> None: ...

    async def claim(self, deployment: DeploymentId) -> str:
        """Work on the deployment's incident, or leave it; what was done, in words."""
        ...

    async def command(self, deployment: DeploymentId, reason: str = "") -> str:
        """Take command of its incident; from somebody else with a reason."""
        ...

    async def hand_over(self, deployment: DeploymentId, to: str) -> str:
        """Offer the command to somebody, who then takes it."""
        ...

    async def hold(self, deployment: DeploymentId, reason: str) -> Announcement:
        """What is announced to go by itself does not go."""
        ...

    async def exclude(self, start: float, end: float, deployment: DeploymentId | None, reason: str) -> Exclusion:
        """No baseline learns from that stretch (Unix seconds) any more; without a deployment nobody's."""
        ...

    async def restore(self, exclusion: str, reason: str) -> Exclusion:
        """Baselines learn from an excluded stretch again."""
        ...

    async def expect(self, deployments: Sequence[DeploymentId], seconds: float, reason: str) -> Expectation:
        """A change goes on for so long: alarms and advice are held back meanwhile, states are not."""
        ...

    async def end_expected(self, change: str, reason: str) -> Expectation:
        """It is over before its time."""
        ...

    async def unlock(self, passphrase: str) -> None:
        """Open the key that `Snapshot.key_locked` names; it stays in this process's memory alone."""
        ...

    async def start_walk(self, runbook: str, deployment: DeploymentId | None = None) -> str:
        """Starts a walk of the runbook of that name (or finds the open one) and returns its id."""
        ...

    async def mark_step(self, walk: str, step: str, state: StepState, reason: str = "") -> None: ...

    async def end_walk(self, walk: str) -> None: ...

    async def check(self, promql: str, deployment: DeploymentId | None) -> CheckResult:
        """Ask a runbook step's query as of the evaluation on the screen. Looking: needs no permission, raises nothing
        for a backend that does not answer."""
        ...

    async def locate(self, name: str) -> DeploymentId:
        """The deployment that a name means which is no deployment's: an active alert's. Raises `ConsoleError` with the
        sentence that says why there is none."""
        ...

    def summary(self, deployment: DeploymentId | None = None) -> str:
        """The incident's ten plain lines for the channel."""
        ...

    def set_speed(self, speed: float) -> None:
        """A rehearsal's clock; raises `Refused` on the wall's."""
        ...

    async def close(self) -> None: ...

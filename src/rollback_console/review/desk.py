"""What the screens may ask for in a review: to look. Everything else is refused, and says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from rollback_console.errors import Refused
from rollback_console.journal.timeline import clock_text
from rollback_console.model.automatic import Announcement
from rollback_console.model.declared import Exclusion, Expectation
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Plan, StepState
from rollback_console.model.walk import CheckResult
from rollback_console.review.replay import CHANGES_NOTHING
from rollback_console.review.scrub import Scrub

if TYPE_CHECKING:
    from rollback_console.commands import Judges
    from rollback_console.model.judgement import Docket, FollowUp, Judgement
    from rollback_console.model.message import Message

NOT_OURS = "judge it where it is written: the console whose settings name it, or `judge` there"


def _refuse() -> NoReturn:
    raise Refused(CHANGES_NOTHING, "open the live console: rollback-console")


class ReviewCommands:
    """Implements `commands.Commands` for a journal that is only read. Without one nothing is told."""

    def __init__(self, scrub: Scrub | None = None) -> None:
        self.scrub = scrub

    judges: Judges | None = None  # who judges it, where it is one's own: set by whoever opened it

    async def focus(self, deployment: DeploymentId | None) -> None:
        """Nothing is fetched: what the journal holds of it comes with the next Snapshot."""
        if self.scrub is not None:
            self.scrub.focus(deployment)

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan:
        _refuse()

    def phrase(self, plan: Plan) -> str:
        _refuse()

    async def execute(self, plan: Plan, reason: str, typed: str) -> str:
        _refuse()

    async def resume(self, execution: str) -> None:
        _refuse()

    async def abort(self, execution: str, reason: str) -> None:
        _refuse()

    async def adopt(self, deployment: DeploymentId, reason: str) -> None:
        _refuse()

    async def break_glass(self, reason: str, place: str = "") -> str:
        _refuse()

    async def note(self, text: str, deployment: DeploymentId | None = None) -> None:
        _refuse()

    async def snooze(self, deployment: DeploymentId, seconds: float, reason: str) -> None:
        _refuse()

    async def claim(self, deployment: DeploymentId) -> str:
        _refuse()

    async def command(self, deployment: DeploymentId, reason: str = "") -> str:
        _refuse()

    async def hand_over(self, deployment: DeploymentId, to: str) -> str:
        _refuse()

    async def hold(self, deployment: DeploymentId, reason: str) -> Announcement:
        _refuse()

    async def unlock(self, passphrase: str) -> None:
        _refuse()

    async def exclude(self, start: float, end: float, deployment: DeploymentId | None, reason: str) -> Exclusion:
        _refuse()

    async def restore(self, exclusion: str, reason: str) -> Exclusion:
        _refuse()

    async def expect(self, deployments: Sequence[DeploymentId], seconds: float, reason: str) -> Expectation:
        _refuse()

    async def end_expected(self, change: str, reason: str) -> Expectation:
        _refuse()

    async def docket(self) -> Docket:
        return await self._judges.docket()

    async def judge(self, judgement: Judgement) -> Judgement:
        return await self._judges.judge(judgement)

    async def follow_up(self, subject: str, what: str, owner: str, due: str) -> FollowUp:
        return await self._judges.follow_up(subject, what, owner, due)

    async def end_follow_up(self, follow_up: str, reason: str = "", *, dropped: bool = False) -> FollowUp:
        return await self._judges.end_follow_up(follow_up, reason, dropped=dropped)

    async def drafts(self, incident: str) -> tuple[Message, ...]:
        return await self._judges.drafts(incident)

    async def told(self, message: Message, how: str, to: str = "") -> None:
        await self._judges.told(message, how, to)

    @property
    def _judges(self) -> Judges:
        """Who judges one's own journal; somebody else's is not judged from here."""
        if self.judges is None:
            raise Refused("this is not this console's own journal", NOT_OURS)
        return self.judges

    async def start_walk(self, runbook: str, deployment: DeploymentId | None = None) -> str:
        _refuse()

    async def mark_step(self, walk: str, step: str, state: StepState, reason: str = "") -> None:
        _refuse()

    async def end_walk(self, walk: str) -> None:
        _refuse()

    async def check(self, promql: str, deployment: DeploymentId | None) -> CheckResult:
        """No backend is asked in a review."""
        return CheckResult(problem="a review asks no backend: the answer of then stands in the timeline, if at all")

    async def locate(self, name: str) -> DeploymentId:
        _refuse()

    def summary(self, deployment: DeploymentId | None = None) -> str:
        """The last ten happenings before the moment that is shown."""
        moment = self.scrub.moment if self.scrub is not None else None
        lines = moment.snapshot.timeline if moment is not None else ()
        named = [item for item in lines if deployment is None or item.deployment in ("", str(deployment))]
        return "\n".join(f"{clock_text(item.at)}  {item.text}" for item in named[-10:])

    def set_speed(self, speed: float) -> None:
        _refuse()

    async def close(self) -> None:
        """Stop reading and verifying, and let the files go."""
        if self.scrub is not None:
            await self.scrub.close()

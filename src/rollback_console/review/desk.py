"""What the screens may ask for in a review: to look. Everything else is refused, and says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from rollback_console.errors import Refused
from rollback_console.model.automatic import Announcement
from rollback_console.model.declared import Exclusion, Expectation
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Plan, StepState
from rollback_console.model.walk import CheckResult
from rollback_console.review.timeline import CHANGES_NOTHING, Review


def _refuse() -> NoReturn:
    raise Refused(CHANGES_NOTHING, "open the live console: rollback-console")


class ReviewCommands:
    """Implements `actions.Commands` for a journal that is only read."""

    def __init__(self, review: Review) -> None:
        self._review = review

    async def focus(self, deployment: DeploymentId | None) -> None:
        """Nothing is fetched: what the journal holds is on the screen already."""

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
        """The journal's own last ten lines."""
        return "\n".join(item.text for item in self._review.timeline[-10:])

    def set_speed(self, speed: float) -> None:
        _refuse()

    async def close(self) -> None:
        """Nothing is open."""

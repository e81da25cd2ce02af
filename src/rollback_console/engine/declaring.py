"""What an operator declares by hand, done: a stretch leaves every baseline, a change is expected; both taken back."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.engine.acting import Acting
from rollback_console.engine.declared import Declared
from rollback_console.errors import InputError, Refused, UsageError
from rollback_console.journal.kinds import ChangeExpected, StretchExcluded
from rollback_console.model.declared import LONGEST_REASON, Exclusion, Expectation
from rollback_console.model.declaring import change_problem, stretch_problem
from rollback_console.model.identity import DeploymentId
from rollback_console.model.operator import Permission
from rollback_console.model.text import plain

_LISTED = "`rollback-console baseline list` and `rollback-console expect --list` name them"


class Declaring(Acting):
    """The part of `engine.acts.Acts` that writes declarations. Each act is gated for every deployment that it is about:
    one that is about all of them needs the permission in every environment."""

    async def exclude(self, start: float, end: float, deployment: DeploymentId | None, reason: str) -> Exclusion:
        """No baseline learns from ``start <= t < end`` (Unix seconds) from the next evaluation on; `deployment` None:
        none of anybody's."""
        if deployment is not None:
            self._known(deployment)
        await self._may("exclude", () if deployment is None else (str(deployment),))
        if problem := stretch_problem(start, end, self.engine.clock.now()):
            raise InputError(f"the stretch cannot be excluded: {problem}", "look at its two times")
        name = self._name("bl")
        names = [] if deployment is None else [str(deployment)]
        body = StretchExcluded(
            event="excluded", id=name, start=start, end=end, deployments=names, reason=_said(reason)
        )  # fmt: skip
        await self._append(body, names[0] if names else "")
        return self._declared.exclusions[name]

    async def restore(self, exclusion: str, reason: str) -> Exclusion:
        """Baselines learn from an excluded stretch again."""
        self.engine.fold()
        known = self._declared.exclusions.get(exclusion)
        if known is None:
            raise UsageError(f"no stretch {plain(exclusion, 60)} was excluded in this journal", _LISTED)
        if known.restored_at is not None:
            raise Refused(f"{known.id} was put back already, by {known.restored_by or 'somebody'}", _LISTED)
        await self._may("restore", known.deployments)
        body = StretchExcluded(
            event="restored", id=known.id, deployments=list(known.deployments), reason=_said(reason)
        )  # fmt: skip
        await self._append(body, _one(known.deployments))
        return self._declared.exclusions[known.id]

    async def expect(self, deployments: Sequence[DeploymentId], seconds: float, reason: str) -> Expectation:
        """For so many seconds from now, alarms and advice about these deployments are held back; their states are
        not."""
        if not deployments:
            raise UsageError("a change is expected of a deployment", "name one, or several")
        names = tuple(dict.fromkeys(str(each) for each in deployments))
        for each in deployments:
            self._known(each)
        await self._may("expect", names)
        if problem := change_problem(seconds):
            raise InputError(f"the change cannot be declared: {problem}", "choose another length")
        name = self._name("ch")
        until = self.engine.clock.now() + seconds
        body = ChangeExpected(
            event="declared", id=name, until=until, deployments=list(names), reason=_said(reason)
        )  # fmt: skip
        await self._append(body, _one(names))
        return self._declared.expectations[name]

    async def end_expected(self, change: str, reason: str) -> Expectation:
        """A change that was expected is over before its time."""
        self.engine.fold()
        known = self._declared.expectations.get(change)
        if known is None:
            raise UsageError(f"no change {plain(change, 60)} was declared in this journal", _LISTED)
        if not known.going_on(self.engine.clock.now()):
            raise Refused(f"{known.id} is over already", _LISTED)
        await self._may("end_expected", known.deployments)
        body = ChangeExpected(event="ended", id=known.id, deployments=list(known.deployments), reason=_said(reason))
        await self._append(body, _one(known.deployments))
        return self._declared.expectations[known.id]

    @property
    def _declared(self) -> Declared:
        if self.engine.folded is None:
            raise Refused("there is no journal to record it in", "name one with --journal")
        return self.engine.folded.declared

    async def _may(self, act: str, deployments: Sequence[str]) -> None:
        """Gate an act for one deployment of each environment that it is about; none named: of the whole fleet."""
        about = [DeploymentId.parse(name) for name in deployments] or list(self.engine.index)
        for deployment in {name.environment: name for name in about}.values():
            await self._gate(act, Permission.DECLARE, deployment)

    def _known(self, deployment: DeploymentId) -> None:
        if deployment not in self.engine.index:
            raise UsageError(f"no policy names {deployment}", "`rollback-console status` lists the fleet")

    def _name(self, kind: str) -> str:
        return f"{kind}-{self._random.getrandbits(32):08x}"


def _said(reason: str) -> str:
    words = reason.strip()
    if not words:
        raise InputError("it needs a reason", "say why, in one line: others will wonder")
    return words[:LONGEST_REASON]


def _one(deployments: Sequence[str]) -> str:
    """The entry's own column: the deployment, where it is one."""
    return deployments[0] if len(deployments) == 1 else ""

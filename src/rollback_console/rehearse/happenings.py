"""What happens in a simulated world: pointers that move, versions that misbehave, faults, backends that fail.

Everything is a function of the pointers' history and the faults, for any time; what is counted of it is
`rehearse.world`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback_console.clock import Clock
from rollback_console.errors import BackendRefused
from rollback_console.model.identity import DeploymentId
from rollback_console.model.text import plain
from rollback_console.rehearse.fleet import NORMAL, Effect, Fault, FaultKind, Flip, How, SimulatedDeployment

if TYPE_CHECKING:
    from rollback_console.rehearse.noises import Noises
    from rollback_console.rehearse.reactions import Reactions

CONSOLE = "rollback-console"  # who moves a pointer, where it is the console


class Happenings:
    """Deployments, pointers and faults under one clock."""

    def __init__(
        self,
        clock: Clock,
        deployments: tuple[SimulatedDeployment, ...],
        history: tuple[Flip, ...],
        faults: tuple[Fault, ...],
        noises: tuple[Noises, ...],
        shift_s: float,
        reactions: Reactions | None,
    ) -> None:
        """As for `World`. Raises ValueError for two deployments of one id, or one whose pointer has no history."""
        if len({deployment.id for deployment in deployments}) != len(deployments):
            raise ValueError("two deployments have the same id")
        self.clock = clock
        self.deployments = deployments
        self.faults = faults
        self.waiting: list[float] = []  # until when somebody waits for a slow backend
        self._noises = noises
        self._shift_s = shift_s
        self._reactions = reactions
        self._history = sorted(history, key=lambda flip: flip.at)
        self._sort_faults()
        self._fatal = {d.id for d in deployments if any(behaviour.kills_exporter for behaviour in d.behaviours)}
        self._numbers = {deployment.id: number for number, deployment in enumerate(deployments)}
        self._pointers: dict[tuple[str, str], list[Flip]] = {}  # derived from the history; dropped when it grows
        for deployment in deployments:
            if not self._flips(deployment):
                raise ValueError(f"nothing ever pointed {deployment.model}@{deployment.alias} anywhere")

    def _forget(self, moved: set[int], since: float) -> None:
        """What was told of these deployments (by number) for a time after `since` is no longer so."""

    def _sort_faults(self) -> None:
        """Which fault concerns which deployment."""
        faults = self.faults
        self._felt = [tuple(fault for fault in faults if fault.hits(each)) for each in self.deployments]
        self._lost = [tuple(fault for fault in faults if fault.miscounts(each)) for each in self.deployments]
        self._mutes = {
            each.id: tuple(f for f in faults if f.kind is FaultKind.EXPORTER and f.target == str(each.id))
            for each in self.deployments
        }

    # -- pointers ------------------------------------------------------------------------------------------------

    @property
    def history(self) -> tuple[Flip, ...]:
        """Every pointer move, oldest first."""
        return tuple(self._history)

    def pointer(self, model: str, alias: str, at: float | None = None) -> str | None:
        """Where the registry's pointer stood at `at` (default: now)."""
        moment = self.clock.now() if at is None else at
        found = [f for f in self._history if f.model == model and f.alias == alias and f.at <= moment]
        return found[-1].version if found else None

    def flip(self, model: str, alias: str, version: str, by: str = "") -> None:
        """Move a pointer now. Raises `BackendRefused` where the model has no such version."""
        owners = [d for d in self.deployments if d.model == model]
        if not any(v.version == version for d in owners for v in d.versions):
            raise BackendRefused(
                f"the simulated registry has no version {plain(version, 40)} of {plain(model, 80)}",
                "name a version that `versions` lists",
            )
        now = self.clock.now()
        if self.pointer(model, alias, now) == version:
            return
        before = self.pointer(model, alias, now)
        self._history.append(Flip(now, model, alias, version, by))
        if by == CONSOLE and self._reactions is not None:
            self._history.extend(self._reactions.flips(self.deployments, self._history[-1], before))
        self._history.sort(key=lambda flip: flip.at)
        self._pointers.clear()
        moved = {index for index, deployment in enumerate(self.deployments) if deployment.model == model}
        self._forget(moved, now)

    def moving(self) -> bool:
        """The console is about to move a pointer: what waited for that begins. Is the answer to this write lost."""
        if self._reactions is None:
            return False
        begun, lost = self._reactions.breakages(self.clock.now())
        if begun:
            self.faults = (*self.faults, *begun)
            self._sort_faults()
            self._forget(set(range(len(self.deployments))), min(fault.starts_at for fault in begun))
        return lost

    def serving(self, deployment: SimulatedDeployment, at: float) -> tuple[str, float]:
        """The version that truly serves at `at`, and since when: the registry's, `lag_s` late."""
        flips = self._flips(deployment)
        found = flips[0]
        for flip in flips[1:]:
            if flip.at + deployment.lag_s > at:
                break
            found = flip
        return found.version, found.at + deployment.lag_s

    def services(self, deployment: SimulatedDeployment) -> list[tuple[float, str]]:
        """Every version that served, with the time from which; oldest first. As `serving`, all at once."""
        return [(flip.at + deployment.lag_s, flip.version) for flip in self._flips(deployment)]

    def _flips(self, deployment: SimulatedDeployment) -> list[Flip]:
        name = (deployment.model, deployment.alias)
        found = self._pointers.get(name)
        if found is None:
            found = self._pointers[name] = [f for f in self._history if (f.model, f.alias) == name]
        return found

    def deployment(self, identity: DeploymentId) -> SimulatedDeployment:
        """By its id; raises KeyError."""
        for deployment in self.deployments:
            if deployment.id == identity:
                return deployment
        raise KeyError(str(identity))

    # -- what is true --------------------------------------------------------------------------------------------

    def effect(self, deployment: SimulatedDeployment, at: float) -> Effect:
        """Everything that moves the deployment from its normal self at `at`: its version, and the faults it feels."""
        effect = NORMAL
        version, since = self.serving(deployment, at) if deployment.behaviours else ("", at)
        behaviour = deployment.behaviour(version)
        if behaviour is not None:
            effect = behaviour.felt(since, at)
        for fault in self._felt[self._numbers[deployment.id]]:
            if fault.active(at):
                effect = effect.joined(fault.felt(at))
        return effect

    def uncounted(self, deployment: SimulatedDeployment, at: float) -> Effect:
        """What of the deployment's events is lost on the way into the metrics: nothing that anybody truly feels."""
        effect = NORMAL
        for fault in self._lost[self._numbers[deployment.id]]:
            if fault.active(at):
                effect = effect.joined(fault.felt(at))
        return effect

    def exporter_alive(self, deployment: SimulatedDeployment, at: float) -> bool:
        """Does a scrape at `at` get an answer."""
        mutes = self._mutes[deployment.id]
        if self._noises and not self._noises[self._numbers[deployment.id]].seen(at + self._shift_s):
            return False
        if mutes and any(fault.active(at) for fault in mutes):
            return False
        if deployment.id not in self._fatal:
            return True
        version, since = self.serving(deployment, at)
        behaviour = deployment.behaviour(version)
        return behaviour is None or not behaviour.kills_exporter or at < behaviour.sets_in(since)

    def may_be_silent(self, deployment: SimulatedDeployment, start: float, end: float) -> bool:
        """Could a scrape between the two times go unanswered: lets the common case skip the question for each."""
        gaps = bool(self._noises) and self._noises[self._numbers[deployment.id]].has_gaps
        return (
            gaps
            or deployment.id in self._fatal
            or any(
                fault.starts_at <= end and (fault.ends_at is None or fault.ends_at > start)
                for fault in self._mutes[deployment.id]
            )
        )

    def trouble(self, kind: FaultKind) -> Fault | None:
        """What is wrong with the metric store, or the registry, now: where there are several, an outage first."""
        now = self.clock.now()
        found = [fault for fault in self.faults if fault.kind is kind and fault.active(now)]
        return min(found, key=lambda fault: fault.how is not How.OUT, default=None)

    @property
    def is_slow(self) -> bool:
        """May a backend ever take its time."""
        waits = (*self.faults, *(self._reactions.faults if self._reactions is not None else ()))
        return any(fault.how is How.SLOW for fault in waits)

    def may_break(self) -> frozenset[FaultKind]:
        """What breaks once the console moves a pointer."""
        return frozenset(fault.kind for fault in self._reactions.faults) if self._reactions is not None else frozenset()

    async def linger(self, seconds: float) -> None:
        """A slow backend takes its time, on the world's clock."""
        until = self.clock.now() + seconds
        self.waiting.append(until)
        try:
            await self.clock.sleep(seconds)
        finally:
            self.waiting.remove(until)

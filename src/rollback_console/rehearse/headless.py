"""A drill without a screen: the engine's evaluations and an operator's script on one clock, nearly always virtual."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol, TypeVar

from rollback_console.clock import VirtualClock
from rollback_console.commands import Commands
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState
from rollback_console.rehearse.desk import Desk, Script
from rollback_console.rehearse.pace import left, paced
from rollback_console.rehearse.score import About, DrillResult, Scorer
from rollback_console.rehearse.truth import Truth
from rollback_console.rehearse.world import World

_T = TypeVar("_T")


class Steps(Protocol):
    """The time of a drill's evaluations, Unix seconds: it stands until it is moved on."""

    def now(self) -> float: ...

    async def advance(self, seconds: float) -> None: ...


class Evaluations(Protocol):
    """What a drill needs of the engine."""

    async def step(self, at: float) -> Snapshot:
        """Run the evaluation at `at` and return what the screen would show."""
        ...


@dataclass(frozen=True, slots=True)
class Drill:
    """What is rehearsed, and by whom. `limit_s`: the drill ends there at the latest; `linger_s`: how long it goes on
    after the operator is done and everything recovered, so that the record shows it holding."""

    scenario: str
    seed: int
    operator: str
    script: Script
    truth: Truth
    step_s: float
    limit_s: float = 3600.0
    linger_s: float = 60.0
    world: World | None = None  # what its cost is told from
    about: About | None = None


async def run_headless(
    drill: Drill,
    engine: Evaluations,
    commands: Commands,
    clock: Steps,
    settle: Callable[[], Awaitable[None]] | None = None,
    after: Callable[[], Awaitable[None]] | None = None,
) -> DrillResult:
    """Play a drill to its end and score it.

    Time moves only here, one evaluation at a time: `settle`, if given, is awaited after each so that work that left
    the event loop (a thread's) is back before time moves on. `after`: what looks at every evaluation once it stands, as
    what goes by itself does. Nothing depends on the machine's own clock. A slow backend (`rehearse.pace`) takes its
    time of the drill's: evaluations stay on the grid of steps, and one that took longer than a step is followed by the
    next that is due.
    """

    async def taken(awaitable: Awaitable[_T]) -> _T:
        if drill.world is None or not isinstance(clock, VirtualClock):
            return await awaitable
        return await paced(awaitable, drill.world, clock)

    desk, scorer, origins = Desk(commands), Scorer(drill.truth, drill.world, drill.about), Origins()
    script = drill.script(desk)
    begin, calm_since, scripted = clock.now(), None, True
    try:
        while clock.now() - begin <= drill.limit_s:
            snapshot = await taken(engine.step(clock.now()))
            scorer.see(snapshot)
            origins.see(snapshot)
            desk.show(snapshot)
            if after is not None:
                await taken(after())
            if scripted:
                scripted = await taken(anext(script, _OVER)) is not _OVER
            if settle is not None:
                await settle()
            over = _over(desk, scorer, scripted, drill.truth.hands_off)
            calm_since = (calm_since or clock.now()) if over else None
            if calm_since is not None and clock.now() - calm_since >= drill.linger_s:
                break
            await clock.advance(left(clock.now() - begin, drill.step_s))
            if settle is not None:
                await settle()
    finally:
        await script.aclose()
    found = scorer.result(drill.scenario, drill.seed, drill.operator, desk.acts, round(clock.now() - begin, 3))
    return replace(found, origin=origins.origin)


class Origins:
    """Where the console said that the incident came from: when the first recovery path was taken; where none was, the
    last word on the incident that alarmed first. It is what a live console can look up in the evidence library."""

    def __init__(self) -> None:
        self._taken = ""
        self._first = ""  # the incident that alarmed first
        self._said = ""

    @property
    def origin(self) -> str:
        return self._taken or self._said

    def see(self, snapshot: Snapshot) -> None:
        """Take note of one evaluation."""
        if not self._taken and snapshot.executions:
            incident = snapshot.incident_of(snapshot.executions[0].plan.deployment)
            self._taken = str(incident.attribution.kind) if incident is not None else self._said
        if not self._first:
            alarming = {view.id for view in snapshot.deployments if view.verdict is not None and view.verdict.alarming}
            self._first = next((i.id for i in snapshot.incidents if alarming.intersection(i.members)), "")
        said = next((i for i in snapshot.incidents if i.id == self._first), None)
        if said is not None:
            self._said = str(said.attribution.kind)


_OVER = object()
_IDLE_S = 120.0
_CALM = (TriggerState.HEALTHY, TriggerState.COOLING)


def _over(desk: Desk, scorer: Scorer, scripted: bool, hands_off: bool) -> bool:
    """Nothing more will come: all recovered (or the script has ended), nothing runs, and the operator is idle. Where
    nothing was to be rolled back, it is over once something fired and all of it has healed by itself."""
    if scripted and not (_healed(desk.seen, scorer) if hands_off else scorer.recovered):
        return False
    running = any(e.ended_at is None for e in desk.seen.executions)
    idle = not desk.acts or desk.at - desk.acts[-1].at >= _IDLE_S
    return not running and idle


def _healed(seen: Snapshot, scorer: Scorer) -> bool:
    """Something had fired, and nothing is wrong with anything now."""
    return scorer.first_fire is not None and not seen.incidents and all(
        view.verdict is not None and view.verdict.state in _CALM for view in seen.deployments
    )  # fmt: skip

"""A drill with a screen: the world's clock in the operator's hand, what they did and saw remembered, the score at its
end.

It sits between engine and screen: every Snapshot passes `tap` on its way, every ask passes the `Witness`. It ends by
itself when the story is over (everything mended and holding, or quiet again where nothing was to be mended), at the
scenario's limit, or when the operator ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rollback_console.errors import Refused
from rollback_console.model.drill import DrillReport, DrillView
from rollback_console.model.plan import ExecutionState, StepState
from rollback_console.model.text import duration
from rollback_console.model.verdict import TriggerState
from rollback_console.rehearse.drill_news import happens, news
from rollback_console.rehearse.drill_report import COMPUTING, Past, report
from rollback_console.rehearse.score import About, DrillResult, Scorer
from rollback_console.rehearse.tutorial import Tutor
from rollback_console.rehearse.witness import Witness

if TYPE_CHECKING:
    from rollback_console.commands import Commands
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.rehearse.drill_clock import DrillClock
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.setup import Setup

LINGER_S = 60.0  # how long it goes on after everything recovered, so that one sees it hold
CALM_S = 300.0  # where nothing was to be mended: how long all must be quiet again
JUMP_S = 1800.0  # as far as one jump goes
_PATIENCE_S = 20.0  # of the wall's: for one evaluation to come
_NUDGE_S, _NUDGES, _LATE_S = 0.1, 3, 10.0
_RUNNING = (ExecutionState.RUNNING, ExecutionState.VERIFYING)
_QUIET = (TriggerState.HEALTHY, TriggerState.COOLING)


class LiveDrill:
    """One drill under way. `operator`: the person who practises, as the record names them."""

    def __init__(
        self, scenario: Scenario, setup: Setup, operator: str, clock: DrillClock, *, speed: float = 1.0,
        tutorial: bool = False,
    ) -> None:  # fmt: skip
        self.scenario = scenario
        self.setup = setup
        self.operator = operator
        self.clock = clock
        self.result: DrillResult | None = None  # once it is over
        self.best: DrillResult | None = None  # set by whoever plays it
        self.why_no_best = COMPUTING
        self.past: Sequence[Past] = ()
        self.recorded = ""
        self.on_over: Callable[[DrillResult], None] = lambda _: None
        self._speed = speed
        self._scorer = Scorer(setup.truth, setup.world, About.of(scenario, setup))
        self._tutor = Tutor(scenario.hints) if tutorial else None
        self._witness: Witness | None = None
        self._last: Snapshot | None = None
        self._arrived = asyncio.Event()
        self._publish: Callable[[Snapshot], None] = lambda _: None
        self._begun: float | None = None
        self._calm_since: float | None = None
        self._trouble = False  # was anything ever not quiet
        self._jumping = False
        self._report: tuple[tuple[object, ...], DrillReport] | None = None

    # ── between engine and screen

    def tap(self, publish: Callable[[Snapshot], None]) -> Callable[[Snapshot], None]:
        """What the engine publishes to: all is looked at, and goes on to the screen with the drill's own part."""
        self._publish = publish
        return self.take

    def commands(self, commands: Commands) -> Witness:
        """The commands that the screen gets."""
        self._witness = Witness(commands, self.clock.now, self._acted)
        return self._witness

    def take(self, snapshot: Snapshot) -> None:
        """One Snapshot of the engine's."""
        self._last = snapshot
        if self.result is None:
            self._score(snapshot)
        self._arrived.set()
        self.show()

    def show(self) -> None:
        """Publish the newest Snapshot as it stands now: something of the drill's own changed."""
        if self._last is not None:
            now = max(self._last.at, self.clock.now())  # a Snapshot that is shown again must not turn the clock back
            self._publish(replace(self._last, at=now, speed=self.clock.speed, drill=self.view))

    @property
    def view(self) -> DrillView:
        """The drill's own part of a Snapshot."""
        tutor, listed = self._tutor, self.scenario.listed
        return DrillView(
            listed.name,
            listed.title,
            self.scenario.story,
            listed.klass,
            tutor is not None,
            tutor.hint if tutor is not None else "",
            tutor.keys if tutor is not None else "",
            tutor.said if tutor is not None else (),
            self.result is not None,
            self._reported(),
        )

    # ── what the screen asks for

    def begin(self) -> None:
        """The story was read: time goes."""
        if self.result is None and not self.clock.speed:
            self.clock.set_speed(self._speed)
            self.show()

    def looked(self, deployment: DeploymentId | None, what: str) -> None:
        """A screen shows something: evidence, if it is looked at before one acts."""
        if self._witness is not None:
            self._witness.looked(deployment, what)

    async def step(self) -> str:
        """Stand still, and go on to the next evaluation; what came of it, in words."""
        before = self._going()
        self.clock.set_speed(0.0)
        await self._evaluation()
        return "; ".join(list(news(before, self._going_or_last()))[:2]) or "one evaluation on: nothing changed"

    async def jump(self) -> str:
        """Go on to the next thing that changes, at most half an hour; what it is, in words. The speed stays as it was.

        A change is what an operator would look up for (`drill_news.news`), what the tutorial says next, or something
        that begins or ends in the world itself and cannot be seen yet."""
        before = self._going()
        if self._jumping:
            raise Refused("a jump is under way", "it ends at the next event")
        self._jumping, speed, began = True, self.clock.speed, self.clock.now()
        self.clock.set_speed(0.0)
        found = ""
        try:
            while not found and self.result is None and self.clock.now() - began < JUMP_S:
                found = await self._on_to_news(before)
        finally:
            self._jumping = False
            if self.result is None:
                self.clock.set_speed(speed)
                self.show()
        passed = duration(self.clock.now() - began)
        return f"{passed} on: {found or ('the drill is over' if self.result is not None else 'nothing changed')}"

    def check(self, decision: str) -> str:
        """Nothing is asked here: what is decided, is done."""
        return f"this drill does not ask: {decision}" if decision else ""

    def end(self, _decision: str = "", _reason: str = "", /) -> None:
        """The operator ends it. Once over it stays over."""
        if self.result is None and self._last is not None:
            self._end()
            self._teach(self._last)
            self.show()

    def walked(self) -> list[dict[str, object]]:
        """The runbooks that were walked, as the record keeps them."""
        walks = self._last.walks if self._last is not None else ()
        return [
            {
                "runbook": walk.runbook.name,
                "outcome": walk.outcome,
                "done": sum(step.state is StepState.DONE for step in walk.steps),
                "skipped": sum(step.state is StepState.SKIPPED for step in walk.steps),
                "took_s": None if walk.ended_at is None else round(walk.ended_at - walk.started_at, 3),
            }
            for walk in walks
        ]

    # ── time

    async def _on_to_news(self, before: Snapshot) -> str:
        """One evaluation on; what there is to say of it."""
        told, since = self._tutor.hint if self._tutor is not None else "", self.clock.now()
        await self._evaluation()
        found = list(news(before, self._going_or_last()))
        if found:
            return "; ".join(found[:2])
        if self._tutor is not None and self._tutor.hint != told:
            return "the next step"
        return "something begins or ends that you cannot see yet" if self._happens(since) else ""

    def _happens(self, since: float) -> bool:
        return happens(self.setup.world, since, self.clock.now())

    async def _evaluation(self) -> None:
        """Move the clock, which stands, to the next evaluation, and wait until it is shown."""
        step = self.setup.step_s
        due = (int((self.clock.now() + 1e-6) // step) + 1) * step
        await self.clock.move_to(due)
        end = asyncio.get_running_loop().time() + _PATIENCE_S
        nudges = 0
        while self.result is None and not self._evaluated(due):
            if asyncio.get_running_loop().time() > end:
                raise Refused("the evaluation takes too long", "press the key again")
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), _NUDGE_S)
            except TimeoutError:  # whoever was busy when the clock moved may sleep now, which must pass too: a moment,
                nudges += 1  # and where that is not enough a backend that answers late, by this very clock
                soon = self.clock.now() + _NUDGE_S
                await self.clock.move_to(soon if nudges <= _NUDGES else self.clock.next_due(soon, soon + _LATE_S))

    def _evaluated(self, due: float) -> bool:
        at = self._last.evaluated_at if self._last is not None else None
        return at is not None and at >= due - 1e-6

    def _going(self) -> Snapshot:
        """The newest Snapshot of a drill that goes on."""
        if self._last is None or self._last.evaluated_at is None:
            raise Refused("the first states are still being read", "wait a moment")
        if self.result is not None:
            raise Refused("the drill is over", "D shows its report again, q leaves")
        return self._last

    def _going_or_last(self) -> Snapshot:
        if self._last is None:
            raise Refused("the first states are still being read", "wait a moment")
        return self._last

    # ── the score

    def _acted(self) -> None:
        """The operator did something: perhaps the tutorial says something else now."""
        if self._last is not None and self._teach(self._last):
            self.show()

    def _teach(self, snapshot: Snapshot) -> bool:
        if self._tutor is None:
            return False
        acts = self._witness.acts if self._witness is not None else ()
        mended = self._scorer.recovered and not self.setup.truth.hands_off
        return self._tutor.see(snapshot, acts, recovered=mended, over=self.result is not None)

    def _score(self, snapshot: Snapshot) -> None:
        if self._begun is None:
            self._begun = snapshot.at
        self._scorer.see(snapshot)
        if self._is_over(snapshot):
            self._end()
        self._teach(snapshot)

    def _is_over(self, snapshot: Snapshot) -> bool:
        """Is the story over: everything mended and held, or quiet again; or the limit reached."""
        begun = self._begun if self._begun is not None else snapshot.at
        if snapshot.at - begun >= self.scenario.lasts_s:
            return True
        states = [view.verdict.state for view in snapshot.deployments if view.verdict is not None]
        quiet = bool(states) and all(state in _QUIET for state in states)
        self._trouble = self._trouble or (bool(states) and not quiet)
        busy = any(execution.state in _RUNNING for execution in snapshot.executions)
        hands_off = self.setup.truth.hands_off
        calm = (self._trouble and quiet) if hands_off else self._scorer.recovered
        self._calm_since = (self._calm_since or snapshot.at) if calm and not busy else None
        lasts = CALM_S if hands_off else LINGER_S
        return self._calm_since is not None and snapshot.at - self._calm_since >= lasts

    def _end(self) -> None:
        self.clock.set_speed(0.0)
        acts = self._witness.acts if self._witness is not None else []
        begun = self._begun if self._begun is not None else self.clock.now()
        elapsed = round(self.clock.now() - begun, 3)
        self.result = self._scorer.result(self.scenario.name, self.setup.world.seed, self.operator, acts, elapsed)
        if self._witness is not None:
            self._witness.over = True
        self.on_over(self.result)

    def _reported(self) -> DrillReport | None:
        """The report, made anew only when something of it is new."""
        if self.result is None:
            return None
        made_of = (self.result, self.best, self.why_no_best, tuple(self.past), self.recorded)
        if self._report is None or self._report[0] != made_of:
            listed = self.scenario.listed
            made = report(
                listed.title, listed.right, self.result, self.best, self.why_no_best, self.past, self.recorded,
                hands_off=self.setup.truth.hands_off,
            )  # fmt: skip
            self._report = (made_of, made)
        return self._report[1]

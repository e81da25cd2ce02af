"""The operator who does what is right, from the screen alone, at a pace of its own.

Takes safety stops first and at once, then what costs most. Reads before it acts, walks the runbook, goes back where a
release is to blame and leaves alone what a rollback cannot mend. Looks once more before it moves anything: what mends
by itself is left. Waits until the signals confirm; resumes what was left unfinished; brings back again what somebody
else moved; takes another version that held where the one before cannot be gone back to.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident, Recommendation
from rollback_console.model.plan import ExecutionState, Plan, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.walk import WalkStep
from rollback_console.rehearse import operators_sight as sight
from rollback_console.rehearse.desk import Desk

_GIVE_UP_S = 3600.0
_MENDS_S = 300.0  # for so long it is watched whether something mends by itself
_AGAIN_S = 30.0  # between two tries where something does not answer
_TRIES = 20
_NEWS_S = 60.0  # until the registry's news is on the screen
_NOT_MOVED = "nothing is moved: a rollback would not help, or is no longer needed"


@dataclass(frozen=True, slots=True)
class Pace:
    """How quick an operator is, in seconds: to notice what fired, to take in a screen, to do a step of a runbook."""

    notice_s: float = 0.0
    reading_s: float = 20.0
    step_s: float = 10.0


class Attentive:
    """One operator's shift at one desk."""

    def __init__(self, desk: Desk, pace: Pace) -> None:
        self._desk, self._pace = desk, pace
        self._left: set[DeploymentId] = set()  # seen, and rightly not rolled back
        self._busy: set[DeploymentId] = set()  # taken in hand
        self._brought: dict[DeploymentId, tuple[str, str]] = {}  # brought back: from, to

    async def shift(self) -> AsyncGenerator[None, None]:
        """Until the drill ends: always what is most urgent now."""
        while True:
            doing = self._next()
            if doing is None:
                yield
                continue
            async for _ in doing:
                yield

    # -- what is next

    def _next(self) -> AsyncIterator[None] | None:
        seen = self._desk.seen
        for name, (before, to) in self._brought.items():
            if name not in self._busy and seen.alarms_of(name) and self._points_to(name, before):
                return self._brought_away(name, before, to)
        advice = self._way_back()
        if advice is not None:
            return self._attend(advice)
        incident = next((i for i in seen.incidents if self._is_new(i)), None)
        return self._leave_alone(incident) if incident is not None else None

    def _way_back(self) -> Recommendation | None:
        """The rollback to make now; one that nobody has in hand, nor made already."""
        taken = self._busy | self._brought.keys()
        return next((a for a in sight.ways_back(self._desk.seen) if a.deployment not in taken), None)

    def _is_new(self, incident: Incident) -> bool:
        """Did something fire in it that nobody has looked at."""
        known = self._left | self._busy | self._brought.keys()
        return incident.closed_at is None and any(
            sight.is_alarming(self._desk.seen, name) and name not in known for name in incident.members
        )

    def _points_to(self, name: DeploymentId, version: str) -> bool:
        view = self._desk.seen.view(name)
        return view is not None and view.registry_version == version

    # -- waiting, with an eye on the rest

    async def _wait(self, seconds: float, hand: DeploymentId | None = None) -> AsyncIterator[None]:
        until = self._desk.at + seconds
        async for _ in self._until(lambda seen: seen.at >= until, seconds, hand):
            yield

    async def _until(
        self, holds: Callable[[Snapshot], bool], limit_s: float, hand: DeploymentId | None = None
    ) -> AsyncIterator[None]:
        """Evaluations until `holds`, or for `limit_s`; another deployment that has to go back meanwhile is not left,
        unless what is in `hand` matters more."""
        end = self._desk.at + limit_s
        while not holds(self._desk.seen) and self._desk.at < end:
            urgent = self._way_back()
            if urgent is not None and (hand is None or self._matters_more(urgent.deployment, hand)):
                async for _ in self._attend(urgent):
                    yield
            else:
                yield

    def _matters_more(self, name: DeploymentId, hand: DeploymentId) -> bool:
        return sight.rank(self._desk.seen, name) < sight.rank(self._desk.seen, hand)

    # -- going back

    async def _attend(self, advice: Recommendation) -> AsyncIterator[None]:
        """Look, read, decide; go back if that is still what is advised."""
        name, desk = advice.deployment, self._desk
        self._busy.add(name)
        try:
            at_once = sight.safety_stop(desk.seen, name)
            async for _ in self._wait(self._pace.notice_s, name):
                yield
            await desk.focus(name)
            if not at_once:
                async for _ in self._wait(self._pace.reading_s, name):
                    yield
            now = sight.advice_for(desk.seen, name) or advice
            if now.path is None:
                return  # the screen knows better by now: taken up anew for what it is
            if at_once:
                async for _ in self._bring_back(now):
                    yield
            async for _ in self._walk_and_roll_back(now, moved=at_once):
                yield
        finally:
            self._busy.discard(name)

    async def _walk_and_roll_back(self, advice: Recommendation, *, moved: bool) -> AsyncIterator[None]:
        """Walk the runbook; go back where it says so, or after its last step where it never does."""
        name, desk = advice.deployment, self._desk
        async for _ in self._until(lambda seen: sight.loaded(seen, name), 60.0):
            yield
        walk = await desk.start_walk(sight.runbook_named(desk.seen, advice.runbook), name)
        yield
        steps = sight.open_steps(desk.seen, walk)
        acts = [step.step.act for step in steps]
        moment = "execute" if "execute" in acts else "rollback" if "rollback" in acts else None
        for step in steps:
            if moved and name not in self._brought:
                await desk.mark(walk or "", step.step.id, StepState.SKIPPED, _NOT_MOVED)
                continue
            await desk.mark(walk or "", step.step.id, StepState.RUNNING)
            async for _ in self._wait(self._pace.step_s, None if moved else name):
                yield
            if moment is not None and step.step.act == moment and not moved:
                moved = True
                async for _ in self._bring_back(advice):
                    yield
            await self._settle(walk or "", step, name)
        if not moved:
            async for _ in self._bring_back(advice):
                yield
        if walk is not None:
            await desk.end_walk(walk)

    async def _settle(self, walk: str, step: WalkStep, name: DeploymentId) -> None:
        """Mark a step as done; one that moves a pointer only where it was moved."""
        if step.step.act not in sight.MOVES:
            await self._desk.mark(walk, step.step.id, StepState.DONE)
        elif name in self._brought:
            await self._desk.mark(walk, step.step.id, StepState.DONE, "done: see the execution")
        else:
            await self._desk.mark(walk, step.step.id, StepState.SKIPPED, _NOT_MOVED)

    async def _bring_back(self, advice: Recommendation) -> AsyncIterator[None]:
        """Look once more, plan, execute, and stay until the signals have spoken; again where it did not hold."""
        name, desk = advice.deployment, self._desk
        tried: set[str] = set()
        for _ in range(_TRIES):
            if not self._was_moved_away(name):
                async for _ in self._until(lambda seen: not self._watch_it_mend(name), _MENDS_S, name):
                    yield
                if not sight.is_alarming(desk.seen, name) or sight.mending(desk.seen, name):
                    self._left.add(name)
                    await desk.note("it recovers by itself: nothing is moved, the pointer stays", name)
                    return
            running = sight.running_on(desk.seen, name)
            execution = running.id if running is not None else await self._execute(advice, tried)
            if execution is None:
                async for _ in self._wait(_AGAIN_S):
                    yield
                continue
            async for _ in self._follow(execution, name):
                yield
            ended = sight.execution_of(desk.seen, execution)
            if ended is None:
                return
            self._brought[name] = (ended.plan.from_version, ended.plan.to_version)
            await desk.note(f"rollback to v{ended.plan.to_version}: {ended.state}; {plain(ended.detail, 300)}", name)
            if ended.state is ExecutionState.DONE:
                return
            if ended.state is ExecutionState.NOT_CONFIRMED:
                tried.add(ended.plan.to_version)
            async for _ in self._wait(_AGAIN_S):
                yield

    def _was_moved_away(self, name: DeploymentId) -> bool:
        """Does the pointer name the version again that was taken back, and that is known to be bad by now."""
        return name in self._brought and self._points_to(name, self._brought[name][0])

    def _watch_it_mend(self, name: DeploymentId) -> bool:
        """Is it worth a look whether it comes back by itself: it is still red, and on its way."""
        return sight.is_alarming(self._desk.seen, name) and sight.mending(self._desk.seen, name)

    async def _execute(self, advice: Recommendation, tried: set[str]) -> str | None:
        """The execution, of the first plan that may be executed: the computed target's, then others' that held."""
        desk = self._desk
        if desk.seen.announcement(advice.deployment) is not None:
            return None  # it goes by itself in a minute: looked at again until it does, or no longer will
        plan = await desk.plan(advice.deployment, advice.path)
        if plan is not None and plan.to_version not in tried and self._may_go(plan, tried):
            return await desk.execute(plan, advice.sentence)
        doubtful = set() if plan is not None else sight.versions_named(desk.acts[-1].refused)
        view, detail = desk.seen.view(advice.deployment), desk.seen.detail(advice.deployment)
        served = {view.registry_version or "", view.serving_version or ""} if view is not None else set()
        versions = detail.versions if detail is not None else ()
        for version in sight.others_that_held(versions, tried | served | doubtful):
            plan = await desk.plan(advice.deployment, advice.path, version)
            if plan is not None and self._may_go(plan, tried):
                return await desk.execute(plan, f"v{version} is the newest that held; {advice.sentence}")
        return None

    def _may_go(self, plan: Plan, tried: set[str]) -> bool:
        """May it be executed, and is it not advised against. After a way back that did not help the console advises no
        second one: that takes a person, and here is one."""
        return plan.executable and (not plan.against or bool(tried))

    async def _follow(self, execution: str, name: DeploymentId) -> AsyncIterator[None]:
        """Until it has ended; what was left unfinished is resumed as soon as the registry answers."""
        desk, end = self._desk, self._desk.at + _GIVE_UP_S
        while desk.at < end:
            async for _ in self._until(_stops(execution), _GIVE_UP_S):
                yield
            found = sight.execution_of(desk.seen, execution)
            if found is None or found.state in sight.ENDED:
                return
            async for _ in self._until(sight.registry_answers, _AGAIN_S):
                yield
            if not await desk.resume(execution, name):
                async for _ in self._wait(_AGAIN_S):
                    yield
            yield

    async def _brought_away(self, name: DeploymentId, before: str, to: str) -> AsyncIterator[None]:
        """Somebody else moved what was brought back: say so; bring it back again once it is bad again."""
        desk = self._desk
        self._busy.add(name)
        try:
            words = plain("; ".join(desk.seen.alarms_of(name)), 300)
            await desk.focus(name)
            async for _ in self._wait(self._pace.reading_s):
                yield
            await desk.note(f"told the channel: v{before} is bad, keep the pointer at v{to} ({words})", name)
            plan = await desk.plan(name, None, to)
            execution = await desk.execute(plan, f"v{before} was pointed to again; back to v{to}") if plan else None
            if execution is not None:
                async for _ in self._follow(execution, name):
                    yield
            else:
                async for _ in self._wait(_AGAIN_S):
                    yield
            async for _ in self._until(lambda seen: not seen.alarms_of(name), _NEWS_S):
                yield
        finally:
            self._busy.discard(name)

    # -- leaving alone

    async def _leave_alone(self, incident: Incident) -> AsyncIterator[None]:
        """Not ours to roll back: look, say so, walk what is advised, and leave the pointer where it is."""
        desk = self._desk
        first = next((n for n in incident.members if sight.is_alarming(desk.seen, n)), incident.members[0])
        async for _ in self._wait(self._pace.notice_s):
            yield
        await desk.focus(first)
        async for _ in self._wait(self._pace.reading_s):
            yield
        incident = sight.current(desk.seen, incident)
        if any(a.path is not None and a.deployment not in self._left for a in incident.recommendations) and any(
            sight.is_alarming(desk.seen, a.deployment) for a in incident.recommendations if a.path is not None
        ):
            return  # it can be mended after all: that goes first
        self._left.update(incident.members)
        await desk.note(f"no rollback: {plain(incident.sentence, 300)}", first)
        advised = next((r.runbook for r in incident.recommendations if r.runbook), None)
        walk = await desk.start_walk(sight.runbook_named(desk.seen, advised), first)
        yield
        for step in sight.open_steps(desk.seen, walk):
            await desk.mark(walk or "", step.step.id, StepState.RUNNING)
            async for _ in self._wait(self._pace.step_s):
                yield
            await self._settle(walk or "", step, first)
        if walk is not None:
            await desk.end_walk(walk)


def _stops(execution: str) -> Callable[[Snapshot], bool]:
    """It has ended, or nobody is at it any more."""

    def holds(seen: Snapshot) -> bool:
        found = sight.execution_of(seen, execution)
        return found is not None and (found.state in sight.ENDED or found.state is ExecutionState.UNFINISHED)

    return holds

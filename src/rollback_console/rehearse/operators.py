"""Headless operators: short scripts that see what a person sees, and do what depends on the screen alone.

`perfect` reads before it acts and acts on what a rollback can mend. `careless` acts on the first thing that is red.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable

from rollback_console.errors import UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import AttributionKind, Incident, Recommendation
from rollback_console.model.plan import ExecutionState, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import plain
from rollback_console.model.walk import WalkStep
from rollback_console.rehearse.desk import Desk, Script

READING_S = 20.0  # to take in a screen
STEP_S = 10.0  # to do a step of a runbook
_ENDED = (ExecutionState.DONE, ExecutionState.NOT_CONFIRMED, ExecutionState.FAILED, ExecutionState.ABORTED)
_GIVE_UP_S = 3600.0


def operator_named(name: str) -> Script:
    """The script of that name. Raises `UsageError`."""
    script = OPERATORS.get(name)
    if script is None:
        raise UsageError(f"there is no headless operator {plain(name, 60)}", f"take one of {', '.join(OPERATORS)}")
    return script


async def perfect(desk: Desk) -> AsyncGenerator[None, None]:
    """Waits until something fired, takes the incident that a rollback can mend first, reads, walks the runbook, rolls
    back, waits for the recovery, notes. Never rolls back what came from upstream."""
    handled: set[DeploymentId] = set()
    while True:
        incident = _next(desk.seen, handled)
        if incident is None:
            yield
            continue
        async for _ in _attend(desk, incident, handled):
            yield


async def careless(desk: Desk) -> AsyncGenerator[None, None]:
    """Takes the first red row, skips the runbook unread, goes back to any version at hand; then the next row."""
    tried: set[DeploymentId] = set()
    while len(tried) < 3:
        red = [
            view for view in desk.seen.deployments if view.verdict and view.verdict.alarming and view.id not in tried
        ]
        if not red:
            yield
            continue
        view = red[0]
        tried.add(view.id)
        walk = await desk.start_walk(_runbook(desk.seen, view.rule.runbook), view.id)
        yield
        if walk is not None:
            for step in _steps(desk.seen, walk):
                await desk.mark(walk, step.step.id, StepState.SKIPPED, "no time")
            await desk.end_walk(walk)
        plan = await desk.plan(view.id)
        if plan is None:
            served = view.verdict.version if view.verdict else None
            if served is not None and served.isdecimal() and int(served) > 1:
                plan = await desk.plan(view.id, to=str(int(served) - 1))
        if plan is not None:
            await desk.execute(plan, "it is red")
        yield


OPERATORS: dict[str, Script] = {"perfect": perfect, "careless": careless}


async def _attend(desk: Desk, incident: Incident, handled: set[DeploymentId]) -> AsyncIterator[None]:
    """Look, read, decide; then do what the incident's origin asks for."""
    handled.update(incident.members)
    await desk.focus(_subject(incident))
    async for _ in desk.wait(READING_S):
        yield
    incident = _current(desk.seen, incident)
    handled.update(incident.members)
    advice = _way_back(incident)
    if incident.attribution.kind is AttributionKind.RELEASE and advice is not None:
        async for _ in _roll_back(desk, advice):
            yield
    else:
        async for _ in _leave_alone(desk, incident, handled):
            yield


async def _roll_back(desk: Desk, advice: Recommendation) -> AsyncIterator[None]:
    """Walk the runbook; plan and execute where it says so, or after its last step where it never does."""
    name = advice.deployment
    runbook = _runbook(desk.seen, advice.runbook)
    async for _ in desk.until(lambda seen: _loaded(seen, name), 60.0):
        yield
    walk = await desk.start_walk(runbook, name)
    yield
    steps = _steps(desk.seen, walk) if walk is not None else ()
    acts = [step.step.act for step in steps]
    moment = "execute" if "execute" in acts else "rollback" if "rollback" in acts else None
    execution: str | None = None
    for step in steps:
        assert walk is not None  # noqa: S101 - there are steps, so there is a walk
        await desk.mark(walk, step.step.id, StepState.RUNNING)
        async for _ in desk.wait(STEP_S):
            yield
        if moment is not None and step.step.act == moment and execution is None:
            execution = await _execute(desk, advice)
            if execution is not None:
                async for _ in desk.until(_has_ended(execution), _GIVE_UP_S):
                    yield
        await desk.mark(walk, step.step.id, StepState.DONE)
    if execution is None:
        execution = await _execute(desk, advice)
        if execution is not None:
            async for _ in desk.until(_has_ended(execution), _GIVE_UP_S):
                yield
    if walk is not None:
        await desk.end_walk(walk)
    state = next((e.state for e in desk.seen.executions if e.id == execution), None)
    await desk.note(f"rollback to v{advice.to_version}: {state or 'refused'}", name)


async def _execute(desk: Desk, advice: Recommendation) -> str | None:
    plan = await desk.plan(advice.deployment, advice.path)
    if plan is None and advice.to_version is not None:
        plan = await desk.plan(advice.deployment, advice.path, advice.to_version)
    return None if plan is None else await desk.execute(plan, advice.sentence)


async def _leave_alone(desk: Desk, incident: Incident, handled: set[DeploymentId]) -> AsyncIterator[None]:
    """Not ours to roll back: walk what is advised, say so, and leave the pointer where it is. What a rollback can
    mend goes first, even in the middle of a walk."""
    first = incident.members[0]
    await desk.note(f"no rollback: {plain(incident.sentence, 300)}", first)
    advised = next((r.runbook for r in incident.recommendations if r.runbook), None)
    walk = await desk.start_walk(_runbook(desk.seen, advised), first)
    yield
    for step in _steps(desk.seen, walk) if walk is not None else ():
        urgent = _next(desk.seen, handled)
        if urgent is not None and _way_back(urgent) is not None:
            async for _ in _attend(desk, urgent, handled):
                yield
        assert walk is not None  # noqa: S101 - there are steps, so there is a walk
        await desk.mark(walk, step.step.id, StepState.RUNNING)
        async for _ in desk.wait(STEP_S):
            yield
        await desk.mark(walk, step.step.id, StepState.DONE)
    if walk is not None:
        await desk.end_walk(walk)


def _next(seen: Snapshot, handled: set[DeploymentId]) -> Incident | None:
    """The open incident to take now: one that has a way back before one that has none; only once it has fired."""
    waiting = [
        incident
        for incident in seen.incidents
        if incident.closed_at is None
        and not handled.intersection(incident.members)
        and any((v := seen.view(name)) and v.verdict and v.verdict.alarming for name in incident.members)
    ]
    return min(waiting, key=lambda incident: _way_back(incident) is None, default=None)


def _current(seen: Snapshot, incident: Incident) -> Incident:
    """The incident as the screen has it now: it may have grown, and its attribution with it."""
    return next((i for i in seen.incidents if set(i.members) & set(incident.members)), incident)


def _way_back(incident: Incident) -> Recommendation | None:
    return next((advice for advice in incident.recommendations if advice.path is not None), None)


def _subject(incident: Incident) -> DeploymentId:
    advice = _way_back(incident)
    return advice.deployment if advice is not None else incident.members[0]


def _loaded(seen: Snapshot, name: DeploymentId) -> bool:
    detail = seen.detail(name)
    return detail is not None and not detail.loading


def _has_ended(execution: str) -> Callable[[Snapshot], bool]:
    return lambda seen: any(e.id == execution and e.state in _ENDED for e in seen.executions)


def _runbook(seen: Snapshot, wanted: str | None) -> str:
    """The name under which the console has the runbook; the wanted one where it has it, with or without `.md`."""
    word = (wanted or "").removesuffix(".md")
    for runbook in seen.runbooks:
        if runbook.name.removesuffix(".md") == word:
            return runbook.name
    return wanted or (seen.runbooks[0].name if seen.runbooks else "")


def _steps(seen: Snapshot, walk: str) -> tuple[WalkStep, ...]:
    """A walk's steps as the screen shows them, those still open."""
    for found in seen.walks:
        if found.id == walk:
            return tuple(s for s in found.steps if s.state not in (StepState.DONE, StepState.SKIPPED))
    return ()

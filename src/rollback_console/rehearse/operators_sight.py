"""What a headless operator reads off a Snapshot: what fired, what is advised, whether it mends by itself. All of it is
on the screen; nothing here knows what is true."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollback_console.execute.marks import KNOWN_BAD_TAG
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident, Recommendation
from rollback_console.model.observation import BackendState
from rollback_console.model.plan import Execution, ExecutionState, StepState
from rollback_console.model.registry import ModelVersion
from rollback_console.model.snapshot import DeploymentView, Snapshot, Trace
from rollback_console.model.verdict import SignalVerdict, TriggerState
from rollback_console.model.walk import WalkStep

ENDED = (ExecutionState.DONE, ExecutionState.NOT_CONFIRMED, ExecutionState.FAILED, ExecutionState.ABORTED)
MOVES = ("rollback", "execute", "resume", "abort", "adopt")  # steps of a runbook that are done by moving something
_VERSION = re.compile(r"\bv(\w[\w.-]*)")
_RECENT = 24  # values of a trace in which its worst is looked for
_ON_ITS_WAY = 0.6  # of its worst: what is left of a degradation that mends


def alarming(seen: Snapshot) -> tuple[DeploymentView, ...]:
    """What needs a person now, most urgent first."""
    return tuple(view for view in seen.deployments if view.verdict is not None and view.verdict.alarming)


def is_alarming(seen: Snapshot, name: DeploymentId) -> bool:
    view = seen.view(name)
    return view is not None and view.verdict is not None and view.verdict.alarming


def advice_for(seen: Snapshot, name: DeploymentId) -> Recommendation | None:
    """What is advised for a deployment, by its open incident."""
    incident = seen.incident_of(name)
    advised = incident.recommendations if incident is not None else ()
    return next((each for each in advised if each.deployment == name), None)


def ways_back(seen: Snapshot) -> tuple[Recommendation, ...]:
    """The rollbacks that are advised for what is alarming: safety stops first, then what costs most."""
    found = [
        advice
        for incident in seen.incidents
        if incident.closed_at is None
        for advice in incident.recommendations
        if advice.path is not None and is_alarming(seen, advice.deployment)
    ]
    return tuple(sorted(found, key=lambda advice: rank(seen, advice.deployment)))


def rank(seen: Snapshot, name: DeploymentId) -> tuple[bool, float, str]:
    """What goes first sorts first: safety stops, then what costs most, then by name."""
    view = seen.view(name)
    score = view.verdict.impact.score if view is not None and view.verdict is not None else 0.0
    return not safety_stop(seen, name), -score, str(name)


def safety_stop(seen: Snapshot, name: DeploymentId) -> bool:
    """Did a signal go off with which nobody has to agree: a policy's `critical` and `sufficient_alone`."""
    view = seen.view(name)
    if view is None or view.verdict is None:
        return False
    alone = {signal.name for signal in view.rule.signals if signal.sufficient_alone}
    return any(found.breached and found.name in alone for found in view.verdict.signals)


def mending(seen: Snapshot, name: DeploymentId) -> bool:
    """Is it over, or on its way back by itself: the trigger clears, or all that is degraded has come back by two fifths
    of its worst in the last minutes."""
    view = seen.view(name)
    if view is None or view.verdict is None or view.verdict.state is not TriggerState.FIRED:
        return True
    bad = [found for found in view.verdict.signals if found.breached and not found.aside]
    traces = {trace.signal: trace for trace in view.traces}
    return all(found.name in traces and _comes_back(found, traces[found.name]) for found in bad)


def _comes_back(found: SignalVerdict, trace: Trace) -> bool:
    healthy = found.baseline if found.baseline is not None else found.limit
    values = [value for value in trace.values[-_RECENT:] if value is not None]
    if healthy is None or not values:
        return False
    side = 1.0 if values[-1] > healthy else -1.0
    worst = max(side * (value - healthy) for value in values)
    return worst > 0.0 and side * (values[-1] - healthy) < _ON_ITS_WAY * worst


def others_that_held(versions: tuple[ModelVersion, ...], tried: set[str]) -> Iterator[str]:
    """Versions that one could go back to besides those tried: newest first, ready, and marked by nobody as bad."""
    for version in versions:
        if version.version not in tried and version.status == "READY" and KNOWN_BAD_TAG not in dict(version.tags):
            yield version.version


def versions_named(refusal: str) -> set[str]:
    """The versions that a refusal to name a target speaks of: each was passed over for what it says."""
    return set(_VERSION.findall(refusal))


def registry_answers(seen: Snapshot) -> bool:
    return all(b.state is not BackendState.FAILING for b in seen.backends if b.name == "registry")


def execution_of(seen: Snapshot, execution: str) -> Execution | None:
    return next((each for each in seen.executions if each.id == execution), None)


def running_on(seen: Snapshot, name: DeploymentId) -> Execution | None:
    """What executes on a deployment now, or was left unfinished there, whoever asked for it."""
    return next((e for e in seen.executions if e.plan.deployment == name and e.state not in ENDED), None)


def current(seen: Snapshot, incident: Incident) -> Incident:
    """The incident as the screen has it now: it may have grown, and its attribution with it."""
    return next((i for i in seen.incidents if set(i.members) & set(incident.members)), incident)


def loaded(seen: Snapshot, name: DeploymentId) -> bool:
    """Is what changed there on the screen: it is fetched when somebody looks."""
    detail = seen.detail(name)
    return detail is not None and not detail.loading


def runbook_named(seen: Snapshot, wanted: str | None) -> str:
    """The name under which the console has the runbook; the wanted one where it has it, with or without `.md`."""
    word = (wanted or "").removesuffix(".md")
    for runbook in seen.runbooks:
        if runbook.name.removesuffix(".md") == word:
            return runbook.name
    return wanted or (seen.runbooks[0].name if seen.runbooks else "")


def open_steps(seen: Snapshot, walk: str | None) -> tuple[WalkStep, ...]:
    """A walk's steps as the screen shows them, those still open."""
    for found in seen.walks:
        if found.id == walk:
            return tuple(s for s in found.steps if s.state not in (StepState.DONE, StepState.SKIPPED))
    return ()

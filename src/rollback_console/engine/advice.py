"""Whether the console advises against a rollback: in one sentence, which blocks nothing and goes with the plan."""

from __future__ import annotations

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import AttributionKind
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerState

_NOT_THE_VERSION = (AttributionKind.UPSTREAM, AttributionKind.INFRASTRUCTURE, AttributionKind.TELEMETRY)
_WELL = (TriggerState.HEALTHY, TriggerState.COOLING)


def advice_against(snapshot: Snapshot, deployment: DeploymentId) -> str:
    """Why a rollback of this deployment is advised against now, or "": its incident comes from elsewhere, what is
    advised for it is something else, or nothing is wrong with it and nobody moved its pointer away."""
    incident = snapshot.incident_of(deployment)
    if incident is None:
        view = snapshot.view(deployment)
        verdict = view.verdict if view is not None else None
        if verdict is None or verdict.state not in _WELL or verdict.fired_as_blind:
            return ""
        if snapshot.alarms_of(deployment):
            return ""  # somebody moved what was brought back: still well, and the bad version is on its way
        return _against(f"its trigger is healthy: {verdict.sentence}")
    advice = next((each for each in incident.recommendations if each.deployment == deployment), None)
    if incident.attribution.kind in _NOT_THE_VERSION:
        return _against(incident.sentence)
    if advice is not None and advice.path is None:
        return _against(advice.sentence)
    return ""


def _against(why: str) -> str:
    return f"the console advises against: {why}"

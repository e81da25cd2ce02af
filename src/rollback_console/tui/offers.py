"""What a Snapshot says of declarations by hand, for one deployment: what goes on, what is left out, what could be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollback_console.model.declared import Exclusion, Expectation
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.incident import Incident
    from rollback_console.model.snapshot import Snapshot

_OFFERED_S = 86_400.0  # a closed incident is offered on the screen of a deployment for so long


def going_on_here(snapshot: Snapshot, deployment: DeploymentId) -> tuple[Expectation, ...]:
    """The changes of a deployment that somebody declared and that go on."""
    return tuple(each for each in snapshot.expectations if str(deployment) in each.deployments)


def standing_here(snapshot: Snapshot, deployment: DeploymentId | None) -> tuple[Exclusion, ...]:
    """What is left out of a deployment's baselines by hand; without one: of anybody's."""
    return tuple(each for each in snapshot.exclusions if deployment is None or each.concerns(str(deployment)))


def offered(snapshot: Snapshot, deployment: DeploymentId) -> Incident | None:
    """The last incident of a deployment, where it closed within a day and its baselines still learn from it."""
    found = None
    for incident in () if snapshot.review else snapshot.over:  # a review changes nothing
        if deployment in incident.members and incident.closed_at is not None:
            found = incident
    if found is None or found.closed_at is None or not 0 <= snapshot.at - found.closed_at < _OFFERED_S:
        return None
    if snapshot.incident_of(deployment) is not None or is_left_out(snapshot, found, deployment):
        return None
    return found


def is_left_out(snapshot: Snapshot, incident: Incident, deployment: DeploymentId) -> bool:
    """Was the most of it excluded already."""
    onset, end = incident.onset, incident.closed_at or snapshot.at
    covered = sum(max(0.0, min(each.end, end) - max(each.start, onset)) for each in standing_here(snapshot, deployment))
    return covered >= 0.5 * (end - onset)


def incident_named(snapshot: Snapshot, text: str) -> Incident | None:
    """The closed incident that a line of the timeline names, or None."""
    return next((incident for incident in reversed(snapshot.over) if f" {incident.id} " in f" {text} "), None)

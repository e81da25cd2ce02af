"""What changed between two Snapshots that an operator would look up for: where a jump in time ends."""

from __future__ import annotations

from collections.abc import Iterator

from rollback_console.model.snapshot import Snapshot
from rollback_console.rehearse.world import World


def news(before: Snapshot, after: Snapshot) -> Iterator[str]:
    """Each change in a few words: states, incidents, executions and their steps, pointers, backends, alarms."""
    for view in after.deployments:
        old = before.view(view.id)
        was = old.verdict.state if old is not None and old.verdict is not None else None
        now = view.verdict.state if view.verdict is not None else None
        if now is not None and now is not was:
            yield f"{view.id.name} is {now}"
        if old is not None and old.registry_version != view.registry_version:
            yield f"the registry points {view.id.name} to v{view.registry_version}"
        if old is not None and old.serving_version != view.serving_version:
            yield f"{view.id.name} serves v{view.serving_version}"
    known = {(i.id, i.closed_at is None) for i in before.incidents}
    for incident in after.incidents:
        if (incident.id, incident.closed_at is None) not in known:
            yield f"an incident {'opened' if incident.closed_at is None else 'closed'}: {incident.members[0].name}"
    for execution in after.executions:
        old_one = next((e for e in before.executions if e.id == execution.id), None)
        if old_one is None or old_one.state is not execution.state:
            yield f"the rollback of {execution.plan.deployment.name} is {execution.state}"
    states = {backend.name: backend.state for backend in before.backends}
    for backend in after.backends:
        if states.get(backend.name, backend.state) is not backend.state:
            yield f"{backend.name} is {backend.state}"
    yield from (alarm for alarm in after.alarms if alarm not in before.alarms)


def happens(world: World, after: float, until: float) -> bool:
    """Does something begin or end in the world by itself, later than `after` and no later than `until`."""
    moments = [flip.at for flip in world.history]
    for fault in world.faults:
        moments += [fault.starts_at] if fault.ends_at is None else [fault.starts_at, fault.ends_at]
    return any(after < moment <= until for moment in moments)

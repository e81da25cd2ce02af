"""A Snapshot with what is known of the other consoles on it: their acts on the timeline, who is on which incident."""

from __future__ import annotations

from dataclasses import replace

from rollback_console.model.snapshot import Snapshot
from rollback_console.model.team import Team, together, who_is_at


def with_team(snapshot: Snapshot, team: Team) -> Snapshot:
    """The snapshot, with the others. The hub's word for who commands goes before the journal's: it is everybody's."""
    incidents = tuple(
        replace(incident, commander=standing.commander)
        if (standing := team.standing(incident.id)) is not None and standing.commander
        else incident
        for incident in snapshot.incidents
    )
    people = []
    for view in snapshot.deployments:
        line = who_is_at(team.colleagues, team.standing(view.incident) if view.incident else None, str(view.id))
        if line:
            people.append((view.id, line))
    return replace(
        snapshot, incidents=incidents, people=tuple(people), timeline=together(snapshot.timeline, team.items)
    )

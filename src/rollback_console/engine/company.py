"""A Snapshot with what is known of the other consoles on it: their acts on the timeline, who is on which incident."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from rollback_console.model.automatic import Announcement, AutomaticState
from rollback_console.model.incident import Incident
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.team import Team, together, who_is_at

_NOBODY: Mapping[str, str] = MappingProxyType({})


def with_team(snapshot: Snapshot, team: Team | None, commanders: Mapping[str, str] = _NOBODY) -> Snapshot:
    """The snapshot, with the others. The hub's word for who commands goes before the journal's (`commanders`, by
    incident): it is everybody's."""
    incidents = tuple(_commanded(incident, team, commanders) for incident in snapshot.incidents)
    if team is None:
        return replace(snapshot, incidents=incidents)
    people = []
    for view in snapshot.deployments:
        line = who_is_at(team.colleagues, team.standing(view.incident) if view.incident else None, str(view.id))
        if line:
            people.append((view.id, line))
    announced, alarms = _by_themselves(snapshot, team)
    return replace(
        snapshot, incidents=incidents, people=tuple(people), timeline=together(snapshot.timeline, team.items),
        announced=announced, alarms=alarms,
    )  # fmt: skip


def _by_themselves(snapshot: Snapshot, team: Team) -> tuple[tuple[Announcement, ...], tuple[str, ...]]:
    """What goes by itself here and at other consoles, and the alarms with it. Whoever announced it is the one who would
    carry it out: that it was held stands here only once it was heard there."""
    elsewhere = {each.deployment: each for each in team.announced}
    own = {each.deployment: each for each in snapshot.announced}
    told = [
        each
        for name, each in elsewhere.items()
        if name not in own or (own[name].state is AutomaticState.HELD and each.state is AutomaticState.ANNOUNCED)
    ]
    replaced = {each.deployment for each in told}
    kept = [each for each in snapshot.announced if each.deployment not in replaced]
    gone = {own[name].sentence for name in replaced if name in own}
    sentences = [_elsewhere(each, own.get(each.deployment)) for each in told]
    return (*kept, *told), (*sentences, *(alarm for alarm in snapshot.alarms if alarm not in gone))


def _elsewhere(announcement: Announcement, own: Announcement | None) -> str:
    heard = "; held here, not heard there yet" if own is not None else ""
    return f"another console's: {announcement.sentence}{heard}"


def _commanded(incident: Incident, team: Team | None, commanders: Mapping[str, str]) -> Incident:
    standing = team.standing(incident.id) if team is not None else None
    commander = standing.commander if standing is not None else commanders.get(incident.id)
    return incident if commander is None else replace(incident, commander=commander or None)

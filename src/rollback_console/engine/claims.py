"""Who is on an incident: taking it up, taking command, handing it over. Journaled here, and told to the team's hub."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from rollback_console.errors import InputError, Refused
from rollback_console.journal.kinds import Claimed
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.snapshot import Snapshot

if TYPE_CHECKING:
    from rollback_console.model.team import Team

# Asked before anything is journaled: raises Refused where somebody else has the command. Returns "" where everybody
# knows, or why nobody was told.
Tell = Callable[[Claimed, str], Awaitable[str]]


async def nobody_to_tell(claim: Claimed, operator: str) -> str:
    """Without a hub a claim stands in this journal alone."""
    return "no hub is configured: it stands in this journal alone"


def incident_at(snapshot: Snapshot, deployment: DeploymentId) -> Incident:
    """The open incident of a deployment. Raises Refused where there is none."""
    found = snapshot.incident_of(deployment)
    if found is None:
        raise Refused(f"no incident is open on {deployment}")
    return found


def working(incident: Incident, team: Team | None, operator: str) -> Claimed:
    """Take the incident up, or leave it where one is on it already."""
    standing = team.standing(incident.id) if team is not None else None
    on_it = standing is not None and operator in standing.working
    return Claimed(incident=incident.id, role="working", action="release" if on_it else "take")


def command(incident: Incident, operator: str, reason: str) -> Claimed:
    """Take command. Raises InputError where somebody else has it and no reason is given."""
    if incident.commander not in (None, "", operator) and not reason.strip():
        raise InputError(f"{incident.commander} commands {incident.id}", "say why you take it from them")
    return Claimed(incident=incident.id, role="commander", action="take", reason=reason.strip())


def hand_over(incident: Incident, operator: str, to: str) -> Claimed:
    """Offer the command to somebody, who then takes it. Raises Refused and InputError."""
    if incident.commander != operator:
        whose = f"{incident.commander} commands" if incident.commander else "nobody commands"
        raise Refused(f"{whose} {incident.id}", "only its commander hands it over")
    if not to.strip() or to.strip() == operator:
        raise InputError("a handover names somebody else", "type their name as the roster has it")
    return Claimed(incident=incident.id, role="commander", action="handover", to=to.strip())


def said(claim: Claimed, told: str) -> str:
    """What was done, for the screen."""
    did = {
        ("working", "take"): "you work on",
        ("working", "release"): "you left",
        ("commander", "take"): "you command",
        ("commander", "handover"): f"{claim.to} is offered the command of",
        ("commander", "release"): "you no longer command",
    }[claim.role, claim.action]
    return f"{did} {claim.incident}" + (f" ({told})" if told else "")

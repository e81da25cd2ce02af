"""The pointers after a way back was taken: somebody else's flip is an alarm until adopted, or its incident closed."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.engine.folding import Folded
from rollback_console.engine.registry import PointerWatch
from rollback_console.execute.adopt import adoptions
from rollback_console.execute.watch import Flip, expectations, flips
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.text import plain

WATCHED_S = 86_400.0  # a way back is watched for a day, and for as long as its incident is open


def pointer_alarms(
    folded: Folded, watch: PointerWatch, open_incidents: Sequence[Incident], now: float
) -> tuple[str, ...]:
    """A sentence for every pointer that somebody else moved from where an execution or an adoption brought it.

    Watched are the deployments of open incidents, and every one for a day after (Unix seconds throughout). A flip is
    settled by an adoption, by the next execution, and when an incident of the deployment is closed after it.
    """
    read_at = watch.read_at
    if read_at is None or not (folded.executions or folded.adopt_entries):
        return ()
    adopted = adoptions(folded.adopt_entries)
    troubled = {name for incident in open_incidents for name in incident.members}
    recent = {e.plan.deployment for e in folded.executions if now - (e.ended_at or now) < WATCHED_S}
    recent |= {each.deployment for each in adopted if now - each.since < WATCHED_S}
    # A pointer that was last read before it was brought there says nothing about where it went afterwards.
    expected = [e for e in expectations(folded.executions, adopted, troubled | recent) if e.since < read_at]
    found = flips(expected, watch.stands, folded.moves)
    return tuple(plain(flip.sentence) for flip in found if not _settled(flip, folded, troubled))


def _settled(flip: Flip, folded: Folded, troubled: set[DeploymentId]) -> bool:
    """Was the incident that it fell into closed, so that nobody waits for this pointer any more."""
    if flip.deployment in troubled or flip.at is None:
        return False
    return any(
        incident.closed_at is not None and incident.closed_at >= flip.at and flip.deployment in incident.members
        for incident in folded.incidents.values()
    )

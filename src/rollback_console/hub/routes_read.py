"""One timeline over all chains."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from rollback_console.hub import reads
from rollback_console.hub.deps import Caller, Parts
from rollback_console.hub.problems import Problem
from rollback_console.hub.wire import EntriesOut
from rollback_console.journal.chain import nanoseconds
from rollback_console.model.times import NotATime, moment

router = APIRouter()


def since_ns(since: str) -> int | None:
    """`since` of a query as nanoseconds. Raises Problem."""
    if not since:
        return None
    try:
        return nanoseconds(moment(since))
    except NotATime as error:
        raise Problem(422, "bad-request", f"`since` {error.message}", error.remedy) from None


@router.get("/v1/entries", tags=["timeline"], response_model=EntriesOut)
def get_timeline(
    _: Caller, parts: Parts, deployment: str = "", incident: str = "", operator: str = "", kind: str = "",
    since: str = "", after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1)] = 500,
) -> Any:  # fmt: skip
    """Entries of all chains in the order in which they came here; at most 1,000 at a time. Filters match exactly."""
    wanted = reads.Wanted(deployment, incident, operator, kind, since_ns(since))
    found = reads.timeline(parts.database, wanted, after, limit)
    return {"entries": found, "next": reads.counted(found, "position", after)}

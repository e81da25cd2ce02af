"""A rollback that somebody did by hand, taken into the journal and the measures."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import rfc8785

from rollback_console.errors import Refused
from rollback_console.execute.watch import Expectation, whose
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Adopted, PersonSignature
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.plan import Execution
from rollback_console.model.registry import PointerMove


def adopt(
    deployment: Deployment,
    current: str | None,
    moves: Iterable[PointerMove],
    executions: Iterable[Execution],
    adopted: Iterable[Adopted],
    reason: str,
    sign: Callable[[bytes], PersonSignature] | None = None,
    *,
    planned: bool = False,
) -> Adopted:
    """The body to journal: the pointer's last move, if nobody's execution made it and nobody adopted it yet.
    `planned`: it was a planned switch, not a remedy.

    `current` is what the pointer names now, `moves` those this journal or the registry saw. Raises Refused with why
    there is nothing to adopt.
    """
    if not reason.strip():
        raise Refused("an adoption needs a reason", "say in one line who moved it and why")
    where = f"{deployment.alias} of {deployment.id}"
    mine = [move for move in moves if (move.model, move.alias) == (deployment.model, deployment.alias)]
    if current is None:
        raise Refused(f"{where} points to nothing now", "set it first, then adopt")
    last = max(mine, key=lambda move: move.at, default=None)
    if last is None or last.before is None or last.before == last.after:
        raise Refused(f"nothing moved: {where} is at v{current} and was not seen anywhere else", "nothing to do")
    if last.after != current:
        raise Refused(
            f"{where} is at v{current}, but was last seen moving to v{last.after}", "wait for the next look, then adopt"
        )
    ours = whose(executions, last.model, last.alias, last.after, last.at)
    if ours is not None:
        raise Refused(f"execution {ours} made that move, and is in the journal already", "nothing to do")
    for before in adopted:
        if (before.model, before.alias, before.to_version, before.moved_at) == (
            last.model, last.alias, last.after, last.at,
        ):  # fmt: skip
            raise Refused(f"the move of {where} to v{current} was adopted already", "nothing to do")
    facts: dict[str, str | float] = {
        "schema": "rollback-console/adoption/v1",
        "deployment": str(deployment.id),
        "model": deployment.model,
        "alias": deployment.alias,
        "from": last.before,
        "to": current,
        "moved_at": round(last.at, 3),
        "reason": reason,
        **({"planned": True} if planned else {}),
    }
    return Adopted(
        model=deployment.model,
        alias=deployment.alias,
        from_version=last.before,
        to_version=current,
        reason=reason,
        moved_at=last.at,
        person=sign(rfc8785.dumps(facts)) if sign is not None else None,
        moved_by=last.by,
        planned=planned,
    )


def adoptions(entries: Iterable[Entry]) -> tuple[Expectation, ...]:
    """Adoptions in the journal (entries of kind `adopt`), as where their pointers were brought."""
    found = []
    for entry in entries:
        body = entry.parsed()
        if isinstance(body, Adopted):
            found.append(
                Expectation(
                    DeploymentId.parse(entry.deployment), body.model, body.alias, body.to_version, entry.at,
                    f"the adoption by {entry.operator or 'unknown'}",
                )
            )  # fmt: skip
    return tuple(found)

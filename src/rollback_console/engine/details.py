"""What is fetched only for a deployment that somebody looks at: its versions, what changed, and who moved what."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.decide.attribution import Release
from rollback_console.decide.diff import differences
from rollback_console.errors import BackendError
from rollback_console.model.registry import Difference, ModelVersion, PointerMove
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.snapshot import DeploymentDetail
from rollback_console.observe.protocol import ModelRegistry

MOVES_BEFORE_S = 7200.0  # the two hours before onset


async def fetch_detail(
    rule: DeploymentRule,
    registry: ModelRegistry,
    releases: Sequence[Release],
    moves: Sequence[PointerMove],
    serving: str | None,
    onset: float,
    now: float,
) -> DeploymentDetail:
    """The detail of one deployment. A registry that does not answer is the detail's `problem`; nothing is raised."""
    name, seen = rule.deployment.id, recent_moves(releases, moves, onset, now)
    try:
        versions = await registry.versions(rule.deployment.model)
        pair = compared(name.name, [r for r in releases if r.deployment == name], versions, serving)
        changed: tuple[Difference, ...] = ()
        if pair is not None:
            before = await registry.version(rule.deployment.model, pair[0])
            after = await registry.version(rule.deployment.model, pair[1])
            if before is not None and after is not None:
                changed = differences(before, after)
    except BackendError as error:
        return DeploymentDetail(name, problem=str(error), moves=seen, trigger=rule.trigger.when)
    return DeploymentDetail(
        name, versions=versions, compared=pair, differences=changed, moves=seen, trigger=rule.trigger.when
    )


def compared(
    name: str, releases: Sequence[Release], versions: Sequence[ModelVersion], serving: str | None
) -> tuple[str, str] | None:
    """Which two versions to compare: across the last release, else what serves and the one registered before it."""
    for release in reversed(releases):
        if release.before is not None and release.after is not None and not release.rollback:
            return release.before, release.after
    numbers = [version.version for version in versions]  # newest first
    if serving in numbers and numbers.index(serving) + 1 < len(numbers):
        return numbers[numbers.index(serving) + 1], serving
    return None


def recent_moves(
    releases: Sequence[Release], moves: Sequence[PointerMove], onset: float, now: float
) -> tuple[PointerMove, ...]:
    """Every move in the fleet from two hours before `onset` until now, newest first: pointers as the journal saw them,
    and version changes as serving reported them where no pointer move explains them."""
    start = onset - MOVES_BEFORE_S
    found = [move for move in moves if start <= move.at <= now]
    known = {(move.deployment, move.after) for move in found}
    found.extend(
        PointerMove(r.at, str(r.deployment), "", "serving", r.before, r.after, "serving reports")
        for r in releases
        if start <= r.at <= now and (str(r.deployment), r.after) not in known
    )
    return tuple(sorted(found, key=lambda move: -move.at))

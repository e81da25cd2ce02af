"""What became of every version of a model: when it served, who brought it, what went wrong with it. For release
notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rollback_console.model.value import dataclass
from rollback_console.review.measures_cost import costs, counted
from rollback_console.review.moves import Move, MoveClass, by_deployment, moves_of
from rollback_console.review.past import Episode, Past
from rollback_console.review.rates import Cuts, Window


@dataclass(frozen=True, slots=True)
class Stint:
    """One time that a version served: `[start, end)` in Unix seconds; None: before the journal, still now. `move`
    brought it, None where that was before the journal; `ended_by` took it away."""

    start: float | None
    end: float | None
    move: Move | None
    ended_by: Move | None


@dataclass(frozen=True, slots=True)
class Trouble:
    """An incident while a version served. `cost` in `unit`, None where it is not priced."""

    id: str
    seq: int
    onset: float
    closed_at: float | None
    version: str
    sentence: str
    root_cause: str
    cost: float | None
    unit: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version on one deployment. `served_s` is what the journal saw of it; `at_least`: it served before that."""

    deployment: str
    version: str
    registered_at: float | None
    stints: tuple[Stint, ...]
    served_s: float
    at_least: bool
    serving: bool
    troubles: tuple[Trouble, ...]

    @property
    def first(self) -> Move | None:
        """What brought it first, as far as the journal goes."""
        return self.stints[0].move

    @property
    def rollbacks(self) -> tuple[Move, ...]:
        """The rollbacks that took it away."""
        return tuple(s.ended_by for s in self.stints if s.ended_by is not None and s.ended_by.is_rollback)


_Back = Mapping[str, Sequence[Move]]  # every rollback of each deployment


def names(past: Past) -> tuple[str, ...]:
    """Every model and deployment that the journals know."""
    moves = moves_of(past)
    found = {move.model for move in moves} | {move.deployment for move in moves}
    for paper in past.papers:
        for each in paper.deployments:
            found |= {each.deployment, each.model}
    return tuple(sorted(found - {""}))


def history(past: Past, model: str) -> tuple[Version, ...]:
    """The versions of a registered model, a deployment (`environment/name`) or a deployment's bare name: by deployment,
    the newest first."""
    every = moves_of(past)
    moves = [move for move in every if model in (move.model, move.deployment, move.deployment.partition("/")[2])]
    cuts, back = Cuts(past), by_deployment(move for move in every if move.is_rollback)
    found: list[Version] = []
    for deployment in sorted({move.deployment for move in moves}):
        own = [move for move in moves if move.deployment == deployment]
        found += _versions(past, back, cuts, deployment, own)
    return tuple(found)


def _versions(past: Past, back: _Back, cuts: Cuts, deployment: str, own: Sequence[Move]) -> list[Version]:
    stints: dict[str, list[Stint]] = {}
    stints.setdefault(own[0].before, []).append(Stint(None, own[0].at, None, own[0]))
    for number, move in enumerate(own):
        after = own[number + 1] if number + 1 < len(own) else None
        stints.setdefault(move.after, []).append(Stint(move.at, after.at if after is not None else None, move, after))
    incidents = [each for each in counted(past, Window()) if deployment in each.members]
    found = [_version(past, back, cuts, deployment, name, times, incidents) for name, times in stints.items()]
    return sorted(found, key=_newest, reverse=True)


def _newest(version: Version) -> tuple[float, float]:
    """By when it was first brought; numbers decide where several were there before the journal."""
    start = version.stints[0].start
    number = float(version.version) if version.version.isdecimal() else 0.0
    return (-math.inf if start is None else start, number)


def _version(
    past: Past, back: _Back, cuts: Cuts, deployment: str, name: str, stints: Sequence[Stint],
    incidents: Sequence[Episode],
) -> Version:  # fmt: skip
    first, last = past.first_at, past.last_at
    served = math.fsum(
        max(
            0.0,
            (stint.end if stint.end is not None else last or 0.0)
            - (stint.start if stint.start is not None else first or 0.0),
        )
        for stint in stints
    )
    registered = [s.move.registered_at for s in stints if s.move is not None and s.move.registered_at is not None]
    return Version(
        deployment, name, registered[0] if registered else None, tuple(stints), served,
        any(stint.start is None for stint in stints), any(stint.end is None for stint in stints),
        tuple(_trouble(past, back, cuts, deployment, name, each) for each in incidents if _during(stints, each.onset)),
    )  # fmt: skip


def _during(stints: Sequence[Stint], at: float) -> bool:
    return any((s.start is None or s.start <= at) and (s.end is None or at < s.end) for s in stints)


def _trouble(past: Past, back: _Back, cuts: Cuts, deployment: str, version: str, incident: Episode) -> Trouble:
    cost = next(costs(past, back, incident, cuts, (deployment,)), None)
    judgement = past.judgement(incident.id)
    cause = judgement.root_cause if judgement is not None else ""
    if not cause:  # judged on its rollback
        told = [
            move.judgement.root_cause
            for move in back.get(deployment, ())
            if move.judgement is not None
            and move.decided_at is not None
            and incident.onset <= move.decided_at <= (incident.closed_at or math.inf)
        ]
        cause = next((each for each in told if each), "")
    return Trouble(
        incident.id, incident.seq, incident.onset, incident.closed_at, version, incident.sentence, cause,
        cost.total if cost is not None and cost.priced else None, cost.unit if cost is not None else "",
    )  # fmt: skip


def came_by(move: Move) -> str:
    """How a version came to serve, in a few words."""
    if move.klass is MoveClass.DEPLOYMENT:
        return "rolled out"
    if move.is_rollback:
        return f"rolled back to, from v{move.before}"
    return f"{move.klass}, from v{move.before}"

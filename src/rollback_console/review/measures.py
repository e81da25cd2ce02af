"""Every measure of a window, put together: what `report rollback-rate` shows. Defined in `docs/measures.md`."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.model.value import dataclass
from rollback_console.review.measures_cost import Incidents, incidents
from rollback_console.review.measures_learning import Learnt, learnt
from rollback_console.review.moves import Move, MoveClass, moves_of, unmoved
from rollback_console.review.past import Past
from rollback_console.review.rates import (
    WITHIN_S,
    Cuts,
    Rate,
    Times,
    Window,
    rate_of,
    rates,
    rollbacks,
    times,
    trend,
)


@dataclass(frozen=True, slots=True)
class Group:
    """One key of the cut: all that is counted of it."""

    key: str
    rate: Rate
    times: Times
    learnt: Learnt
    incidents: Incidents


@dataclass(frozen=True, slots=True)
class Left:
    """What is in no rate, and why. `seq` is its entry's number."""

    seq: int
    chain: str
    at: float
    deployment: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Measures:
    """`whole` is over everything, `groups` a key of the cut each (none where the cut is `all`)."""

    window: Window
    within_s: float
    by: str
    whole: Group
    groups: tuple[Group, ...]
    trend: tuple[Rate, ...]
    excluded: tuple[Left, ...]
    unanchored: tuple[Left, ...]  # rollbacks of what was deployed before the journal began


def measures(past: Past, window: Window | None = None, within_s: float = WITHIN_S, by: str = "all") -> Measures:
    """Count it all. `by` is one of `rates.BY`."""
    window = window if window is not None else Window()
    moves, cuts = moves_of(past), Cuts(past)
    last = past.last_at if past.last_at is not None else 0.0
    whole = _group(past, moves, window, within_s, last, cuts, "all", "all")
    keys: set[str] = set()
    if by != "all":
        keys |= {cuts.key(by, m.deployment, m.at) for m in moves if window.holds(m.at)}
        keys |= {cuts.key(by, name) for name in cuts.first_named()}
    groups = tuple(_group(past, moves, window, within_s, last, cuts, by, key) for key in sorted(keys))
    return Measures(
        window, within_s, by, whole, groups, trend(moves, window, within_s, last),
        _excluded(past, moves, window), _unanchored(moves, window),
    )  # fmt: skip


def _group(
    past: Past, moves: Sequence[Move], window: Window, within_s: float, last: float, cuts: Cuts, by: str, key: str
) -> Group:
    def keep(deployment: str, at: float | None) -> bool:
        return cuts.key(by, deployment, at) == key

    found = rates(moves, window, within_s, last, lambda m: cuts.key(by, m.deployment, m.at))
    rate = next((each for each in found if each.key == key), rate_of(key, (), moves, within_s, last))
    went_back = [m for m in rollbacks(moves, window) if keep(m.deployment, m.at)]
    return Group(
        key,
        rate,
        times(moves, window, only=lambda m: keep(m.deployment, m.at)),
        learnt(went_back),
        incidents(past, moves, window, cuts, keep),
    )


def _excluded(past: Past, moves: Sequence[Move], window: Window) -> tuple[Left, ...]:
    found = [
        Left(m.seq, m.chain, m.at, m.deployment, f"{m.klass}: v{m.before} to v{m.after}", m.why)
        for m in moves
        if m.klass in (MoveClass.PLANNED, MoveClass.MISTAKE) and window.holds(m.at)
    ]
    for run in unmoved(past):
        if run.ended_at is not None and window.holds(run.ended_at):
            why = "its plan is no longer kept, and no pointer entry names it: from where to where is not known"
            found.append(Left(run.seq, run.chain, run.ended_at, run.deployment, f"execution {run.id}", why))
    return tuple(sorted(found, key=lambda each: (each.at, each.seq)))


def _unanchored(moves: Sequence[Move], window: Window) -> tuple[Left, ...]:
    return tuple(
        Left(m.seq, m.chain, m.at, m.deployment, f"{m.klass}: v{m.before} to v{m.after}",
             f"the deployment of v{m.before} is not in what was read")
        for m in rollbacks(moves, window)
        if m.undoes is None
    )  # fmt: skip

"""Every measure of a window, put together: what `report rollback-rate` shows. Defined in `docs/measures.md`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rollback_console.model.value import dataclass
from rollback_console.review.measures_cost import Incidents, counted, incidents
from rollback_console.review.measures_learning import Learnt, learnt
from rollback_console.review.moves import Move, MoveClass, by_deployment, moves_of, unmoved
from rollback_console.review.past import Drilled, Episode, Past
from rollback_console.review.rates import WITHIN_S, Cuts, Rate, Times, Window, rate_of, rollbacks, times_of, trend


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
    drills: tuple[Drilled, ...] = ()


def measures(past: Past, window: Window | None = None, within_s: float = WITHIN_S, by: str = "all") -> Measures:
    """Count it all. `by` is one of `rates.BY`."""
    window = window if window is not None else Window()
    moves, last = moves_of(past), past.last_at if past.last_at is not None else 0.0
    count = _Counting(past, moves, window, within_s, last)
    whole = count.groups("all")[0]
    return Measures(
        window, within_s, by, whole, () if by == "all" else count.groups(by), trend(moves, window, within_s, last),
        _excluded(past, moves, window), _unanchored(moves, window),
        tuple(each for each in past.drills if window.holds(each.at)),
    )  # fmt: skip


class _Counting:
    """What is looked up once and counted for every group: a fleet has a thousand of them."""

    def __init__(self, past: Past, moves: Sequence[Move], window: Window, within_s: float, last: float) -> None:
        self._past, self._moves, self._window = past, moves, window
        self._within_s, self._last = within_s, last
        self._cuts = Cuts(past)
        self._went_back = by_deployment(move for move in moves if move.is_rollback)
        self._back = rollbacks(moves, window)
        self._deployed = [m for m in moves if m.klass is MoveClass.DEPLOYMENT and window.holds(m.at)]
        self._counted = tuple(counted(past, window))
        members = {name for each in self._counted for name in each.members}
        self._names = {*self._cuts.first_named(), *past.turns, *members}

    def groups(self, by: str) -> tuple[Group, ...]:
        """Every group of a cut, sorted by its key: of the moves in the window, and of all that is observed."""

        def key(deployment: str, at: float | None = None) -> str:
            return self._cuts.key(by, deployment, at)

        deployed, back = _split(self._deployed, key), _split(self._back, key)
        episodes: dict[str, list[Episode]] = {}
        for each in self._counted:
            for name in dict.fromkeys(key(member) for member in each.members):
                episodes.setdefault(name, []).append(each)
        names: dict[str, set[str]] = {}
        for deployment in self._names:
            names.setdefault(key(deployment), set()).add(deployment)
        shown = {key(m.deployment, m.at) for m in self._moves if self._window.holds(m.at)}
        shown |= {key(name) for name in self._cuts.first_named()} | ({"all"} if by == "all" else set())
        return tuple(
            Group(
                each,
                rate_of(each, deployed.get(each, ()), self._moves, self._within_s, self._last),
                times_of(back.get(each, ()), self._moves, self._went_back),
                learnt(back.get(each, ())),
                incidents(
                    self._past, self._window, episodes.get(each, ()), deployed.get(each, ()), names.get(each, set()),
                    self._went_back, self._cuts,
                ),
            )
            for each in sorted(shown)
        )  # fmt: skip


def _split(moves: Sequence[Move], key: Callable[[str, float | None], str]) -> dict[str, list[Move]]:
    found: dict[str, list[Move]] = {}
    for move in moves:
        found.setdefault(key(move.deployment, move.at), []).append(move)
    return found


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

"""What was foretold against what came: losses, the cost of waiting, recovery times, and margins. Defined in
`docs/measures.md`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence

from rollback_console.model.intervals import wilson
from rollback_console.model.judgement import FALSE_ALARM
from rollback_console.model.value import dataclass
from rollback_console.review.measures_cost import lost_by
from rollback_console.review.moves import Move, by_deployment, moves_of
from rollback_console.review.past import Episode, Past, Point, Turn
from rollback_console.review.rates import Cuts, Window

WAIT_S = 600.0  # what "10 more minutes cost" looks ahead
LEAST_S = 60.0  # less time than this says nothing of a rate
ENOUGH = 10  # pairs below which a median is an anecdote
NEAR = 2.0  # a prediction is near where what came is at least half of it and at most twice
EDGES = (1.25, 1.5, 2.0, 3.0)  # of the margin, by how much a signal passed it


@dataclass(frozen=True, slots=True)
class Fired:
    """One fire. `rate`: revenue lost per minute at it; `mean`: what came per minute afterwards, until its condition was
    gone or the pointer was moved back; `waited`: what the next 10 minutes cost, where they passed so. None: unknown.
    `beyond`: by how many times its margin the worst breached signal was off. `judged`: true, false or ""."""

    at: float
    seq: int
    deployment: str
    unit: str
    incident: str
    signal: str
    beyond: float | None
    judged: str
    rate: float | None
    mean: float | None
    waited: float | None
    recovery_foretold_s: float | None = None
    recovery_s: float | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pairs of foretold and came. `median`: of came / foretold; `near`: how many are within a factor of two."""

    what: str
    pairs: int
    median: float | None
    low: float | None  # the smallest ratio, the largest
    high: float | None
    near: int
    without: int  # fires that had no pair

    @property
    def enough(self) -> bool:
        return self.pairs >= ENOUGH


@dataclass(frozen=True, slots=True)
class Step:
    """Fires whose worst signal passed its margin by `low` to `high` times. `false_low`, `false_high`: Wilson's interval
    of the share of false ones among those judged; None where none was."""

    low: float
    high: float | None
    fires: int
    true: int
    false: int
    false_low: float | None
    false_high: float | None


@dataclass(frozen=True, slots=True)
class Miss:
    """A trigger that began to count and did not fire. `beyond`: as of a fire."""

    at: float
    seq: int
    deployment: str
    signal: str
    beyond: float
    lasted_s: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """All of it. `margins`: how people judged them (word, how many)."""

    fires: tuple[Fired, ...]
    agreements: tuple[Agreement, ...]
    steps: tuple[Step, ...]
    misses: tuple[Miss, ...]
    margins: tuple[tuple[str, int], ...]


def calibration(past: Past, window: Window | None = None, misses: int = 10) -> Calibration:
    """Everything of a window; the `misses` closest misses."""
    window = window if window is not None else Window()
    known = _Known(past)
    fires = tuple(
        sorted(
            (
                _fired(known, turns, number)
                for turns in past.turns.values()
                for number, turn in enumerate(turns)
                if turn.after == "fired" and turn.before != "clearing" and window.holds(turn.at)
            ),
            key=lambda each: (each.at, each.deployment),
        )
    )
    judged = [each.margins for each in past.judgements.values() if each.margins and window.holds(each.at)]
    return Calibration(
        fires,
        (
            _agreement("loss a minute", ((f.rate, f.mean) for f in fires)),
            _agreement(
                "10 more minutes", ((None if f.rate is None else f.rate * WAIT_S / 60, f.waited) for f in fires)
            ),
            _agreement("time to recover", ((f.recovery_foretold_s, f.recovery_s) for f in fires)),
        ),
        tuple(_steps(fires)),
        tuple(sorted(_misses(past, window), key=lambda each: (-each.beyond, each.at))[:misses]),
        tuple((word, judged.count(word)) for word in sorted(set(judged))),
    )


class _Known:
    """What is looked up for every fire."""

    def __init__(self, past: Past) -> None:
        self.past, self.cuts = past, Cuts(past)
        self.moves, self.incidents = by_deployment(moves_of(past)), past.by_member()


def _fired(known: _Known, turns: Sequence[Turn], number: int) -> Fired:
    past, turn, after = known.past, turns[number], turns[number + 1] if number + 1 < len(turns) else None
    incident = _incident(known.incidents.get(turn.deployment, ()), turn)
    back = _went_back(known.moves.get(turn.deployment, ()), turn)
    end = min(
        after.at if after is not None else past.last_at or turn.at,
        back.at if back is not None else math.inf,
    )
    rate, line = _rate(turn), _line(turns, number)
    mean = waited = None
    if line and end - turn.at >= LEAST_S:
        mean = 60.0 * (lost_by(line, end) - lost_by(line, turn.at)) / (end - turn.at)
    if line and end - turn.at >= WAIT_S:
        waited = lost_by(line, turn.at + WAIT_S) - lost_by(line, turn.at)
    signal, beyond = _worst(turn)
    ruled = known.cuts.ruled(turn.deployment)
    foretold = dict(incident.drilled).get(turn.deployment) if incident is not None else None
    done = back.completed_at if back is not None else None
    return Fired(
        turn.at, turn.seq, turn.deployment, ruled.unit if ruled is not None else "?",
        incident.id if incident is not None else "", signal, beyond, _judged(known, incident), rate, mean, waited,
        foretold, done - turn.at if done is not None and done >= turn.at else None,
    )  # fmt: skip


def _rate(turn: Turn) -> float | None:
    """Revenue lost per minute at a transition: how the engine's own sum grew with that evaluation."""
    if len(turn.points) != 2 or turn.points[0].since != turn.points[1].since:
        return None
    before, after = turn.points
    return None if after.at <= before.at else 60.0 * (after.lost - before.lost) / (after.at - before.at)


def _line(turns: Sequence[Turn], number: int) -> list[Point]:
    """The sum from a fire to the next transition."""
    here = turns[number].points[-1:] if turns[number].goes_on else ()
    there = turns[number + 1].points[:1] if number + 1 < len(turns) else ()
    return [*here, *there] if here and there and there[0].at > here[0].at else []


def _worst(turn: Turn) -> tuple[str, float | None]:
    """The breached signal that passed its margin by the most, and how many times that is; "" where none tells."""
    found = [(each.beyond, each.name) for each in turn.signals if each.breached and each.beyond is not None]
    if found:
        beyond, name = max(found)
        return name, beyond
    return next((each.name for each in turn.signals if each.breached), ""), None


def _incident(incidents: Sequence[Episode], turn: Turn) -> Episode | None:
    """The last one to begin of the deployment's that lasted at the fire."""
    found = [
        each for each in incidents if each.onset <= turn.at and (each.closed_at is None or turn.at <= each.closed_at)
    ]
    return max(found, key=lambda each: (each.onset, each.id)) if found else None


def _went_back(moves: Sequence[Move], turn: Turn) -> Move | None:
    """The deployment's next move, where that is a rollback."""
    found = next((move for move in moves if move.at >= turn.at), None)
    return found if found is not None and found.is_rollback else None


def _judged(known: _Known, incident: Episode | None) -> str:
    """By the root cause that the incident's judgement names, else that of a rollback's in it."""
    if incident is None:
        return ""
    own = known.past.judgement(incident.id)
    told = [own] if own is not None else []
    end = incident.closed_at if incident.closed_at is not None else math.inf
    told += [
        move.judgement
        for member in incident.members
        for move in known.moves.get(member, ())
        if move.is_rollback
        and move.judgement is not None
        and move.decided_at is not None
        and incident.onset <= move.decided_at <= end
    ]
    cause = next((each.root_cause for each in told if each.root_cause), "")
    return "" if not cause else "false" if cause.casefold() == FALSE_ALARM else "true"


def _agreement(what: str, pairs: Iterable[tuple[float | None, float | None]]) -> Agreement:
    every = list(pairs)
    ratios = [came / told for told, came in every if told is not None and came is not None and told > 0]
    near = sum(1 for each in ratios if 1 / NEAR <= each <= NEAR)
    return Agreement(
        what, len(ratios), statistics.median(ratios) if ratios else None, min(ratios, default=None),
        max(ratios, default=None), near, len(every) - len(ratios),
    )  # fmt: skip


def _steps(fires: Sequence[Fired]) -> Iterator[Step]:
    edges = (1.0, *EDGES)
    for number, low in enumerate(edges):
        high = edges[number + 1] if number + 1 < len(edges) else None
        found = [f for f in fires if f.beyond is not None and _between(f.beyond, low, high, first=number == 0)]
        true, false = (sum(1 for f in found if f.judged == word) for word in ("true", "false"))
        ends = wilson(false, true + false) if true + false else (None, None)
        yield Step(low, high, len(found), true, false, *ends)


def _between(beyond: float, low: float, high: float | None, *, first: bool) -> bool:
    """In a step; what is below the first (judged by evidence, a margin is no wall) belongs to it."""
    return (first or beyond >= low) and (high is None or beyond < high)


def _misses(past: Past, window: Window) -> Iterator[Miss]:
    for name, turns in past.turns.items():
        for number, turn in enumerate(turns):
            if turn.after != "pending" or not window.holds(turn.at):
                continue
            after = turns[number + 1] if number + 1 < len(turns) else None
            if after is not None and after.after in ("fired", "pending"):
                continue
            signal, beyond = _worst(turn)
            if beyond is not None:
                yield Miss(turn.at, turn.seq, name, signal, beyond, None if after is None else after.at - turn.at)

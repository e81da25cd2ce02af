"""Incidents: how often, what they cost before and after somebody decided, and how often people were woken."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from rollback_console.model.value import dataclass
from rollback_console.review.moves import Move
from rollback_console.review.past import Episode, Past, Point, Turn
from rollback_console.review.rates import DAY_S, Cuts, Spread, Window, spread

SHIFT_S, SHIFT_BEGINS_S = 12 * 3_600.0, 8 * 3_600.0  # 08:00 and 20:00 UTC
MONTH_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """What one incident cost in a unit, before and after the decision; `before` is all of it where nobody decided."""

    incident: str
    seq: int
    onset: float
    members: tuple[str, ...]
    unit: str
    before: float
    after: float
    decided_at: float | None
    priced: bool  # some member's policy says what it costs

    @property
    def total(self) -> float:
        return self.before + self.after


@dataclass(frozen=True, slots=True)
class Incidents:
    """`months`: deployment-months (of 30 days) observed; `shifts`: touched by the window; `most`: pages in a shift."""

    incidents: int
    months: float
    lead: Spread
    costs: tuple[Cost, ...]
    pages: int
    shifts: int
    most: int

    @property
    def per_month(self) -> float | None:
        return self.incidents / self.months if self.months > 0 else None

    @property
    def pages_per_shift(self) -> float | None:
        return self.pages / self.shifts if self.shifts else None


def counted(past: Past, window: Window) -> Iterator[Episode]:
    """The incidents that begin in a window and of which a member fired."""
    for each in past.episodes.values():
        if window.holds(each.onset) and any(
            turn.after == "fired" for member in each.members for turn in within(past, each, member)
        ):
            yield each


def within(past: Past, incident: Episode, member: str) -> Sequence[Turn]:
    """A member's transitions from the incident's onset to its end."""
    turns = past.turns.get(member, ())
    end = incident.closed_at if incident.closed_at is not None else math.inf
    return turns[bisect_left(turns, incident.onset, key=_at) : bisect_right(turns, end, key=_at)]


def _at(turn: Turn) -> float:
    return turn.at


def incidents(
    past: Past,
    window: Window,
    found: Sequence[Episode],
    deployed: Sequence[Move],
    names: Collection[str],
    went_back: Mapping[str, Sequence[Move]],
    cuts: Cuts,
) -> Incidents:
    """All of it for the deployments `names`: of the incidents `found` (of `counted`), the moves `deployed` (of class
    deployment, in the window), and every rollback of each deployment."""
    pages = [
        turn.at
        for name in names
        for turn in past.turns.get(name, ())
        if turn.after == "fired" and not turn.backfilled and window.holds(turn.at)
    ]
    per_shift = Counter(math.floor((at - SHIFT_BEGINS_S) / SHIFT_S) for at in pages)
    return Incidents(
        len(found),
        _months(past, window, cuts, names),
        spread(None if m.registered_at is None else m.at - m.registered_at for m in deployed),
        tuple(cost for each in found for cost in costs(past, went_back, each, cuts, names)),
        len(pages),
        _shifts(past, window),
        max(per_shift.values(), default=0),
    )


def _months(past: Past, window: Window, cuts: Cuts, names: Collection[str]) -> float:
    last, named = past.last_at, cuts.first_named()
    if last is None:
        return 0.0
    end = last if window.end is None else min(last, window.end)
    start = -math.inf if window.start is None else window.start
    since = [named[name] for name in names if name in named]
    return math.fsum(max(0.0, end - max(first, start)) for first in since) / (MONTH_DAYS * DAY_S)


def _shifts(past: Past, window: Window) -> int:
    first, last = past.first_at, past.last_at
    if first is None or last is None:
        return 0
    start = first if window.start is None else max(first, window.start)
    end = last if window.end is None else min(last, window.end)
    if end < start:
        return 0
    begun = math.floor((start - SHIFT_BEGINS_S) / SHIFT_S)
    return max(1, math.ceil((end - SHIFT_BEGINS_S) / SHIFT_S) - begun)


# ── cost


def costs(
    past: Past, went_back: Mapping[str, Sequence[Move]], incident: Episode, cuts: Cuts, names: Collection[str]
) -> Iterator[Cost]:
    """What an incident cost, one a unit of those of its members that are among `names`; `went_back`: every rollback of
    each deployment."""
    decided = decision(went_back, incident)
    sums: dict[str, tuple[float, float, bool]] = {}
    for member in incident.members:
        if member not in names:
            continue
        ruled = cuts.ruled(member)
        unit = ruled.unit if ruled is not None else "?"
        before, after, priced = sums.get(unit, (0.0, 0.0, False))
        for trouble in troubles(within(past, incident, member)):
            total = max(0.0, trouble[-1].lost)
            until = total if decided is None else min(total, max(0.0, lost_by(trouble, decided)))
            before, after, priced = before + until, after + total - until, True
        sums[unit] = (before, after, priced)
    for unit, (before, after, priced) in sums.items():
        yield Cost(incident.id, incident.seq, incident.onset, incident.members, unit, before, after, decided, priced)


def decision(went_back: Mapping[str, Sequence[Move]], incident: Episode) -> float | None:
    """When the first rollback of a member was decided while the incident lasted; None where none was."""
    end = incident.closed_at if incident.closed_at is not None else math.inf
    found = [
        move.decided_at
        for member in incident.members
        for move in went_back.get(member, ())
        if move.decided_at is not None and incident.onset <= move.decided_at <= end
    ]
    return min(found, default=None)


def troubles(turns: Sequence[Turn]) -> list[list[Point]]:
    """The sums that the engine kept, a list a trouble: one ends with the transition after which none is kept."""
    found: list[list[Point]] = []
    ended = True
    for turn in turns:
        for point in turn.points:
            if ended:
                found.append([])
            found[-1].append(point)
            ended = False
        ended = ended or not turn.goes_on
    return found


def lost_by(trouble: Sequence[Point], at: float) -> float:
    """What a trouble had cost by `at`: straight lines from nothing at its beginning through its points."""
    x, y = trouble[0].since, 0.0
    for point in trouble:
        if at < point.at:
            return y if at <= x or point.at <= x else y + (point.lost - y) * (at - x) / (point.at - x)
        x, y = max(x, point.at), point.lost
    return y

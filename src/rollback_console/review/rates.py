"""The rollback rate with its interval, and the times of rollbacks: pure functions over moves, by `docs/measures.md`."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rollback_console.model.intervals import wilson
from rollback_console.model.value import dataclass
from rollback_console.review.moves import Move, MoveClass, by_deployment
from rollback_console.review.past import Past, Ruled

DAY_S = 86_400.0
WITHIN_S = 7 * DAY_S
STANDARD_S = 900.0  # from decision to completion
REPEAT_S = 30 * DAY_S
SMALL = 20  # below so many deployments the interval is wider than any band
BANDS = ((0.05, "rare"), (0.10, "usual"))  # each up to, not including; then up to and including 20 %: high
BY = ("model", "team", "tier", "environment", "all")
Key = Callable[[Move], str]


@dataclass(frozen=True, slots=True)
class Window:
    """`[start, end)` in Unix seconds; None: from the beginning, to the end."""

    start: float | None = None
    end: float | None = None

    def holds(self, at: float) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)


@dataclass(frozen=True, slots=True)
class Rate:
    """Rolled back out of deployments. `rate`, `low`, `high` are fractions, None where there are no deployments; `open`:
    deployments that may still be rolled back within their time."""

    key: str
    deployments: int
    rolled_back: int
    rate: float | None
    low: float | None
    high: float | None
    open: int = 0

    @property
    def band(self) -> str:
        return "" if self.rate is None else band(self.rate)

    @property
    def words(self) -> str:
        """How far the number may be believed, in a few words."""
        if self.rate is None:
            return "no deployments"
        if self.deployments < SMALL:
            return f"few deployments: the interval says more than the rate ({_bands(self)})"
        return _bands(self)


@dataclass(frozen=True, slots=True)
class Spread:
    """Durations in seconds: how many, their mean and 90th percentile; None where there are none. `unknown`: how many
    more there would be, had they not come out below nothing (a clock put back) or been recorded nowhere."""

    n: int
    mean: float | None
    p90: float | None
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Times:
    """How fast rollbacks are. Shares are (how many, out of how many)."""

    to_decision: Spread
    to_completion: Spread
    within_standard: tuple[int, int]
    automatic: tuple[int, int]
    repeated: tuple[int, int]


def nearest_rank(values: Iterable[float], percent: float) -> float | None:
    """The percentile by nearest rank: value number ceil(percent/100 * n) in order; None of none."""
    ordered = sorted(values)
    if not ordered:
        return None
    # percent * n first: 0.9 * 10 is a little more than 9 in binary
    return ordered[max(1, math.ceil(percent * len(ordered) / 100.0)) - 1]


def band(rate: float) -> str:
    """In a word: below 5 % `rare`, below 10 % `usual`, up to 20 % `high`, above it `alarming`."""
    return next((word for limit, word in BANDS if rate < limit), "high" if rate <= 0.20 else "alarming")


def _bands(rate: Rate) -> str:
    low, high = band(rate.low or 0.0), band(rate.high or 0.0)
    return low if low == high else f"anything from {low} to {high}"


def rate_of(key: str, deployments: Sequence[Move], moves: Sequence[Move], within_s: float, last_at: float) -> Rate:
    """The rate of some deployments out of `moves`, whose indices they speak of; `last_at`: of the journal."""
    rolled = [move for move in deployments if _rolled_back(move, moves, within_s)]
    still = sum(1 for m in deployments if m.at + within_s > last_at and not _rolled_back(m, moves, within_s))
    n, k = len(deployments), len(rolled)
    if n == 0:
        return Rate(key, 0, 0, None, None, None)
    low, high = wilson(k, n)
    return Rate(key, n, k, k / n, low, high, still)


def _rolled_back(move: Move, moves: Sequence[Move], within_s: float) -> bool:
    return move.undone_by is not None and moves[move.undone_by].at - move.at <= within_s


def rates(
    moves: Sequence[Move], window: Window, within_s: float, last_at: float, key: Key, *, always: Sequence[str] = ()
) -> tuple[Rate, ...]:
    """One rate a key, sorted by key; `always`: keys that are there with no deployment too."""
    groups: dict[str, list[Move]] = {each: [] for each in always}
    for move in moves:
        if move.klass is MoveClass.DEPLOYMENT and window.holds(move.at):
            groups.setdefault(key(move), []).append(move)
    return tuple(rate_of(name, found, moves, within_s, last_at) for name, found in sorted(groups.items()))


def month(at: float) -> str:
    """The calendar month (UTC), `2026-03`."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")


def trend(moves: Sequence[Move], window: Window, within_s: float, last_at: float) -> tuple[Rate, ...]:
    """The rate of every calendar month from the first with a deployment to the last, those without any included."""
    found = [month(m.at) for m in moves if m.klass is MoveClass.DEPLOYMENT and window.holds(m.at)]
    return rates(moves, window, within_s, last_at, lambda m: month(m.at), always=_months(found))


def _months(found: Sequence[str]) -> list[str]:
    if not found:
        return []
    year, number = map(int, min(found).split("-"))
    names = [min(found)]
    while names[-1] < max(found):
        year, number = (year, number + 1) if number < 12 else (year + 1, 1)
        names.append(f"{year:04d}-{number:02d}")
    return names


def rollbacks(moves: Sequence[Move], window: Window) -> list[Move]:
    """Rollbacks in a window, also by hand, by their own times; no planned ones and no mistakes."""
    return [move for move in moves if move.is_rollback and window.holds(move.at)]


def times(moves: Sequence[Move], window: Window) -> Times:
    """How fast the rollbacks of a window were."""
    return times_of(rollbacks(moves, window), moves, by_deployment(move for move in moves if move.is_rollback))


def times_of(found: Sequence[Move], moves: Sequence[Move], every: Mapping[str, Sequence[Move]]) -> Times:
    """How fast these rollbacks out of `moves` were; `every`: all rollbacks of each deployment."""
    to_decision = [
        None if m.decided_at is None else m.decided_at - moves[m.undoes].at for m in found if m.undoes is not None
    ]
    to_completion = [
        m.completed_at - m.decided_at for m in found if m.completed_at is not None and m.decided_at is not None
    ]
    quick = [each for each in to_completion if each >= 0]
    repeated = [move for move in found if _again(move, every[move.deployment])]
    return Times(
        spread(to_decision),
        spread(to_completion),
        (sum(1 for each in quick if each <= STANDARD_S), len(quick)),
        (sum(1 for move in found if move.automatic), len(found)),
        (len(repeated), len(found)),
    )


def _again(move: Move, every: Sequence[Move]) -> bool:
    """Had its deployment, whose rollbacks these are, another in the 30 days before. Of one time, the later."""
    for other in every:
        if other is move:
            return False  # they stand in order: from here on they are later
        if move.at - other.at <= REPEAT_S:
            return True
    return False


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and p90 of those that are known and not below nothing."""
    every = list(values)
    known = [each for each in every if each is not None and each >= 0]
    mean = math.fsum(known) / len(known) if known else None
    return Spread(len(known), mean, nearest_rank(known, 90), len(every) - len(known))


class Cuts:
    """By whom and where a deployment is, by the policies of the time."""

    def __init__(self, past: Past) -> None:
        self._ruled: dict[str, list[tuple[float, Ruled]]] = {}
        for paper in past.papers:
            for each in paper.deployments:
                self._ruled.setdefault(each.deployment, []).append((paper.at, each))

    def ruled(self, deployment: str, at: float | None = None) -> Ruled | None:
        """The last that named it at `at` or before (without a time: the last of all), else the first after."""
        found = self._ruled.get(deployment)
        if not found:
            return None
        if at is None:
            return found[-1][1]
        return found[max(0, bisect_right(found, at, key=lambda each: each[0]) - 1)][1]

    def key(self, by: str, deployment: str, at: float | None = None) -> str:
        """What the deployment is counted under; `by` is one of `BY`."""
        if by == "all":
            return "all"
        if by == "model":
            return deployment
        if by == "environment":
            return deployment.partition("/")[0]
        ruled = self.ruled(deployment, at)
        if ruled is None:
            return "unknown"
        return ruled.tier if by == "tier" else ruled.owners[0] if ruled.owners else "no owner"

    def first_named(self) -> dict[str, float]:
        """Since when each deployment is observed: the first policy entry that names it."""
        return {name: found[0][0] for name, found in self._ruled.items()}

"""What many drills say together: how often a recovery path held, how long it took and what it cost, with bounds.

Success is a share of runs with Wilson's 95 % interval (Wilson 1927; Brown, Cai, DasGupta 2001 recommend it for small
numbers). Times and costs are quantiles with order-statistic intervals, which assume nothing of how they are spread
(David and Nagaraja, "Order Statistics", 7.1): with n runs, the l-th and the u-th smallest bound the q-quantile with at
least 95 % confidence where Binomial(n, q) falls below l, and at u or above, in at most 2.5 % of cases each.

A run that never recovered is later than all that did: a quantile that falls among those is "never", not a number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rollback_console.model.intervals import wilson
from rollback_console.model.value import dataclass
from rollback_console.rehearse.score import DrillResult

_TAIL = 0.025


@dataclass(frozen=True, slots=True)
class Run:
    """One drill among many. `path`: the recovery path taken, "" for none; `origin`: where the console said the incident
    came from when it was taken (or when it first fired, where none was). `held`: it did what it was to do, see `held`.
    `recovered_s`: from the first fire to recovered, None for never. `cost`: in the world's money, None where it has
    none."""

    seed: int
    klass: str
    path: str
    origin: str
    held: bool
    passed: bool
    recovered_s: float | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class Share:
    """`held` of `runs`, with Wilson's 95 % interval."""

    held: int
    runs: int
    low: float
    high: float

    @property
    def share(self) -> float:
        return self.held / self.runs if self.runs else math.nan


@dataclass(frozen=True, slots=True)
class Bounded:
    """A quantile with its 95 % interval. inf: never; a bound that so few runs cannot give is -inf or inf."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What drills of one class of incident by one recovery path came to. Seconds; `cost` in `cost_unit`, None where the
    runs have no money or more than one kind of it."""

    klass: str
    path: str
    success: Share
    recover_median: Bounded | None
    recover_p90: Bounded | None
    cost_median: Bounded | None
    cost_p90: Bounded | None
    cost_unit: str


def run_of(result: DrillResult) -> Run:
    """What of a drill's result is kept among many."""
    return Run(
        seed=result.seed,
        klass=result.klass,
        path=result.path,
        origin=result.origin,
        held=held(result),
        passed=result.passed,
        recovered_s=result.recovered_s,
        cost=result.cost if result.cost_unit else None,
    )


def held(result: DrillResult) -> bool:
    """Did what was done mend it: nothing was rolled back that should not have been, and all that had to be recovered on
    its own signals. How tidily the operator worked is the score's business, not the path's."""
    return result.decision == "right" and (result.recovered_s is not None or not result.path)


def share(successes: int, trials: int) -> Share:
    """The share with its 95 % interval; (0, 1) where nothing was tried."""
    return Share(successes, trials, *wilson(successes, trials))


def quantile(values: Sequence[float | None], q: float) -> Bounded | None:
    """The smallest value within which a share `q` of them lies, with its interval; None without any. A None among them
    is later than every number."""
    if not values:
        return None
    ordered = sorted(math.inf if value is None else value for value in values)
    low, high = _ranks(len(ordered), q)
    return Bounded(
        ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)],
        ordered[low - 1] if low >= 1 else -math.inf,
        ordered[high - 1] if high <= len(ordered) else math.inf,
    )


def _ranks(count: int, q: float) -> tuple[int, int]:
    """1-based ranks that bound the q-quantile; 0 and count + 1 where there is no such rank."""
    below, low, high = 0.0, 0, count + 1  # below: P(B < rank)
    for rank in range(1, count + 1):
        below += _binomial(count, rank - 1, q)
        if below <= _TAIL:
            low = rank
        if 1.0 - below <= _TAIL:
            high = rank
            break
    return low, high


def _binomial(count: int, successes: int, q: float) -> float:
    chosen = math.lgamma(count + 1) - math.lgamma(successes + 1) - math.lgamma(count - successes + 1)
    return math.exp(chosen + successes * math.log(q) + (count - successes) * math.log1p(-q))


def outcomes(runs: Iterable[tuple[Run, str]]) -> tuple[Outcome, ...]:
    """By class of incident and recovery path, in that order, of runs each with its unit of money."""
    grouped: dict[tuple[str, str], list[tuple[Run, str]]] = {}
    for run, unit in runs:
        grouped.setdefault((run.klass, run.path), []).append((run, unit))
    return tuple(_outcome(klass, path, found) for (klass, path), found in sorted(grouped.items()))


def _outcome(klass: str, path: str, found: Sequence[tuple[Run, str]]) -> Outcome:
    runs = [run for run, _ in found]
    units = {unit for _, unit in found}
    costs = [run.cost for run in runs if run.cost is not None] if len(units) == 1 else []
    times = [run.recovered_s for run in runs] if path else []
    return Outcome(
        klass,
        path,
        share(sum(run.held for run in runs), len(runs)),
        quantile(times, 0.5),
        quantile(times, 0.9),
        quantile(costs, 0.5),
        quantile(costs, 0.9),
        units.pop() if costs else "",
    )

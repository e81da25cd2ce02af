"""What one evaluation saw. Made by `engine` from backends' answers, stored as packed columns, judged by `decide`."""

from __future__ import annotations

from enum import StrEnum

from rollback_console.model.identity import DeploymentId
from rollback_console.model.value import dataclass


class Blind(StrEnum):
    """Why a signal cannot be judged now. Five different things, each with its own meaning for the operator."""

    NO_DATA = "no data"  # the query worked and had nothing for this deployment
    NOT_A_NUMBER = "not a number"  # NaN or infinite
    QUERY_FAILED = "query failed"  # the backend did not answer, or answered with an error
    STALE = "stale"  # the newest sample behind it is older than the policy allows
    LEARNING = "still learning"  # a first start is learning its baseline: shown, and never recorded


@dataclass(frozen=True, slots=True)
class Norm:
    """What evidence is measured against besides the counts, as learned or given. `margin`: a fraction of the baseline,
    every widening included. `phi`: dispersion (variance over the binomial's, at least 1) for each alternative of
    `decide.evidence`. `control`: (x, n) of what runs beside it in the same window, else None. `hours`: of history
    behind what was learned, where that is less than was asked for. `dwell_s`: what an adaptive dwell came to.
    `budget_s`: this signal's share of its rotation's false alarms, by tier and traffic. `bound`: what a gauge rarely
    passes, or an order's value is counted above; `share`: how often a healthy gauge passes it. `split`: the part of all
    trials that the control is meant to get."""

    margin: float
    phi: tuple[float, ...]
    control: tuple[float, float] | None = None
    hours: float | None = None
    dwell_s: float | None = None
    budget_s: float | None = None
    bound: float | None = None
    share: float | None = None
    split: float | None = None


MODERATE, LARGE = 0.1, 0.25  # the usual reading of a population stability index
CHANCE = 4.75  # standard normal deviations: one in a million by chance, since it is looked at all day


@dataclass(frozen=True, slots=True)
class Drift:
    """Two histograms compared (`decide.drift`). `psi`: population stability index, freed of what chance alone adds, at
    least 0. `deviations`: how far beyond chance the chi-square is, in standard normal deviations. `n`, `m`:
    observations before and now. `buckets`: compared, after small ones were joined. `moved`: the bucket (by its upper
    bound) whose share changed most, and its share before and now. `since`: from when on (Unix seconds) it has been so,
    where it drifted and that was looked for."""

    psi: float
    deviations: float
    n: float
    m: float
    buckets: int
    moved: tuple[float, float, float]
    since: float | None = None

    @property
    def drifted(self) -> bool:
        """Large enough to matter, and more than chance."""
        return self.psi >= MODERATE and self.deviations >= CHANCE

    @property
    def words(self) -> str:
        """One clause for a person, with its numbers."""
        size = "large" if self.psi >= LARGE else "moderate" if self.psi >= MODERATE else "no"
        bound, before, now = self.moved
        where = "the topmost bucket" if bound == float("inf") else f"the bucket up to {bound:g}"
        return f"{size} drift (stability index {self.psi:.2f}): {where} held {before:.0%} and holds {now:.0%}"


@dataclass(frozen=True, slots=True)
class Reading:
    """One signal of one deployment at one evaluation.

    `value` and `baseline` are in the signal's unit; `n` is the number of trials behind a ratio, `x` the events among
    them. With `blind` set the value is None. A missing baseline is `baseline_blind`. `norm` stands with signals that
    are judged by evidence, `drift` with a distribution. `buckets`: (upper bound, count at or below it) as they were
    asked, where x and n are counted from them.
    """

    value: float | None = None
    baseline: float | None = None
    n: float | None = None
    blind: Blind | None = None
    baseline_blind: Blind | None = None
    x: float | None = None
    norm: Norm | None = None
    drift: Drift | None = None
    buckets: tuple[tuple[float, float], ...] | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one evaluation saw of one deployment. `readings` stand in the order of the rule's signals.

    `at` is the aligned evaluation time (Unix seconds), never the wall's. `version` is what serving reports.
    """

    deployment: DeploymentId
    at: float
    readings: tuple[Reading, ...]
    version: str | None = None
    revenue_per_minute: float | None = None
    users_per_minute: float | None = None
    satisfaction_per_minute: float | None = None  # of the policy's `impact.satisfaction`, where that is a query
    market_per_minute: float | None = None  # of `impact.market`


@dataclass(frozen=True, slots=True)
class Tick:
    """All observations of one evaluation time, in the order of the fleet's rules."""

    at: float
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a backend's answer: its labels, and its points as (Unix seconds, value), oldest first.

    An instant query's answer has one point a series.
    """

    labels: tuple[tuple[str, str], ...]
    points: tuple[tuple[float, float], ...]


class BackendState(StrEnum):
    """How a backend answers."""

    CONNECTING = "connecting"
    OK = "ok"
    SLOW = "slow"
    FAILING = "failing"
    NOT_CONFIGURED = "not configured"


@dataclass(frozen=True, slots=True)
class BackendHealth:
    """One backend as the header shows it. `latency_s` of the last answer; `detail` is one line with what to do."""

    name: str  # prometheus | registry | hub
    state: BackendState
    latency_s: float | None = None
    last_ok: float | None = None  # Unix seconds
    detail: str = ""

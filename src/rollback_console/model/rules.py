"""Policies compiled: what `decide` judges by. Seconds and plain numbers, no text left to parse.

`policy.compile` makes these from what people write; nothing else does.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from rollback_console.model.identity import Deployment
from rollback_console.model.value import dataclass


class Worse(StrEnum):
    """The direction in which a signal gets worse."""

    LOWER = "lower"
    HIGHER = "higher"


class BaselineKind(StrEnum):
    """What a signal is compared with."""

    FIXED = "fixed"
    LAST_WEEK = "last_week"
    VERSION = "version"
    SEASONAL = "seasonal"
    CONTROL = "control"
    PERIOD = "period"


class SignalKind(StrEnum):
    """How a signal is measured, where that is not plain: one value, or events out of trials.

    `gauge`: one value, judged by how often it lies beyond what its history rarely passed. `value_per_order`: trials
    above a bucket's bound that is learned. `distribution`: a histogram, compared. `slow`: judged when mature."""

    PLAIN = "plain"
    GAUGE = "gauge"
    VALUE = "value_per_order"
    DISTRIBUTION = "distribution"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time that a person named, in Unix seconds, its end not included; and why."""

    start: float
    end: float
    why: str


@dataclass(frozen=True, slots=True)
class Baseline:
    """`fixed`: `value`. `last_week`: the same query 7 days earlier. `version`: the median of this signal's own
    values over `history_s` before the version now serving began to serve. `seasonal`: a time-of-week profile times a
    slow level, learned from `history_s`, the week being that of `timezone` (an IANA name). `control`: what runs beside
    it (`control`, the deployment label's value). `holidays`: days of that time zone, ``2026-12-25`` or, for every
    year, ``12-25``, which are no example for other weeks. `exclude`: stretches that nothing is learned from."""

    kind: BaselineKind
    value: float | None = None
    history_s: float = 86_400.0
    control: str | None = None
    timezone: str = "UTC"
    holidays: tuple[str, ...] = ()
    exclude: tuple[Stretch, ...] = ()
    share: float | None = None
    period: Stretch | None = None


@dataclass(frozen=True, slots=True)
class AdaptiveDwell:
    """A dwell that the stakes choose (`decide.adaptive`), between these bounds, in seconds."""

    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class EvidenceRule:
    """How a signal of events x out of trials n is judged by evidence instead of by a plain bound (`decide.evidence`).

    `budget_s`: mean time between false alarms of this signal is at least this (seconds). `dwell_s`: no burst shorter
    than this can fire; with `adaptive` it is where the choice between its bounds begins. `alone_hold_s`: how long the
    bar must be reached where nothing else agrees. `margin`: a fraction of the baseline; None: learned from the noise,
    and never below `least_margin`. `maturity_s`: how late events follow their trials.
    """

    budget_s: float = 90 * 86_400.0
    dwell_s: float = 300.0
    alone_hold_s: float = 1_800.0
    margin: float | None = None
    maturity_s: float = 0.0
    least_margin: float = 0.005
    adaptive: AdaptiveDwell | None = None


class BlindPolicyKind(StrEnum):
    """What a blind signal counts as; see `BlindPolicy`."""

    FREEZE = "freeze"
    RESET = "reset"
    HEALTHY = "healthy"
    BREACH = "breach"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class BlindPolicy:
    """`freeze`: unknown, clocks stop. `reset`: dwell goes to zero. `healthy`: counts as not degraded (Prometheus'
    way). `breach`: counts as degraded. `last`: the last known judgement for `last_s` seconds, then unknown."""

    kind: BlindPolicyKind = BlindPolicyKind.FREEZE
    last_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A bound that varies, by straight lines between `points`. `by` ``hour_of_day``: (seconds after midnight of
    `timezone`, bound), the day going round; `by` ``traffic``: (trials a minute, bound); `by` ``impact``: (revenue lost
    a minute, bound), never laxer where more is lost. At least two points, rising."""

    by: str
    points: tuple[tuple[float, float], ...]
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Breach:
    """When a signal counts as degraded: exactly one of an absolute bound or a relative degradation.

    `above` / `below` are strict (`>` / `<`), in the signal's unit. `degraded_by` is a fraction of the baseline on
    the worse side (0.05 = 5 %), also strict. With a `curve` the bound is the curve's, and `above` or `below` is where
    it lets most pass. With `clear` what fired is over only on the healthy side of that: in the signal's unit, or as a
    fraction of the baseline where `degraded_by` is.
    """

    above: float | None = None
    below: float | None = None
    degraded_by: float | None = None
    curve: Curve | None = None
    clear: float | None = None


@dataclass(frozen=True, slots=True)
class SignalRule:
    """One signal: how it is measured (PromQL) and when it is degraded."""

    name: str
    title: str
    area: str  # business | technical
    worse: Worse
    breach: Breach
    window_s: float
    value: str | None = None  # PromQL of the value ...
    x: str | None = None  # ... or of events x
    n: str | None = None  # ... out of trials n; the value is then x / n
    baseline: Baseline | None = None
    minimum: float | None = None  # trials below which there is no verdict
    blind: BlindPolicy = field(default_factory=BlindPolicy)
    heartbeat: str | None = None  # PromQL of the Unix time of the newest sample behind the signal
    stale_s: float | None = None  # older than this by the heartbeat: stale
    unit: str = ""
    evidence: EvidenceRule | None = None  # judged statistically, once every `window_s`; `breach` is then not used
    sufficient_alone: bool = False  # needs nobody to agree with it
    x_hour: str | None = None  # `x` and `n` over a window of one hour, for learning: where judged by evidence
    n_hour: str | None = None
    slice_of: str | None = None  # the signal whose part (cohort, country) this is, and whose budget it shares
    kind: SignalKind = SignalKind.PLAIN
    buckets: str | None = None  # PromQL of cumulative buckets (one series each, by `le`): distribution, value_per_order
    buckets_then: str | None = None  # ... of the stretch that a distribution is compared with, where that is another
    buckets_hour: str | None = None  # ... over one hour, for learning
    maturity_s: float = 0.0  # of a slow signal: how long until its events have come in

    @property
    def aside(self) -> bool:
        """Is it shown, and evidence of where trouble comes from, but never a part of any trigger."""
        return self.kind in (SignalKind.DISTRIBUTION, SignalKind.SLOW)


@dataclass(frozen=True, slots=True)
class Uses:
    """The condition "this signal is breached"."""

    signal: str


@dataclass(frozen=True, slots=True)
class Not:
    item: Expression


@dataclass(frozen=True, slots=True)
class And:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class AtLeast:
    """`any k of [...]`."""

    k: int
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Weighted:
    """`weight(a: 2, b: 1) >= bar`: the breached items' weights sum to the bar or more."""

    items: tuple[tuple[Expression, float], ...]
    bar: float


@dataclass(frozen=True, slots=True)
class Tiered:
    """The default: a signal is breached, and it is sufficient alone, or another agrees, or it has held alone for its
    `alone_hold_s`. Of a signal judged by evidence, "agrees" means seven tenths of the way to its bar."""

    items: tuple[Uses, ...]


Expression = Uses | Not | And | Or | AtLeast | Weighted | Tiered


@dataclass(frozen=True, slots=True)
class Weekly:
    """A time of the week: begins `start_s` after midnight of `days` (0 is Monday) in `timezone` (an IANA name) and
    lasts `length_s` by the clock on the wall."""

    days: tuple[int, ...]
    start_s: float
    length_s: float
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True)
class ExpectedChange:
    """A change that people expect (maintenance, an experiment, a campaign), and why: from `start` to `end` (Unix
    seconds, the end not included; None: open), and within that only at the `weekly` times where those are given."""

    why: str
    start: float | None = None
    end: float | None = None
    weekly: Weekly | None = None


@dataclass(frozen=True, slots=True)
class TriggerRule:
    """How breaches become one state. Seconds throughout; the boundaries are Prometheus' own (`for`,
    `keep_firing_for`): fires at the first evaluation with ``t - active >= dwell``, ends with ``t - clear >= hold``.

    What follows `blind_dwell_s` holds back automatic action and never the state (`decide.guards`): `not_before_s`
    after a release, `re_arm_s` of health after it fired, at most `loop_guard` automatic actions in 24 hours, none
    during `expected` changes.

    `loss_budget`: how much of the impact's revenue may be lost while a signal with which nothing agrees holds, before
    it may fire (`decide.stakes`). `false_alarms_a_week`: of all deployments and signals of the policy together;
    then each signal's `EvidenceRule.budget_s` is its share by tier, and the one by traffic stands in its norm.
    """

    when: Expression
    text: str  # the expression as written
    dwell_s: float = 300.0
    hold_s: float = 0.0
    cool_down_s: float = 3600.0
    blind_dwell_s: float = 300.0
    not_before_s: float = 0.0
    re_arm_s: float = 0.0
    loop_guard: int = 2
    expected: tuple[ExpectedChange, ...] = ()
    adaptive: AdaptiveDwell | None = None  # then `dwell_s` is where the choice between its bounds begins
    loss_budget: float | None = None
    false_alarms_a_week: float | None = None


@dataclass(frozen=True, slots=True)
class CostRule:
    """One more part of the impact: exactly one of `value` (PromQL: how much it is per minute now, as a cost already),
    `constant` (per minute, for as long as the deployment is degraded) or `tier` (none | low | medium | high).
    `full`: the amount per minute that scores all of the part's points."""

    value: str | None = None
    constant: float | None = None
    tier: str | None = None
    unit: str = ""
    full: float = 100.0


@dataclass(frozen=True, slots=True)
class ImpactRule:
    """What a degradation costs (`decide.impact`): revenue and users at risk per minute, satisfaction, market and
    regulatory exposure. A rate is PromQL (what comes in now) or a constant (what comes in while healthy); `*_full` is
    the loss per minute that scores all of its points. `false_rollback`: what a rollback costs that was not needed, in
    the unit of revenue; None: `revenue_full`."""

    revenue_per_minute: str | None = None  # PromQL
    unit: str = "USD"
    users_per_minute: str | None = None  # PromQL
    regulatory: str = "none"  # none | low | medium | high
    revenue_constant: float | None = None  # per minute while healthy, where no query tells it
    users_constant: float | None = None
    revenue_full: float = 10_000.0
    users_full: float = 100_000.0
    satisfaction: CostRule | None = None
    market: CostRule | None = None
    false_rollback: float | None = None


@dataclass(frozen=True, slots=True)
class AuthorityRule:
    """Who may ask for a recovery path, who must say yes, and how many of them. Names are roles of the roster.
    `automatic_after_s`: under `Mode.ACT` it may also be taken by itself, announced for so long; None: only by people.
    """

    request: tuple[str, ...] = ("oncall",)
    approve_of: tuple[str, ...] = ()
    approve_count: int = 0
    expires_s: float = 1800.0
    automatic_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class RecoveryPath:
    """One way back. `target` is ``last_known_good`` or an explicit version."""

    name: str
    driver: str
    target: str
    verify_for_s: float = 600.0
    verify_within_s: float = 1800.0
    authority: AuthorityRule = field(default_factory=AuthorityRule)
    healthy_for_s: float = 600.0  # a version must have served healthily for this long to be gone back to


class Mode(StrEnum):
    """A policy's maturity: record only; alarm and recommend; automatic within bounds."""

    OBSERVE = "observe"
    ADVISE = "advise"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class DeploymentRule:
    """Everything one deployment is judged by. Deployments of one policy share every part but `deployment`."""

    deployment: Deployment
    signals: tuple[SignalRule, ...]
    trigger: TriggerRule
    recovery: tuple[RecoveryPath, ...]
    policy: str  # the policy's name
    policy_version: int
    policy_digest: str  # SHA-256 of the policy file's bytes, hex
    mode: Mode = Mode.ADVISE
    impact: ImpactRule = field(default_factory=ImpactRule)
    runbook: str | None = None

"""What a simulated fleet is made of: deployments, how their versions truly behave, and the faults that hit them."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from rollback_console.model.identity import DeploymentId
from rollback_console.model.registry import ModelVersion
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """How far something moves a deployment from its normal self. Factors multiply; `errors` and `unsafe` are added to
    the shares of requests that fail or should never have been answered so; `feature_age` says that its features are no
    longer refreshed."""

    conversion: float = 1.0
    order_value: float = 1.0
    latency: float = 1.0
    volume: float = 1.0
    errors: float = 0.0
    feature_age: bool = False
    unsafe: float = 0.0

    def scaled(self, share: float) -> Effect:
        """This effect at a share of its strength, 0 to 1."""
        return Effect(
            conversion=1.0 + (self.conversion - 1.0) * share,
            order_value=1.0 + (self.order_value - 1.0) * share,
            latency=1.0 + (self.latency - 1.0) * share,
            volume=1.0 + (self.volume - 1.0) * share,
            errors=self.errors * share,
            feature_age=self.feature_age and share > 0.0,
            unsafe=self.unsafe * share,
        )

    def joined(self, other: Effect) -> Effect:
        """Both at once."""
        return Effect(
            conversion=self.conversion * other.conversion,
            order_value=self.order_value * other.order_value,
            latency=self.latency * other.latency,
            volume=self.volume * other.volume,
            errors=self.errors + other.errors,
            feature_age=self.feature_age or other.feature_age,
            unsafe=self.unsafe + other.unsafe,
        )


NORMAL = Effect()


def strength(elapsed: float, over_s: float = 0.0, lasts_s: float | None = None, fades_s: float = 0.0) -> float:
    """The share of an effect that is felt `elapsed` seconds after it set in: 0 before, up to 1 over `over_s`, and where
    it ends after `lasts_s`, back to 0 over the `fades_s` before that."""
    if elapsed < 0.0 or (lasts_s is not None and elapsed >= lasts_s):
        return 0.0
    share = 1.0 if over_s <= 0.0 else min(1.0, elapsed / over_s)
    if lasts_s is not None and fades_s > 0.0:
        share = min(share, (lasts_s - elapsed) / fades_s)
    return share


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a version truly serves. The effect sets in `after_s` from the moment it began to serve, over `over_s`
    (caches that empty, queues that fill), and where it ends by itself after `lasts_s`, it fades over `fades_s`. Before
    `from_at` (Unix seconds) the version is well. `kills_exporter`: with it, the deployment goes silent."""

    version: str
    effect: Effect = NORMAL
    after_s: float = 0.0
    over_s: float = 0.0
    kills_exporter: bool = False
    lasts_s: float | None = None
    fades_s: float = 0.0
    from_at: float | None = None

    def sets_in(self, since: float) -> float:
        """When the effect sets in, for a version that serves `since` (Unix seconds)."""
        begins = since + self.after_s
        return begins if self.from_at is None else max(begins, self.from_at)

    def felt(self, since: float, at: float) -> Effect:
        """The effect at `at`, of a version that serves `since`."""
        return self.effect.scaled(strength(at - self.sets_in(since), self.over_s, self.lasts_s, self.fades_s))


@dataclass(frozen=True, slots=True)
class SimulatedDeployment:
    """One deployment of the world. Rates are those of a normal working day's peak; `lag_s` is how long serving takes
    to follow the registry."""

    id: DeploymentId
    model: str
    alias: str
    visits_per_minute: float
    conversion: float
    order_value: float
    latency_s: float  # median
    error_rate: float = 0.003
    lag_s: float = 20.0
    depends_on: tuple[str, ...] = ()
    behaviours: tuple[Behaviour, ...] = ()
    versions: tuple[ModelVersion, ...] = ()  # what the registry knows, newest first
    tier: str = "normal"
    unsafe_rate: float = 0.0
    known_as: tuple[tuple[str, str], ...] = ()  # labels of its own, beside the usual ones or in their place

    def behaviour(self, version: str | None) -> Behaviour | None:
        """How `version` behaves, or None where it behaves normally."""
        return next((b for b in self.behaviours if b.version == version), None)

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """What its metrics are labelled with; sorted."""
        return (("deployment", self.id.name), ("environment", self.id.environment), ("job", "model-service"))


class FaultKind(StrEnum):
    """What a fault hits. `DEPENDENCY`: every deployment that depends on the target; `DEPLOYMENT`: one; `TRACKING`: what
    is counted of either, and nothing else; `EXPORTER`: one deployment's metrics only; `METRICS` and `REGISTRY`: the
    console's own backend."""

    DEPENDENCY = "dependency"
    DEPLOYMENT = "deployment"
    EXPORTER = "exporter"
    METRICS = "metrics"
    REGISTRY = "registry"
    TRACKING = "tracking"


class How(StrEnum):
    """How a backend of the console fails: no answer, a late one, an old one, or wrong numbers."""

    OUT = "out"
    SLOW = "slow"
    STALE = "stale"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks by itself, from `starts_at` until `ends_at` (Unix seconds; None: until further notice),
    setting in over `over_s` and fading over `fades_s`. `target` is a dependency or ``environment/name``; a backend's
    fault has none. Of a backend: `how`; slow by `delay_s`; wrong by the factor `off_by`, in the metrics `only`."""

    kind: FaultKind
    target: str
    starts_at: float
    ends_at: float | None = None
    effect: Effect = field(default_factory=Effect)
    over_s: float = 0.0
    fades_s: float = 0.0
    how: How = How.OUT
    delay_s: float = 0.0
    off_by: float = 1.0
    only: tuple[str, ...] = ()

    def active(self, at: float) -> bool:
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at)

    def hits(self, deployment: SimulatedDeployment) -> bool:
        """Does it reach this deployment's users."""
        if self.kind is FaultKind.DEPENDENCY:
            return self.target in deployment.depends_on
        return self.kind is FaultKind.DEPLOYMENT and self.target == str(deployment.id)

    def miscounts(self, deployment: SimulatedDeployment) -> bool:
        """Does it lose events of this deployment's users on their way into the metrics."""
        return self.kind is FaultKind.TRACKING and self.target in (str(deployment.id), *deployment.depends_on)

    def felt(self, at: float) -> Effect:
        """The effect at `at`."""
        lasts = None if self.ends_at is None else self.ends_at - self.starts_at
        return self.effect.scaled(strength(at - self.starts_at, self.over_s, lasts, self.fades_s))


@dataclass(frozen=True, slots=True)
class Breakage:
    """A fault that waits for the console's first move of a pointer, and begins `after_s` from it. `loses_answer`: that
    very write arrives, and nobody hears of it."""

    fault: Fault  # its times count from the move
    after_s: float = 0.0
    loses_answer: bool = False


@dataclass(frozen=True, slots=True)
class Rival:
    """Somebody who moves a deployment's pointer `after_s` from the console's own move of it, `times` times at most: to
    `version`, or None: back to where it was."""

    deployment: DeploymentId
    after_s: float
    version: str | None
    by: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """A day's traffic: `low` of the peak in the quietest hour, the peak at `peak_s` seconds after midnight UTC,
    `weekend` of a working day's at the weekend."""

    low: float
    peak_s: float
    weekend: float


@dataclass(frozen=True, slots=True)
class Flip:
    """A pointer moved at a time. Kept for ever, so that the past does not change when the present does."""

    at: float
    model: str
    alias: str
    version: str
    by: str = ""

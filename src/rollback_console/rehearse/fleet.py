"""What a simulated fleet is made of: deployments, how their versions truly behave, and the faults that hit them."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from rollback_console.model.identity import DeploymentId
from rollback_console.model.registry import ModelVersion
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """How far something moves a deployment from its normal self. Factors multiply; `errors` is added to the share of
    requests that fail; `feature_age` says that its features are no longer refreshed."""

    conversion: float = 1.0
    order_value: float = 1.0
    latency: float = 1.0
    volume: float = 1.0
    errors: float = 0.0
    feature_age: bool = False

    def scaled(self, share: float) -> Effect:
        """This effect at a share of its strength, 0 to 1."""
        return Effect(
            conversion=1.0 + (self.conversion - 1.0) * share,
            order_value=1.0 + (self.order_value - 1.0) * share,
            latency=1.0 + (self.latency - 1.0) * share,
            volume=1.0 + (self.volume - 1.0) * share,
            errors=self.errors * share,
            feature_age=self.feature_age and share > 0.0,
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
        )


NORMAL = Effect()


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a version truly serves. The effect sets in `after_s` from the moment it began to serve, over `over_s`
    (caches that empty, queues that fill). `kills_exporter`: with it, the deployment goes silent."""

    version: str
    effect: Effect = NORMAL
    after_s: float = 0.0
    over_s: float = 0.0
    kills_exporter: bool = False


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

    def behaviour(self, version: str | None) -> Behaviour | None:
        """How `version` behaves, or None where it behaves normally."""
        return next((b for b in self.behaviours if b.version == version), None)

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """What its metrics are labelled with; sorted."""
        return (("deployment", self.id.name), ("environment", self.id.environment), ("job", "model-service"))


class FaultKind(StrEnum):
    """What a fault hits. `DEPENDENCY`: every deployment that depends on the target; `DEPLOYMENT`: one; `EXPORTER`:
    one deployment's metrics only; `METRICS` and `REGISTRY`: the console's own backend."""

    DEPENDENCY = "dependency"
    DEPLOYMENT = "deployment"
    EXPORTER = "exporter"
    METRICS = "metrics"
    REGISTRY = "registry"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks by itself, from `starts_at` until `ends_at` (Unix seconds; None: until further notice),
    setting in over `over_s`. `target` is a dependency or ``environment/name``."""

    kind: FaultKind
    target: str
    starts_at: float
    ends_at: float | None = None
    effect: Effect = field(default_factory=Effect)
    over_s: float = 0.0

    def active(self, at: float) -> bool:
        return self.starts_at <= at and (self.ends_at is None or at < self.ends_at)

    def hits(self, deployment: SimulatedDeployment) -> bool:
        """Does it reach this deployment's users."""
        if self.kind is FaultKind.DEPENDENCY:
            return self.target in deployment.depends_on
        return self.kind is FaultKind.DEPLOYMENT and self.target == str(deployment.id)


@dataclass(frozen=True, slots=True)
class Flip:
    """A pointer moved at a time. Kept for ever, so that the past does not change when the present does."""

    at: float
    model: str
    alias: str
    version: str
    by: str = ""

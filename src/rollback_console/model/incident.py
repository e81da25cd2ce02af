"""What people work on: deployments that degraded together, where it likely comes from, and what is advised."""

from __future__ import annotations

from enum import StrEnum

from rollback_console.model.identity import DeploymentId
from rollback_console.model.value import dataclass


class AttributionKind(StrEnum):
    """The likely origin of a degradation."""

    RELEASE = "release"
    UPSTREAM = "upstream"
    INFRASTRUCTURE = "infrastructure"
    TELEMETRY = "telemetry"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attribution:
    """The likely origin with its reasons, each one sentence with its numbers."""

    kind: AttributionKind
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PathRecord:
    """What drills under the policy in force have measured of a recovery path where an incident came from `origin`:
    how many of them it mended, Wilson's 95 % interval of that share, and the median from the first fire to recovered
    (seconds; None where not even half of them recovered)."""

    path: str
    origin: AttributionKind
    drills: int
    held: int
    low: float
    high: float
    recover_s: float | None


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What is advised. `path` is a recovery path's name, or None where no rollback is advised; `sentence` says why.
    `record`: what drills have measured of that path, and `sentence` ends with it."""

    deployment: DeploymentId
    path: str | None
    to_version: str | None
    sentence: str
    runbook: str | None = None
    record: PathRecord | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `id` is a function of its first member and onset, so that every console names it alike."""

    id: str
    members: tuple[DeploymentId, ...]  # first to degrade first
    onset: float  # Unix seconds of the first breach
    attribution: Attribution
    sentence: str
    recommendations: tuple[Recommendation, ...] = ()
    commander: str | None = None
    closed_at: float | None = None

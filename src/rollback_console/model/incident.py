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
class Recommendation:
    """What is advised. `path` is a recovery path's name, or None where no rollback is advised; `sentence` says why."""

    deployment: DeploymentId
    path: str | None
    to_version: str | None
    sentence: str
    runbook: str | None = None


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

"""What is true in a scripted world: for the score alone. Neither the console nor an operator ever sees it."""

from __future__ import annotations

from rollback_console.model.identity import DeploymentId
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Cure:
    """A deployment that going back from one version to another truly mends."""

    deployment: DeploymentId
    from_version: str
    to_version: str


@dataclass(frozen=True, slots=True)
class Truth:
    """The right answers. `not_curable`: degraded, and no rollback would help. `blind`: serving well, unseen.
    `recover_within_s`: from the first fire to recovered, the band that passes."""

    cures: tuple[Cure, ...]
    not_curable: tuple[DeploymentId, ...] = ()
    blind: tuple[DeploymentId, ...] = ()
    recover_within_s: float = 1800.0

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
class Bands:
    """How long each part of a good answer may take: seconds after the first fire. None of them is shorter than the one
    before it."""

    notice_s: float = 120.0
    decide_s: float = 300.0
    authorize_s: float = 360.0
    act_s: float = 480.0
    recover_s: float = 1800.0

    @property
    def limits(self) -> tuple[tuple[str, float], ...]:
        """By name, in the order in which they are walked."""
        return (
            ("notice", self.notice_s),
            ("decide", self.decide_s),
            ("authorize", self.authorize_s),
            ("act", self.act_s),
            ("recover", self.recover_s),
        )


@dataclass(frozen=True, slots=True)
class Truth:
    """The right answers. `not_curable`: degraded, and no rollback would help. `blind`: serving well, unseen.
    `recover_within_s`: from the first fire to recovered, the band that passes.

    `leave`: whatever must not be rolled back, named because somebody will want to (`not_curable` and `blind` are among
    them). `klass`: the class of incident. A truth without a cure says that doing nothing to a pointer is right.
    """

    cures: tuple[Cure, ...]
    not_curable: tuple[DeploymentId, ...] = ()
    blind: tuple[DeploymentId, ...] = ()
    recover_within_s: float = 1800.0
    bands: Bands = Bands()
    leave: tuple[DeploymentId, ...] = ()
    klass: str = "release"

    @property
    def hands_off(self) -> bool:
        """Is rolling back nothing at all what is right."""
        return not self.cures

"""What people declare by hand: a stretch that leaves every baseline, a change that is expected. Bounded, with a reason.

Each is in force for the evaluations after it was written down, and no longer for those after it was taken back: whoever
replays an evaluation, whenever, finds what was known then.
"""

from __future__ import annotations

from rollback_console.model.rules import ExpectedChange, Stretch
from rollback_console.model.value import dataclass

LONGEST_STRETCH_S = 60 * 86_400.0  # left out of baselines
LONGEST_CHANGE_S = 14 * 86_400.0  # one expected change; longer is not a change, it is how things are
LONGEST_REASON = 500  # characters


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A stretch that no baseline learns from. `deployments`: as environment/name; empty: the whole fleet. All times are
    Unix seconds; `made_at`, `restored_at`: when it was written down, and taken back."""

    id: str
    start: float
    end: float
    deployments: tuple[str, ...]
    reason: str
    by: str
    made_at: float
    restored_at: float | None = None
    restored_by: str = ""

    def concerns(self, deployment: str) -> bool:
        return not self.deployments or deployment in self.deployments

    def known_at(self, at: float) -> bool:
        """Does the evaluation at `at` leave it out."""
        return self.made_at < at and (self.restored_at is None or at <= self.restored_at)

    def stretch(self) -> Stretch:
        """As a baseline's rule has it."""
        return Stretch(self.start, self.end, said_by(self.by, self.reason))


@dataclass(frozen=True, slots=True)
class Expectation:
    """A change that somebody expects, from `made_at` to `until` or to its earlier end (Unix seconds)."""

    id: str
    deployments: tuple[str, ...]
    until: float
    reason: str
    by: str
    made_at: float
    ended_at: float | None = None
    ended_by: str = ""

    def concerns(self, deployment: str) -> bool:
        return not self.deployments or deployment in self.deployments

    def known_at(self, at: float) -> bool:
        """Is it going on at the evaluation at `at`."""
        return self.made_at < at < self.until and (self.ended_at is None or at <= self.ended_at)

    def going_on(self, now: float) -> bool:
        """Is it going on by the clock."""
        return self.made_at <= now < self.until and self.ended_at is None

    def change(self) -> ExpectedChange:
        """As a trigger's rule has it."""
        return ExpectedChange(said_by(self.by, self.reason), self.made_at, self.until)


def said_by(by: str, reason: str) -> str:
    """`ana: index rebuild`."""
    return f"{by}: {reason}" if by else reason

"""What a backtest takes and tells: marked incidents, settings to compare, and how each of them did."""

from __future__ import annotations

from rollback_console.model.identity import DeploymentId
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch that a person says was an incident of one deployment, in Unix seconds, both ends included."""

    deployment: DeploymentId
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Setting:
    """What a sweep put into the policy, as it would be written there; nothing: the policy as it stands. `caution`:
    how late and how seldom it fires beside the sweep's other settings (the larger, the later)."""

    words: tuple[tuple[str, str], ...] = ()
    caution: int = 0
    as_written: bool = False

    @property
    def text(self) -> str:
        """`dwell=5m margin=2%`, and a remark where that is what the policy says anyway."""
        said = " ".join(f"{key}={value}" for key, value in self.words)
        return " ".join(filter(None, (said, "(as written)" if self.as_written else "")))


@dataclass(frozen=True, slots=True)
class Fire:
    """One time that a trigger fired: from the evaluation at which it did to the one at which it was over (None: not
    over when the backtest ended). `before`: it had fired before the backtest began."""

    start: float
    end: float | None = None
    before: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """What one deployment came to. `minutes_fired` include the hold. `rollbacks`: fires at which the policy's
    guards would have let an automatic action through. `blind_fires`: how often blindness itself fired."""

    fires: int
    minutes_fired: float
    rollbacks: int
    blind_fires: int


@dataclass(frozen=True, slots=True)
class Costs:
    """What acting wrongly costs, in `unit`. `per_rollback`: one false rollback; None where nobody said."""

    unit: str = "USD"
    per_rollback: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """How one setting did. `false`: fires that overlap no marked incident; `missed`: incidents without a fire;
    `delay_s`: the median time from an incident's beginning to its fire. `waiting`: what was lost while incidents lasted
    and had not fired; `false_cost`: what rolling back at each false fire would have cost; None: not known."""

    setting: Setting
    fires: int
    false: int
    caught: int
    missed: int
    delay_s: float | None
    minutes_fired: float
    rollbacks_per_30d: float
    waiting: float | None
    false_cost: float | None

    @property
    def cost(self) -> float | None:
        """Both together, where both are known."""
        return None if self.waiting is None or self.false_cost is None else self.waiting + self.false_cost

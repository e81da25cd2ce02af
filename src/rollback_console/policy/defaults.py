"""What a policy means where it does not say: the numbers that `risk:` chooses.

`risk` is how much a rollback that was not needed would hurt. `high` waits for more and is wrong more seldom; `low` acts
sooner. The middle row is the method's own defaults, whose false alarms and delays are measured (docs); the other two
move one notch to each side of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from rollback_console.model.value import dataclass

Risk = Literal["high", "normal", "low"]
_MINUTE, _DAY = 60.0, 86_400.0

VOLUME_FALLS_BY = 0.6  # a `kind: volume` without a bound: less than that remains of traffic that comes and goes
ADAPTIVE_DWELL = (120.0, 1_800.0)  # `dwell: adaptive` without bounds
LOOP_GUARD = 2


@dataclass(frozen=True, slots=True)
class Defaults:
    """`dwell_s`, `budget_s` (mean time between false alarms), `alone_hold_s` in seconds; `least_margin`: the least
    that a learned margin may be, a fraction of the baseline."""

    dwell_s: float
    budget_s: float
    alone_hold_s: float
    least_margin: float


BY_RISK: Mapping[Risk, Defaults] = {
    "high": Defaults(10 * _MINUTE, 180 * _DAY, 45 * _MINUTE, 0.02),
    "normal": Defaults(5 * _MINUTE, 90 * _DAY, 30 * _MINUTE, 0.005),
    "low": Defaults(3 * _MINUTE, 30 * _DAY, 15 * _MINUTE, 0.005),
}

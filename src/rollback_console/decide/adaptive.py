"""The dwell that the stakes choose: wait one more minute only while that saves more in false rollbacks than it loses.

Of a signal's own past excursions that recovered by themselves, S(D) is the share that lasted longer than D. Waiting a
minute longer than D spares those that end within it: blips a minute x [S(D) - S(D + 1)] x the cost of a false rollback.
It costs a minute of every real incident: incidents a minute x what a minute of one loses. The dwell is the D at which
what both cost together is least, the smallest of these. (Where S falls ever more slowly that is the smallest D from
which waiting another minute does not pay. Where all excursions last seven minutes, that rule would stop at two, for the
third minute alone spares nothing.) Without costs it is the 95th percentile of the excursions, between 3 and 15 minutes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rollback_console.model.rules import AdaptiveDwell
from rollback_console.model.value import dataclass

MINUTE_S = 60.0
DEFAULT_S = 300.0  # where nothing is known of the signal's past
INCIDENTS_PER_MINUTE = 1.0 / 43_200.0  # one in 30 days
_PERCENTILE = 0.95
_LEAST_S, _MOST_S = 180.0, 900.0  # without costs
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Stakes:
    """What is at stake, in one unit of money: a false rollback, and one minute of a real incident."""

    false_rollback: float
    loss_per_minute: float
    incidents_per_minute: float = INCIDENTS_PER_MINUTE


def adaptive_dwell(
    bounds: AdaptiveDwell,
    excursions: Sequence[float],
    seen_s: float,
    stakes: Stakes | None = None,
    otherwise_s: float = DEFAULT_S,
) -> float:
    """The dwell in seconds, a whole number of minutes beyond `bounds.from_s` and no more than `bounds.to_s`.

    `excursions`: how long (seconds) each lasted that recovered by itself, within `seen_s` seconds of this signal's
    past. `otherwise_s`: the dwell where there were none. Without `stakes`: by the excursions alone.
    """
    if not excursions or seen_s <= 0.0:
        return _within(bounds, otherwise_s)
    if stakes is None:
        return _within(bounds, min(max(_percentile(excursions), _LEAST_S), _MOST_S))
    rate = len(excursions) / (seen_s / MINUTE_S)
    lost = stakes.incidents_per_minute * stakes.loss_per_minute
    whole = range(int((bounds.to_s - bounds.from_s) // MINUTE_S) + 1)
    dwells = dict.fromkeys([*(bounds.from_s + k * MINUTE_S for k in whole), bounds.to_s])
    best, least = bounds.from_s, math.inf
    for dwell in dwells:
        cost = rate * survival(excursions, dwell) * stakes.false_rollback + lost * dwell / MINUTE_S
        if cost < least * (1.0 - _SLACK):
            best, least = dwell, cost
    return best


def survival(excursions: Sequence[float], longer_than_s: float) -> float:
    """The share of excursions that lasted longer."""
    return sum(each > longer_than_s for each in excursions) / len(excursions) if excursions else 0.0


def _percentile(excursions: Sequence[float]) -> float:
    ordered = sorted(excursions)
    return ordered[min(len(ordered) - 1, int(_PERCENTILE * len(ordered)))]


def _within(bounds: AdaptiveDwell, dwell: float) -> float:
    return min(max(dwell, bounds.from_s), bounds.to_s)

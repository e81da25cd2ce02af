"""Bounds that vary: by the hour of the day, with the traffic, or with what is lost."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

from rollback_console.model.rules import Curve

DAY_S = 86_400.0


def bound_at(curve: Curve, at: float, trials_per_minute: float | None, loss_per_minute: float = 0.0) -> float | None:
    """The bound at `at` (Unix seconds) with so many trials a minute, while so much revenue is lost a minute for certain
    (`decide.stakes`); None where it hangs on a traffic that is not known. Straight lines between the points; the day
    goes round, beyond the outermost traffic, or loss, nothing changes."""
    if curve.by == "hour_of_day":
        local = datetime.fromtimestamp(at, ZoneInfo(curve.timezone))
        return _around(curve.points, local.hour * 3_600.0 + local.minute * 60.0 + local.second)
    if curve.by == "impact":
        return _between(curve.points, loss_per_minute)
    return None if trials_per_minute is None else _between(curve.points, trials_per_minute)


def _around(points: tuple[tuple[float, float], ...], second: float) -> float:
    (first, one), (last, other) = points[0], points[-1]
    return _between(((last - DAY_S, other), *points, (first + DAY_S, one)), second)


def _between(points: tuple[tuple[float, float], ...], where: float) -> float:
    if where <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in pairwise(points):
        if where <= right:
            return low + (high - low) * (where - left) / (right - left)
    return points[-1][1]

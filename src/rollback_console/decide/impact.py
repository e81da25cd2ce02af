"""What a degradation costs, by a formula that can be shown in full.

    score = 60 * log10(1 + loss/min) / log10(1 + 10 000)        revenue, at most 60
          + 25 * log10(1 + users/min) / log10(1 + 100 000)      users, at most 25
          + {none 0, low 5, medium 10, high 15}                 regulatory

loss/min = revenue/min now * d / (1 - d), d the drop (fraction) of the worst breached business signal that is worse when
lower: what would have come in had it not dropped, if revenue follows it. Without such a signal the loss is not told
and the part says so. Nothing breached: score 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rollback_console.model.observation import Observation
from rollback_console.model.rules import DeploymentRule, Worse
from rollback_console.model.text import number
from rollback_console.model.verdict import Impact, ImpactPart, SignalVerdict

_REGULATORY = {"none": 0.0, "low": 5.0, "medium": 10.0, "high": 15.0}
_WORST_DROP = 0.99  # a total drop leaves no revenue to scale from
NO_IMPACT = Impact(0.0)


def _scaled(value: float, points: float, full: float) -> float:
    return points * min(1.0, math.log10(1.0 + max(0.0, value)) / math.log10(1.0 + full))


def drop_of(rule: DeploymentRule, signals: Sequence[SignalVerdict]) -> float | None:
    """The drop (fraction of its baseline) of the worst breached business signal that is worse when lower, or None."""
    drops = [
        verdict.degradation_pct / 100.0
        for each, verdict in zip(rule.signals, signals, strict=True)
        if verdict.breached
        and verdict.degradation_pct is not None
        and each.area == "business"
        and each.worse is Worse.LOWER
    ]
    return min(max(drops), _WORST_DROP) if drops else None


def impact_of(rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict]) -> Impact:
    """The impact of what is breached now, with its parts."""
    if not any(verdict.breached for verdict in signals):
        return NO_IMPACT
    drop, unit, parts = drop_of(rule, signals), rule.impact.unit, []
    if rule.impact.revenue_per_minute is not None:
        revenue = observation.revenue_per_minute
        if revenue is None or drop is None:
            why = "revenue is blind" if revenue is None else "no business signal says how much is lost"
            parts.append(ImpactPart("revenue", None, f"{unit}/min", 0.0, why))
        else:
            loss = revenue * drop / (1.0 - drop)
            source = f"{number(revenue)} {unit}/min now, {100 * drop:.1f} % below its baseline"
            parts.append(ImpactPart("revenue", loss, f"{unit}/min", _scaled(loss, 60.0, 1e4), source))
    if rule.impact.users_per_minute is not None:
        users = observation.users_per_minute
        points = 0.0 if users is None else _scaled(users, 25.0, 1e5)
        parts.append(
            ImpactPart("users", users, "users/min", points, "users are blind" if users is None else "served now")
        )
    regulatory = _REGULATORY[rule.impact.regulatory]
    if rule.impact.regulatory != "none":
        parts.append(ImpactPart("regulatory", None, rule.impact.regulatory, regulatory, "from the policy"))
    return Impact(min(100.0, sum(part.points for part in parts)), tuple(parts))

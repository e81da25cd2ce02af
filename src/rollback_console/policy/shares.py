"""False alarms a week of all deployments and signals of a policy together, divided into what each signal may have.

What people can say is how often a rotation may be called out for nothing; said signal by signal, every new deployment
would be one more source of alarms. So the whole is divided, by tier: the shares' rates sum to it however many there
are. It is the division of `decide.budget` where nothing is known of traffic (a test holds the two together); here,
because a policy's numbers must follow from its bytes alone, or no decision could be made again from the journal. What
traffic adds is told tick by tick (`engine.shares`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

WEEK_S = 7 * 86_400.0
TIER_WEIGHTS: Mapping[str, float] = {"critical": 8.0, "high": 4.0, "normal": 2.0, "low": 1.0}


def share_s(per_week: float, tier: str, tiers: Iterable[str], signals: int) -> float:
    """The mean time (seconds) between false alarms that one signal of a deployment of this tier has to keep.

    `per_week`: of all together. `tiers`: every deployment's; `signals`: how many of each are judged by evidence.
    """
    whole = sum(TIER_WEIGHTS[each] for each in tiers) * max(1, signals)
    return WEEK_S * whole / (per_week * TIER_WEIGHTS[tier])

"""What is at stake, where a decision goes by it: how long a signal has to hold alone, how strict a bound is, how long
an adaptive dwell waits.

All three go by the same number, revenue lost a minute *for certain*: the lower end (95 %) of the range that
`decide.impact` gives, for the worst business signal that is worse when lower. Of a signal with a plain bound no range
is known: its degradation counts as it is. Where revenue is not seen, or no such signal is degraded, nothing is lost for
certain, and what is at stake shortens nothing.

    hold = clip(loss budget / loss a minute, dwell, alone_hold)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rollback_console.decide import evidence
from rollback_console.decide.impact import lost, worst_of
from rollback_console.decide.signals import by_impact
from rollback_console.decide.weighing import baseline_of
from rollback_console.model.observation import Observation
from rollback_console.model.rules import DeploymentRule, ImpactRule, Worse
from rollback_console.model.verdict import EvidenceMemory, SignalVerdict

if TYPE_CHECKING:
    from rollback_console.decide.adaptive import Stakes


def sure_loss(rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict]) -> float:
    """Revenue lost a minute for certain, in the unit of the policy's impact; 0 where nothing is known to be lost.
    `signals`: the verdicts on the rule's signals, in their order."""
    worst = worst_of(rule, signals)
    if worst is None or worst.degradation_pct is None:
        return 0.0
    least = worst.degradation_pct if worst.interval is None else min(worst.interval)
    return max(0.0, lost(rule.impact, observation.revenue_per_minute, least / 100.0) or 0.0)


def loss_beside(rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict]) -> float:
    """As `sure_loss`, as the signals tell it whose bounds do not vary with it: what bounds that do are taken at."""
    found = [verdict for each, verdict in zip(rule.signals, signals, strict=True) if not by_impact(each)]
    told = replace(rule, signals=tuple(each for each in rule.signals if not by_impact(each)))
    return sure_loss(told, observation, found)


def suspected_loss(
    rule: DeploymentRule, observation: Observation, carried: Sequence[EvidenceMemory | None]
) -> float | None:
    """As `sure_loss`, before the observation is judged: of what was suspected by then (`carried`, a memory a signal, or
    none at all). None where nothing was, or the loss cannot be told."""
    worst: tuple[float, float] | None = None
    for signal, reading, memory in zip(rule.signals, observation.readings, carried or (), strict=False):
        p, norm = baseline_of(signal, reading), reading.norm
        if (
            memory is None
            or p is None
            or norm is None
            or reading.n is None
            or signal.area != "business"
            or signal.worse is not Worse.LOWER
        ):
            continue
        found = evidence.degradation(memory, signal.worse, p, norm)
        if found is not None and (worst is None or found[0] > worst[0]):
            worst = found[0], found[1]
    if worst is None:
        return None
    loss = lost(rule.impact, observation.revenue_per_minute, worst[1] / 100.0)
    return None if loss is None or loss <= 0.0 else loss


def held_alone(longest_s: float, least_s: float, budget: float | None, loss_per_minute: float) -> float:
    """Seconds that a signal has to hold with nothing agreeing: the policy's `alone_hold` (`longest_s`), or until the
    loss budget is spent at this loss a minute, but a dwell (`least_s`) at least."""
    if budget is None or loss_per_minute <= 0.0:
        return longest_s
    return min(longest_s, max(least_s, 60.0 * budget / loss_per_minute))


def stakes_of(impact: ImpactRule, loss_per_minute: float) -> Stakes:
    """What an adaptive dwell weighs against each other. A rollback that was not needed costs what the policy says, else
    as much as a minute of the worst loss that it reckons with (revenue's `full`)."""
    from rollback_console.decide.adaptive import Stakes  # few policies have an adaptive dwell

    cost = impact.false_rollback if impact.false_rollback is not None else impact.revenue_full
    return Stakes(cost, loss_per_minute)


def staked(rule: DeploymentRule) -> bool:
    """Is any dwell of the deployment's chosen by what is at stake: an adaptive one, and revenue has a price."""
    priced = rule.impact.revenue_per_minute is not None or rule.impact.revenue_constant is not None
    return priced and any(each.evidence is not None and each.evidence.adaptive is not None for each in rule.signals)

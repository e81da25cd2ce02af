"""What goes by the impact's revenue, and what is wrong where nothing tells how much of it is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rollback_console.model.rules import Curve
from rollback_console.policy.impact import PolicyImpact
from rollback_console.policy.signal import PolicySignal
from rollback_console.policy.trigger import PolicyTrigger
from rollback_console.policy.words import Complaint

_PRICE = "Write `impact: {revenue_per_minute: {value: …, unit: USD}}`"
_TELLS = "Give the signal that tells it `area: business` and `worse: lower`"


def complaints(
    signals: Mapping[str, PolicySignal], trigger: PolicyTrigger, impact: PolicyImpact
) -> Iterator[Complaint]:
    """What a loss budget, a bound by the impact and the cost of a false rollback lack."""
    asking = [("signals", name, "breach") for name, signal in signals.items() if varies_by_impact(signal)]
    by_impact: list[tuple[int | str, ...]] = [*asking]
    if trigger.loss_budget is not None:
        by_impact.append(("trigger", "loss_budget"))
    telling = any(
        signal.area == "business" and signal.worse == "lower" and not varies_by_impact(signal)
        for signal in signals.values()
    )
    for loc in by_impact:
        if impact.revenue_per_minute is None:
            yield Complaint(loc, "goes by revenue lost a minute, and nothing says what comes in", _PRICE)
        elif not telling:
            other = "" if loc == ("trigger", "loss_budget") else "other "
            yield Complaint(loc, f"goes by revenue lost a minute, and no {other}signal tells it", _TELLS)
    if impact.false_rollback is not None and impact.revenue_per_minute is None:
        yield Complaint(("impact", "false_rollback"), "is in the unit of revenue, and there is none", _PRICE)


def varies_by_impact(signal: PolicySignal) -> bool:
    """Has it a bound that varies with what is lost."""
    bounds = (signal.breach.above, signal.breach.below) if signal.breach is not None else ()
    return any(isinstance(bound, Curve) and bound.by == "impact" for bound in bounds)

"""When a trigger fires if nothing changes: to the second where a dwell runs, an estimate that reads so by evidence; and
how long a signal still has to hold with which nothing agrees."""

from __future__ import annotations

from datetime import UTC, datetime

from rollback_console.model.text import about, duration, number, span
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import Alone, TriggerState, Verdict

_SLACK_S = 1.0  # by which a budget may be spent before its hold is over


@dataclass(frozen=True, slots=True)
class Eta:
    """`seconds` from the verdict's evaluation; `exact`: a dwell's own clock, else an estimate from the present drift of
    evidence."""

    seconds: float
    exact: bool


def eta(verdict: Verdict) -> Eta | None:
    """When it fires if it stays as it is; None where nothing is on its way, or the clock stands still."""
    if verdict.state is not TriggerState.PENDING or verdict.frozen:
        return None
    if verdict.dwell_remaining_s is not None:
        return Eta(verdict.dwell_remaining_s, True)
    return None if verdict.eta_s is None else Eta(verdict.eta_s, False)


def eta_words(verdict: Verdict, gone_s: float = 0.0) -> str:
    """`fires in 2:41` to the second, or `≈ 6 m if it stays`; "" where nothing is on its way. `gone_s`: seconds since
    the evaluation."""
    found = eta(verdict)
    if found is None:
        return ""
    left = max(0.0, found.seconds - gone_s)
    return f"fires in {duration(left)}" if found.exact else f"{about(left)} if it stays"


# ── a signal that stands alone


def minutes(seconds: float) -> str:
    """A hold to the minute, or to the second where it is shorter than one."""
    return span(round(seconds / 60.0) * 60.0) if seconds >= 60.0 else span(seconds)


def hold_clock(alone: Alone, gone_s: float = 0.0) -> str:
    """`HOLD 6m of 12m`. `gone_s`: seconds since the evaluation."""
    held = min(alone.held_s + max(0.0, gone_s), alone.length_s)
    return f"HOLD {minutes(held)} of {minutes(alone.length_s)}"


def hold_words(alone: Alone) -> str:
    """`HOLD 6m of 12m: at 420 USD/min the loss budget of 5,000 USD is reached at 15:14 UTC`, or why it is as long as it
    is."""
    return f"{hold_clock(alone)}: {'nothing else agrees' if alone.budget is None else budget_words(alone)}"


def budget_words(alone: Alone) -> str:
    """What shortens a hold, and until when; "" where nothing does."""
    if alone.budget is None or not alone.loss_per_minute:
        return ""
    spent = 60.0 * alone.budget / alone.loss_per_minute
    until = alone.since + spent
    when = f"is reached at {datetime.fromtimestamp(until, UTC):%H:%M} UTC"
    if spent < alone.length_s - _SLACK_S:
        when = "is spent within the dwell"
    loss, budget = number(alone.loss_per_minute, f"{alone.unit}/min"), number(alone.budget, alone.unit)
    return f"at {loss} the loss budget of {budget} {when}"


def stood_words(alone: Alone) -> str:
    """What a firing says that the loss budget brought forward; "" for any other."""
    if alone.budget is None or not alone.loss_per_minute or alone.held_s < alone.length_s - _SLACK_S:
        return ""
    loss, budget = number(alone.loss_per_minute, f"{alone.unit}/min"), number(alone.budget, alone.unit)
    return f"; stood alone for {minutes(alone.held_s)}: the loss budget of {budget} is spent at {loss}"

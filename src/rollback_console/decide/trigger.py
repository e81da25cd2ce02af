"""The trigger's clocks. Boundaries are Prometheus' own, to the tick.

A rule fires at the first evaluation with ``t - active_since >= dwell`` (Prometheus: `for`); it stays fired while
``t - clear_since < hold`` (`keep_firing_for`), strictly. Unlike Prometheus, a clock counts only time whose both ends
were seen: an interval with an unknown end is frozen, and the countdown says so.
Source: prometheus/rules/alerting.go, `AlertingRule.Eval`, v2.42.
"""

from __future__ import annotations

from rollback_console.model.rules import TriggerRule
from rollback_console.model.verdict import EvidenceMemory, TriggerMemory, TriggerState

_TOLERANCE_S = 1e-6  # evaluation times are decimal fractions of a second: below this, equal
_Clocks = tuple[float | None, float | None, float | None, float]  # active since, fired at, clear since, frozen


def dwelt(counted: float, dwell: float) -> bool:
    """Has the condition held for long enough to fire: Prometheus' ``ts - activeAt >= for``."""
    return counted >= dwell - _TOLERANCE_S


def holds(counted: float, hold: float) -> bool:
    """Does what fired stay fired without its condition: Prometheus' ``ts - keepFiringSince < keep_firing_for``."""
    return counted < hold - _TOLERANCE_S


def advance(
    rule: TriggerRule, memory: TriggerMemory, at: float, condition: bool | None, *, flagged: bool, reset: bool
) -> TriggerMemory:
    """The memory after an evaluation at `at` (Unix seconds, later than `memory.at`).

    `condition` is the expression's value, None when unknown; `flagged` says that a signal of the trigger is blind;
    `reset` that an unknown condition sets the dwell to zero instead of freezing it.
    """
    gap = at - memory.at if memory.at is not None else 0.0
    uncounted = gap if condition is None or not memory.known else 0.0
    active, fired, clear, frozen = memory.active_since, memory.fired_at, memory.clear_since, memory.frozen_s
    if fired is None:
        if condition is True:
            if active is None:
                active, frozen = at, 0.0
            else:
                frozen += uncounted
            if dwelt(at - active - frozen, rule.dwell_s):
                fired, frozen = at, 0.0
        elif condition is False or reset:
            active, frozen = None, 0.0
        elif active is not None:
            frozen += uncounted
    elif condition is True:
        clear, frozen = None, 0.0
    elif condition is False:
        active, fired, clear, frozen = _gone(rule, at, uncounted, (active, fired, clear, frozen))
    elif clear is not None:
        frozen += uncounted
    return _after(rule, memory, at, (active, fired, clear, frozen), known=condition is not None, flagged=flagged)


def advance_weighed(
    rule: TriggerRule,
    memory: TriggerMemory,
    at: float,
    fires: bool | None,
    stays: bool | None,
    since: float | None,
    *,
    flagged: bool,
    reset: bool,
) -> TriggerMemory:
    """As `advance`, for a trigger with signals judged by evidence, whose dwells are in what they are judged by: it
    fires at once when its expression holds (`fires`), and is pending, or stays fired, while the same expression holds
    of what is suspected (`stays`), since the onset of suspicion (`since`, Unix seconds)."""
    gap = at - memory.at if memory.at is not None else 0.0
    condition = True if fires else stays
    uncounted = gap if condition is None or not memory.known else 0.0
    active, fired, clear, frozen = memory.active_since, memory.fired_at, memory.clear_since, memory.frozen_s
    if condition is True:
        clear, frozen = None, 0.0
        if active is None:
            active = at if since is None else min(since, at)
        if fires and fired is None:
            fired = at
    elif fired is None:
        if condition is False or reset:
            active = None
    elif condition is None:
        frozen += uncounted if clear is not None else 0.0
    else:
        active, fired, clear, frozen = _gone(rule, at, uncounted, (active, fired, clear, frozen))
    return _after(rule, memory, at, (active, fired, clear, frozen), known=condition is not None, flagged=flagged)


def _gone(rule: TriggerRule, at: float, uncounted: float, clocks: _Clocks) -> _Clocks:
    """The clocks of a fired trigger after an evaluation whose condition is false: the hold runs, or has run out."""
    active, fired, clear, frozen = clocks
    if clear is None:
        clear, frozen = at, 0.0
    else:
        frozen += uncounted
    return (active, fired, clear, frozen) if holds(at - clear - frozen, rule.hold_s) else (None, None, None, 0.0)


def _after(
    rule: TriggerRule, memory: TriggerMemory, at: float, clocks: _Clocks, *, known: bool, flagged: bool
) -> TriggerMemory:
    """The memory with these clocks, and its blindness carried on."""
    active, fired, clear, frozen = clocks
    blind_since, blind_fired = _blindness(rule, memory, at, flagged)
    return TriggerMemory(
        at, active, fired, clear, frozen, known, blind_since, blind_fired, memory.last_known,
        memory.onset_signals if active is not None else (),
    )  # fmt: skip


def carrying(
    memory: TriggerMemory,
    last_known: tuple[tuple[bool, float] | None, ...],
    onset_signals: tuple[str, ...],
    evidence: tuple[EvidenceMemory | None, ...],
    held: tuple[tuple[float, float, bool] | None, ...],
) -> TriggerMemory:
    """A trigger's memory with its signals'. (Not `replace`, which takes five times as long at every evaluation.)"""
    return TriggerMemory(
        memory.at, memory.active_since, memory.fired_at, memory.clear_since, memory.frozen_s, memory.known,
        memory.blind_since, memory.blind_fired_at, last_known, onset_signals, evidence, held, memory.cost,
    )  # fmt: skip


def _blindness(rule: TriggerRule, memory: TriggerMemory, at: float, flagged: bool) -> tuple[float | None, float | None]:
    """(blind since, fired as blind at) after an evaluation."""
    if not flagged:
        return None, None
    since = memory.blind_since if memory.blind_since is not None else at
    fired = memory.blind_fired_at
    return since, at if fired is None and dwelt(at - since, rule.blind_dwell_s) else fired


def state_of(memory: TriggerMemory, *, cooling: bool) -> tuple[TriggerState, float | None]:
    """The state that a memory shows, and since when (None while healthy or cooling, or with too little to go by)."""
    if memory.fired_at is not None:
        if memory.clear_since is not None:
            return TriggerState.CLEARING, memory.clear_since
        return TriggerState.FIRED, memory.fired_at
    if memory.active_since is not None:
        return TriggerState.PENDING, memory.active_since
    if memory.blind_since is not None:
        return TriggerState.BLIND, memory.blind_since
    if memory.at is not None and not memory.known:
        return TriggerState.BLIND, None  # nothing is broken, and yet it cannot be told: too few, or no baseline
    return (TriggerState.COOLING if cooling else TriggerState.HEALTHY), None


def dwell_remaining(rule: TriggerRule, memory: TriggerMemory) -> float | None:
    """Seconds of dwell left while pending, else None."""
    if memory.fired_at is not None or memory.active_since is None or memory.at is None:
        return None
    return max(0.0, rule.dwell_s - (memory.at - memory.active_since - memory.frozen_s))


def hold_remaining(rule: TriggerRule, memory: TriggerMemory) -> float | None:
    """Seconds of hold left while clearing, else None."""
    if memory.clear_since is None or memory.at is None:
        return None
    return max(0.0, rule.hold_s - (memory.at - memory.clear_since - memory.frozen_s))


def blind_remaining(rule: TriggerRule, memory: TriggerMemory) -> float | None:
    """Seconds until blindness itself fires; None when not blind, or when it has fired."""
    if memory.blind_since is None or memory.blind_fired_at is not None or memory.at is None:
        return None
    return max(0.0, rule.blind_dwell_s - (memory.at - memory.blind_since))

"""`decide`: an observation and the memory before become a verdict and the memory after."""

from __future__ import annotations

from functools import lru_cache

from rollback_console.decide import signals as signal
from rollback_console.decide.condition import evaluate, signals_of
from rollback_console.decide.explain import sentence
from rollback_console.decide.impact import impact_of
from rollback_console.decide.trigger import advance, blind_remaining, dwell_remaining, hold_remaining, state_of
from rollback_console.model.observation import Observation
from rollback_console.model.rules import DeploymentRule, Expression
from rollback_console.model.verdict import SignalVerdict, TriggerMemory, TriggerState, Verdict

FRESH = TriggerMemory()
_CLOCKED = (TriggerState.PENDING, TriggerState.CLEARING)

_signals_of = lru_cache(maxsize=1024)(signals_of)


def decide(
    rule: DeploymentRule,
    observation: Observation,
    memory: TriggerMemory = FRESH,
    *,
    cooling_until: float | None = None,
) -> tuple[Verdict, TriggerMemory]:
    """Judge one deployment at `observation.at`. Deterministic: no clock, no randomness, no I/O.

    `cooling_until` is when the cool-down of the last action ends (Unix seconds), None without one. Raises ValueError
    when the observation does not fit the rule, or is not later than the memory.
    """
    at = observation.at
    if len(observation.readings) != len(rule.signals):
        raise ValueError(f"{observation.deployment}: {len(observation.readings)} readings, {len(rule.signals)} signals")
    if memory.at is not None and at <= memory.at:
        raise ValueError(f"{observation.deployment}: evaluation at {at} is not after {memory.at}")
    verdicts: list[SignalVerdict] = []
    known: dict[str, bool | None] = {}
    last_known: list[tuple[bool, float] | None] = []
    flagged: list[str] = []
    reset = False
    used = _used(rule.trigger.when)
    before = memory.last_known or (None,) * len(rule.signals)
    for each, reading, last in zip(rule.signals, observation.readings, before, strict=True):
        verdict = signal.judge(each, reading)
        verdicts.append(verdict)
        counts, blind, resets = signal.effective(each, verdict, last, at)
        known[each.name] = counts
        if blind and each.name in used:
            flagged.append(each.name)
            reset = reset or resets
        last_known.append((verdict.breached, at) if verdict.breached is not None else last)
    condition = evaluate(rule.trigger.when, known)
    after = advance(rule.trigger, memory, at, condition, flagged=bool(flagged), reset=reset)
    if any(each.blind.last_s for each in rule.signals):
        after = _remembering(after, tuple(last_known))
    cooling = cooling_until is not None and at < cooling_until
    state, since = state_of(after, cooling=cooling)
    judged = tuple(verdicts)
    return (
        Verdict(
            observation.deployment,
            at,
            observation.version,
            state,
            since,
            condition,
            tuple(flagged),
            state in _CLOCKED and condition is None,
            dwell_remaining(rule.trigger, after),
            hold_remaining(rule.trigger, after),
            blind_remaining(rule.trigger, after),
            after.blind_fired_at is not None,
            cooling,
            judged,
            sentence(rule, state, after, condition, judged, flagged),
            impact_of(rule, observation, judged),
        ),
        after,
    )


def _used(expression: Expression) -> tuple[str, ...]:
    return _signals_of(expression)


def _remembering(memory: TriggerMemory, last_known: tuple[tuple[bool, float] | None, ...]) -> TriggerMemory:
    return TriggerMemory(
        memory.at, memory.active_since, memory.fired_at, memory.clear_since, memory.frozen_s, memory.known,
        memory.blind_since, memory.blind_fired_at, last_known,
    )  # fmt: skip

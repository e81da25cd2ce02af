"""`decide`: an observation and the memory before become a verdict and the memory after.

`step` is the same without the words: what a replay needs of the evaluations that nobody reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from rollback_console.decide import signals as signal
from rollback_console.decide.condition import evaluate, signals_of
from rollback_console.decide.explain import sentence
from rollback_console.decide.impact import accrue, impact_of
from rollback_console.decide.trigger import advance, blind_remaining, dwell_remaining, hold_remaining, state_of
from rollback_console.model.observation import Observation
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import SignalVerdict, TriggerMemory, TriggerState, Verdict

FRESH = TriggerMemory()
_CLOCKED = (TriggerState.PENDING, TriggerState.CLEARING)

_signals_of = lru_cache(maxsize=1024)(signals_of)


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluation without words: each signal judged, the condition, the blind signals, the memory after."""

    signals: tuple[SignalVerdict, ...]
    condition: bool | None
    blind: tuple[str, ...]
    memory: TriggerMemory


def step(rule: DeploymentRule, observation: Observation, memory: TriggerMemory = FRESH) -> Step:
    """Judge one deployment at `observation.at`. Deterministic: no clock, no randomness, no I/O.

    Raises ValueError when the observation does not fit the rule, or is not later than the memory.
    """
    at = observation.at
    if len(observation.readings) != len(rule.signals):
        raise ValueError(f"{observation.deployment}: {len(observation.readings)} readings, {len(rule.signals)} signals")
    if memory.at is not None and at <= memory.at:
        raise ValueError(f"{observation.deployment}: evaluation at {at} is not after {memory.at}")
    verdicts: list[SignalVerdict] = []
    known: dict[str, bool | None] = {}
    last_known: list[signal.LastKnown] = []
    flagged: list[str] = []
    reset = remembers = False
    used = _signals_of(rule.trigger.when)
    before = memory.last_known or (None,) * len(rule.signals)
    for each, reading, last in zip(rule.signals, observation.readings, before, strict=True):
        verdict = signal.judge(each, reading)
        verdicts.append(verdict)
        counts, blind, resets = signal.effective(each, verdict, last, at)
        known[each.name] = counts
        if blind and each.name in used:
            flagged.append(each.name)
            reset = reset or resets
        remembers = remembers or each.blind.last_s > 0
        last_known.append(signal.remembered(each, verdict, last, at))
    condition = evaluate(rule.trigger.when, known)
    after = advance(rule.trigger, memory, at, condition, flagged=bool(flagged), reset=reset)
    if remembers:
        after = replace(after, last_known=tuple(last_known))
    if after.active_since == at:
        after = replace(after, onset_signals=tuple(name for name, counts in known.items() if counts))
    after = accrue(rule, observation, verdicts, memory, after)
    return Step(tuple(verdicts), condition, tuple(flagged), after)


def decide(
    rule: DeploymentRule, observation: Observation, memory: TriggerMemory = FRESH, *, cooling: bool = False
) -> tuple[Verdict, TriggerMemory]:
    """The verdict on one deployment, in full, and the memory to hand to the next evaluation.

    `cooling` says that the cool-down of an action is running at `observation.at`. Errors as for `step`.
    """
    done = step(rule, observation, memory)
    after = done.memory
    state, since = state_of(after, cooling=cooling)
    verdict = Verdict(
        observation.deployment,
        observation.at,
        observation.version,
        state,
        since,
        done.condition,
        done.blind,
        state in _CLOCKED and done.condition is None,
        dwell_remaining(rule.trigger, after),
        hold_remaining(rule.trigger, after),
        blind_remaining(rule.trigger, after),
        after.blind_fired_at is not None,
        cooling,
        done.signals,
        sentence(rule, state, after, done.condition, done.signals, done.blind),
        impact_of(rule, observation, done.signals, after),
    )
    return verdict, after

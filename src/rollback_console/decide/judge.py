"""`decide`: an observation and the memory before become a verdict and the memory after.

`step` is the same without the words: what a replay needs of the evaluations that nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from rollback_console.decide import signals as signal
from rollback_console.decide.condition import Support, evaluate, signals_of, tiered
from rollback_console.decide.explain import sentence
from rollback_console.decide.impact import accrue, impact_of
from rollback_console.decide.stakes import loss_beside
from rollback_console.decide.trigger import (
    advance,
    advance_weighed,
    blind_remaining,
    carrying,
    dwell_remaining,
    hold_remaining,
    state_of,
)
from rollback_console.decide.waiting import alone_of, eta_of, hold_s, loss_of
from rollback_console.decide.weighing import ALONE_HOLD_S, Held, hold, in_force, plain_support, standing, support, weigh
from rollback_console.decide.weighing import stays as still
from rollback_console.decide.weighing import verdict as weighed_verdict
from rollback_console.model.observation import Observation, Reading
from rollback_console.model.rules import DeploymentRule, Expression, SignalRule
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import EvidenceMemory, SignalVerdict, TriggerMemory, TriggerState, Verdict

FRESH = TriggerMemory()
_CLOCKED = (TriggerState.PENDING, TriggerState.CLEARING)


@lru_cache(maxsize=1024)
def _facts_of(when: Expression) -> tuple[tuple[str, ...], bool]:
    """(the signals that it names, whether it asks who agrees with whom)."""
    return signals_of(when), tiered(when)


@dataclass(frozen=True, slots=True)
class Step:
    """One evaluation without words: each signal judged, the condition, the blind signals, the memory after."""

    signals: tuple[SignalVerdict, ...]
    condition: bool | None
    blind: tuple[str, ...]
    memory: TriggerMemory


def step(
    rule: DeploymentRule, observation: Observation, memory: TriggerMemory = FRESH, *, cooling: bool = False
) -> Step:
    """Judge one deployment at `observation.at`. Deterministic: no clock, no randomness, no I/O. `cooling` says that the
    cool-down of an action is running (evidence starts anew with it; plain bounds do not ask).

    Raises ValueError when the observation does not fit the rule, or is not later than the memory.
    """
    at = observation.at
    if len(observation.readings) != len(rule.signals):
        raise ValueError(f"{observation.deployment}: {len(observation.readings)} readings, {len(rule.signals)} signals")
    if memory.at is not None and at <= memory.at:
        raise ValueError(f"{observation.deployment}: evaluation at {at} is not after {memory.at}")
    used, asks = _facts_of(rule.trigger.when)
    if asks or any(each.evidence is not None for each in rule.signals):
        return _weighed_step(rule, observation, memory, cooling, used)
    verdicts: list[SignalVerdict] = []
    known: dict[str, bool | None] = {}
    last_known: list[signal.LastKnown] = []
    flagged: list[str] = []
    reset = remembers = False
    before = memory.last_known or (None,) * len(rule.signals)
    for each, reading, last in zip(rule.signals, observation.readings, before, strict=True):
        loss = _loss_of_others(rule, observation, memory.fired_at is not None) if signal.by_impact(each) else 0.0
        verdict = signal.judge(each, reading, at, loss, memory.fired_at is not None)
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


def _loss_of_others(rule: DeploymentRule, observation: Observation, fired: bool) -> float:
    """What is lost a minute as the plain signals tell it whose bounds do not vary with it."""
    at = observation.at
    found = [signal.judge(each, reading, at, fired=fired) for each, reading in _pairs(rule, observation)]
    return loss_beside(rule, observation, found)


def _pairs(rule: DeploymentRule, observation: Observation) -> Iterator[tuple[SignalRule, Reading]]:
    return zip(rule.signals, observation.readings, strict=True)


def weighed(rule: DeploymentRule) -> bool:
    """Is the trigger one that evidence has a part in, or one that asks who agrees with whom."""
    return any(each.evidence is not None for each in rule.signals) or _facts_of(rule.trigger.when)[1]


def carry(
    rule: DeploymentRule,
    observation: Observation,
    carried: tuple[EvidenceMemory | None, ...],
    *,
    cooling: bool = False,
) -> tuple[EvidenceMemory | None, ...]:
    """What `step` makes of the evidence alone: per signal the detector's memory after the observation."""
    before = carried or (None,) * len(rule.signals)
    return tuple(
        None if each.evidence is None else weigh(each, reading, own, observation.at, observation.version, cooling)
        for each, reading, own in zip(rule.signals, observation.readings, before, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """One signal's part in a trigger with evidence. `counts`: as what it may fire with (its evidence is full, its bound
    is passed); `stays`: as what keeps a trigger pending or fired (it is suspected, it is passed), since `onset`; and
    what it carries on."""

    verdict: SignalVerdict
    counts: bool | None
    stays: bool | None
    onset: float | None
    blind: bool
    resets: bool
    memory: EvidenceMemory | None
    held: Held
    last_known: signal.LastKnown


def _part(
    rule: DeploymentRule,
    number: int,
    observation: Observation,
    memory: TriggerMemory,
    last: signal.LastKnown,
    cooling: bool,
    loss: float = 0.0,
) -> _Part:
    each, reading, at = rule.signals[number], observation.readings[number], observation.at
    if each.evidence is None:
        verdict = signal.judge(each, reading, at, loss, memory.fired_at is not None)
        counts, blind, resets = signal.effective(each, verdict, last, at)
        clock = hold(memory.held[number] if memory.held else None, counts, at, memory.at, reset=resets)
        kept = signal.remembered(each, verdict, last, at)
        return _Part(verdict, counts, counts, clock[0] if clock else None, blind, resets, None, clock, kept)
    carried = memory.evidence[number] if memory.evidence else None
    now = weigh(each, reading, carried, at, observation.version, cooling)
    verdict = weighed_verdict(each, each.evidence, reading, now, at)
    counts, blind, resets = signal.effective(each, verdict, last, at)
    if standing(each, verdict, now, at):
        counts, blind, resets = (None if now.full_since is not None else False), False, False
        stays: bool | None = verdict.onset is not None
    else:
        stays = still(verdict, counts, now)
    kept = signal.remembered(each, verdict, last, at)
    return _Part(verdict, counts, stays, verdict.onset, blind, resets, now, None, kept)


def _parts(rule: DeploymentRule, observation: Observation, memory: TriggerMemory, cooling: bool) -> list[_Part]:
    """Every signal's part; those whose bound varies with what is lost after the others, which tell it."""
    before = memory.last_known or (None,) * len(rule.signals)
    found, varying = [], []
    for number, each in enumerate(rule.signals):
        found.append(_part(rule, number, observation, memory, before[number], cooling))
        if each.breach.curve is not None and signal.by_impact(each):
            varying.append(number)
    if varying:
        loss = loss_beside(rule, observation, [part.verdict for part in found])
        for number in varying:
            found[number] = _part(rule, number, observation, memory, before[number], cooling, loss)
    return found


def _support(rule: DeploymentRule, number: int, observation: Observation, part: _Part, loss: float) -> Support:
    """What the tiered rule goes by. `loss`: what shortens holds."""
    each, norm = rule.signals[number], observation.readings[number].norm
    if each.evidence is None or part.memory is None:
        length = hold_s(rule, each, norm, loss) if part.held is not None else ALONE_HOLD_S
        return plain_support(each, part.counts, part.held, rule.trigger.dwell_s, length)
    length = hold_s(rule, each, norm, loss) if part.memory.full_since is not None else 0.0
    return support(each, in_force(each.evidence, norm), part.counts, part.memory, observation.at, length)


def _weighed_step(
    rule: DeploymentRule, observation: Observation, memory: TriggerMemory, cooling: bool, used: tuple[str, ...]
) -> Step:
    """As `step`, where evidence has a part."""
    trigger = rule.trigger
    own = _parts(rule, observation, memory, cooling)
    parts = {each.name: part for each, part in zip(rule.signals, own, strict=True)}
    loss = 0.0 if trigger.loss_budget is None else loss_of(rule, observation, [part.verdict for part in own])
    supports = {
        each.name: _support(rule, number, observation, own[number], loss) for number, each in enumerate(rule.signals)
    }
    stays = {name: part.stays for name, part in parts.items()}
    firing = evaluate(trigger.when, {name: found.breached for name, found in supports.items()}, supports)
    calm = not any(truth is not False for truth in stays.values())
    staying = evaluate(trigger.when, stays, {} if calm else {name: Support(t, t, True) for name, t in stays.items()})
    flagged = tuple(name for name, part in parts.items() if part.blind and name in used)
    since = [part.onset for name, part in parts.items() if part.stays and part.onset is not None and name in used]
    after = advance_weighed(
        trigger, memory, observation.at, firing, staying, min(since, default=None), flagged=bool(flagged),
        reset=any(parts[name].resets for name in flagged),
    )  # fmt: skip
    onsets = after.onset_signals
    if memory.active_since is None and after.active_since is not None:
        onsets = tuple(name for name, truth in stays.items() if truth)
    held = tuple(part.held for part in own) if any(part.held for part in own) else ()
    remembers = any(each.blind.last_s > 0 for each in rule.signals)
    last_known = tuple(part.last_known for part in own) if remembers else memory.last_known
    after = carrying(after, last_known, onsets, tuple(part.memory for part in own), held)
    verdicts = tuple(part.verdict for part in own)
    after = accrue(rule, observation, verdicts, memory, after)
    return Step(verdicts, True if firing else staying, flagged, after)


def decide(
    rule: DeploymentRule, observation: Observation, memory: TriggerMemory = FRESH, *, cooling: bool = False
) -> tuple[Verdict, TriggerMemory]:
    """The verdict on one deployment, in full, and the memory to hand to the next evaluation.

    `cooling` says that the cool-down of an action is running at `observation.at`. Errors as for `step`.
    """
    done = step(rule, observation, memory, cooling=cooling)
    after = done.memory
    state, since = state_of(after, cooling=cooling)
    by_evidence = bool(after.evidence)  # one a signal, where it has a part
    pending = by_evidence and state is TriggerState.PENDING
    turning = state is TriggerState.FIRED and after.fired_at == after.at
    alone = alone_of(rule, observation, after, done.signals) if pending or (by_evidence and turning) else None
    verdict = Verdict(
        observation.deployment,
        observation.at,
        observation.version,
        state,
        since,
        done.condition,
        done.blind,
        state in _CLOCKED and done.condition is None,
        None if by_evidence else dwell_remaining(rule.trigger, after),
        hold_remaining(rule.trigger, after),
        blind_remaining(rule.trigger, after),
        after.blind_fired_at is not None,
        cooling,
        done.signals,
        sentence(rule, state, after, done.condition, done.signals, done.blind, alone),
        impact_of(rule, observation, done.signals, after),
        eta_of(rule, observation, after, done.signals) if pending else None,
        alone if pending else None,
    )
    return verdict, after

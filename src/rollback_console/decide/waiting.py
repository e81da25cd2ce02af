"""What a pending trigger waits for: how long a signal has to hold with which nothing agrees, and when it fires then."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.decide.condition import tiered, waits
from rollback_console.decide.evidence import agrees
from rollback_console.decide.stakes import held_alone, sure_loss
from rollback_console.decide.weighing import ALONE_HOLD_S, in_force, wait
from rollback_console.model.observation import Norm, Observation
from rollback_console.model.rules import DeploymentRule, SignalRule
from rollback_console.model.verdict import Alone, EvidenceMemory, SignalVerdict, TriggerMemory


def loss_of(rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict]) -> float:
    """What shortens holds, per minute; 0 where the policy has no loss budget."""
    return 0.0 if rule.trigger.loss_budget is None else sure_loss(rule, observation, signals)


def hold_s(rule: DeploymentRule, signal: SignalRule, norm: Norm | None, loss_per_minute: float) -> float:
    """Seconds that a signal has to hold with nothing agreeing."""
    trigger, judged = rule.trigger, signal.evidence
    if judged is None:
        return held_alone(ALONE_HOLD_S, trigger.dwell_s, trigger.loss_budget, loss_per_minute)
    if trigger.loss_budget is None:
        return judged.alone_hold_s
    return held_alone(judged.alone_hold_s, in_force(judged, norm).dwell_s, trigger.loss_budget, loss_per_minute)


def _so_far(signal: SignalRule, at: float, memory: TriggerMemory, number: int) -> tuple[float, float] | None:
    """(since, seconds counted) of a signal's hold; None where it does not hold. A plain bound's time counts only where
    it was seen."""
    if signal.evidence is not None:
        own = memory.evidence[number] if memory.evidence else None
        return None if own is None or own.full_since is None else (own.full_since, at - own.full_since)
    held = memory.held[number] if memory.held else None
    return None if held is None else (held[0], held[1])


def _backing(rule: DeploymentRule, observation: Observation, memory: TriggerMemory) -> set[str]:
    """The signals that agree with others now."""
    found = set()
    for number, (each, reading) in enumerate(zip(rule.signals, observation.readings, strict=True)):
        own: EvidenceMemory | None = memory.evidence[number] if memory.evidence else None
        if each.evidence is not None and own is not None:
            backs = agrees(own, in_force(each.evidence, reading.norm))
        else:
            backs = bool(memory.held) and memory.held[number] is not None
        if backs:
            found.add(each.name)
    return found


def alone_of(
    rule: DeploymentRule, observation: Observation, memory: TriggerMemory, signals: Sequence[SignalVerdict]
) -> Alone | None:
    """The signal whose hold ends first, of those that are full (or passed for a dwell) with nothing agreeing; None
    where there is none, or the trigger does not ask who agrees. `memory`: after the evaluation."""
    if not tiered(rule.trigger.when):
        return None
    backing, loss = _backing(rule, observation, memory), loss_of(rule, observation, signals)
    found: list[Alone] = []
    for number, (each, judged) in enumerate(zip(rule.signals, signals, strict=True)):
        so_far = _so_far(each, observation.at, memory, number)
        if so_far is None or not judged.breached or each.sufficient_alone or backing - {each.name}:
            continue
        length = hold_s(rule, each, observation.readings[number].norm, loss)
        shortened = length < hold_s(rule, each, observation.readings[number].norm, 0.0)
        what = (loss, rule.trigger.loss_budget, rule.impact.unit) if shortened else (None, None, "")
        found.append(Alone(each.name, so_far[0], so_far[1], length, *what))
    return min(found, key=lambda each: (each.length_s - each.held_s, each.signal), default=None)


def eta_of(
    rule: DeploymentRule, observation: Observation, memory: TriggerMemory, signals: Sequence[SignalVerdict]
) -> float | None:
    """Seconds, about, until a pending trigger fires if everything stays as it is; None: it would not. `memory`: after
    the evaluation."""
    left: dict[str, float | None] = {}
    hold_left: dict[str, float] = {}
    loss = loss_of(rule, observation, signals)
    for number, (each, reading) in enumerate(zip(rule.signals, observation.readings, strict=True)):
        own = memory.evidence[number] if memory.evidence else None
        held = memory.held[number] if memory.held else None
        so_far = _so_far(each, observation.at, memory, number)
        if each.evidence is not None and own is not None:
            left[each.name] = wait(each, each.evidence, reading, own)
        else:
            left[each.name] = None if held is None else max(0.0, rule.trigger.dwell_s - held[1])
        hold_left[each.name] = hold_s(rule, each, reading.norm, loss) - (so_far[1] if so_far is not None else 0.0)
    backing = _backing(rule, observation, memory)
    alone: dict[str, float | None] = {}
    for each in rule.signals:
        own_wait = left[each.name]
        if own_wait is None or each.sufficient_alone or backing - {each.name}:
            alone[each.name] = own_wait
        elif each.evidence is not None:
            alone[each.name] = own_wait + max(0.0, hold_left[each.name])
        else:
            alone[each.name] = max(own_wait, hold_left[each.name])
    return waits(rule.trigger.when, left, alone)

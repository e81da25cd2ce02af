"""A deployment judged by evidence, half-way to firing: what the Deployment screen shows of meters, onset and cost."""

from __future__ import annotations

import dataclasses
import math

import tui_detail_samples as detail
import tui_samples as base

from rollback_console.decide.explain import sentence
from rollback_console.decide.impact import impact_of
from rollback_console.engine.explaining import explain
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    CostRule,
    EvidenceRule,
    ImpactRule,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.snapshot import DeploymentView, Snapshot, Trace
from rollback_console.model.verdict import CostMemory, SignalVerdict, TriggerMemory, TriggerState, Verdict

AT, ID = base.AT, detail.ID
ONSET = AT - 1_860.0
SEASONAL = Baseline(BaselineKind.SEASONAL, history_s=28 * 86_400.0)
SIGNALS = (
    SignalRule("conversion", "Conversion", "business", Worse.LOWER, Breach(), 60.0, x="x", n="n", baseline=SEASONAL,
               unit="%", minimum=200.0, evidence=EvidenceRule()),
    SignalRule("value", "Orders above median", "business", Worse.LOWER, Breach(), 60.0, x="v", n="o",
               baseline=SEASONAL, unit="%", evidence=EvidenceRule()),
    SignalRule("errors", "Error rate", "technical", Worse.HIGHER, Breach(), 60.0, x="e", n="r", baseline=SEASONAL,
               unit="%", evidence=EvidenceRule(), sufficient_alone=True),
    SignalRule("latency", "p95 latency", "technical", Worse.HIGHER, Breach(above=0.4), 300.0, value="l", unit="s"),
)  # fmt: skip
IMPACT = ImpactRule(
    revenue_per_minute="r", users_per_minute="u", regulatory="low", satisfaction=CostRule(value="t", unit="tickets")
)
H = 11.77


def judged(*, full: bool, alone: bool = False) -> tuple[SignalVerdict, ...]:
    errors = SignalVerdict(
        "errors", 0.0041, 0.004, 0.0042, 0.0001, 2.5, False, None, 61_000.0, "", 0.9 if alone else 3.1, H
    )
    if not alone:
        errors = dataclasses.replace(
            errors, evidence=9.4, onset=ONSET + 240, interval=(8.0, 22.0), degradation_pct=15.0
        )
    return (
        SignalVerdict("conversion", 0.0271, 0.0301, 0.0295, 0.003, 10.0, full, None, 2_031.0, "",
                      12.6 if full else 7.1, H, ONSET, (7.0, 13.0)),
        SignalVerdict("value", 0.502, 0.5, 0.49, -0.002, -0.4, False, None, 55.0, "", -0.2, H),
        errors,
        SignalVerdict("latency", None, None, 0.4, None, None, None, Blind.NO_DATA),
    )  # fmt: skip


def view(state: TriggerState = TriggerState.PENDING, *, full: bool = False, alone: bool = False) -> DeploymentView:
    """The deployment: pending on half the evidence, or fired on all of it."""
    seen = detail.detailed_view()
    when = Tiered(tuple(Uses(signal.name) for signal in SIGNALS))
    trigger = TriggerRule(when, "tiered: conversion, value, errors, latency", 300.0, 600.0)
    rule = dataclasses.replace(seen.rule, signals=SIGNALS, trigger=trigger, impact=IMPACT)
    signals = judged(full=full, alone=alone)
    fired = AT - 72.0 if state is TriggerState.FIRED else None
    cost = CostMemory(ONSET, unseen_s=60.0, lost=(15_300.0, 63_000.0, 250.0, None))
    memory = TriggerMemory(at=AT, active_since=ONSET, fired_at=fired, known=True, cost=cost)
    readings = tuple(Reading(each.value, each.baseline, each.n) for each in signals)
    observation = Observation(ID, AT, readings, "8", 4_500.0, 2_100.0, 9.0)
    said = sentence(rule, state, memory, True, signals, ())
    verdict = Verdict(
        ID, AT, "8", state, fired or ONSET, True, (), False, None, None, None, False, False, signals, said,
        impact_of(rule, observation, signals, memory), 372.0 if state is TriggerState.PENDING else None,
    )  # fmt: skip
    return dataclasses.replace(seen, rule=rule, verdict=verdict, traces=_traces(signals))


def _traces(signals: tuple[SignalVerdict, ...]) -> tuple[Trace, ...]:
    """An hour: the baseline rises slowly, and what is degraded falls from its onset on; the last signal goes silent."""
    traces = []
    for number, signal in enumerate(signals):
        level = signal.baseline or 0.21
        bases = tuple(level * (0.94 + 0.06 * k / 59) if signal.baseline else None for k in range(60))
        noise = [1 + 0.02 * math.sin(1.3 * k + number) for k in range(60)]
        line: list[float | None] = [(bases[k] or level) * noise[k] for k in range(60)]
        if signal.onset is not None:
            share = (signal.value or level) / level
            line[29:] = [(bases[k] or level) * noise[k] * share for k in range(29, 60)]
        if signal.blind:
            line[-6:] = [None] * 6
        traces.append(Trace(signal.name, 60.0, AT, tuple(line), bases))
    return tuple(traces)


def snapshot(shown: DeploymentView | None = None) -> Snapshot:
    """The deployment looked at, with its explanation."""
    one = shown or view()
    assert one.verdict is not None
    made = detail.snapshot(one, details=(dataclasses.replace(detail.DETAIL, trigger=one.rule.trigger.when),))
    return dataclasses.replace(made, explanations=(explain(one.rule, one.verdict),))

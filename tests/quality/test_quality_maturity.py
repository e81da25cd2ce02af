"""Events that trail their trials: a jump in traffic is no degradation, where trials are asked as much earlier."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from quality.noises import LAG_MEAN, MATURITY, MINUTE_S, RATE, START_S
from quality.ours import rule_of
from rollback_console.decide.evidence import EMPTY, advance, bar, log_m
from rollback_console.engine.queries import WEEK_S, plan_queries
from rollback_console.model.observation import Norm
from rollback_console.model.rules import Baseline, BaselineKind, EvidenceRule, Worse

JUMP, MINUTES = 60, 180


def _counts() -> tuple[list[float], list[float]]:
    """Visits that treble after an hour, for good, and the conversions that are expected of them, each an exponential
    time later."""
    visits = [2_000.0 if i < JUMP else 6_000.0 for i in range(MINUTES)]
    arrives = [math.exp(-k / LAG_MEAN) - math.exp(-(k + 1) / LAG_MEAN) for k in range(MINUTES)]
    events = [
        RATE * sum((visits[i - k] if i >= k else 2_000.0) * share for k, share in enumerate(arrives))
        for i in range(MINUTES)
    ]
    return visits, events


@pytest.mark.parametrize(("late", "fires"), [(0, True), (MATURITY, False)])
def test_a_jump_in_traffic_reads_as_a_fall_only_if_trials_are_asked_too_late(late: int, fires: bool) -> None:
    visits, events = _counts()
    rule, memory, most = EvidenceRule(), EMPTY, -math.inf
    for i in range(late, MINUTES):
        at = START_S + MINUTE_S * (i + 1)
        memory = advance(rule, Worse.LOWER, memory, at, events[i], visits[i - late], RATE, Norm(0.01, (1.0,)))
        most = max(most, log_m(memory))
    assert (most >= bar(rule)) is fires


@pytest.mark.parametrize(("kind", "week"), [(BaselineKind.SEASONAL, None), (BaselineKind.LAST_WEEK, WEEK_S)])
def test_trials_are_asked_as_much_earlier_as_their_events_trail_them(kind: BaselineKind, week: float | None) -> None:
    rule = rule_of(alone=True, company=False, evidence=EvidenceRule(maturity_s=180.0))
    signal = replace(rule.signals[0], baseline=Baseline(kind))
    plan = plan_queries([replace(rule, signals=(signal,))])
    columns = plan.columns[0].signals[0]
    assert (plan.queries[columns.x].offset_s, plan.queries[columns.n].offset_s) == (0.0, 180.0)
    if week is not None:
        assert (plan.queries[columns.base_x].offset_s, plan.queries[columns.base_n].offset_s) == (week, week + 180.0)

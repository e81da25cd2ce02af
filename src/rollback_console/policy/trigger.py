"""The trigger as people write it: how breaches become one state, and what holds back action on it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from rollback_console.model.rules import AdaptiveDwell
from rollback_console.policy.defaults import ADAPTIVE_DWELL, LOOP_GUARD, Defaults
from rollback_console.policy.quantities import (
    DURATION_PATTERN,
    Duration,
    Span,
    format_duration,
    parse_duration,
    refusal,
)  # fmt: skip
from rollback_console.policy.times import PolicyExpected
from rollback_console.policy.words import Complaint, Words, several

_LONGEST_S = 400 * 86_400.0
_LONGEST_ADAPTIVE_S = 86_400.0
_LEAST_BUDGET_S = 3_600.0


def _dwell(value: object) -> float | AdaptiveDwell:
    """`5m`, `adaptive`, or `{from: 2m, to: 30m}`."""
    if value == "adaptive":
        return AdaptiveDwell(*ADAPTIVE_DWELL)
    if not isinstance(value, dict):
        seconds = parse_duration(value)
        if seconds > _LONGEST_S:
            raise refusal(f"{format_duration(seconds)} is out of range", "It lies between 0s and 400d")
        return seconds
    value = value.get("adaptive", value) if set(value) == {"adaptive"} else value
    if not isinstance(value, dict) or set(value) != {"from", "to"}:
        raise refusal("is not a dwell", "Write `5m`, `adaptive`, or `{from: 2m, to: 30m}`")
    least, most = parse_duration(value["from"]), parse_duration(value["to"])
    if not 60 <= least < most <= _LONGEST_ADAPTIVE_S:
        raise refusal("its bounds do not fit", "`from` is 1m or more, `to` is longer, and 24h at most")
    return AdaptiveDwell(least, most)


_DURATION = {"type": "string", "pattern": DURATION_PATTERN}
_BOUNDS = {"type": "object", "required": ["from", "to"], "additionalProperties": False,
           "properties": {"from": _DURATION, "to": _DURATION}}  # fmt: skip
_DWELL_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {**_DURATION, "examples": ["45s", "5m", "1h30m"]},
        {"const": 0},
        {"const": "adaptive"},
        _BOUNDS,
        {
            "type": "object",
            "required": ["adaptive"],
            "additionalProperties": False,
            "properties": {"adaptive": _BOUNDS},
        },
    ]
}
Dwell = Annotated[float | AdaptiveDwell, PlainValidator(_dwell), WithJsonSchema(_DWELL_SCHEMA)]


class FalseAlarmBudget(Words):
    """How often people accept a false alarm of evidence: of each signal, or of all deployments and signals of the
    policy together, which divides it."""

    one_false_alarm_in: Span | None = None
    false_alarms_a_week: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> FalseAlarmBudget:
        each, together = self.one_false_alarm_in, self.false_alarms_a_week
        if each is None and together is None:
            remedy = "Write `one_false_alarm_in: 90d` (each signal) or `false_alarms_a_week: 1` (all together)"
            raise several([Complaint((), "says no number", remedy)])
        if each is not None and together is not None:
            raise several([Complaint(("false_alarms_a_week",), "stands beside one_false_alarm_in", "Keep one")])
        if each is not None and each < _LEAST_BUDGET_S:
            what = f"{format_duration(each)} is no budget: it would alarm all day"
            raise several([Complaint(("one_false_alarm_in",), what, "Write 1h or more; 90d is usual")])
        return self


class PolicyTrigger(Words):
    """How breaches become one state. Without `when`: any signal that is sufficient alone, or any two of all; where a
    signal is judged by evidence, the tiered rule. What is None is chosen by `risk:` (`policy.defaults`). `loss_budget`:
    of the impact's revenue, what may be lost while a signal holds alone."""

    when: Annotated[str, Field(max_length=4_000)] | None = None
    dwell: Dwell | None = None
    hold: Duration = 0.0
    cool_down: Duration = 3_600.0
    blind_dwell: Duration = 300.0
    budget: FalseAlarmBudget | None = None
    alone_hold: Duration | None = None
    loss_budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    not_before: Duration = 0.0
    re_arm: Duration = 0.0
    loop_guard: Annotated[int, Field(ge=0, le=100, strict=True)] = LOOP_GUARD
    expected: tuple[PolicyExpected, ...] = ()


def dwell_of(trigger: PolicyTrigger, defaults: Defaults) -> float:
    """Seconds of dwell; of an adaptive one where the choice begins: the default, brought within its bounds."""
    if trigger.dwell is None:
        return defaults.dwell_s
    if isinstance(trigger.dwell, AdaptiveDwell):
        return min(max(defaults.dwell_s, trigger.dwell.from_s), trigger.dwell.to_s)
    return trigger.dwell

"""Parts of a policy in a few words each, for sentences about what changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from pydantic import BaseModel

from rollback_console.model.rules import Baseline, BaselineKind, BlindPolicy, SignalKind, SignalRule, Worse
from rollback_console.model.text import number, plain
from rollback_console.policy.curves import curve_words
from rollback_console.policy.promql_words import PromqlError, one_line, tokens
from rollback_console.policy.quantities import format_duration, format_percentage

QUERIES = frozenset({
    "value", "x", "n", "heartbeat", "buckets", "buckets_then", "buckets_hour", "x_hour", "n_hour", "serving_version",
    "revenue_per_minute", "users_per_minute",
})  # fmt: skip
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _sign(signal: SignalRule) -> str:
    return "-" if signal.worse is Worse.LOWER else "+"


def briefly(signal: SignalRule) -> str:
    """Where a signal counts as degraded, short: `at -5 %`, `above 2 %`."""
    breach = signal.breach
    if breach.degraded_by is not None:
        return f"at {_sign(signal)}{_percent(breach.degraded_by)}{_until(signal)}"
    return judged(signal)


def _until(signal: SignalRule) -> str:
    """What ends it once it fired, where that is another bound."""
    breach = signal.breach
    if breach.clear is None:
        return ""
    clear = _percent(breach.clear) if breach.degraded_by is not None else _exact(breach.clear, signal.unit)
    return f", once it fired until {clear}"


def judged(signal: SignalRule) -> str:
    """Where a signal counts as degraded: `above 2 %`, `at -5 % of the same time last week`, `by evidence`."""
    breach = signal.breach
    if signal.kind is SignalKind.DISTRIBUTION:
        return f"when it drifted from {_compared(signal.baseline, signal.unit)}"
    if signal.kind is SignalKind.SLOW:
        return f"when mature and worse than {_compared(signal.baseline, signal.unit)}"
    if breach.curve is not None:
        side = "above" if breach.above is not None else "below"
        return f"{side} {curve_words(breach.curve, signal.unit)}"
    until = _until(signal)
    if breach.above is not None:
        return f"above {_exact(breach.above, signal.unit)}{until}"
    if breach.below is not None:
        return f"below {_exact(breach.below, signal.unit)}{until}"
    if breach.degraded_by is not None:
        by = f"at {_sign(signal)}{_percent(breach.degraded_by)}"
        return f"{by} of {_compared(signal.baseline, signal.unit)}{until}"
    side = "lower" if signal.worse is Worse.LOWER else "higher"
    return f"when the evidence says it is {side} than {_compared(signal.baseline, signal.unit)}"


def _compared(baseline: Baseline | None, unit: str) -> str:
    if baseline is None:
        return "its baseline"
    if baseline.kind is BaselineKind.FIXED:
        return "its baseline" if baseline.value is None else _exact(baseline.value, unit)
    words = {
        BaselineKind.LAST_WEEK: "the same time last week",
        BaselineKind.VERSION: f"the {format_duration(baseline.history_s)} before the version now serving",
        BaselineKind.SEASONAL: f"what it learned in {format_duration(baseline.history_s)}",
        BaselineKind.CONTROL: f"its control {plain(baseline.control or '', 100)}".rstrip(),
        BaselineKind.PERIOD: f"the period {plain(baseline.period.why if baseline.period else '', 100)}".rstrip(),
    }
    return words.get(baseline.kind, str(baseline.kind))


def _percent(fraction: float) -> str:
    return format_percentage(fraction).replace("%", " %")


def _exact(value: float, unit: str) -> str:
    """A number with all its digits where the short form would hide a difference."""
    if unit == "%":
        return _percent(value)
    short = number(value, unit)
    digits = f"{value:.15g}"
    return short if f"{value:.3g}" == digits else f"{digits} {plain(unit, 24)}".rstrip()


def query_words(text: object) -> object:
    """A query without regard to its white space and comments."""
    if not isinstance(text, str):
        return text
    try:
        return one_line(tokens(text))
    except PromqlError:
        return " ".join(text.split())


def shown(name: str, value: Any) -> str:
    """A field's value as a person reads it."""
    known: tuple[tuple[Callable[[Any], bool], Callable[[Any], str]], ...] = (
        (lambda v: v is None, lambda v: "none"),
        (lambda v: isinstance(v, bool), lambda v: "yes" if v else "no"),
        (lambda v: isinstance(v, Enum), str),
        (lambda v: isinstance(v, int) and name == "days", lambda v: _DAYS[v % 7]),
        (lambda v: isinstance(v, (int, float)) and name in ("start", "end"), _moment),
        (lambda v: isinstance(v, (int, float)) and name.endswith(("_s", "_every")), format_duration),
        (lambda v: isinstance(v, float) and name.endswith("margin"), _percent),
        (lambda v: isinstance(v, (int, float)), lambda v: f"{v:.15g}"),
        (lambda v: isinstance(v, str), lambda v: f"`{plain(v, 300)}`" if name in QUERIES else plain(v, 300) or "none"),
        (
            lambda v: isinstance(v, BlindPolicy),
            lambda v: f"{v.kind} {format_duration(v.last_s) if v.last_s else ''}".rstrip(),
        ),
        (lambda v: isinstance(v, (tuple, list)), lambda v: ", ".join(shown(name, each) for each in v) or "none"),
        (lambda v: is_dataclass(v) or isinstance(v, BaseModel), _record),
    )
    for fits, words in known:
        if fits(value):
            return words(value)
    return plain(value, 300)


def _moment(at: float) -> str:
    """Unix seconds as people write them in a policy, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ").replace(":00Z", "Z")


def _record(value: Any) -> str:
    """A small value of several fields: `after 5m to oncall`, `why fair, start …`."""
    if isinstance(value, BaseModel):
        names = list(type(value).model_fields)
        return " ".join(f"{name} {shown('_s' if name == 'after' else name, getattr(value, name))}" for name in names)
    said = [
        f"{each.name.removesuffix('_s').replace('_', ' ')} {shown(each.name, getattr(value, each.name))}"
        for each in fields(value)
        if getattr(value, each.name) not in (None, (), "", 0, 0.0)
    ]
    return ", ".join(said) or "none"

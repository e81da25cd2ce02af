"""Bounds that vary, as people write them: `{by: hour_of_day, points: {"08:00": 2%, "22:00": 5%}}`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, TypeVar

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from rollback_console.model.rules import Breach, Curve
from rollback_console.model.text import number, plain
from rollback_console.policy.quantities import PERCENT_PATTERN, parse_amount, refusal
from rollback_console.policy.times import zone_key
from rollback_console.policy.words import Complaint, several

_T = TypeVar("_T")
_MOST_POINTS = 48
_HOUR = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_EXAMPLES = {
    "hour_of_day": '`{by: hour_of_day, points: {"08:00": 2%, "22:00": 5%}}`',
    "traffic": "`{by: traffic, points: {100: 10%, 1000: 2%}}`",
    "impact": "`{by: impact, points: {0: 5%, 1000: 2%}}`",
}
_AMOUNTS = {"traffic": "number of trials a minute", "impact": "amount lost a minute"}


def _bound(value: object) -> float | Curve:
    """A number in the signal's unit, a percentage, or a curve."""
    if isinstance(value, dict):
        return _curve(value)
    amount = parse_amount(value)
    if not math.isfinite(amount):
        raise refusal("is not a finite number", "Write digits")
    return amount


def _curve(raw: dict[str, Any]) -> Curve:
    by = raw.get("by")
    if not isinstance(by, str) or by not in _EXAMPLES:
        remedy = f"Write {_EXAMPLES['hour_of_day']}, `by: traffic` or `by: impact`"
        raise refusal("varies by nothing that is known", remedy)
    found = [
        Complaint((key,), "is not a key here", "The keys here are by, points, timezone")
        for key in raw
        if key not in ("by", "points", "timezone")
    ]
    if "timezone" in raw and by != "hour_of_day":
        found.append(Complaint(("timezone",), f"has no meaning for {by}", "Take it out"))
    points = raw.get("points")
    if not isinstance(points, dict) or not 2 <= len(points) <= _MOST_POINTS:
        found.append(Complaint((), f"needs between 2 and {_MOST_POINTS} points", f"Write {_EXAMPLES[by]}"))
        raise several(found)
    read = [
        (where, bound)
        for key, written in points.items()
        if (where := _told(found, key, _second if by == "hour_of_day" else partial(_amount, by), key)) is not None
        and (bound := _told(found, key, parse_amount, written)) is not None
    ]
    zone = _told(found, None, zone_key, raw.get("timezone", "UTC"))
    if len({where for where, _ in read}) < len(read):
        found.append(Complaint(("points",), "names a point twice", "Keep one of them"))
    if found or zone is None:
        raise several(found)
    return Curve(by, tuple(sorted(read)), zone)


def _told(found: list[Complaint], key: str | None, read: Callable[[Any], _T], value: object) -> _T | None:
    """What `read` makes of a value, or None and a complaint about it."""
    try:
        return read(value)
    except PydanticCustomError as error:
        context = error.context or {}
        where = ("timezone",) if key is None else ("points", key)
        found.append(Complaint(where, str(context.get("message")), str(context.get("remedy"))))
        return None


def _second(text: str) -> float:
    match = _HOUR.fullmatch(text)
    if match is None:
        raise refusal(f"{plain(repr(text), 40)} is not a time of day", 'Write it as `"08:00"`, in quotes')
    return int(match[1]) * 3_600.0 + int(match[2]) * 60.0


def _amount(by: str, text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < 1e12:
        raise refusal(f"{plain(repr(text), 40)} is no {_AMOUNTS[by]}", "Write digits")
    return amount


def laxer(bound: float | Curve | None, *, above: bool) -> str:
    """Where a bound that varies with what is lost lets more pass although more is lost; "" where it never does."""
    if not isinstance(bound, Curve) or bound.by != "impact":
        return ""
    for (less, one), (more, other) in pairwise(bound.points):
        if (other > one) is above and other != one:
            return f"{one:.10g} at {less:,.10g} a minute, {other:.10g} at {more:,.10g}"
    return ""


_AMOUNT_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": PERCENT_PATTERN}]}
_SCHEMA: dict[str, Any] = {
    "anyOf": [
        *_AMOUNT_SCHEMA["anyOf"],
        {
            "type": "object", "required": ["by", "points"], "additionalProperties": False,
            "properties": {
                "by": {"enum": list(_EXAMPLES)},
                "points": {"type": "object", "minProperties": 2, "additionalProperties": _AMOUNT_SCHEMA},
                "timezone": {"type": "string"},
            },
        },
    ]
}  # fmt: skip
Bound = Annotated[float | Curve, PlainValidator(_bound), WithJsonSchema(_SCHEMA)]


def breach_of(above: float | Curve | None, below: float | Curve | None, degraded_by: float | None) -> Breach:
    """As a rule has it."""
    if isinstance(above, Curve):
        return Breach(above=max(bound for _, bound in above.points), curve=above)
    if isinstance(below, Curve):
        return Breach(below=min(bound for _, bound in below.points), curve=below)
    return Breach(above, below, degraded_by)


def curve_words(curve: Curve, unit: str) -> str:
    """`2 % at 08:00, 5 % at 22:00 in Europe/Berlin, straight lines between`."""
    if curve.by == "hour_of_day":
        told = [f"{number(bound, unit)} at {_clock(where)}" for where, bound in curve.points]
        return f"{', '.join(told)} in {curve.timezone}, straight lines between"
    told = [f"{number(bound, unit)} at {where:,.10g}" for where, bound in curve.points]
    what = "of revenue lost a minute" if curve.by == "impact" else "trials a minute"
    return f"{', '.join(told)} {what}, straight lines between"


def _clock(second: float) -> str:
    return f"{int(second // 3600):02}:{int(second % 3600 // 60):02}"

"""Durations, percentages and sizes as people write them, as pydantic types.

A duration is `45s`, `5m`, `1h30m`, `28d` and becomes seconds; a percentage is `2%` and becomes a fraction; a size is
`32MB` and becomes bytes. A bare number has no unit and is refused, save 0.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from rollback_console.model.text import plain

_UNITS = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]+)(ms|[wdhms])")
_WORDS_FOR_UNITS = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w",
}  # fmt: skip
_PERCENT = re.compile(r"([-+]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)) ?%")
_SIZE = re.compile(r"([0-9]+) ?(B|KB|MB|GB|KiB|MiB|GiB)")
_SIZES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

DURATION_PATTERN = r"^(0|([0-9]+(ms|w|d|h|m|s))+)$"
PERCENT_PATTERN = r"^[-+]?([0-9]+(\.[0-9]+)?|\.[0-9]+) ?%$"
SIZE_PATTERN = r"^[0-9]+ ?(B|KB|MB|GB|KiB|MiB|GiB)$"


def refusal(message: str, remedy: str = "", **more: Any) -> PydanticCustomError:
    """An error that keeps its remedy apart. Braces in texts are data, not a template."""
    context = {"message": message, "remedy": remedy, **more}
    return PydanticCustomError("said", "{message}", context)


def parse_duration(text: object) -> float:
    """Seconds. Raises a PydanticCustomError (a ValueError) with a remedy for anything that is not a duration."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise refusal(f"{_short(text)} is not a duration", "Write it as `45s`, `5m` or `1h30m`")
    if isinstance(text, (int, float)):
        if text == 0:
            return 0.0
        raise refusal(f"{text} has no unit", f"Write `{text}s` for seconds or `{text}m` for minutes")
    word = text.strip()
    if word == "0":
        return 0.0
    total, position, last = 0.0, 0, float("inf")
    for part in _PART.finditer(word):
        size = _UNITS[part[2]]
        if part.start() != position or len(part[1]) > 9:
            break
        if size >= last:
            raise refusal(f"{_short(word)} has its units out of order", "Largest first and each once, as in `1h30m`")
        total, position, last = total + int(part[1]) * size, part.end(), size
    if position != len(word) or not word:
        raise refusal(f"{_short(word)} is not a duration", _duration_remedy(word))
    return total


def _duration_remedy(word: str) -> str:
    clock = re.fullmatch(r"([0-9]+):([0-5][0-9])", word)
    if clock:
        return f"If {int(clock[1])} minutes {int(clock[2])} seconds are meant, write `{int(clock[1])}m{int(clock[2])}s`"
    spelled = re.fullmatch(r"([0-9]+) ?([a-z]+)", word.lower())
    if spelled and (unit := _WORDS_FOR_UNITS.get(spelled[2], spelled[2])) in _UNITS:
        return f"Write `{spelled[1]}{unit}`"
    return "Write it as `45s`, `5m`, `1h30m` or `28d`"


def format_duration(seconds: float) -> str:
    """The shortest way to write whole milliseconds: `1h30m`, `500ms`, `0s`."""
    left = round(seconds * 1000)
    parts = []
    for unit, size in _UNITS.items():
        if unit == "w":
            continue  # nobody reads weeks
        count, left = divmod(left, round(size * 1000))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_percentage(text: object) -> float:
    """A fraction: `2%` is 0.02. Raises as `parse_duration` does; a bare number too, for 2 and 0.02 look alike."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        raise refusal(f"{text} has no %", f"Write `{text}%`" + (f" or `{text * 100:g}%`" if 0 < abs(text) < 1 else ""))
    match = _PERCENT.fullmatch(text.strip()) if isinstance(text, str) and len(text) < 40 else None
    if match is None:
        raise refusal(f"{_short(text)} is not a percentage", "Write it as `2%`")
    return _hundredth(match[1])


def _hundredth(digits: str) -> float:
    """`digits` / 100 with one rounding, as a person would: 3.1 % is the float written 0.031."""
    return float(f"{digits}e-2")


def format_percentage(fraction: float) -> str:
    """A fraction as a percentage that reads back to it, to fifteen digits."""
    return f"{fraction * 100:.15g}%"


def parse_amount(text: object) -> float:
    """A number in the signal's unit, or a percentage as a fraction. Raises as `parse_duration` does."""
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return float(text)
    if isinstance(text, str) and text.strip().endswith("%"):
        return parse_percentage(text)
    raise refusal(f"{_short(text)} is not a number", "Write a number in the signal's unit, or a percentage as in `2%`")


def parse_size(text: object) -> int:
    """Bytes. MB is a million, MiB 2 ** 20. Raises as `parse_duration` does."""
    match = _SIZE.fullmatch(text.strip()) if isinstance(text, str) and len(text) < 20 else None
    if match is None:
        raise refusal(f"{_short(text)} is not a size", "Write it as `32MB`")
    return int(match[1]) * _SIZES[match[2]]


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "a mapping"
    shown = plain(repr(value), 60)
    return shown.lower() if isinstance(value, bool) else shown


def between(low: float, high: float, whole: bool = False) -> Any:
    """A validator of seconds within bounds, both included, in whole seconds where they are part of a query."""
    from pydantic import AfterValidator

    def check(seconds: float) -> float:
        if not low <= seconds <= high:
            raise refusal(f"{format_duration(seconds)} is out of range",
                          f"It lies between {format_duration(low)} and {format_duration(high)}")  # fmt: skip
        if whole and seconds != int(seconds):
            raise refusal(f"{format_duration(seconds)} is not in whole seconds", "Evaluations are whole seconds apart")
        return seconds

    return AfterValidator(check)


_TEXT = {"type": "string"}
_DURATION = BeforeValidator(parse_duration)
_DURATION_SCHEMA = WithJsonSchema({
    "anyOf": [{**_TEXT, "pattern": DURATION_PATTERN, "examples": ["45s", "5m", "1h30m", "28d"]}, {"const": 0}]
})  # fmt: skip

Duration = Annotated[float, between(0, 400 * 86_400.0), _DURATION, _DURATION_SCHEMA]
Span = Annotated[float, between(1, 400 * 86_400.0, whole=True), _DURATION, _DURATION_SCHEMA]
Timeout = Annotated[float, between(0.1, 300), _DURATION, _DURATION_SCHEMA]
Percentage = Annotated[
    float,
    BeforeValidator(parse_percentage),
    WithJsonSchema({**_TEXT, "pattern": PERCENT_PATTERN, "examples": ["2%"]}),
]
Amount = Annotated[
    float,
    Field(allow_inf_nan=False),
    BeforeValidator(parse_amount),
    WithJsonSchema({"anyOf": [{"type": "number"}, {**_TEXT, "pattern": PERCENT_PATTERN}]}),
]
Size = Annotated[
    int,
    Field(ge=1000, le=2**30),
    BeforeValidator(parse_size),
    WithJsonSchema({**_TEXT, "pattern": SIZE_PATTERN, "examples": ["32MB"]}),
]

"""Times as people and files write them: RFC 3339 or Unix seconds, to the millisecond."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_UNIX = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_LATEST = 1e11  # Unix seconds (year 5138): what is larger is milliseconds
FORM = "Write it as 2026-11-20T09:00:00Z, or in Unix seconds"


class NotATime(ValueError):
    """A text that is no time: what is wrong with it, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def moment(text: str, *, dates: bool = False) -> float:
    """Unix seconds, rounded to milliseconds. `dates`: a day alone is its midnight in UTC. Raises NotATime."""
    word = text.strip()
    if _UNIX.fullmatch(word):
        return unix(float(word))
    if dates and _DATE.fullmatch(word):
        word += "T00:00:00Z"
    match = _RFC3339.fullmatch(word)
    if match is None:
        raise NotATime("is not a time", FORM)
    if match[2] is None:
        raise NotATime("has no time zone", "End it with Z where it is in UTC, or with +01:00")
    try:
        return round(datetime.fromisoformat(word.upper()).timestamp(), 3)
    except (ValueError, OverflowError):
        raise NotATime("is no time of any calendar", FORM) from None


def unix(seconds: float) -> float:
    """Unix seconds as they stand, rounded to milliseconds. Raises NotATime for what cannot be seconds."""
    if not 0 <= seconds < 1e14:
        raise NotATime("is not a time", FORM)
    if seconds >= _LATEST:
        raise NotATime("is in milliseconds, it seems", "Divide it by 1000: Unix times are in seconds")
    return round(seconds, 3)


def written(at: float) -> str:
    """Unix seconds as RFC 3339 in UTC, with milliseconds only where there are any."""
    exact = datetime.fromtimestamp(round(at, 3), UTC)
    return exact.isoformat(timespec="milliseconds" if exact.microsecond else "seconds").replace("+00:00", "Z")

"""Moments, time zones, times of the week and stretches as people write them.

A moment is RFC 3339 with its offset (`2026-11-27T18:00Z`, `2026-11-27T19:00+01:00`), or a day (`2026-11-27`): its
first second in UTC where something begins, its last where something ends. A time of the week is `sun 02:00-04:00`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator

from rollback_console.model.declared import LONGEST_CHANGE_S, LONGEST_STRETCH_S
from rollback_console.model.rules import ExpectedChange, Stretch, Weekly
from rollback_console.model.text import plain
from rollback_console.policy.quantities import format_duration, refusal
from rollback_console.policy.words import Complaint, Text, Words, several

DAY_S = 86_400.0
LONGEST_WEEKLY_S = DAY_S / 2
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LIKE_A_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:$|[Tt ][0-9]{2}:)")
_HOLIDAY = re.compile(r"(?:[0-9]{4}-)?[0-9]{2}-[0-9]{2}")
_WEEKLY = re.compile(r"([a-z]{3}(?:[-,][a-z]{3})*|daily) ([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])")
_MOMENT_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[-+][0-9]{2}:[0-9]{2}))?$"


def parse_moment(text: object, *, end: bool = False) -> float:
    """Unix seconds. A bare day is its beginning in UTC, or with `end` the beginning of the next one. Raises a
    PydanticCustomError (a ValueError) with a remedy for anything else."""
    said = plain(repr(text), 60) if isinstance(text, str) else "this"
    if not isinstance(text, str) or len(text) > 40:
        raise refusal(f"{said} is not a time", "Write it as `2026-11-27T18:00Z`, or a day as `2026-11-27`")
    word = text.strip()
    try:
        found = dt.datetime.fromisoformat(word) if _LIKE_A_MOMENT.match(word) else None
    except ValueError:
        found = None
    if found is None:
        raise refusal(f"{said} is not a time", "Write it as `2026-11-27T18:00Z`, or a day as `2026-11-27`")
    if found.tzinfo is None and ":" in word:
        raise refusal(f"{said} has no time zone", f"Write `{word}Z` for UTC, or its offset as in `{word}+01:00`")
    if found.tzinfo is None:
        found = found.replace(tzinfo=dt.UTC) + dt.timedelta(days=1 if end else 0)
    return found.timestamp()


def _begin(text: object) -> float:
    return parse_moment(text)


def _end(text: object) -> float:
    return parse_moment(text, end=True)


_MOMENT_SCHEMA = WithJsonSchema({"type": "string", "pattern": _MOMENT_PATTERN, "examples": ["2026-11-27T18:00Z"]})
Begin = Annotated[float, BeforeValidator(_begin), _MOMENT_SCHEMA]
End = Annotated[float, BeforeValidator(_end), _MOMENT_SCHEMA]


def zone_key(name: object) -> str:
    """The name of a time zone that is known here. Raises a PydanticCustomError for anything else."""
    found = None
    if isinstance(name, str):
        with contextlib.suppress(KeyError, OSError, ValueError):  # unknown, a folder, or a path that leads elsewhere
            found = ZoneInfo(name).key
    if found is None:
        raise refusal(f"{plain(repr(name), 60)} is not a time zone known here",
                      "Write its IANA name, as in Europe/Berlin")  # fmt: skip
    return found


TimeZone = Annotated[Text, Field(max_length=64), AfterValidator(zone_key)]


def _holiday(text: str) -> str:
    if _HOLIDAY.fullmatch(text):
        try:
            dt.date.fromisoformat(text if _DAY.fullmatch(text) else f"2024-{text}")  # 2024 has a 29th of February
        except ValueError:
            raise refusal(f"{text} is not a day of the calendar", "Look at the month and the day") from None
        return text
    raise refusal(f"{plain(repr(text), 60)} is not a day", "Write `2026-12-25`, or `12-25` for every year")


Holiday = Annotated[Text, AfterValidator(_holiday)]


def _weekly(text: object) -> Weekly:
    """`sun 02:00-04:00`, `mon-fri 22:00-02:00`, `sat,sun 09:00-10:00`, `daily 03:00-03:30`."""
    remedy = "Write it as `sun 02:00-04:00`, `mon-fri 22:00-02:00` or `daily 03:00-03:30`"
    said = plain(repr(text), 60) if isinstance(text, str) else "this"
    match = _WEEKLY.fullmatch(" ".join(text.lower().split())) if isinstance(text, str) and len(text) < 60 else None
    if match is None:
        raise refusal(f"{said} is not a time of the week", remedy)
    hours = [int(match[2]), int(match[4])]
    if hours[0] > 23 or hours[1] > 24 or (hours[1] == 24 and int(match[5])):
        raise refusal(f"{said} has an hour that no clock shows", "Hours go from 00 to 23, and an end may be 24:00")
    start, end = hours[0] * 3600 + int(match[3]) * 60, hours[1] * 3600 + int(match[5]) * 60
    length = float(end - start if end > start else end - start + DAY_S)
    if length > LONGEST_WEEKLY_S:
        raise refusal(f"lasts {format_duration(length)}", f"At most {format_duration(LONGEST_WEEKLY_S)} at a time")
    return Weekly(_days(match[1], said, remedy), float(start), length)


def _days(text: str, said: str, remedy: str) -> tuple[int, ...]:
    if text == "daily":
        return tuple(range(7))
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise refusal(f"{said} names a day that is none", remedy)
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update(day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))
    return tuple(sorted(found))


WeeklyWords = Annotated[
    Weekly, PlainValidator(_weekly), WithJsonSchema({"type": "string", "examples": ["sun 02:00-04:00"]})
]


def _bounded(start: float, end: float, longest: float) -> list[Complaint]:
    if end <= start:
        return [Complaint(("to",), "is not after `from`", "Look at the two times")]
    if end - start > longest:
        return [Complaint(("to",), f"is {format_duration(end - start)} after `from`",
                          f"At most {format_duration(longest)}; write several")]  # fmt: skip
    return []


class PolicyStretch(Words):
    """A stretch that nothing is learned from: an incident, a holiday sale, a drill."""

    from_: Begin = Field(alias="from")
    to: End
    why: Text

    @model_validator(mode="after")
    def _fits(self) -> PolicyStretch:
        if found := _bounded(self.from_, self.to, LONGEST_STRETCH_S):
            raise several(found)
        return self

    def stretch(self) -> Stretch:
        """As a rule has it."""
        return Stretch(self.from_, self.to, self.why)


class PolicyExpected(Words):
    """A change that people expect: `from` and `to`, or `every` week. No automatic action and no advice meanwhile."""

    from_: Begin | None = Field(default=None, alias="from")
    to: End | None = None
    every: WeeklyWords | None = None
    timezone: TimeZone | None = None
    until: End | None = None
    why: Text

    @model_validator(mode="before")
    @classmethod
    def _one_way(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and not {"from", "to", "every"} & set(raw):
            raise several([Complaint((), "names no time", "Write `from:` and `to:`, or `every: sun 02:00-04:00`")])
        return raw

    @model_validator(mode="after")
    def _fits(self) -> PolicyExpected:
        found: list[Complaint] = []
        if self.every is None:
            for key, value, other in (("from", self.from_, "to"), ("to", self.to, "from")):
                if value is None:
                    remedy = f"Write `{key}:` too; an expected change has an end"
                    found.append(Complaint((other,), f"{other} needs {key}", remedy))
            if self.from_ is not None and self.to is not None:
                found += _bounded(self.from_, self.to, LONGEST_CHANGE_S)
            for key in ("timezone", "until"):
                if getattr(self, key) is not None:
                    found.append(Complaint((key,), "belongs to `every:`", "Take it out; `from` and `to` say it all"))
        else:
            for key, value in (("from", self.from_), ("to", self.to)):
                if value is not None:
                    remedy = "Keep one; `until:` ends what comes every week"
                    found.append(Complaint((key,), "stands beside `every`", remedy))
        if found:
            raise several(found)
        return self

    def change(self) -> ExpectedChange:
        """As a rule has it."""
        if self.every is None:
            return ExpectedChange(self.why, self.from_, self.to)
        zone = self.timezone or "UTC"
        weekly = Weekly(self.every.days, self.every.start_s, self.every.length_s, zone)
        return ExpectedChange(self.why, None, self.until, weekly)

"""What is written by hand about stretches and expected changes, read and bounded; and how both are said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from rollback_console.model.declared import LONGEST_CHANGE_S, LONGEST_STRETCH_S, Expectation, said_by
from rollback_console.model.text import plain, span

_STRETCH = re.compile(
    r"""(?:(?P<day>\d{4}-\d{2}-\d{2})[T ])?(?P<start>\d{1,2}:\d{2})Z?
        \s*(?:-|–|to)\s*
        (?:(?P<until>\d{4}-\d{2}-\d{2})[T ])?(?P<end>\d{1,2}:\d{2}|now)Z?
        (?:\s+(?P<why>\S.*))?""",
    re.VERBOSE,
)
_SPAN = re.compile(r"(?=\d)(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?(?=\s|$)")


def stretch_problem(start: float, end: float, now: float) -> str:
    """Why these are no times of a stretch that may be excluded at `now`, or ""."""
    if not start < end:
        return "it ends before it begins"
    if end > now:
        return "it ends in the future: what has not happened yet cannot be judged"
    if end - start > LONGEST_STRETCH_S:
        return f"it is {span(end - start)} long, and at most {span(LONGEST_STRETCH_S)} may be: write several"
    return ""


def change_problem(seconds: float) -> str:
    """Why a change that goes on for `seconds` may not be declared, or ""."""
    if not seconds >= 60.0:
        return "it lasts less than a minute"
    if seconds > LONGEST_CHANGE_S:
        return f"it lasts {span(seconds)}, and at most {span(LONGEST_CHANGE_S)} may be: longer is how things are"
    return ""


def parse_stretch(text: str, now: float) -> tuple[float, float, str]:
    """(start, end, why) of `14:02-15:10 bad release`, `2026-11-19 22:00 to now drill`, times in UTC. An hour alone is
    its last time before `now`; an end without a day is the first such time after the start. Raises ValueError, with
    what is wrong."""
    match = _STRETCH.fullmatch(text.strip())
    if match is None:
        raise ValueError("write times and why: 14:02-15:10 bad release")
    try:
        first = _clock(match["day"], match["start"], now)
        if match["day"] is None and first > now:
            first -= 86_400.0
        if match["end"] == "now":
            last = now
        else:
            day = match["until"] or datetime.fromtimestamp(first, UTC).strftime("%Y-%m-%d")
            last = _clock(day, match["end"], now)
            if match["until"] is None and last <= first:
                last += 86_400.0
    except ValueError:
        raise ValueError("there is no such time: look at the day and the hours") from None
    if problem := stretch_problem(first, last, now):
        raise ValueError(problem)
    if not match["why"]:
        raise ValueError("say why, after the times")
    return first, last, match["why"].strip()


def parse_change(text: str) -> tuple[float, str]:
    """(seconds, why) of `40m index rebuild`. Raises ValueError, with what is wrong."""
    match = _SPAN.match(text.strip())
    if match is None:
        raise ValueError("write how long and why: 40m index rebuild")
    days, hours, minutes = (int(each or 0) for each in match.groups())
    seconds = float(days * 86_400 + hours * 3_600 + minutes * 60)
    if problem := change_problem(seconds):
        raise ValueError(problem)
    why = text.strip()[match.end() :].strip()
    if not why:
        raise ValueError("say why, after the time")
    return seconds, why


def stretch_words(start: float, end: float, now: float) -> str:
    """`14:02–15:10` in UTC, with the day where it is not the day of `now`."""
    first, last, today = (datetime.fromtimestamp(each, UTC) for each in (start, end, now))
    began = f"{first:%H:%M}" if first.date() == today.date() else f"{first:%Y-%m-%d %H:%M}"
    ended = f"{last:%H:%M}" if last.date() == first.date() else f"{last:%Y-%m-%d %H:%M}"
    return f"{began}–{ended}"


def expected_words(change: Expectation, now: float) -> str:
    """`expected until 15:40 (ana: index rebuild)`, the time in UTC."""
    until, today = datetime.fromtimestamp(change.until, UTC), datetime.fromtimestamp(now, UTC)
    when = f"{until:%H:%M}" if until.date() == today.date() else f"{until:%Y-%m-%d %H:%M}"
    return f"expected until {when} ({plain(said_by(change.by, change.reason), 160)})"


def _clock(day: str | None, hour: str, now: float) -> float:
    """Unix seconds of an hour on a day (default: the day of `now`), UTC. Raises ValueError."""
    midnight = datetime.fromisoformat(day).replace(tzinfo=UTC) if day else datetime.fromtimestamp(now, UTC)
    hours, minutes = (int(part) for part in hour.split(":"))
    if hours > 23 or minutes > 59:
        raise ValueError(hour)
    midnight = midnight.replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight + timedelta(hours=hours, minutes=minutes)).timestamp()

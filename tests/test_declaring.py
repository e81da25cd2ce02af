"""What is typed about stretches and changes: read as meant, bounded, or refused in words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.model.declared import LONGEST_STRETCH_S, Expectation
from rollback_console.model.declaring import (
    expected_words,
    parse_change,
    parse_stretch,
    stretch_problem,
    stretch_words,
)

NOW = datetime(2026, 11, 20, 14, 2, 31, tzinfo=UTC).timestamp()


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "start", "end", "why"),
    [
        ("12:02-13:10 bad release", "2026-11-20 12:02", "2026-11-20 13:10", "bad release"),
        ("12:02 – 13:10   bad: release", "2026-11-20 12:02", "2026-11-20 13:10", "bad: release"),
        ("22:00-23:30 drill", "2026-11-19 22:00", "2026-11-19 23:30", "drill"),  # not today: it is 14:02
        ("22:00 to 02:00 drill", "2026-11-19 22:00", "2026-11-20 02:00", "drill"),
        ("2026-11-18 22:00 to 2026-11-19 04:00 drill", "2026-11-18 22:00", "2026-11-19 04:00", "drill"),
        ("2026-11-18T22:00Z-04:00Z drill", "2026-11-18 22:00", "2026-11-19 04:00", "drill"),
        ("13:00-now it goes on", "2026-11-20 13:00", "2026-11-20 14:02:31", "it goes on"),
    ],
)
def test_stretches_are_read_as_meant(text: str, start: str, end: str, why: str) -> None:
    assert parse_stretch(text, NOW) == (at(start), at(end), why)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write times and why"),
        ("yesterday drill", "write times and why"),
        ("12:02-13:10", "say why"),
        ("12:02-13:10   ", "say why"),
        ("13:00-15:00 x", "it ends in the future"),
        ("24:00-25:00 x", "there is no such time"),
        ("2026-02-30 10:00-11:00 x", "there is no such time"),
        ("2026-11-19 12:00 to 2026-11-18 12:00 x", "it ends before it begins"),
        ("2026-01-01 12:00 to 2026-11-18 12:00 x", "at most 60d"),
    ],
)
def test_what_is_no_stretch_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_stretch(text, NOW)


@pytest.mark.parametrize(
    ("text", "seconds", "why"),
    [
        ("40m index rebuild", 2400.0, "index rebuild"),
        ("1h30m  experiment 7", 5400.0, "experiment 7"),
        ("2d move to the new store", 172_800.0, "move to the new store"),
        ("14d x", 1_209_600.0, "x"),
    ],
)
def test_changes_are_read_as_meant(text: str, seconds: float, why: str) -> None:
    assert parse_change(text) == (seconds, why)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("index rebuild", "write how long and why"),
        ("40 index rebuild", "write how long and why"),
        ("40mindex", "write how long and why"),
        ("40m", "say why"),
        ("0m x", "less than a minute"),
        ("15d x", "at most 14d"),
    ],
)
def test_what_is_no_change_says_why(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_change(text)


@settings(max_examples=100)
@given(st.integers(0, 60 * 86_400 // 60), st.integers(1, 5_000), st.sampled_from(("-", " to ", "–")))
def test_what_is_said_of_a_stretch_is_read_as_the_same(ago: int, minutes: int, joined: str) -> None:
    end = NOW // 60 * 60 - ago * 60.0
    start = end - minutes * 60.0
    words = stretch_words(start, end, NOW).replace("–", joined)
    found = parse_stretch(f"{words} a drill", NOW)
    assert found == (start, end, "a drill")


@settings(max_examples=100)
@given(st.text(max_size=40))
def test_whatever_is_typed_is_read_or_refused_in_words(text: str) -> None:
    assert all(_read(parse) for parse in (lambda: parse_stretch(text, NOW), lambda: parse_change(text)))


def _read(parse: Callable[[], tuple[object, ...]]) -> bool:
    """Was it read, with a reason; or refused in a line that fits a terminal."""
    try:
        return bool(parse()[-1])
    except ValueError as error:
        return 0 < len(str(error)) < 90


@pytest.mark.parametrize("end", [float("nan"), float("inf"), NOW + 1])
def test_what_is_no_time_is_no_stretch(end: float) -> None:
    assert stretch_problem(NOW - 60, end, NOW)
    assert stretch_problem(end, NOW, NOW) or end > NOW
    assert not stretch_problem(NOW - LONGEST_STRETCH_S, NOW, NOW)


def test_what_is_expected_is_said_with_its_day_where_it_is_another() -> None:
    change = Expectation("ch-1", ("a/b",), at("2026-11-20 15:40"), "index rebuild", "ana", NOW)
    assert expected_words(change, NOW) == "expected until 15:40 (ana: index rebuild)"
    assert expected_words(change, NOW - 86_400) == "expected until 2026-11-20 15:40 (ana: index rebuild)"

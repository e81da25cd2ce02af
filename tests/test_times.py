"""Times as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_console.model.times import NotATime, moment, unix, written


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2025-11-20T12:00:00Z", 1_763_640_000.0),
        ("2025-11-20t12:00:00z", 1_763_640_000.0),
        ("2025-11-20 12:00:00Z", 1_763_640_000.0),
        (" 2025-11-20T13:00:00+01:00 ", 1_763_640_000.0),
        ("2025-11-20T12:00:00.250Z", 1_763_640_000.25),
        ("2025-11-20T12:00:00.2504999Z", 1_763_640_000.25),
        ("1763640000", 1_763_640_000.0),
        ("1763640000.25", 1_763_640_000.25),
        ("1.76364e9", 1_763_640_000.0),
        ("0", 0.0),
    ],
)
def test_a_time_is_read(text: str, at: float) -> None:
    assert moment(text) == at


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("yesterday", "is not a time"),
        ("", "is not a time"),
        ("20/11/2025 12:00", "is not a time"),
        ("2025-11-20", "is not a time"),
        ("2025-11-20T12:00:00", "has no time zone"),
        ("2025-13-20T12:00:00Z", "is no time of any calendar"),
        ("2025-11-20T25:00:00Z", "is no time of any calendar"),
        ("1763640000000", "is in milliseconds, it seems"),
        ("-5", "is not a time"),
        ("1_763_640_000", "is not a time"),
        ("nan", "is not a time"),
        ("1e400", "is not a time"),
    ],
)
def test_what_is_no_time_is_said(text: str, says: str) -> None:
    with pytest.raises(NotATime) as caught:
        moment(text)
    assert caught.value.message == says
    assert caught.value.remedy


def test_a_day_alone_is_its_midnight_where_days_are_meant() -> None:
    assert moment("2025-11-20", dates=True) == 1_763_596_800.0


@given(st.integers(0, 4_000_000_000_000))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    at = milliseconds / 1000
    assert moment(written(at)) == unix(at) == round(at, 3)

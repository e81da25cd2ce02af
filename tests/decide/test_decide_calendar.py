"""The local week: daylight saving both ways and on both halves of the earth, half-hour zones, holidays, fixed times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_console.decide.calendar import (
    DAY_S,
    HOUR_S,
    LAG_S,
    NO_LESSON,
    SLOTS,
    WEEK_S,
    Calendar,
    anchor_of,
    calendar_of,
    hour_of,
    lessons,
    noise_anchor,
)
from rollback_console.model.rules import Baseline, BaselineKind, Stretch

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kolkata", "Pacific/Chatham")
times = st.floats(1_600_000_000, 1_900_000_000, allow_nan=False).map(lambda at: round(at, 3))


def at(zone: str, text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


# The clocks go forward and back: (zone, a local time well before the change, the same wall time a week later).
CHANGES = [
    ("Europe/Berlin", "2026-03-24T10:30", "2026-03-31T10:30"),
    ("Europe/Berlin", "2026-10-20T10:30", "2026-10-27T10:30"),
    ("America/New_York", "2026-03-03T18:15", "2026-03-10T18:15"),
    ("America/New_York", "2026-10-27T18:15", "2026-11-03T18:15"),
    ("Australia/Sydney", "2026-04-01T09:00", "2026-04-08T09:00"),  # southern: back in autumn, which is April
    ("Australia/Sydney", "2026-09-30T09:00", "2026-10-07T09:00"),
]


@pytest.mark.parametrize(("zone", "before", "after"), CHANGES)
def test_a_wall_time_keeps_its_place_in_the_week_when_the_clocks_change(zone: str, before: str, after: str) -> None:
    calendar = Calendar(zone)
    earlier, later = at(zone, before), at(zone, after)
    assert abs(later - earlier - WEEK_S) == HOUR_S
    assert calendar.position(earlier) == calendar.position(later)
    assert calendar.week_before(later) == earlier


@pytest.mark.parametrize(
    ("zone", "sunday", "missing", "twice"),
    [
        ("Europe/Berlin", "2026-03-29", 2, None),
        ("Europe/Berlin", "2026-10-25", None, 2),
        ("America/New_York", "2026-03-08", 2, None),
        ("America/New_York", "2026-11-01", None, 1),
        ("Australia/Sydney", "2026-10-04", 2, None),
        ("Australia/Sydney", "2026-04-05", None, 2),
    ],
)
def test_the_skipped_hour_has_no_lesson_and_the_repeated_one_has_two(
    zone: str, sunday: str, missing: int | None, twice: int | None
) -> None:
    first = at(zone, sunday + "T00:00")
    count = 23 if missing is not None else 25
    found = lessons(Calendar(zone), (), first, count)
    expected = [6 * 24 + hour for hour in range(24) for _ in range(2 if hour == twice else 1) if hour != missing]
    assert list(found) == expected


@given(times, st.sampled_from(ZONES))
def test_a_position_is_the_hour_of_the_local_week_from_its_middle(moment: float, zone: str) -> None:
    position = Calendar(zone).position(moment)
    local = datetime.fromtimestamp(moment, ZoneInfo(zone))
    shift = (local.utcoffset() or timedelta()).total_seconds()
    seconds = local.weekday() * DAY_S + local.hour * HOUR_S + local.minute * 60 + local.second + local.microsecond / 1e6
    assert position is not None
    assert 0 <= position < SLOTS
    expected = (seconds - (HOUR_S / 2 + shift) % HOUR_S) / HOUR_S % SLOTS
    assert min(abs(position - expected), SLOTS - abs(position - expected)) < 1e-6


@given(times, st.sampled_from(ZONES))
def test_an_hours_lesson_is_its_middles_position(moment: float, zone: str) -> None:
    hour = hour_of(moment)
    position = Calendar(zone).position(hour + HOUR_S / 2)
    assert position is not None
    assert lessons(Calendar(zone), (), hour, 1) == (round(position) % SLOTS,)


def test_a_zone_half_an_hour_off_learns_by_hours_as_utc_counts_them() -> None:
    """India is 5:30 ahead: the UTC hour 06:00 to 07:00 is 11:30 to 12:30 there, and its middle is noon."""
    noon = at("Asia/Kolkata", "2026-06-01T12:00")
    assert lessons(Calendar("Asia/Kolkata"), (), noon - 1800, 1) == (12,)
    assert Calendar("Asia/Kolkata").position(noon) == 12.0


def test_a_holiday_teaches_nothing_and_is_judged_as_a_sunday() -> None:
    calendar = Calendar("Europe/Berlin", frozenset({"12-25", "2026-04-03"}))
    friday = at("Europe/Berlin", "2026-12-25T15:30")
    sunday = at("Europe/Berlin", "2026-12-27T15:30")
    assert calendar.is_holiday(friday)
    assert calendar.position(friday) == calendar.position(sunday)
    assert calendar.is_holiday(at("Europe/Berlin", "2027-12-25T00:00"))
    assert calendar.is_holiday(at("Europe/Berlin", "2026-04-03T23:59"))
    assert not calendar.is_holiday(at("Europe/Berlin", "2027-04-03T12:00"))
    found = lessons(calendar, (), at("Europe/Berlin", "2026-12-24T22:00"), 28)
    assert found[:2] == (3 * 24 + 22, 3 * 24 + 23)
    assert set(found[2:26]) == {NO_LESSON}
    assert found[26:] == (5 * 24, 5 * 24 + 1)


def test_a_holiday_can_be_judged_as_another_day_or_not_at_all() -> None:
    friday = at("UTC", "2026-12-25T15:30")
    assert Calendar("UTC", frozenset({"12-25"}), holiday_as=0).position(friday) == 15.0
    assert Calendar("UTC", frozenset({"12-25"}), holiday_as=None).position(friday) is None


def test_a_baseline_names_its_calendar() -> None:
    base = Baseline(BaselineKind.SEASONAL, timezone="Europe/Berlin", holidays=("12-25",))
    assert calendar_of(base) == Calendar("Europe/Berlin", frozenset({"12-25"}))


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(ValueError, match="Europe/Berlni"):
        Calendar("Europe/Berlni").position(0.0)


@given(times, st.floats(1.0, 200_000.0), st.integers(1, 100))
def test_every_hour_that_an_excluded_stretch_touches_teaches_nothing(begun: float, length: float, count: int) -> None:
    first = hour_of(begun) - 20 * HOUR_S
    found = lessons(Calendar(), (Stretch(begun, begun + length, "a drill"),), first, count)
    for k, slot in enumerate(found):
        start = first + k * HOUR_S
        assert (slot == NO_LESSON) == (start < begun + length and begun < start + HOUR_S)


@given(times, st.one_of(st.none(), st.floats(0.0, 40.0)))
def test_what_is_learned_from_is_old_enough_and_its_times_are_fixed(moment: float, days: float | None) -> None:
    since = None if days is None else hour_of(moment - days * DAY_S)
    anchor = anchor_of(moment, since)
    assert anchor % HOUR_S == 0.0
    assert moment - DAY_S < anchor <= moment
    noise, hours = noise_anchor(moment, since)
    assert noise <= anchor
    assert all(hour % HOUR_S == 0.0 and hour + HOUR_S <= noise - LAG_S for hour in hours)
    assert len(set(hours)) == 6
    if since is not None and since <= moment - 16 * DAY_S:
        assert datetime.fromtimestamp(noise, UTC).weekday() == 0
        assert len({hour % DAY_S for hour in hours}) > 1, "the week's hours are of different times of the day"
    same_hour = hour_of(moment) + 1799.0
    assert anchor_of(same_hour, since) == anchor
    assert noise_anchor(same_hour, since) == (noise, hours)

"""Past excursions: the hours that look like one are found among a month of them, and measured window by window."""

from __future__ import annotations

from baseline_streams import DAY_S, HISTORY_S, MONDAY, UTC, Minutes, stream, week_shape

from rollback_console.decide import evidence
from rollback_console.decide.calendar import hour_of
from rollback_console.decide.past import MOST_HOURS, past_excursions, suspects
from rollback_console.decide.weighing import in_force
from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Stretch, Worse


def with_blips(lengths: list[int], factor: float = 0.0) -> tuple[Minutes, list[float]]:
    """A month with blips of so many minutes, one every other day at different hours; and when they began."""
    minutes = stream(36, rate=lambda at: 0.03 * week_shape(at))
    began = []
    for k, length in enumerate(lengths):
        first = len(minutes.x) - 4 * 1440 - k * 2 * 1440 + 97 * k + 50
        minutes = minutes.but(first, first + length, factor)
        began.append(minutes.start + 60.0 * first)
    return minutes, began


def measured(minutes: Minutes, excluded: tuple[Stretch, ...] = (), worse: Worse = Worse.LOWER) -> tuple[float, ...]:
    hours = minutes.hours()
    found = suspects(hours, MONDAY, HISTORY_S, UTC, excluded, worse)
    stretches = [windows for hour in found if (windows := minutes.windows(hour)) is not None]
    return past_excursions(hours, MONDAY, HISTORY_S, UTC, excluded, worse, stretches)


def test_blips_of_a_month_are_found_and_measured() -> None:
    lengths = [3, 4, 6, 8, 5, 12]
    minutes, began = with_blips(lengths)
    found = suspects(minutes.hours(), MONDAY, HISTORY_S, UTC, (), Worse.LOWER)
    assert {hour_of(at) for at in began} <= set(found)
    assert len(found) <= MOST_HOURS
    assert sorted(measured(minutes)) == sorted(60.0 * length for length in lengths)


def test_one_that_goes_on_into_the_next_hour_is_one() -> None:
    minutes = stream(36)
    first = len(minutes.x) - 5 * 1440 + 60 * 7 + 56
    assert measured(minutes.but(first, first + 9, 0.1)) == (540.0,)


def test_rises_are_found_where_higher_is_worse() -> None:
    minutes, _ = with_blips([4, 6], factor=3.0)
    assert sorted(measured(minutes, worse=Worse.HIGHER)) == [240.0, 360.0]
    assert measured(minutes) == ()


def test_what_was_invalidated_is_no_example() -> None:
    minutes, began = with_blips([4, 6, 9])
    gone = Stretch(began[1] - 60, began[1] + 600, "a drill")
    assert sorted(measured(minutes, (gone,))) == [240.0, 540.0]


def test_a_calm_month_has_none() -> None:
    assert measured(stream(36)) == ()
    assert suspects(stream(0.02, end=MONDAY).hours(), MONDAY, HISTORY_S, UTC, (), Worse.LOWER) == ()


def test_of_many_bad_hours_the_worst_are_looked_at() -> None:
    minutes = stream(36)
    for k in range(40):
        first = len(minutes.x) - 3 * 1440 - k * 900
        minutes = minutes.but(first, first + 4 + k % 3, 0.0 if k % 2 else 0.4)
    found = suspects(minutes.hours(), MONDAY, HISTORY_S, UTC, (), Worse.LOWER)
    assert len(found) == MOST_HOURS
    assert list(found) == sorted(found)


def test_evidence_takes_the_dwell_that_a_norm_carries() -> None:
    """A total outage is full after the dwell, and no sooner: three minutes, or twelve."""
    rule = EvidenceRule()
    full = []
    for dwell in (None, 180.0, 720.0):
        norm = Norm(0.01, (1.0,), dwell_s=dwell)
        memory, k = evidence.EMPTY, 0
        while memory.full_since is None:
            k += 1
            at = MONDAY + DAY_S / 3 + 60.0 * k
            memory = evidence.advance(
                in_force(rule, norm), Worse.LOWER, memory, at, 0.0 if k > 120 else 60.0, 2000.0, 0.03, norm
            )
        full.append(k - 120)
    assert full[1] < full[0] < full[2]
    assert full[1] >= 3
    assert full[2] >= 12

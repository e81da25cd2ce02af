"""Baselines that are learned: a known shape is found, the unknown widens, and only what counts makes a difference."""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace

import numpy as np
import pytest
from baseline_streams import (
    DAY_S,
    HISTORY_S,
    HOUR_S,
    MONDAY,
    UTC,
    WEEK_S,
    Minutes,
    learned,
    short,
    stream,
    wandering,
    week_shape,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rollback_console.decide import baselines
from rollback_console.decide.baselines import Hours
from rollback_console.decide.calendar import SLOTS, Calendar, history_words, hour_of
from rollback_console.decide.evidence import ALTERNATIVES, COUNT, bounded, steps
from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Stretch, Worse

RULE = EvidenceRule()
CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
NOON = MONDAY + 12 * HOUR_S


def norm_at(minutes: Minutes, at: float, rule: EvidenceRule = RULE, worse: Worse = Worse.LOWER) -> tuple[float, Norm]:
    profile, level = learned(minutes.hours(), at)
    position = UTC.position(at - 30.0)
    assert position is not None
    return baselines.norm_of(profile, level, short(minutes, at), rule, worse, position)


# -- what is found -----------------------------------------------------------------------------------------------------


def test_a_known_shape_is_found_and_the_level_beside_it() -> None:
    minutes = stream(36, rate=lambda at: 0.03 * week_shape(at))
    profile, level = learned(minutes.hours(), NOON)
    off = []
    for k in range(SLOTS):
        at = MONDAY + (k + 0.5) * HOUR_S
        position = UTC.position(at)
        assert position == k
        true = 0.03 * float(week_shape(np.array([at]))[0])
        off.append(baselines.rate_at(profile, level, position) / true - 1)
    assert math.sqrt(float(np.mean(np.square(off)))) < 0.012
    friday = baselines.rate_at(profile, level, 4 * 24 + 20.0) / baselines.rate_at(profile, level, 3 * 24 + 20.0)
    assert friday == pytest.approx(1.15, abs=0.06), "an evening of its own: half of it is trusted at least"


def test_where_there_is_no_shape_none_is_learned() -> None:
    minutes = stream(36)
    profile, level = learned(minutes.hours(), NOON)
    assert max(abs(factor - 1) for factor in profile.factors) < 0.02
    assert baselines.rate_at(profile, level, 12.0) == pytest.approx(0.03, rel=0.01)
    assert profile.slow < 0.006


def test_between_two_hours_the_baseline_glides() -> None:
    profile, level = learned(stream(36, rate=lambda at: 0.03 * week_shape(at)).hours(), NOON)
    left, middle, right = (baselines.rate_at(profile, level, position) for position in (8.0, 8.5, 9.0))
    assert middle == pytest.approx((left + right) / 2)
    assert baselines.rate_at(profile, level, 167.5) == pytest.approx(
        (baselines.rate_at(profile, level, 167.0) + baselines.rate_at(profile, level, 0.0)) / 2
    )


def test_the_level_follows_what_stays_and_forgets_with_a_half_life_of_a_day() -> None:
    before = stream(30, end=MONDAY)
    lower = stream(4, rate=0.0288, seed=1, end=MONDAY + 4 * DAY_S)
    minutes = Minutes(before.start, np.concatenate([before.x, lower.x]), np.concatenate([before.n, lower.n]))
    rates = [learned(minutes.hours(), MONDAY + days * DAY_S)[1].rate for days in (0, 1, 2, 4)]
    shares = [(0.03 - rate) / 0.0012 for rate in rates]
    assert shares == pytest.approx([0.0, 0.5, 0.75, 0.94], abs=0.12)


def test_an_outage_that_nobody_named_hardly_moves_the_level() -> None:
    minutes = stream(36)
    k = len(minutes.x) - 2 * 1440 - 6 * 60
    _, level = learned(minutes.hours(), MONDAY + HOUR_S)
    _, after = learned(minutes.but(k, k + 120, 0.2).hours(), MONDAY + HOUR_S)
    assert after.rate == pytest.approx(level.rate, rel=0.01), "two hours at -80 % would be -4.6 % of the level"


def test_drift_is_the_margins_business_and_noise_within_a_day_the_dispersions() -> None:
    clean = norm_at(stream(36), NOON)[1]
    drifting = norm_at(stream(36, rate=lambda at: 0.03 * (1 - 0.01 * (at - MONDAY) / DAY_S)), NOON)[1]
    wild = norm_at(stream(36, noise=wandering(0.04)), NOON)[1]
    assert clean.margin < 0.012
    assert drifting.margin > clean.margin + 0.005
    assert clean.phi[0] < 1.3
    assert drifting.phi[0] < 1.6
    assert wild.phi[0] > 4.0
    assert wild.phi[-1] < 2.5, "three in five less shows in minutes, where this noise is small"


def test_busy_hours_are_noisier() -> None:
    def visits(at: np.ndarray) -> np.ndarray:
        return np.where((at % DAY_S) // HOUR_S < 12, 500.0, 3000.0)

    minutes = stream(36, visits=visits, noise=wandering(0.04))
    quiet, busy = norm_at(minutes, MONDAY + 7 * HOUR_S)[1], norm_at(minutes, MONDAY + 19 * HOUR_S)[1]
    assert busy.phi[0] > 2 * quiet.phi[0]


# -- what widens -------------------------------------------------------------------------------------------------------


def test_the_margin_is_the_policys_own_or_learned_and_always_counts_what_the_baseline_does_not_know() -> None:
    assert baselines.margin_of(RULE, 0.02, 0.01, Worse.LOWER) == pytest.approx(0.025 + 0.02)
    assert baselines.margin_of(RULE, 0.0, 0.0, Worse.LOWER) == 0.005
    assert baselines.margin_of(RULE, 1.0, 0.0, Worse.LOWER) == 0.05
    assert baselines.margin_of(replace(RULE, least_margin=0.01), 0.0, 0.0, Worse.LOWER) == 0.01
    assert baselines.margin_of(replace(RULE, margin=0.02), 0.04, 0.01, Worse.LOWER) == pytest.approx(0.02 + 0.02)
    assert baselines.margin_of(RULE, 0.0, 5.0, Worse.LOWER) == 0.9
    assert baselines.control_margin(RULE) == 0.01
    assert baselines.control_margin(replace(RULE, margin=0.03)) == 0.03
    assert baselines.control_margin(replace(RULE, least_margin=0.02)) == 0.02


def test_little_history_says_so_and_is_wider() -> None:
    margins, words = [], []
    for days in (0.1, 0.5, 2, 5, 16, 30):
        minutes = stream(days + 2, end=MONDAY + 2 * DAY_S)
        at = minutes.start + days * DAY_S + 2 * HOUR_S
        hours = minutes.hours()
        profile, level = learned(hours, at)
        margins.append(norm_at(minutes, at)[1].margin)
        found = baselines.little(profile, HISTORY_S)
        words.append(history_words(found) if found is not None else "")
        assert level.rate == pytest.approx(0.03, rel=0.05)
    assert margins[0] > margins[1] > margins[3] > margins[4]
    assert margins[0] > 0.1
    assert margins[4:] == pytest.approx([0.01, 0.01], abs=0.004)
    assert words[0] == "learned from 3 h of history; the hours of the day are not known yet, so its margin is wider"
    assert words[2] == "learned from 47 h of history; the days of the week are not known yet, so its margin is wider"
    assert words[3].startswith("learned from 5 days of history; the days of the week")
    assert words[5] == ""


def test_no_history_is_no_baseline() -> None:
    assert baselines.learn(Hours(MONDAY, [], []), MONDAY, HISTORY_S, UTC) is None
    nothing = [math.nan] * 48
    assert baselines.learn(Hours(MONDAY - 2 * DAY_S, nothing, nothing), MONDAY, HISTORY_S, UTC) is None
    assert baselines.since_of(Hours(MONDAY - 2 * DAY_S, nothing, nothing), MONDAY, HISTORY_S) is None
    assert baselines.learn(Hours(MONDAY - DAY_S, [0.0] * 24, [0.0] * 24), MONDAY, HISTORY_S, UTC) is None


def test_what_never_happened_has_a_baseline_all_the_same() -> None:
    hours = Hours(MONDAY - 10 * DAY_S, [0.0] * 240, [100.0] * 240)
    profile, level = learned(hours, MONDAY)
    p, norm = baselines.norm_of(profile, level, (), RULE, Worse.HIGHER, 12.0)
    assert 0 < p < 1e-3
    assert norm.margin > 0.5, "half an event is all that is known"
    assert all(math.isfinite(phi) for phi in norm.phi)


def _ever(minutes: int, streams: int, error: bool) -> float:
    """The share of healthy streams, each judged by its own one hour of history, whose product from a known start ever
    reaches 20. Two hours in: the hour learned from ended an hour ago."""
    rng = np.random.default_rng(5)
    visits, p = 2000, 0.03
    total = np.zeros((streams, COUNT))
    ever = np.zeros(streams, dtype=bool)
    ratios = np.empty((streams, COUNT, 2))
    phis = np.empty((streams, COUNT))
    for k in range(streams):
        x = float(rng.binomial(60 * visits, p))
        hours = Hours(MONDAY + 9 * HOUR_S, [x], [60.0 * visits])
        profile, level = learned(hours, MONDAY + 11 * HOUR_S)
        known = math.sqrt(level.variance) if error else 0.0  # counts alone: not the hours that were not seen yet
        margin = baselines.margin_of(replace(RULE, margin=0.0), 0.0, known, Worse.LOWER)
        pb = bounded(Worse.LOWER, baselines.rate_at(profile, level, 11.0), margin)
        phis[k] = 1.0
        for j, drop in enumerate(ALTERNATIVES[Worse.LOWER]):
            p1 = (1 - drop) * pb
            ratios[k, j] = math.log(p1 / pb), math.log1p((pb - p1) / (1 - pb))
    for _ in range(minutes):
        drawn = rng.binomial(visits, p, streams)[:, None]
        total += (drawn * ratios[:, :, 0] + (visits - drawn) * ratios[:, :, 1]) / phis
        ever |= np.log(np.exp(np.minimum(total, 50)).mean(axis=1)) >= math.log(20)
    return float(ever.mean())


def test_an_hour_of_history_is_enough_to_be_safe_because_its_error_is_counted() -> None:
    """Two standard errors keep P(E >= 20) at what it is with a known baseline, 5 %; without them it is several times
    that."""
    streams = 2000 if CAMPAIGN else 500
    safe, unsafe = _ever(720, streams, True), _ever(720, streams, False)
    assert safe <= (0.061 if CAMPAIGN else 0.08)
    assert unsafe > 0.15


def test_the_very_likelihood_of_the_simulation_is_the_detectors() -> None:
    found = steps(Worse.LOWER, 50.0, 2000.0, 0.03, Norm(0.0, (1.0,)), winsor=1e9)
    for drop, each in zip(ALTERNATIVES[Worse.LOWER], found, strict=True):
        p1 = (1 - drop) * 0.03
        assert each == pytest.approx(50 * math.log(p1 / 0.03) + 1950 * math.log1p((0.03 - p1) / 0.97))


# -- laws --------------------------------------------------------------------------------------------------------------

hourly = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9000)), min_size=30, max_size=200).map(
    lambda found: ([float(min(x, n)) for x, n in found], [float(n) for _, n in found])
)


@settings(max_examples=40, deadline=None)
@example(([0.0] * 28 + [1.0, 0.0], [0.0] * 12 + [1.0] * 17 + [0.0]), 0, 8, random.Random(1))
@given(hourly, st.integers(0, 150), st.integers(1, 30), st.randoms(use_true_random=False))
def test_an_invalidated_stretch_might_as_well_not_have_been(
    found: tuple[list[float], list[float]], first: int, length: int, draw: random.Random
) -> None:
    x, n = found
    start = MONDAY - len(x) * HOUR_S
    stretch = Stretch(start + (first + 0.5) * HOUR_S, start + (first + length) * HOUR_S - 1, "an incident")
    inside = range(first, min(first + length, len(x)))
    gone_x = [math.nan if k in inside else each for k, each in enumerate(x)]
    gone_n = [math.nan if k in inside else each for k, each in enumerate(n)]
    wild_x = [float(draw.randrange(5000)) if k in inside else each for k, each in enumerate(x)]
    wild_n = [float(draw.randrange(5000, 9000)) if k in inside else each for k, each in enumerate(n)]
    at = MONDAY + 3 * HOUR_S
    never = baselines.learn(Hours(start, gone_x, gone_n), MONDAY, HISTORY_S, UTC)
    named = baselines.learn(Hours(start, wild_x, wild_n), MONDAY, HISTORY_S, UTC, (stretch,))
    assert named == never
    if named is not None and never is not None:
        level = baselines.follow(named, Hours(start, wild_x, wild_n), at, UTC, (stretch,))
        assert level == baselines.follow(never, Hours(start, gone_x, gone_n), at, UTC)


@settings(max_examples=25, deadline=None)
@given(hourly, st.sampled_from([2, 4, 16]))
def test_more_of_the_same_moves_nothing_and_is_known_better(
    found: tuple[list[float], list[float]], factor: int
) -> None:
    x, n = found
    start = MONDAY - len(x) * HOUR_S
    one = baselines.learn(Hours(start, x, n), MONDAY, HISTORY_S, UTC)
    many = baselines.learn(
        Hours(start, [factor * each for each in x], [factor * each for each in n]), MONDAY, HISTORY_S, UTC
    )
    assert (one is None) == (many is None)
    if one is not None and many is not None:
        assert many.level.variance <= one.level.variance
        assert many.hours == one.hours
        assert many.per_minute == pytest.approx(factor * one.per_minute)


def test_more_of_the_same_traffic_keeps_the_rate() -> None:
    minutes = stream(30, visits=300.0, rate=lambda at: 0.03 * week_shape(at))
    hours = minutes.hours()
    profile, level = learned(hours, NOON)
    four = Hours(hours.start, [4 * each for each in hours.x], [4 * each for each in hours.n])
    profile4, level4 = learned(four, NOON)
    for position in (3.0, 12.0, 110.0):
        rate = baselines.rate_at(profile, level, position)
        assert baselines.rate_at(profile4, level4, position) == pytest.approx(rate, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(hourly, st.integers(0, 23), st.integers(0, 200))
def test_what_comes_later_changes_nothing_that_was_learned(
    found: tuple[list[float], list[float]], hour: int, later: int
) -> None:
    """Hours younger than an hour, and all of the future, might hold anything: also how a level freezes."""
    x, n = found
    start = MONDAY - len(x) * HOUR_S + DAY_S
    at = MONDAY + hour * HOUR_S + 123.0
    known = max(0, round((hour_of(at) - HOUR_S - start) / HOUR_S))
    cut = Hours(start, x[:known], n[:known])
    more = Hours(start, [*x[:known], *([float(later)] * 50)], [*n[:known], *([300.0] * 50)])
    for hours in (cut, more):
        assert baselines.since_of(hours, hour_of(at), HISTORY_S) == baselines.since_of(cut, hour_of(at), HISTORY_S)
    one, two = (baselines.learn(hours, MONDAY, HISTORY_S, UTC) for hours in (cut, more))
    assert one == two
    if one is not None and two is not None:
        assert baselines.follow(one, cut, at, UTC) == baselines.follow(two, more, at, UTC)


def test_hours_kept_longer_than_needed_change_nothing() -> None:
    hours = stream(60).hours()
    late = Hours(hours.start + 20 * DAY_S, hours.x[480:], hours.n[480:])
    assert learned(hours, NOON) == learned(late, NOON)


def test_the_order_of_stretches_means_nothing_for_their_noise() -> None:
    minutes = stream(30, noise=wandering(0.04))
    hours = minutes.hours()
    found = [minutes.windows(MONDAY - k * 28 * HOUR_S - 2 * HOUR_S) for k in range(6)]
    stretches = [windows for windows in found if windows is not None]
    one = baselines.short_noise(hours, MONDAY, HISTORY_S, UTC, (), stretches)
    two = baselines.short_noise(hours, MONDAY, HISTORY_S, UTC, (), stretches[::-1])
    assert len(one) == 3
    assert [each.minutes for each in one] == [1.0, 5.0, 15.0]
    assert one == two
    spoilt = tuple(Stretch(windows.start, windows.start + 60, "a drill") for windows in stretches)
    assert baselines.short_noise(hours, MONDAY, HISTORY_S, UTC, spoilt, stretches) == ()


# -- the calendar ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "at"),
    [
        ("Europe/Berlin", 1_774_864_800.0),  # Monday 2026-03-30 10:00 UTC: the clocks went forward yesterday
        ("Europe/Berlin", 1_793_008_800.0),  # Monday 2026-10-26 10:00 UTC: back yesterday
        ("America/New_York", 1_773_064_800.0),  # Monday 2026-03-09 14:00 UTC
        ("Australia/Sydney", 1_775_433_600.0),  # Monday 2026-04-06 00:00 UTC: back yesterday, in autumn
    ],
)
def test_people_keep_their_hours_when_the_clocks_change_and_so_does_the_baseline(zone: str, at: float) -> None:
    """A rate that follows the local clock: after the change it is an hour off for UTC, and right for its own zone."""
    calendar = Calendar(zone)

    def rate(times: np.ndarray) -> np.ndarray:
        local = np.array([calendar.position(float(each)) or 0.0 for each in times[::60]])
        return 0.03 * (1 + 0.3 * np.sin(2 * np.pi * np.repeat(local, 60)[: len(times)] / 24))

    minutes = stream(30, rate=rate, end=at + HOUR_S)
    true = float(rate(np.array([at + 30.0] * 60))[0])  # of all of that hour
    own = learned(minutes.hours(), at, calendar=calendar)
    position, utc = calendar.position(at + 1800.0), UTC.position(at + 1800.0)
    assert position is not None
    assert utc is not None
    assert baselines.rate_at(*own, position) == pytest.approx(true, rel=0.02)
    plain = learned(minutes.hours(), at)
    assert abs(baselines.rate_at(*plain, utc) / true - 1) > 0.025


def test_last_week_is_hours_of_the_same_local_time_and_passes_over_what_was_invalidated() -> None:
    minutes = stream(30, rate=lambda at: 0.03 * (1 + 0.001 * np.floor((MONDAY + 2 * DAY_S - at) / WEEK_S)))
    hours = minutes.hours()
    rate, variance = baselines.week_before(hours, NOON, UTC) or (0.0, 0.0)
    assert rate == pytest.approx(0.03, rel=0.02)
    assert variance == pytest.approx(1 / (3 * 60 * 60), rel=0.1)
    gone = Stretch(NOON - WEEK_S - DAY_S, NOON - WEEK_S + DAY_S, "a sale")
    earlier = baselines.week_before(hours, NOON, UTC, (gone,))
    assert earlier == baselines.week_before(hours, NOON - WEEK_S, UTC)
    assert baselines.week_before(hours, NOON - 40 * DAY_S, UTC) is None


def test_a_baseline_beside_the_learned_one_takes_its_noise() -> None:
    minutes = stream(30, noise=wandering(0.04))
    profile, level = learned(minutes.hours(), NOON)
    p, own = baselines.norm_of(profile, level, (), RULE, Worse.LOWER, 12.0)
    fixed = baselines.norm_beside(profile, (), RULE, Worse.LOWER, 12.0, p)
    week = baselines.norm_beside(profile, (), RULE, Worse.LOWER, 12.0, p, 1e-4)
    assert fixed.phi == pytest.approx(own.phi, rel=0.1)
    assert fixed.margin <= own.margin
    assert week.margin > fixed.margin

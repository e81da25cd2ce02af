"""The noises of a scenario's world are what they say they are, measured; and the same whoever asks first."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_plays import START, play

from rollback_console.rehearse.noises import KINDS, Noises, Wander

DAY = 86_400.0
MINUTES = [START + 60.0 * minute for minute in range(14 * 1_440)]


def noises(kind: str, seed: int = 1) -> Noises:
    return Noises(kind, seed, "production/ranker", 15.0, START)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.floats(START - 30 * DAY, START + 3 * DAY), min_size=1, max_size=8))
def test_a_moment_has_one_answer_in_any_order(kind: str, moments: list[float]) -> None:
    one, other = noises(kind), noises(kind)
    told = {at: (one.traffic(at), one.share(at), one.seen(at)) for at in moments}
    assert told == {at: (other.traffic(at), other.share(at), other.seen(at)) for at in reversed(moments)}


def test_another_deployment_and_another_seed_are_another_noise() -> None:
    at = MINUTES[777]
    here = noises("mix").share(at)
    assert here != noises("mix", 2).share(at)
    assert here != Noises("mix", 1, "production/feed", 15.0, START).share(at)


def test_a_noise_that_is_none() -> None:
    with pytest.raises(ValueError, match="no noise pink: clean, season"):
        noises("pink")


def test_clean_is_clean() -> None:
    one = noises("clean")
    assert {(one.traffic(at), one.share(at), one.seen(at)) for at in MINUTES[:500]} == {(1.0, 1.0, True)}


def test_season_is_a_day_and_a_week() -> None:
    one = noises("season")
    traffic = [one.traffic(at) for at in MINUTES[:1_440]]
    assert (min(traffic), max(traffic)) == (pytest.approx(0.45, abs=0.01), pytest.approx(1.8, abs=0.01))
    days = [statistics.mean(one.share(at) for at in MINUTES[day * 1_440 : (day + 1) * 1_440 : 10]) for day in range(7)]
    swings = [max(one.share(at) for at in MINUTES[:1_440]) / days[0] - 1 for _ in (0,)]
    assert 0.05 < swings[0] < 0.17
    assert max(days) / min(days) - 1 < 0.065
    assert len({round(day, 6) for day in days}) > 5
    assert one.share(START) == pytest.approx(one.share(START + 7 * DAY))


def test_the_wander_is_what_an_autoregressive_process_is() -> None:
    """Unit variance everywhere, also in the middle between two knots, and a correlation of exp(-lag / memory)."""
    values = [
        wander.at(grain) for wander in (Wander(seed, 1_800.0, 15.0) for seed in range(40)) for grain in range(4_096)
    ]
    assert statistics.fmean(values) == pytest.approx(0.0, abs=0.05)
    assert statistics.pstdev(values) == pytest.approx(1.0, abs=0.04)
    middles = [Wander(seed, 1_800.0, 15.0).at(512) for seed in range(600)]
    assert statistics.pstdev(middles) == pytest.approx(1.0, abs=0.08)
    for lag in (4, 40, 120, 240):
        together = statistics.fmean(
            one * other for one, other in zip(values, values[lag:], strict=False)
        )  # across the seams of forty streams, which is 1 % of the pairs
        assert together == pytest.approx(math.exp(-lag * 15.0 / 1_800.0), abs=0.06)


def test_autocorrelated_wanders_by_four_per_cent() -> None:
    ones = [noises("autocorrelated", seed) for seed in range(8)]
    logs = [math.log(one.share(at)) for one in ones for at in MINUTES[::7]]
    assert statistics.pstdev(logs) == pytest.approx(math.hypot(0.04, 0.01), abs=0.004)


def test_overdispersed_counts_are_not_poisson() -> None:
    setups = {
        kind: play(f"world:\n  noise: {kind}\n  deployments: [{{name: a}}]\n") for kind in ("clean", "overdispersed")
    }
    ratios = {}
    for kind, setup in setups.items():
        first = int((START - 20 * 900) // 15)
        counts = [setup.world.growth(0, "visits_total", slot, slot + 4) for slot in range(first, first + 240, 4)]
        steps = [after - before for before, after in itertools.pairwise(counts)]  # the day's shape is not dispersion
        ratios[kind] = statistics.variance(steps) / 2 / statistics.fmean(counts)
    assert 0.6 < ratios["clean"] < 1.6
    assert ratios["overdispersed"] > 30.0


def test_bursts_come_twice_a_week_and_last() -> None:
    one = noises("bursty")
    factors = [one.traffic(at) for at in MINUTES]
    begins = [n for n, (before, after) in enumerate(itertools.pairwise(factors)) if before == 1.0 < after]
    assert 3 <= len(begins) <= 5
    bursting = [factor for factor in factors if factor != 1.0]
    assert all(1.5 <= factor <= 3.0 for factor in bursting)
    assert 20 <= len(bursting) / len(begins) <= 90


def test_jumps_hold_a_level_for_hours() -> None:
    one = noises("jumps")
    factors = [one.traffic(at) for at in MINUTES]
    stretches = [len(list(group)) for _, group in itertools.groupby(factors)][1:-1]
    assert all(2 * 60 <= minutes <= 7 * 60 for minutes in stretches)
    assert all(math.exp(-0.3) <= factor <= math.exp(0.3) for factor in factors)


def test_blips_are_short_and_rare() -> None:
    lengths, factors = [], []
    for seed in range(20):
        one = noises("blips", seed)
        shares = [one.share(at) for at in MINUTES]
        lengths += [len(list(group)) for low, group in itertools.groupby(shares, lambda share: share < 1.0) if low]
        factors += [share for share in shares if share < 1.0]
    assert 20 * 14 / 2 * 0.75 < len(lengths) < 20 * 14 / 2 * 1.25
    assert set(lengths) <= {2, 3, 4}
    assert 0.0 <= min(factors) < 0.1
    assert 0.4 < max(factors) <= 0.5


def test_gaps_are_two_per_cent_and_one_stretch_a_day() -> None:
    stretches, missing = [], 0
    for seed in range(10):
        one = noises("gaps", seed)
        seen = [one.seen(at) for at in MINUTES]
        runs = [len(list(group)) for there, group in itertools.groupby(seen) if not there]
        stretches += [run for run in runs if run >= 9]
        missing += sum(run for run in runs if run < 9)
    assert len(stretches) == pytest.approx(10 * 14, abs=14)
    assert all(9 <= run <= 64 for run in stretches)
    assert missing / (10 * len(MINUTES)) == pytest.approx(0.02, abs=0.003)


async def test_a_gap_is_a_gap_in_the_metrics() -> None:
    setup = play("world:\n  noise: gaps\n  deployments: [{name: a}]\n")
    world = setup.world
    seen = [world.exporter_alive(world.deployments[0], START - 60 * minute) for minute in range(1_440)]
    assert 0.02 < seen.count(False) / len(seen) < 0.09
    at = START - 60 * seen.index(False)
    assert (await setup.metrics.query("up", at))[0].points[0][1] == 0.0
    assert await setup.metrics.query("visits_total", at) == ()


def test_mix_drifts_by_half_a_per_cent_a_day() -> None:
    drifts = []
    for seed in range(30):
        one = noises("mix", seed)
        week = [
            statistics.median(one.share(START + 7 * DAY * n + 600.0 * k) for k in range(0, 1_008, 3)) for n in (-2, 2)
        ]
        drifts.append(math.log(week[1] / week[0]) / 28)
    assert statistics.median(abs(drift) for drift in drifts) == pytest.approx(0.005, abs=0.001)
    assert min(drifts) < 0 < max(drifts)

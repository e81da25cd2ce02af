"""The noise of counts: what is known of it is found again, whatever the order, and few bad blocks do not hide it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.dispersion import (
    Block,
    blocks_of,
    blocks_together,
    dispersion,
    excursions,
    measured,
    phi_at,
    variance_ratio,
)
from rollback_console.model.rules import EvidenceRule, Worse

squares = st.lists(st.floats(0.0, 1e6, allow_nan=False), min_size=1, max_size=60)


@given(squares, st.randoms(use_true_random=False))
def test_the_order_of_residuals_means_nothing(found: list[float], draw: object) -> None:
    mixed = list(found)
    draw.shuffle(mixed)  # type: ignore[attr-defined]
    assert variance_ratio(mixed) == pytest.approx(variance_ratio(found), rel=1e-9)


@given(squares, st.floats(1e-3, 1e3))
def test_noise_scales_with_its_residuals(found: list[float], factor: float) -> None:
    scaled = variance_ratio([factor * each for each in found])
    assert scaled == pytest.approx(factor * variance_ratio(found), rel=1e-6, abs=1e-9)


def test_no_residuals_say_nothing() -> None:
    with pytest.raises(ValueError, match="no residuals"):
        variance_ratio([])


def test_normal_residuals_are_as_noisy_as_they_should_be_and_few_bad_ones_do_not_count() -> None:
    rng = np.random.default_rng(7)
    normal = rng.normal(size=4000) ** 2
    assert variance_ratio(normal.tolist()) == pytest.approx(1.0, abs=0.05)
    spoilt = normal.copy()
    spoilt[:120] = 900.0  # 3 % of blocks thirty standard deviations off: their plain variance is 28
    assert variance_ratio(spoilt.tolist()) < 1.35


@pytest.mark.parametrize("rho", [0.0, 0.0005, 0.002, 0.01])
def test_a_beta_binomials_dispersion_is_recovered(rho: float) -> None:
    """Var / binomial var = 1 + (n - 1) rho, minute by minute independent: blocks of any length show the same. Where
    single minutes are far from normal (rho 0.01: rates between 1 and 6 %) the robust estimate reads a tenth less."""
    rng = np.random.default_rng(11)
    p, n, minutes = 0.03, 2000, 6000
    rates = np.full(minutes, p) if rho == 0.0 else rng.beta(p * (1 / rho - 1), (1 - p) * (1 / rho - 1), minutes)
    x = rng.binomial(n, rates).astype(float).tolist()
    expected = [n * p] * minutes
    phi = 1 + (n - 1) * rho
    for width, within in ((1, 0.12), (5, 0.15), (15, 0.25)):
        found = variance_ratio(blocks_of(x, expected, width, p))
        assert found == pytest.approx(phi, rel=within)


def test_an_ar1s_dispersion_is_recovered_at_every_block_length() -> None:
    """A rate that wanders (sd 4 %, time constant 30 min) shows the more the longer one adds up."""
    rng = np.random.default_rng(3)
    p, n, sd, tau, minutes = 0.03, 2000, 0.04, 30.0, 240 * 240
    keep = math.exp(-1 / tau)
    walk, value = np.empty(minutes), 0.0
    for k, shock in enumerate(rng.normal(0, sd * math.sqrt(1 - keep * keep), minutes).tolist()):
        value = keep * value + shock
        walk[k] = value
    x = rng.binomial(n, p * (1 + walk)).astype(float).tolist()
    for width in (1, 15, 60, 240):
        lags = np.arange(1, width)
        growth = 1 + 2 * float(((1 - lags / width) * keep**lags).sum())
        phi = 1 + n * p * sd * sd * growth / (1 - p)
        assert variance_ratio(blocks_of(x, [n * p] * minutes, width, p)) == pytest.approx(phi, rel=0.15)


def test_a_block_with_less_than_half_of_its_minutes_is_left_out() -> None:
    nan = math.nan
    assert len(blocks_of([1.0, nan, nan, 1.0, 1.0, nan], [1.0] * 6, 3, 0.1)) == 1
    assert blocks_of([nan, nan], [1.0, 1.0], 1, 0.1) == []
    assert measured(5.0, [1.0] * 5, 100.0) == ()


BLOCKS = (Block(1.0, 1.2, 300, 100.0), Block(15.0, 2.0, 40, 100.0), Block(240.0, 5.0, 90, 100.0))


@given(st.floats(0.5, 300.0), st.floats(1.0, 10_000.0))
def test_dispersion_is_at_least_one_and_grows_with_length_and_traffic(minutes: float, pace: float) -> None:
    here = phi_at(BLOCKS, minutes, pace)
    assert here >= 1.0
    assert phi_at(BLOCKS, minutes * 1.5, pace) >= here
    assert phi_at(BLOCKS, minutes, pace * 1.5) >= here
    assert phi_at(BLOCKS, minutes, pace) <= 1.0 + 3.0 * (phi_at(BLOCKS, minutes) - 1.0) + 1e-9


def test_dispersion_between_what_was_measured() -> None:
    assert phi_at((), 60.0) == 1.0
    assert phi_at(BLOCKS, 1.0) == pytest.approx(1.2)
    assert phi_at(BLOCKS, 15.0) == pytest.approx(2.0)
    assert 2.0 < phi_at(BLOCKS, 60.0) < 5.0
    assert phi_at(BLOCKS, 960.0) == pytest.approx(1 + 4 * 2.0), "beyond: with the root of the length"
    assert phi_at((Block(1.0, 0.6, 300, 100.0),), 1.0) == 1.0


@settings(max_examples=60)
@given(
    st.sampled_from(list(Worse)),
    st.floats(1e-5, 0.9),
    st.floats(0.0, 0.3),
    st.floats(0.1, 1e5),
    st.floats(5.0, 14.0),
)
def test_every_alternative_has_its_own_dispersion(
    worse: Worse, p: float, margin: float, pace: float, bar: float
) -> None:
    found = dispersion(worse, EvidenceRule(budget_s=60.0 * math.exp(bar)), p, margin, pace, BLOCKS)
    assert len(found) == 7
    assert all(1.0 <= phi <= 1.0 + 3.0 * 4.0 for phi in found)
    ordered = sorted(found, reverse=True)
    assert list(found) == pytest.approx(ordered, rel=1e-2), "small changes are looked for longer, where noise is larger"


def test_a_large_drop_is_judged_by_the_noise_of_minutes_a_small_one_by_that_of_hours() -> None:
    blocks = tuple(Block(each.minutes, each.phi, each.count, 2000.0) for each in BLOCKS)
    found = dispersion(Worse.LOWER, EvidenceRule(dwell_s=60.0), 0.03, 0.01, 2000.0, blocks)
    assert found[-1] < 1.3
    assert found[0] > 4.1
    waits = dispersion(Worse.LOWER, EvidenceRule(dwell_s=900.0), 0.03, 0.01, 2000.0, blocks)
    assert waits[-1] == pytest.approx(1.0 + 0.8 * 1.0), "what a dwell of 15 min adds up is as noisy as 15 min are"
    assert waits[0] == pytest.approx(found[0])


@given(st.floats(1.0, 40.0), st.floats(0.5, 40.0), st.floats(100.0, 20_000.0), st.floats(100.0, 20_000.0))
def test_blocks_of_minutes_are_no_quieter_than_those_of_hours_leave_them(
    hour: float, short: float, pace: float, before: float
) -> None:
    long = (Block(60.0, hour, 600, before), Block(240.0, hour, 150, before))
    found = blocks_together((Block(5.0, short, 72, pace), Block(15.0, short, 24, pace)), long)
    assert found[2:] == long
    for block in found[:2]:
        assert block.phi >= short
        assert block.phi == short or block.phi == pytest.approx(
            1.0 + (phi_at(long, 60.0, pace) - 1.0) * block.minutes / 60.0
        )
    assert blocks_together(found, ()) == found, "where no week is known yet, the hours stand"
    assert blocks_together((), long) == long


def test_excursions_that_recovered_by_themselves_are_measured() -> None:
    expected = [60.0] * 60
    x = [60.0] * 60
    x[5:8] = [20.0, 10.0, 30.0]  # three minutes
    x[20] = 25.0
    x[22] = 40.0  # one healthy minute within
    x[40:] = [10.0] * 20  # nobody has seen its end
    assert excursions(x, expected, Worse.LOWER, 60.0) == (180.0, 180.0)
    assert excursions(x, expected, Worse.HIGHER, 60.0) == ()
    assert excursions([120.0 - each for each in x], expected, Worse.HIGHER, 60.0) == (180.0, 180.0)


def test_an_incident_is_no_excursion_and_what_was_not_seen_is_none() -> None:
    long = [60.0] * 5 + [20.0] * 90 + [60.0] * 5
    assert excursions(long, [60.0] * 100, Worse.LOWER, 60.0) == ()
    assert excursions([60.0, 5.0, 60.0, 60.0, 60.0], [60.0] * 5, Worse.LOWER, 60.0) == (), "one window"
    gap = [60.0, 20.0, 20.0, math.nan, 60.0, 60.0]
    assert excursions(gap, [60.0] * 6, Worse.LOWER, 60.0) == ()
    assert excursions([55.0] * 6, [60.0] * 6, Worse.LOWER, 60.0) == (), "within a standard deviation"

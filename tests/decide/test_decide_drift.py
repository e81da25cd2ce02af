"""Drift between two histograms: what changed is found, what did not is not, however much traffic there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.drift import CHANCE, LARGE, MODERATE, compare, differences

BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, math.inf)


def scores(draw: np.random.Generator, count: int, mean: float = 0.5) -> list[float]:
    edges = [-math.inf, *BOUNDS]
    return [float(c) for c in np.histogram(draw.normal(mean, 0.2, count), bins=edges)[0]]


histograms = st.lists(st.integers(0, 5000).map(float), min_size=10, max_size=10)


@settings(max_examples=80, deadline=None)
@given(histograms)
def test_a_histogram_has_not_drifted_from_itself_nor_from_a_multiple_of_itself(counts: list[float]) -> None:
    for times in (1.0, 3.0):
        found = compare(BOUNDS, counts, [times * count for count in counts])
        assert found is None or (not found.drifted and found.psi < 1e-2)


@settings(max_examples=80, deadline=None)
@given(histograms, histograms)
def test_the_verdict_hangs_on_no_order_of_the_two_and_is_never_nonsense(one: list[float], two: list[float]) -> None:
    there, back = compare(BOUNDS, one, two), compare(BOUNDS, two, one)
    assert (there is None) == (back is None)
    if there is not None and back is not None:
        assert there.psi >= 0.0
        assert math.isfinite(there.psi)
        assert math.isfinite(there.deviations)
        assert there.psi == pytest.approx(back.psi, rel=1e-9, abs=1e-12)
        assert there.deviations == pytest.approx(back.deviations, rel=1e-9, abs=1e-9)


def test_healthy_traffic_does_not_drift_at_any_size() -> None:
    """Pairs of histograms of one population: the bar is one in a million by chance."""
    draw = np.random.default_rng(7)
    for count in (60, 200, 2_000, 20_000):
        pairs = range(40_000 // count + 20)
        found = [compare(BOUNDS, scores(draw, count), scores(draw, 3 * count)) for _ in pairs]
        assert sum(each is not None and each.drifted for each in found) == 0


@pytest.mark.parametrize(("shift", "word"), [(0.08, "moderate"), (0.15, "large")])
def test_a_shift_of_the_scores_is_found_and_named(shift: float, word: str) -> None:
    draw = np.random.default_rng(3)
    found = compare(BOUNDS, scores(draw, 20_000), scores(draw, 2_000, 0.5 + shift))
    assert found is not None
    assert found.drifted
    assert found.words.startswith(f"{word} drift (stability index 0.")
    assert (found.psi >= LARGE) == (word == "large")


def test_a_tiny_shift_is_no_drift_however_certain() -> None:
    draw = np.random.default_rng(3)
    found = compare(BOUNDS, scores(draw, 2_000_000), scores(draw, 2_000_000, 0.51))
    assert found is not None
    assert found.deviations > CHANCE
    assert found.psi < MODERATE
    assert not found.drifted
    assert found.words.startswith("no drift")


def test_few_observations_say_nothing_and_sparse_buckets_join() -> None:
    assert compare(BOUNDS, [10.0] * 10, [1.0] * 10) is None
    assert compare(BOUNDS, [500.0, *[0.0] * 9], [700.0, *[0.0] * 9]) is None, "one bucket cannot drift"
    found = compare(BOUNDS, [500.0, 500.0, *[0.5] * 8], [400.0, 100.0, *[1.0] * 8])
    assert found is not None
    assert found.buckets == 2
    assert found.moved == pytest.approx((0.1, 0.498, 0.787), abs=0.01)


def test_counts_from_prometheus_buckets() -> None:
    assert differences((1.0, 2.0, math.inf), (5.0, 9.0, 9.0)) == (5.0, 4.0, 0.0)
    assert differences((1.0, 2.0, math.inf), (5.0, 4.9, 9.0)) == (5.0, 0.0, 4.0), "extrapolation may cross"
    with pytest.raises(ValueError, match="bounds"):
        differences((1.0,), (1.0, 2.0))
    with pytest.raises(ValueError, match="rise"):
        differences((2.0, 1.0), (1.0, 2.0))
    with pytest.raises(ValueError, match="counts"):
        compare((1.0,), (1.0,), (1.0, 2.0))
    with pytest.raises(ValueError, match="finite"):
        compare((1.0, 2.0), (1.0, math.nan), (1.0, 2.0))

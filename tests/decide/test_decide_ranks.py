"""Quantities judged by rank: a bound that history rarely passed, orders above the median, requests over a target."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollback_console.decide.ranks import beyond, bound_of
from rollback_console.model.rules import Worse

samples = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=2, max_size=80)


@given(samples, st.sampled_from(list(Worse)), st.floats(0.05, 0.5))
def test_about_a_share_of_history_lies_beyond_its_bound(found: list[float], worse: Worse, share: float) -> None:
    bound = bound_of(found, worse, share)
    if len(set(found)) == 1:
        assert bound is None
        return
    assert bound in found
    x, n = beyond(found, bound or 0.0, worse)
    assert n == len(found)
    assert x <= share * n + 1e-9, "never more: ties count as not beyond"
    assert len(set(found)) < len(found) or x > share * n - 1


@given(samples, st.sampled_from(list(Worse)), st.randoms(use_true_random=False))
def test_the_order_of_samples_and_a_change_of_unit_mean_nothing(
    found: list[float], worse: Worse, draw: random.Random
) -> None:
    mixed = list(found)
    draw.shuffle(mixed)
    bound = bound_of(found, worse)
    assert bound_of(mixed, worse) == bound
    if bound is not None:
        assert bound_of([4.0 * each for each in found], worse) == 4.0 * bound
        assert beyond([4.0 * each for each in found], 4.0 * bound, worse) == beyond(mixed, bound, worse)


def test_one_absurd_sample_counts_like_any_bad_one() -> None:
    history = [float(k % 10) for k in range(100)]
    bound = bound_of(history, Worse.HIGHER)
    assert bound == 7.0
    assert beyond([1.0, 9.0, 8.0], bound, Worse.HIGHER) == beyond([1.0, 9e9, math.inf], bound, Worse.HIGHER) == (2, 3)
    assert beyond([math.nan, 9.0], bound, Worse.HIGHER) == (1, 1)


def test_what_no_bound_can_be_taken_of() -> None:
    assert bound_of([], Worse.LOWER) is None
    assert bound_of([math.nan, math.inf], Worse.LOWER) is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        bound_of([1.0, 2.0], Worse.LOWER, 0.0)

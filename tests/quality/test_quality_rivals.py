"""The yardstick itself: noises as specified, rivals as their documents say, counts and intervals as they should be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quality.intervals import NEVER, clusters, quantile, rate, share
from quality.kayenta import RUN, kayenta, low
from quality.noises import DAY, NOISES, RATE, Stream, degraded, draw, without
from quality.rivals import Expects, Facts, argo, cusum, ewma, facts_of, flagger, prometheus


def _steady(minutes: int, ratios: dict[range, float | None]) -> tuple[Stream, Facts]:
    """2,000 visits a minute at exactly 3 %; elsewhere the ratio given, None for minutes that are missing."""
    n, x = np.full(minutes, 2000.0), np.full(minutes, 2000 * RATE)
    seen = np.ones(minutes, dtype=bool)
    for where, value in ratios.items():
        seen[list(where)] = value is not None
        x[list(where)] = 2000 * (value or 0.0)
    stream = Stream("steady", 2000, 0, n, x, seen, n.copy(), np.full(minutes, 2000 * RATE))
    return stream, Facts(np.full(minutes, RATE), RATE, 1.0)


LOW = RATE * 0.5


# -- noises ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", NOISES)
def test_a_stream_is_a_function_of_its_seed_and_keeps_the_rate(noise: str) -> None:
    one, again, other = draw(noise, 2000, 1), draw(noise, 2000, 1), draw(noise, 2000, 2)
    assert (one.x == again.x).all()
    assert (one.n == again.n).all()
    assert not (one.x == other.x).all()
    assert len(one) == 44 * DAY
    assert abs(one.x.sum() / one.n.sum() / RATE - 1) < 0.12


def test_the_noises_have_the_size_that_the_design_gives() -> None:
    clean, season, walk, gaps = (draw(noise, 2000, 3) for noise in ("clean", "season", "autocorrelated", "gaps"))
    z = (clean.x - clean.n * RATE) / np.sqrt(clean.n * RATE * (1 - RATE))
    assert abs(float(np.std(z)) - 1) < 0.02
    by_hour = season.n.reshape(-1, 60).mean(axis=1)
    assert by_hour.max() / by_hour.min() == pytest.approx(1.8 / 0.45, rel=0.05)
    noisy = (walk.x / walk.n).reshape(-1, 10).mean(axis=1) / RATE - 1
    sampling = math.sqrt((1 - RATE) / (RATE * 20_000))
    assert 0.03 < math.sqrt(float(np.var(noisy)) - sampling**2) < 0.05  # 4 % and 1 % by day, smoothed over 10 min
    missing = 1 - float(gaps.seen.mean())
    assert 0.02 + 10 / DAY < missing < 0.02 + 60 / DAY
    blips = draw("blips", 2000, 3)
    low_minutes = float((blips.x < 0.5 * blips.n * RATE).sum())
    assert 0.5 < low_minutes / (44 / 2 * 3) < 2.0  # one in two days, of three minutes


def test_a_lag_loses_no_conversion_but_the_last_ones() -> None:
    lag = draw("lag", 2000, 5)
    assert lag.lagged
    assert lag.x[DAY:].sum() / lag.n[DAY:].sum() == pytest.approx(RATE, rel=0.12)


def test_a_degradation_takes_its_share_from_its_onset_on() -> None:
    healthy = draw("clean", 2000, 7)
    worse = degraded(healthy, 20 * DAY, 0.3)
    assert (worse.x[: 20 * DAY] == healthy.x[: 20 * DAY]).all()
    assert worse.x[20 * DAY : 21 * DAY].sum() / healthy.x[20 * DAY : 21 * DAY].sum() == pytest.approx(0.7, rel=0.01)
    assert (worse.x[21 * DAY :] == healthy.x[21 * DAY :]).all()
    assert without(healthy, 0.5).seen.mean() == pytest.approx(0.5, abs=0.02)


# -- rivals ------------------------------------------------------------------------------------------------------------


def test_prometheus_fires_at_the_first_evaluation_with_for_behind_it_and_starts_over_at_a_gap() -> None:
    rule = prometheus(5, 10, Expects.LEARNED)
    stream, facts = _steady(300, {range(100, 200): LOW})
    fired = np.flatnonzero(rule(stream, facts, 20, 300)) + 20
    # One minute of five at half the rate is exactly 10 % below: the condition holds from the second on.
    assert fired[0] == 101 + 10
    assert fired[-1] == 202  # five minutes: at 203 two of them are still bad, at 204 one
    stream, facts = _steady(300, {range(100, 105): LOW, range(105, 112): None, range(112, 119): LOW})
    assert not rule(stream, facts, 20, 300).any()


def test_argo_counts_failures_over_the_whole_run_and_aborts_on_errors() -> None:
    apart = {range(60 * k, 60 * k + 5): LOW for k in range(2, 6)}  # four failed measurements, an hour apart
    stream, facts = _steady(600, {range(k.start + 1, k.stop + 1): v for k, v in apart.items()})
    assert np.flatnonzero(argo(None)(stream, facts, 20, 600)).tolist() == [5 * 60 + 5 - 20]
    assert not argo(40)(stream, facts, 20, 600).any()
    stream, facts = _steady(600, {range(100, 140): None})
    fired = np.flatnonzero(argo(None)(stream, facts, 20, 600)) + 20
    assert fired.tolist() == [125]  # empty at 105, 110, 115, 120 and 125: the fifth in a row


def test_flagger_counts_what_it_cannot_read_as_failed() -> None:
    stream, facts = _steady(300, {range(100, 112): None})
    fired = np.flatnonzero(flagger(1)(stream, facts, 60, 300)) + 60
    assert fired.tolist() == [110]  # ten failed checks, and the next interval rolls back
    stream, facts = _steady(300, {range(100, 109): LOW})
    assert not flagger(1)(stream, facts, 60, 300).any()


def test_kayenta_judges_an_hour_by_the_interval_of_the_shift() -> None:
    rng = np.random.default_rng(1)
    control = rng.normal(1.0, 0.1, 60)
    assert low(control - 0.2, control)
    assert not low(control + 0.2, control)
    assert not low(control.copy(), control)
    assert not low(np.full(60, np.nan), control)
    lows = sum(low(rng.normal(1, 0.1, 60), rng.normal(1, 0.1, 60)) for _ in range(2000))
    assert lows <= 40  # 1 % a side where nothing is different, and less by the tolerance
    stream, facts = _steady(10 * RUN, {range(200, 500): LOW})
    assert (np.flatnonzero(kayenta(stream, facts, RUN, 10 * RUN)) + RUN).tolist() == [240, 300, 360, 420, 480]


def test_the_charts_have_their_textbook_run_lengths() -> None:
    rng = np.random.default_rng(2)
    minutes = 400_000
    n = np.full(minutes, 2_000_000.0)
    x = np.round(n * RATE + rng.normal(0, 1, minutes) * np.sqrt(n * RATE * (1 - RATE)))
    stream = Stream("normal", 2_000_000, 0, n, x, np.ones(minutes, dtype=bool), n, x)
    facts = Facts(np.full(minutes, RATE), RATE, 1.0)
    alarms = int(cusum(0.5, 5.0)(stream, facts, 60, minutes).sum())
    assert minutes / alarms == pytest.approx(938, rel=0.12)  # one-sided ARL of k 0.5, h 5 (Siegmund's approximation)
    beyond = float(ewma(0.2, 3.0)(stream, facts, 60, minutes).mean())
    assert beyond == pytest.approx(0.00135, rel=0.25)  # a normal's share beyond three standard deviations


def test_what_a_rule_may_know_is_measured_on_the_history() -> None:
    stream = draw("clean", 2000, 9)
    facts = facts_of(stream, np.full(len(stream), RATE))
    assert facts.flat == pytest.approx(RATE, rel=0.01)
    assert facts.scale == pytest.approx(1.0, abs=0.02)


# -- counting ----------------------------------------------------------------------------------------------------------


def test_exceedances_within_two_hours_are_one_event() -> None:
    flags = np.zeros(1000, dtype=bool)
    flags[[10, 20, 139, 258, 400]] = True
    assert clusters(flags) == [10, 400]
    assert clusters(np.zeros(5, dtype=bool)) == []


def test_intervals_are_the_published_ones() -> None:
    ten = rate(10, 1)
    assert ten.low == pytest.approx(4.795, abs=2e-3)  # Garwood 1936
    assert ten.high == pytest.approx(18.39, abs=1e-2)
    assert rate(0, 10).high == pytest.approx(0.3689, abs=1e-3)
    some = share(8, 40)
    assert some.low == pytest.approx(0.0905, abs=1e-3)
    assert some.high == pytest.approx(0.3565, abs=1e-3)
    delays = [*map(float, range(1, 100)), NEVER]
    assert quantile(delays, 0.5).value == 50
    assert quantile(delays, 0.95).high == NEVER

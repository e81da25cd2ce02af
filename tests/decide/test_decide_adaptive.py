"""The adaptive dwell: longer where blips are many and false rollbacks dear, shorter where incidents are."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.adaptive import Stakes, adaptive_dwell, survival
from rollback_console.model.rules import AdaptiveDwell

BOUNDS = AdaptiveDwell(120.0, 1800.0)
DAY = 86_400.0
lengths = st.lists(st.floats(10.0, 3_600.0), min_size=1, max_size=40)
stakes = st.builds(Stakes, st.floats(1.0, 1e6), st.floats(0.01, 1e6))


def test_the_rule_by_hand() -> None:
    """28 days, 56 blips of 2.5 minutes and 28 of 4.5: at D = 2 a minute more spares 2 a day, at D = 3 none, so the
    literal smallest D at which waiting does not pay is 3 or 2, by what an incident's minute costs."""
    blips = [150.0] * 56 + [270.0] * 28
    per_minute = 56 / (28 * 1440) * 500.0  # spared by waiting from 2 to 3 minutes, at 500 a false rollback
    dear = Stakes(500.0, loss_per_minute=1.0, incidents_per_minute=per_minute * 1.01)
    cheap = replace(dear, incidents_per_minute=per_minute * 0.99)
    assert adaptive_dwell(BOUNDS, blips, 28 * DAY, dear) == 120.0
    assert adaptive_dwell(BOUNDS, blips, 28 * DAY, cheap) == 180.0


def test_without_costs_it_outlasts_nearly_all_blips() -> None:
    assert adaptive_dwell(BOUNDS, [60.0] * 19 + [400.0], 28 * DAY) == 400.0
    assert adaptive_dwell(BOUNDS, [60.0] * 99 + [400.0], 28 * DAY) == 180.0, "no less than three minutes"
    assert adaptive_dwell(BOUNDS, [3_000.0] * 5, 28 * DAY) == 900.0, "no more than fifteen"
    assert adaptive_dwell(AdaptiveDwell(120.0, 300.0), [3_000.0] * 5, 28 * DAY) == 300.0, "nor than the policy's own"


def test_where_nothing_is_known_it_is_what_the_policy_begins_with() -> None:
    assert adaptive_dwell(BOUNDS, [], 28 * DAY) == 300.0
    assert adaptive_dwell(BOUNDS, [], 28 * DAY, Stakes(1e9, 1.0), 420.0) == 420.0


@settings(max_examples=200, deadline=None)
@given(lengths, stakes, st.floats(1.0, 100.0))
def test_more_at_stake_never_waits_longer(blips: list[float], at_stake: Stakes, factor: float) -> None:
    found = adaptive_dwell(BOUNDS, blips, 28 * DAY, at_stake)
    assert BOUNDS.from_s <= found <= BOUNDS.to_s
    dearer = replace(at_stake, loss_per_minute=at_stake.loss_per_minute * factor)
    assert adaptive_dwell(BOUNDS, blips, 28 * DAY, dearer) <= found
    riskier = replace(at_stake, false_rollback=at_stake.false_rollback * factor)
    assert adaptive_dwell(BOUNDS, blips, 28 * DAY, riskier) >= found


@settings(max_examples=200, deadline=None)
@given(lengths, stakes)
def test_one_minute_more_does_not_pay_at_the_dwell_and_pays_before_it(blips: list[float], at_stake: Stakes) -> None:
    found = adaptive_dwell(BOUNDS, blips, 28 * DAY, at_stake)
    loses = at_stake.incidents_per_minute * at_stake.loss_per_minute

    def saves(dwell: float) -> float:
        ended = survival(blips, dwell) - survival(blips, dwell + 60.0)
        return len(blips) / (28 * 1440) * ended * at_stake.false_rollback

    assert found == BOUNDS.to_s or saves(found) <= loses * (1 + 1e-6)
    if found > BOUNDS.from_s:
        assert saves(found - 60.0) >= loses * (1 - 1e-6)

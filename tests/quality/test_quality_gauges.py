"""A gauge judged by rank: few false alarms however its noise resembles itself, and a doubling is seen."""

from __future__ import annotations

import math

import pytest

from quality.gauges import GaugeMonth, draw, judge, missed, table
from quality.noises import DAY


@pytest.mark.parametrize(("noise", "within"), [("independent", 20.0), ("tau 30 min", 600.0)])
def test_no_false_alarm_in_a_few_days_and_a_doubling_is_seen(noise: str, within: float) -> None:
    found = [judge((noise, seed, 4 * DAY)) for seed in (1, 2)]
    assert not any(month.fires for month in found)
    for month in found:
        assert month.delays[2] <= within
        assert month.delays[1] <= month.delays[0], "a larger rise is never seen later"


def test_a_stream_is_its_seed() -> None:
    assert (draw("tau 10 min", 3, 100) == draw("tau 10 min", 3, 100)).all()
    assert (draw("tau 10 min", 3, 100) != draw("tau 10 min", 4, 100)).any()


def test_the_table_says_what_was_found_and_what_was_missed() -> None:
    months = [GaugeMonth("independent", (), (30.0, 7.0, 7.0)), GaugeMonth("independent", (), (math.inf, 9.0, 7.0))]
    text = table(months)
    assert "| independent | 0.00 (0.00 to 1.84), 2 streams | 30 / not in a day | 7 / 9 | 7 / 7 |" in text
    assert missed(months) == []
    assert missed([GaugeMonth("wandering", tuple(range(0, 9000, 500)), ())]) == ["gauges: wandering"]

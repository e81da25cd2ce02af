"""Healthy deployments under the shares of one rotation's budget: a part of `python -m tests.quality.fleet_month`."""

from __future__ import annotations

import os

import pytest

from quality.fleet_month import DEPLOYMENTS, PER_WEEK, SEED, Swift, fleet, month, report, run
from quality.noises import DAY, draw
from quality.ours import Watch
from rollback_console.decide.budget import WEEK_S

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))


def test_the_shares_of_the_simulated_rotation_sum_to_its_budget() -> None:
    jobs = fleet(DEPLOYMENTS, PER_WEEK, SEED)
    assert sum(WEEK_S / job.budget_s for job in jobs) == pytest.approx(PER_WEEK)
    assert min(job.budget_s for job in jobs) > 365 * 86_400.0, "a share of a thousandth is a bar of years"


def test_four_rates_an_hour_are_the_sixty() -> None:
    stream = draw("mix", 800.0, 5, judged=DAY)
    watch, swift = Watch(stream), Swift(stream)
    for i in range(stream.history, len(stream), 7):
        assert swift.norm(i)[0] == pytest.approx(watch.norm(i)[0], rel=1e-12)
        assert swift.norm(i)[1] == watch.norm(i)[1]


def test_healthy_deployments_stay_within_the_rotations_budget() -> None:
    """Reduced: with twelve of the thousand for four days, one single false alarm would be forty times the budget."""
    if CAMPAIGN:
        found = run(DEPLOYMENTS, PER_WEEK, SEED, 2)
        assert sum(result.full for result in found) <= PER_WEEK * 30 / 7
    else:
        found = [month(job, days=4) for job in fleet(DEPLOYMENTS, PER_WEEK, SEED)[::84]]
        assert sum(result.full for result in found) == 0
    assert all(result.alone <= result.full for result in found)
    assert "evidence full" in report(found, PER_WEEK)


def test_what_degrades_is_still_seen_under_a_share_of_a_thousandth() -> None:
    job = max(fleet(DEPLOYMENTS, PER_WEEK, SEED), key=lambda each: each.visits)
    assert month(job, days=2, drop=0.3).full > 0

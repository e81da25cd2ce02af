"""What a drill was worth, and what its world truly lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from rollback_console.cli.rehearse import headless_drill
from rollback_console.clock import VirtualClock
from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse.cost import losses, lost, onset
from rollback_console.rehearse.demo import demo_truth, demo_world
from rollback_console.rehearse.desk import Act
from rollback_console.rehearse.fleet import Effect, Fault, FaultKind, Flip, SimulatedDeployment
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.score import DrillResult, Scorer
from rollback_console.rehearse.truth import Truth
from rollback_console.rehearse.world import World

SHOP = DeploymentId("production", "shop")
START = 1_780_000_200.0
CHECKOUT = DeploymentId("production", "checkout-ranker")


def shop(*faults: Fault) -> World:
    """A fake shop of one deployment, 1,000 visits a minute at its peak."""
    one = SimulatedDeployment(SHOP, "shop", "champion", 1000.0, 0.5, 2.0, 0.05)
    flips = (Flip(START - 86_400.0, "shop", "champion", "1"),)
    return World(1, VirtualClock(START), (one,), flips, faults)


def test_nothing_is_lost_where_nothing_is_wrong() -> None:
    assert lost(shop(), START, START + 3600.0) == 0.0
    assert onset(shop(), SHOP, START) == START


def test_a_loss_is_the_share_of_what_was_expected() -> None:
    fault = Fault(FaultKind.DEPLOYMENT, str(SHOP), START + 60.0, START + 120.0, Effect(conversion=0.8, volume=0.9))
    world = shop(fault)
    visits = sum(world.expected_visits(0, START + 60.0 + 15.0 * slot) / 4.0 for slot in range(4))
    expected = visits * 0.5 * 2.0 * (1.0 - 0.72)
    assert lost(world, START, START + 600.0) == pytest.approx(expected)
    assert lost(world, START + 60.0, START + 90.0) + lost(world, START + 90.0, START + 120.0) == pytest.approx(expected)
    assert losses(world, START, START + 600.0) == {SHOP: pytest.approx(expected)}


def test_part_of_a_slot_costs_its_part() -> None:
    world = shop(Fault(FaultKind.DEPLOYMENT, str(SHOP), START - 600.0, None, Effect(conversion=0.5)))
    whole, part = lost(world, START, START + 15.0), lost(world, START + 5.0, START + 8.0)
    assert part == pytest.approx(whole / 5.0)


def test_what_the_counters_lost_is_what_was_told() -> None:
    """The world's own revenue, with its noise, beside the same world without the fault: the same loss within noise."""
    fault = Fault(FaultKind.DEPLOYMENT, str(SHOP), START, None, Effect(conversion=0.7))
    first, last = int(START // 15.0), int(START // 15.0) + 4000
    grown = [world.growth(0, "revenue_total", first, last) / 100.0 for world in (shop(), shop(fault))]
    told = lost(shop(fault), START, START + 4000 * 15.0)
    assert grown[0] - grown[1] == pytest.approx(told, rel=0.02)


def test_an_onset_is_where_the_effect_began() -> None:
    world = shop(Fault(FaultKind.DEPLOYMENT, str(SHOP), START - 90.0, None, Effect(conversion=0.7), over_s=60.0))
    assert onset(world, SHOP, START) == START - 75.0  # at its very beginning a ramp is still nothing


@pytest.fixture(scope="module")
def perfect(tmp_path_factory: pytest.TempPathFactory) -> DrillResult:
    path: Path = tmp_path_factory.mktemp("score") / "journal.db"
    return asyncio.run(headless_drill(find("demo"), "perfect", 7, path))[0]


def test_the_best_drill_says_what_it_cost(perfect: DrillResult) -> None:
    assert perfect.passed
    assert 0.0 < perfect.unavoidable < perfect.cost
    assert perfect.cost_unit == "USD"
    assert perfect.cost_elsewhere > perfect.cost, "four deployments burn upstream, and nobody could help them"
    assert perfect.within_standard is True
    seconds = [at for _, at in perfect.times]
    assert None not in seconds
    assert seconds == sorted(at for at in seconds if at is not None)
    assert perfect.bands == dict(demo_truth().bands.limits)
    assert perfect.path == "version"
    assert any("checkout-ranker: opened" in each for each in perfect.evidence_used)
    assert (perfect.klass, len(perfect.policy)) == ("release", 64)


def test_a_part_that_took_longer_than_its_band_does_not_pass(perfect: DrillResult) -> None:
    truth = demo_truth()
    slow = replace(truth, bands=replace(truth.bands, recover_s=300.0))
    acts = [Act(10.0, "plan", CHECKOUT, "7"), Act(10.0, "execute", CHECKOUT, "7")]
    result = Scorer(slow).result("demo", 1, "somebody", acts, 60.0)
    assert not result.passed
    assert result.decision == "right"
    assert result.failed_because == ("the rollback was not confirmed by the signals",)
    assert result.bands["recover"] == 300.0


def test_leaving_alone_is_right_where_nothing_can_be_mended() -> None:
    truth = Truth(cures=(), leave=(SHOP,), klass="blip")
    assert Scorer(truth).result("blip", 1, "somebody", [Act(1.0, "plan", SHOP, "1")], 60.0).passed
    acts = [Act(1.0, "plan", SHOP, "1"), Act(2.0, "execute", SHOP, "1")]
    result = Scorer(truth, demo_world()).result("blip", 1, "somebody", acts, 60.0)
    assert (result.passed, result.decision) == (False, "wrong")
    assert result.wrong_turns == (f"rolled back {SHOP} to v1",)


def test_a_plan_that_was_given_up_is_a_blind_alley() -> None:
    truth = Truth(cures=(), leave=(SHOP,), klass="blip")
    result = Scorer(truth).result("blip", 1, "somebody", [Act(1.0, "plan", SHOP, "1")], 60.0)
    assert result.blind_alleys == (f"planned {SHOP} to v1, and left it",)

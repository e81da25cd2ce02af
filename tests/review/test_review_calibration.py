"""Calibration by hand: what a fire foretold, what came, and margins by what people judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from review.small_past import RANKER, Team
from rollback_console.review.calibration import Calibration, calibration
from rollback_console.review.past_reading import read_past

MINUTE = 1 / 1440


def _incident(
    team: Team, day: float, number: int, *, lost: float, degradation: float = 10.0, cause: str = "", back_s: float = 0.0
) -> None:
    """A fire on `day` at 100 EUR a minute, cleared 20 minutes later when `lost` more had been lost; limit at 5 %."""
    name = f"inc-{number}"
    team.turn(day - 2 * MINUTE, "healthy", "pending", cost=(day - 2 * MINUTE, 0.0), degradation=degradation)
    team.turn(
        day, "pending", "fired", cost_before=(day - 2 * MINUTE, 100.0, day - MINUTE), cost=(day - 2 * MINUTE, 200.0),
        degradation=degradation,
    )  # fmt: skip
    team.incident(day + MINUTE / 10, name, "opened", day - 2 * MINUTE)
    if back_s:
        team.rollback(day + 5 * MINUTE, "3", "2", name=f"ex-{number}", took_s=back_s)
    end = day + 20 * MINUTE
    team.turn(end, "fired", "clearing", cost_before=(day - 2 * MINUTE, 200.0 + lost, end), cost=(day, 200.0 + lost))
    team.turn(end + 5 * MINUTE, "clearing", "healthy", cost_before=(day - 2 * MINUTE, 200.0 + lost, end))
    team.incident(end + 5 * MINUTE, name, "closed", day - 2 * MINUTE)
    if cause:
        team.judge(end + 60 * MINUTE, name, root_cause=cause, margins="held")


def _found(team: Team) -> Calibration:
    return calibration(read_past([team.close()]))


def test_a_fire_that_foretold_what_came(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    _incident(team, 1, 1, lost=3_000.0)
    (fire,) = _found(team).fires
    assert (fire.deployment, fire.incident, fire.signal, fire.unit) == (RANKER, "inc-1", "conversion", "EUR")
    assert fire.rate == pytest.approx(100.0)
    assert fire.mean == pytest.approx(150.0)
    assert fire.waited == pytest.approx(1_500.0)
    assert fire.beyond == pytest.approx(2.0), "10 % off at a margin of 5 %"
    assert fire.judged == ""


def test_a_rollback_ends_what_is_compared_and_says_how_long_recovery_took(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    team.move(0.5, "2", "3")
    _incident(team, 1, 1, lost=3_000.0, back_s=600.0)
    (fire,) = _found(team).fires
    assert fire.mean == pytest.approx(150.0)
    assert fire.waited is None, "it was moved back after five and a half minutes"
    assert fire.recovery_s == pytest.approx(300 + 600)


def test_agreement_is_said_to_be_too_little_until_there_are_ten(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    for number in range(9):
        _incident(team, 1 + number, number, lost=2_000.0 * (1 + number))
    loss = next(each for each in _found(team).agreements if each.what == "loss a minute")
    assert (loss.pairs, loss.enough, loss.without) == (9, False, 0)
    assert loss.median == pytest.approx(5.0)
    assert (loss.low, loss.high) == (pytest.approx(1.0), pytest.approx(9.0))
    assert loss.near == 2, "once and twice as much"


def test_margins_by_what_was_judged(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    for number, (degradation, cause) in enumerate(
        [(5.5, "false alarm"), (6.0, "safety concern"), (6.0, ""), (12.0, "safety concern"), (40.0, "safety concern")]
    ):
        _incident(team, 1 + number, number, lost=100.0, degradation=degradation, cause=cause)
    found = _found(team)
    assert [(s.low, s.fires, s.true, s.false) for s in found.steps] == [
        (1.0, 3, 1, 1), (1.25, 0, 0, 0), (1.5, 0, 0, 0), (2.0, 1, 1, 0), (3.0, 1, 1, 0),
    ]  # fmt: skip
    assert found.steps[0].false_high is not None
    assert found.steps[1].false_high is None, "nobody judged any: no share"
    assert found.margins == (("held", 4),)


def test_what_began_to_count_and_passed_is_a_miss(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    for day, degradation in ((1, 6.0), (2, 9.0), (3, 7.0)):
        team.turn(day, "healthy", "pending", degradation=degradation)
        team.turn(day + MINUTE, "pending", "healthy", degradation=1.0, breached=False)
    _incident(team, 5, 5, lost=10.0)
    found = _found(team)
    assert [round(each.beyond, 3) for each in found.misses] == [1.8, 1.4, 1.2], "the closest first; no fire among them"
    assert found.misses[0].lasted_s == pytest.approx(60)
    assert len(found.fires) == 1


def test_a_trigger_that_fires_again_while_clearing_is_one_fire(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    team.turn(1, "pending", "fired", degradation=10.0)
    team.turn(1 + MINUTE, "fired", "clearing")
    team.turn(1 + 2 * MINUTE, "clearing", "fired", degradation=10.0)
    assert len(_found(team).fires) == 1

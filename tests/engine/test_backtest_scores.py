"""Settings side by side: what is false, what is missed, what it costs, and which one is advised."""

from __future__ import annotations

from dataclasses import replace

import pytest
from engine_tools import START, bounded, fleet_rule, relative

from rollback_console.engine.backtest import Lane, Losses
from rollback_console.engine.scores import allowed_false, overlaps, recommend, score
from rollback_console.model.backtest import Costs, Fire, Mark, Score, Setting
from rollback_console.model.observation import Observation, Reading, Tick
from rollback_console.model.rules import BaselineKind, EvidenceRule

MINUTE = 60.0
RULE = fleet_rule(
    "a", [relative("orders", BaselineKind.LAST_WEEK), bounded("errors")], dwell=120.0, hold=0.0, cool_down=600.0
)  # fmt: skip
NAME = RULE.deployment.id


def run(values: list[float], marks: list[Mark], costs: Costs = Costs(per_rollback=50.0)) -> Score:  # noqa: B008 - frozen
    """A lane over one order rate a minute (baseline 100, revenue 400 a minute), scored."""
    lane, losses = Lane([RULE]), Losses([RULE], marks)
    for k, value in enumerate(values):
        at = START + k * MINUTE
        reading = (Reading(value, 100.0), Reading(1.0))
        for judged in lane.take(Tick(at, (Observation(NAME, at, reading, None, 400.0),))):
            losses.add(judged)
    seen = [mark for mark in marks if losses.seen(mark)]
    return score(Setting(as_written=True), lane, seen, losses, costs, (len(values) - 1) * MINUTE)


def mark(first: int, last: int) -> Mark:
    return Mark(NAME, START + first * MINUTE, START + last * MINUTE)


def test_a_fire_in_an_incident_is_right_and_another_is_false() -> None:
    values = [100.0] * 10 + [50.0] * 10 + [100.0] * 30 + [50.0] * 5 + [100.0] * 5
    found = run(values, [mark(10, 20)])
    assert (found.fires, found.false, found.caught, found.missed) == (2, 1, 1, 0)
    assert found.delay_s == 120.0
    assert found.minutes_fired == (20 - 12) + (55 - 52)
    assert found.waiting == pytest.approx(2 * 400.0), "two minutes at revenue d / (1 - d), d a half"
    assert found.false_cost == 50.0
    assert found.cost == pytest.approx(850.0)


def test_a_missed_incident_costs_all_of_it_and_one_outside_does_not_count() -> None:
    values = [100.0] * 10 + [85.0] * 10 + [100.0] * 5
    found = run(values, [mark(10, 19), mark(90, 95)])
    assert (found.fires, found.false, found.caught, found.missed) == (0, 0, 0, 1)
    assert found.delay_s is None
    assert found.waiting == pytest.approx(9 * 400.0 * 0.15 / 0.85)


def test_a_second_fire_in_one_incident_is_neither_false_nor_counted_again() -> None:
    values = [100.0] * 5 + [50.0] * 5 + [100.0] * 3 + [50.0] * 5 + [100.0]
    found = run(values, [mark(5, 17)])
    assert (found.fires, found.false, found.caught, found.missed) == (2, 0, 1, 0)
    assert found.rollbacks_per_30d == pytest.approx(30 * 86_400 / (18 * MINUTE)), "the second is within the cool-down"


def test_what_touches_what() -> None:
    incident = Mark(NAME, 100.0, 200.0)
    for fire, right in [
        (Fire(50.0, 100.0), False), (Fire(50.0, 101.0), True), (Fire(200.0, 300.0), True), (Fire(201.0, 300.0), False),
        (Fire(50.0), True), (Fire(201.0), False),
    ]:  # fmt: skip
        assert overlaps(fire, incident) is right


def scored(
    text: str, caution: int, false: int, missed: int = 0, delay: float | None = 60.0, waiting: float | None = None,
    false_cost: float | None = None, *, written: bool = False, caught: int = 3,
) -> Score:  # fmt: skip
    setting = Setting((("dwell", text),), caution, written)
    return Score(setting, false + caught, false, caught, missed, delay, 0.0, 0.0, waiting, false_cost)


def test_the_cheapest_is_advised_where_both_have_a_price() -> None:
    scores = [
        scored("1m", 0, 9, waiting=100.0, false_cost=900.0),
        scored("5m", 1, 1, waiting=400.0, false_cost=100.0),
        scored("15m", 2, 0, waiting=1_200.0, false_cost=0.0, written=True),
    ]
    best, why = recommend(scores, Costs("EUR", 100.0), 0)
    assert best is scores[1]
    assert why == (
        "dwell=5m: waiting costs 400 EUR and false rollbacks 100 EUR, together the least; it catches 3 of 3 incidents "
        "(as written: 1,200 EUR)"
    )


def test_without_a_price_the_budget_decides_and_then_what_is_missed_and_waited() -> None:
    scores = [
        scored("1m", 0, 4, delay=60.0),
        scored("5m", 1, 1, delay=300.0),
        scored("15m", 2, 0, missed=1, caught=2, delay=900.0),
    ]
    best, why = recommend(scores, Costs(), 1)
    assert best is scores[1]
    assert why == (
        "dwell=5m: catches 3 of 3 incidents, half of them within 5m, with 1 false fire; none within the budget's 1 in "
        "this time does better"
    )
    best, why = recommend(scores[:2], Costs(), 0)
    assert best is scores[1]
    assert why == (
        "dwell=5m: no setting that catches anything keeps false fires within the budget's 0 in this time; it has the "
        "fewest, 1"
    )


def test_what_catches_nothing_is_not_taken_for_making_no_mistakes() -> None:
    idle = scored("90m", 2, 0, missed=3, caught=0, delay=None)
    best, _ = recommend([scored("1m", 0, 4), scored("5m", 1, 2), idle], Costs(), 0)
    assert best.setting.text == "dwell=5m"
    kept = scored("20m", 1, 3, missed=3, caught=0, delay=None, written=True)
    best, why = recommend([scored("10m", 0, 9, missed=3, caught=0, delay=None), kept, idle], Costs(), 5)
    assert best is kept
    assert why == (
        "dwell=20m (as written): no setting catches any of 3 incidents, so that nothing speaks for another one"
    )


def test_without_incidents_every_fire_counts_as_false() -> None:
    scores = [scored("1m", 0, 7, delay=None, caught=0), scored("5m", 1, 2, delay=None, caught=0),
              scored("15m", 2, 0, delay=None, caught=0)]  # fmt: skip
    best, why = recommend(scores, Costs(), 2)
    assert best is scores[1]
    assert why == (
        "dwell=5m: no incident is marked, so every fire counts as false; the least cautious whose 2 fires stay within "
        "the budget's 2 in this time"
    )


def test_of_equals_the_policy_as_it_stands() -> None:
    scores = [scored("1m", 0, 0), scored("5m", 1, 0, written=True), scored("9m", 2, 0)]
    assert recommend(scores, Costs(), 1)[0] is scores[1]
    priced = [scored("1m", 0, 0, waiting=1.0, false_cost=0.0), scored("5m", 1, 0, waiting=1.0, false_cost=0.0,
              written=True)]  # fmt: skip
    assert recommend(priced, Costs(per_rollback=1.0), 1)[0] is priced[1]


def test_what_a_budget_has_room_for() -> None:
    month = 30 * 86_400.0
    assert allowed_false([RULE], month) == 0
    assert allowed_false([RULE] * 100, month) == 33
    judged = replace(RULE.signals[0], evidence=EvidenceRule(budget_s=10 * 86_400.0))
    both = replace(RULE, signals=(judged, judged))
    assert allowed_false([both], month) == 6, "each signal has a budget of its own"

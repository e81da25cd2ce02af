"""Bounds that vary by the hour or with the traffic: straight lines, a day that goes round, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.curves import bound_at
from rollback_console.decide.explain import signal_words
from rollback_console.decide.judge import decide
from rollback_console.decide.signals import judge
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import (
    Breach,
    Curve,
    DeploymentRule,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Worse,
)  # fmt: skip
from rollback_console.model.verdict import TriggerState

HOUR = 3_600.0
NIGHTLY = Curve("hour_of_day", ((8 * HOUR, 2.0), (20 * HOUR, 5.0)), "Europe/Berlin")
LESS_WITH_MORE = Curve("traffic", ((100.0, 10.0), (1_000.0, 1.0)))


def at(text: str) -> float:
    """A time on the wall in Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


@pytest.mark.parametrize(
    ("clock", "bound"),
    [("08:00", 2.0), ("14:00", 3.5), ("20:00", 5.0), ("02:00", 3.5), ("23:00", 4.25), ("07:00", 2.25)],
)
@pytest.mark.parametrize("day", ["2026-01-15", "2026-07-15"])
def test_a_day_goes_round_by_the_clock_on_the_wall(day: str, clock: str, bound: float) -> None:
    assert bound_at(NIGHTLY, at(f"{day}T{clock}"), None) == pytest.approx(bound)


@pytest.mark.parametrize(
    ("trials", "bound"), [(0.0, 10.0), (100.0, 10.0), (550.0, 5.5), (1_000.0, 1.0), (1e9, 1.0), (None, None)]
)
def test_beyond_the_outermost_traffic_nothing_changes(trials: float | None, bound: float | None) -> None:
    assert bound_at(LESS_WITH_MORE, 0.0, trials) == bound


POINTS = st.dictionaries(st.integers(0, 86_399).map(float), st.floats(-10, 10), min_size=2, max_size=6).map(
    lambda points: tuple(sorted(points.items()))
)


@settings(max_examples=200, deadline=None)
@given(POINTS, st.floats(0, 10 * 86_400), st.sampled_from(["hour_of_day", "traffic"]))
def test_it_lies_within_its_points_and_meets_them(
    points: tuple[tuple[float, float], ...], when: float, by: str
) -> None:
    curve = Curve(by, points)
    found = bound_at(curve, when, when)
    bounds = [bound for _, bound in points]
    assert found is not None
    assert min(bounds) - 1e-9 <= found <= max(bounds) + 1e-9
    assert [bound_at(curve, where, where) for where, _ in points] == pytest.approx(bounds)


def test_a_value_is_judged_by_the_bound_of_its_time_and_its_traffic() -> None:
    rule = SignalRule("load", "Load", "technical", Worse.HIGHER, Breach(above=5.0, curve=NIGHTLY), 60.0, value="v")
    day, night = (judge(rule, Reading(3.0), at(f"2026-01-15T{clock}")) for clock in ("08:00", "20:00"))
    assert (day.breached, day.limit, night.breached, night.limit) == (True, 2.0, False, 5.0)
    assert signal_words(rule, day) == "load 3 is above 2"
    assert signal_words(rule, night) == "load 3 is not above 5"
    falls = SignalRule("s", "S", "technical", Worse.LOWER, Breach(below=1.0, curve=LESS_WITH_MORE), 300.0, x="x", n="n")
    assert judge(falls, Reading(2.0, n=500.0), 0.0).breached is True  # 100 trials a minute: below 10
    assert judge(falls, Reading(2.0, n=5_000.0), 0.0).breached is False  # 1,000 a minute: not below 1
    unknown = judge(falls, Reading(2.0), 0.0)
    assert (unknown.breached, unknown.blind, unknown.note) == (
        None, Blind.NO_DATA, "no bound: its traffic is not known",
    )  # fmt: skip


def test_the_whole_decision_goes_by_the_bound_of_its_time() -> None:
    signal = SignalRule("load", "Load", "technical", Worse.HIGHER, Breach(above=5.0, curve=NIGHTLY), 60.0, value="v")
    who = DeploymentId("production", "checkout")
    trigger = TriggerRule(Uses("load"), "load", dwell_s=0.0)
    rule = DeploymentRule(Deployment(who, "high", "m", "a", ()), (signal,), trigger, (), "p", 1, "0" * 64)
    states = [
        decide(rule, Observation(who, at(f"2026-01-15T{clock}"), (Reading(3.0),)))[0].state
        for clock in ("08:00", "20:00")
    ]
    assert states == [TriggerState.FIRED, TriggerState.HEALTHY]
    tiered = replace(rule, trigger=TriggerRule(Tiered((Uses("load"),)), "tiered of [load]", dwell_s=0.0))
    verdict, _ = decide(tiered, Observation(who, at("2026-01-15T08:00"), (Reading(3.0),)))
    assert (verdict.signals[0].limit, verdict.signals[0].breached) == (2.0, True)

"""What a scenario says happens, measured: each against the same world without it."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_plays import START, measured, play

from rollback_console.clock import VirtualClock
from rollback_console.errors import BackendUnreachable
from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse import world as world_module
from rollback_console.rehearse.cost import lost
from rollback_console.rehearse.fleet import NORMAL, strength
from rollback_console.rehearse.pace import paced
from rollback_console.rehearse.setup import Setup

RANKER, FEED, SEARCH = (DeploymentId("production", name) for name in ("ranker", "feed", "search"))
CONVERSION = "sum by (deployment) (increase(orders_total[5m])) / sum by (deployment) (increase(visits_total[5m]))"
ERRORS = "sum by (deployment) (rate(errors_total[5m])) / sum by (deployment) (rate(requests_total[5m]))"
UNSAFE = "sum by (deployment) (rate(unsafe_total[5m])) / sum by (deployment) (rate(requests_total[5m]))"
VISITS = "sum by (deployment) (increase(visits_total[5m]))"
REQUESTS = "sum by (deployment) (increase(requests_total[5m]))"
REVENUE = "sum by (deployment) (increase(revenue_total[5m]))"
LATENCY = "histogram_quantile(0.5, sum by (deployment, le) (rate(latency_seconds_bucket[5m])))"
ALL = (CONVERSION, ERRORS, UNSAFE, VISITS, REQUESTS, REVENUE, LATENCY, "up", "feature_age_seconds", "model_info")


async def ratio(changed: Setup, plain: Setup, promql: str, at: float) -> dict[str, float]:
    """By how much an answer differs from the one of the world without it."""
    one, other = await measured(changed, promql, at), await measured(plain, promql, at)
    return {name: one[name] / other[name] for name in other if name in one}


# -- one answer per question -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", ["everyday", "mix", "bursty", "jumps", "overdispersed"])
async def test_two_stagings_answer_alike_in_any_order(noise: str) -> None:
    text = f"""\
world:
  noise: {noise}
  deployments:
    - {{name: ranker, depends_on: [view], since: 30m, versions: [{{version: "8", errors: 5%}}, {{version: "7"}}]}}
timeline:
  - {{at: -10m, fault: dependency, target: view, conversion: -14%, over: 1m, for: 20m, fades: 5m}}
  - {{at: -5m, fault: tracking, target: ranker, conversion: -30%}}
"""
    one, other = play(text), play(text)
    questions = [(promql, START - back) for promql in ALL for back in (0.0, 615.0, 7_200.0, 604_800.0)]
    shuffled = random.Random(1).sample(questions, len(questions))
    forwards = {question: await one.metrics.query(*question) for question in questions}
    assert forwards == {question: await other.metrics.query(*question) for question in shuffled}
    assert await play(text, seed=8).metrics.query(*questions[0]) != forwards[questions[0]]
    assert one.policy_bytes == other.policy_bytes
    assert await one.registry.versions("ranker") == await other.registry.versions("ranker")


@settings(max_examples=100)
@given(st.floats(-10, 500), st.floats(0, 50), st.one_of(st.none(), st.floats(1, 400)), st.floats(0, 1))
def test_an_effect_sets_in_holds_and_fades(elapsed: float, over: float, lasts: float | None, part: float) -> None:
    fades = (lasts or 0.0) * part
    share = strength(elapsed, over, lasts, fades)
    assert 0.0 <= share <= 1.0
    if elapsed < 0 or (lasts is not None and elapsed >= lasts):
        assert share == 0.0
    if elapsed >= over and (lasts is None or elapsed <= lasts - fades - 1e-9):
        assert share == (1.0 if lasts is None or elapsed < lasts else 0.0)


# -- time and traffic --------------------------------------------------------------------------------------------------


async def test_the_story_begins_at_its_own_time_of_the_week() -> None:
    night = play('begins: {weekday: wed, time: "03:00"}\n')
    noon, sunday = play('begins: {weekday: wed, time: "15:00"}\n'), play('begins: {weekday: sun, time: "15:00"}\n')
    peak = noon.world.expected_visits(0, START)
    assert peak == pytest.approx(12_000)
    assert night.world.expected_visits(0, START) == pytest.approx(12_000 * 0.56)
    assert sunday.world.expected_visits(0, START) == pytest.approx(12_000 * 0.88)
    counted = (await measured(noon, VISITS, START))["ranker"]
    assert counted == pytest.approx(5 * peak, rel=0.15)
    assert (await measured(night, VISITS, START))["ranker"] == pytest.approx(0.56 * counted, rel=0.2)


def test_the_days_shape_is_the_scenarios() -> None:
    text = """\
begins: {weekday: mon, time: "08:00"}
world:
  traffic: {low: 10%, peak: "08:00", weekend: 150%}
  deployments: [{name: ranker, visits_per_minute: 1000}]
"""
    world = play(text).world
    assert world.expected_visits(0, START) == pytest.approx(1_000)
    assert world.expected_visits(0, START + 12 * 3_600) == pytest.approx(100)
    assert world.expected_visits(0, START + 6 * 86_400) == pytest.approx(1_500)


# -- versions ----------------------------------------------------------------------------------------------------------


async def test_a_version_behaves_badly_after_a_while_and_the_one_before_does_not() -> None:
    bad = """\
world:
  deployments:
    - name: ranker
      serves: "8"
      since: 20m
      versions:
        - {version: "8", conversion: -20%, latency: +50%, errors: +4%, order_value: -10%, volume: -5%, after: 16m}
        - {version: "7"}
"""
    changed, plain = play(bad), play(bad.replace("-20%", "0%").replace("+50%", "0%").replace("+4%", "0%")
                                     .replace("-10%", "0%").replace("-5%", "0%"))  # fmt: skip
    early, late = START - 5 * 60, START + 3 * 60
    assert (await ratio(changed, plain, CONVERSION, early))["ranker"] == pytest.approx(1.0, abs=0.001)
    assert (await ratio(changed, plain, CONVERSION, late))["ranker"] == pytest.approx(0.8, abs=0.01)
    assert (await ratio(changed, plain, LATENCY, late))["ranker"] == pytest.approx(1.5, abs=0.05)
    assert (await ratio(changed, plain, VISITS, late))["ranker"] == pytest.approx(0.95, abs=0.01)
    assert (await ratio(changed, plain, REVENUE, late))["ranker"] == pytest.approx(0.8 * 0.9 * 0.95, abs=0.02)
    assert (await measured(changed, ERRORS, late))["ranker"] == pytest.approx(0.043, abs=0.003)
    await changed.registry.write_pointer("ranker", "champion", "7")
    await asyncio.sleep(0)
    assert (await ratio(changed, plain, CONVERSION, START + 20 * 60))["ranker"] == pytest.approx(1.0, abs=0.01)
    assert changed.world.effect(changed.world.deployment(RANKER), START + 20 * 60) == NORMAL


def test_a_versions_trouble_may_end_by_itself() -> None:
    text = """\
world:
  deployments:
    - name: ranker
      since: 1m
      lag: 0
      versions: [{version: "8", conversion: -20%, after: 1m, over: 2m, for: 10m, fades: 4m}, {version: "7"}]
"""
    world = play(text).world
    ranker = world.deployments[0]
    felt = [round(1 - world.effect(ranker, START + 60 * minute).conversion, 3) for minute in (-1, 0, 1, 2, 6, 8, 9, 10)]
    assert felt == [0.0, 0.0, 0.1, 0.2, 0.2, 0.1, 0.05, 0.0]


def test_a_version_that_served_well_once_no_longer_can() -> None:
    text = """\
world:
  deployments:
    - name: ranker
      since: 1h
      lag: 0
      versions: [{version: "8"}, {version: "7", errors: +30%, from: -1d}]
"""
    setup = play(text)
    world, ranker = setup.world, setup.world.deployments[0]
    assert world.serving(ranker, START - 2 * 3_600) == ("7", pytest.approx(START - 3_600 - 29 * 86_400))
    assert world.effect(ranker, START - 2 * 86_400) == NORMAL
    assert world.effect(ranker, START - 2 * 3_600).errors == 0.3
    assert world.effect(ranker, START) == NORMAL
    world.flip("ranker", "champion", "7", by="somebody")
    assert world.effect(ranker, START + 1).errors == 0.3


async def test_a_silent_version_takes_the_metrics_with_it_and_harms_nobody() -> None:
    text = """\
world:
  deployments:
    - {name: ranker, since: 10m, versions: [{version: "8", silent: true, after: 5m}, {version: "7"}]}
    - {name: feed}
"""
    setup = play(text)
    assert await measured(setup, "up", START - 6 * 60) == {"ranker": 1.0, "feed": 1.0}
    assert await measured(setup, "up", START) == {"ranker": 0.0, "feed": 1.0}
    assert set(await measured(setup, VISITS, START + 300)) == {"feed"}
    assert setup.world.effect(setup.world.deployments[0], START) == NORMAL


async def test_unsafe_answers_are_counted() -> None:
    text = """\
world:
  deployments:
    - {name: ranker, unsafe: 0.02%, since: 10m, versions: [{version: "8", unsafe: +0.5%}, {version: "7"}]}
"""
    setup = play(text)
    assert (await measured(setup, UNSAFE, START - 3_600))["ranker"] == pytest.approx(0.0002, abs=0.0002)
    assert (await measured(setup, UNSAFE, START))["ranker"] == pytest.approx(0.0052, abs=0.001)


# -- faults ------------------------------------------------------------------------------------------------------------


async def test_a_dependencys_fault_is_felt_by_who_depends_on_it() -> None:
    fault = (
        "timeline:\n  - {at: -9m, fault: dependency, target: feature-view/users, conversion: -14%, features: stale}\n"
    )
    changed, plain = play(fault), play()
    found = await ratio(changed, plain, CONVERSION, START)
    assert found["ranker"] == 1.0
    assert found["feed"] == pytest.approx(0.86, abs=0.01)
    assert found["search"] == pytest.approx(0.86, abs=0.01)
    ages = await measured(changed, "feature_age_seconds", START)
    assert ages["feed"] > 500 > 70 > ages["ranker"]


async def test_a_blip_is_over_when_it_says() -> None:
    changed, plain = play("timeline:\n  - {at: 4m, fault: deployment, target: feed, errors: +12%, for: 30s}\n"), play()
    rate = "sum by (deployment) (rate(errors_total[30s])) / sum by (deployment) (rate(requests_total[30s]))"
    for seconds, expected in ((240, 0.003), (270, 0.123), (300, 0.003)):
        found = await measured(changed, rate, START + seconds)
        assert found["feed"] == pytest.approx(expected, abs=0.005)
        assert found["search"] == (await measured(plain, rate, START + seconds))["search"]


async def test_a_drift_without_a_release_is_slow() -> None:
    text = "timeline:\n  - {at: -10d, fault: deployment, target: feed, conversion: -20%, over: 10d}\n"
    changed, plain = play(text), play()
    found = [(await ratio(changed, plain, CONVERSION, START - back * 86_400))["feed"] for back in (11, 5, 0)]
    assert found == [1.0, pytest.approx(0.9, abs=0.01), pytest.approx(0.8, abs=0.01)]


async def test_lost_tracking_shows_and_costs_nothing() -> None:
    text = "timeline:\n  - {at: -10m, fault: tracking, target: feed, conversion: -40%}\n"
    changed, plain = play(text), play()
    assert (await ratio(changed, plain, CONVERSION, START))["feed"] == pytest.approx(0.6, abs=0.01)
    assert (await ratio(changed, plain, REVENUE, START))["feed"] == pytest.approx(0.6, abs=0.02)
    assert (await ratio(changed, plain, REQUESTS, START))["feed"] == 1.0
    assert (await ratio(changed, plain, CONVERSION, START))["search"] == 1.0
    assert changed.world.effect(changed.world.deployment(FEED), START) == NORMAL
    assert lost(changed.world, START - 600, START) == 0.0
    visits = play("timeline:\n  - {at: -10m, fault: tracking, target: feature-view/users, volume: -50%}\n")
    found = await ratio(visits, plain, VISITS, START)
    assert (found["feed"], found["search"]) == (pytest.approx(0.5, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert found["ranker"] == 1.0


async def test_an_exporter_dies_and_comes_back() -> None:
    setup = play("timeline:\n  - {at: 1m, fault: exporter, target: feed, for: 2m}\n")
    found = [(await measured(setup, "up", START + seconds))["feed"] for seconds in (45, 60, 165, 180)]
    assert found == [1.0, 0.0, 0.0, 1.0]
    assert setup.world.effect(setup.world.deployment(FEED), START + 90) == NORMAL


# -- the console's own backends ----------------------------------------------------------------------------------------


async def test_a_metric_store_that_is_out_says_so() -> None:
    setup = play("timeline:\n  - {at: 1m, fault: metrics, for: 2m}\n")
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    assert await measured(setup, "up", START)
    await clock.advance(60)
    with pytest.raises(BackendUnreachable, match="out"):
        await setup.metrics.query("up", START)
    await clock.advance(120)
    assert await measured(setup, "up", START)


async def test_a_metric_store_that_lies_with_old_numbers() -> None:
    """Whatever is asked of the time since, the answer is what was true when it began."""
    fault = "  - {at: 2m, fault: deployment, target: feed, conversion: -50%}\n"
    setup = play("timeline:\n" + fault + "  - {at: 1m, fault: metrics, how: stale, for: 20m}\n")
    honest = play("timeline:\n" + fault)
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    await clock.advance(600)
    assert await measured(setup, CONVERSION, START + 600) == await measured(honest, CONVERSION, START + 60)
    series = await setup.metrics.query_range(CONVERSION, START, START + 600, 60)
    truth = await honest.metrics.query_range(CONVERSION, START, START + 60, 60)
    for told, true in zip(series, truth, strict=True):
        assert [at for at, _ in told.points] == [START + 60 * n for n in range(11)]
        assert [value for _, value in told.points] == [true.points[0][1]] + [true.points[1][1]] * 10
    await clock.advance(900)
    assert await measured(setup, CONVERSION, START + 1_500) == await measured(honest, CONVERSION, START + 1_500)


async def test_a_metric_store_that_lies_with_wrong_numbers() -> None:
    text = "timeline:\n  - {at: 0s, fault: metrics, how: wrong, off_by: -30%, for: 5m}\n"
    setup, honest = play(text), play()
    assert (await ratio(setup, honest, CONVERSION, START))["feed"] == pytest.approx(0.7)
    assert (await ratio(setup, honest, REVENUE, START))["feed"] == pytest.approx(0.7)
    assert (await ratio(setup, honest, VISITS, START))["feed"] == 1.0
    assert setup.world.effect(setup.world.deployment(FEED), START) == NORMAL


async def test_slow_backends_take_their_time_on_the_worlds_clock() -> None:
    text = "timeline:\n  - {fault: metrics, how: slow, delay: 8s}\n  - {fault: registry, how: slow, delay: 3s}\n"
    setup = play(text)
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    assert setup.world.is_slow

    async def evaluation() -> int:
        return len(await asyncio.gather(*(setup.metrics.query(promql, START) for promql in (VISITS, ERRORS, "up"))))

    assert await paced(evaluation(), setup.world, clock) == 3
    assert clock.now() == START + 8.0, "what is asked at once is waited for at once"
    await paced(setup.registry.models(), setup.world, clock)
    assert clock.now() == START + 11.0
    assert setup.world.waiting == []


async def test_the_console_gives_up_on_a_backend_that_is_too_slow() -> None:
    text = "timeline:\n  - {fault: metrics, how: slow, delay: 2m}\n  - {fault: registry, how: slow, delay: 2m}\n"
    setup = play(text)
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    with pytest.raises(BackendUnreachable, match="did not answer within 10 s"):
        await paced(setup.metrics.query("up", START), setup.world, clock)
    with pytest.raises(BackendUnreachable, match="did not answer within 10 s"):
        await paced(setup.registry.models(), setup.world, clock)
    assert clock.now() == START + 20.0


async def test_without_a_slow_backend_time_stands_still() -> None:
    setup = play()
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    assert not setup.world.is_slow
    assert await paced(setup.metrics.query("up", START), setup.world, clock)
    assert clock.now() == START


# -- because the console moved -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("loses", "arrived"), [("request", "8"), ("answer", "7")])
async def test_the_registry_goes_down_in_mid_rollback(loses: str, arrived: str) -> None:
    setup = play(f"timeline:\n  - {{on: rollback, fault: registry, loses: {loses}, for: 90s}}\n")
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    await clock.advance(300)
    assert await setup.registry.read_pointer("ranker", "champion") == "8"
    with pytest.raises(BackendUnreachable, match="out"):
        await setup.registry.write_pointer("ranker", "champion", "7")
    with pytest.raises(BackendUnreachable, match="out"):
        await setup.registry.read_pointer("ranker", "champion")
    await clock.advance(90)
    assert await setup.registry.read_pointer("ranker", "champion") == arrived
    await setup.registry.write_pointer("ranker", "champion", "7")
    assert await setup.registry.read_pointer("ranker", "champion") == "7", "it happens once"


async def test_what_waits_for_a_rollback_never_happens_without_one() -> None:
    setup = play("timeline:\n  - {on: rollback, at: 1m, fault: deployment, target: feed, errors: +9%}\n")
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    assert await measured(setup, ERRORS, START + 600) == await measured(play(), ERRORS, START + 600)
    await setup.registry.write_pointer("ranker", "champion", "7")
    assert (await measured(setup, ERRORS, START + 600))["feed"] == pytest.approx(0.093, abs=0.005)


async def test_a_rival_flips_back_after_ours() -> None:
    setup = play("timeline:\n  - {on: rollback, at: 2m, flip: ranker, by: gitops, times: 2}\n")
    clock, registry = setup.world.clock, setup.registry
    assert isinstance(clock, VirtualClock)
    stands = []
    for _ in range(3):
        await registry.write_pointer("ranker", "champion", "7")
        for seconds in (119, 1):
            await clock.advance(seconds)
            stands.append(await registry.read_pointer("ranker", "champion"))
    assert stands == ["7", "8", "7", "8", "7", "7"]
    assert [flip.by for flip in setup.world.history if flip.by == "gitops"] == ["gitops", "gitops"]


async def test_a_rival_answers_the_moves_of_its_own_deployment() -> None:
    setup = play('timeline:\n  - {on: rollback, at: 2m, flip: feed, to: "1", by: jo}\n')
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    await setup.registry.write_pointer("ranker", "champion", "7")
    await clock.advance(600)
    assert await setup.registry.read_pointer("feed", "champion") == "2"


async def test_somebody_else_flips_at_a_time() -> None:
    setup = play('timeline:\n  - {at: 7m, flip: ranker, to: "7", by: jo}\n')
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    found = []
    for seconds in (419, 1):
        await clock.advance(seconds)
        found.append(await setup.registry.read_pointer("ranker", "champion"))
    assert found == ["8", "7"]
    assert setup.world.history[-1].by == "jo"
    info = await setup.metrics.query('model_info{deployment="ranker"}', START + 450)
    assert [dict(series.labels)["version"] for series in info] == ["7"], "serving follows with its lag"


def test_what_a_move_changes_is_only_what_comes_after_it() -> None:
    """A breakage does not reach into a past that was drawn already, nor into one that is drawn later."""
    text = "timeline:\n  - {on: rollback, at: 0s, fault: deployment, target: feed, errors: +9%}\n"
    one, other = play(text), play(text)
    slots = [int(START // 15) + n for n in range(-120, 120)]
    before = [one.world.growth(1, "errors_total", slot, slot + 1) for slot in slots]
    for setup in (one, other):
        setup.world.moving()
    after = [one.world.growth(1, "errors_total", slot, slot + 1) for slot in slots]
    assert after[:120] == before[:120]
    assert after != before
    assert after == [other.world.growth(1, "errors_total", slot, slot + 1) for slot in slots]
    assert all(late > early for early, late in itertools.pairwise((sum(before[120:]), sum(after[120:]))))


async def test_a_range_longer_than_what_is_kept_is_answered_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "timeline:\n  - {at: -90m, fault: exporter, target: feed, for: 30m}\n"
    questions = (CONVERSION, 'model_info{deployment="ranker"}', "up", VISITS)
    whole = [await play(text).metrics.query_range(promql, START - 4 * 3_600, START, 60) for promql in questions]
    monkeypatch.setattr(world_module, "_KEPT", 24)
    small = play(text)
    assert small.world.kept_s < 2 * 3_600
    pieces = [await small.metrics.query_range(promql, START - 4 * 3_600, START, 60) for promql in questions]
    assert [sorted(each, key=str) for each in pieces] == [sorted(each, key=str) for each in whole]

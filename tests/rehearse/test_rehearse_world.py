"""The simulated world: one answer per question whoever asks first, a past that stays, and truth behind the numbers."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.clock import VirtualClock
from rollback_console.errors import BackendRefused, BackendUnreachable
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import BackendState, Series
from rollback_console.model.registry import ModelVersion
from rollback_console.rehearse import noise
from rollback_console.rehearse import world as world_module
from rollback_console.rehearse.backends import WorldMetrics, WorldRegistry
from rollback_console.rehearse.demo import demo_setup, demo_world
from rollback_console.rehearse.fleet import Behaviour, Effect, Fault, FaultKind, Flip, SimulatedDeployment
from rollback_console.rehearse.world import World

START = 1_763_640_000.0
CONVERSION = "sum by (deployment) (increase(orders_total[5m])) / sum by (deployment) (increase(visits_total[5m]))"
SIGNALS = (
    CONVERSION,
    "sum by (deployment) (increase(revenue_total[5m])) / sum by (deployment) (increase(visits_total[5m]))",
    "sum by (deployment) (rate(errors_total[1m])) / sum by (deployment) (rate(requests_total[1m]))",
    "histogram_quantile(0.95, sum by (deployment, le) (rate(latency_seconds_bucket[2m])))",
    "max by (deployment) (feature_age_seconds)",
    "sum by (deployment) (rate(requests_total[5m]))",
)


def by_deployment(answer: tuple[Series, ...]) -> dict[str, float]:
    return {dict(series.labels)["deployment"]: series.points[-1][1] for series in answer}


async def test_the_same_seed_answers_alike_in_any_order() -> None:
    questions = [(q, START - back) for q in SIGNALS for back in (0.0, 615.0, 86_400.0, 604_800.0, 3e6)]
    forwards, backwards = demo_setup(7, START).metrics, demo_setup(7, START).metrics
    one = {question: await forwards.query(*question) for question in questions}
    other = {question: await backwards.query(*question) for question in reversed(questions)}
    assert one == other
    assert all(one[question] for question in questions)


async def test_another_seed_is_another_week() -> None:
    one, other = demo_setup(7, START).metrics, demo_setup(8, START).metrics
    for question in SIGNALS:
        assert await one.query(question, START) != await other.query(question, START)


async def test_a_range_is_its_instants() -> None:
    metrics = demo_setup(7, START).metrics
    for question in (*SIGNALS, "model_info", "up", "orders_total"):
        ranged = await metrics.query_range(question, START - 120.0, START, 30.0)
        for at in (START - 120.0, START - 30.0, START):
            instant = {series.labels: series.points[0][1] for series in await metrics.query(question, at)}
            assert instant == {s.labels: dict(s.points)[at] for s in ranged if at in dict(s.points)}


async def test_an_hour_for_the_whole_fleet_is_quick() -> None:
    """The bound is loose for busy machines; it takes about 0.3 s on two idle cores."""
    metrics = demo_setup(7, START).metrics
    began = time.process_time()
    for question in SIGNALS:
        await metrics.query_range(question, START - 3600.0, START, 15.0)
    assert time.process_time() - began < 1.5


async def test_other_work_goes_on_during_a_back_fill() -> None:
    metrics, turns = demo_setup(7, START).metrics, 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    ticking = asyncio.create_task(others())
    await metrics.query_range(SIGNALS[3], START - 3600.0, START, 15.0)
    ticking.cancel()
    assert turns > 50


async def test_counters_only_grow_within_a_day() -> None:
    metrics = demo_setup(7, START).metrics
    midnight = START // 86_400 * 86_400
    for series in await metrics.query_range("orders_total", midnight, midnight + 7200.0, 60.0):
        values = [value for _, value in series.points]
        assert values[0] == 0.0
        assert values == sorted(values)


async def test_days_have_a_shape() -> None:
    metrics = demo_setup(7, START).metrics
    midnight = START // 86_400 * 86_400
    night = by_deployment(await metrics.query(SIGNALS[5], midnight + 3 * 3600))
    day = by_deployment(await metrics.query(SIGNALS[5], midnight + 15 * 3600))
    assert all(day[name] > 1.4 * night[name] for name in day)


async def after_rollback(deployment: str, to: str) -> tuple[float, float, float]:
    """Conversion against last week's: at the start, and 12 minutes later with and without the rollback."""
    name = f"production/{deployment}"
    setup = demo_setup(7, START)
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    last_week = {at: by_deployment(await setup.metrics.query(CONVERSION, at - 604_800)) for at in (START, START + 720)}
    without = by_deployment(await setup.metrics.query(CONVERSION, START + 720))[deployment]
    await clock.advance(120.0)
    past = await setup.metrics.query_range(CONVERSION, START - 1800, START + 120, 15.0)
    await setup.registry.write_pointer(deployment, "champion", to)
    assert await setup.metrics.query_range(CONVERSION, START - 1800, START + 120, 15.0) == past, "the past changed"
    await clock.advance(600.0)
    assert setup.world.serving(setup.world.deployment(DeploymentId.parse(name)), clock.now())[0] == to
    now = by_deployment(await setup.metrics.query(CONVERSION, START + 720))[deployment]
    before = by_deployment(await setup.metrics.query(CONVERSION, START + 120))[deployment]
    then = last_week[START + 720][deployment]
    return before / last_week[START][deployment] - 1, without / then - 1, now / then - 1


async def test_a_rollback_cures_what_the_release_broke() -> None:
    before, without, rolled_back = await after_rollback("checkout-ranker", "7")
    assert before < -0.05
    assert without < -0.05
    assert abs(rolled_back) < 0.03


@pytest.mark.parametrize(("deployment", "to"), [("home-feed", "13"), ("search-rank", "30"), ("email-ranker", "5")])
async def test_a_rollback_does_not_cure_what_upstream_broke(deployment: str, to: str) -> None:
    before, without, rolled_back = await after_rollback(deployment, to)
    assert before < -0.08
    assert without < -0.08
    assert rolled_back < -0.08


async def test_serving_follows_the_registry_late() -> None:
    setup = demo_setup(7, START)
    clock = setup.world.clock
    assert isinstance(clock, VirtualClock)
    await clock.advance(15.0)
    await setup.registry.write_pointer("checkout-ranker", "champion", "7")
    served = 'model_info{deployment="checkout-ranker"}'
    assert await setup.registry.read_pointer("checkout-ranker", "champion") == "7"
    early = await setup.metrics.query(served, START + 30.0)
    late = await setup.metrics.query(served, START + 45.0)
    assert [dict(series.labels)["version"] for series in early] == ["8"]
    assert [dict(series.labels)["version"] for series in late] == ["7"]


async def test_a_dead_exporter_goes_blind_and_its_window_runs_out() -> None:
    metrics = demo_setup(7, START).metrics
    died = START - 240.0
    own = 'sum by (deployment) (rate(visits_total{deployment="support-triage"}[5m]))'
    assert await metrics.query(own, died + 200.0)
    assert not await metrics.query(own, died + 300.0)
    assert not await metrics.query('model_info{deployment="support-triage"}', died)
    assert by_deployment(await metrics.query("up", START))["support-triage"] == 0.0
    assert by_deployment(await metrics.query("up", START))["churn-risk"] == 1.0


async def test_a_release_that_kills_its_exporter() -> None:
    base = demo_world(7, START)
    index = next(i for i, d in enumerate(base.deployments) if d.id.name == "ads-ctr")
    fatal = replace(base.deployments[index], behaviours=(Behaviour("22", kills_exporter=True, after_s=60.0),))
    world = World(7, VirtualClock(START), (fatal,), base.history)
    since = world.serving(fatal, START)[1]
    assert world.serving(fatal, START)[0] == "22"
    metrics = WorldMetrics(world)
    assert await metrics.query("model_info", since + 45.0)
    assert not await metrics.query("model_info", since + 75.0)


async def test_a_blip_heals_by_itself() -> None:
    metrics = demo_setup(7, START).metrics
    errors = [
        by_deployment(await metrics.query(SIGNALS[2], START + at))["delivery-eta"] for at in (225.0, 270.0, 345.0)
    ]
    assert errors[0] < 0.01 < 0.02 < errors[1]
    assert errors[2] < 0.01


async def test_backends_that_are_out_say_so_and_come_back() -> None:
    base = demo_world(7, START)
    clock = VirtualClock(START)
    faults = (
        Fault(FaultKind.METRICS, "", START + 60, START + 120),
        Fault(FaultKind.REGISTRY, "", START + 60, START + 120),
    )
    world = World(7, clock, base.deployments, base.history, faults)
    metrics, registry = WorldMetrics(world), WorldRegistry(world)
    assert metrics.health().state is BackendState.CONNECTING
    await metrics.query("up", START)
    await clock.advance(60.0)
    with pytest.raises(BackendUnreachable):
        await metrics.query("up", START + 60)
    with pytest.raises(BackendUnreachable):
        await registry.models()
    assert metrics.health().state is registry.health().state is BackendState.FAILING
    await clock.advance(60.0)
    assert await metrics.query("up", START + 120)
    assert await registry.models()
    assert metrics.health().state is registry.health().state is BackendState.OK


async def test_the_registry_knows_what_changed() -> None:
    registry = demo_setup(7, START).registry
    versions = await registry.versions("checkout-ranker")
    assert [v.version for v in versions] == ["8", "7", "6"]
    assert all(v.run is None for v in versions)
    new, old = await registry.version("checkout-ranker", "8"), await registry.version("checkout-ranker", "7")
    assert new is not None
    assert new.run is not None
    assert old is not None
    assert old.run is not None
    assert dict(new.run.params)["label"] == "payment_started"
    assert dict(old.run.params)["label"] == "payment_completed"
    assert dict(new.run.metrics)["auc"] > dict(old.run.metrics)["auc"], "better offline, worse in production"
    oldest = await registry.version("checkout-ranker", "6")
    assert oldest is not None
    assert json.loads(new.signature) == json.loads(old.signature), "else a preflight would rightly refuse the way back"
    assert json.loads(oldest.signature)["inputs"] != json.loads(old.signature)["inputs"]
    assert await registry.version("checkout-ranker", "99") is None
    assert await registry.model("nothing") is None


async def test_tags_and_pointers_are_written_and_read_back() -> None:
    registry = demo_setup(7, START).registry
    await registry.write_tag("home-feed", None, "lock", "me")
    await registry.write_tag("home-feed", "14", "known_bad", "yes")
    assert await registry.read_tags("home-feed", None) == {"lock": "me"}
    assert (await registry.read_tags("home-feed", "14"))["known_bad"] == "yes"
    version = await registry.version("home-feed", "14")
    assert version is not None
    assert ("known_bad", "yes") in version.tags
    await registry.delete_tag("home-feed", None, "lock")
    await registry.delete_tag("home-feed", None, "lock")
    assert await registry.read_tags("home-feed", None) == {}
    with pytest.raises(BackendRefused):
        await registry.write_pointer("home-feed", "champion", "99")
    with pytest.raises(BackendRefused):
        await registry.write_tag("nothing", None, "a", "b")
    assert await registry.read_pointer("home-feed", "no-such-alias") is None


HOSTILE = (
    "[bold]x[/bold]",
    'quo"te',
    "back\\slash",
    "two\nlines",
    "esc\x1b[31mred",
    "\u202ertl",
    "wide漢字",
    "e\u0301" * 3,
    "z" * 10_000,
    "{}",
)


async def test_hostile_names_are_only_names() -> None:
    deployments, flips = [], []
    for name in HOSTILE:
        facts = (ModelVersion(name, "1", "READY", 0.0), ModelVersion(name, name, "READY", 1.0))
        deployments.append(
            SimulatedDeployment(DeploymentId("production", name), name, name, 600.0, 0.5, 1.0, 0.05, versions=facts)
        )
        flips.append(Flip(100.0, name, name, name))
    world = World(1, VirtualClock(START), tuple(deployments), tuple(flips))
    metrics, registry = WorldMetrics(world), WorldRegistry(world)
    rates = by_deployment(await metrics.query("sum by (deployment) (rate(visits_total[5m]))", START))
    assert set(rates) == set(HOSTILE)
    for name in HOSTILE:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        found = await metrics.query(f'model_info{{deployment="{quoted}"}}', START)
        assert [dict(series.labels)["version"] for series in found] == [name]
        assert await registry.read_pointer(name, name) == name
        with pytest.raises(BackendRefused) as caught:
            await registry.write_pointer(name, name, "\x1b[2Jno such version")
        assert "\x1b" not in str(caught.value)
        assert len(str(caught.value)) < 500


def test_worlds_that_make_no_sense_are_refused() -> None:
    world = demo_world(7, START)
    with pytest.raises(ValueError, match="same id"):
        World(7, VirtualClock(), world.deployments[:1] * 2, world.history)
    with pytest.raises(ValueError, match="nothing ever pointed"):
        World(7, VirtualClock(), world.deployments, ())


@given(st.integers(0, 2**63), st.integers(0, 5000), st.floats(0.0, 1.0))
@settings(max_examples=200, deadline=None)
def test_binomial_stays_within_its_trials(stream: int, trials: int, chance: float) -> None:
    assert 0 <= noise.binomial(stream, 1, trials, chance) <= trials


@pytest.mark.parametrize(("trials", "chance"), [(20, 0.1), (40, 0.9), (5_000, 0.002), (9_000, 0.46)])
def test_binomial_has_its_mean_and_spread(trials: int, chance: float) -> None:
    draws = [noise.binomial(noise.key("mean", trials), slot, trials, chance) for slot in range(4_000)]
    mean = sum(draws) / len(draws)
    variance = sum((draw - mean) ** 2 for draw in draws) / len(draws)
    expected = trials * chance * (1 - chance)
    assert abs(mean - trials * chance) < 4.5 * (expected / len(draws)) ** 0.5 + 0.01
    assert variance == pytest.approx(expected, rel=0.12)


def test_effects_join_and_scale() -> None:
    half = Effect(conversion=0.8, errors=0.1, feature_age=True).scaled(0.5)
    assert half == Effect(conversion=0.9, errors=0.05, feature_age=True)
    assert not Effect(feature_age=True).scaled(0.0).feature_age
    assert half.joined(half).conversion == pytest.approx(0.81)


async def test_memory_is_bounded_and_forgetting_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = demo_setup(7, START)
    before = [await setup.metrics.query(q, START) for q in SIGNALS]
    monkeypatch.setattr(world_module, "_KEPT", 200)
    for days in range(20):
        for question in SIGNALS:
            await setup.metrics.query(question, START - 86_400.0 * days)
    assert len(setup.world._chunks) <= 200
    assert len(setup.world._latencies) <= 200
    assert [await setup.metrics.query(q, START) for q in SIGNALS] == before

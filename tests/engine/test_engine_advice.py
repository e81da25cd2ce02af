"""What the console advises against, and what it says while a rollback runs: on the demo's world."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from test_engine_flips import Bench

from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.engine.recovery import RecoveryObserver
from rollback_console.engine.summary import summarize
from rollback_console.errors import PreflightFailed, Refused
from rollback_console.execute.marks import KNOWN_BAD_TAG
from rollback_console.execute.plan import plan_bytes, plan_digest, plan_from_bytes
from rollback_console.execute.run import RecoveryState
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerState
from rollback_console.rehearse.backends import WorldRegistry
from rollback_console.rehearse.demo import demo_setup

CHECKOUT = DeploymentId("production", "checkout-ranker")
UPSTREAM = DeploymentId("production", "search-rank")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The demo's world with both incidents under way."""
    clock = VirtualClock(HEADLESS_START)
    seat = rehearsal(demo_setup(7, clock.now(), clock), tmp_path / "journal.db", command="test")
    found = Bench(seat, clock)
    await seat.engine.start()
    await found.until(lambda s: _alarming(s, CHECKOUT) and _alarming(s, UPSTREAM), 900)
    yield found
    await seat.close()


def _alarming(snapshot: Snapshot, name: DeploymentId) -> bool:
    view = snapshot.view(name)
    return view is not None and view.verdict is not None and view.verdict.alarming


def _healthy(snapshot: Snapshot) -> DeploymentId:
    return next(
        view.id
        for view in snapshot.deployments
        if view.rule.recovery and view.verdict is not None and view.verdict.state is TriggerState.HEALTHY
    )


def _ended(snapshot: Snapshot) -> bool:
    return bool(snapshot.executions) and snapshot.executions[-1].ended_at is not None


async def _rollback(bench: Bench, name: DeploymentId, to: str | None = None) -> str:
    plan = await bench.seat.acts.plan(name, to=to)
    return await bench.seat.acts.execute(plan, "a test", bench.seat.acts.phrase(plan))


async def _another(bench: Bench, name: DeploymentId) -> str:
    """A version of the deployment's model that is not the one it points to."""
    engine = bench.seat.engine
    deployment = engine.rules[engine.index[name]].deployment
    assert isinstance(engine.registry, WorldRegistry)
    current = await engine.registry.read_pointer(deployment.model, deployment.alias)
    return next(v.version for v in await engine.registry.versions(deployment.model) if v.version != current)


async def _marked(bench: Bench, name: DeploymentId, version: str) -> bool:
    engine = bench.seat.engine
    assert isinstance(engine.registry, WorldRegistry)
    return KNOWN_BAD_TAG in await engine.registry.read_tags(engine.rules[engine.index[name]].deployment.model, version)


async def test_a_rollback_that_is_recommended_is_not_advised_against(bench: Bench) -> None:
    assert (await bench.seat.acts.plan(CHECKOUT)).against == ""


async def test_upstream_and_a_healthy_trigger_are_advised_against_and_nothing_is_blocked(bench: Bench) -> None:
    plan = await bench.seat.acts.plan(UPSTREAM, to=await _another(bench, UPSTREAM))
    assert plan.against.startswith("the console advises against: upstream: ")
    assert plan.against.endswith("rolling back will not help")
    assert plan.executable
    well = _healthy(bench.seen[-1])
    other = await bench.seat.acts.plan(well, to=await _another(bench, well))
    assert other.against.startswith("the console advises against: its trigger is healthy: ")


async def test_the_advice_goes_with_the_plan_and_not_into_its_digest(bench: Bench) -> None:
    plan = await bench.seat.acts.plan(UPSTREAM, to=await _another(bench, UPSTREAM))
    assert plan_digest(replace(plan, against="")) == plan.digest
    assert plan_from_bytes(plan_bytes(plan)) == plan


async def test_what_was_done_against_advice_says_so_and_brands_no_version(bench: Bench) -> None:
    before = await bench.seat.acts.plan(UPSTREAM, to=await _another(bench, UPSTREAM))
    execution = await _rollback(bench, UPSTREAM, before.to_version)
    ended = await bench.until(_ended, 7200)
    asked = next(item for item in ended.timeline if item.kind == "request")
    assert f"v{before.to_version} against advice as {execution}" in asked.text
    assert next(e for e in ended.executions if e.id == execution).plan.against == before.against
    assert not await _marked(bench, UPSTREAM, before.from_version)


async def test_a_version_is_known_bad_once_the_signals_recovered_without_it(bench: Bench) -> None:
    await _rollback(bench, CHECKOUT)
    await bench.until(lambda s: s.executions[-1].state is ExecutionState.VERIFYING, 300)
    assert not await _marked(bench, CHECKOUT, "8"), "nothing is known of it yet"
    ended = await bench.until(_ended, 3600)
    assert ended.executions[-1].state is ExecutionState.DONE
    assert await _marked(bench, CHECKOUT, "8")


async def test_while_it_runs_the_advice_is_that_it_runs(bench: Bench) -> None:
    await _rollback(bench, CHECKOUT)
    shown = await bench.until(lambda s: "cannot confirm before" in s.executions[-1].detail, 600)
    incident = shown.incident_of(CHECKOUT)
    assert incident is not None
    (advice,) = (each for each in incident.recommendations if each.deployment == CHECKOUT)
    assert advice.sentence == "a rollback to v7 is under way"
    text = summarize(shown, CHECKOUT)
    assert "Advice: a rollback to v7 is under way" in text
    assert "verifying: verifying" not in text
    assert re.search(r"by \S+: verifying, cannot confirm before \d\d:\d\d:\d\d UTC", text)


async def test_the_registrys_version_is_read_right_after_it_was_set(bench: Bench) -> None:
    await _rollback(bench, CHECKOUT)
    await bench.until(_ended, 3600)
    after = [
        s for s in bench.seen
        if any(x.name == "set" and x.state is StepState.DONE for e in s.executions for x in e.steps)
    ]  # fmt: skip
    assert after
    for snapshot in after:
        view = snapshot.view(CHECKOUT)
        assert view is not None
        assert view.registry_version == "7", f"{snapshot.at - after[0].at} s after the first"


async def test_the_first_confirmation_comes_when_it_was_said_to_be_the_earliest(bench: Bench) -> None:
    await _rollback(bench, CHECKOUT)
    shown = await bench.until(
        lambda s: any(x.name == "serving" and x.state is StepState.DONE for x in s.executions[-1].steps), 600
    )
    since = next(x.ended_at for x in shown.executions[-1].steps if x.name == "serving")
    assert since is not None
    engine = bench.seat.engine
    observer = RecoveryObserver(engine)
    rule = engine.rules[engine.index[CHECKOUT]]
    said = [observer.earliest(CHECKOUT, since)]
    longest = max(signal.window_s for signal in rule.signals)
    assert said[0] >= since + longest + rule.recovery[0].verify_for_s
    for _ in range(400):
        recovery = await observer.recovered(CHECKOUT, since)
        if recovery.state is RecoveryState.CONFIRMED:
            break
        said.append(observer.earliest(CHECKOUT, since))
        assert said[-1] > engine.clock.now(), "a time that has passed is not the earliest any more"
        await bench.clock.advance(15.0)
        await engine.step(bench.clock.now())
    else:
        raise AssertionError("it never recovered")
    assert said == sorted(said)
    assert engine.evaluated_at is not None
    assert engine.evaluated_at + engine.options.delay_s == said[-1]


async def test_the_ten_lines_name_times_and_count_nothing_down(bench: Bench) -> None:
    for snapshot in bench.seen:
        for view in snapshot.deployments:
            verdict = view.verdict
            if verdict is None or verdict.state is not TriggerState.PENDING or verdict.frozen:
                continue
            line = next(line for line in summarize(snapshot, view.id).split("\n") if line.startswith(f"{view.id} "))
            assert verdict.dwell_remaining_s is not None
            at = datetime.fromtimestamp(verdict.at + verdict.dwell_remaining_s, UTC).strftime("%H:%M:%S UTC")
            assert f"fires at {at} if it stays" in line
            assert not re.search(r"\bin \d", line)
            return
    raise AssertionError("nothing was ever pending")


async def test_a_deployment_that_went_silent_keeps_the_version_it_was_last_seen_with(bench: Bench) -> None:
    silent = [
        view
        for view in bench.seen[-1].deployments
        if view.verdict is not None and view.verdict.version is None and view.deployment.serving_version is not None
    ]
    assert silent
    for view in silent:
        assert view.serving_version is not None
        assert view.last_seen_at is not None
        assert view.last_seen_at < bench.seen[-1].at
    for view in bench.seen[-1].deployments:
        if view.verdict is not None and view.verdict.version is not None:
            assert view.serving_version == view.verdict.version
            assert view.last_seen_at is None


async def test_an_abort_needs_no_reason_and_the_journal_says_that_there_was_none(bench: Bench) -> None:
    execution = await _rollback(bench, CHECKOUT)
    await bench.until(lambda s: s.executions[-1].state is ExecutionState.VERIFYING, 300)
    await bench.seat.acts.abort(execution, "  ")
    ended = bench.seat.engine.snapshot().executions[-1]
    assert ended.state is ExecutionState.ABORTED
    assert "aborted by oncall-1: no reason given" in ended.detail
    assert not await _marked(bench, CHECKOUT, "8")
    again = bench.seat.engine.snapshot().incident_of(CHECKOUT)
    assert again is not None
    assert "under way" not in again.recommendations[0].sentence
    with pytest.raises(Refused, match="has ended: aborted"):
        await bench.seat.acts.resume(execution)


async def test_without_a_known_good_version_it_is_said_once_and_both_ways_to_name_one(bench: Bench) -> None:
    engine = bench.seat.engine
    nobody = replace(engine.rules[engine.index[CHECKOUT]].recovery[0], healthy_for_s=30 * 86_400.0)
    index = engine.index[CHECKOUT]
    engine.rules = tuple(
        replace(rule, recovery=(nobody,)) if number == index else rule for number, rule in enumerate(engine.rules)
    )
    with pytest.raises(PreflightFailed) as refused:
        await bench.seat.acts.plan(CHECKOUT)
    assert "is known to have served healthily" in refused.value.message
    assert "--to" not in refused.value.message
    assert "if you know" not in refused.value.message
    assert str(refused.value).count("name") == 1
    assert "o on the rollback's screen" in refused.value.next_step
    assert "--to VERSION on the command line" in refused.value.next_step

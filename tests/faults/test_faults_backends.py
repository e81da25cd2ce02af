"""A metric backend and a registry that misbehave, under the whole console: it stays alive, says so, and catches up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults_bench import (
    FakeMlflow,
    FakePrometheus,
    Live,
    bodies,
    cold_states,
    running,
    transitions,
    unbroken,
    write_console,
)

from rollback_console.errors import BackendError, PreflightFailed, Refused
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import BackendState, Blind
from rollback_console.model.plan import ExecutionState
from rollback_console.model.verdict import TriggerState

RANKER = DeploymentId("production", "ranker")
KEY_S = 0.2  # a key answers within this, whatever hangs

# fault -> a word of the reason that the header must give
FAULTS = {
    "hang": "did not answer",
    "trickle_body": "did not answer",
    "error_500": "failed inside",
    "half_json": "JSON",
    "huge": "more than",
    "html": "HTML",
    "redirect": "redirect",
    "reset": "broke off|cannot be reached",
    "closed": "cannot be reached",
}


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    fake = FakePrometheus()
    yield fake
    fake.server.stop()


@pytest.fixture
def mlflow() -> Iterator[FakeMlflow]:
    fake = FakeMlflow()
    yield fake
    fake.server.stop()


def _says(text: str, words: str) -> bool:
    return any(word in text for word in words.split("|"))


def _failing(console: Live, words: str) -> Callable[[], bool]:
    def failing() -> bool:
        backend = console.backend("registry")
        return backend.state is BackendState.FAILING and _says(backend.detail, words)

    return failing


@pytest.mark.parametrize("faults", [list(FAULTS)[:5], list(FAULTS)[5:]], ids=["first", "second"])
async def test_a_metric_backend_that_misbehaves(
    faults: list[str],
    tmp_path: Path,
    prometheus: FakePrometheus,
    mlflow: FakeMlflow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    async with running(settings, monkeypatch) as console:
        for fault in faults:
            prometheus.server.fault = fault
            await console.until(lambda: console.backend("prometheus").state is BackendState.FAILING, 8, fault)
            await console.until(lambda: console.verdict().blind, 8, f"{fault}: blind")
            for key in "jjkj":
                took = await console.key_answers(key)
                assert took < KEY_S, f"{fault}: {key} took {took:.3f} s"
            verdict = console.verdict()
            assert {signal.blind for signal in verdict.signals} == {Blind.QUERY_FAILED}, fault
            assert verdict.state is TriggerState.BLIND
            assert _says(console.backend("prometheus").detail, FAULTS[fault]), console.backend("prometheus").detail
            header = console.screen.splitlines()[1]
            assert "✗ failing" in header
            assert _says(header, FAULTS[fault]), header
            prometheus.server.fault = "ok"
            await console.until(lambda: console.verdict().state is TriggerState.HEALTHY, 12, f"{fault}: back")
            assert console.backend("prometheus").state is BackendState.OK
            await console.pilot.press("k", "k", "k")


async def test_an_outage_freezes_the_dwell_and_is_replayed(
    tmp_path: Path, prometheus: FakePrometheus, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pending when it goes; while away it would have fired, recovered and be pending again; then it comes back."""
    settings = write_console(tmp_path, prometheus.url, mlflow.url, dwell="3s", hold="2s")
    async with running(settings, monkeypatch) as console:
        onset = int(time.time()) + 1
        bad = [(onset, onset + 6), (onset + 10, onset + 300)]
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5 if any(a <= at < b for a, b in bad) else 0.001
        await console.until(lambda: console.verdict().state is TriggerState.PENDING, 6)
        prometheus.server.fault = "reset"
        await console.until(lambda: console.verdict().frozen, 6)
        left = console.verdict().dwell_remaining_s
        assert "frozen" in console.screen
        await asyncio.sleep(2.2)  # evaluations go by: what is tested is that time does not count
        assert console.verdict().dwell_remaining_s == left
        assert console.verdict().state is TriggerState.PENDING
        await console.until(lambda: time.time() > onset + 11, 15)
        prometheus.server.fault = "ok"
        await console.until(lambda: not console.verdict().blind, 75)  # the circuit waits up to a minute, at random
        await console.until(lambda: console.verdict().state is TriggerState.FIRED, 8)
        assert console.verdict().since == onset + 10 + 3
        cold = await cold_states(settings, tmp_path / "cold.db")
        seen = {v.id.name: (str(v.verdict.state), v.verdict.since) for v in console.snapshot.deployments if v.verdict}
        assert seen == cold
    changes = transitions(tmp_path / "journal.db", "ranker")
    assert unbroken(changes), changes
    # a healthy one that was unseen is not left "blind" in the record either
    assert unbroken(transitions(tmp_path / "journal.db", "feed"))
    said = [body.state for _, body in bodies(tmp_path / "journal.db", "backend")]
    assert said == ["failing", "ok"]


async def test_a_registry_that_misbehaves(
    tmp_path: Path, prometheus: FakePrometheus, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    async with running(settings, monkeypatch) as console:
        for fault in FAULTS:
            mlflow.server.fault = fault
            looking = asyncio.create_task(console.engine.look_at_pointers())
            planning = asyncio.create_task(console.acts.plan(RANKER))
            for key in "jk":
                assert await console.key_answers(key) < KEY_S, fault
            await looking
            with pytest.raises(BackendError):
                await planning
            await console.until(_failing(console, FAULTS[fault]), 5, fault)
            await console.until(lambda: "✗ failing" in console.screen.splitlines()[1], 5)
            assert console.verdict().state is TriggerState.HEALTHY  # its metrics are not the registry's
            mlflow.server.fault = "ok"
            plan = await console.acts.plan(RANKER)
            assert plan.executable, plan.checks


async def test_both_are_out_from_the_start_and_come_one_after_the_other(
    tmp_path: Path, prometheus: FakePrometheus, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    prometheus.server.fault = mlflow.server.fault = "reset"
    async with running(settings, monkeypatch, size=(80, 24)) as console:
        await console.until(lambda: "OFFLINE" in console.screen, 10)
        assert console.verdict().state is TriggerState.BLIND
        await console.pilot.press("r")
        await console.until(lambda: "cannot be reached" in console.screen or "broke off" in console.screen, 10)
        await console.pilot.press("escape")
        prometheus.server.fault = "ok"
        await console.until(lambda: console.verdict().state is TriggerState.HEALTHY, 15)
        assert "OFFLINE" not in console.screen
        mlflow.server.fault = "ok"
        await console.engine.look_at_pointers()
        await console.until(lambda: console.backend("registry").state is BackendState.OK, 15)


async def test_the_registry_dies_between_plan_and_execute_and_between_set_and_verify(
    tmp_path: Path, prometheus: FakePrometheus, mlflow: FakeMlflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    prometheus.versions = lambda name, at: mlflow.aliases[name]["champion"]
    async with running(settings, monkeypatch) as console:
        plan = await console.acts.plan(RANKER)
        mlflow.server.fault = "reset"
        with pytest.raises((BackendError, Refused)):
            await console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan))
        assert mlflow.sets == []
        assert bodies(tmp_path / "journal.db", "request", "intent") == []

        mlflow.server.fault = "ok"

        def die_after_the_move(method: str, path: str) -> None:
            if mlflow.sets and path == "registered-models/alias":
                mlflow.server.fault = "reset"

        mlflow.before = die_after_the_move
        execution = await console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan))
        with pytest.raises(BackendError):
            await console.acts.wait(execution)
        await console.until(
            lambda: [e.state for e in console.snapshot.executions] == [ExecutionState.UNFINISHED], 5, "unfinished"
        )
        mlflow.before = lambda method, path: None
        mlflow.server.fault = "ok"
        with pytest.raises(PreflightFailed, match="unfinished"):  # nobody starts another over it
            await console.acts.execute(plan, "again", console.acts.phrase(plan))
        await console.acts.resume(execution)
        ended = await console.acts.wait(execution)
        assert ended.state is ExecutionState.DONE, ended
        assert mlflow.sets == [("ranker", "7")]
    sets = [b.kind for _, b in bodies(tmp_path / "journal.db", "intent", "outcome") if b.step == "set"]
    assert sets == ["intent", "outcome"]

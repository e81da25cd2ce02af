"""A rollback on a real MLflow: whole, and killed at the boundaries that matter most, then resumed."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import exec_support
import pytest
from exec_support import ALIAS, START, Bench, in_child, plan_for, was_killed

from rollback_console.execute.plan import phrase
from rollback_console.model.plan import Execution, ExecutionState
from rollback_console.observe.mlflow import MlflowRegistry

pytestmark = pytest.mark.real


class Counted:
    """The real registry client; each pointer write leaves a line in a file that outlives the process."""

    def __init__(self, url: str, folder: Path, clock: Any) -> None:
        self._registry = MlflowRegistry(url, auth=None, headers={}, clock=clock, random=random.Random(1))
        self._count = folder / "writes"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    async def write_pointer(self, model: str, alias: str, version: str) -> None:
        await self._registry.write_pointer(model, alias, version)
        with self._count.open("a") as file:
            file.write(f"{version}\n")


@pytest.fixture
def model(mlflow_server: Any, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A registered model of this test's own with v1 to v8, champion at v8."""
    name = f"ranker {request.node.name} 'ü'"
    mlflow_server.model(name)
    for _ in range(8):
        mlflow_server.version(name)
    mlflow_server.point(name, ALIAS, "8")
    monkeypatch.setattr(exec_support, "MODEL", name)
    return name


def _open(url: str, folder: Path, **more: Any) -> Bench:
    clock = exec_support.EagerClock(more.get("start", START))
    return Bench(folder, registry=Counted(url, folder, clock), **more)


def _in_process(url: str, folder: Path, work: Callable[[Bench], Any], **more: Any) -> Any:
    async def go() -> Any:
        bench = _open(url, folder, **more)
        try:
            return await work(bench)
        finally:
            await bench.files.close()
            bench.real_journal.close()

    return asyncio.run(go())


async def _whole(bench: Bench) -> Execution:
    plan = await plan_for(bench.driver, bench.clock.now())
    assert plan.executable, plan.checks
    return await bench.runner.wait(await bench.runner.start(plan, "ana", "v8 hurts", phrase(plan)))


def _assert_once(server: Any, model: str, folder: Path) -> None:
    alias = server.call("GET", "registered-models/alias", name=model, alias=ALIAS)
    assert alias["model_version"]["version"] == "7"
    assert (folder / "writes").read_text().splitlines() == ["7"]
    tags = {
        tag["key"]: tag["value"]
        for tag in server.call("GET", "model-versions/get", name=model, version="8")["model_version"]["tags"]
    }
    assert "from v8 to v7" in tags["rollback-console.rolled_back"]
    assert "rollback-console.known_bad" in tags
    whole = server.call("GET", "registered-models/get", name=model)["registered_model"]
    assert "tags" not in whole, "the advisory lock was left behind"


def test_a_whole_rollback_and_its_manual_equivalent(mlflow_server: Any, model: str, tmp_path: Path) -> None:
    ended = _in_process(mlflow_server.url, tmp_path, _whole)
    assert ended.state is ExecutionState.DONE
    _assert_once(mlflow_server, model, tmp_path)

    # By hand, back to where it was: the lines a plan prints do what the console does.
    mlflow_server.point(model, ALIAS, "8")

    async def lines(bench: Bench) -> tuple[str, ...]:
        driver = type(bench.driver)(bench.files, now=bench.clock.now, base_url=mlflow_server.url)
        return (await plan_for(driver, START, to="6")).manual

    for line in _in_process(mlflow_server.url, tmp_path, lines):
        done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, (line, done.stderr, done.stdout)
    alias = mlflow_server.call("GET", "registered-models/alias", name=model, alias=ALIAS)
    assert alias["model_version"]["version"] == "6"


def test_killed_around_the_touches_and_resumed_once(mlflow_server: Any, model: str, tmp_path: Path) -> None:
    count = tmp_path / "count"
    count.mkdir()
    passed: list[str] = []

    async def counting(bench: Bench) -> None:
        await _whole(bench)
        passed.extend(bench.switch.passed)

    _in_process(mlflow_server.url, count, counting)
    touches = [index for index, name in enumerate(passed) if "write" in name or "delete" in name]
    assert len(touches) >= 8  # lock, pointer, two tags, unlock: before and after each
    for at in touches:
        mlflow_server.point(model, ALIAS, "8")
        for key in ("rollback-console.rolled_back", "rollback-console.known_bad"):
            mlflow_server.call("DELETE", "model-versions/delete-tag", name=model, version="8", key=key)
        folder = tmp_path / f"kill-{at}"
        folder.mkdir()
        assert was_killed(in_child(lambda at=at, folder=folder: _in_process(mlflow_server.url, folder, _whole, at=at)))

        async def resume(bench: Bench) -> Execution:
            (left,) = bench.runner.executions()
            assert left.state is ExecutionState.UNFINISHED
            await bench.runner.resume(left.id, "bo")
            return await bench.runner.wait(left.id)

        ended = _in_process(mlflow_server.url, folder, resume, start=START + 900)
        assert ended.state is ExecutionState.DONE, ended.detail
        _assert_once(mlflow_server, model, folder)

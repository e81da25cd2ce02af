"""Drills without a screen, on the very engine: who passes, who does not, and that a seed decides everything."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from rollback_console.cli.rehearse import headless_drill
from rollback_console.clock import VirtualClock
from rollback_console.errors import Refused, UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.rehearse.demo import demo_truth
from rollback_console.rehearse.desk import Act, Desk
from rollback_console.rehearse.headless import Drill, run_headless
from rollback_console.rehearse.operators import operator_named
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.score import DrillResult, Scorer

CHECKOUT = DeploymentId("production", "checkout-ranker")


def drill(operator: str, seed: int, journal: Path) -> DrillResult:
    return asyncio.run(headless_drill(find("demo"), operator, seed, journal))[0]


@pytest.mark.parametrize("seed", [7, 20])
def test_the_perfect_operator_passes(tmp_path: Path, seed: int) -> None:
    result = drill("perfect", seed, tmp_path / "journal.db")
    assert result.passed, result.failed_because
    assert result.decision == "right"
    assert not result.wrong_turns
    assert result.noticed_s is not None
    assert result.decided_s is not None
    assert result.acted_s is not None
    assert result.recovered_s is not None
    assert result.noticed_s <= result.decided_s <= result.acted_s < result.recovered_s
    assert result.steps_done > 10
    assert result.steps_skipped == 0


def test_the_careless_operator_does_not(tmp_path: Path) -> None:
    result = drill("careless", 7, tmp_path / "journal.db")
    assert not result.passed
    assert result.decision == "wrong"
    assert result.recovered_s is None
    assert result.steps_skipped > 10
    upstream = {str(name) for name in demo_truth().not_curable}
    assert any(name in turn for turn in result.wrong_turns for name in upstream)


def test_a_seed_decides_every_byte(tmp_path: Path) -> None:
    """Two processes, with other hash seeds and other folders: the same journal, byte for byte."""
    exports = []
    for name, hashing in (("one", "1"), ("other", "2")):
        journal = str(tmp_path / f"{name}.db")
        program = [sys.executable, "-m", "rollback_console"]
        environment = {**os.environ, "PYTHONHASHSEED": hashing}
        play = [
            *program,
            "rehearse",
            "demo",
            "--headless",
            "--operator",
            "perfect",
            "--seed",
            "3",
            "--journal",
            journal,
        ]
        subprocess.run(play, env=environment, check=True, capture_output=True)
        export = [*program, "journal", "export", "--journal", journal, "--format", "jsonl"]
        exports.append(subprocess.run(export, env=environment, check=True, capture_output=True).stdout)
    assert exports[0] == exports[1]
    assert exports[0].count(b"\n") > 100


def test_an_operator_nobody_knows() -> None:
    with pytest.raises(UsageError, match="perfect, slow, careless"):
        operator_named("\x1b[31mnobody")


class FakeEngine:
    """A fake: shows an empty fleet, and remembers when it was asked."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def step(self, at: float) -> Snapshot:
        self.asked.append(at)
        return Snapshot(at=at, evaluated_at=at, step_s=15.0, band="REHEARSAL", deployments=())


class FakeCommands:
    """A fake: notes are taken, plans are refused."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def note(self, text: str, deployment: DeploymentId | None = None) -> None:
        self.notes.append(text)

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> None:
        raise Refused("no", "ask somebody")


async def test_scripts_see_one_evaluation_at_a_time_and_time_is_only_moved_by_the_drill() -> None:
    seen: list[float] = []

    async def script(desk: Desk) -> AsyncGenerator[None, None]:
        async for _ in desk.wait(40.0):
            seen.append(desk.at)
            yield
        await desk.note("done waiting")
        assert await desk.plan(CHECKOUT) is None
        yield

    engine, commands, clock = FakeEngine(), FakeCommands(), VirtualClock(1000.0)
    settled = itertools.count()

    async def settle() -> None:
        next(settled)

    play = Drill("empty", 1, "waiter", script, demo_truth(), 15.0, limit_s=600.0, linger_s=30.0)
    result = await run_headless(play, engine, commands, clock, settle)  # type: ignore[arg-type] # a fake has what it needs
    assert seen == [1000.0, 1015.0, 1030.0]
    assert commands.notes == ["done waiting"]
    assert engine.asked == [1000.0 + 15.0 * n for n in range(len(engine.asked))]
    assert next(settled) >= len(engine.asked)
    assert result.refused == ("plan production/checkout-ranker: no: ask somebody",)
    assert not result.passed
    assert result.decision == "none"
    assert result.elapsed_s < 600.0, "a drill ends when its script has"


async def test_a_drill_ends_at_its_limit() -> None:
    async def forever(desk: Desk) -> AsyncGenerator[None, None]:
        while True:
            yield

    clock = VirtualClock(0.0)
    play = Drill("empty", 1, "sleeper", forever, demo_truth(), 15.0, limit_s=120.0)
    result = await run_headless(play, FakeEngine(), FakeCommands(), clock)  # type: ignore[arg-type] # a fake
    assert result.elapsed_s == 135.0
    assert not result.passed


def test_the_score_names_what_went_wrong() -> None:
    home_feed = demo_truth().not_curable[1]
    acts = [
        Act(10.0, "execute", home_feed, "13"),
        Act(20.0, "execute", CHECKOUT, "6"),
        Act(30.0, "execute", CHECKOUT, "7", refused="the pointer moved"),
    ]
    result = Scorer(demo_truth()).result("demo", 1, "somebody", acts, 60.0)
    assert result.decision == "wrong"
    assert result.wrong_turns == (f"rolled back {home_feed} to v13", f"rolled back {CHECKOUT} to v6")
    assert result.refused == (f"execute {CHECKOUT}: the pointer moved",)
    assert "not rolled back" in result.failed_because[0]
    assert result.detail()["wrong_turns"] == list(result.wrong_turns)
    assert StepState.SKIPPED not in result.detail().values()

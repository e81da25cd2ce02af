"""kill -9 at every boundary of an execution, then resume: the planned world, exactly once, and the journal says so."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest
from exec_support import ALIAS, ID, MODEL, START, Bench, in_child, was_killed

from rollback_console.errors import Refused
from rollback_console.execute.fold import STEPS
from rollback_console.model.plan import Execution, ExecutionState, StepState

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))


def _run(folder: Path, at: int | None) -> int:
    """A whole execution in its own process, killed at boundary `at`."""
    return in_child(lambda: asyncio.run(Bench(folder, at=at).whole()) and None)


def _resume(folder: Path, at: int | None, start: float) -> int:
    def work() -> None:
        async def go() -> None:
            bench = Bench(folder, at=at, start=start)
            (left,) = bench.runner.executions()
            await bench.runner.resume(left.id, "bo")
            await bench.runner.wait(left.id)

        asyncio.run(go())

    return in_child(work)


def _boundaries(tmp_path: Path) -> list[str]:
    bench = Bench(tmp_path / "count")
    asyncio.run(bench.whole())
    return bench.switch.passed


def _assert_planned_world_once(bench: Bench, execution: Execution) -> None:
    registry = bench.files
    assert asyncio.run(registry.read_pointer(MODEL, ALIAS)) == "7"
    assert registry.moves() == ["7"], "the pointer was written more or less than once"
    assert sorted(registry.marks()) == ["v8 rollback-console.known_bad", "v8 rollback-console.rolled_back"]
    assert asyncio.run(registry.read_tags(MODEL, None)) == {}, "the advisory lock was left behind"
    assert execution.state is ExecutionState.DONE
    assert [step.state for step in execution.steps] == [StepState.DONE] * len(STEPS)
    assert len(bench.bodies("execution")) == 1
    intents = [(body.step, body.attempt) for body in bench.bodies("intent")]
    assert len(set(intents)) == len(intents), "an attempt was numbered twice"
    told = [body for body in bench.bodies("outcome") if body.step == "set" and body.state == "done"]
    assert len(told) == 1


def test_the_boundaries_cover_every_step_before_and_after_intent_touch_and_outcome(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    passed = _boundaries(tmp_path)
    for name, _ in STEPS:
        for moment in (f"before intent {name}", f"after intent {name}", f"before outcome {name}"):
            assert moment in passed
    touch = passed.index("before write_pointer")
    assert passed[touch - 1 : touch + 3] == [
        "after intent set", "before write_pointer", "after write_pointer", "before outcome set",
    ]  # fmt: skip
    assert passed[0] == "before request "
    assert passed[-1] == "after execution "


def test_killed_at_every_boundary_and_resumed_the_world_is_as_planned_once(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    count = len(_boundaries(tmp_path))
    outcomes = {"nothing asked": 0, "resumed": 0, "had ended": 0}
    for at in range(count):
        folder = tmp_path / f"kill-{at}"
        folder.mkdir()
        assert was_killed(_run(folder, at))
        bench = Bench(folder, start=START + 400.0)
        left = bench.runner.executions()
        if not left:
            assert bench.files.moves() == []
            assert bench.files.marks() == []
            outcomes["nothing asked"] += 1
            continue
        (execution,) = left
        if execution.state is ExecutionState.DONE:
            with pytest.raises(Refused, match="has ended"):
                asyncio.run(bench.runner.resume(execution.id, "bo"))
            outcomes["had ended"] += 1
        else:
            assert execution.state is ExecutionState.UNFINISHED
            assert "stopped" in execution.detail

            async def go(bench: Bench = bench, execution: Execution = execution) -> Execution:
                await bench.runner.resume(execution.id, "bo")
                return await bench.runner.wait(execution.id)

            execution = asyncio.run(go())
            outcomes["resumed"] += 1
        _assert_planned_world_once(bench, execution)
        bench.real_journal.close()
    assert outcomes["resumed"] > count * 0.9
    assert outcomes["had ended"] == 1


def test_killed_again_while_resuming_it_still_happens_once(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    passed = _boundaries(tmp_path)
    asked = passed.index("after request ")
    choose = random.Random(7)
    for case in range(200 if CAMPAIGN else 25):
        folder = tmp_path / f"case-{case}"
        folder.mkdir()
        assert was_killed(_run(folder, choose.randrange(asked, len(passed) - 2)))
        start = START + 300.0
        # Until a resume gets through: each is killed somewhere among its first boundaries.
        for _ in range(choose.randrange(1, 4)):
            status = _resume(folder, choose.randrange(0, 8), start)
            assert was_killed(status)
            start += 200.0
        assert _resume(folder, None, start) == 0
        bench = Bench(folder, start=start + 1000.0)
        (execution,) = bench.runner.executions()
        _assert_planned_world_once(bench, execution)
        bench.real_journal.close()


def test_a_flip_by_somebody_else_after_the_crash_is_never_overwritten(tmp_path: Path) -> None:
    """After the move, whatever the crash left unsaid: v9 by hand stays v9, and the execution says who and what."""
    (tmp_path / "count").mkdir()
    passed = _boundaries(tmp_path)
    for moment in ("after write_pointer", "after outcome set", "before intent registry", "after intent serving"):
        folder = tmp_path / moment.replace(" ", "-")
        folder.mkdir()
        assert was_killed(_run(folder, passed.index(moment)))
        bench = Bench(folder, start=START + 400.0)
        bench.files.by_hand("9")
        (left,) = bench.runner.executions()

        async def go(bench: Bench = bench, left: Execution = left) -> Execution:
            await bench.runner.resume(left.id, "bo")
            return await bench.runner.wait(left.id)

        ended = asyncio.run(go())
        assert ended.state is ExecutionState.FAILED
        assert "points to v9" in ended.detail
        assert "As it stands" in ended.detail
        assert bench.files.moves() == ["7"]
        assert asyncio.run(bench.files.read_pointer(MODEL, ALIAS)) == "9"
        assert asyncio.run(bench.files.read_tags(MODEL, None)) == {}


def test_a_crash_before_the_move_and_a_flip_by_hand_moves_nothing(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    passed = _boundaries(tmp_path)
    folder = tmp_path / "before"
    folder.mkdir()
    assert was_killed(_run(folder, passed.index("before write_pointer")))
    bench = Bench(folder, start=START + 400.0)
    bench.files.by_hand("6")
    (left,) = bench.runner.executions()

    async def go() -> Execution:
        await bench.runner.resume(left.id, "bo")
        return await bench.runner.wait(left.id)

    ended = asyncio.run(go())
    assert ended.state is ExecutionState.FAILED
    assert bench.files.moves() == []


def test_an_unfinished_one_can_be_aborted_and_says_what_stands(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    passed = _boundaries(tmp_path)
    for moment, stands in (
        ("before write_pointer", "points to v8, this execution may have set it"),
        ("after outcome set", "points to v7, set by this execution, nothing is undone"),
        ("before intent compare", "points to v8, not touched by this execution"),
    ):
        folder = tmp_path / moment.replace(" ", "-")
        folder.mkdir()
        assert was_killed(_run(folder, passed.index(moment)))
        bench = Bench(folder, start=START + 400.0)
        (left,) = bench.runner.executions()
        ended = asyncio.run(bench.runner.abort(left.id, "bo", "by hand instead"))
        assert ended.state is ExecutionState.ABORTED
        assert "aborted by bo: by hand instead" in ended.detail
        assert stands in ended.detail
        assert bench.runner.lock_free(ID)
        assert asyncio.run(bench.files.read_tags(MODEL, None)) == {}


def test_a_plan_that_expired_meanwhile_is_not_carried_out_late(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    passed = _boundaries(tmp_path)
    folder = tmp_path / "late"
    folder.mkdir()
    assert was_killed(_run(folder, passed.index("before write_pointer")))
    bench = Bench(folder, start=START + 1900.0)
    (left,) = bench.runner.executions()

    async def go() -> Execution:
        await bench.runner.resume(left.id, "bo")
        return await bench.runner.wait(left.id)

    ended = asyncio.run(go())
    assert ended.state is ExecutionState.FAILED
    assert "expired" in ended.detail
    assert bench.files.moves() == []
    by = [entry.operator for entry in bench.real_journal.entries(kinds=("intent", "execution"))]
    assert by[0] == "ana"
    assert by[-1] == "bo", "who resumed it is in the journal"


def test_nothing_new_starts_over_an_unfinished_one(tmp_path: Path) -> None:
    (tmp_path / "count").mkdir()
    passed = _boundaries(tmp_path)
    folder = tmp_path / "left"
    folder.mkdir()
    assert was_killed(_run(folder, passed.index("before intent lock")))
    bench = Bench(folder, start=START + 400.0, seed=2)
    (left,) = bench.runner.executions()
    with pytest.raises(Refused, match=f"{left.id} by ana .* is unfinished"):
        asyncio.run(bench.start("bo"))
    (refusal,) = bench.bodies("refusal")
    assert "unfinished" in refusal.rule

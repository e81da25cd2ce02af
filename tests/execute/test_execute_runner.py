"""Executions from start to end: what they write, what stops them, and who is told."""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from exec_support import (
    ALIAS,
    ID,
    MODEL,
    START,
    Bench,
    Serving,
    changed,
    in_child,
    plan_for,
    was_killed,
)

from rollback_console.authorize.keys import PersonKey, verify
from rollback_console.clock import VirtualClock
from rollback_console.errors import (
    BackendRefused,
    BackendUnreachable,
    JournalUnwritable,
    LockHeld,
    PreflightFailed,
    Refused,
    UsageError,
)
from rollback_console.execute.locks import MemoryLocks
from rollback_console.execute.plan import phrase
from rollback_console.execute.protocol import Pointer
from rollback_console.execute.run import Recovery, RecoveryState
from rollback_console.execute.runner import Runner, statement
from rollback_console.journal.kinds import PointerMoved
from rollback_console.journal.locks import ExecutionLock
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Check, Execution, ExecutionState, StepState
from rollback_console.model.registry import ModelVersion


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_rollback_that_recovers_is_done_and_every_step_is_in_the_journal(bench: Bench) -> None:
    ended = await bench.whole()
    assert ended.state is ExecutionState.DONE
    assert ended.detail == "registry and serving at v7, signals recovered: conversion 3.1 %; v8 is marked as known bad"
    kinds = [(e.kind, getattr(e.parsed(), "step", "")) for e in bench.real_journal.entries() if e.kind != "genesis"]
    steps = ["lock", "compare", "set", "registry", "tag", "serving", "signals", "unlock"]
    pairs = [item for step in steps for item in (("intent", step), ("outcome", step))]
    assert kinds == [("request", ""), *pairs, ("execution", "")]
    assert all(
        e.operator == "ana" and e.deployment == str(ID) for e in bench.real_journal.entries() if e.kind != "genesis"
    )
    tags = await bench.files.read_tags(MODEL, "8")
    assert tags["rollback-console.rolled_back"].startswith(f"{ended.id} from v8 to v7 at 2026-09-21T")
    assert "rolled back from by" in tags["rollback-console.known_bad"]
    assert bench.runner.lock_free(ID)
    assert bench.runner.executions() == (ended,)


async def test_the_screen_hears_every_change_and_what_is_waited_for(bench: Bench) -> None:
    await bench.whole()
    states = [execution.state for execution in bench.changes]
    assert states[0] is ExecutionState.RUNNING
    assert ExecutionState.VERIFYING in states
    assert states[-1] is ExecutionState.DONE
    said = {execution.detail for execution in bench.changes}
    assert any(detail.startswith("verifying, cannot confirm before ") for detail in said)
    assert bench.serving.since[0] == START


async def test_the_request_is_signed_for_this_one_execution(bench: Bench) -> None:
    key = PersonKey.from_seed(1, "ana")
    plan = await plan_for(bench.driver, START)
    execution = await bench.runner.start(plan, "ana", "v8 hurts", phrase(plan), key.sign)
    (request,) = bench.bodies("request")
    assert verify(request.person) == key.blob
    assert request.person.statement.encode() == statement(execution, plan, phrase(plan), "v8 hurts", START)
    assert plan.digest in request.person.statement
    assert execution in request.person.statement


async def test_ids_come_from_the_random_that_was_given(tmp_path: Path) -> None:
    ids = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        ids.append(await Bench(tmp_path / name, seed=42).start())
    assert ids[0] == ids[1] == f"ex-{random.Random(42).getrandbits(48):012x}"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"digest": "0" * 64}, PreflightFailed, "not the one its digest names"),
        ({"to_version": "6"}, UsageError, "is not 'production/checkout-ranker v6'"),
        ({"checks": ()}, PreflightFailed, "never checked"),
        ({"checks": (Check("x", None, "it cannot be told"),)}, PreflightFailed, "it cannot be told"),
        ({"expires_at": START}, PreflightFailed, "expired"),
        ({"driver": "carrier-pigeon"}, UsageError, "no driver"),
    ],
)
async def test_a_plan_that_does_not_hold_is_refused_journaled_and_nothing_touched(
    bench: Bench, change: dict[str, Any], error: type[Exception], words: str
) -> None:
    plan = await plan_for(bench.driver, START)
    typed = phrase(plan)
    with pytest.raises(error, match=words):
        await bench.runner.start(changed(plan, **change), "ana", "v8 hurts", typed)
    (refusal,) = bench.bodies("refusal")
    assert refusal.act == "execute"
    assert words.split("'")[0].strip() in refusal.rule
    assert bench.bodies("request") == []
    assert bench.files.moves() == []
    assert bench.runner.lock_free(ID)


async def test_the_phrase_must_be_typed_exactly_and_a_rehearsals_differs(bench: Bench, tmp_path: Path) -> None:
    plan = await plan_for(bench.driver, START)
    for typed in (
        "",
        "production/checkout-ranker",
        "production/checkout-ranker 7",
        "rehearsal production/checkout-ranker v7",
    ):
        with pytest.raises(UsageError, match="nothing was touched"):
            await bench.runner.start(plan, "ana", "v8 hurts", typed)
    with pytest.raises(UsageError, match="reason"):
        await bench.runner.start(plan, "ana", "  ", phrase(plan))
    (tmp_path / "drill").mkdir()
    drill = Bench(tmp_path / "drill", rehearsal=True)
    with pytest.raises(UsageError):
        await drill.start()
    await drill.runner.start(plan, "ana", "drill", phrase(plan, rehearsal=True))


async def test_a_world_that_changed_since_the_plan_is_refused_before_the_request(bench: Bench) -> None:
    plan = await plan_for(bench.driver, START)
    bench.files.by_hand("9")
    with pytest.raises(PreflightFailed, match="points to v9, not v8"):
        await bench.runner.start(plan, "ana", "v8 hurts", phrase(plan))
    assert bench.bodies("request") == []


# Somebody else's hand


class Meddler:
    """The real driver, with somebody else's hand at a chosen moment."""

    def __init__(self, bench: Bench, moment: str, act: Callable[[], None]) -> None:
        self._driver, self._moment, self._act, self._seen = bench.driver, moment, act, 0
        self.name = bench.driver.name

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._driver, name)

        async def meddled(*arguments: object) -> object:
            if name == "current":
                self._seen += 1
            if self._moment == f"before {name} {self._seen}":
                self._act()
            result = await call(*arguments)
            if self._moment == f"after {name} {self._seen}":
                self._act()
            return result

        return meddled


async def _meddled(bench: Bench, moment: str, version: str) -> Execution:
    driver = Meddler(bench, moment, lambda: bench.files.by_hand(version))
    bench.runner._drivers = {"mlflow-alias": driver}  # type: ignore[dict-item] # the real one, meddled with
    return await bench.whole()


async def test_a_flip_between_compare_and_set_is_found_before_it_is_overwritten(bench: Bench) -> None:
    ended = await _meddled(bench, "after current 1", "9")
    assert ended.state is ExecutionState.FAILED
    assert "points to v9" in ended.detail
    assert "nothing was set" in ended.detail
    assert bench.files.moves() == []


async def test_a_flip_in_the_last_instant_is_overwritten_and_said_afterwards(bench: Bench) -> None:
    """MLflow has no compare-and-set: what another poll saw in between is told in the step that verifies."""

    def act() -> None:
        bench.files.by_hand("9")
        bench.real_journal.append(
            PointerMoved(at=START, model=MODEL, alias=ALIAS, before="8", after="9"), deployment=str(ID)
        )

    bench.runner._drivers = {"mlflow-alias": Meddler(bench, "before move 2", act)}  # type: ignore[dict-item]
    ended = await bench.whole()
    assert bench.files.moves() == ["7"]
    registry = next(step for step in ended.steps if step.name == "registry")
    assert "somebody else had it at v9" in registry.detail


async def test_a_flip_right_after_the_set_fails_and_is_not_fought_over(bench: Bench) -> None:
    ended = await _meddled(bench, "after move 2", "9")
    assert ended.state is ExecutionState.FAILED
    assert "points to v9" in ended.detail
    assert "it is not set again" in ended.detail
    assert bench.files.moves() == ["7"]
    assert await bench.files.read_pointer(MODEL, ALIAS) == "9"


async def test_a_flip_while_verifying_fails_at_the_next_look(bench: Bench) -> None:
    ended = await _meddled(bench, "before current 6", "8")
    assert ended.state is ExecutionState.FAILED
    assert next(s for s in ended.steps if s.name == "signals").state is StepState.FAILED
    assert "points to v8" in ended.detail


async def test_brought_there_by_somebody_else_in_between_is_done_without_a_write(bench: Bench) -> None:
    ended = await _meddled(bench, "after current 1", "7")
    assert ended.state is ExecutionState.DONE
    assert bench.files.moves() == []
    assert "nothing was written" in next(s for s in ended.steps if s.name == "set").detail


async def test_a_move_that_was_seen_and_undone_is_not_made_again(tmp_path: Path) -> None:
    """The outcome was lost in the crash, but a poll saw v7, and then v8 again: somebody put it back."""

    def crash() -> None:
        asyncio.run(_crash_after_move(tmp_path))

    assert was_killed(in_child(crash))
    bench = Bench(tmp_path, start=START + 400)
    for before, after in (("8", "7"), ("7", "8")):
        body = PointerMoved(at=START + 60, model=MODEL, alias=ALIAS, before=before, after=after)
        bench.real_journal.append(body, deployment=str(ID))
    bench.files.by_hand("8")
    (left,) = bench.runner.executions()
    await bench.runner.resume(left.id, "bo")
    ended = await bench.runner.wait(left.id)
    assert ended.state is ExecutionState.FAILED
    assert "was seen at v7" in ended.detail
    assert bench.files.moves() == ["7"]


async def _crash_after_move(folder: Path) -> None:
    count = Bench(folder, start=START)
    count.switch.at = None
    original = count.switch.boundary

    def boundary(name: str) -> None:
        if name == "after write_pointer":
            count.switch.at = len(count.switch.passed)
        original(name)

    count.switch.boundary = boundary  # type: ignore[method-assign]
    await count.whole()


# Serving and signals


async def test_serving_that_never_follows_is_not_confirmed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.serving.stuck = "8"
    ended = await bench.whole()
    assert ended.state is ExecutionState.NOT_CONFIRMED
    assert "the registry says v7, serving still reports v8 after 10m" in ended.detail
    assert "points to v7, set by this execution, nothing is undone" in ended.detail
    assert bench.clock.now() - START >= 600
    assert await bench.files.read_tags(MODEL, None) == {}


async def test_signals_that_never_recover_are_not_confirmed_and_say_so(bench: Bench) -> None:
    bench.serving.after_s = 1e9
    ended = await bench.whole()
    assert ended.state is ExecutionState.NOT_CONFIRMED
    assert "not recovered within 10m" in ended.detail


async def test_an_early_yes_is_not_believed(bench: Bench) -> None:
    bench.serving.after_s = 0.0
    ended = await bench.whole()
    signals = next(step for step in ended.steps if step.name == "signals")
    assert ended.state is ExecutionState.DONE
    assert signals.ended_at is not None
    assert signals.started_at is not None
    assert signals.ended_at - signals.started_at >= 60.0


async def test_cannot_confirm_before_is_never_said_once_that_time_has_come(bench: Bench) -> None:
    bench.serving.after_s = 130.0  # what the policy's windows add to the 60 s it asks for
    said: list[tuple[float, str]] = []
    look = bench.serving.recovered

    async def recovered(deployment: DeploymentId, since: float) -> Recovery:
        said.append((bench.clock.now(), bench.changes[-1].detail))
        return await look(deployment, since)

    bench.serving.recovered = recovered  # type: ignore[method-assign]
    ended = await bench.whole()
    signals = next(step for step in ended.steps if step.name == "signals")
    earliest = bench.serving.since[0] + 130.0
    assert signals.ended_at == earliest
    at = datetime.fromtimestamp(earliest, UTC).strftime("%H:%M:%S UTC")
    assert {detail for _, detail in said} == {f"verifying, cannot confirm before {at}"}
    assert said[-2][0] < earliest


async def test_an_earliest_that_lies_behind_the_end_is_said_with_the_end(bench: Bench) -> None:
    bench.serving.after_s = 5_000.0
    ended = await bench.whole()
    assert ended.state is ExecutionState.NOT_CONFIRMED
    assert any(
        re.search(r"cannot confirm before \S+ UTC, and ends at \S+ UTC", change.detail) for change in bench.changes
    )


@pytest.mark.parametrize("how", ["not confirmed", "against advice", "aborted"])
async def test_only_a_confirmed_recovery_brands_a_version(tmp_path: Path, how: str) -> None:
    bench = Bench(tmp_path)
    plan = await plan_for(bench.driver, START)
    if how == "not confirmed":
        bench.serving.after_s = 1e9
    if how == "against advice":
        plan = replace(plan, against="the console advises against: upstream: rolling back will not help")
    execution = await bench.runner.start(plan, "ana", "v8 hurts", phrase(plan))
    if how == "aborted":
        await bench.runner.abort(execution, "ana", "no reason given")
    ended = await bench.runner.wait(execution)
    assert ended.state == (ExecutionState.DONE if how == "against advice" else how)
    assert "rollback-console.known_bad" not in await bench.files.read_tags(MODEL, "8")
    if how == "against advice":
        assert "not marked as known bad: this was done against advice" in ended.detail


async def test_a_mark_that_cannot_be_written_is_said_and_undoes_no_confirmation(bench: Bench) -> None:
    write = bench.files.write_tag

    async def refused(model: str, version: str | None, key: str, value: str) -> None:
        if key == "rollback-console.known_bad":
            raise BackendRefused("403 from the registry", "look at its permissions")
        await write(model, version, key, value)

    bench.files.write_tag = refused  # type: ignore[method-assign]
    ended = await bench.whole()
    assert ended.state is ExecutionState.DONE
    assert "v8 could not be marked as known bad: 403 from the registry" in ended.detail


async def test_a_final_no_ends_the_wait(bench: Bench) -> None:
    async def recovered(deployment: DeploymentId, since: float) -> Recovery:
        return Recovery(RecoveryState.FAILED, "error rate 4 % on v7 as well")

    bench.serving.recovered = recovered  # type: ignore[method-assign]
    ended = await bench.whole()
    assert ended.state is ExecutionState.NOT_CONFIRMED
    assert "error rate 4 % on v7 as well" in ended.detail


async def test_serving_that_cannot_be_asked_is_skipped_and_not_claimed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.serving.ask = False
    ended = await bench.whole()
    assert next(step for step in ended.steps if step.name == "serving").state is StepState.SKIPPED
    assert ended.detail.startswith("the registry at v7")


async def test_the_advisory_lock_is_renewed_while_it_waits(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lock_s=100.0)
    bench.serving.after_s = 400.0
    held: list[str | None] = []
    look = bench.serving.recovered

    async def recovered(deployment: DeploymentId, since: float) -> Recovery:
        held.append(await bench.driver.lock_holder(Pointer(MODEL, ALIAS)))
        return await look(deployment, since)

    bench.serving.recovered = recovered  # type: ignore[method-assign]
    await bench.whole()
    assert len(held) > 50
    assert all(held)


# Stopping


async def test_abort_while_verifying_ends_at_once_and_undoes_nothing(tmp_path: Path) -> None:
    clock = VirtualClock(START)
    bench = Bench(tmp_path)
    bench.clock = clock  # type: ignore[assignment]
    serving = Serving(bench.files, clock, after_s=1e9)  # type: ignore[arg-type]
    locks = MemoryLocks(clock.now)
    changes: list[Execution] = []
    runner = Runner(
        bench.real_journal, {"mlflow-alias": bench.driver}, clock, serving, lock_of=locks, on_change=changes.append
    )
    plan = await plan_for(bench.driver, START)
    execution = await runner.start(plan, "ana", "v8 hurts", phrase(plan))
    for _ in range(4):
        await clock.advance(7.0)
    assert changes[-1].state is ExecutionState.VERIFYING
    assert "cannot confirm before" in changes[-1].detail
    assert runner.running == (execution,)
    with pytest.raises(LockHeld, match="is executing on"):
        await runner.start(plan, "bo", "me too", phrase(plan))
    ended = await runner.abort(execution, "bo", "wrong model")
    assert ended.state is ExecutionState.ABORTED
    assert "aborted by bo: wrong model" in ended.detail
    assert "points to v7" in ended.detail
    assert runner.running == ()
    with pytest.raises(Refused, match="has ended"):
        await runner.abort(execution, "bo", "again")
    with pytest.raises(UsageError, match="no execution"):
        await runner.resume("ex-unknown")


async def test_leaving_while_it_verifies_leaves_it_unfinished_and_resumable(tmp_path: Path) -> None:
    clock = VirtualClock(START)
    bench = Bench(tmp_path)
    serving = Serving(bench.files, clock, after_s=60.0)  # type: ignore[arg-type]
    locks = MemoryLocks(clock.now)
    changes: list[Execution] = []

    def runner() -> Runner:
        return Runner(
            bench.real_journal, {"mlflow-alias": bench.driver}, clock, serving, lock_of=locks, on_change=changes.append
        )

    plan = await plan_for(bench.driver, START)
    first = runner()
    execution = await first.start(plan, "ana", "v8 hurts", phrase(plan))
    await clock.advance(12.0)
    await first.close()
    assert changes[-1].state is ExecutionState.UNFINISHED
    second = runner()
    assert [e.state for e in second.executions()] == [ExecutionState.UNFINISHED]
    await second.resume(execution, "bo")
    for _ in range(30):
        await clock.advance(5.0)
    assert (await second.wait(execution)).state is ExecutionState.DONE
    assert bench.files.moves() == ["7"]


# Failing backends and journals


class Failing:
    """The real driver, failing on one call as often as told; `late` fails after the call has had its effect."""

    def __init__(self, bench: Bench, call: str, error: Exception, times: int, *, late: bool = False) -> None:
        self._driver, self._call, self._error, self._left, self._late = bench.driver, call, error, times, late
        self.name = bench.driver.name
        bench.runner._drivers = {"mlflow-alias": self}  # type: ignore[dict-item] # the real one, failing on purpose

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._driver, name)
        if name != self._call:
            return call

        async def failing(*arguments: object) -> object:
            if self._left > 0:
                self._left -= 1
                if self._late:
                    await call(*arguments)
                raise self._error
            return await call(*arguments)

        return failing


DOWN = BackendUnreachable("the registry did not answer within 10 s", "is it up?")


async def test_an_answer_lost_after_the_move_is_looked_up_and_not_moved_again(bench: Bench) -> None:
    Failing(bench, "move", DOWN, 1, late=True)
    ended = await bench.whole()
    assert ended.state is ExecutionState.DONE
    assert bench.files.moves() == ["7"]


async def test_a_registry_that_stays_down_leaves_it_unfinished_and_resume_ends_it(bench: Bench) -> None:
    Failing(bench, "move", DOWN, 3)
    execution = await bench.start()
    with pytest.raises(BackendUnreachable):
        await bench.runner.wait(execution)
    (left,) = bench.runner.executions()
    assert left.state is ExecutionState.UNFINISHED
    assert "whether that took effect is checked on resume" in left.detail
    assert bench.changes[-1].state is ExecutionState.UNFINISHED
    await bench.runner.resume(execution, "bo")
    assert (await bench.runner.wait(execution)).state is ExecutionState.DONE
    assert bench.files.moves() == ["7"]
    assert [b.attempt for b in bench.bodies("intent") if b.step == "set"] == [1, 2]


async def test_a_registry_that_says_no_ends_it(bench: Bench) -> None:
    Failing(bench, "move", BackendRefused("403: no permission to edit", "ask for EDIT"), 9)
    ended = await bench.whole()
    assert ended.state is ExecutionState.FAILED
    assert "403: no permission to edit" in ended.detail
    assert "points to v8" in ended.detail


async def test_a_tag_that_cannot_be_written_does_not_hold_up_the_rollback(bench: Bench) -> None:
    Failing(bench, "mark", BackendRefused("403: no permission to tag", ""), 9)
    ended = await bench.whole()
    assert ended.state is ExecutionState.DONE
    assert "the step tag failed: 403" in ended.detail


@pytest.mark.parametrize("kind", ["request", "intent lock", "intent set"])
async def test_no_journal_no_touch(bench: Bench, kind: str) -> None:
    original, original_all = bench.journal.append, bench.journal.append_all

    def refuse(body: Any) -> None:
        if f"{body.kind} {getattr(body, 'step', '')}".strip() == kind:
            raise JournalUnwritable("the disk is full", "make room")

    def append(body: Any, **more: str) -> Any:
        refuse(body)
        return original(body, **more)

    def append_all(items: Any, blobs: Any = ()) -> Any:
        refuse(items[0][0])
        return original_all(items, blobs)

    bench.journal.append, bench.journal.append_all = append, append_all  # type: ignore[method-assign]
    with pytest.raises(JournalUnwritable):
        await bench.whole()
    assert bench.files.moves() == []
    if kind != "intent set":
        assert await bench.files.read_tags(MODEL, None) == {}
    assert bench.runner.lock_free(ID)


# Two at once


def test_two_processes_race_one_wins_and_the_other_is_told_who(tmp_path: Path) -> None:
    """Both are real processes on one journal. The winner waits inside its execution until the loser has its answer."""
    Bench(tmp_path).real_journal.close()
    go_read, go_write = os.pipe()
    told_read, told_write = os.pipe()
    end_read, end_write = os.pipe()
    ready_read, ready_write = os.pipe()

    def work(name: str) -> None:
        async def run() -> None:
            bench = Bench(tmp_path, seed=hash(name) & 0xFFFF)

            async def serving_version(deployment: DeploymentId) -> str | None:
                os.read(end_read, 1)
                return "7"

            bench.serving.serving_version = serving_version  # type: ignore[method-assign]
            plan = await plan_for(bench.driver, START)
            os.write(ready_write, b"r")  # both have planned before either starts
            os.read(go_read, 1)
            try:
                ended = await bench.runner.wait(await bench.runner.start(plan, name, "v8 hurts", phrase(plan)))
                os.write(told_write, f"WON {name} {os.getpid()} {ended.state}\n".encode())
            except LockHeld as error:
                os.write(told_write, f"LOST {name} {error.message}\n".encode())
            finally:
                os.write(end_write, b"x")

        asyncio.run(run())

    pids = {}
    for name in ("ana", "bo"):
        pid = os.fork()
        if pid == 0:
            try:
                work(name)
            finally:
                os._exit(0)
        pids[name] = pid
    assert os.read(ready_read, 1) + os.read(ready_read, 1) == b"rr"
    os.write(go_write, b"xx")
    for pid in pids.values():
        os.waitpid(pid, 0)
    os.close(told_write)
    told = sorted(os.fdopen(told_read).read().splitlines())
    assert len(told) == 2
    lost, won = told
    winner = won.split()[1]
    assert lost.startswith("LOST")
    assert won.startswith(f"WON {winner} {pids[winner]} done")
    assert f"by {winner} (pid {pids[winner]} on " in lost
    after = Bench(tmp_path, start=START + 5000)
    assert after.files.moves() == ["7"]
    (refusal,) = after.bodies("refusal")
    assert f"by {winner} (pid {pids[winner]}" in refusal.rule
    for end in (go_read, go_write, end_read, end_write, ready_read, ready_write):
        os.close(end)


async def test_another_machines_lock_refuses_until_it_expires(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    pointer = Pointer(MODEL, ALIAS)
    plan = await plan_for(bench.driver, START)
    assert await bench.driver.hold_lock(pointer, "ex-9 by cy", START + 100) is None
    with pytest.raises(PreflightFailed, match=r"ex-9 by cy .*holds the registry's advisory lock"):
        await bench.runner.start(plan, "ana", "v8 hurts", phrase(plan))
    await bench.clock.sleep(100.0)
    ended = await bench.runner.wait(await bench.runner.start(plan, "ana", "v8 hurts", phrase(plan)))
    assert ended.state is ExecutionState.DONE


async def test_an_advisory_lock_taken_in_the_last_instant_stops_it_before_the_touch(bench: Bench) -> None:
    pointer = Pointer(MODEL, ALIAS)
    other = '{"holder": "ex-9 by cy", "until": 1.9e9, "advisory": true}'
    insert = "INSERT INTO tags VALUES (?, '', ?, ?)"
    tag = f"rollback-console.lock.{ALIAS}"
    driver = Meddler(bench, "before hold_lock 0", lambda: bench.files.sql(insert, MODEL, tag, other))
    bench.runner._drivers = {"mlflow-alias": driver}  # type: ignore[dict-item]
    ended = await bench.whole()
    assert ended.state is ExecutionState.FAILED
    assert "ex-9 by cy" in ended.detail
    assert "not touched" in ended.detail
    assert bench.files.moves() == []
    assert "ex-9 by cy" in str(await bench.driver.lock_holder(pointer)), "somebody else's lock was freed"


async def test_resuming_what_another_process_runs_is_refused_with_its_pid(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.serving.after_s = 1e9
    execution = await bench.start()
    other = Bench(tmp_path, seed=2)
    with pytest.raises(LockHeld, match=f"{execution} by ana .pid {os.getpid()} on"):
        await other.runner.resume(execution, "bo")
    with pytest.raises(LockHeld, match="is executing on"):
        await other.runner.abort(execution, "bo", "mine")
    assert [body.act for body in other.bodies("refusal")] == ["resume", "abort"]
    assert (await bench.runner.wait(execution)).state is ExecutionState.NOT_CONFIRMED


def test_memory_locks_are_as_exclusive_as_file_locks(tmp_path: Path) -> None:
    locks = MemoryLocks(lambda: START)
    for lock_of in (locks, lambda name: ExecutionLock(tmp_path / "j.db", name)):
        first, second, other = lock_of("production/a"), lock_of("production/a"), lock_of("production/b")
        assert first.try_acquire("one")
        assert not second.try_acquire("two")
        assert other.try_acquire()
        holder = second.holder()
        assert holder is not None
        assert holder.note == "one"
        second.release()
        assert not second.try_acquire()
        first.release()
        assert second.holder() is None
        assert second.try_acquire("two")


async def test_a_version_that_is_gone_or_not_ready_is_refused(bench: Bench) -> None:
    for to, status in (("5", None), ("6", "FAILED_REGISTRATION")):
        if status:
            bench.files.sql("UPDATE versions SET status = ? WHERE version = ?", status, to)
        plan = await plan_for(bench.driver, START, to=to)
        assert not plan.executable
        failing = [check.detail for check in plan.checks if check.ok is not True]
        assert any((f"has no v{to}" if status is None else status) in words for words in failing)
    assert isinstance(await bench.files.version(MODEL, "7"), ModelVersion)

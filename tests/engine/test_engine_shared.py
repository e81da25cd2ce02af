"""What may be judged of an evaluation that came from another machine, and that a sound one always may."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_tools import START, new_journal, random_stream
from engine_tools import cold as cold_start
from evidence_tools import BEGIN, MINUTE, evidence_stream, watch

from rollback_console.clock import VirtualClock
from rollback_console.engine.live import read_live
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Roles
from rollback_console.engine.shared import Shared
from rollback_console.engine.soundness import is_of, sound
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal
from rollback_console.model.observation import Tick
from rollback_console.model.plan import Execution, ExecutionState, Plan
from rollback_console.model.rules import AuthorityRule
from rollback_console.model.sharing import MAX_SHARED, SharedFleet
from rollback_console.model.verdict import CostMemory, EvidenceMemory, TriggerMemory


async def test_what_a_console_leaves_is_sound_and_makes_the_same_verdicts_elsewhere(tmp_path: Path) -> None:
    """Evidence, memories and learned numbers pass through the bytes unchanged, over three hours of trouble."""
    stream = evidence_stream(4, minutes=700)
    device = DeviceKey.from_seed(b"tests")
    journal = Journal.open(tmp_path / "j.db", device=device, clock=VirtualClock(BEGIN), rehearsal=True)
    one = stream.engine(BEGIN + 400 * MINUTE, journal=journal)
    await one.start()
    other = stream.engine(BEGIN + 400 * MINUTE)
    for k in range(401, 580):
        await watch(one, k, k)
        found = journal.get_live()
        assert found is not None
        state = read_live(found[1], stream.rules)
        assert state is not None
        assert sound(*state)
        await other.take_over(*state)
        assert other.board.memories == one.board.memories
        assert [v.state for v in other.board.verdicts.values()] == [v.state for v in one.board.verdicts.values()]
    assert any(memory.evidence for memory in one.board.memories.values())
    await one.close()
    journal.close()


AT = START + 600.0


@pytest.mark.parametrize(
    "memory",
    [
        TriggerMemory(at=math.nan),
        TriggerMemory(at=START, active_since=AT + 1.0),
        TriggerMemory(at=START, fired_at=-1.0),
        TriggerMemory(at=START, frozen_s=math.inf),
        TriggerMemory(at=START, frozen_s="long"),  # type: ignore[arg-type]
        TriggerMemory(at=START, known=1),  # type: ignore[arg-type]
        TriggerMemory(at=START, last_known=((True, "x"),)),  # type: ignore[arg-type]
        TriggerMemory(at=START, onset_signals=(7,)),  # type: ignore[arg-type]
        TriggerMemory(at=START, onset_signals=("x" * 2_000,)),
        TriggerMemory(at=START, evidence=(EvidenceMemory(meter=math.nan),)),
        TriggerMemory(at=START, evidence=(EvidenceMemory(tally=(1.0,)),)),  # type: ignore[arg-type]
        TriggerMemory(at=START, cost=CostMemory(since="x")),  # type: ignore[arg-type]
        TriggerMemory(at=START, cost=7),  # type: ignore[arg-type]
    ],
)
def test_a_memory_that_nobody_can_have_is_not_sound(memory: TriggerMemory) -> None:
    assert not sound(Tick(AT, ()), [memory])
    assert sound(Tick(AT, ()), [TriggerMemory(at=START, known=True, active_since=START - 60.0)])


def test_numbers_are_numbers_and_texts_are_short() -> None:
    assert is_of(tuple[float, ...], (1, 2.0, math.inf))
    assert not is_of(tuple[float, ...], (1, True))
    assert not is_of(tuple[float, float], (1.0,))
    assert is_of(str | None, None)
    assert not is_of(str | None, b"x")


class Held:
    """What lies at a hub, as `FleetHub` gives it; a real one is in tests/hub/test_hub_shared.py."""

    problem = ""

    def __init__(self, data: bytes = b"") -> None:
        self.data, self.offered = data, list[bytes | None]()

    def holder(self) -> str:
        return "ana's console (laptop-3)"

    def allow(self, may: bool) -> None:
        self.may = may

    def holds(self) -> bool:
        return False

    def newest(self) -> SharedFleet | None:
        return SharedFleet(self.data, f"{hash(self.data)}", 1) if self.data else None

    def offer(self, data: bytes | None) -> None:
        self.offered.append(data)

    def first(self, limit_s: float) -> None:
        """It was asked."""


async def _pair(tmp_path: Path) -> tuple[Engine, Engine, Held]:
    """Who has left an evaluation, and who may follow it."""
    stream = random_stream(6, deployments=2)
    left = Held()
    one = await cold_start(stream, START, journal=new_journal(tmp_path / "one.db"), roles=Roles(fleet=left))
    data = left.offered[-1]
    assert data is not None
    there = Held(data)
    other = await cold_start(stream, START, journal=new_journal(tmp_path / "other.db"), roles=Roles(fleet=there))
    return one, other, there


async def test_a_start_shows_what_another_evaluated_and_asks_nothing(tmp_path: Path) -> None:
    one, other, _ = await _pair(tmp_path)
    assert other.board.memories == one.board.memories
    assert other.releases() == one.releases()
    assert other.snapshot().notice == "following ana's console (laptop-3) by the hub"
    assert other.metrics.asked == []  # type: ignore[attr-defined]
    await one.close()
    await other.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda head: {**head, "by": "\x1b[31m" + "x" * 500}, ""),
        (lambda head: {**head, "at": math.nan}, "at no time"),
        (lambda head: {**head, "at": True}, "another form"),
        (lambda head: [head], "is none"),
    ],
)
async def test_a_head_of_another_form(change: Callable[[Any], Any], words: str, tmp_path: Path) -> None:
    one, other, there = await _pair(tmp_path)
    head, _, live = there.data.partition(b"\n")
    there.data = json.dumps(change(json.loads(head))).encode() + b"\n" + live
    shared = other.shared
    assert isinstance(shared, Shared)
    assert await shared.follow() == (not words)
    assert words in shared.words
    assert "\x1b" not in shared.words
    assert len(shared.words) < 200
    await one.close()
    await other.close()


async def test_one_that_is_too_large_or_old_is_not_followed(tmp_path: Path) -> None:
    one, other, there = await _pair(tmp_path)
    shared, data = other.shared, there.data
    assert shared is not None
    there.data = data + b"x" * MAX_SHARED
    assert not await shared.follow()
    assert "larger than any can be" in shared.words
    there.data = data
    assert await shared.follow()
    other.clock._now = START + 46.0  # type: ignore[attr-defined]
    assert not await shared.follow()
    assert shared.words.endswith("shares is 3 evaluations old")
    await one.close()
    await other.close()


async def test_terms_are_rules_step_program_and_what_is_left_out(tmp_path: Path) -> None:
    one, other, _ = await _pair(tmp_path)
    assert one.shared is not None
    assert other.shared is not None
    assert one.shared.terms() == other.shared.terms()
    other.options = replace(other.options, step_s=30.0)
    assert one.shared.terms() != other.shared.terms()
    await one.close()
    await other.close()


async def test_who_executes_asks_for_itself_until_it_is_over(tmp_path: Path) -> None:
    one, other, there = await _pair(tmp_path)
    assert other.shared is not None
    rule = other.rules[0]
    plan = Plan(
        rule.deployment.id, "m", "champion", "2", "1", "version", "mlflow-alias", (), 60.0, 600.0,
        AuthorityRule(), "0" * 64, (), "it was before", (), START, START + 600.0, "d",
    )  # fmt: skip
    running = Execution("X-1", plan, ExecutionState.VERIFYING, (), "ana", "conversion fell", START)
    other.executing(running)
    assert not await other.shared.follow()
    assert other.shared.words == "this console asks for itself: it executes"
    other.executing(replace(running, state=ExecutionState.DONE, ended_at=START + 5.0))
    assert await other.shared.follow()
    assert there.may
    await one.close()
    await other.close()


async def test_a_second_console_on_a_journal_follows_what_its_first_does(tmp_path: Path) -> None:
    """Its recorder follows by the hub and leaves no row in the journal: so it follows by the hub itself, and may not
    hold the lease."""
    one, other, there = await _pair(tmp_path)
    roles = Roles(may_record=lambda: False, recorder_pid=lambda: 4242, fleet=there)
    second = await cold_start(
        random_stream(6, deployments=2), START, journal=new_journal(tmp_path / "other.db"), roles=roles
    )
    assert second.board.memories == one.board.memories
    assert second.metrics.asked == []  # type: ignore[attr-defined]
    assert not there.may
    assert second.snapshot().notice == "following ana's console (laptop-3) by the hub"
    await second.go_on()
    assert second.metrics.asked == []  # type: ignore[attr-defined]
    for each in (one, other, second):
        await each.close()

"""A walk is a fold of the journal: it survives a restart and an edit, and its rules hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.errors import InputError, Refused
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Body, Note, StepMarked
from rollback_console.model.plan import StepState
from rollback_console.model.walk import Walk
from rollback_console.runbook.parse import parse
from rollback_console.runbook.walk import WalkFold, end, mark, open_walk, passed_over, start, walks

DOCUMENT = b"# T\n\n1. look\n2. [Roll back](console:rollback)\n   1. inner\n3. [Tell](console:note)\n4. last\n"
RUNBOOK = parse(DOCUMENT, "rollback")
DONE, SKIPPED, RUNNING = StepState.DONE, StepState.SKIPPED, StepState.RUNNING


@dataclass
class Memory:
    """A journal in memory: entries in a list, blobs by digest. A fake: nothing is signed or durable."""

    at: float = 1000.0
    lines: list[Entry] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def append(self, body: Body, operator: str = "ada", deployment: str = "production/ranker") -> None:
        data = body.model_dump_json().encode()
        self.lines.append(
            Entry("c", len(self.lines) + 1, self.at, self.at, body.kind, deployment, operator, data, "", "", b"")
        )

    def walks(self) -> tuple[Walk, ...]:
        return walks(iter(self.lines), self.blobs.get)

    def mark(self, step: str, state: StepState, reason: str = "", operator: str = "ada", by_act: bool = False) -> Walk:
        self.at += 10
        self.append(mark(self.walks()[0], step, state, reason, by_act=by_act), operator)
        return self.walks()[0]


@pytest.fixture
def journal() -> Memory:
    memory = Memory()
    memory.put(DOCUMENT)
    memory.append(start(RUNBOOK, "w1", "i1", deployment="production/ranker"))
    return memory


def test_a_walk_begins_with_every_step_waiting(journal: Memory) -> None:
    (walk,) = journal.walks()
    assert (walk.id, walk.deployment, walk.incident, walk.operator) == ("w1", "production/ranker", "i1", "ada")
    assert walk.runbook.steps == RUNBOOK.steps
    assert {step.state for step in walk.steps} == {StepState.WAITING}
    assert walk.current == 0


def test_each_step_has_its_person_time_and_reason(journal: Memory) -> None:
    journal.mark("look", DONE)
    journal.mark("roll-back", RUNNING)
    journal.mark("roll-back/inner", SKIPPED, "no inner pool here", operator="bo")
    walk = journal.mark("roll-back", DONE, operator="bo", by_act=True)
    look, back, inner, *_ = walk.steps
    assert (look.operator, look.started_at, look.ended_at) == ("ada", 1000.0, 1010.0)
    assert (back.operator, back.started_at, back.ended_at) == ("bo", 1020.0, 1040.0)
    assert (inner.state, inner.operator, inner.reason) == (SKIPPED, "bo", "no inner pool here")
    assert walk.current == 3


def test_a_walk_survives_a_restart_and_an_edit_of_the_file(journal: Memory) -> None:
    before = journal.mark("look", DONE)
    journal.put(b"# T\n\n1. something else\n")  # the file as it is now; the walk is of the old one
    again = walks(iter(list(journal.lines)), journal.blobs.get)
    assert again == (before,)
    edited = parse(b"# T\n\n1. something else\n", "rollback")
    with pytest.raises(Refused, match="edited since"):
        mark(before, "look", DONE, digest=edited.digest)
    assert open_walk(again, edited, "production/ranker") is None
    assert open_walk(again, RUNBOOK, "production/ranker") is before or open_walk(again, RUNBOOK, "production/ranker")


def test_skipping_needs_a_reason(journal: Memory) -> None:
    for reason in ("", "  \n"):
        with pytest.raises(InputError, match="needs a reason"):
            journal.mark("look", SKIPPED, reason)
    assert journal.mark("look", SKIPPED, "seen\nalready").steps[0].reason == "seen already"


def test_an_act_is_done_by_the_act_or_says_how_else(journal: Memory) -> None:
    journal.mark("look", DONE)
    with pytest.raises(Refused, match="own act 'rollback'"):
        journal.mark("roll-back", DONE)
    assert journal.mark("roll-back", DONE, "by curl, console was down").steps[1].state is DONE
    assert journal.mark("roll-back", DONE, by_act=True).steps[1].state is DONE
    assert journal.mark("tell", DONE, "out loud").steps[3].state is DONE, "an act that changes nothing is ticked off"


def test_out_of_order_is_allowed_and_said(journal: Memory) -> None:
    walk = journal.mark("last", DONE)
    assert walk.steps[4].reason == "out of order: 4 earlier steps still open"
    walk = journal.mark("roll-back/inner", SKIPPED, "none")
    assert walk.steps[2].reason == "none (out of order: 1 earlier step still open)", "its own parent does not count"
    assert [step.title for step in passed_over(walk, "tell")] == ["look", "Roll back"]
    assert journal.mark("look", DONE).steps[0].reason == ""
    assert passed_over(walk, "unknown") == ()


def test_a_step_can_be_taken_back_and_fail(journal: Memory) -> None:
    journal.mark("look", DONE)
    walk = journal.mark("look", StepState.WAITING, "looked at the wrong one")
    assert (walk.steps[0].state, walk.steps[0].ended_at, walk.current) == (StepState.WAITING, None, 0)
    walk = journal.mark("look", StepState.FAILED, "dashboard down")
    assert (walk.steps[0].state, walk.current) == (StepState.FAILED, 0)


def test_an_unknown_step_is_named_with_the_nearest(journal: Memory) -> None:
    with pytest.raises(InputError, match="did you mean look"):
        journal.mark("lok", DONE)
    with pytest.raises(InputError, match="runbook show"):
        journal.mark("\x1b[2J", DONE)


def test_an_ended_walk_refuses(journal: Memory) -> None:
    journal.append(end(journal.walks()[0]))
    (walk,) = journal.walks()
    assert (walk.outcome, walk.ended_at) == ("left", journal.at)
    with pytest.raises(Refused, match="has ended"):
        mark(walk, "look", DONE)
    with pytest.raises(Refused, match="has ended"):
        end(walk)
    journal.append(StepMarked(walk="w1", step="look", title="look", state="done"))
    assert journal.walks() == (walk,), "a mark after the end, by another program, changes nothing"
    assert open_walk(journal.walks(), RUNBOOK, "production/ranker") is None


def test_a_walk_with_nothing_open_ends_as_done(journal: Memory) -> None:
    for step in RUNBOOK.steps:
        walk = journal.mark(step.id, DONE, by_act=True)
    assert walk.current is None
    assert end(walk).outcome == "done"


def test_one_open_walk_per_document_and_deployment(journal: Memory) -> None:
    every = journal.walks()
    with pytest.raises(Refused, match="ada is walking rollback here already, as w1"):
        start(RUNBOOK, "w2", every=every, deployment="production/ranker")
    with pytest.raises(Refused, match="has begun already"):
        start(RUNBOOK, "w1", every=every, deployment="production/other")
    assert start(RUNBOOK, "w2", every=every, deployment="production/other").walk == "w2"


def test_a_runbook_without_steps_cannot_be_walked(tmp_path) -> None:
    from rollback_console.runbook.library import read

    with pytest.raises(InputError, match="No such file"):
        start(read(tmp_path / "gone.md"), "w")


def test_a_document_that_retention_dropped_leaves_its_marks(journal: Memory) -> None:
    journal.mark("look", DONE)
    (walk,) = walks(journal.lines, lambda digest: None)
    assert [(step.step.title, step.state) for step in walk.steps] == [("look", DONE)]
    assert "no longer holds" in walk.runbook.problems[0].message


def test_a_mark_finds_its_step_by_title_when_ids_changed(journal: Memory) -> None:
    journal.append(StepMarked(walk="w1", step="t/last", title="last", state="done"))
    walk = journal.walks()[0]
    assert len(walk.steps) == len(RUNBOOK.steps)
    assert walk.steps[4].state is DONE


def test_other_entries_and_strays_are_passed_over(journal: Memory) -> None:
    before = journal.walks()
    journal.append(Note(text="hello"))
    journal.append(StepMarked(walk="unknown", step="look", title="look", state="done"))
    broken = journal.lines[0]
    journal.lines.append(Entry("c", 9, 1.0, 1.0, "step", broken.deployment, "x", b'{"v":99}', "", "", b""))
    journal.append(start(RUNBOOK, "w1", "i9"))
    assert journal.walks() == before


_MARKS = st.lists(
    st.tuples(st.sampled_from([step.id for step in RUNBOOK.steps]), st.sampled_from(list(StepState))), max_size=20
)


@given(_MARKS)
@settings(max_examples=100, deadline=None)
def test_the_fold_is_the_same_in_one_go_and_entry_by_entry(marks: list[tuple[str, StepState]]) -> None:
    journal = Memory()
    journal.put(DOCUMENT)
    journal.append(start(RUNBOOK, "w1"))
    fold = WalkFold(journal.blobs.get)
    fold.add(journal.lines[0])
    for step, state in marks:
        walk = journal.mark(step, state, "because", by_act=True)
        fold.add(journal.lines[-1])
        assert fold.walks() == (walk,)
        shown = next(found for found in walk.steps if found.step.id == step)
        assert shown.state is state
        if shown.ended_at is not None and shown.started_at is not None:
            assert shown.ended_at >= shown.started_at

"""A runbook step's checks run themselves: when the step shows, after each evaluation, one at a time."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from golden import assert_golden, screen_text
from test_tui_hostile import HOSTILE
from tui_detail_samples import (
    AT,
    BOOK,
    ID,
    STEPS,
    WALK,
    FakeCommands,
    assert_safe,
    opened,
    press,
    publish,
    settle,
    snapshot,
)  # fmt: skip

from rollback_console.model.plan import StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.walk import CheckResult, StepKind, WalkStep
from rollback_console.tui.screens.runbook import RunbookScreen

FENCE = "Which versions serve?\n\n```promql\ncount by (version) (model_info{$selector})\n```"
SERVES, ERRORS = "count by (version) (model_info{$selector})", "errors_total{$selector}"
LOOK = dataclasses.replace(
    STEPS[0], id="serves", title="Confirm what serves", kind=StepKind.CHECK, body=FENCE, checks=(SERVES, ERRORS)
)
TELL = STEPS[1]


def walking(*steps: WalkStep, at: float = AT) -> Snapshot:
    book = dataclasses.replace(BOOK, steps=tuple(step.step for step in steps))
    walk = dataclasses.replace(WALK, runbook=book, steps=steps)
    return dataclasses.replace(snapshot(walks=(walk,), runbooks=(book,)), evaluated_at=at)


def waiting(step: object) -> WalkStep:
    return WalkStep(step, StepState.WAITING)  # type: ignore[arg-type]  # a RunbookStep


def here() -> RunbookScreen:
    return RunbookScreen(ID, None)


async def test_the_answer_stands_under_its_query_with_its_age() -> None:
    commands = FakeCommands()
    commands.answers[SERVES] = CheckResult(
        ("version 7: 3", "version 8: 1"), AT - 6, "", 'count by (version) (model_info{model="checkout-ranker"})'
    )
    commands.answers[ERRORS] = CheckResult((), AT - 6, "prometheus did not answer within 10 s: is it up?", "e")
    async with opened(here, walking(waiting(LOOK), waiting(TELL)), commands) as (app, pilot, asked):
        await settle(pilot, lambda: len(asked.of("check")) == 2)
        assert asked.of("check") == [("check", SERVES, ID), ("check", ERRORS, ID)]
        assert_golden("runbook_check_80x24", screen_text(app))


async def test_asked_again_after_each_evaluation_and_for_each_step_that_comes_on_the_screen() -> None:
    last = dataclasses.replace(LOOK, id="again", checks=(ERRORS,))
    steps = (waiting(LOOK), waiting(TELL), waiting(last))
    async with opened(here, walking(*steps)) as (app, pilot, commands):
        await settle(pilot, lambda: len(commands.of("check")) == 2)
        await publish(app, pilot, walking(*steps))  # the same evaluation: a note was added, a pointer read
        assert len(commands.of("check")) == 2
        await publish(app, pilot, walking(*steps, at=AT + 15))
        await settle(pilot, lambda: len(commands.of("check")) == 4)
        await press(pilot, "j")
        await settle(pilot)
        assert len(commands.of("check")) == 4  # this one has none
        await press(pilot, "j")
        await settle(pilot, lambda: len(commands.of("check")) == 5)
        assert commands.of("check")[-1] == ("check", ERRORS, ID)


async def test_never_two_at_a_time_however_often_it_evaluates() -> None:
    commands = FakeCommands()
    commands.gate = asyncio.Event()
    steps = (waiting(LOOK), waiting(TELL))
    async with opened(here, walking(*steps), commands) as (app, pilot, asked):
        await settle(pilot, lambda: len(asked.of("check")) == 1)
        for beat in range(1, 5):
            await publish(app, pilot, walking(*steps, at=AT + 15 * beat))
        await press(pilot, "j", "k")
        await settle(pilot)
        assert len(asked.of("check")) == 1
        assert "asking" in screen_text(app)
        commands.gate.set()
        await settle(pilot, lambda: len(asked.of("check")) == 4)  # what was begun, then the newest evaluation
        assert commands.most_checking == 1


async def test_a_step_that_is_over_and_a_walk_that_has_ended_ask_nothing() -> None:
    done = WalkStep(LOOK, StepState.DONE, "oncall-1", AT, AT)
    async with opened(here, walking(done, waiting(TELL))) as (app, pilot, commands):
        await press(pilot, "k")
        await settle(pilot)
        assert "not asked: the step is over" in screen_text(app)
        assert not commands.of("check")
    shown = walking(waiting(LOOK))
    async with opened(here, shown) as (app, pilot, commands):
        await settle(pilot, lambda: len(commands.of("check")) == 2)
        ended = dataclasses.replace(shown.walks[0], ended_at=AT, outcome="left")
        await publish(app, pilot, dataclasses.replace(shown, walks=(ended,), evaluated_at=AT + 15))
        assert len(commands.of("check")) == 2


async def test_no_series_is_said_and_a_look_only_console_asks_too() -> None:
    commands = FakeCommands()
    commands.answers = {SERVES: CheckResult((), AT, "", SERVES), ERRORS: CheckResult(("0.0123",), AT, "", ERRORS)}
    shown = dataclasses.replace(walking(waiting(LOOK)), look_only="no key is at hand", walks=())
    async with opened(here, shown, commands) as (app, pilot, asked):
        await settle(pilot, lambda: len(asked.of("check")) == 2)
        await settle(pilot)
        text = screen_text(app)
        assert "no series: nothing matches" in text
        assert "  0.0123" in text


@pytest.mark.parametrize("bad", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_answers(bad: str) -> None:
    commands = FakeCommands()
    commands.answers = {SERVES: CheckResult((bad,) * 9, AT, "", bad), ERRORS: CheckResult((), AT, bad, bad)}
    for size in ((60, 20), (120, 40)):
        async with opened(here, walking(waiting(LOOK)), commands, size=size) as (app, pilot, asked):
            await settle(pilot, lambda asked=asked: len(asked.of("check")) >= 2)
            await settle(pilot)
            assert_safe(app)
        commands.asked.clear()

"""The Rollback screen: the plan, why not, the typed confirmation and all it refuses, the execution, the outcome."""

from __future__ import annotations

import dataclasses

import pytest
import tui_detail_samples as samples
from golden import assert_golden, screen_text
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.widgets import Input
from tui_detail_samples import (
    AT,
    BLOCKED,
    ID,
    PLAN,
    FakeCommands,
    execution,
    opened,
    press,
    publish,
    settle,
    told,
    type_text,
)

from rollback_console.errors import WorldChanged
from rollback_console.model.plan import ExecutionState
from rollback_console.tui.screens.rollback import RollbackScreen
from rollback_console.tui.widgets.confirm import ConfirmScreen, parts_of, what_differs
from rollback_console.tui.widgets.lines import Lines
from rollback_console.tui.widgets.prompt import PromptScreen, YesNoScreen

PHRASE = "production/checkout-ranker v7"


class Hand:
    """A clock that the test moves, for the time between keys."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def here() -> RollbackScreen:
    return RollbackScreen(ID)


async def to_confirmation(app: samples.ConsoleApp, pilot: samples.Pilot[None]) -> ConfirmScreen:
    """From the plan through the reason to the confirmation."""
    await press(pilot, "x")
    await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
    await type_text(pilot, "v8 hurts")
    await press(pilot, "enter")
    await settle(pilot, lambda: isinstance(app.screen, ConfirmScreen))
    assert isinstance(app.screen, ConfirmScreen)
    return app.screen


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_the_plan_at_each_size(size: tuple[int, int]) -> None:
    async with opened(here, size=size) as (app, _, commands):
        assert commands.of("plan") == [("plan", ID, "version rollback", None)]
        assert_golden(f"rollback_plan_{size[0]}x{size[1]}", screen_text(app))


async def test_nothing_of_the_plan_is_lost_on_a_small_screen() -> None:
    async with opened(here, size=(60, 20)) as (app, _, _):
        text = " ".join(app.screen.query_one("#left", Lines).text.split())
        for words in (PLAN.why_target[:30], "sets @champion", "Preflight", "the lock is free", "oncall, commander"):
            assert words in text
        joined = "".join(row.lstrip(" ↪$") for row in app.screen.query_one("#left", Lines).text.split("\n"))
        assert '"version": "7"}' in joined.replace("\n", "")


async def test_a_blocked_plan_says_why_and_is_not_executed() -> None:
    async with opened(here, commands=FakeCommands(BLOCKED)) as (app, pilot, commands):
        assert_golden("rollback_blocked_80x24", screen_text(app))
        await press(pilot, "x")
        await settle(pilot)
        assert isinstance(app.screen, RollbackScreen)
        assert "pointer is where the plan says does not hold: @champion names v9" in told(app)
        assert "(and 1 more)" in told(app)
        assert not commands.of("execute")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (dataclasses.replace(PLAN, expires_at=AT - 1), "has expired"),
        (dataclasses.replace(PLAN, checks=()), "no preflight check was made"),
    ],
)
async def test_a_plan_that_may_not_be_executed(plan: samples.Plan, words: str) -> None:
    async with opened(here, commands=FakeCommands(plan)) as (app, pilot, commands):
        await press(pilot, "x")
        await settle(pilot)
        assert words in told(app)
        assert words in " ".join(app.screen.query_one("#head", Lines).text.split())
        assert not commands.of("execute")


async def test_look_only_says_why() -> None:
    async with opened(here, samples.snapshot(look_only="no key is at hand")) as (app, pilot, commands):
        assert "no key is at hand" in screen_text(app)
        await press(pilot, "x")
        await settle(pilot)
        assert "no key is at hand" in told(app)
        assert isinstance(app.screen, RollbackScreen)
        assert not commands.of("execute")


async def test_a_plan_that_cannot_be_made_says_why_and_what_to_do() -> None:
    error = WorldChanged("no version of checkout-ranker served healthily", "name one with o")
    async with opened(here, commands=FakeCommands(plan_error=error)) as (app, pilot, _):
        assert "no version of checkout-ranker served healthily: name one with o" in " ".join(screen_text(app).split())
        await press(pilot, "x")
        await settle(pilot)
        assert "served healthily" in told(app)


async def test_p_goes_through_the_paths_and_o_names_a_version() -> None:
    async with opened(here) as (app, pilot, commands):
        await press(pilot, "p")
        await settle(pilot, lambda: len(commands.of("plan")) == 2)
        await press(pilot, "p")
        await settle(pilot, lambda: len(commands.of("plan")) == 3)
        assert [asked[2] for asked in commands.of("plan")] == ["version rollback", "freeze", "version rollback"]
        await press(pilot, "o")
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        await type_text(pilot, "v6")
        await press(pilot, "enter")
        await settle(pilot, lambda: len(commands.of("plan")) == 4)
        assert commands.of("plan")[-1] == ("plan", ID, "version rollback", "6")
        await settle(pilot)
        assert "v8  ──▶  v6" in screen_text(app)


async def test_c_copies_what_one_would_type_by_hand() -> None:
    async with opened(here) as (app, pilot, _):
        await press(pilot, "c")
        await settle(pilot, lambda: bool(app.clipboard))
        assert app.clipboard == PLAN.manual[0]


async def test_the_expiry_counts_down() -> None:
    now = [0.0]
    async with opened(here, clock=lambda: now[0]) as (app, _, _):
        assert "expires in 15:00" in screen_text(app)
        now[0] = 61.0
        app.screen.on_second()  # type: ignore[attr-defined]  # what the app's one-second timer calls
        assert "expires in 13:59" in app.screen.query_one("#head", Lines).text


# ── the typed confirmation


async def test_reason_then_phrase_then_it_is_executed_and_followed() -> None:
    hand = Hand()
    async with opened(lambda: RollbackScreen(ID, monotonic=hand)) as (app, pilot, commands):
        await to_confirmation(app, pilot)
        assert_golden("rollback_confirm_80x24", screen_text(app))
        hand.now += 1
        await type_text(pilot, PHRASE)
        assert not commands.of("execute")
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("execute")))
        assert commands.of("execute") == [("execute", PLAN, "v8 hurts", PHRASE)]
        await publish(app, pilot, samples.snapshot(executions=(execution(ExecutionState.VERIFYING),)))
        assert "VERIFYING" in screen_text(app)
        await publish(app, pilot, samples.snapshot(executions=(execution(ExecutionState.DONE),)))
        assert "DONE" in screen_text(app)


async def test_an_empty_reason_is_refused_in_words() -> None:
    async with opened(here) as (app, pilot, _):
        await press(pilot, "x")
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        await press(pilot, "space", "enter")
        await settle(pilot)
        assert isinstance(app.screen, PromptScreen)
        assert "cannot be empty" in screen_text(app)
        await press(pilot, "escape")
        await settle(pilot)
        assert isinstance(app.screen, RollbackScreen)


async def test_keys_within_300_ms_of_opening_are_swallowed() -> None:
    hand = Hand()
    async with opened(lambda: RollbackScreen(ID, monotonic=hand)) as (app, pilot, commands):
        dialog = await to_confirmation(app, pilot)
        hand.now += 0.299
        await type_text(pilot, "xx" + PHRASE)
        await press(pilot, "enter", "escape")
        assert dialog.typed == ""
        assert app.screen is dialog
        hand.now += 0.002
        await type_text(pilot, "p")
        assert dialog.typed == "p"
        assert not commands.of("execute")


async def test_keys_right_after_the_terminal_regains_focus_are_swallowed() -> None:
    hand = Hand()
    async with opened(lambda: RollbackScreen(ID, monotonic=hand)) as (app, pilot, _):
        dialog = await to_confirmation(app, pilot)
        hand.now += 1
        app.post_message(events.AppBlur())
        await settle(pilot, lambda: not app.app_focus)
        app.post_message(events.AppFocus())
        await settle(pilot, lambda: app.app_focus)
        await type_text(pilot, "prod")
        assert dialog.typed == ""
        hand.now += 0.31
        await type_text(pilot, "prod")
        assert dialog.typed == "prod"


async def test_paste_is_refused_in_words() -> None:
    hand = Hand()
    async with opened(lambda: RollbackScreen(ID, monotonic=hand)) as (app, pilot, commands):
        dialog = await to_confirmation(app, pilot)
        hand.now += 1
        app.post_message(events.Paste(PHRASE))
        await settle(pilot)
        assert dialog.typed == ""
        assert "paste is refused" in screen_text(app)
        app.copy_to_clipboard(PHRASE)
        await press(pilot, "ctrl+v")
        await press(pilot, "enter")
        await settle(pilot)
        assert dialog.typed == ""
        assert app.screen is dialog
        assert not commands.of("execute")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "nothing is typed yet"),
        ("production/checkout-ranker v8", "the version differs: 'v8' is typed, 'v7' is needed"),
        ("staging/checkout-ranker v7", "the environment differs"),
        ("production/checkout v7", "the name differs"),
        ("production/checkout-ranker", "it ends too early"),
    ],
)
async def test_a_wrong_phrase_says_which_part_differs(typed: str, words: str) -> None:
    hand = Hand()
    async with opened(lambda: RollbackScreen(ID, monotonic=hand)) as (app, pilot, commands):
        dialog = await to_confirmation(app, pilot)
        hand.now += 1
        await type_text(pilot, typed)
        await press(pilot, "enter")
        await settle(pilot)
        assert app.screen is dialog
        assert words in " ".join(screen_text(app).replace("┃", " ").split())
        await press(pilot, "escape")
        await settle(pilot)
        assert isinstance(app.screen, RollbackScreen)
        assert not commands.of("execute")


@given(st.text(max_size=60))
def test_only_the_phrase_itself_is_the_phrase(typed: str) -> None:
    for phrase in (PHRASE, f"rehearsal {PHRASE}"):
        assert (what_differs(typed, phrase) == "") is (typed == phrase)
        assert "".join(text for _, text in parts_of(phrase)) == phrase


def test_a_rehearsal_s_phrase_differs_in_its_first_word() -> None:
    assert "the first word is missing" in what_differs(PHRASE, f"rehearsal {PHRASE}")
    assert what_differs(PHRASE.upper(), PHRASE) == "upper and lower case differ"
    assert "space" in what_differs(PHRASE + " ", PHRASE)
    assert "something follows" in what_differs(PHRASE + "7", PHRASE)


# ── the execution


@pytest.mark.parametrize("state", list(ExecutionState))
async def test_every_state_of_an_execution_says_what_stands_and_what_is_next(state: ExecutionState) -> None:
    async with opened(here) as (app, pilot, _):
        await publish(app, pilot, samples.snapshot(executions=(execution(ExecutionState.RUNNING),)))
        await publish(app, pilot, samples.snapshot(executions=(execution(state),)))
        assert_golden(f"rollback_{state.name.lower()}_80x24", screen_text(app))


async def test_an_execution_beside_its_plan_at_120x40() -> None:
    shown = samples.snapshot(executions=(execution(),))
    async with opened(here, shown, size=(120, 40)) as (app, _, commands):
        assert not commands.of("plan")
        assert_golden("rollback_verifying_120x40", screen_text(app))


async def test_an_older_execution_that_ended_does_not_hide_the_plan() -> None:
    shown = samples.snapshot(executions=(execution(ExecutionState.DONE),))
    async with opened(here, shown) as (app, _, commands):
        assert commands.of("plan")
        assert "✓ ready" in screen_text(app)


async def test_abort_asks_once_and_takes_a_reason() -> None:
    async with opened(here, samples.snapshot(executions=(execution(),))) as (app, pilot, commands):
        await press(pilot, "a")
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        assert "Abort execution X-1?" in screen_text(app)
        await press(pilot, "enter")
        await settle(pilot)
        assert isinstance(app.screen, PromptScreen)  # enter is no yes
        await press(pilot, "y")
        await settle(pilot, lambda: app.focused is not None and isinstance(app.focused, Input))
        await type_text(pilot, "wrong model")
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("abort")))
        assert commands.of("abort") == [("abort", "X-1", "wrong model")]


async def test_no_aborts_nothing_and_neither_does_leaving() -> None:
    async with opened(here, samples.snapshot(executions=(execution(),))) as (app, pilot, commands):
        await press(pilot, "a")
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        await press(pilot, "n")
        await settle(pilot, lambda: isinstance(app.screen, RollbackScreen))
        await press(pilot, "escape")
        await settle(pilot, lambda: not isinstance(app.screen, RollbackScreen))
        assert not commands.of("abort")


async def test_an_unfinished_execution_offers_resume_and_asks() -> None:
    shown = samples.snapshot(executions=(execution(ExecutionState.UNFINISHED),))
    async with opened(here, shown) as (app, pilot, commands):
        await press(pilot, "u")
        await settle(pilot, lambda: isinstance(app.screen, YesNoScreen))
        await press(pilot, "enter")
        await settle(pilot)
        assert not commands.of("resume")
        await press(pilot, "y")
        await settle(pilot, lambda: bool(commands.of("resume")))
        assert commands.of("resume") == [("resume", "X-1")]


async def test_nothing_is_planned_while_one_is_open_and_p_plans_anew_after() -> None:
    async with opened(here, samples.snapshot(executions=(execution(),))) as (app, pilot, commands):
        await press(pilot, "p")
        await settle(pilot)
        assert "nothing else is planned meanwhile" in told(app)
        await publish(app, pilot, samples.snapshot(executions=(execution(ExecutionState.NOT_CONFIRMED),)))
        assert "NOT CONFIRMED" in screen_text(app)
        await press(pilot, "p")
        await settle(pilot, lambda: bool(commands.of("plan")))
        await settle(pilot)
        assert "✓ ready" in screen_text(app)


async def test_a_refused_execution_is_said_and_the_plan_stays() -> None:
    hand = Hand()
    async with opened(lambda: RollbackScreen(ID, monotonic=hand)) as (app, pilot, commands):
        commands.refuse = "the pointer names v9"
        await to_confirmation(app, pilot)
        hand.now += 1
        await type_text(pilot, PHRASE)
        await press(pilot, "enter")
        await settle(pilot, lambda: "the pointer names v9" in told(app))
        assert "execute: the pointer names v9: ask the owner" in told(app)
        assert isinstance(app.screen, RollbackScreen)


@pytest.mark.parametrize("text", samples.HOSTILE, ids=samples.HOSTILE_NAMES)
async def test_hostile_text_in_every_field(text: str) -> None:
    shown = samples.hostile_snapshot(text)
    where, plan = shown.deployments[0].id, samples.hostile_plan(text)
    async with opened(lambda: RollbackScreen(where), shown, FakeCommands(plan), (60, 20)) as (app, pilot, _):
        samples.assert_safe(app)
        await press(pilot, "x")
        await settle(pilot)
        samples.assert_safe(app)
        app.push_screen(ConfirmScreen(f"{where} v{text}", (text, text)))
        await settle(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await settle(pilot)
        samples.assert_safe(app)
    going = dataclasses.replace(execution(), plan=plan, reason=text, operator=text, id=text, detail=text)
    steps = tuple(dataclasses.replace(step, title=text, detail=text) for step in going.steps)
    busy = dataclasses.replace(shown, executions=(dataclasses.replace(going, steps=steps),))
    async with opened(lambda: RollbackScreen(where), busy, FakeCommands(plan), (120, 40)) as (app, pilot, _):
        samples.assert_safe(app)
        await press(pilot, "a")
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        await settle(pilot)
        samples.assert_safe(app)

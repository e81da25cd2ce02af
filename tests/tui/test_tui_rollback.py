"""The Rollback screen: the plan, why not, the typed confirmation and all it refuses, the execution, the outcome."""

from __future__ import annotations

import asyncio
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
from rollback_console.tui.widgets.plan import now_stands
from rollback_console.tui.widgets.prompt import PromptScreen, YesNoScreen

PHRASE = "production/checkout-ranker v7"


class Hand:
    """A clock that the test moves, for the time between keys; `pace` seconds pass by themselves at each look."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pace = 0.0

    def __call__(self) -> float:
        self.now += self.pace
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
    async with opened(here, size=(60, 20)) as (app, pilot, _):
        text = " ".join(app.screen.query_one("#left", Lines).text.split())
        for words in (PLAN.why_target[:30], "sets @champion", "Preflight", "the lock is free", "oncall, commander"):
            assert words in text
        joined = " ".join(row.lstrip(" ↪$") for row in app.screen.query_one("#left", Lines).text.split("\n"))
        assert '"version": "7"}' in joined  # broken at spaces alone
        await press(pilot, "c")
        await settle(pilot, lambda: bool(app.clipboard))
        assert app.clipboard == PLAN.manual[0]  # a word that is too long for the line is whole here


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
        hand.now, hand.pace = hand.now + 1, 0.02
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
        hand.now, hand.pace = hand.now + 1, 0.02
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


AGAINST = "v7 was tagged bad when execution X-0 rolled back from it 40 minutes ago: its errors come back"


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_advice_against_a_plan_is_the_first_line_of_plan_and_dialog(size: tuple[int, int]) -> None:
    plan = dataclasses.replace(PLAN, against=AGAINST)
    where = f"{size[0]}x{size[1]}"
    async with opened(here, commands=FakeCommands(plan), size=size) as (app, pilot, _):
        assert app.screen.query_one("#head", Lines).text.startswith(" AGAINST ADVICE  v7 was tagged bad")
        assert_golden(f"rollback_against_{where}", screen_text(app))
        await press(pilot, "x")
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        assert "AGAINST ADVICE" in screen_text(app)
        await settle(pilot, lambda: isinstance(app.focused, Input))
        await type_text(pilot, "no other way")
        await press(pilot, "enter")
        await settle(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await settle(pilot)
        assert app.screen.query_one(Lines).text.startswith(" AGAINST ADVICE  v7 was tagged bad")
        assert_golden(f"rollback_against_confirm_{where}", screen_text(app))


async def test_the_dialog_keeps_its_keys_on_a_tiny_screen() -> None:
    plan = dataclasses.replace(PLAN, against=AGAINST)
    async with opened(here, commands=FakeCommands(plan), size=(40, 12)) as (app, pilot, _):
        await to_confirmation(app, pilot)
        await settle(pilot)
        text = screen_text(app)
        for words in ("AGAINST ADVICE", "type exactly", "production/checkout-ranker v7", "enter executes", "escape"):
            assert words in text, text


async def test_what_comes_faster_than_a_hand_is_a_paste() -> None:
    hand = Hand()
    async with opened(lambda: RollbackScreen(ID, monotonic=hand)) as (app, pilot, commands):
        dialog = await to_confirmation(app, pilot)
        hand.now += 1
        await type_text(pilot, PHRASE)  # a paste that the terminal does not mark
        await press(pilot, "enter")
        assert dialog.typed == ""
        assert "that came too fast to be typed: paste is refused" in " ".join(screen_text(app).split())
        hand.now += 1
        hand.pace = 0.049 / 14  # fifteen in less than 50 ms: a slow line's burst
        await type_text(pilot, PHRASE[:15])
        assert dialog.typed == PHRASE[:15]
        hand.now += 1
        await type_text(pilot, PHRASE[15:])
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("execute")))


async def test_a_short_phrase_at_once_is_a_paste_as_well() -> None:
    hand = Hand()
    async with opened(here) as (app, pilot, _):
        dialog = ConfirmScreen("sandbox/a v7", (), monotonic=hand)
        app.push_screen(dialog)
        await settle(pilot, lambda: app.screen is dialog)
        hand.now += 1
        await type_text(pilot, "sandbox/a v7")
        assert dialog.typed == ""


async def test_x_before_the_plan_is_kept_and_other_characters_are_no_hotkeys() -> None:
    commands = FakeCommands()
    commands.plan_waits = asyncio.Event()
    async with opened(here, commands=commands) as (app, pilot, _):
        await type_text(pilot, "xptq")
        await settle(pilot)
        assert isinstance(app.screen, RollbackScreen)
        assert "x is kept" in screen_text(app)
        assert len(commands.of("plan")) == 1
        commands.plan_waits.set()
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))


async def test_what_is_typed_while_a_dialog_opens_is_no_hotkey() -> None:
    async with opened(here) as (app, pilot, commands):
        await type_text(pilot, "xqpaot")
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        assert app.is_running
        assert len(commands.of("plan")) == 1
        assert not commands.of("execute")


# ── the execution


def test_what_stands_now_is_said_by_its_newest_witness() -> None:
    view = samples.detailed_view()
    assert view.verdict is not None
    running = execution()  # its registry step ended 70 s ago, its serving step 52 s ago
    late = dataclasses.replace(view, verdict=dataclasses.replace(view.verdict, at=AT - 80))
    text = now_stands(running, late, AT, AT - 75)
    assert "the registry says v7, as this execution found 1m10s ago (polled 1m15s ago: v8)" in text
    assert "serving reports v7, as this execution found 52s ago (polled 1m20s ago: v8)" in text
    moved = dataclasses.replace(view, registry_version="7")
    assert "the registry says v7, serving reports v8;" in now_stands(running, moved, AT, AT - 1)
    assert "the registry says v7 (polled 12s ago)" in now_stands(running, moved, AT, AT - 12)


async def test_an_execution_begins_at_the_top_and_offers_no_second_one() -> None:
    async with opened(here) as (app, pilot, _):
        left = app.screen.query_one("#left", Lines)
        await press(pilot, "G")
        await settle(pilot, lambda: left.scroll_offset.y > 0)
        assert "x execute" in screen_text(app)
        await publish(app, pilot, samples.snapshot(executions=(execution(),)))
        await settle(pilot, lambda: left.scroll_offset.y == 0)
        assert "x execute" not in screen_text(app)
        await publish(app, pilot, samples.snapshot(executions=(execution(ExecutionState.DONE),)))
        assert "x execute" not in screen_text(app)


async def test_beside_an_execution_the_signals_are_live() -> None:
    shown = samples.snapshot(executions=(execution(),))
    async with opened(here, shown, size=(120, 40)) as (app, _, _):
        right = app.screen.query_one("#right", Lines).text
        assert right.startswith("Signals now")
        assert "error rate" in right
        assert "What happens" not in right


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


async def test_abort_aborts_at_the_yes_and_asks_why_afterwards() -> None:
    async with opened(here, samples.snapshot(executions=(execution(),))) as (app, pilot, commands):
        await press(pilot, "a")
        await settle(pilot, lambda: isinstance(app.screen, YesNoScreen))
        assert "Abort execution X-1?" in screen_text(app)
        await press(pilot, "enter")
        await settle(pilot)
        assert isinstance(app.screen, YesNoScreen)  # enter is no yes
        assert not commands.of("abort")
        await press(pilot, "y")
        await settle(pilot, lambda: bool(commands.of("abort")))
        assert commands.of("abort") == [("abort", "X-1", "")]  # nothing is waited for
        await settle(pilot, lambda: app.focused is not None and isinstance(app.focused, Input))
        await type_text(pilot, "wrong model")
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("note")))
        assert commands.of("note") == [("note", "execution X-1 was aborted: wrong model", ID)]


async def test_no_aborts_nothing_and_neither_does_leaving() -> None:
    async with opened(here, samples.snapshot(executions=(execution(),))) as (app, pilot, commands):
        await press(pilot, "a")
        await settle(pilot, lambda: isinstance(app.screen, YesNoScreen))
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
        hand.now, hand.pace = hand.now + 1, 0.02
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
        await settle(pilot, lambda: isinstance(app.screen, YesNoScreen))
        await settle(pilot)
        samples.assert_safe(app)

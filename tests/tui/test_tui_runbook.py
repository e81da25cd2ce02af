"""The Runbook screen: choosing, walking, marking with reasons, acts that count only when done, the panel, markdown."""

from __future__ import annotations

import dataclasses
import time

import pytest
import tui_detail_samples as samples
import tui_samples as base
from golden import assert_golden, screen_text
from hypothesis import given, settings
from hypothesis import strategies as st
from tui_detail_samples import (
    AT,
    BOOK,
    ID,
    OTHERS,
    STEPS,
    WALK,
    FakeCommands,
    execution,
    opened,
    press,
    publish,
    settle,
    told,
)

from rollback_console.model.incident import Recommendation
from rollback_console.model.plan import ExecutionState, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerState
from rollback_console.model.walk import Runbook, Walk, WalkStep
from rollback_console.tui.screens.rollback import RollbackScreen
from rollback_console.tui.screens.runbook import RunbookScreen
from rollback_console.tui.widgets import walk as walks
from rollback_console.tui.widgets.lines import Lines
from rollback_console.tui.widgets.markdown import markdown_lines
from rollback_console.tui.widgets.prompt import PromptScreen, YesNoScreen
from rollback_console.tui.widgets.walk_checks import StepChecks


def here() -> RunbookScreen:
    return RunbookScreen(ID, None)


def walking(*states: StepState, walk: Walk = WALK, **more: object) -> Snapshot:
    """A Snapshot in which the walk's first steps are in these states."""
    steps = tuple(
        dataclasses.replace(step, state=states[i]) if i < len(states) else step for i, step in enumerate(walk.steps)
    )
    return samples.snapshot(walks=(dataclasses.replace(walk, steps=steps),), **more)


DONE3 = (StepState.DONE, StepState.DONE, StepState.DONE)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_a_walk_at_each_size(size: tuple[int, int]) -> None:
    async with opened(here, samples.snapshot(walks=(WALK,)), size=size) as (app, _, commands):
        assert not commands.of("start_walk")  # the open walk goes on
        assert_golden(f"runbook_walk_{size[0]}x{size[1]}", screen_text(app))


async def test_a_command_step_at_80x24() -> None:
    async with opened(here, samples.snapshot(walks=(WALK,))) as (app, pilot, _):
        await press(pilot, "k")
        await settle(pilot)
        assert_golden("runbook_command_80x24", screen_text(app))


async def test_the_one_that_is_proposed_opens_at_once_and_its_walk_begins() -> None:
    async with opened(here) as (app, pilot, commands):
        assert commands.of("start_walk") == [("start_walk", BOOK.name, ID)]
        await publish(app, pilot, samples.snapshot(walks=(WALK,)))
        assert "Model version rollback" in screen_text(app)
        assert "3. Stop tonight's training job" in screen_text(app)


async def test_without_a_deployment_the_library_is_listed_and_enter_walks() -> None:
    async with opened(lambda: RunbookScreen(None, None)) as (app, pilot, commands):
        assert_golden("runbook_list_80x24", screen_text(app))
        assert not commands.of("start_walk")
        await press(pilot, "j", "enter")
        await settle(pilot, lambda: bool(commands.of("start_walk")))
        assert commands.of("start_walk")[0][2] is None


async def test_proposed_ones_come_first_and_l_lists_the_others() -> None:
    async with opened(here) as (app, pilot, commands):
        await press(pilot, "l")
        await settle(pilot)
        rows = app.screen.query_one("#page", Lines).text.split("\n")
        assert rows[1].startswith("▸ Model version rollback")
        assert "proposed" in rows[2]
        await press(pilot, "j", "enter")
        await settle(pilot, lambda: len(commands.of("start_walk")) == 2)
        assert commands.of("start_walk")[1][1] in {book.name for book in OTHERS}


async def test_a_name_opens_that_one_and_an_unknown_name_lists_all() -> None:
    async with opened(lambda: RunbookScreen(ID, "blind-telemetry.md")) as (_, _, commands):
        assert commands.of("start_walk") == [("start_walk", "blind-telemetry", ID)]
    async with opened(lambda: RunbookScreen(ID, "nowhere")) as (app, _, commands):
        assert "there is no runbook nowhere" in told(app)
        assert not commands.of("start_walk")
        assert "Upstream fault" in screen_text(app)


@pytest.mark.parametrize("key", ["enter", "d"])
async def test_a_step_is_marked_done(key: str) -> None:
    async with opened(here, walking()) as (_, pilot, commands):
        await press(pilot, key)
        await settle(pilot, lambda: bool(commands.of("mark_step")))
        assert commands.of("mark_step") == [("mark_step", "W-1", "freeze", StepState.DONE, "")]


@pytest.mark.parametrize(("key", "state"), [("s", StepState.SKIPPED), ("f", StepState.FAILED)])
async def test_skipping_and_failing_need_a_reason(key: str, state: StepState) -> None:
    async with opened(here, walking()) as (app, pilot, commands):
        await press(pilot, key)
        await settle(pilot, lambda: isinstance(app.screen, PromptScreen))
        await press(pilot, "enter")
        await settle(pilot)
        assert "cannot be empty" in screen_text(app)
        assert not commands.of("mark_step")
        await press(pilot, "n", "o", "enter")
        await settle(pilot, lambda: bool(commands.of("mark_step")))
        assert commands.of("mark_step") == [("mark_step", "W-1", "freeze", state, "no")]


async def test_a_step_that_is_over_is_not_marked_again() -> None:
    async with opened(here, walking()) as (app, pilot, commands):
        await press(pilot, "k", "enter")
        await settle(pilot)
        assert "step 2 is skipped already" in told(app)
        assert not commands.of("mark_step")


async def test_the_cursor_follows_the_current_step_until_it_is_moved() -> None:
    async with opened(here, walking()) as (app, pilot, _):
        await publish(app, pilot, walking(*DONE3))
        assert "4. Roll back" in screen_text(app)
        await press(pilot, "k")
        await publish(app, pilot, walking(*DONE3, StepState.DONE))
        assert "3. Stop tonight" in screen_text(app)


# ── acts


async def test_an_act_step_is_done_when_its_execution_is_and_not_before() -> None:
    async with opened(here, walking(*DONE3)) as (app, pilot, commands):
        await press(pilot, "enter")
        await settle(pilot, lambda: isinstance(app.screen, RollbackScreen))
        assert not commands.of("mark_step")
        for state in (ExecutionState.RUNNING, ExecutionState.VERIFYING):
            await publish(app, pilot, walking(*DONE3, executions=(execution(state),)))
        await press(pilot, "escape")
        await settle(pilot, lambda: isinstance(app.screen, RunbookScreen))
        assert "waiting for the act: rollback" in screen_text(app)
        assert not commands.of("mark_step")
        await publish(app, pilot, walking(*DONE3, executions=(execution(ExecutionState.DONE),)))
        await settle(pilot, lambda: bool(commands.of("mark_step")))
        assert commands.of("mark_step") == [("mark_step", "W-1", "back", StepState.DONE, "execution X-1 is done")]


@pytest.mark.parametrize("state", [ExecutionState.FAILED, ExecutionState.NOT_CONFIRMED, ExecutionState.ABORTED])
async def test_an_act_that_ended_otherwise_leaves_its_step_open(state: ExecutionState) -> None:
    async with opened(here, walking(*DONE3)) as (app, pilot, commands):
        await press(pilot, "enter")
        await settle(pilot, lambda: isinstance(app.screen, RollbackScreen))
        await press(pilot, "escape")
        await publish(app, pilot, walking(*DONE3, executions=(execution(state),)))
        await settle(pilot, lambda: "the step stays open" in told(app))
        assert not commands.of("mark_step")


async def test_an_execution_from_before_the_walk_proves_nothing() -> None:
    old = execution(ExecutionState.DONE, started_at=AT - 9_000)
    async with opened(here, walking(*DONE3, executions=(old,))) as (app, pilot, commands):
        await press(pilot, "enter")
        await settle(pilot, lambda: isinstance(app.screen, RollbackScreen))
        assert not commands.of("mark_step")


async def test_a_note_counts_once_it_stands_in_the_journal() -> None:
    states = (*DONE3, StepState.DONE)
    async with opened(here, walking(*states)) as (app, pilot, commands):
        await press(pilot, "enter")
        await settle(pilot, lambda: not isinstance(app.screen, RunbookScreen))
        await press(pilot, "o", "k", "enter")
        await settle(pilot, lambda: bool(commands.of("note")))
        assert not commands.of("mark_step")
        items = (*base.timeline(), samples.note_item(13))
        await publish(app, pilot, walking(*states, timeline=items))
        await settle(pilot, lambda: bool(commands.of("mark_step")))
        assert commands.of("mark_step") == [("mark_step", "W-1", "note", StepState.DONE, "journal entry 13")]


async def test_an_act_that_cannot_be_done_says_why() -> None:
    shown = walking(*DONE3)
    view = dataclasses.replace(shown.deployments[0], rule=dataclasses.replace(shown.deployments[0].rule, recovery=()))
    shown = dataclasses.replace(shown, deployments=(view, *shown.deployments[1:]))
    async with opened(here, shown) as (app, pilot, commands):
        await press(pilot, "enter")
        await settle(pilot)
        assert "names no recovery path" in told(app)
        assert isinstance(app.screen, RunbookScreen)
        assert not commands.of("mark_step")


async def test_an_act_this_console_does_not_have_is_said() -> None:
    steps = (dataclasses.replace(STEPS[3], act="levitate"),)
    book = dataclasses.replace(BOOK, steps=steps)
    walk = dataclasses.replace(WALK, runbook=book, steps=(WalkStep(steps[0], StepState.WAITING),))
    async with opened(here, samples.snapshot(walks=(walk,), runbooks=(book,))) as (app, pilot, commands):
        await press(pilot, "enter")
        await settle(pilot)
        assert "no act levitate" in told(app)
        assert not commands.of("mark_step")


# ── what else a walk says


async def test_look_only_reads_but_does_not_mark() -> None:
    async with opened(here, samples.snapshot(look_only="no key is at hand")) as (app, pilot, commands):
        assert "no key is at hand" in screen_text(app)
        assert "1. Look at the panel" in screen_text(app)
        await press(pilot, "enter")
        await settle(pilot)
        assert "no walk: no key is at hand" in told(app)
        assert not commands.of("start_walk")
        assert not commands.of("mark_step")


async def test_a_refused_start_says_who_could() -> None:
    commands = FakeCommands()
    commands.refuse = "role reader may not walk"
    async with opened(here, commands=commands) as (app, _, _):
        assert "role reader may not walk: ask the lead" in " ".join(screen_text(app).split())


async def test_a_file_that_changed_since_is_said() -> None:
    changed = dataclasses.replace(BOOK, digest="ef" * 32)
    async with opened(here, samples.snapshot(walks=(WALK,), runbooks=(changed,))) as (app, pilot, _):
        assert "the file has changed since (now efefefefefef)" in " ".join(screen_text(app).split())
        await publish(app, pilot, samples.snapshot(walks=(WALK,), runbooks=OTHERS))
        assert "the file is gone from the library" in screen_text(app)


async def test_c_copies_the_command_and_a_step_without_one_says_so() -> None:
    async with opened(here, walking()) as (app, pilot, _):
        await press(pilot, "c")
        await settle(pilot)
        assert "this step has no command" in told(app)
        await press(pilot, "k", "c")
        await settle(pilot, lambda: bool(app.clipboard))
        assert app.clipboard == STEPS[1].commands[0]


async def test_ending_a_walk_asks() -> None:
    async with opened(here, walking()) as (app, pilot, commands):
        await press(pilot, "e")
        await settle(pilot, lambda: isinstance(app.screen, YesNoScreen))
        assert "3 of 5 steps are open" in screen_text(app)
        await press(pilot, "n")
        await settle(pilot, lambda: isinstance(app.screen, RunbookScreen))
        assert not commands.of("end_walk")
        await press(pilot, "e")
        await settle(pilot, lambda: isinstance(app.screen, YesNoScreen))
        await press(pilot, "y")
        await settle(pilot, lambda: bool(commands.of("end_walk")))
        ended = dataclasses.replace(WALK, ended_at=AT, outcome="left")
        await publish(app, pilot, samples.snapshot(walks=(ended,)))
        assert "ended 14:02:31: left" in screen_text(app)


async def test_the_panel_lives_beside_the_walk() -> None:
    now = [0.0]
    shown = samples.snapshot(samples.pending_view(), walks=(WALK,))
    async with opened(here, shown, clock=lambda: now[0]) as (app, _, _):
        now[0] = 10.0
        app.screen.on_second()  # type: ignore[attr-defined]  # what the app's one-second timer calls
        head = app.screen.query_one("#head", Lines).text
        assert "PENDING" in head
        assert "fires in 2:31" in head
        assert "error rate 1.9 %" in head


async def test_no_library_no_crash() -> None:
    async with opened(lambda: RunbookScreen(None, None), base.snapshot(runbooks=())) as (app, pilot, _):
        assert "no runbooks were found" in screen_text(app)
        await press(pilot, "enter", "j", "k")
        samples.assert_safe(app)


async def test_a_runbook_without_steps_is_no_crash() -> None:
    book = Runbook("model-version-rollback", "Empty", "aa" * 32, "e.md", "", ())
    async with opened(here, samples.snapshot(runbooks=(book,))) as (app, pilot, _):
        await press(pilot, "enter", "s", "c", "j", "k")
        assert "this runbook has no steps" in screen_text(app)


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
@pytest.mark.parametrize("text", samples.HOSTILE, ids=samples.HOSTILE_NAMES)
async def test_hostile_text_in_every_field(text: str, size: tuple[int, int]) -> None:
    shown = samples.hostile_snapshot(text)
    where = shown.deployments[0].id
    async with opened(lambda: RunbookScreen(where, None), shown, size=size) as (app, pilot, _):
        samples.assert_safe(app)
        for key in ("j", "j", "s", "l"):
            await press(pilot, key)
            await settle(pilot)
            samples.assert_safe(app)


# ── markdown


def rows(body: str, width: int = 60) -> list[str]:
    return [row.plain.rstrip() for row in markdown_lines(body, width)]


def test_markdown_reads_well() -> None:
    body = (
        "## Check\n\nSee the **panel** and `conversion`,\nthen [the wiki](https://w.example/x).\n\n"
        "- one\n  - [ ] two\n1. three\n> careful\n\n```sh\n$ curl -X POST http://x   --data 1\n```\n---\nend"
    )
    assert rows(body) == [
        "Check", "", "See the panel and conversion, then the wiki", "(https://w.example/x).", "", "• one", "  • ☐ two",
        "1. three", "▏ careful", "", "│ $ curl -X POST http://x   --data 1", "─" * 40, "end",
    ]  # fmt: skip


def test_code_is_never_shortened() -> None:
    command = "curl " + "a" * 150
    shown = rows(f"```\n{command}\n```", 40)
    assert "".join(row.removeprefix("│ ").removeprefix("↪ ") for row in shown) == command


def test_emphasis_is_a_role_and_brackets_are_text() -> None:
    made = markdown_lines("**loud** [bold]x[/bold] `[/x]` snake_case_name", 60)[0]
    assert made.plain == "loud [bold]x[/bold] [/x] snake_case_name"
    roles = {(made.plain[s.start : s.end], s.style) for s in made.spans if s.style}
    assert ("loud", "bold") in roles
    assert ("[/x]", "code") in roles


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab *_`[]()#->\n1.!~", max_size=300), st.integers(12, 90))
def test_any_markdown_fits(body: str, width: int) -> None:
    assert all(row.cell_len <= max(width, 18) for row in markdown_lines(body, width))


@pytest.mark.parametrize(
    "body",
    ["*" * 10_000, "[" * 10_000, "`" * 9_999, "_a" * 5_000, "[a](" * 3_000, "x" * 20_000],
    ids=("stars", "brackets", "ticks", "under", "links", "long"),
)
def test_hostile_markdown_is_quick(body: str) -> None:
    begun = time.process_time()
    markdown_lines(body, 70)
    assert time.process_time() - begun < 1.0


def test_one_runbook_is_proposed_the_advice_s_before_the_state_s_before_the_policy_s() -> None:
    shown = samples.snapshot()
    fired = shown.deployments[0]
    assert fired.verdict is not None
    advised = dataclasses.replace(
        shown, incidents=(), recommendations=(Recommendation(fired.id, None, None, "do not", "upstream-fault.md"),)
    )
    assert walks.proposed(advised, fired) == "upstream-fault"
    blind = dataclasses.replace(fired, verdict=dataclasses.replace(fired.verdict, state=TriggerState.BLIND))
    unadvised = dataclasses.replace(shown, incidents=(), recommendations=())
    assert walks.proposed(advised, blind) == "upstream-fault"
    assert walks.proposed(unadvised, blind) == "blind-telemetry"
    assert walks.proposed(unadvised, fired) == BOOK.name
    assert walks.proposed(unadvised, None) is None
    assert walks.fitting_book(unadvised, None) is None  # somebody has to choose
    rows = [row.plain for row in walks.choice_lines(advised, fired, 0, 80)]
    assert sum("proposed" in row for row in rows) == 1
    other = dataclasses.replace(WALK, id="W-2", runbook=OTHERS[1], started_at=WALK.started_at - 50)
    assert walks.fitting_book(dataclasses.replace(advised, walks=(WALK, other)), fired) == BOOK.name


@pytest.mark.parametrize("state", [TriggerState.BLIND, TriggerState.FIRED])
async def test_b_opens_the_proposed_one_without_asking(state: TriggerState) -> None:
    view = samples.detailed_view()
    assert view.verdict is not None
    view = dataclasses.replace(view, verdict=dataclasses.replace(view.verdict, state=state))
    async with opened(here, samples.snapshot(view, incidents=())) as (_, _, commands):
        wanted = "blind-telemetry" if state is TriggerState.BLIND else BOOK.name
        assert commands.of("start_walk") == [("start_walk", wanted, ID)]


def test_a_step_s_title_is_not_said_twice_and_uses_the_width() -> None:
    title = "Tell the channel who is on it and when you will write again, with the ten lines"
    body = (
        "[Tell the channel](console:copy_summary) who is **on it** and when you will write again, with the `ten lines`"
    )
    step = dataclasses.replace(BOOK.steps[0], title=title, body=f"{body}\n\nPaste them.")
    walk = dataclasses.replace(WALK, steps=(dataclasses.replace(WALK.steps[2], step=step),))
    page = " ".join(row.plain for row in walks.step_lines(walk, 0, 100, StepChecks(), AT))
    assert page.count("when you will write again") == 1
    assert "Paste them." in page
    listed = " ".join(" ".join(row.plain for row in walks.step_list(walk, 0, 60, AT)).split())
    assert title in listed

"""Judging and telling on the screen: one form by keys alone, prefilled, and nothing lost by a no."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tui_detail_samples as samples
import tui_samples as base
from golden import assert_golden, screen_text
from textual.pilot import Pilot
from textual.widgets import Input
from tui_detail_samples import AT, ID, assert_safe, opened, press, settle, told, type_text

from review.review_past import make
from rollback_console.actions import BY_ID, Context
from rollback_console.commands import Commands as Asked
from rollback_console.errors import NotAuthorized, Refused
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Attribution, AttributionKind, Incident
from rollback_console.model.judgement import Docket, FollowUp, Judgement, Subject
from rollback_console.model.message import Message
from rollback_console.model.snapshot import Snapshot, TimelineItem
from rollback_console.review.desk import ReviewCommands
from rollback_console.review.scrub import Scrub
from rollback_console.review.sources import open_source
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.review_app import ReviewApp
from rollback_console.tui.screens.judging import JudgingScreen
from rollback_console.tui.screens.message import MessageScreen
from rollback_console.tui.screens.timeline import TimelineScreen
from rollback_console.tui.widgets.lines import Lines
from rollback_console.tui.widgets.prompt import PromptScreen, YesNoScreen

OTHER = DeploymentId("production", "search-rank")
OVER = Incident(
    "inc-3f2a", (ID,), AT - 7_230.0, Attribution(AttributionKind.RELEASE, ("v8 began to serve",)),
    "release: checkout-ranker degraded 18m45s after v8 began to serve in place of v7", closed_at=AT - 3_100.0,
)  # fmt: skip
SUBJECTS = (
    Subject("move:7", "move", "move of production/search-rank from v2 to v3", (OTHER,), AT - 90_000.0, AT - 90_000.0),
    Subject("inc-3f2a", "incident", OVER.sentence, (ID,), AT - 7_230.0, AT - 3_100.0),
    Subject("ex-1", "rollback", "rollback of production/checkout-ranker from v8 to v7: done", (ID,), AT - 7_000.0,
            AT - 6_000.0, "inc-3f2a"),
)  # fmt: skip
BEFORE = Judgement(
    "inc-3f2a", root_cause="performance degradation", right="right", lessons=("compare by segment", "page earlier"),
    margins="held", seq=231, at=AT - 600, by="ana", hash="ab" * 32, signed="SHA256:x",
)  # fmt: skip
DUE = FollowUp("fu-1", "inc-3f2a", "a canary by segment", "ana", "2026-12-24", seq=232)
DOCKET = Docket(SUBJECTS, (BEFORE,), (DUE,), ("ex-1",))
MESSAGES = (
    Message("inc-3f2a", "update", "internal", "**Update** of v8\n\n- Decision: roll back\n"),
    Message("inc-3f2a", "update", "external", "**Update**\n\n- Decision: we went back\n"),
)


class Commands(samples.FakeCommands):
    """A fake of `Commands` that keeps a docket; `no` is raised by every write."""

    def __init__(self, docket: Docket = DOCKET, no: Exception | None = None) -> None:
        super().__init__()
        self.kept, self.no = docket, no

    async def docket(self) -> Docket:
        return self.kept

    async def judge(self, judgement: Judgement) -> Judgement:
        self.asked.append(("judge", judgement))
        if self.no is not None:
            raise self.no
        made = dataclasses.replace(judgement, seq=240, by="oncall-1", signed="SHA256:y")
        others = tuple(each for each in self.kept.last if each.subject != made.subject)
        self.kept = dataclasses.replace(self.kept, last=(*others, made))
        return made

    async def follow_up(self, subject: str, what: str, owner: str, due: str) -> FollowUp:
        self.asked.append(("follow_up", subject, what, owner, due))
        made = FollowUp("fu-2", subject, what, owner, due)
        self.kept = dataclasses.replace(self.kept, follow_ups=(*self.kept.follow_ups, made))
        return made

    async def end_follow_up(self, follow_up: str, reason: str = "", *, dropped: bool = False) -> FollowUp:
        self.asked.append(("end_follow_up", follow_up, reason, dropped))
        ended = [dataclasses.replace(f, state="dropped" if dropped else "done") for f in self.kept.follow_ups]
        self.kept = dataclasses.replace(self.kept, follow_ups=tuple(ended))
        return ended[0]

    async def drafts(self, incident: str) -> tuple[Message, ...]:
        self.asked.append(("drafts", incident))
        return MESSAGES

    async def told(self, message: Message, how: str, to: str = "") -> None:
        self.asked.append(("told", message, how))
        if self.no is not None:
            raise self.no


def form() -> JudgingScreen:
    return JudgingScreen(DOCKET, "inc-3f2a")


def shown(**more: Any) -> Snapshot:
    return samples.snapshot(**({"over": (OVER,)} | more))


def text_of(app: ConsoleApp) -> str:
    return "\n".join(lines.text for lines in app.screen.query(Lines))


def said(commands: Commands) -> Judgement:
    judgement = commands.of("judge")[-1][1]
    assert isinstance(judgement, Judgement)
    return judgement


async def _asks(pilot: Pilot[None], kind: type = PromptScreen) -> None:
    await settle(pilot, lambda: isinstance(pilot.app.screen, kind))


@pytest.fixture(autouse=True)
def _glyphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_GLYPHS", "braille")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_the_form_begins_with_the_last_judgement(size: tuple[int, int]) -> None:
    async with opened(form, shown(), Commands(), size=size) as (app, pilot, _):
        text = screen_text(app)
        for words in ("performance degradation", "compare by segment", "supersedes entry 231 by ana", "s sign"):
            assert words in text
        assert_golden(f"judging_{size[0]}x{size[1]}", text)
        await press(pilot, *["down"] * 20)
        assert "▌" in screen_text(app).replace("▌ ", "▌"), "the chosen row is always in sight"
        assert "+ follow-up" in screen_text(app)


async def test_every_row_by_keys_alone_and_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Commands()
    async with opened(form, shown(), commands) as (app, pilot, _):
        await press(pilot, "down", "right", "down", "left")  # the next cause; from "right" back to "not said"
        await press(pilot, "down", "enter")
        await _asks(pilot)
        await type_text(pilot, "back to 3.1 %")
        await press(pilot, "enter")
        await settle(pilot, lambda: "back to 3.1 %" in text_of(app))
        await press(pilot, "down", "down", "enter")
        await _asks(pilot)
        await type_text(pilot, "no canary: it was night")
        await press(pilot, "enter")
        await settle(pilot, lambda: "it was night" in text_of(app))
        await press(pilot, "down", "down", "enter", "down", "enter")  # margins on, the first gate
        await press(pilot, "down", "x")  # the first lesson is taken out
        await press(pilot, "down", "down", "down", "right")  # counts as
        await press(pilot, "s")
        await settle(pilot, lambda: bool(commands.of("judge")) and "entry 240" in told(app))
        await settle(pilot, lambda: "supersedes entry 240" in text_of(app))
    found = said(commands)
    assert (found.root_cause, found.right, found.expected) == ("safety concern", "", "back to 3.1 %")
    assert found.deviations == ("no canary: it was night",)
    assert (found.margins, found.gate) == ("too tight", "offline evaluation")
    assert found.lessons == ("page earlier",)
    assert found.counts_as == "unplanned"
    assert found.supersedes == 231, "it names the one that it replaces"


async def test_what_stands_there_is_edited_not_typed_anew() -> None:
    async with opened(form, shown(), Commands()) as (app, pilot, _):
        await press(pilot, *["down"] * 8, "enter")
        await _asks(pilot)
        assert app.screen.query_one(Input).value == "compare by segment"
        await press(pilot, "end")
        await type_text(pilot, "s")
        await press(pilot, "enter")
        await settle(pilot, lambda: "compare by segments" in text_of(app))


async def test_nothing_is_lost_by_a_no() -> None:
    commands = Commands(no=NotAuthorized("the permission judge is in none of your roles (viewer)", "ask ana (lead)"))
    async with opened(form, shown(), commands) as (app, pilot, _):
        await press(pilot, "down", "down", "right", "s")
        await settle(pilot, lambda: "✗ judge: the permission judge" in text_of(app))
        assert "ask ana (lead)" in " ".join(text_of(app).split())
        assert "‹ wrong ›" in text_of(app)
        assert "✗ judge: the permission judge" in screen_text(app), "why not is always in sight"
        assert_golden("judging_refused_80x24", screen_text(app))
        commands.no = None
        await press(pilot, "s")
        await settle(pilot, lambda: "entry 240" in told(app))
    assert said(commands).right == "wrong"


async def test_what_somebody_else_judged_meanwhile_is_shown_before_it_is_replaced() -> None:
    commands = Commands(no=Refused("bo judged inc-3f2a in entry 236", "read it"))
    async with opened(form, shown(), commands) as (app, pilot, _):
        await press(pilot, "down", "down", "right")
        theirs = dataclasses.replace(BEFORE, seq=236, by="bo", right="cannot tell", supersedes=231)
        commands.kept = dataclasses.replace(DOCKET, last=(theirs,))
        await press(pilot, "s")
        await settle(pilot, lambda: "entry 236 by bo says" in " ".join(text_of(app).split()))
        assert "‹ wrong ›" in text_of(app), "mine is still there"
        commands.no = None
        await press(pilot, "s")
        await settle(pilot, lambda: len(commands.of("judge")) == 2)
    assert [each[1].supersedes for each in commands.of("judge")] == [231, 236]


async def test_the_mouse_chooses_a_row_and_a_second_click_answers() -> None:
    async with opened(form, shown(), Commands()) as (app, pilot, _):
        row = next(y for y, line in enumerate(screen_text(app).splitlines()) if "Margins" in line)
        await pilot.click(offset=(10, row))
        await settle(pilot, lambda: "‹ held ›" in screen_text(app))
        await pilot.click(offset=(10, row))
        await settle(pilot, lambda: "‹ too tight ›" in screen_text(app))


async def test_leaving_what_is_not_signed_asks() -> None:
    async with opened(form, shown(), Commands()) as (app, pilot, _):
        await press(pilot, "down", "right", "escape")
        await _asks(pilot, YesNoScreen)
        await press(pilot, "n")
        await settle(pilot, lambda: isinstance(app.screen, JudgingScreen))
        assert "safety concern" in text_of(app)
        await press(pilot, "escape")
        await _asks(pilot, YesNoScreen)
        await press(pilot, "y")
        await settle(pilot, lambda: not isinstance(app.screen, JudgingScreen | YesNoScreen))


async def test_another_subject_keeps_what_was_written_on_the_first() -> None:
    async with opened(form, shown(), Commands()) as (app, pilot, _):
        await press(pilot, "down", "right", "up", "left")  # newest first, moves last
        await settle(pilot, lambda: "ex-1 (waits for judgement)" in text_of(app))
        assert "the first judgement on it" in text_of(app)
        await press(pilot, "right")
        await settle(pilot, lambda: "safety concern" in text_of(app))


async def test_follow_ups_are_opened_done_and_dropped() -> None:
    commands = Commands()
    async with opened(form, shown(), commands) as (app, pilot, _):
        await press(pilot, *["down"] * 30, "enter")
        await _asks(pilot)
        await type_text(pilot, "bo soon a gate")
        await press(pilot, "enter")
        await settle(pilot, lambda: "ana 2026-12-24 compare" in screen_text(app))
        await press(pilot, "home", *["delete"] * 20)
        await type_text(pilot, "bo 2026-12-01 a gate")
        await press(pilot, "enter")
        await settle(pilot, lambda: "bo until 2026-12-01: a gate" in text_of(app))
        await press(pilot, "up", "enter")
        await settle(pilot)
        await press(pilot, "up", "x")
        await settle(pilot)
    assert commands.of("follow_up") == [("follow_up", "inc-3f2a", "a gate", "bo", "2026-12-01")]


async def test_a_follow_up_is_done_by_enter_and_dropped_with_a_reason() -> None:
    commands = Commands()
    async with opened(form, shown(), commands) as (app, pilot, _):
        await press(pilot, *["down"] * 30, "up", "enter")
        await _asks(pilot, YesNoScreen)
        await press(pilot, "y")
        await settle(pilot, lambda: "(done)" in text_of(app))
        await press(pilot, "enter")
        await settle(pilot, lambda: "is done already" in told(app))
        commands.kept = DOCKET
        await press(pilot, "s")
        await settle(pilot, lambda: "(done)" not in text_of(app))
        await press(pilot, "x")
        await _asks(pilot)
        await type_text(pilot, "retired")
        await press(pilot, "enter")
        await settle(pilot, lambda: "(dropped)" in text_of(app))
    assert commands.of("end_follow_up") == [
        ("end_follow_up", "fu-1", "", False), ("end_follow_up", "fu-1", "retired", True),
    ]  # fmt: skip


async def test_the_timeline_judges_what_its_line_names() -> None:
    items = (
        TimelineItem(40, AT - 6_500, "request", str(ID), "oncall-1", "asked to execute ex-1, signed: v8 hurts"),
        TimelineItem(41, AT - 3_100, "incident", "", "", "incident inc-3f2a closed, 1 deployment: it fell"),
    )
    async with opened(lambda: TimelineScreen(None), shown(timeline=items), Commands()) as (app, pilot, _):
        await press(pilot, "up", "J")
        await settle(pilot, lambda: isinstance(app.screen, JudgingScreen))
        assert "rollback of production/checkout-ranker" in text_of(app)
        await press(pilot, "escape")
        await settle(pilot, lambda: isinstance(app.screen, TimelineScreen))
        await press(pilot, "down", "J")
        await settle(pilot, lambda: isinstance(app.screen, JudgingScreen) and "inc-3f2a" in text_of(app))


async def test_messages_are_copied_and_recorded() -> None:
    commands = Commands()
    async with opened(lambda: TimelineScreen(None), shown(incidents=()), commands) as (app, pilot, _):
        await press(pilot, "M")
        await settle(pilot, lambda: isinstance(app.screen, MessageScreen))
        assert_golden("message_80x24", screen_text(app))
        await press(pilot, "right", "y")
        await settle(pilot, lambda: "recorded in the journal as copied" in told(app))
        assert "copied 4 lines" in told(app)
    assert commands.of("drafts") == [("drafts", "inc-3f2a")]
    assert commands.of("told") == [("told", MESSAGES[1], "copied")]


def test_the_acts_say_why_not() -> None:
    judge, message = BY_ID["judge"].disabled_reason, BY_ID["message"].disabled_reason
    assert judge(Context(None)) == "still connecting"
    nothing = base.snapshot(incidents=(), executions=())
    assert judge(Context(nothing)) == "nothing is over yet that could be judged"
    assert message(Context(nothing)) == "there is no incident to tell of"
    looking = dataclasses.replace(nothing, over=(OVER,), look_only="your roles (viewer) allow looking only")
    assert judge(Context(looking)) == "your roles (viewer) allow looking only"
    review = dataclasses.replace(looking, look_only="a review changes nothing", review=True)
    assert judge(Context(review)) is None, "whose journal it is, is found out where it is done"


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
async def test_hostile_text_is_drawn_safely(size: tuple[int, int]) -> None:
    evil = "\x1b[31mred\x07 \u202eevil [bold]x[/] \n\t wide 漢字" * 3
    docket = Docket(
        (Subject(evil, "incident", evil, (ID,), AT - 10, None),),
        (Judgement(evil, root_cause=evil, expected=evil, lessons=(evil,), deviations=(evil,), seq=3, by=evil),),
        (FollowUp("fu-1", evil, evil, evil, evil),), (evil,), causes=(evil,), gates=(evil,),
    )  # fmt: skip
    async with opened(lambda: JudgingScreen(docket, evil), shown(), Commands(docket), size=size) as (app, pilot, _):
        for _ in range(14):
            assert_safe(app)
            await press(pilot, "down", "right")


@pytest.mark.parametrize("own", [True, False])
async def test_a_review_judges_ones_own_journal_and_nobody_elses(tmp_path: Path, own: bool) -> None:
    held: list[Scrub] = []

    async def start(publish: Callable[[Snapshot], None]) -> Asked:
        scrub = Scrub(open_source(make(tmp_path / "past.db")), publish)
        scrub.begin()
        held.append(scrub)
        commands = ReviewCommands(scrub)
        if own:
            commands.judges = Commands()
        return commands

    app = ReviewApp(start, monotonic=lambda: 0.0)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot, lambda: bool(held))
        await held[0].settled()
        await settle(pilot, lambda: "J judge" in screen_text(app))
        await press(pilot, "J")
        if own:
            await settle(pilot, lambda: isinstance(app.screen, JudgingScreen))
            await press(pilot, "down", "right", "s")
            await settle(pilot, lambda: "entry 240" in told(app))
        else:
            await settle(pilot, lambda: "not this console's own journal" in told(app))

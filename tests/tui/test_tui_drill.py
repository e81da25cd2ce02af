"""A drill's screens: the story first, the tutorial's strip, time by keys, the report; only in a drill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import tui_samples as samples
from golden import assert_golden, screen_text
from textual.command import CommandPalette
from textual.pilot import Pilot

from rollback_console.actions import ACTIONS, DRILL_ACTIONS, Context
from rollback_console.errors import Refused
from rollback_console.model.drill import CONFIRMATION, DrillReport, DrillTime, DrillView
from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import Snapshot
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.screens.deployment import DeploymentScreen
from rollback_console.tui.screens.drill import DrillReportScreen, StoryScreen
from rollback_console.tui.screens.fleet import FleetScreen
from rollback_console.tui.screens.help import HelpScreen
from rollback_console.tui.screens.leave import LeaveScreen
from rollback_console.tui.widgets.tutorial import TutorialStrip

SIZES = [(80, 24), (120, 40)]
STORY = """It is Tuesday, just after two. Checkout released v8 this morning, and somebody in the channel asks whether
anyone else finds it slow.

You are on call. Nobody has paged you."""
VIEW = DrillView(
    "conversion-regression", "Conversion falls after a release", STORY, "release", True,
    "It fired. Press enter on it before you do anything; what degraded, by how much and since when decides the rest.",
    "j k move to it · enter opens it",
    ("Nothing is red yet.", "It fired. Press enter on it before you do anything."),
)  # fmt: skip
REPORT = DrillReport(
    "conversion-regression", "Conversion falls after a release", "jo", 7, False, "the decision was right",
    ("decided after 6:52; the band ends at 5:00",),
    (
        DrillTime("notice", 31.0, 120.0, 0.0), DrillTime("decide", 412.0, 300.0, 165.0),
        DrillTime("authorize", 430.0, 360.0, 165.0), DrillTime("act", 432.0, 480.0, 180.0),
        DrillTime("recover", 940.0, 1800.0, 660.0),
    ),
    "best: the perfect headless operator, the same seed and minutes",
    (
        ("What was right", ("roll checkout-ranker back to v7, and nothing else",
                            "the pointer was set after 7:12: within the 15:00 standard")),
        ("What it cost", ("48,120 USD from its onset to the end of the drill",
                          "19,896 USD of it before the trigger fired: nobody could have saved that",
                          "15,028 USD more than the best (33,092 USD)")),
        ("Wrong turns and blind alleys", ("looked at production/ads-ctr, which had nothing",)),
        ("The runbook", ("12 steps done, 1 skipped",)),
        ("What you looked at before you acted", ()),
    ),
)  # fmt: skip


class FakeDrill:
    """A fake of `commands.DrillControl`: remembers what was asked; `end` makes it over."""

    def __init__(self, view: DrillView = VIEW) -> None:
        self.view = view
        self.asked: list[str] = []
        self.looks: list[tuple[DeploymentId | None, str]] = []
        self.refuse = ""
        self.ended: Callable[[], None] = lambda: None

    def begin(self) -> None:
        self.asked.append("begin")

    def looked(self, deployment: DeploymentId | None, what: str) -> None:
        self.looks.append((deployment, what))

    async def step(self) -> str:
        self.asked.append("step")
        return "one evaluation on: nothing changed"

    async def jump(self) -> str:
        self.asked.append("jump")
        if self.refuse:
            raise Refused(self.refuse, "wait a moment")
        return "1:30 on: checkout-ranker is fired"

    def check(self, decision: str) -> str:
        return "" if decision == "leave" else "say leave"

    def end(self, decision: str = "", reason: str = "", /) -> None:
        self.asked.append(" ".join(filter(None, ("end", decision, reason))))
        self.view = replace(self.view, over=True, report=REPORT)
        self.ended()


def shown(view: DrillView = VIEW) -> Snapshot:
    return samples.snapshot(band="REHEARSAL x10", simulated=True, speed=10.0, drill=view)


def console(drill: FakeDrill | None = None, snapshot: Snapshot | None = None) -> ConsoleApp:
    drill = drill or FakeDrill()
    app = ConsoleApp(samples.starter(snapshot or shown(drill.view)), drill=drill, monotonic=lambda: 100.0)
    drill.ended = lambda: app.publish(shown(drill.view))
    return app


def notices(app: ConsoleApp) -> str:
    return " | ".join(notice.message for notice in app._notifications)


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause()


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"{s[0]}x{s[1]}")
async def test_pictures(size: tuple[int, int]) -> None:
    drill = FakeDrill()
    app = console(drill)
    where = f"{size[0]}x{size[1]}"
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, StoryScreen)
        assert_golden(f"drill-story-{where}", screen_text(app))
        assert drill.asked == [], "the clock stands while the story is read"
        await pilot.press("enter")
        await settle(pilot)
        assert drill.asked == ["begin"]
        assert_golden(f"drill-tutorial-{where}", screen_text(app))
        drill.end()
        await settle(pilot)
        assert isinstance(app.screen, DrillReportScreen)
        assert_golden(f"drill-report-{where}", screen_text(app))


async def test_every_screen_says_rehearsal_and_has_the_strip() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        for keys in (("enter",), ("r",), ("escape", "t"), ("escape", "b")):
            await pilot.press(*keys)
            await settle(pilot)
            text = screen_text(app)
            assert "REHEARSAL x10" in text.splitlines()[0], keys
            assert app.screen.query_one(TutorialStrip).size.height == 4
            assert "▸ It fired." in text
            assert "j k move to it" in text


async def test_without_the_tutorial_there_is_no_strip() -> None:
    view = replace(VIEW, tutorial=False, hint="", keys="")
    app = console(FakeDrill(view))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert not app.screen.query(TutorialStrip)
        assert "> jump" in screen_text(app).splitlines()[-1]


async def test_time_goes_by_keys_and_by_name() -> None:
    drill = FakeDrill()
    app = console(drill)
    async with app.run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await pilot.press("enter", "full_stop", "greater_than_sign")
        await settle(pilot)
        assert drill.asked == ["begin", "step", "jump"]
        assert "1:30 on: checkout-ranker is fired" in notices(app)
        await pilot.press("ctrl+p")
        await settle(pilot)
        assert isinstance(app.screen, CommandPalette)
        await pilot.pause(0.3)
        assert "Jump to the next event" in screen_text(app)
        await pilot.press("escape", "S")
        await settle(pilot)
        assert isinstance(app.screen, StoryScreen)
        assert "▸ Nothing is red yet." in screen_text(app), "what the tutorial said, again"


async def test_a_refusal_is_said() -> None:
    drill = FakeDrill()
    drill.refuse = "a jump is under way"
    app = console(drill)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await pilot.press("enter", "greater_than_sign")
        await settle(pilot)
        assert "jump: a jump is under way" in notices(app)


async def test_ending_it_asks_and_then_shows_the_report_again_and_again() -> None:
    drill = FakeDrill()
    app = console(drill)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter", "D")
        await settle(pilot)
        assert isinstance(app.screen, LeaveScreen)
        await pilot.press("enter", "escape")
        await settle(pilot)
        assert drill.asked == ["begin"]
        await pilot.press("D", "y")
        await settle(pilot)
        assert drill.asked == ["begin", "end"]
        assert isinstance(app.screen, DrillReportScreen)
        assert not app.screen.query(TutorialStrip)
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen)
        await pilot.press("greater_than_sign")
        await settle(pilot)
        assert "the drill is over" in notices(app)
        await pilot.press("D")
        await settle(pilot)
        assert isinstance(app.screen, DrillReportScreen)
        await pilot.press("q")
        await settle(pilot)
    assert app.return_code == 0


async def test_leaving_a_drill_that_goes_on_asks() -> None:
    app = console()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter", "q")
        await settle(pilot)
        assert "the drill goes on" in screen_text(app)
        assert "Its report is printed." in screen_text(app)
        await pilot.press("y")
        await settle(pilot)
    assert app.return_code == 0


async def test_what_one_looks_at_is_told_to_the_drill() -> None:
    drill = FakeDrill()
    app = console(drill)
    name = samples.fired().id
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("enter", "enter")
        await settle(pilot)
        assert isinstance(app.screen, DeploymentScreen)
        await pilot.press("2", "3")
        await settle(pilot)
        await pilot.press("r")
        await settle(pilot)
        await pilot.press("x")
        await settle(pilot)
    assert [what for _, what in drill.looks] == ["signals", "why", "what changed", "the plan"]
    assert {deployment for deployment, _ in drill.looks} == {name}
    assert CONFIRMATION not in [what for _, what in drill.looks], "no phrase was asked for"


async def test_outside_a_drill_there_is_nothing_of_it() -> None:
    app = ConsoleApp(samples.starter(samples.snapshot()), monotonic=lambda: 100.0)
    async with app.run_test(size=(120, 60)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen)
        assert "> jump" not in screen_text(app)
        await pilot.press("greater_than_sign")
        await settle(pilot)
        assert "no drill goes on here" in notices(app)
        await pilot.press("question_mark")
        await settle(pilot)
        assert isinstance(app.screen, HelpScreen)
        assert "Jump to the next event" not in screen_text(app)


def test_a_drills_keys_are_nobody_elses() -> None:
    keys = {action.key for action in DRILL_ACTIONS}
    assert len(keys) == len(DRILL_ACTIONS)
    assert not keys & {action.key for action in ACTIONS}
    for action in DRILL_ACTIONS:
        assert action.disabled_reason(Context(None)) == "still connecting"
        assert action.disabled_reason(Context(samples.snapshot())) == "no drill goes on here"
        assert action.disabled_reason(Context(shown())) is None

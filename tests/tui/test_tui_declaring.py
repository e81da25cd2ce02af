"""What a person declares by hand, on the screen: asked for in one line, said beside the state, taken back."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tui_detail_samples as samples
import tui_samples as base
from golden import assert_golden, screen_text
from textual.pilot import Pilot
from textual.widgets import Input
from tui_detail_samples import AT, ID, opened, press, settle, told, type_text

from rollback_console.model.declared import Exclusion, Expectation
from rollback_console.model.incident import Attribution, AttributionKind, Incident
from rollback_console.model.snapshot import Snapshot, TimelineItem
from rollback_console.model.verdict import TriggerState
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.notify import newly_fired, newly_over
from rollback_console.tui.screens.deployment import DeploymentScreen
from rollback_console.tui.screens.fleet import FleetScreen
from rollback_console.tui.screens.timeline import TimelineScreen
from rollback_console.tui.widgets.prompt import PromptScreen

MINE, OTHER = str(ID), "production/search-rank"
CHANGE = Expectation("ch-1", (MINE,), AT + 5_849.0, "index rebuild", "ana", AT - 60)
LEFT_OUT = Exclusion("bl-1", AT - 90_000, AT - 86_000, (MINE,), "bad release of v7", "bo", AT - 80_000)
OVER = Incident(
    "inc-3f2a", (ID, base.INCIDENTS[1].members[0]), AT - 7_230.0,
    Attribution(AttributionKind.RELEASE, ("v8 began to serve",)), "conversion fell", closed_at=AT - 3_100.0,
)  # fmt: skip


class Commands(samples.FakeCommands):
    """A fake of `Commands` that declares what it is asked to."""

    async def expect(self, deployments: Any, seconds: float, reason: str) -> Expectation:
        self.asked.append(("expect", tuple(map(str, deployments)), seconds, reason))
        return Expectation("ch-2", tuple(map(str, deployments)), AT + seconds, reason, "ana", AT)


def here() -> DeploymentScreen:
    return DeploymentScreen(ID)


def shown(state: TriggerState = TriggerState.FIRED, **more: Any) -> Snapshot:
    """The sample, its first deployment well where it is asked to be."""
    view = samples.detailed_view()
    if state is TriggerState.HEALTHY:
        view = base.view(ID.name, values=base.HEALTHY)
        more = {"incidents": base.INCIDENTS[1:], **more}
    if change := more.pop("change", None):
        view = dataclasses.replace(view, expected=change)
        more["expectations"] = (change,)
    return samples.snapshot(view, **more)


def line(app: ConsoleApp) -> str:
    return app.screen.query_one(Input).value


async def _asked(pilot: Pilot[None], *keys: str) -> None:
    await press(pilot, *keys)
    await settle(pilot, lambda: isinstance(pilot.app.screen, PromptScreen))


@pytest.fixture(autouse=True)
def _glyphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_GLYPHS", "braille")


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_a_change_is_said_beside_the_state(size: tuple[int, int]) -> None:
    async with opened(here, shown(change=CHANGE), size=size) as (app, _, _):
        text = screen_text(app)
        assert "FIRED" in text
        assert "expected until 15:40 (ana: index rebuild)" in text
        assert_golden(f"declaring_expected_{size[0]}x{size[1]}", text)


async def test_the_fleet_says_it_too_and_finds_it() -> None:
    async with opened(FleetScreen, shown(change=CHANGE), size=(120, 40)) as (app, pilot, _):
        text = screen_text(app)
        assert "expected until 15:40 (ana: index rebuild)" in text
        assert_golden("declaring_fleet_120x40", text)
        await press(pilot, "slash")
        await type_text(pilot, "expected")
        await settle(pilot)
        assert "search-rank" not in screen_text(app)
        assert "checkout-ranker" in screen_text(app)


async def test_how_long_and_why_are_asked_for_in_one_line() -> None:
    async with opened(here, shown(), Commands()) as (app, pilot, commands):
        await _asked(pilot, "e")
        assert_golden("declaring_expect_80x24", screen_text(app))
        for wrong, says in (("index rebuild", "write how long and why"), ("15d x", "at most 14d"), ("40m", "say why")):
            app.screen.query_one(Input).value = wrong
            await press(pilot, "enter")
            await settle(pilot)
            assert says in screen_text(app)
        assert not commands.of("expect")
        app.screen.query_one(Input).value = "1h30m index rebuild"
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("expect")))
        assert commands.of("expect") == [("expect", (MINE,), 5400.0, "index rebuild")]
        await settle(pilot, lambda: "expected until 15:32 (ana: index rebuild); its state stays" in told(app))


async def test_it_ends_early_with_a_reason() -> None:
    async with opened(here, shown(change=CHANGE), Commands()) as (app, pilot, commands):
        await _asked(pilot, "E")
        assert_golden("declaring_end_80x24", screen_text(app))
        await type_text(pilot, "done")
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("end_expected")))
        assert commands.of("end_expected") == [("end_expected", "ch-1", "done")]


async def test_what_cannot_be_ended_or_put_back_says_why() -> None:
    async with opened(here, shown(), Commands()) as (app, pilot, _):
        await press(pilot, "E", "R")
        await settle(pilot, lambda: "Put an excluded stretch back" in told(app))
        assert f"no change that somebody declared goes on with {MINE}" in told(app)
        assert "no stretch was excluded by hand" in told(app)
        policy = dataclasses.replace(CHANGE, id="", by="policy ranking")
        view = dataclasses.replace(samples.detailed_view(), expected=policy)
        app.publish(samples.snapshot(view))
        await press(pilot, "E")
        await settle(pilot)
        assert not isinstance(app.screen, PromptScreen), "the policy's own end with the policy"


async def test_an_incident_that_is_over_is_offered() -> None:
    async with opened(here, shown(TriggerState.HEALTHY, over=(OVER,)), Commands()) as (app, pilot, commands):
        assert "incident 12:02–13:10 is over: X excludes it from the baselines" in screen_text(app)
        await _asked(pilot, "X")
        assert line(app) == "2026-11-20 12:02 to 2026-11-20 13:11 incident inc-3f2a"
        assert_golden("declaring_exclude_80x24", screen_text(app))
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("exclude")))
        ((_, start, end, deployment, why),) = commands.of("exclude")
        assert (deployment, why) == (ID, "incident inc-3f2a")
        assert start <= OVER.onset < start + 60
        assert end - 60 < (OVER.closed_at or 0) <= end


@pytest.mark.parametrize(
    "more",
    [
        {"over": (dataclasses.replace(OVER, closed_at=AT - 90_000),)},  # long ago
        {"over": (dataclasses.replace(OVER, members=OVER.members[1:]),)},  # somebody else's
        {"over": (OVER,), "exclusions": (dataclasses.replace(LEFT_OUT, start=AT - 7_300, end=AT - 3_000),)},
        {"over": (OVER,), "incidents": base.INCIDENTS},  # it is in trouble again
    ],
)
async def test_what_is_not_to_be_excluded_is_not_offered(more: dict[str, Any]) -> None:
    async with opened(here, shown(TriggerState.HEALTHY, **more), Commands()) as (app, pilot, _):
        assert "is over: X excludes" not in screen_text(app)
        await _asked(pilot, "X")
        assert line(app) == ""


async def test_from_the_timeline_for_all_its_members() -> None:
    item = TimelineItem(99, AT - 3_100, "incident", "", "", "incident inc-3f2a closed, 2 deployments, release: x", "ab")
    shot = shown(TriggerState.HEALTHY, over=(OVER,), timeline=(*base.timeline(5), item))
    async with opened(TimelineScreen, shot, Commands()) as (app, pilot, commands):
        await _asked(pilot, "X")
        assert f"Of {MINE} and 1 more: times in UTC" in screen_text(app).replace("\n ", " ")
        await press(pilot, "enter")
        await settle(pilot, lambda: len(commands.of("exclude")) == 2)
        assert [str(asked[3]) for asked in commands.of("exclude")] == [MINE, OTHER]


async def test_from_the_timeline_of_everything_the_whole_fleet() -> None:
    async with opened(TimelineScreen, shown(), Commands()) as (app, pilot, commands):
        await _asked(pilot, "X")
        assert "Of the whole fleet" in screen_text(app)
        for wrong, says in (
            ("yesterday", "write times and why"),
            ("13:00-12:00 x", "it ends in the future"),
            ("12:00-13:00", "say why"),
            ("25:00-26:00 x", "there is no such time"),
        ):
            app.screen.query_one(Input).value = wrong
            await press(pilot, "enter")
            await settle(pilot)
            assert says in screen_text(app), wrong
        app.screen.query_one(Input).value = "13:00-now a drill"
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("exclude")))
        ((_, start, end, deployment, why),) = commands.of("exclude")
        assert (end - start, end, deployment, why) == (3751.0, AT, None, "a drill")


async def test_what_is_left_out_is_listed_and_put_back() -> None:
    shot = shown(exclusions=(LEFT_OUT,))
    async with opened(here, shot, Commands(), size=(80, 60)) as (app, pilot, commands):
        await press(pilot, "2")
        await settle(pilot)
        text = screen_text(app)
        assert "Left out of its baselines" in text
        assert "2026-11-19 13:02–14:09 UTC  bo: bad release of v7" in text
        await _asked(pilot, "R")
        assert f"{MINE}; bo excluded it: bad release of v7" in screen_text(app)
        await type_text(pilot, "wrong day")
        await press(pilot, "enter")
        await settle(pilot, lambda: bool(commands.of("restore")))
        assert commands.of("restore") == [("restore", "bl-1", "wrong day")]


def test_the_bell_waits_until_the_change_is_over() -> None:
    well, fired = shown(TriggerState.HEALTHY), shown()
    held = shown(change=CHANGE)
    assert newly_fired(well, fired)
    assert newly_fired(well, held) == []
    assert newly_fired(held, held) == []
    assert [each for each in newly_fired(held, fired) if each.startswith(MINE)], "it alarms still, and nobody heard"
    late = dataclasses.replace(held, at=CHANGE.until + 1)
    assert newly_fired(held, late), "its time is over, whatever the view says"


async def test_who_looks_hears_when_an_incident_is_over() -> None:
    just = dataclasses.replace(OVER, closed_at=AT - 15.0)
    line = f"incident 12:02–14:02 of {MINE} is over: exclude it from baselines? X, on its screen"
    assert newly_over(shown(), shown(over=(just,))) == [line]
    assert newly_over(shown(over=(just,)), shown(over=(just,))) == newly_over(None, shown(over=(just,))) == []
    assert newly_over(shown(), shown(over=(OVER,))) == [], "an hour ago"
    assert newly_over(shown(), shown(over=(just,), look_only="no key at hand")) == []
    async with opened(FleetScreen, shown(), Commands()) as (app, pilot, _):
        await samples.publish(app, pilot, shown(TriggerState.HEALTHY, over=(just,)))
        assert line in told(app)


async def test_hostile_words_are_words() -> None:
    nasty = "[red]\x1b[31m\u202e" + "x" * 600
    change = dataclasses.replace(CHANGE, reason=nasty, by=nasty)
    out = dataclasses.replace(LEFT_OUT, reason=nasty, by=nasty, id=nasty)
    over = dataclasses.replace(OVER, id=nasty, sentence=nasty)
    shot = shown(change=change, exclusions=(out,), over=(over,))
    async with opened(here, shot, Commands()) as (app, pilot, _):
        for key in ("2", "E", "escape", "R", "escape", "X", "escape"):
            await press(pilot, key)
            await settle(pilot)
            samples.assert_safe(app)

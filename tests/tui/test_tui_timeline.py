"""The timeline: follows, stays where somebody looks, filters, shows one entry whole."""

from __future__ import annotations

import dataclasses

import pytest
import tui_samples as samples
from golden import assert_golden, screen_text
from textual.pilot import Pilot

from rollback_console.model.snapshot import Snapshot, TimelineItem
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.screens.entry import EntryScreen
from rollback_console.tui.screens.fleet import FleetScreen
from rollback_console.tui.screens.timeline import TimelineScreen
from rollback_console.tui.themes import INKS, NAMES
from rollback_console.tui.widgets.timeline import item_parts, matches

INK = INKS[NAMES["dark"]]


def console(shown: Snapshot | None, commands: samples.FakeCommands | None = None) -> ConsoleApp:
    return ConsoleApp(samples.starter(shown, commands), monotonic=lambda: 0.0)


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(2):
        await pilot.pause()


async def opened(pilot: Pilot[None]) -> TimelineScreen:
    await settle(pilot)
    await pilot.press("t")
    await settle(pilot)
    screen = pilot.app.screen
    assert isinstance(screen, TimelineScreen)
    return screen


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_pictures(size: tuple[int, int]) -> None:
    app = console(samples.snapshot(timeline=samples.timeline(60)))
    async with app.run_test(size=size) as pilot:
        await opened(pilot)
        assert_golden(f"timeline-{size[0]}x{size[1]}", screen_text(app))
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, EntryScreen)
        assert_golden(f"timeline-entry-{size[0]}x{size[1]}", screen_text(app))


async def test_it_follows_until_somebody_moves() -> None:
    app = console(samples.snapshot(timeline=samples.timeline(50)))
    async with app.run_test(size=(80, 24)) as pilot:
        view = (await opened(pilot)).timeline
        assert view.selected is not None
        assert view.selected.seq == 50
        app.publish(samples.snapshot(timeline=grown(50, 60)))
        await settle(pilot)
        assert view.selected.seq == 60
        await pilot.press("k", "k")
        assert not view.following
        top = view.scroll_offset.y
        app.publish(samples.snapshot(timeline=grown(50, 90)))
        await settle(pilot)
        assert view.selected.seq == 58
        assert view.scroll_offset.y == top
        assert "G follows again" in screen_text(app)
        await pilot.press("G")
        await settle(pilot)
        assert view.selected.seq == 90
        assert view.following


def grown(first: int, count: int) -> tuple[object, ...]:
    """A journal of `first` entries that has grown to `count`: the old ones are the same."""
    old = samples.timeline(first)
    more = samples.timeline(count)[first:]
    return (*old, *more)


async def test_filter_keeps_up_with_what_comes() -> None:
    app = console(samples.snapshot(timeline=samples.timeline(40)))
    async with app.run_test(size=(80, 24)) as pilot:
        view = (await opened(pilot)).timeline
        await pilot.press("slash", *"note", "enter")
        await settle(pilot)
        assert {item.kind for item in view.items} == {"note"}
        assert len(view.items) == 10
        app.publish(samples.snapshot(timeline=grown(40, 48)))
        await settle(pilot)
        assert len(view.items) == 12
        await pilot.press("slash", *"zzz")
        await settle(pilot)
        assert "No entry matches" in screen_text(app)
        await pilot.press("escape")
        assert len(view.items) == 48
        await pilot.press("escape")
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen)


async def test_a_hundred_thousand_entries() -> None:
    app = console(samples.snapshot(timeline=samples.timeline(100_000)))
    async with app.run_test(size=(80, 24)) as pilot:
        view = (await opened(pilot)).timeline
        await pilot.press("g")
        await settle(pilot)
        assert view.selected is not None
        assert view.selected.seq == 1
        assert "1 of 100,000" in screen_text(app)
        await pilot.press("G", "pageup")
        assert view.selected.seq < 100_000


async def test_a_note_is_asked_for_and_written() -> None:
    commands = samples.FakeCommands()
    app = console(samples.snapshot(), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("n")
        await settle(pilot)
        await pilot.press(*"looks [bad]", "enter")
        await settle(pilot)
        assert ("note", "looks [bad]", None) in commands.asked
        await pilot.press("n")
        await settle(pilot)
        await pilot.press("x", "escape")
        await settle(pilot)
        assert len([asked for asked in commands.asked if asked[0] == "note"]) == 1


async def test_an_empty_journal_says_so() -> None:
    app = console(samples.snapshot(timeline=()))
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        assert "The journal is empty." in screen_text(app)
        await pilot.press("enter", "j", "k", "g", "G", "pagedown")
        assert isinstance(app.screen, TimelineScreen)


def test_lines_of_an_execution_begin_with_their_meaning() -> None:
    said = "ex-3f2a9c0d11e7: set done: @champion of checkout-ranker names v7"
    item = TimelineItem(9, samples.AT, "outcome", "production/checkout-ranker", "oncall-1", said)
    for width in (60, 80, 120):
        shown = "".join(text for text, _ in item_parts(item, width, False, INK))
        assert "ex-3f2a" not in shown
        assert "set done" in shown
    assert matches(item, ["ex-3f2a9c0d11e7"])  # a filter by it still finds it, and the entry has it
    note = dataclasses.replace(item, kind="note", text="ex-3f2a9c0d11e7: looks good")
    assert "ex-3f2a9c0d11e7" in "".join(text for text, _ in item_parts(note, 120, False, INK))

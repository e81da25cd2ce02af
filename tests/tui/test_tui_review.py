"""A review on the screen: its incidents, the live screens under a scrubber, decisions beside each other, what if."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
from golden import assert_golden, screen_text
from textual.app import App
from textual.pilot import Pilot

from review.review_past import make
from rollback_console.commands import Commands
from rollback_console.model.snapshot import Snapshot
from rollback_console.review.desk import ReviewCommands
from rollback_console.review.scrub import Scrub
from rollback_console.review.sources import open_source
from rollback_console.tui.review_app import ReviewApp
from rollback_console.tui.screens.review import ReviewScreen
from rollback_console.tui.screens.review_moment import ReplayDeployment, ReplayScreen
from rollback_console.tui.screens.review_sheets import DifferencesScreen, SupposedScreen, WholeEntry
from rollback_console.tui.screens.review_timeline import JournalView, ReviewTimeline
from rollback_console.tui.widgets.scrubber import Scrubber, ends, place_of, signs

SIZES = pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda s: f"{s[0]}x{s[1]}")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("tui-review") / "past.db")


@asynccontextmanager
async def reviewed(path: Path, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[Pilot[None], Scrub]]:
    """The console over a journal that was read and verified."""
    held: list[Scrub] = []

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        scrub = Scrub(open_source(path), publish)
        scrub.begin()
        held.append(scrub)
        return ReviewCommands(scrub)

    app = ReviewApp(start, monotonic=lambda: 0.0)
    async with app.run_test(size=size) as pilot:
        while not held:
            await pilot.pause()
        await held[0].settled()
        await settle(pilot)
        yield pilot, held[0]


def shown(pilot: Pilot[None]) -> str:
    return screen_text(cast("App[object]", pilot.app))


def top(pilot: Pilot[None]) -> object:
    return pilot.app.screen


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(3):
        await pilot.pause()


async def press(pilot: Pilot[None], scrub: Scrub, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await scrub.settled()
        await settle(pilot)


async def enter(pilot: Pilot[None], scrub: Scrub) -> ReplayScreen:
    """Into the newest incident, which was mended."""
    await press(pilot, scrub, "enter")
    screen = top(pilot)
    assert isinstance(screen, ReplayScreen)
    return screen


@SIZES
async def test_pictures(past: Path, size: tuple[int, int]) -> None:
    name = f"{size[0]}x{size[1]}"
    async with reviewed(past, size) as (pilot, scrub):
        assert isinstance(top(pilot), ReviewScreen)
        assert_golden(f"review-{name}", shown(pilot))
        await enter(pilot, scrub)
        await press(pilot, scrub, "n", "n")
        assert_golden(f"review-fleet-{name}", shown(pilot))
        await press(pilot, scrub, "enter")
        assert isinstance(top(pilot), ReplayDeployment)
        assert_golden(f"review-deployment-{name}", shown(pilot))
        await press(pilot, scrub, "escape", "slash", *"fired")
        assert isinstance(top(pilot), ReviewTimeline)
        assert_golden(f"review-timeline-{name}", shown(pilot))
        await press(pilot, scrub, "enter", "enter")
        assert isinstance(top(pilot), WholeEntry)
        assert_golden(f"review-entry-{name}", shown(pilot))


async def test_escape_leaves_a_moment_for_the_incidents(past: Path) -> None:
    async with reviewed(past) as (pilot, scrub):
        await enter(pilot, scrub)
        await press(pilot, scrub, "escape")
        assert isinstance(top(pilot), ReviewScreen)


async def test_every_key_of_the_scrubber_moves_as_it_says(past: Path) -> None:
    async with reviewed(past) as (pilot, scrub):
        await enter(pilot, scrub)
        index, episode = scrub.replay.index, scrub.episode
        assert episode is not None
        assert scrub.place == episode.first
        first, last = scrub.window
        await press(pilot, scrub, "end")
        assert scrub.place == last
        await press(pilot, scrub, "home")
        assert scrub.place == first
        tick = index.ticks.until(scrub.place)
        await press(pilot, scrub, "right", "right")
        assert index.ticks.until(scrub.place) == tick + 2
        assert scrub.place == index.settled(index.ticks.places[tick + 2])
        await press(pilot, scrub, "left")
        assert index.ticks.until(scrub.place) == tick + 1
        await press(pilot, scrub, "right_square_bracket")
        assert scrub.place in index.item_places
        after = scrub.place
        await press(pilot, scrub, "shift+right", "left_square_bracket")
        assert scrub.place == after
        await press(pilot, scrub, "n")
        assert scrub.place in index.turns
        turn = scrub.place
        await press(pilot, scrub, "n", "N")
        assert scrub.place == turn
        begins, until = scrub.times
        await press(pilot, scrub, "5")
        assert scrub.place == index.place_at((begins + until) / 2)
        assert cast(ReviewApp, pilot.app).snapshot is not None
        assert cast(ReviewApp, pilot.app).snapshot.at == index.ats[scrub.place]
        assert "2026-11-20" in shown(pilot).splitlines()[0]


async def test_the_moment_follows_the_line_and_a_search_finds_as_it_is_typed(past: Path) -> None:
    async with reviewed(past) as (pilot, scrub):
        await enter(pilot, scrub)
        await press(pilot, scrub, "slash", *"request")
        screen = top(pilot)
        assert isinstance(screen, ReviewTimeline)
        view = screen.timeline
        assert isinstance(view, JournalView)
        assert view.typing, "letters and digits are what is searched for"
        assert [item.kind for item in view.items if item.kind == "request"]
        await press(pilot, scrub, "enter", "home", "G")
        item = view.selected
        assert item is not None
        index = scrub.replay.index
        assert view.typing is False
        assert len(view.items) < len(index.items), (view.filter, view.place)
        assert scrub.place == index.item_places[index.items.index(item)], (
            view.place,
            view.number(view.place[0] - 1),
            scrub.window,
            item,
        )
        await press(pilot, scrub, "escape")
        assert not view.filter
        assert view.selected is item
        await press(pilot, scrub, "escape")
        assert isinstance(top(pilot), ReplayScreen)
        assert cast(ReviewApp, pilot.app).snapshot.at == item.at


async def test_a_what_if_is_asked_in_the_words_of_a_sweep(past: Path) -> None:
    async with reviewed(past) as (pilot, scrub):
        await enter(pilot, scrub)
        await press(pilot, scrub, "W", *"dwell=1h", "enter")
        sheet = top(pilot)
        assert isinstance(sheet, SupposedScreen)
        assert "dwell=1h" in sheet.text().plain
        assert "no sample tells" in sheet.text().plain
        assert_golden("review-what-if-80x24", shown(pilot))
        await press(pilot, scrub, "escape", "W", *"speed=9", "enter")
        assert "what is swept is dwell, margin, budget" in shown(pilot)


async def test_what_was_verified_and_decided_again_is_said(past: Path) -> None:
    async with reviewed(past) as (pilot, scrub):
        assert scrub.checked.verified
        said = shown(pilot)
        assert "✓ verified: " in said
        assert f"{scrub.checked.decisions} decisions made again, the same" in said
        await press(pilot, scrub, "d")
        assert isinstance(top(pilot), DifferencesScreen)
        assert "0 otherwise" in shown(pilot)


async def test_nothing_is_called_verified_before_it_is(past: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the other process is at it, the screen says how far."""
    import asyncio

    from rollback_console.model.review import Checked
    from rollback_console.review import replay_verifying

    told: list[Callable[[float], None]] = []
    go_on = asyncio.Event()

    async def slowly(path: Path, tell: Callable[[float], None]) -> Checked:
        told.append(tell)
        await go_on.wait()
        return Checked(done=1.0, verified=True, entries=43)

    monkeypatch.setattr(replay_verifying, "checking", slowly)
    held: list[Scrub] = []

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        held.append(Scrub(open_source(past), publish))
        held[0].begin()
        return ReviewCommands(held[0])

    app = ReviewApp(start, monotonic=lambda: 0.0)
    async with app.run_test(size=(80, 24)) as pilot:
        while not told:
            await pilot.pause()
        told[0](0.4)
        await settle(pilot)
        assert "verifying 40 %" in shown(pilot)
        assert "✓" not in shown(pilot)
        await press_quietly(pilot, "enter", "right")
        assert "verifying 40 %" in shown(pilot), "also while one looks"
        go_on.set()
        await held[0].settled()
        await settle(pilot)
        assert "✓ verified: 43 entries" in shown(pilot)


async def press_quietly(pilot: Pilot[None], *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await settle(pilot)


async def test_what_differs_and_what_was_changed_is_marked_where_it_stands(
    past: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollback_console.model.review import Checked, Difference
    from rollback_console.review import replay_verifying

    found = Difference(-1, 13, 0.0, "production/ranker", True, "entry.after: recorded 'fired', recomputed 'pending'")

    async def otherwise(path: Path, tell: Callable[[float], None]) -> Checked:
        return Checked(1.0, False, 43, 15, (15,), ("entry 15: changed: its body",), (), 3, (found,))

    monkeypatch.setattr(replay_verifying, "checking", otherwise)
    async with reviewed(past) as (pilot, scrub):
        assert "✗ NOT VERIFIED: entry 15" in shown(pilot)
        assert "≠1" in shown(pilot), "beside its incident"
        await enter(pilot, scrub)
        bar = shown(pilot).splitlines()[3]
        assert "≠" in bar
        assert "▲" not in bar, "where it fired"
        assert "≠ 1 differ: d" in shown(pilot)
        await press(pilot, scrub, "t")
        lines = shown(pilot).splitlines()
        assert [line[0] for line in lines if "pending → fired" in line] == ["≠"]
        assert [line[0] for line in lines if "looking at" in line] == ["✗"]
        await press(pilot, scrub, "d")
        assert_golden("review-differences-80x24", shown(pilot))


async def test_time_stands_still_and_nothing_can_be_done(past: Path) -> None:
    async with reviewed(past) as (pilot, scrub):
        await enter(pilot, scrub)
        before = shown(pilot)
        cast(ReviewApp, pilot.app)._second()
        await settle(pilot)
        assert shown(pilot) == before
        await press(pilot, scrub, "r", "x", "z", "q")
        assert pilot.app._exit, "q leaves at once: what ran then does not run now"


def test_where_a_time_stands_on_the_bar() -> None:
    from rollback_console.model.review import Mark

    assert [place_of(at, (0.0, 10.0), 11) for at in (-5.0, 0.0, 5.0, 10.0, 99.0)] == [0, 0, 5, 10, 10]
    assert place_of(3.0, (3.0, 3.0), 40) == 0
    marks = [Mark(1, 5.0, "healthy", ""), Mark(2, 5.0, "differs", ""), Mark(3, 5.0, "fired", ""), Mark(4, 9.0, "?", "")]
    assert signs(marks, (0.0, 10.0), 11) == {5: "differs"}
    assert ends((0.0, 3600.0)) == ("00:00", "01:00")
    assert ends((0.0, 90_000.0)) == ("01-01 00:00", "01-02 01:00")
    assert ends((0.0, 864_000.0)) == ("01-01", "01-11")
    assert Scrubber.can_focus is False

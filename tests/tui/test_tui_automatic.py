"""What goes by itself: under the fleet's title with its time, held by one key and a reason, in full where it is."""

from __future__ import annotations

import tui_detail_samples as detail
import tui_samples as samples
from golden import assert_golden, screen_text
from test_tui_shell import console, notices, settle

from rollback_console.model.automatic import Announcement, AutomaticState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import plain

GOES = Announcement(
    samples.fired().id, "version", "7", samples.AT, samples.AT + 60.0, AutomaticState.ANNOUNCED, "roll back to v7"
)


def announced(*what: Announcement) -> Snapshot:
    return samples.snapshot(announced=what, alarms=tuple(each.sentence for each in what))


async def test_it_stands_under_the_title_and_one_key_holds_it() -> None:
    commands = samples.FakeCommands()
    app = console(announced(GOES), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert_golden("fleet-automatic-80x24", screen_text(app))
        await pilot.press("H")
        await settle(pilot)
        assert "Hold the automatic rollback" in screen_text(app)
        await pilot.press(*"sale", "enter")
        await settle(pilot)
        assert commands.asked[-1] == ("hold", GOES.deployment, "sale")
        assert "held: it does not go by itself" in notices(app)


async def test_where_nothing_is_announced_the_key_says_so() -> None:
    commands = samples.FakeCommands()
    held = Announcement(GOES.deployment, "version", "7", GOES.at, GOES.due, AutomaticState.HELD, "sale", "ana")
    for shown in (samples.snapshot(), announced(held)):
        app = console(shown, commands)
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            await pilot.press("H")
            await settle(pilot)
            assert "nothing is about to happen by itself here" in notices(app)
            assert not [asked for asked in commands.asked if asked[0] == "hold"]


def test_every_state_says_what_it_is_and_hostile_words_stay_words() -> None:
    for state in AutomaticState:
        raw = "\x1b[31m\u202e\n[/prod]"
        words = Announcement(GOES.deployment, "version", raw, GOES.at, GOES.due, state, raw, raw).sentence
        assert words == plain(words, 1_000)
        assert f" {GOES.deployment} " in words, "the deployment's own screens find it by its name"


async def test_the_deployments_own_screen_says_it_in_full() -> None:
    from rollback_console.tui.screens.deployment import DeploymentScreen

    goes = Announcement(detail.ID, "version", "7", GOES.at, GOES.due, AutomaticState.REFUSED, "v7 is known bad")
    shown = detail.snapshot(announced=(goes,), alarms=(goes.sentence,))
    async with detail.opened(lambda: DeploymentScreen(detail.ID), shown) as (app, pilot, _):
        await detail.settle(pilot)
        assert goes.sentence in " ".join(screen_text(app).split())

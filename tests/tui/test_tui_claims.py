"""Who is on an incident: three keys on the deployment's screen, and a line on the panel for who else is there."""

from __future__ import annotations

from dataclasses import replace

import tui_samples as samples
from golden import screen_text
from test_tui_shell import console, notices, settle

from rollback_console.model.snapshot import Snapshot
from rollback_console.tui.screens.deployment import DeploymentScreen


def commanded(by: str | None) -> Snapshot:
    shown = samples.snapshot()
    return replace(shown, incidents=tuple(replace(each, commander=by) for each in shown.incidents))


async def test_the_keys_claim_command_and_hand_over() -> None:
    commands = samples.FakeCommands()
    shown = commanded(None)
    assert shown.incidents
    where = shown.incidents[0].members[0]
    app = console(shown, commands)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        app.push_screen(DeploymentScreen(where))
        await settle(pilot)
        await pilot.press("c")
        await settle(pilot)
        assert commands.asked[-1] == ("claim", where)
        assert "X-1" in notices(app)
        await pilot.press("C")
        await settle(pilot)
        assert commands.asked[-1] == ("command", where, "")
        await pilot.press("O")
        await settle(pilot)
        assert "Hand over command" in screen_text(app)
        await pilot.press(*"ben", "enter")
        await settle(pilot)
        assert commands.asked[-1] == ("hand_over", where, "ben")


async def test_from_somebody_else_command_is_taken_with_a_reason() -> None:
    commands = samples.FakeCommands()
    shown = commanded("ben")
    where = shown.incidents[0].members[0]
    app = console(shown, commands)
    async with app.run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        app.push_screen(DeploymentScreen(where))
        await settle(pilot)
        await pilot.press("C")
        await settle(pilot)
        assert "ben commands" in screen_text(app)
        assert not [asked for asked in commands.asked if asked[0] == "command"]
        await pilot.press(*"asleep", "enter")
        await settle(pilot)
        assert commands.asked[-1] == ("command", where, "asleep")


async def test_who_else_looks_stands_on_the_panel_and_the_hub_in_the_band() -> None:
    shown = replace(
        samples.snapshot(), hub="hub offline: you cannot see others",
        people=((samples.fired().id, "ana is looking at it · bo works on it"),),
    )  # fmt: skip
    app = console(shown, samples.FakeCommands())
    async with app.run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        text = screen_text(app)
        assert "ana is looking at it · bo works on it" in text
        assert "hub offline: you cannot see others" in text

"""The shell: connecting, acts and their reasons, help, palette, leaving, time, themes, telling, copying, imports."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tui_samples as samples
from golden import assert_golden, screen_text
from textual.command import CommandPalette
from textual.pilot import Pilot

from rollback_console.actions import ACTIONS, Context
from rollback_console.commands import Commands
from rollback_console.errors import BackendUnreachable
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import JournalStatus, Snapshot
from rollback_console.tui import clipboard, themes
from rollback_console.tui.acts import find, why_stay
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.keys import SHELL_KEYS, OwnKey, acts_on
from rollback_console.tui.notify import newly_fired, worst
from rollback_console.tui.palette import ActsProvider
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.screens.deployment import DeploymentScreen
from rollback_console.tui.screens.fleet import FleetScreen
from rollback_console.tui.screens.help import HelpScreen, help_text
from rollback_console.tui.screens.leave import LeaveScreen
from rollback_console.tui.screens.rollback import RollbackScreen
from rollback_console.tui.screens.runbook import RunbookScreen
from rollback_console.tui.screens.timeline import TimelineScreen
from rollback_console.tui.widgets.band import lay_out
from rollback_console.tui.widgets.band_lines import health, where
from rollback_console.tui.widgets.prompt import PromptScreen, YesNoScreen

INK = themes.INKS[themes.NAMES["dark"]]


def console(shown: Snapshot | None, commands: samples.FakeCommands | None = None, **more: object) -> ConsoleApp:
    more.setdefault("monotonic", lambda: 0.0)
    return ConsoleApp(samples.starter(shown, commands), **more)  # type: ignore[arg-type]


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(2):
        await pilot.pause()


def notices(app: ConsoleApp) -> str:
    return " | ".join(notification.message for notification in app._notifications)


# ── opening


def test_the_first_paint_waits_for_nothing_heavy() -> None:
    """In a fresh interpreter, importing the app brings no model, no widgets that are not shown, no backend library."""
    code = (
        "import sys; import rollback_console.tui.app; "
        "heavy = ('rollback_console.model', 'rollback_console.actions', 'rollback_console.engine', 'pydantic', 'httpx',"
        " 'requests', 'sqlite3', 'keyring', 'yaml', 'textual.widgets._markdown',"
        " 'textual.widgets._data_table', 'rollback_console.tui.palette', 'rollback_console.tui.screens.help');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_connecting_is_painted_before_the_engine_starts(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[str] = []
    app: ConsoleApp

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        painted.append(screen_text(app))
        await asyncio.Event().wait()
        raise AssertionError

    app = ConsoleApp(start)
    monkeypatch.setattr(app, "now", lambda: samples.AT)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        assert "Connecting" in painted[0]
        assert_golden(f"connecting-{size[0]}x{size[1]}", screen_text(app))
        await pilot.press("n")
        await settle(pilot)
        assert "still connecting" in notices(app)
        await pilot.press("q")
    assert app.return_code == 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BackendUnreachable("prometheus did not answer", "is [it] running?"), "prometheus did not answer: is [it]"),
        (ValueError("a [defect/] of ours"), "ValueError: a [defect/] of ours"),
    ],
)
async def test_an_engine_that_does_not_start_leaves_the_screen_alive(error: Exception, said: str) -> None:
    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        raise error

    app = ConsoleApp(start)
    async with app.run_test(size=(100, 24)) as pilot:
        await settle(pilot)
        assert "NOT CONNECTED" in screen_text(app)
        assert said in screen_text(app)
        await pilot.press("q")
    assert app.return_code == 0


async def test_a_waiting_snapshot_is_replaced_by_a_newer_one() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        drawn: list[float] = []
        screen = app.screen
        assert isinstance(screen, FleetScreen)
        screen.on_snapshot = lambda snapshot: drawn.append(snapshot.at)  # type: ignore[method-assign]
        for later in range(1, 6):
            app.publish(samples.snapshot(at=samples.AT + later))
        await settle(pilot)
        assert drawn[-1] == samples.AT + 5
        assert len(drawn) < 5


async def test_it_opens_at_the_timeline_of_what_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[DeploymentId] = []
    monkeypatch.setattr("rollback_console.tui.acts.Acts.open", lambda self, deployment: opened.append(deployment))
    app = console(samples.snapshot(), open_at="fraud-score")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.publish(samples.snapshot())
        await settle(pilot)
        assert opened == [DeploymentId("production", "fraud-score")], "once, and not at every Snapshot"


def test_find() -> None:
    shown = samples.snapshot(deployments=(*samples.fleet(), samples.view("churn", environment="staging")))
    assert find("production/churn", shown) == DeploymentId("production", "churn")
    assert find("fraud-score", shown) == DeploymentId("production", "fraud-score")
    assert find("I-91c0", shown) == DeploymentId("production", "search-rank")
    assert "2 environments" in str(find("churn", shown))
    assert "no deployment nobody" in str(find("nobody", shown))


# ── acts


async def test_a_key_that_cannot_act_says_why() -> None:
    app = console(samples.snapshot(look_only="no key is at hand: see identity init"))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("n")
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen)
        assert "Add a note: no key is at hand: see identity init" in notices(app)
        await pilot.press("u")
        await settle(pilot)
        assert "no execution is unfinished" in notices(app)


async def test_a_refusal_is_a_notice_and_nothing_else() -> None:
    commands = samples.FakeCommands()
    commands.refuse = "only [commander] may snooze\x1b[31m"
    app = console(samples.snapshot(), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("z")
        await settle(pilot)
        await pilot.press(*"noise", "enter")
        await settle(pilot)
        assert commands.asked[-1] == ("snooze", samples.fired().id, 1800.0, "noise")
        assert "snooze: only [commander] may snooze·[31m: ask the owner" in notices(app)


async def test_resume_opens_the_unfinished_execution_which_asks() -> None:
    commands = samples.FakeCommands()
    app = console(samples.snapshot(executions=(samples.execution(ExecutionState.UNFINISHED),)), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("u")
        await settle(pilot)
        assert isinstance(app.screen_stack[-2], RollbackScreen)
        assert isinstance(app.screen, YesNoScreen)
        assert ("resume", "X-1") not in commands.asked
        assert "X-1" in screen_text(app)
        await pilot.press("enter")  # never a yes
        await settle(pilot)
        await pilot.press("y")
        await settle(pilot)
        assert commands.asked.count(("resume", "X-1")) == 1
        assert isinstance(app.screen, RollbackScreen)


async def test_every_act_is_in_the_palette_with_its_reason() -> None:
    app = console(samples.snapshot(look_only="look [only]"))
    async with app.run_test(size=(100, 75)) as pilot:
        await settle(pilot)
        await pilot.press("ctrl+p")
        await settle(pilot)
        assert isinstance(app.screen, CommandPalette)
        await pilot.pause(0.3)
        text = screen_text(app)
        for action in ACTIONS:
            assert action.title in text
        assert "not now: look [only]" in text
        await pilot.press(*"timeline")
        await pilot.pause(0.3)
        for _ in range(2):  # the first enter may only choose the hit
            if isinstance(app.screen, CommandPalette):
                await pilot.press("enter")
                await settle(pilot)
        assert isinstance(app.screen, TimelineScreen)


async def test_help_is_made_from_the_tables() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("question_mark")
        await settle(pilot)
        assert isinstance(app.screen, HelpScreen)
        assert_golden("help-80x24", screen_text(app))
        await pilot.press("j", "pagedown", "escape")
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen)
    text = help_text(Context(None), "fleet", INK).plain
    for action in ACTIONS:
        assert action.title in text
    for key in SHELL_KEYS:
        assert key.help in text
    assert "not now: still connecting" in text


async def test_the_footer_shows_what_can_be_done_here() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(160, 24)) as pilot:
        await settle(pilot)
        footer = screen_text(app).splitlines()[-1]
        for action in acts_on("fleet"):
            rare = action.rare and action.disabled_reason(Context(app.snapshot)) is not None
            assert (f" {action.key} " in footer) is not rare
        assert "? keys" in footer


# ── leaving


async def test_q_leaves_at_once_and_closes() -> None:
    commands = samples.FakeCommands()
    app = console(samples.snapshot(), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("q")
    assert app.return_code == 0
    assert commands.closed


async def test_q_asks_while_something_runs() -> None:
    app = console(samples.snapshot(executions=(samples.execution(),)))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for stay in ("escape", "n"):
            await pilot.press("q")
            await settle(pilot)
            assert isinstance(app.screen, LeaveScreen)
            await pilot.press("enter", "r", "ctrl+q")
            await settle(pilot)
            assert isinstance(app.screen, LeaveScreen), "neither enter nor another key leaves or acts"
            await pilot.press(stay)
            await settle(pilot)
            assert isinstance(app.screen, FleetScreen)
        await pilot.press("q", "y")
        await settle(pilot)
    assert app.return_code == 0


def test_when_leaving_asks() -> None:
    walk = samples.walk()
    assert why_stay(None) is None
    assert why_stay(samples.snapshot()) is None
    assert "is running" in str(why_stay(samples.snapshot(executions=(samples.execution(),), simulated=True)))
    assert why_stay(samples.snapshot(executions=(samples.execution(ExecutionState.DONE),))) is None
    assert "walk" in str(why_stay(samples.snapshot(walks=(walk,))))
    assert why_stay(samples.snapshot(walks=(walk,), simulated=True)) is None
    assert why_stay(samples.snapshot(walks=(dataclasses.replace(walk, ended_at=1.0),))) is None


# ── time and themes


async def test_speed_keys_belong_to_simulated_time() -> None:
    commands = samples.FakeCommands()
    app = console(samples.snapshot(), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("space")
        await settle(pilot)
        assert "wall's clock" in notices(app)
        assert commands.asked == []
        app.publish(samples.snapshot(simulated=True, speed=10.0, band="REHEARSAL x10"))
        await settle(pilot)
        await pilot.press("plus", "minus", "space")
        app.publish(samples.snapshot(simulated=True, speed=0.0, band="REHEARSAL"))
        await settle(pilot)
        assert "PAUSED" in screen_text(app)
        await pilot.press("space")
        assert [asked[1] for asked in commands.asked] == [20.0, 10.0, 0.0, 10.0], "each from where the one before went"


def luminance(colour: str) -> float:
    def channel(value: int) -> float:
        share = value / 255
        return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4

    red, green, blue = (channel(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [themes.DARK, themes.LIGHT], ids=["dark", "light"])
def test_contrast(colours: themes._Colours) -> None:
    """WCAG 2's 4.5:1 for everything that is read, on the background, the band, and the selected row."""
    for word in ("text", "dim", "healthy", "pending", "fired", "clearing", "cooling", "blind"):
        for ground in (colours.background, colours.surface, colours.selected):
            assert contrast(getattr(colours, word), ground) >= 4.5, (word, ground)
    assert contrast(colours.badge_text, colours.badge) >= 4.5
    assert contrast(colours.badge_text, colours.simulated) >= 4.5
    assert contrast(colours.calm, colours.background) >= 3.0  # a graphic, not text


@pytest.mark.parametrize("colours", [themes.DARK, themes.LIGHT], ids=["dark", "light"])
def test_healthy_and_fired_are_apart_for_the_colour_blind(colours: themes._Colours) -> None:
    """Blue against orange: they differ in the blue channel, which red-green blindness leaves alone."""
    assert abs(int(colours.healthy[5:], 16) - int(colours.fired[5:], 16)) >= 100


async def test_no_color_leaves_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = screen_text(app)
        for state, glyph in themes.GLYPHS.items():
            assert f"{glyph} {themes.WORDS[state]}" in text
        colours = {
            colour
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            for colour in ((segment.style.color, segment.style.bgcolor) if segment.style else ())
            if colour is not None and not colour.is_default
        }
        assert colours == set()
        await pilot.press("T")
        await settle(pilot)
        assert app.theme == themes.NAMES["mono"]


@pytest.mark.parametrize(
    ("asked", "colorfgbg", "wanted"),
    [("auto", "0;15", "light"), ("auto", "15;0", "dark"), ("auto", "", "dark"), ("light", "15;0", "light")],
)
def test_the_theme_follows_the_terminal(
    asked: str, colorfgbg: str, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLORFGBG", colorfgbg)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert console(None, theme=asked).theme == themes.NAMES[wanted]


# ── the band


def line(pieces: tuple[list[tuple[int, list[tuple[str, object]]]], list[tuple[int, list[tuple[str, object]]]]]) -> str:
    return " ".join(text for side in pieces for _, parts in side for text, _ in parts)


def test_the_band_says_where_one_is() -> None:
    shown = samples.snapshot(look_only="no key is at hand", band="REVIEW")
    said = line(where("rollback-console", shown, samples.AT, INK, 120))
    for word in ("REVIEW", "LOOK-ONLY", "no key is at hand", "oncall-1", "commander", "14:02:31 UTC", "6:12"):
        assert word in said
    failing = dataclasses.replace(samples.BACKENDS[0], state=BackendState.FAILING, last_ok=samples.AT - 130)
    assert "OFFLINE" in line(where("x", samples.snapshot(backends=(failing,)), samples.AT, INK))
    assert "OFFLINE" not in line(where("x", samples.snapshot(backends=(failing, samples.BACKENDS[1])), samples.AT, INK))


def test_the_band_says_how_everything_is() -> None:
    backends = (
        BackendHealth("prometheus", BackendState.FAILING, None, samples.AT - 130, "refused"),
        BackendHealth("registry", BackendState.SLOW, 4.2, samples.AT - 64),
        BackendHealth("third", BackendState.NOT_CONFIGURED),
    )
    follower = JournalStatus("j", 1204, False, 4242)
    said = line(health(samples.snapshot(backends=backends, journal=follower), samples.AT, INK, 200))
    for word in (
        "✗  failing 2:10",
        "◐  slow 4.2 s",
        "polled 1m4s ago",
        "not configured",
        "✓  1,204",
        "follows pid 4242",
        "2 al",
    ):
        assert word in said
    broken = JournalStatus("j", 1204, True, problem="the disk is full")
    assert "journal ✗  the disk is full" in line(health(samples.snapshot(journal=broken), samples.AT, INK))


# ── telling and copying


def test_only_what_newly_fired_is_told() -> None:
    calm = samples.snapshot(deployments=(samples.fired(), samples.view("a")))
    burning = dataclasses.replace(calm, deployments=(*calm.deployments[1:], samples.fired(incident=None)))
    assert newly_fired(None, calm) == []
    assert newly_fired(calm, calm) == []
    assert newly_fired(calm, burning) == []
    before = samples.snapshot(deployments=(samples.view("checkout-ranker"),))
    assert len(newly_fired(before, calm)) == 1
    snoozed = samples.snapshot(deployments=(samples.fired(snoozed_until=samples.AT + 60),))
    assert newly_fired(before, snoozed) == []
    assert worst(calm) == "▲ 1 fired"
    assert worst(samples.snapshot(deployments=samples.fleet()[1:])) == "? 1 blind"
    assert worst(samples.snapshot(deployments=samples.fleet()[6:])) == "● 9 healthy"


@pytest.mark.parametrize(("simulated", "asked", "rings"), [(False, False, 1), (True, False, 0), (True, True, 1)])
async def test_the_bell(simulated: bool, asked: bool, rings: int, monkeypatch: pytest.MonkeyPatch) -> None:
    app = console(samples.snapshot(deployments=samples.fleet()[6:], simulated=simulated), herald_simulated=asked)
    rung: list[bool] = []
    sent: list[str] = []
    monkeypatch.setattr(app, "bell", lambda: rung.append(True))
    monkeypatch.setattr(app._herald, "_write", sent.append)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        hostile = samples.fired(sentence="bad \x1b]52;c;AAAA\x07 [red]")
        for _ in range(3):
            app.publish(samples.snapshot(deployments=(hostile,), simulated=simulated))
            await settle(pilot)
    assert len(rung) == rings
    assert sent[0].startswith("\x1b]0;● 9 healthy · ")
    assert sent[1].startswith("\x1b]0;▲ 1 fired · ")
    assert len(sent) == 3 + rings
    assert sent[-1] == "\x1b]0;\x07", "the title is given back"
    if rings:
        assert sent[2].startswith("\x1b]9;production/checkout-ranker fired")
        assert "\x1b]52" not in sent[2]
        assert sent[2].count("\x1b") == 2


def fake_tmux(folder: Path, body: str) -> None:
    """A program named tmux, for what it is told on its standard input."""
    path = folder / "tmux"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("tmux", "said"),
    [
        ('echo "$@" > "$OUT.args"; cat > "$OUT"', "copied 10 lines (tmux buffer and OSC 52)"),
        ("exit 1", "copied 10 lines (sent by OSC 52)"),
        ("exec sleep 30", "copied 10 lines (sent by OSC 52)"),
        (None, "copied 10 lines (sent by OSC 52)"),
    ],
)
async def test_copying(tmux: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipboard, "_TMUX_LIMIT_S", 0.3)
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    if tmux is None:
        monkeypatch.delenv("TMUX", raising=False)
    else:
        fake_tmux(tmp_path, tmux)
        monkeypatch.setenv("TMUX", "/tmp/x,1,0")
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    commands = samples.FakeCommands()
    app = console(samples.snapshot(), commands)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("y")
        for _ in range(40):
            await pilot.pause(0.05)
            if notices(app):
                break
        assert said in notices(app)
        assert app.clipboard == commands.text
    if tmux is not None and "OUT" in tmux:
        assert (tmp_path / "out").read_text() == commands.text
        assert (tmp_path / "out.args").read_text().split() == ["load-buffer", "-w", "-"]


async def test_too_long_for_the_terminal_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    app = console(None)
    assert "could not copy" in await clipboard.copy(app, "x" * 80_000)


async def test_a_defect_in_a_command_does_not_end_the_app() -> None:
    app = console(samples.snapshot())

    async def broken() -> None:
        raise KeyError("[/]")

    failures: list[str] = []
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, FleetScreen)
        screen.run_command(broken(), "plan")
        screen.run_command(broken(), "plan", failed=failures.append)
        await settle(pilot)
        assert "plan: unexpected KeyError: '[/]'" in notices(app)
        assert failures == ["plan: unexpected KeyError: '[/]'"]
        given: list[str] = []

        async def fine() -> str:
            return "X-9"

        screen.run_command(fine(), "plan", given.append)
        await settle(pilot)
        assert given == ["X-9"]


async def test_a_defect_that_ends_the_app_shows_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = console(samples.snapshot())

    async def run() -> None:
        async with app.run_test(size=(80, 24)) as pilot:
            await settle(pilot)
            monkeypatch.setattr(FleetScreen, "on_snapshot", lambda self, snapshot: 1 / 0)
            app.publish(samples.snapshot())
            await settle(pilot)

    with pytest.raises(ZeroDivisionError):
        await run()
    said = capsys.readouterr().err
    assert "The console met a defect of its own and ended: ZeroDivisionError" in said
    assert "Traceback" not in said
    assert "errors shown" not in said
    assert app.return_code == 1


async def test_snapshots_are_drawn_under_a_dialog() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        screen = app.screen
        assert isinstance(screen, FleetScreen)
        await pilot.press("n")
        await settle(pilot)
        assert isinstance(app.screen, PromptScreen)
        app.publish(samples.snapshot(deployments=samples.fleet()[6:]))
        await settle(pilot)
        assert screen.fleet.shown == 9


async def test_the_console_opens_on_an_alerts_name() -> None:
    commands = samples.FakeCommands()
    commands.alerts["HighErrorRate"] = DeploymentId("production", "fraud-score")
    app = console(samples.snapshot(), commands, open_at="HighErrorRate")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert ("locate", "HighErrorRate") in commands.asked
        assert isinstance(app.screen, DeploymentScreen)
        assert app.screen.acts_on == DeploymentId("production", "fraud-score")
    app = console(samples.snapshot(), commands, open_at="NoSuch\x1b[31m")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert isinstance(app.screen, FleetScreen)
        assert "open: there is no deployment NoSuch·[31m in this fleet" in notices(app)


@pytest.mark.parametrize("screen", [RollbackScreen, RunbookScreen, DeploymentScreen, TimelineScreen])
async def test_a_screens_own_keys_are_in_help_and_palette(screen: type[ConsoleScreen]) -> None:
    app = console(samples.snapshot())
    here = samples.fired().id
    async with app.run_test(size=(100, 60)) as pilot:
        await settle(pilot)
        app.push_screen(RunbookScreen(here, None) if screen is RunbookScreen else screen(here))  # type: ignore[call-arg]
        await settle(pilot)
        top = app.top()
        assert isinstance(top, screen)
        bound = {key for binding in screen.BINDINGS for key in binding.key.split(",")}  # type: ignore[union-attr]
        told = help_text(top.context, top.place, INK, 72, top.own_keys).plain
        offers = {title: run for title, _, run in ActsProvider(app.screen)._offers()}
        for key in top.own_keys:
            assert key.title in told
            if key.action:
                assert key.shown.split(" ")[0] in bound
                assert key.title in offers
                assert hasattr(top, f"action_{key.action.partition('(')[0]}")


async def test_the_palette_runs_a_screens_own_key() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        app.push_screen(RollbackScreen(samples.fired().id))
        await settle(pilot)
        await pilot.press("ctrl+p")
        await settle(pilot)
        assert "Plan for another version" in screen_text(app)
        await pilot.press(*"another version")
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        assert isinstance(app.screen, PromptScreen)
        assert "Which version of production/checkout-ranker?" in screen_text(app)


def test_dangerous_acts_are_marked() -> None:
    told = help_text(Context(samples.snapshot()), "rollback", INK).plain
    for action in ACTIONS:
        line = next(line for line in told.split("\n") if action.title in line)
        assert ("!" in line[:10]) is action.dangerous, line
    assert "! changes what serves" in told


async def test_a_second_between_pushing_a_screen_and_composing_it_is_nothing() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)

        class Fragile(TimelineScreen):
            def on_second(self) -> None:
                self.query_one("TimelineView")

        pushed = app.push_screen(Fragile(None))
        app._second()
        await pushed
        await settle(pilot)
        app._second()


def test_the_hub_is_named_at_80_columns() -> None:
    for entries in (27, 1_204, 999_999):
        shown = samples.snapshot(journal=JournalStatus("j", entries, True))
        for width in (80, 90, 120):
            pieces = health(shown, shown.at, INK, width)
            line = "".join(text for text, _ in lay_out(*pieces, width))
            assert "hub not configured" in line, (entries, width)
            assert "journal ✓" in line
            assert "2 alarms" in line
            assert len(line) <= width
    wide = "".join(text for text, _ in lay_out(*health(shown, shown.at, INK, 120), 120))
    assert "prometheus ● 0.2 s" in wide
    assert "ago" not in wide  # the registry answered 4 s ago: nothing to know


async def test_notices_are_two_at_most_short_and_wait_for_a_dialog() -> None:
    app = console(samples.snapshot())
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await settle(pilot)
        for number in range(4):
            app.say(f"notice {number} " + "word " * 200)
        await settle(pilot)
        assert [n.message[:8] for n in app._notifications] == ["notice 2", "notice 3"]
        rows = screen_text(app).splitlines()
        told_at = [y for y, row in enumerate(rows) if "word word" in row]
        assert min(told_at) >= 14  # neither over the band
        assert max(told_at) < 23  # nor over the footer
        await pilot.press("n")
        await settle(pilot)
        assert isinstance(app.screen, PromptScreen)
        app.say("later")
        await settle(pilot)
        assert "notice 3" not in screen_text(app)  # nothing lies over a dialog
        assert "later" not in screen_text(app)
        await pilot.press("escape")
        await settle(pilot)
        assert "later" in screen_text(app)


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_band_and_sheet_have_one_background_each(theme: str, size: tuple[int, int]) -> None:
    app = console(samples.snapshot(), theme=theme)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.publish(samples.snapshot(at=samples.AT + 61, alarms=("one more",)))
        await settle(pilot)
        badge = themes.INKS[themes.NAMES[theme]].badge.bgcolor
        grounds = {
            piece.style.bgcolor
            for strip in app.screen._compositor.render_strips()[:2]
            for piece in strip
            if piece.style is not None and piece.style.bgcolor != badge
        }
        assert len(grounds) == 1
        await pilot.press("question_mark")
        await settle(pilot)
        sheet = app.screen.query_one("VerticalScroll").region
        strips = [strip.crop(sheet.x, sheet.right) for strip in app.screen._compositor.render_strips()]
        pieces = [p for strip in strips[sheet.y : sheet.bottom] for p in strip if not set(p.text) & set("▁▂▃▄▅▆▇█")]
        grounds = {p.style.bgcolor for p in pieces if p.style is not None and not p.style.reverse}
        assert len(grounds) == 1


def test_the_screen_s_own_keys_come_first() -> None:
    own = (OwnKey("p", "Plan anew", "by the next path"),)
    text = help_text(Context(samples.snapshot()), "rollback", INK, 72, own).plain
    assert text.startswith("This screen\n p")
    assert text.index("Plan anew") < text.index("What can be done here")


def test_a_review_tells_no_count_that_it_cannot_know() -> None:
    shown = samples.snapshot(band="REVIEW · REHEARSAL", deployments=(), incidents=(), review=True)
    said = line(health(shown, samples.AT, INK, 120))
    assert "alarms not known in a review" in said
    assert "0 alarms" not in said
    assert "REVIEW · REHEARSAL" in line(where("rollback-console", shown, samples.AT, INK, 80))
    assert worst(shown) == "review"

"""Hostile strings in every field of a Snapshot: nothing crashes, nothing reaches the terminal raw."""

from __future__ import annotations

import dataclasses
import types
import unicodedata
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
import tui_samples as samples
from golden import screen_text
from textual.pilot import Pilot
from textual.widgets._toast import Toast

from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import Snapshot
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.screens.help import HelpScreen

HOSTILE = {
    "markup": "model [/prod] [red]x[/red] [@click=app.quit]y[/] \\[z",
    "escapes": "a\x1b[2J\x1b]0;owned\x07\x1b]52;c;AAAA\x07b\x9b31m\x00\x7f",
    "bidi": "abc\u202egnp.exe\u2066x\u2069\u200d\u200b\ufeffz",
    "wide": "模型排序器 🚀👩‍👩‍👧‍👦 e" + "\u0301" * 40 + " ｆｕｌｌ",
    "long": "x" * 10_000,
    "lines": "one\ntwo\r\nthree\ttab\u2028four\x0bfive",
    "surrogate": "a\ud800b\udfff",
    "empty": "",
}


def poison(value: Any, kind: Any, bad: str) -> Any:
    """The value with every string in it replaced, enums and ids kept what they are."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        kinds = [k for k in get_args(kind) if k is not type(None)]
        kind = kinds[0] if len(kinds) == 1 else type(value)
        origin = get_origin(kind)
    if isinstance(value, Enum):
        return value
    if isinstance(value, DeploymentId):
        return DeploymentId(bad or "e", f"{bad}{value.name[:6]}")
    if isinstance(value, str):
        return bad
    if isinstance(value, tuple):
        return tuple(poison(item, type(item), bad) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        keep = {"signal"} if type(value).__name__ in ("Trace", "Uses") else set()
        keep |= {"name"} if type(value).__name__ in ("SignalRule", "SignalVerdict", "ImpactPart") else set()
        return dataclasses.replace(
            value,
            **{
                field.name: poison(getattr(value, field.name), hints[field.name], bad)
                for field in dataclasses.fields(value)
                if field.name not in keep
            },
        )
    return value


def poisoned(bad: str) -> Snapshot:
    return poison(  # type: ignore[no-any-return]
        samples.snapshot(
            notice="n", look_only="l", hub="h", executions=(samples.execution(),), walks=(samples.walk(),)
        ),
        Snapshot,
        bad,
    )


def assert_safe(app: ConsoleApp) -> None:
    for text in screen_text(app).splitlines():
        for char in text:
            assert unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), hex(ord(char))
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    assert len(strips) == height
    assert all(strip.cell_length == width for strip in strips)


async def settle(pilot: Pilot[None]) -> None:
    for _ in range(2):
        await pilot.pause()


CASES = [(bad, (60, 20)) for bad in HOSTILE] + [(bad, (120, 40)) for bad in ("markup", "wide", "long")]


@pytest.mark.parametrize(("name", "size"), CASES, ids=[f"{name}-{size[0]}x{size[1]}" for name, size in CASES])
async def test_hostile_snapshot(name: str, size: tuple[int, int]) -> None:
    bad = HOSTILE[name]
    commands = samples.FakeCommands()
    commands.refuse = bad
    app = ConsoleApp(samples.starter(poisoned(bad), commands), monotonic=lambda: 0.0)
    async with app.run_test(size=size, notifications=True) as pilot:
        await settle(pilot)
        assert_safe(app)
        await pilot.press("G", "slash", "x", "escape")
        app.say(bad, "error")
        app.screen.run_command(commands.resume(bad), bad)  # type: ignore[attr-defined]
        await settle(pilot)
        assert len(app.screen.query(Toast)) >= (2 if bad else 1)
        assert_safe(app)
        await pilot.press("question_mark")
        await settle(pilot)
        assert isinstance(app.screen, HelpScreen)
        assert_safe(app)
        await pilot.press("escape", "t")
        await settle(pilot)
        assert_safe(app)
        await pilot.press("enter")
        await settle(pilot)
        assert_safe(app)
        await pilot.press("escape", "ctrl+p")
        await pilot.pause(0.1)
        await settle(pilot)
        await pilot.press("escape")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e308, 1e308, 0.0, -0.0])
async def test_hostile_numbers(value: float) -> None:
    def numbers(thing: Any) -> Any:
        if isinstance(thing, bool | str | Enum) or thing is None:
            return thing
        if isinstance(thing, float):
            return value
        if isinstance(thing, tuple):
            return tuple(numbers(item) for item in thing)
        if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
            changes = {f.name: numbers(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
            return dataclasses.replace(thing, **changes)
        return thing

    app = ConsoleApp(samples.starter(numbers(samples.snapshot())), monotonic=lambda: 0.0)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert_safe(app)
        await pilot.press("t", "enter")
        await settle(pilot)
        assert_safe(app)

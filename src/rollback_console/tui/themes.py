"""Colours. Blue for healthy, orange-red for fired, apart for deuteranopes too; a state is never a hue alone.

Contrast of every ink on its theme's background, and on the selected row, is at least 4.5:1 (a test computes it).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.style import Style
from textual.theme import Theme

if TYPE_CHECKING:
    from textual.app import App

NAMES = {"dark": "console-dark", "light": "console-light", "mono": "console-mono"}
# By the states' words: members of `TriggerState` are such strings, and the model need not be there for the first paint.
GLYPHS = {"fired": "▲", "pending": "◔", "clearing": "◑", "cooling": "◌", "blind": "?", "healthy": "●"}
WORDS = {state: (state if state == "healthy" else state.upper()) for state in GLYPHS}


@dataclass(frozen=True, slots=True)
class Ink:
    """Styles of one theme by what they say. None of them sets a background but `selected`, `head` and `badge_*`."""

    text: Style
    dim: Style  # labels, units, ages
    strong: Style  # names, titles
    good: Style
    calm: Style  # a sparkline inside its limit: there, and quiet
    warn: Style
    bad: Style
    rule: Style  # lines between things
    selected: Style  # laid over a selected row, beside its `▌`
    badge: Style  # where one is, in words: a live environment
    badge_simulated: Style
    states: Mapping[str, Style]  # by a `TriggerState`


@dataclass(frozen=True, slots=True)
class _Colours:
    background: str
    surface: str
    text: str
    dim: str
    calm: str
    rule: str
    selected: str
    healthy: str
    pending: str
    fired: str
    clearing: str
    cooling: str
    blind: str
    badge: str
    badge_text: str
    simulated: str


DARK = _Colours(
    background="#10151c",
    surface="#18202a",
    text="#d9e0e8",
    dim="#93a1b1",
    calm="#5f8fb8",
    rule="#3a4757",
    selected="#233347",
    healthy="#74b9ff",
    pending="#ffd166",
    fired="#ff8a5b",
    clearing="#f0b98a",
    cooling="#9ccbe0",
    blind="#d3b6ff",
    badge="#ff8a5b",
    badge_text="#10151c",
    simulated="#74b9ff",
)
LIGHT = _Colours(
    background="#fcfcfa",
    surface="#eff1f3",
    text="#1a2430",
    dim="#525e6b",
    calm="#3a75aa",
    rule="#b5bec8",
    selected="#dbe7f4",
    healthy="#0a569c",
    pending="#7a4f00",
    fired="#a83200",
    clearing="#7a4a14",
    cooling="#1a6077",
    blind="#6237a0",
    badge="#a83200",
    badge_text="#ffffff",
    simulated="#0a569c",
)


def _theme(name: str, c: _Colours, dark: bool) -> Theme:
    return Theme(
        name=name,
        primary=c.healthy,
        secondary=c.cooling,
        warning=c.pending,
        error=c.fired,
        success=c.healthy,
        accent=c.simulated,
        foreground=c.text,
        background=c.background,
        surface=c.surface,
        panel=c.surface,
        dark=dark,
        variables={
            "rc-healthy": c.healthy,
            "rc-pending": c.pending,
            "rc-fired": c.fired,
            "rc-clearing": c.clearing,
            "rc-cooling": c.cooling,
            "rc-blind": c.blind,
            "rc-dim": c.dim,
            "rc-rule": c.rule,
            "rc-selected": c.selected,
            "footer-background": c.surface,
            "border": c.rule,
            "scrollbar": c.rule,
            "scrollbar-hover": c.dim,
            "scrollbar-active": c.dim,
            "scrollbar-background": c.background,
            "scrollbar-background-hover": c.background,
            "scrollbar-background-active": c.background,
            "block-cursor-background": c.selected,
            "block-cursor-foreground": c.text,
        },
    )


_DEFAULT = "ansi_default"
_MONO = Theme(
    name=NAMES["mono"],
    primary=_DEFAULT,
    secondary=_DEFAULT,
    warning=_DEFAULT,
    error=_DEFAULT,
    success=_DEFAULT,
    accent=_DEFAULT,
    foreground=_DEFAULT,
    background=_DEFAULT,
    surface=_DEFAULT,
    panel=_DEFAULT,
    boost=_DEFAULT,
    ansi=True,
    variables={
        f"rc-{name}": _DEFAULT
        for name in ("healthy", "pending", "fired", "clearing", "cooling", "blind", "dim", "rule", "selected")
    }
    | {
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border": _DEFAULT,
        "scrollbar": "ansi_bright_black",  # grey on any ground
        "scrollbar-hover": "ansi_bright_black",
        "scrollbar-active": "ansi_bright_black",
        "block-cursor-background": "ansi_white",
        "block-cursor-foreground": "ansi_black",
    },
)


def _ink(c: _Colours) -> Ink:
    states = {
        "healthy": Style(color=c.healthy),
        "pending": Style(color=c.pending, bold=True),
        "fired": Style(color=c.fired, bold=True),
        "clearing": Style(color=c.clearing, bold=True),
        "cooling": Style(color=c.cooling),
        "blind": Style(color=c.blind, bold=True),
    }
    return Ink(
        text=Style(color=c.text),
        dim=Style(color=c.dim),
        strong=Style(color=c.text, bold=True),
        good=Style(color=c.healthy),
        calm=Style(color=c.calm),
        warn=Style(color=c.pending),
        bad=Style(color=c.fired, bold=True),
        rule=Style(color=c.rule),
        selected=Style(bgcolor=c.selected),
        badge=Style(color=c.badge_text, bgcolor=c.badge, bold=True),
        badge_simulated=Style(color=c.badge_text, bgcolor=c.simulated, bold=True),
        states=states,
    )


def _mono_ink() -> Ink:
    plain, bold = Style(), Style(bold=True)
    states = dict.fromkeys(GLYPHS, bold) | {"healthy": plain, "cooling": plain}
    reverse = Style(reverse=True, bold=True)
    return Ink(
        text=plain,
        dim=plain,  # `dim` attributes vanish on many terminals: plain is readable everywhere
        strong=bold,
        good=plain,
        calm=plain,
        warn=bold,
        bad=bold,
        rule=plain,
        selected=Style(reverse=True),
        badge=reverse,
        badge_simulated=reverse,
        states=states,
    )


INKS = {NAMES["dark"]: _ink(DARK), NAMES["light"]: _ink(LIGHT), NAMES["mono"]: _mono_ink()}


def ink(app: App[Any]) -> Ink:
    """The styles of the app's theme; a theme not ours (chosen in the palette) is drawn by its darkness."""
    known = INKS.get(app.theme)
    if known is not None:
        return known
    return INKS[NAMES["dark" if app.current_theme.dark else "light"]]


def install(app: App[None], theme: str, no_colour: bool) -> None:
    """Register the themes and choose one: `auto` is mono with NO_COLOR, else what COLORFGBG says, else dark."""
    app.register_theme(_theme(NAMES["dark"], DARK, dark=True))
    app.register_theme(_theme(NAMES["light"], LIGHT, dark=False))
    app.register_theme(_MONO)
    if no_colour or os.environ.get("TERM") == "dumb":
        theme = "mono"
    elif theme not in NAMES:
        theme = _guess()
    app.theme = NAMES[theme]


def cycle(app: App[None]) -> str:
    """The next theme; returns its name, or why there is none."""
    if app.no_color:
        return "NO_COLOR is set, monochrome it stays"
    names = list(NAMES.values())
    at = names.index(app.theme) if app.theme in names else -1
    app.theme = names[(at + 1) % len(names)]
    return list(NAMES)[(at + 1) % len(names)]


def _guess() -> str:
    background = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if background in ("7", "15") else "dark"

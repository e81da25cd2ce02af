"""The band at the top: where one is, in words; who; when; how the backends, the hub and the journal are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

from rich.style import Style
from textual.strip import Strip

from rollback_console.tui import themes
from rollback_console.tui.widgets.cells import Part, strip_of, width_of
from rollback_console.tui.widgets.linewise import LinewiseWidget

if TYPE_CHECKING:
    from rollback_console.tui.app import ConsoleApp

Piece = tuple[int, list[Part]]  # how readily it goes when there is no room (higher goes first), and what it says


class Band(LinewiseWidget):
    """Two lines, always there. Pieces go by their importance when the terminal is narrow; where one is never goes."""

    DEFAULT_CSS = "Band { dock: top; height: 2; background: $surface; }"

    def strip(self, y: int) -> Strip:
        app = cast("ConsoleApp", self.app)
        ink = themes.ink(app)
        snapshot = app.snapshot
        if snapshot is None:
            left, right = connecting(app, y, ink)
        else:
            from rollback_console.tui.widgets import band_lines

            width = self.size.width
            if y == 0:
                left, right = band_lines.where(app.title, snapshot, app.now(), ink, width)
            else:
                left, right = band_lines.health(snapshot, app.now(), ink, width)
        return strip_of(lay_out(left, right, self.size.width), self.size.width, self.base())


def lay_out(left: list[Piece], right: list[Piece], width: int) -> list[Part]:
    """The pieces on one line, `left` from the left and `right` to the right, dropping by importance until they fit."""
    gap = 2
    pieces = [(p, parts, True) for p, parts in left] + [(p, parts, False) for p, parts in right]

    def size(parts: list[Part]) -> int:
        return sum(width_of(text) for text, _ in parts)

    while pieces and sum(size(p[1]) + gap for p in pieces) > width:
        droppable = [p for p in pieces if p[0] > 0]
        if not droppable:
            break
        pieces.remove(max(droppable, key=lambda p: p[0]))
    out: list[Part] = [(" ", Style())]
    for _, parts, is_left in pieces:
        if is_left:
            out += [*parts, (" " * gap, Style())]
    rights = [parts for _, parts, is_left in pieces if not is_left]
    tail: list[Part] = []
    for parts in rights:
        tail += [*(((" " * gap, Style()),) if tail else ()), *parts]
    used = size(out) + size(tail) + 1
    if tail:
        out += [(" " * max(0, width - used), Style()), *tail]
    return out


def utc(at: float) -> str:
    """Unix seconds as `14:02:31`, UTC; a dash for what is no time."""
    if not math.isfinite(at):
        return "–"
    whole = int(at) % 86_400
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"


def connecting(app: ConsoleApp, y: int, ink: themes.Ink) -> tuple[list[Piece], list[Piece]]:
    """The band before the first Snapshot."""
    if y == 0:
        word = "NOT CONNECTED" if app.problem else "CONNECTING"
        return [(2, [(app.title, ink.strong)]), (0, [(word, ink.warn)])], [(1, [(f"{utc(app.now())} UTC", ink.text)])]
    if app.problem is None:
        return [(0, [("backends … connecting", ink.dim)])], []
    from rollback_console.model.text import plain

    return [(0, [("✗ ", ink.bad), (plain(app.problem, 200), ink.bad)])], []

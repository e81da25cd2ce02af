"""The strip in which the tutorial says why the next step is needed, and by which keys it goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.strip import Strip

from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.widgets.cells import Part, fit_words, strip_of, wrap
from rollback_console.tui.widgets.linewise import LinewiseWidget

if TYPE_CHECKING:
    from rollback_console.tui.app import ConsoleApp

_HINT_LINES = 3


class TutorialStrip(LinewiseWidget):
    """Four lines over the footer: the hint, and the keys. `S` shows what does not fit."""

    DEFAULT_CSS = "TutorialStrip { height: 4; background: $surface; }"

    def strip(self, y: int) -> Strip:
        app, width = cast("ConsoleApp", self.app), self.size.width
        ink, view = themes.ink(self.app), app.drill.view if app.drill is not None else None
        if view is None:
            return super().strip(y)
        hint = plain(view.hint, 1_000) or "The first states are being read …"
        lines = wrap(hint, width - 4, _HINT_LINES)
        parts: list[Part] = []
        if y < len(lines):
            parts = [(" ▸ " if y == 0 else "   ", ink.good), (lines[y], ink.text)]
        elif y == len(lines):
            parts = [("   ", ink.dim), (fit_words(plain(view.keys, 300), width - 4), ink.strong)]
        return strip_of(parts, width, self.base())

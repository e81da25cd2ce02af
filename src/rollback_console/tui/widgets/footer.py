"""The footer: what can be done here, from the same table as the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.strip import Strip

from rollback_console.tui import themes
from rollback_console.tui.keys import acts_on, word_of
from rollback_console.tui.widgets.cells import Part, strip_of, width_of
from rollback_console.tui.widgets.linewise import LinewiseWidget

if TYPE_CHECKING:
    from rollback_console.tui.screens.base import ConsoleScreen

_LAST = (("?", "keys"), ("^p", "commands"))


class Footer(LinewiseWidget):
    """One line of keys. What cannot be done now is dimmed, and its key says why; what does not fit is under `?`."""

    DEFAULT_CSS = "Footer { dock: bottom; height: 1; background: $surface; }"

    def strip(self, y: int) -> Strip:
        screen = cast("ConsoleScreen", self.screen)
        ink = themes.ink(self.app)
        width = self.size.width
        room = width - sum(width_of(k) + width_of(w) + 3 for k, w in _LAST)
        parts: list[Part] = [(" ", ink.text)]
        used = 1
        keys = self._keys(screen) if screen.console_app.begun else []
        for key, word, possible in keys:
            size = width_of(key) + width_of(word) + 3
            if used + size > room:
                continue
            style = ink.text if possible else ink.dim
            parts += [(key, ink.strong if possible else ink.dim), (f" {word}  ", style)]
            used += size
        for key, word in _LAST:
            parts += [(key, ink.strong), (f" {word}  ", ink.dim)]
        return strip_of(parts, width, self.base())

    @staticmethod
    def _keys(screen: ConsoleScreen) -> list[tuple[str, str, bool]]:
        context, hidden = screen.context, screen.hidden_acts()
        here = acts_on(screen.place, drill=context.snapshot is not None and context.snapshot.drill is not None)
        acts = [
            (action.key, word_of(action), action.disabled_reason(context) is None)
            for action in here
            if action.id not in hidden
        ]
        own = [(key, word, True) for key, word in screen.footer_hints()]
        possible = [act for act in acts if act[2]]
        rare = {action.key for action in here if action.rare}
        return [*own, *possible, *(act for act in acts if not act[2] and act[0] not in rare)]

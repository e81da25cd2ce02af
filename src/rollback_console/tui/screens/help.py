"""The keys: of the screen beneath, of the shell, of moving; made from the same tables as the bindings."""

from __future__ import annotations

from rich.text import Text

from rollback_console.actions import ACTIONS, Context
from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.keys import MOVES, SHELL_KEYS
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.screens.sheet import SheetScreen
from rollback_console.tui.widgets.cells import wrap


def help_text(context: Context, place: str, ink: themes.Ink, width: int = 72) -> Text:
    """All keys as text of `width` cells; an act that cannot be done says why."""
    text = Text()

    def head(words: str) -> None:
        text.append(("\n" if text else "") + words + "\n", ink.strong)

    def line(key: str, what: str, more: str = "", possible: bool = True) -> None:
        text.append(f" {plain(key, 12):8}", ink.good if possible else ink.dim)
        text.append(what, ink.text if possible else ink.dim)
        room = width - 9 - len(what) - 2
        lines = wrap(plain(more, 300), room if len(more) <= room else width - 9, 3) if more else []
        for at, words in enumerate(lines):
            text.append(f"  {words}" if at == 0 and len(more) <= room else f"\n         {words}", ink.dim)
        text.append("\n")

    here = [a for a in ACTIONS if place in a.screens]
    elsewhere = [a for a in ACTIONS if place not in a.screens]
    for title, acts in (("What can be done here", here), ("Elsewhere, and by ^p", elsewhere)):
        if acts:
            head(title)
        for action in acts:
            reason = action.disabled_reason(context)
            line(action.key, action.title, f"not now: {reason}" if reason else action.help, reason is None)
    head("The console")
    for key in SHELL_KEYS:
        line(key.shown, key.help)
    head("Moving")
    for keys, what in MOVES:
        text.append(f" {keys:16}", ink.good)
        text.append(what + "\n", ink.text)
    head("States: always a glyph and a word")
    for state, glyph in themes.GLYPHS.items():
        text.append(f" {glyph} {themes.WORDS[state]} ", ink.states[state])
    text.append("\n ≠ registry and serving disagree   · missing   ✗ breached   ? blind", ink.dim)
    return text


class HelpScreen(SheetScreen):
    """Help over a screen."""

    def __init__(self, beneath: ConsoleScreen | None) -> None:
        super().__init__()
        self._of = beneath.context if beneath else Context(None)
        self._where = beneath.place if beneath else ""

    def text(self) -> Text:
        return help_text(self._of, self._where, themes.ink(self.app), max(30, min(72, self.app.size.width - 6)))

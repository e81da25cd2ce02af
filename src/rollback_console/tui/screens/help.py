"""The keys: of the screen beneath, of the shell, of moving; made from the same tables as the bindings."""

from __future__ import annotations

from rich.text import Text

from rollback_console.actions import Context
from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.keys import MOVES, SHELL_KEYS, OwnKey, acts
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.screens.sheet import SheetScreen
from rollback_console.tui.widgets.cells import wrap


def help_text(context: Context, place: str, ink: themes.Ink, width: int = 72, own: tuple[OwnKey, ...] = ()) -> Text:
    """All keys as text of `width` cells, the screen's `own` among them; an act that cannot be done says why, one that
    changes what serves is marked."""
    text = Text()

    def head(words: str) -> None:
        text.append(("\n" if text else "") + words + "\n", ink.strong)

    def line(key: str, what: str, more: str = "", possible: bool = True, dangerous: bool = False) -> None:
        text.append(f" {plain(key, 12):7}", ink.good if possible else ink.dim)
        text.append("!" if dangerous else " ", ink.bad)
        text.append(what, ink.text if possible else ink.dim)
        room = width - 9 - len(what) - 2
        lines = wrap(plain(more, 300), room if len(more) <= room else width - 9, 3) if more else []
        for at, words in enumerate(lines):
            text.append(f"  {words}" if at == 0 and len(more) <= room else f"\n         {words}", ink.dim)
        text.append("\n")

    if own:
        head("This screen")
        for key in own:
            line(key.shown, key.title, key.help)
    every = acts(drill=context.snapshot is not None and context.snapshot.drill is not None)
    here = [a for a in every if place in a.screens]
    elsewhere = [a for a in every if place not in a.screens]
    for title, some in (("What can be done here", here), ("Elsewhere, and by ^p", elsewhere)):
        if some:
            head(title)
        for action in some:
            reason = action.disabled_reason(context)
            words = f"not now: {reason}" if reason else action.help
            line(action.key, action.title, words, reason is None, action.dangerous)
    text.append(" ! changes what serves; asks first, always\n", ink.dim)
    head("The console")
    for shell_key in SHELL_KEYS:
        line(shell_key.shown, shell_key.help)
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
        self._own = beneath.own_keys if beneath else ()

    def text(self) -> Text:
        width = max(30, min(72, self.app.size.width - 6))
        return help_text(self._of, self._where, themes.ink(self.app), width, self._own)

"""A sheet of text over a screen: help, one journal entry. Scrolls, closes, does nothing else."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class SheetScreen(ModalScreen[None]):
    """Shows `text()`; escape, q or the key that opened it closes it."""

    DEFAULT_CSS = """
    SheetScreen { align: center middle; }
    SheetScreen VerticalScroll { width: 80; max-width: 100%; height: auto; max-height: 100%; background: $surface;
                                 border: round $border; padding: 0 1; scrollbar-size-vertical: 1;
                                 scrollbar-background: $surface; scrollbar-background-hover: $surface;
                                 scrollbar-background-active: $surface; }
    SheetScreen Static { width: 100%; height: auto; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("escape,q,question_mark,enter", "dismiss(None)", show=False),
        Binding("j,down", "scroll(1)", show=False),
        Binding("k,up", "scroll(-1)", show=False),
        Binding("pagedown,space", "scroll(10)", show=False),
        Binding("pageup", "scroll(-10)", show=False),
    ]

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield Static(self.text(), markup=False)

    def text(self) -> Text:
        """What the sheet says."""
        return Text()

    def action_scroll(self, lines: int) -> None:
        sheet = self.query_one(VerticalScroll)
        sheet.scroll_relative(y=lines, animate=False)

"""A dialog that asks for one line of text: a note, a reason."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from rollback_console.model.text import plain


class AskScreen(ModalScreen[str]):
    """One line of text; enter gives it, escape gives ""."""

    DEFAULT_CSS = """
    AskScreen { align: center bottom; }
    AskScreen Vertical { width: 100%; height: auto; background: $surface; border-top: solid $border; padding: 0 1; }
    AskScreen Static { height: auto; }
    AskScreen Input { border: none; height: 1; padding: 0; background: $background; }
    """
    BINDINGS = [Binding("escape", "dismiss('')", "cancel")]  # noqa: RUF012 - Textual's own form

    def __init__(self, title: str, hint: str, limit: int = 2000) -> None:
        super().__init__()
        self._title = title
        self._hint = hint
        self._limit = limit

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(f"{plain(self._title, 80)}   {plain(self._hint, 200)}", markup=False)
            yield Input(placeholder="one line; enter writes it, escape goes back", max_length=self._limit)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value.strip())

"""Asked before leaving while something is open: `y` leaves, anything else stays."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Static

from rollback_console.model.text import plain


class LeaveScreen(ModalScreen[bool]):
    """Says what would be left open. Enter does not leave."""

    DEFAULT_CSS = """
    LeaveScreen { align: center middle; }
    LeaveScreen Static { width: 60; max-width: 90%; height: auto; padding: 1 2; border: round $warning;
                         background: $surface; }
    """

    def __init__(self, reason: str) -> None:
        super().__init__()
        self._reason = reason

    def compose(self) -> ComposeResult:
        yield Static(
            f"{plain(self._reason, 300)}.\n\nWhat was begun is in the journal and can be resumed.\n\n"
            "y  leave all the same      escape  stay",
            markup=False,
        )

    def on_key(self, event: Key) -> None:
        """Every key stays here: none may act on the screen beneath."""
        event.stop()
        if event.key == "y":
            self.dismiss(True)
        elif event.key in ("escape", "n", "q"):
            self.dismiss(False)

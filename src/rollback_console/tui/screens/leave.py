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

    def __init__(
        self,
        reason: str,
        after: str = "What was begun is in the journal and can be resumed.",
        words: tuple[str, str] = ("leave all the same", "stay"),
    ) -> None:
        """`after`: what becomes of it; `words`: what `y` and `escape` do."""
        super().__init__()
        self._reason, self._after, self._words = reason, after, words

    def compose(self) -> ComposeResult:
        yield Static(
            f"{plain(self._reason, 300)}.\n\n{self._after}\n\ny  {self._words[0]}      escape  {self._words[1]}",
            markup=False,
        )

    def on_key(self, event: Key) -> None:
        """Every key stays here: none may act on the screen beneath."""
        event.stop()
        if event.key == "y":
            self.dismiss(True)
        elif event.key in ("escape", "n", "q"):
            self.dismiss(False)

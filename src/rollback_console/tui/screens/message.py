"""Messages to stakeholders: one wording after the other, copied with one key, and recorded word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding

from rollback_console.model.message import Message
from rollback_console.model.text import plain
from rollback_console.tui.keys import OwnKey
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.widgets.lines import Lines, line, redraw, wrap


class MessageScreen(ConsoleScreen):
    """What could be told of an incident now, by each template. Nothing is sent from here: `y` copies."""

    place = "message"
    DEFAULT_CSS = "MessageScreen Lines { padding: 0 1; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("right,l,tab", "screen.turn(1)", show=False, priority=True),
        Binding("left,h,shift+tab", "screen.turn(-1)", show=False, priority=True),
        Binding("y", "screen.copy", show=False),
        Binding("escape", "app.pop_screen", show=False),
    ]
    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("← →", "Another wording", "by template and audience"),
        OwnKey("y", "Copy it", "and record it in the journal, word for word", "copy"),
    )

    def __init__(self, messages: Sequence[Message]) -> None:
        super().__init__()
        self._messages = tuple(messages)
        self._at = 0

    @property
    def message(self) -> Message:
        """The wording that is shown."""
        return self._messages[self._at]

    def compose_body(self) -> ComposeResult:
        yield Lines(self._lines, id="message")

    def on_mount(self) -> None:
        self.query_one(Lines).focus()

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("y", "copy"), ("←→", "wording"), ("↑↓", "scroll"), ("escape", "back"))

    def action_turn(self, step: int) -> None:
        self._at = (self._at + step) % len(self._messages)
        if redraw(self, "message"):
            self.query_one(Lines).scroll_home(animate=False)

    def action_copy(self) -> None:
        message, commands = self.message, self.commands
        self.console_app.copy_text(message.text)
        if commands is not None:
            self.run_command(
                commands.told(message, "copied"), "message", lambda _: self.say("recorded in the journal as copied")
            )

    def _lines(self, width: int, height: int) -> list[Text]:
        width, message = min(width - 1, 110), self.message
        place = f"{self._at + 1} of {len(self._messages)}"
        lines = [
            line((f"‹ {plain(message.template, 40)} ›", "title"), f"  {message.audience}", (f"  {place}", "dim")),
            line(""),
        ]
        for paragraph in message.text.rstrip("\n").split("\n"):
            indent = "  " if paragraph.startswith("- ") else ""
            first, *rest = wrap(paragraph, width - len(indent), 4_000)
            lines += [line(first), *(line(indent, each) for each in rest)]
        return lines

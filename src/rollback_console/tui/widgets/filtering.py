"""A filter that is typed into the view itself: no input field to build, no focus to lose."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.scroll_view import ScrollView

from rollback_console.tui.widgets.linewise import Base

_LIMIT = 80


class FilterChanged(Message):
    """The filter's text, or whether it is being typed, changed."""


class FilteredView(ScrollView, can_focus=True):
    """A view with a filter. `/` begins typing, enter ends it and keeps it, escape clears it.

    While it is typed letters are letters and no act's key. Subclasses lay out anew in `filtered`.
    """

    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("slash", "filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self.base = Base(self)
        self.filter = ""
        self.typing = False

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.base.forget()

    def filtered(self) -> None:
        """The filter's text changed."""

    def action_filter(self) -> None:
        self.typing = True
        self.post_message(FilterChanged())

    def clear_filter(self) -> bool:
        """Clear the filter; False when there was none."""
        if not self.filter and not self.typing:
            return False
        self.set_filter("", typing=False)
        return True

    def set_filter(self, text: str, *, typing: bool) -> None:
        """Filter by `text`; `typing` while more may come."""
        changed = text != self.filter
        self.filter, self.typing = text, typing
        if changed:
            self.filtered()
        self.post_message(FilterChanged())

    def on_key(self, event: events.Key) -> None:
        if not self.typing:
            return
        if event.key == "escape":
            self.set_filter("", typing=False)
        elif event.key == "enter":
            self.set_filter(self.filter, typing=False)
        elif event.key == "backspace":
            self.set_filter(self.filter[:-1], typing=True)
        elif event.key == "ctrl+u":
            self.set_filter("", typing=True)
        elif event.is_printable and event.character:
            self.set_filter((self.filter + event.character)[:_LIMIT], typing=True)
        else:
            return  # arrows and pages move within what is found
        event.stop()
        event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        if self.typing:
            from rollback_console.model.text import plain

            self.set_filter((self.filter + plain(event.text, _LIMIT))[:_LIMIT], typing=True)
            event.stop()

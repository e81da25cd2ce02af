"""One journal entry, whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.text import Text
from textual.binding import Binding

from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import plain, plain_block
from rollback_console.tui import themes
from rollback_console.tui.screens.sheet import SheetScreen
from rollback_console.tui.widgets.band import utc
from rollback_console.tui.widgets.timeline import day_of

if TYPE_CHECKING:
    from rollback_console.tui.app import ConsoleApp


def entry_facts(item: TimelineItem) -> list[tuple[str, str]]:
    """What an entry says beside its text, as (label, text)."""
    return [
        ("of", plain(item.origin, 120)) if item.origin else ("seq", f"{item.seq:,}"),
        ("when", f"{day_of(item.at)} {utc(item.at)} UTC"),
        ("kind", plain(item.kind, 80)),
        ("on", plain(item.deployment, 200) or "–"),
        ("operator", plain(item.operator, 120) or "–"),
        ("hash", plain(item.hash, 128) or "–"),
    ]


class EntryScreen(SheetScreen):
    """An entry's text in full, its sequence number and its hash; `y` copies them."""

    BINDINGS = [Binding("y", "copy", show=False)]  # noqa: RUF012 - Textual's own form

    def __init__(self, item: TimelineItem) -> None:
        super().__init__()
        self._item = item

    def text(self) -> Text:
        ink = themes.ink(self.app)
        text = Text()
        for label, fact in entry_facts(self._item):
            text.append(f"{label:9}", ink.dim)
            text.append(fact + "\n", ink.text)
        text.append("\n" + plain_block(self._item.text), ink.text)
        text.append("\n\nescape back · y copy", ink.dim)
        return text

    def action_copy(self) -> None:
        facts = "\n".join(f"{label}: {fact}" for label, fact in entry_facts(self._item))
        cast("ConsoleApp", self.app).copy_text(f"{facts}\n{plain_block(self._item.text)}")

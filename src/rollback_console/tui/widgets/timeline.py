"""The timeline: journal entries as lines, newest at the bottom. A line API: 100,000 scroll like ten."""

from __future__ import annotations

import re

from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.themes import Ink
from rollback_console.tui.widgets.band import utc
from rollback_console.tui.widgets.cells import Part, fit, strip_of
from rollback_console.tui.widgets.filtering import FilteredView

_DAY = 86_400
_OF_EXECUTIONS = ("intent", "outcome", "execution")
_OWN_ID = re.compile(r"^(?:ex|X)-\w{1,40}:? ")  # the entry has it; the line has better use for the cells


def day_of(at: float) -> str:
    """Unix seconds as `11-20`, UTC; a dash for what is no date."""
    from datetime import UTC, datetime

    try:
        return datetime.fromtimestamp(at, tz=UTC).strftime("%m-%d")
    except (ValueError, OverflowError, OSError):
        return "–"


def item_parts(item: TimelineItem, width: int, dated: bool, ink: Ink) -> list[Part]:
    """One entry in `width` cells: when, what kind, to what, by whom, the text; shed from the least telling."""
    when = f"{day_of(item.at)} {utc(item.at)}" if dated else utc(item.at)
    parts: list[Part] = [
        (f"{when} ", ink.dim),
        (fit(plain(item.kind, 40), 13) + " ", ink.dim if item.kind == "tick" else ink.good),
    ]
    used = len(when) + 15
    name = plain(item.deployment, 120)
    short = name.rpartition("/")[2]
    if width >= 76:
        column = 28 if width >= 120 else 18
        parts.append((fit(name if column == 28 else short, column) + " ", ink.strong))
        used += column + 1
    if width >= 100:
        parts.append((fit(plain(item.operator, 40), 12) + " ", ink.text))
        used += 13
    text = plain(_OWN_ID.sub("", item.text, count=1) if item.kind in _OF_EXECUTIONS else item.text, 400)
    if width < 76 and short:
        states, colon, sentence = text.partition(": ") if item.kind == "transition" else ("", "", "")
        text = f"{states} {short}: {sentence}" if colon else f"{short}: {text}"
    if width < 100 and item.operator:
        text = f"{plain(item.operator, 40)}: {text}"
    parts.append((fit(text, max(4, width - used)), ink.text))
    return parts


def matches(item: TimelineItem, words: list[str]) -> bool:
    """Does an entry hold every word of a filter."""
    text = f"{item.kind} {item.deployment} {item.operator} {item.text}".lower()
    return all(word in text for word in words)


class TimelineView(FilteredView, can_focus=True):
    """Follows the newest entry unless somebody scrolls or chooses; `G` follows again."""

    DEFAULT_CSS = """
    TimelineView { height: 1fr; background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("g,home", "jump(0)", show=False),
        Binding("G,end", "jump(-1)", show=False),
    ]

    class Moved(Message):
        """Another entry is selected, or more have come."""

    class Opened(Message):
        """The selected entry was clicked again."""

    def __init__(self) -> None:
        super().__init__()
        self.following = True
        self._all: tuple[TimelineItem, ...] = ()
        self._found: list[TimelineItem] | None = None  # None: no filter, all of them
        self._at = 0  # the selected one's index in what is shown
        self._dated = False

    @property
    def items(self) -> tuple[TimelineItem, ...] | list[TimelineItem]:
        """What the filter leaves, newest last."""
        return self._all if self._found is None else self._found

    @property
    def selected(self) -> TimelineItem | None:
        return self.items[self._at] if 0 <= self._at < len(self.items) else None

    @property
    def place(self) -> tuple[int, int]:
        """(the selected entry's number from 1, how many)."""
        return (self._at + 1 if self.items else 0, len(self.items))

    def show(self, items: tuple[TimelineItem, ...]) -> None:
        """Show a journal; one that only grew costs what is new."""
        if items is self._all:
            return
        before = self._all
        grew = bool(before) and len(items) >= len(before) and items[0] == before[0]
        grew = grew and items[len(before) - 1] == before[-1]
        if grew and len(items) == len(before):
            self._all = items
            return
        chosen = self.selected
        self._all = items
        words = self.filter.lower().split()
        if self._found is not None:
            fresh = items[len(before) :] if grew else items
            found = [item for item in fresh if matches(item, words)]
            self._found = [*self._found, *found] if grew else found
        if not grew and chosen is not None and not self.following:
            if chosen.seq:
                self._at = next((i for i, item in enumerate(self.items) if item.seq >= chosen.seq), 0)
            else:  # another console's: it has no number here
                self._at = next((i for i, item in enumerate(self.items) if item.at >= chosen.at), 0)
        self._settle()

    def filtered(self) -> None:
        words = self.filter.lower().split()
        self._found = [item for item in self._all if matches(item, words)] if words else None
        self.following = True
        self._settle()

    def _settle(self) -> None:
        count = len(self.items)
        self._dated = bool(count) and self.items[0].at // _DAY != self.items[-1].at // _DAY
        self._at = count - 1 if self.following else max(0, min(self._at, count - 1))
        self.virtual_size = Size(self.size.width, count)
        if self.following:
            self.scroll_to(y=max(0, count - self.size.height), animate=False, force=True, immediate=True)
        self.refresh()
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        items = self.items
        number = y + round(self.scroll_offset.y)
        if not 0 <= number < len(items):
            if y == 1 and not items:
                ink = themes.ink(self.app)
                word = f"No entry matches “{plain(self.filter, 80)}”." if self.filter else "The journal is empty."
                return strip_of([("  " + word, ink.dim)], width, self.base())
            return Strip.blank(width, self.base())
        ink = themes.ink(self.app)
        width = self.scrollable_content_region.width
        chosen = number == self._at
        parts = [("▌" if chosen else " ", ink.good), *item_parts(items[number], width - 1, self._dated, ink)]
        return strip_of(parts, width, self.base(), ink.selected if chosen else None)

    def _to(self, index: int) -> None:
        if not self.items:
            return
        before, self._at = self._at, max(0, min(len(self.items) - 1, index))
        self.following = self._at == len(self.items) - 1
        top, height = round(self.scroll_offset.y), self.size.height
        if self._at < top:
            self.scroll_to(y=self._at, animate=False, force=True, immediate=True)
        elif self._at >= top + height:
            self.scroll_to(y=self._at - height + 1, animate=False, force=True, immediate=True)
        top = round(self.scroll_offset.y)
        for line in (before - top, self._at - top):
            if 0 <= line < height:
                self.refresh(Region(0, line, self.size.width, 1))
        self.post_message(self.Moved())

    def action_move(self, step: int) -> None:
        self._to(self._at + step)

    def action_page(self, step: int) -> None:
        self._to(self._at + step * max(1, self.size.height - 1))

    def action_jump(self, index: int) -> None:
        self._to(index if index >= 0 else len(self.items) - 1)

    def on_mouse_scroll_up(self) -> None:
        self.following = False

    def on_click(self, event: events.Click) -> None:
        number = event.y + round(self.scroll_offset.y)
        if number < len(self.items):
            again = number == self._at
            self._to(number)
            if again:
                self.post_message(self.Opened())

    def on_resize(self) -> None:
        self._settle()

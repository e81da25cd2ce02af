"""The timeline of a review: every happening of the journal, searched as it is typed; the moment follows the line."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, overload

from textual.binding import Binding
from textual.strip import Strip

from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.keys import OwnKey
from rollback_console.tui.screens.review_base import Driven
from rollback_console.tui.screens.timeline import TimelineScreen, TimelineTitle
from rollback_console.tui.widgets.band import Piece, lay_out
from rollback_console.tui.widgets.cells import strip_of
from rollback_console.tui.widgets.timeline import TimelineView, item_parts

if TYPE_CHECKING:
    from rollback_console.model.snapshot import TimelineItem
    from rollback_console.review.scrub import Scrub

_DAY = 86_400


class JournalView(TimelineView):
    """All lines of a journal, of which a search leaves some. A `≠` stands at a decision that comes out otherwise,
    a `✗` at an entry that is not what was signed."""

    def __init__(self, scrub: Scrub) -> None:
        super().__init__()
        self._scrub = scrub
        self._numbers: list[int] | None = None  # of the lines that the search leaves; None: all
        self._searched = ""
        self._fresh = True
        self.following = False

    @property
    def items(self) -> Sequence[TimelineItem]:  # type: ignore[override]  # found ones are picked out when they are drawn
        lines = self._scrub.replay.index.items
        return lines if self._numbers is None else _Picked(lines, self._numbers)

    def number(self, row: int) -> int:
        """A row's number among all lines of the journal."""
        return row if self._numbers is None else self._numbers[row]

    def grown(self) -> None:
        """More of the journal was read, or the moment is another."""
        if self.filter:
            self._search(again=True)
        self._stand()

    def filtered(self) -> None:
        self._search(again=False)
        self._stand()

    def _search(self, *, again: bool) -> None:
        """Find the lines that hold every word; what is typed further is looked for in what was found."""
        texts, words = self._scrub.replay.index.texts, self.filter.lower().split()
        within: Sequence[int] = range(len(texts))
        if self._numbers is not None and self._searched and self.filter.startswith(self._searched) and not again:
            within = self._numbers
        self._searched = self.filter
        if not words:
            self._numbers = None
        elif len(words) == 1:
            (word,) = words
            self._numbers = [n for n in within if word in texts[n]]
        else:
            self._numbers = [n for n in within if all(word in texts[n] for word in words)]

    def _stand(self) -> None:
        """On the line of the moment, or the last found before it."""
        index = self._scrub.replay.index
        number = bisect_right(index.item_places, self._scrub.place) - 1
        row = number if self._numbers is None else bisect_right(self._numbers, number) - 1
        count = len(self.items)
        ats = index.ats
        self._dated = bool(len(ats)) and ats[0] // _DAY != ats[-1] // _DAY
        self._at = max(0, min(row, count - 1))
        self.virtual_size = self.virtual_size.with_height(count).with_width(self.size.width)
        height = max(1, self.size.height)
        top = round(self.scroll_offset.y)
        if not top <= self._at < top + height or self._fresh:
            self._fresh = self.size.height == 0  # laid out now: what came before it is seen, too
            self.scroll_to(y=max(0, self._at - height // 2), animate=False, force=True, immediate=True)
        self.refresh()

    def _settle(self) -> None:
        """Laid out anew: the moment decides which line is chosen."""
        self._stand()
        self.post_message(self.Moved())

    def show(self, items: tuple[TimelineItem, ...]) -> None:
        """The Snapshot's lines are some of these."""

    def _to(self, index: int) -> None:
        super()._to(index)
        self.following = False
        if self.selected is not None:
            self._scrub.to_item(self.number(self._at))

    def render_line(self, y: int) -> Strip:
        row = y + round(self.scroll_offset.y)
        if not 0 <= row < len(self.items):
            return super().render_line(y)
        ink, width = themes.ink(self.app), self.scrollable_content_region.width
        chosen = row == self._at
        place = self._scrub.replay.index.item_places[self.number(row)]
        first = ("▌" if chosen else " ", ink.good)
        if self._scrub.bad(place):
            first = ("✗", ink.bad)
        elif self._scrub.difference(place) is not None:
            first = ("≠", ink.bad)
        parts = [first, *item_parts(self.items[row], width - 1, self._dated, ink)]
        return strip_of(parts, width, self.base(), ink.selected if chosen else None)


class _Picked(Sequence["TimelineItem"]):
    """Some of a list's things, by number."""

    def __init__(self, things: Sequence[TimelineItem], numbers: list[int]) -> None:
        self._things, self._numbers = things, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, row: int) -> TimelineItem: ...

    @overload
    def __getitem__(self, row: slice) -> list[TimelineItem]: ...

    def __getitem__(self, row: int | slice) -> TimelineItem | list[TimelineItem]:
        if isinstance(row, slice):
            return [self._things[number] for number in self._numbers[row]]
        return self._things[self._numbers[row]]


class JournalTitle(TimelineTitle):
    """As the timeline's: what is searched, and which line."""

    def strip(self, y: int) -> Strip:
        ink, view, width = themes.ink(self.app), self._view, self.size.width
        left: list[Piece] = [(0, [("Timeline", ink.strong)])]
        if view.typing or view.filter:
            left.append((0, [("/ ", ink.dim), (plain(view.filter, 80) + ("█" if view.typing else ""), ink.strong)]))
            words = "enter ends, escape clears" if view.typing else "escape clears"
            left.append((3, [(words, ink.dim)]))
        at, count = view.place
        right: list[Piece] = [(2, [(f"{at:,} of {count:,}", ink.text)])]
        return strip_of(lay_out(left, right, width), width, self.base())


class ReviewTimeline(Driven, TimelineScreen):
    """Escape goes back to the panels, at the moment of the line that was chosen."""

    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("enter", "screen.entry", show=False),
        Binding("slash", "screen.search", show=False, priority=True),
    ]
    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("enter", "The whole entry", "a decision beside the same one made again", "entry"),
        *(key for key in Driven.own_keys if key.shown != "t"),
    )
    _WHILE_TYPING = frozenset({"scrub_by", "search", "journal", "what_if", "differences"})

    def __init__(self, *, typing: bool) -> None:
        super().__init__(None)
        self._typing_first = typing

    def on_mount(self) -> None:
        if self._typing_first:
            self.timeline.action_filter()
        super().on_mount()
        self.on_scrubbed()

    def compose_body(self):  # type: ignore[no-untyped-def]  # as in TimelineScreen
        assert self.scrub is not None  # noqa: S101 - the screen below opened this one with it
        self.timeline = JournalView(self.scrub)
        self._title = JournalTitle(self.timeline)
        yield from super().compose_body()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in self._WHILE_TYPING and self.timeline.typing:
            return False  # letters and digits are what is searched for
        return super().check_action(action, parameters)

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("escape", "back"), ("enter", "whole"), ("/", "search"), ("n", "next change"), ("0-9", "jump"))

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """The lines are the journal's; the moment is told by `on_scrubbed`."""

    def on_scrubbed(self) -> None:
        super().on_scrubbed()
        if isinstance(self.timeline, JournalView) and self.timeline.is_mounted:
            item, place = self.timeline.selected, self.scrub.place if self.scrub is not None else 0
            places = self.scrub.replay.index.item_places if self.scrub is not None else ()
            at = bisect_left(places, place)
            if item is None or at >= len(places) or self.scrub is None or self.scrub.replay.index.items[at] is not item:
                self.timeline.grown()
            self._title.tick()

    def action_search(self) -> None:
        self.timeline.action_filter()

    def action_journal(self) -> None:
        """It is here already."""

    def action_entry(self) -> None:
        item, scrub = self.timeline.selected, self.scrub
        if item is not None and scrub is not None and isinstance(self.timeline, JournalView):
            from rollback_console.tui.screens.review_sheets import WholeEntry

            self.app.push_screen(WholeEntry(item, scrub, self.timeline.number(self.timeline.place[0] - 1)))

    def action_back(self) -> None:
        if not self.timeline.clear_filter() and len(self.app.screen_stack) > 1:
            self.app.pop_screen()

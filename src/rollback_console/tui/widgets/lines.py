"""Lines of text as the detail screens draw them: pure helpers that make `Text` lines, and one widget that shows them.

A section of a screen is a function from a Snapshot and a width to a list of lines. Styles are *roles* ("bad", "dim"),
not colours: the widget turns them into the theme's colours when it draws, so a golden is plain text and a theme change
needs no rebuild. Everything that is data passes `model.text.plain`; no markup is ever read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from typing import ClassVar

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.screen import Screen
from textual.scroll_view import ScrollView
from textual.strip import Strip

from rollback_console.model.text import plain
from rollback_console.model.verdict import TriggerState
from rollback_console.tui import themes
from rollback_console.tui.themes import Ink
from rollback_console.tui.widgets import cells
from rollback_console.tui.widgets.cells import strip_of

Part = str | tuple[str, str]  # text, or (text, role)
Build = Callable[[int, int], list[Text]]  # (width, height) in cells -> lines


def line(*parts: Part) -> Text:
    """One line from its parts. Newlines cannot occur: the parts are `plain`."""
    text = Text(no_wrap=True, end="")
    for part in parts:
        if isinstance(part, str):
            text.append(part)
        else:
            text.append(part[0], part[1])
    return text


def fit(value: object, width: int, *, right: bool = False) -> str:
    """`value`, made safe, in exactly `width` cells: padded, or cut with an ellipsis."""
    return cells.fit(plain(value, max(8, width * 2)), width, right)


def clip(value: object, width: int) -> str:
    """As `fit`, without padding."""
    return fit(value, width).rstrip()


def wrap(value: object, width: int, limit: int = 2_000) -> list[str]:
    """`value`, made safe, as lines of at most `width` cells, broken at spaces where there are any."""
    width = max(4, width)
    lines: list[str] = []
    current = ""
    for word in plain(value, limit).split(" "):
        joined = f"{current} {word}" if current else word
        if cell_len(joined) <= width:
            current = joined
            continue
        if current:
            lines.append(current)
        *whole, current = chop(word, width)
        lines.extend(whole)
    if current or not lines:
        lines.append(current)
    return lines


def chop(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width` cells, at least one piece; a combining mark stays with its base."""
    pieces: list[str] = []
    start = used = 0
    for index, char in enumerate(text):
        size = cell_len(char)
        if used + size > width and index > start:
            pieces.append(text[start:index])
            start, used = index, 0
        used += size
    return [*pieces, text[start:]]


def paragraph(
    value: object, width: int, role: str = "", *, first: str = "", indent: str | None = None, most: int = 40
) -> list[Text]:
    """A sentence over at most `most` lines; `first` leads the first line, `indent` (as wide, by default) the others."""
    rest = " " * cell_len(first) if indent is None else indent
    pieces = wrap(value, width - max(cell_len(first), cell_len(rest)))
    if len(pieces) > most:
        pieces = [*pieces[: most - 1], clip(pieces[most - 1] + " …", width - cell_len(rest))]
    return [line(first if i == 0 else rest, (piece, role)) for i, piece in enumerate(pieces)]


def alarm_lines(alarms: tuple[str, ...], width: int, most: int = 2) -> list[Text]:
    """Alarms as sentences in full, at most `most` lines each."""
    return [row for alarm in alarms for row in paragraph(alarm, width, "bad", first="▲ ", most=most)]


def against_lines(against: str, width: int, most: int = 4) -> list[Text]:
    """That the console advises against something, and why: a badge, then the sentence; nothing for ""."""
    if not against:
        return []
    badge = " AGAINST ADVICE "
    rows = paragraph(against, width, "bad", first=" " * (len(badge) + 1), indent="  ", most=most)
    return [line((badge, "alarm"), " ").append_text(rows[0][len(badge) + 1 :]), *rows[1:]]


def heading(title: str, width: int, note: str = "") -> Text:
    """A section's title, ruled to `width`, with a note at its right."""
    note = clip(note, max(0, width - cell_len(title) - 6)) if note else ""
    rule = "─" * max(1, width - cell_len(title) - 1 - (cell_len(note) + 1 if note else 0))
    return line((title, "head"), " ", (rule, "faint"), *([(f" {note}", "dim")] if note else []))


def utc(at: float | None, *, date: bool = False, seconds: bool = True) -> str:
    """A Unix time as `14:02:31` (UTC); with `date` as `2026-11-20 14:02`; a dash where it is no time at all."""
    if at is None:
        return "–"
    try:
        moment = datetime.fromtimestamp(at, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return "–"
    if date:
        return moment.strftime("%Y-%m-%d %H:%M")
    return moment.strftime("%H:%M:%S" if seconds else "%H:%M")


def version_word(version: str | None) -> str:
    """`v8` for version 8; a version that is a word stays one; `v?` where none is known."""
    if not version:
        return "v?"
    text = plain(version, 24)
    return f"v{text}" if text[:1].isdigit() else text


def beside(left: list[Text], right: list[Text], width: int, gap: str = "  ") -> list[Text]:
    """Two columns of lines as one; the left one is `width` cells."""
    rows: list[Text] = []
    for index in range(max(len(left), len(right))):
        row = left[index].copy() if index < len(left) else line("")
        row.append(" " * max(0, width - row.cell_len) + gap)
        if index < len(right):
            row.append_text(right[index])
        rows.append(row)
    return rows


class Lines(ScrollView, can_focus=True):
    """Shows the lines that `build(width, height)` makes; scrolls; redraws only the lines that changed.

    With `grow` its height follows the number of lines. Posts `Lines.Chosen` when a line is clicked.
    """

    DEFAULT_CSS = """
    Lines { height: 1fr; background: $background; scrollbar-size-vertical: 1; scrollbar-gutter: stable;
            overflow-x: hidden; }
    Lines.grow { height: auto; scrollbar-gutter: auto; overflow-y: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("g", "scroll_home", show=False),
        Binding("G", "scroll_end", show=False),
    ]

    class Chosen(Message):
        """A line was clicked. `row` counts from 0 over all lines."""

        def __init__(self, view: Lines, row: int) -> None:
            super().__init__()
            self.view = view
            self.row = row

        @property
        def control(self) -> Lines:
            return self.view

    def __init__(self, build: Build, *, id: str | None = None, grow: bool = False, focusable: bool = True) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id, classes="grow" if grow else None)
        self.can_focus = focusable
        self._build = build
        self._grow = grow
        self._lines: list[Text] = []
        self._built_for = (0, 0)

    @property
    def text(self) -> str:
        """All lines as plain text, for tests and for copying."""
        return "\n".join(text.plain.rstrip() for text in self._lines)

    def on_resize(self, event: events.Resize) -> None:
        self.rebuild()

    def show_from(self, build: Build, *, top: bool = True) -> None:
        """Shows something else from now on; from its top, unless told not to."""
        self._build = build
        self.rebuild()
        if top:
            self.scroll_home(animate=False)

    def rebuild(self) -> None:
        """Builds the lines anew and redraws what changed. Cheap when nothing did."""
        size = self.scrollable_content_region.size
        if size.width <= 0:
            return
        lines = self._build(size.width, size.height)
        old, self._lines = self._lines, lines
        if self._built_for != size or len(old) != len(lines):
            self._built_for = (size.width, size.height)
            self.virtual_size = Size(size.width, len(lines))
            if self._grow:
                self._fit_height(len(lines))
            self.refresh()
            return
        top = round(self.scroll_offset.y)
        for y, (before, now) in enumerate(zip(old, lines, strict=True)):
            if before != now and top <= y < top + size.height:
                self.refresh(Region(0, y - top, size.width, 1))

    def _fit_height(self, lines: int) -> None:
        wanted = max(1, lines) + self.gutter.height
        if self.styles.height is None or self.styles.height.value != wanted:
            self.styles.height = wanted

    def reveal(self, row: int, rows: int = 1) -> None:
        """Scrolls so that `row` (and the `rows` that belong to it) can be seen."""
        top, height = round(self.scroll_offset.y), self.scrollable_content_region.height
        if row < top:
            self.scroll_to(y=row, animate=False, force=True)
        elif row + rows > top + height:
            self.scroll_to(y=row + rows - height, animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        row = y + round(self.scroll_offset.y)
        base = self.rich_style
        if not 0 <= row < len(self._lines):
            return Strip.blank(width, base)
        return strip_of(_styled(self._lines[row], roles_of(themes.ink(self.app))), width, base)

    def on_click(self, event: events.Click) -> None:
        row = event.y + round(self.scroll_offset.y)
        if 0 <= row < len(self._lines):
            self.post_message(self.Chosen(self, row))


def _styled(text: Text, roles: dict[str, Style]) -> list[tuple[str, Style]]:
    """A line as pieces with styles: a span's role as the theme draws it, or its own style (a link)."""
    plain_text = text.plain
    cuts = sorted({0, len(plain_text), *(s.start for s in text.spans), *(s.end for s in text.spans)})
    pieces: list[tuple[str, Style]] = []
    for start, end in pairwise(cuts):
        style = Style.null()
        for span in text.spans:
            if span.start <= start and span.end >= end:
                own = roles.get(span.style, Style.null()) if isinstance(span.style, str) else span.style
                style = style + own
        pieces.append((plain_text[start:end], style))
    return pieces


def redraw(screen: Screen[None], *ids: str) -> bool:
    """Rebuilds the `Lines` of a screen with these ids (all, without any). False where there are none: the second's
    timer and a Snapshot may come before a screen is composed, or after it was taken down."""
    found = [lines for lines in screen.query(Lines) if not ids or lines.id in ids]
    for lines in found:
        lines.rebuild()
    return bool(found)


_ROLES: dict[int, dict[str, Style]] = {}  # by the ink's identity: inks are the constants of `themes.INKS`


def roles_of(ink: Ink) -> dict[str, Style]:
    """The styles of the roles in a theme's ink; made once a theme."""
    if id(ink) not in _ROLES:
        _ROLES[id(ink)] = _roles_in(ink)
    return _ROLES[id(ink)]


def _roles_in(ink: Ink) -> dict[str, Style]:
    bold = Style(bold=True)
    return {
        "bad": ink.bad,
        "warn": ink.warn,
        "ok": ink.good,
        "blind": ink.states[TriggerState.BLIND],
        "accent": ink.good,
        "link": ink.good + Style(underline=True),
        "code": ink.states[TriggerState.COOLING],
        "head": ink.strong,
        "title": ink.strong,
        "bold": ink.strong,
        "dim": ink.dim,
        "faint": ink.rule,
        "chosen": ink.text + ink.selected,
        "inverse": ink.strong + Style(reverse=True),
        "alarm": ink.bad + Style(reverse=True, bold=True),
    } | {f"state.{state}": style + bold for state, style in ink.states.items()}

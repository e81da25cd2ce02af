"""One step of a runbook's markdown as lines: enough to read it well, nothing that can run, open or end the app.

Textual's Markdown is a tree of widgets (84 ms a step, and slow to import); a step is a page of text, so this renders
lines: headings, lists, quotes, fenced code verbatim, emphasis and code spans, links as `text (address)`.
"""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.text import Text

from rollback_console.model.text import plain, plain_block
from rollback_console.tui.widgets.lines import chop, line, wrap

_FENCE = re.compile(r"^\s*(`{3,}|~{3,})\s*([^`]*)$")
_ITEM = re.compile(r"^(\s*)([-*+]|\d{1,9}[.)])\s+(\[[ xX]\]\s+)?(.*)$")
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
_LINK = re.compile(r"!?\[([^\]\[]{0,300})\]\(([^()\s]{0,500})[^()]{0,200}\)")
_INLINE = re.compile(r"(`+)([^`]{1,500}?)\1|(\*\*|__)(?=\S)(.{1,500}?)(?<=\S)\3|(\*|\b_)(?=\S)([^*_]{1,500}?)(?<=\S)\5")
_RULE = re.compile(r"^\s*([-*_])(\s*\1){2,}\s*$")
_MOST_LINES = 2_000


def markdown_lines(body: str, width: int) -> list[Text]:
    """`body` as lines of at most `width` cells. Long code goes on behind a `↪`: nothing of a command is hidden."""
    page = _Page(width)
    fence = ""
    for raw in plain_block(body).split("\n")[:_MOST_LINES]:
        match = _FENCE.match(raw)
        if fence:
            if match and match[1].startswith(fence) and not match[2].strip():
                fence = ""
            else:
                page.rows.extend(_code(raw, width))
        elif match:
            page.flush()
            fence = match[1]
        elif not page.block(raw):
            page.text(raw)
    page.flush()
    while page.rows and not page.rows[-1].plain.strip():
        page.rows.pop()
    return page.rows


class _Page:
    """The lines so far, and the prose that still waits for the end of its paragraph."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[Text] = []
        self._prose: list[str] = []

    def flush(self) -> None:
        if self._prose:
            self.rows.extend(_inline(" ".join(self._prose), self.width))
            self._prose.clear()

    def text(self, raw: str) -> None:
        """A line of prose, or an empty one that ends a paragraph."""
        if raw.strip():
            self._prose.append(raw.strip())
            return
        self.flush()
        if self.rows and self.rows[-1].plain.strip():
            self.rows.append(line(""))

    def block(self, raw: str) -> bool:
        """Draws a line that is a block of its own (heading, item, quote, rule); False where it is prose."""
        if heading := _HEADING.match(raw):
            self.flush()
            self.rows.extend(line((piece, "bold")) for piece in wrap(_flat(heading[2]), self.width))
        elif item := _ITEM.match(raw):
            self.flush()
            box = {"": "", "[ ]": "☐ ", "[x]": "☑ ", "[X]": "☑ "}[(item[3] or "").strip()]
            bullet = "•" if item[2] in "-*+" else item[2]
            self.rows.extend(_inline(item[4], self.width, f"{' ' * min(12, len(item[1]))}{bullet} {box}"))
        elif raw.lstrip().startswith(">"):
            self.flush()
            self.rows.extend(_inline(raw.lstrip().lstrip("> "), self.width, "▏ ", "▏ "))
        elif _RULE.match(raw):
            self.flush()
            self.rows.append(line(("─" * min(self.width, 40), "faint")))
        else:
            return False
        return True


def _code(raw: str, width: int) -> list[Text]:
    """One line of code behind a bar."""
    pieces = chop(plain(raw, 2_000), max(4, width - 4))
    return [line(("│ " if i == 0 else "│ ↪ ", "faint"), (piece, "code")) for i, piece in enumerate(pieces)]


def _flat(text: str) -> str:
    return _LINK.sub(lambda m: f"{m[1]} ({m[2]})" if m[2] and m[2] != m[1] else m[1], text)


def _inline(text: str, width: int, first: str = "", rest: str | None = None) -> list[Text]:
    """Prose with its emphasis, wrapped. The marks go, what they mark gets a role."""
    flat = _flat(text)
    marked = Text(end="")
    at = 0
    for match in _INLINE.finditer(flat):
        marked.append(flat[at : match.start()])
        code, strong = match[2], match[4]
        marked.append(code or strong or match[6], "code" if code else "bold")
        at = match.end()
    marked.append(flat[at:])
    rest = " " * cell_len(first) if rest is None else rest
    rows: list[Text] = []
    start = 0
    for index, piece in enumerate(wrap(marked.plain, width - cell_len(first), limit=20_000)):
        found = marked.plain.find(piece, start)
        row = line((first if index == 0 else rest, "dim"))
        # `wrap` makes text safe again; where that changed it, the piece is shown without its emphasis.
        row.append_text(marked[found : found + len(piece)] if found >= 0 and piece else Text(piece))
        start = found + len(piece) if found >= 0 else start
        rows.append(row)
    return rows

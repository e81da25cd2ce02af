"""Text from a journal inside a markdown document: whatever it holds, it stays one line of text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rollback_console.model.text import plain, plain_block

_ACTIVE = re.compile(r"[\\`*\[\]<>|~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|&(?=#?[A-Za-z0-9]+;)")
_OPENING = re.compile(r"^(#{1,6}(?=\s|$)|[-+=](?=[\s=-]|$)|\d{1,9}[.)](?=\s|$))")


def text(value: object, limit: int = 1_000) -> str:
    """One line that renders as it reads: nothing in it is emphasis, a link, HTML, a cell's end, or opens a block."""
    line = _ACTIVE.sub(lambda found: "\\" + found[0], plain(value, limit).strip())
    opening = _OPENING.match(line)
    if opening is not None:
        at = opening.end() - 1 if opening[1][0].isdigit() else 0
        line = line[:at] + "\\" + line[at:]
    return line


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A GitHub-flavoured table of cells that `text` made; no rows, no table."""
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *body] if body else []


def link(title: str, url: str) -> str:
    """`title <url>`: a link only where the address is one that needs no escaping."""
    safe = re.fullmatch(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,600}", url)
    return f"{text(title)}: <{url}>" if safe and "<" not in url else f"{text(title)}: {text(url)}"


def verbatim(block: str, limit: int = 20_000) -> list[str]:
    """Several lines word for word, in a fence that nothing inside can close."""
    lines = plain_block(block, limit).split("\n")
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *lines, fence]

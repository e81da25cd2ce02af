"""Text in cells: what a terminal's column holds, wide and combining characters counted right."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Part = tuple[str, Style]


def width_of(text: str) -> int:
    """Cells that `text` takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, right: bool = False) -> str:
    """`text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    size = width_of(text)
    if size == width:
        return text
    if size < width:
        pad = " " * (width - size)
        return pad + text if right else text + pad
    return set_cell_size(text, width - 1).rstrip("\n") + "…" if width > 1 else "…"


def fit_words(text: str, width: int) -> str:
    """As `fit`, but cut after a whole word where that costs less than a third of the room."""
    if width_of(text) <= width or width < 6:
        return fit(text, width)
    cut = set_cell_size(text, width - 2)
    at = len(cut) if text[len(cut) : len(cut) + 1] == " " else cut.rfind(" ")
    if at <= 0 or width_of(cut[:at]) < width * 2 // 3:
        return fit(text, width)
    return fit(cut[:at].rstrip(" ,;:·") + " …", width)


def strip_of(parts: Iterable[Part], width: int, base: Style, over: Style | None = None) -> Strip:
    """Parts as one strip of exactly `width` cells on `base`; `over` is laid over all of it (a selected row).

    Blanks join the part before them and parts of one style are one segment: each costs the terminal some 40 bytes.
    """
    merged: list[tuple[str, Style]] = []
    lead = ""
    for text, style in parts:
        if not text:
            continue
        if text.isspace() and style.bgcolor is None and not style.reverse:
            if merged and merged[-1][1].bgcolor is None and not merged[-1][1].reverse:
                merged[-1] = (merged[-1][0] + text, merged[-1][1])
                continue
            if not merged:
                lead += text
                continue
        if merged and merged[-1][1] is style:
            merged[-1] = (merged[-1][0] + text, style)
        elif lead and style.bgcolor is None and not style.reverse:
            merged.append((lead + text, style))
            lead = ""
        else:
            if lead:
                merged.append((lead, Style()))
                lead = ""
            merged.append((text, style))
    if lead:
        merged.append((lead, Style()))
    segments = []
    for text, style in merged:
        drawn = base + style
        segments.append(Segment(text, drawn if over is None else drawn + over))
    return Strip(segments).adjust_cell_length(width, base if over is None else base + over)


def wrap(text: str, width: int, lines: int) -> list[str]:
    """`text` broken at spaces into at most `lines` lines of at most `width` cells; an ellipsis stands for the rest.
    A number stays with its per cent sign."""
    out: list[str] = []
    current = ""
    for word in text.replace(" %", "\u00a0%").split(" "):
        joined = f"{current} {word}" if current else word
        if width_of(joined) <= width:
            current = joined
            continue
        if current:
            out.append(current)
        current = word if width_of(word) <= width else fit(word, width)
    if current:
        out.append(current)
    if len(out) > lines:
        last = out[lines - 1]
        short = width_of(last) + 2 <= width
        out[lines - 1 :] = [f"{last} …" if short else fit(last + "  ", width)]
    return [line.replace("\u00a0", " ") for line in out]

"""A signal over time as text: dots in braille, blocks or ASCII; a fixed range; gaps that stay gaps; baseline and limit.

The range is rounded outwards to even steps and always holds the baseline and the limit, so the picture neither jumps
from tick to tick nor blows noise up to look like an alarm. A value is held until the next one: nothing is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from rollback_console.model.text import number
from rollback_console.tui.widgets.lines import clip, fit, line, utc

_LABEL = 8  # cells of the axis at the left
# A cell's dots by (row, column) as bits of an index into a set's characters: 2 x 4 for braille, 2 x 2 for blocks.
_BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLOCK_BITS = ((0x01, 0x02), (0x04, 0x08))
_BLOCKS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of one set: the baseline's line, the limit's line, a gap, the axis' corner and rule, a mark."""

    baseline: str
    limit: str
    gap: str
    corner: str
    rule: str
    side: str
    mark: str
    dots: str = ""  # characters by the bits of their dots; without any, values are `*`
    bits: tuple[tuple[int, int], ...] = ()


SETS = {
    "braille": Glyphs("┄", "━", "·", "└", "─", "│", "▲", "".join(map(chr, range(0x2800, 0x2900))), _BRAILLE_BITS),
    "blocks": Glyphs("┄", "━", "·", "└", "─", "│", "▲", _BLOCKS, _BLOCK_BITS),
    "ascii": Glyphs("-", "=", ".", "+", "-", "|", "^"),
}


@dataclass(frozen=True, slots=True)
class PlotData:
    """What is drawn. `values` and `baselines` are oldest first, None (or not finite) where there is none; `start` and
    `end` are Unix seconds; `worse_higher` says on which side of `limit` it is bad; `marks` are (time, word)."""

    values: tuple[float | None, ...]
    start: float
    end: float
    baselines: tuple[float | None, ...] = ()
    baseline: float | None = None
    limit: float | None = None
    worse_higher: bool = True
    unit: str = ""
    marks: tuple[tuple[float, str], ...] = ()
    limits: tuple[float | None, ...] = ()  # the limit over time, where it goes with the baseline; else `limit` stands
    bad_from: float | None = None  # Unix seconds: nothing before is bad (evidence: a single value beyond is no news)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def span_of(data: PlotData) -> tuple[float, float] | None:
    """The plot's range (low, high), or None where there is nothing to draw in a range that floats can hold."""
    known = [
        v
        for v in map(_finite, (*data.values, *data.baselines, *data.limits, data.baseline, data.limit))
        if v is not None
    ]
    if not known:
        return None
    low, high = min(known), max(known)
    base, limit = _finite(data.baseline), _finite(data.limit)
    if base is not None and limit is not None:
        # Three margins tall at least: a healthy signal reads as a calm line, not as noise from edge to edge.
        low, high = min(low, base - abs(limit - base) * 1.5), max(high, base + abs(limit - base) * 1.5)
        if min(known) >= 0:
            low = max(0.0, low)
    if high - low <= 0:
        pad = abs(high) * 0.1 or 1.0
        low, high = low - pad, high + pad
    step = _even((high - low) / 4)
    if not math.isfinite(high - low) or step <= 0 or not math.isfinite(high / step):
        return None
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    return (low, high) if math.isfinite(high - low) and high > low else None


def _even(size: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    if not math.isfinite(size) or size <= 1e-300:
        return 0.0
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * 0.999999)


def buckets(values: Sequence[float | None], count: int, worst_high: bool) -> list[float | None]:
    """`values` on `count` columns: held where there are fewer, the worst of each column where there are more."""
    size = len(values)
    out: list[float | None] = []
    for column in range(count):
        start = column * size // count
        part = [v for v in map(_finite, values[start : max(start + 1, (column + 1) * size // count)]) if v is not None]
        out.append((max(part) if worst_high else min(part)) if part else None)
    return out


class _Canvas:
    """Cells of a plot's inside; `y` counts from the top, in dots."""

    def __init__(self, width: int, height: int, low: float, high: float, fine: int) -> None:
        self.width, self.height, self.fine = width, height, fine
        self._low, self._high = low, high
        self.cells: list[list[tuple[str, str]]] = [[(" ", "")] * width for _ in range(height)]

    def y(self, value: float) -> int:
        """The dot row of a value, within the canvas."""
        dots = self.height * self.fine
        share = (value - self._low) / (self._high - self._low)
        return min(dots - 1, max(0, round((1 - share) * (dots - 1))))

    def row(self, value: float) -> int:
        return self.y(value) // self.fine


def plot_lines(data: PlotData, width: int, height: int, *, glyph_set: str = "braille") -> list[Text]:
    """The plot in `height` lines (at least 5: the inside, the axis and its times) of `width` cells."""
    glyphs = SETS[glyph_set]
    span = span_of(data)
    if span is None or all(_finite(value) is None for value in data.values):
        known = any(_finite(value) is not None for value in data.values)
        why = "no values yet" if not data.values else "no value in the whole window: nothing to draw"
        why = "the values span more than can be drawn" if known else why
        return [line((clip(why, width), "dim"))]
    inside = max(3, height - 2)
    words = width >= 56
    across = max(4, width - _LABEL - 2 - (10 if words else 0))
    canvas = _Canvas(across, inside, *span, fine=max(1, len(glyphs.bits)))
    _rules(canvas, data, glyphs)
    if glyphs.dots:
        _draw_dots(canvas, data, glyphs)
    else:
        _draw_ascii(canvas, data)
    _gaps(canvas, data, glyphs)
    return [*_sides(canvas, data, glyphs, span, words), *_axis(data, glyphs, across, 10 if words else 0)]


def _rules(canvas: _Canvas, data: PlotData, glyphs: Glyphs) -> None:
    """The baseline (as it was over time, where that is known) and the limit."""
    bases = data.baselines if any(_finite(v) is not None for v in data.baselines) else (data.baseline,)
    for column, value in enumerate(buckets(bases, canvas.width, data.worse_higher)):
        if value is not None:
            canvas.cells[canvas.row(value)][column] = (glyphs.baseline, "dim")
    limits = data.limits if any(_finite(v) is not None for v in data.limits) else (data.limit,)
    for column, value in enumerate(buckets(limits, canvas.width, data.worse_higher)):
        if value is not None:
            canvas.cells[canvas.row(value)][column] = (glyphs.limit, "warn")


def _bad(data: PlotData, values: Sequence[float | None]) -> list[bool]:
    """Which of the values on the plot's columns are beyond the limit of their time."""
    count = len(values)
    limits = buckets(data.limits if any(map(_known, data.limits)) else (data.limit,), count, data.worse_higher)
    first = 0.0 if data.bad_from is None else (data.bad_from - data.start) / max(1e-9, data.end - data.start) * count
    return [
        value is not None
        and limit is not None
        and k >= first - 1
        and (value > limit if data.worse_higher else value < limit)
        for k, (value, limit) in enumerate(zip(values, limits, strict=True))
    ]


def _known(value: float | None) -> bool:
    return _finite(value) is not None


def _draw_dots(canvas: _Canvas, data: PlotData, glyphs: Glyphs) -> None:
    dots = buckets(data.values, canvas.width * 2, data.worse_higher)
    fine = canvas.fine
    bits = [[0] * canvas.width for _ in range(canvas.height)]
    bad = [False] * canvas.width
    beyond = _bad(data, dots)
    before: int | None = None
    for x, value in enumerate(dots):
        if value is None:
            before = None
            continue
        y = canvas.y(value)
        reach = range(min(y, before), max(y, before) + 1) if before is not None else (y,)
        for dot in reach:
            bits[dot // fine][x // 2] |= glyphs.bits[dot % fine][x % 2]
        bad[x // 2] = bad[x // 2] or beyond[x]
        before = y
    for row, cells in enumerate(bits):
        for column, mask in enumerate(cells):
            if mask:
                # A line that the curve crosses goes on beneath it, as dots in the middle of the cell.
                under = canvas.cells[row][column][0]
                middle = glyphs.bits[fine // 2]
                mask |= middle[0] | middle[1] if under == glyphs.limit else middle[0] if under == glyphs.baseline else 0
                canvas.cells[row][column] = (glyphs.dots[mask], "bad" if bad[column] else "ok")


def _draw_ascii(canvas: _Canvas, data: PlotData) -> None:
    before: int | None = None
    values = buckets(data.values, canvas.width, data.worse_higher)
    beyond = _bad(data, values)
    for column, value in enumerate(values):
        if value is None:
            before = None
            continue
        y = canvas.y(value)
        for row in range(min(y, before), max(y, before) + 1) if before is not None else (y,):
            canvas.cells[row][column] = ("*" if row == y else ":", "bad" if beyond[column] else "ok")
        before = y


def _gaps(canvas: _Canvas, data: PlotData, glyphs: Glyphs) -> None:
    for column, value in enumerate(buckets(data.values, canvas.width, data.worse_higher)):
        if value is None:
            canvas.cells[-1][column] = (glyphs.gap, "blind")


def _sides(canvas: _Canvas, data: PlotData, glyphs: Glyphs, span: tuple[float, float], words: bool) -> list[Text]:
    low, high = span
    left: dict[int, str] = {}
    right: dict[int, tuple[str, str]] = {}
    base, limit = _finite(data.baseline), _finite(data.limit)
    # What is judged by is said first; the ends of the range only where nothing else stands on their lines.
    if limit is not None:
        left[canvas.row(limit)] = number(limit, data.unit)
        right[canvas.row(limit)] = ("limit", "warn")
    if base is not None:
        at = canvas.row(base)
        left.setdefault(at, number(base, data.unit))
        right[at] = ("lim, base", "warn") if at in right else ("baseline", "dim")
    left.setdefault(0, number(high, data.unit))
    left.setdefault(canvas.height - 1, number(low, data.unit))
    rows: list[Text] = []
    for y, cells in enumerate(canvas.cells):
        row = line((fit(left.get(y, ""), _LABEL, right=True), "dim"), f" {glyphs.side}")
        for char, role in cells:
            row.append(char, role)
        if words and y in right:
            word, role = right[y]
            row.append(f" {word}", role)
        rows.append(row)
    return rows


def _axis(data: PlotData, glyphs: Glyphs, across: int, margin: int) -> list[Text]:
    """The axis with its marks, and below it the times of its ends and each mark's word under it. The end's time stands
    in the `margin` at the right where there is one, so that it is nobody's word."""
    start, end = utc(data.start, seconds=False), f"now {utc(data.end, seconds=False)}"
    rule = [glyphs.rule] * across
    times = [" "] * (across + margin)
    times[: len(start)] = list(start)
    edge = len(times) - len(end)
    times[edge:] = list(end)
    length = data.end - data.start
    for at, word in data.marks:
        if length <= 0 or not data.start <= at <= data.end:
            continue
        x = min(across - 1, int((at - data.start) / length * across))
        rule[x] = glyphs.mark
        word = clip(word, 12)
        size = cell_len(word)
        begin = min(x - size // 2, edge - 1 - size)
        if begin + size <= x:  # it cannot stand under its mark: it points there
            word, size, begin = f"{word}→", size + 1, begin - 1
        begin = max(begin, len(start) + 1)
        if begin + size < edge and all(char == " " for char in times[begin - 1 : begin + size + 1]):
            times[begin : begin + size] = [word, *[""] * (size - 1)]
    pad = " " * (_LABEL + 2)
    return [line((pad[:-1] + glyphs.corner + "".join(rule), "dim")), line((pad + "".join(times), "dim"))]

"""A sparkline in a range that stands still and shows a fall: two margins beyond limit and baseline; `·` for missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.style import Style

from rollback_console.model.rules import Worse
from rollback_console.tui.widgets.cells import Part

BARS = "▁▂▃▄▅▆▇█"
MISSING = "·"
_MOST_A_CELL = 6  # values


def span_of(values: Sequence[float | None], baseline: float | None, limit: float | None) -> tuple[float, float]:
    """The range (low, high) a sparkline is drawn in. It hangs on baseline and limit alone where both are known (two
    margins beyond each), or on the limit (0 to twice of it), so that noise looks like noise, a fall goes through the
    row, and the same height means the same thing on every tick; else on the values with some room around them."""
    if baseline is not None and limit is not None and limit != baseline:
        margin = abs(limit - baseline)
        return min(baseline, limit) - 2 * margin, max(baseline, limit) + 2 * margin
    if limit is not None and limit != 0:
        return min(0.0, 2 * limit), max(0.0, 2 * limit)
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    if high == low:
        return low - (abs(high) or 1.0), high + (abs(high) or 1.0)
    pad = (high - low) / 4
    return low - pad, high + pad


def gathered(values: Sequence[float | None], width: int, worse: Worse) -> list[float | None]:
    """The newest values on at most `width` cells: as they are, or the worst of every few where there are several to a
    cell, so that the time before a fall stays in sight. A cell is missing where its newest value is."""
    if width <= 0 or not values:
        return []
    each = min(_MOST_A_CELL, max(1, len(values) // width))
    newest = values[-width * each :]
    worst = min if worse is Worse.LOWER else max
    cells: list[float | None] = []
    for end in range(len(newest), 0, -each):
        part = newest[max(0, end - each) : end]
        known = [v for v in part if v is not None and math.isfinite(v)]
        last = part[-1]
        cells.append(worst(known) if known and last is not None and math.isfinite(last) else None)
    return cells[::-1]


def spark(
    values: Sequence[float | None],
    width: int,
    baseline: float | None,
    limit: float | None,
    worse: Worse,
    calm: Style,
    bad: Style,
    missing: Style,
) -> list[Part]:
    """The newest values as bars on `width` cells, newest at the right; those beyond the limit in `bad`."""
    newest = gathered(values, width, worse)
    low, high = span_of(values, baseline, limit)
    parts: list[Part] = []
    if len(newest) < width:
        parts.append((" " * (width - len(newest)), calm))
    for value in newest:
        if value is None or not math.isfinite(value):
            char, style = MISSING, missing
        else:
            share = (value - low) / (high - low) if high > low else 0.5
            char = BARS[max(0, min(7, int(share * 8)))] if math.isfinite(share) else BARS[0]
            beyond = limit is not None and (value < limit if worse is Worse.LOWER else value > limit)
            style = bad if beyond else calm
        if parts and parts[-1][1] is style:
            parts[-1] = (parts[-1][0] + char, style)
        else:
            parts.append((char, style))
    return parts

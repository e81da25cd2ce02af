"""A sparkline with a range that stands still: the baseline in the middle, two margins up and down; `·` for missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.style import Style

from rollback_console.model.rules import Worse
from rollback_console.tui.widgets.cells import Part

BARS = "▁▂▃▄▅▆▇█"
MISSING = "·"


def span_of(values: Sequence[float | None], baseline: float | None, limit: float | None) -> tuple[float, float]:
    """The range (low, high) a sparkline is drawn in. It hangs on baseline and limit alone where both are known, so
    that noise looks like noise and the same height means the same thing on every tick."""
    if baseline is not None and limit is not None and limit != baseline:
        reach = 2 * abs(limit - baseline)
        return baseline - reach, baseline + reach
    if limit is not None and limit != 0:
        return min(0.0, 2 * limit), max(0.0, 2 * limit)
    known = [v for v in values if v is not None and math.isfinite(v)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    pad = (high - low) or abs(high) or 1.0
    return low - pad, high + pad


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
    """The newest `width` values as bars, newest at the right; those beyond the limit in `bad`."""
    newest = list(values[-width:]) if width > 0 else []
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

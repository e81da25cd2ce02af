"""When a simulated fleet is scraped and evaluated. Apart from the rest, so that a command may ask and load nothing."""

from __future__ import annotations

import math

STEP_S = 15.0


def aligned(start: float) -> float:
    """The last step at or before `start` (Unix seconds)."""
    return math.floor(start / STEP_S) * STEP_S

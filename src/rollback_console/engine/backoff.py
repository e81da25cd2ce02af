"""When to ask again what was not answered: each time twice as late, so that consoles do not finish off a sick backend.

In evaluation times, not the wall's: what a rehearsal does is a function of its seed.
"""

from __future__ import annotations

LONGEST_WAIT_S = 300.0


class Backoff:
    """Failures in a row, and the time before which nothing is asked."""

    def __init__(self, step_s: float) -> None:
        self._step = step_s
        self._failures = 0
        self._not_before = 0.0

    def due(self, at: float) -> bool:
        """May it be asked at `at`. A wait longer than the longest is a clock that was set back: it is over."""
        return not 0.0 < self._not_before - at <= LONGEST_WAIT_S

    def failed(self, at: float) -> None:
        self._failures += 1
        self._not_before = at + min(LONGEST_WAIT_S, self._step * 2.0 ** min(self._failures, 32))

    def answered(self) -> None:
        self._failures, self._not_before = 0, 0.0

"""Queries that do not answer: since when, what was known before, and when to replay what was unseen meanwhile.

Only what the backend itself lacks stays blind. So when a query answers again, the evaluations since it ceased to are
made again out of history. A backend that answers instant queries but not range queries is not asked for more and more
of its past at every tick: after a replay that failed the next one waits, twice as long each time.
"""

from __future__ import annotations

from collections.abc import Iterable

from rollback_console.engine.backfill import Known
from rollback_console.engine.backoff import Backoff


class Outages:
    """Per query (by number) that does not answer: the last evaluation before, to go on from."""

    def __init__(self, step_s: float) -> None:
        self._known: dict[int, Known] = {}
        self._again = Backoff(step_s)

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, query: int) -> bool:
        return query in self._known

    def began(self, failing: Iterable[int], known: Known) -> None:
        """These do not answer; `known` is what was known before. One that is out already stays out since then."""
        for query in failing:
            self._known.setdefault(query, known)

    def mendable(self, failing: set[int], at: float) -> Known | None:
        """From where to replay at `at`, when queries answer again; None when none does, or it is too early to try."""
        if not self._again.due(at):
            return None
        return _oldest(known for query, known in self._known.items() if query not in failing)

    def oldest(self) -> Known | None:
        """From where to replay when nobody knows yet which queries answer; None when all did."""
        return _oldest(self._known.values())

    def replayed(self, since: Known, at: float, failing: set[int], *, tried: bool = False) -> None:
        """A replay from `since` to `at` in which `failing` did not answer. `tried`: some of them answered before it,
        so that it was in vain."""
        self._known = {query: self._older(query, since) for query in failing} | {
            query: known for query, known in self._known.items() if query not in failing and known.at < since.at
        }
        if tried:
            self._again.failed(at)
        else:
            self._again.answered()

    def _older(self, query: int, since: Known) -> Known:
        known = self._known.get(query, since)
        return known if known.at <= since.at else since  # what it knew then was judged with others blind


def _oldest(known: Iterable[Known]) -> Known | None:
    return min(known, key=lambda one: one.at, default=None)

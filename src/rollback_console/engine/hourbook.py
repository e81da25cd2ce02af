"""History as the book of baselines keeps it: hourly sums of each query, a column of them per deployment.

A column is read from the backend once and then grows by an hour an hour. Single precision keeps a fleet small: four
bytes an hour, 3.4 kB for five weeks of one query of one deployment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from math import nan

from rollback_console.engine.queries import Splitter
from rollback_console.engine.shelf import FORMAT, key_of
from rollback_console.model.observation import Series
from rollback_console.model.rules import DeploymentRule

HOUR_S = 3_600.0
_POINTS = 150_000  # asked of the backend in one query: a few megabytes
_LONGEST, _SHORTEST = 840, 24  # hours in one query
_SLICE = 4_000  # points filed between two chances for others to run: a few milliseconds


class Column:
    """One query over whole hours. `values[owner][k]` is the answer for [first + k h, first + (k + 1) h), NaN where
    there was none; what lies between `low` and `high` (Unix seconds, full hours) has been read. `late`: of trials whose
    events trail them; their hours are asked so many seconds earlier, and stand with the events that came of them."""

    def __init__(self, promql: str, late: float = 0.0) -> None:
        self.promql, self.late = promql, late
        self.scope: set[int] = set()
        self.first = self.low = self.high = 0.0
        self.count = 0
        self._most = _LONGEST
        self.values: dict[int, array[float]] = {}
        self.saved: tuple[float, float] = (0.0, 0.0)  # low and high when it was last put on the shelf

    @property
    def empty(self) -> bool:
        return self.low >= self.high

    def missing(self, low: float, high: float) -> list[tuple[float, float]]:
        """The stretches of hours not read yet, each next to what has been, in portions that a backend can answer."""
        if self.empty:
            return self._portions(low, high)
        later = self._portions(self.high, high)
        return later[::-1] + self._portions(low, self.low)

    def _portions(self, low: float, high: float) -> list[tuple[float, float]]:
        width = HOUR_S * min(self._most, max(_SHORTEST, _POINTS // max(1, len(self.scope))))
        found = []
        while high > low:
            found.append((max(low, high - width), high))
            high -= width
        return found

    def failed(self) -> None:
        """The backend did not answer: it is asked for less at a time from now on."""
        self._most = max(_SHORTEST, self._most // 4)

    async def file(self, low: float, high: float, series: Iterable[Series], splitter: Splitter) -> None:
        """Take in an answer for the hours from `low` to `high`. Two series for one deployment at one time are none."""
        self._make_room(low, high)
        filed = 0
        seen: set[int] = set()
        for one in series:
            for owner in splitter.owners(one.labels, self.scope):
                column = self.values.get(owner)
                if column is None:
                    column = self.values[owner] = array("f", [nan]) * self.count
                again = owner in seen
                seen.add(owner)
                if not again and self._gapless(one, low, high):
                    first = round((low - self.first) / HOUR_S)
                    column[first : first + len(one.points)] = array("f", [value for _, value in one.points])
                    filed += len(one.points) // 4
                    continue
                for at, value in one.points:
                    k = round((at + self.late - HOUR_S - self.first) / HOUR_S)
                    if low <= self.first + k * HOUR_S < high:
                        column[k] = nan if again and column[k] == column[k] else value
                filed += len(one.points)
                if filed >= _SLICE:
                    filed = 0
                    await asyncio.sleep(0)
        self.low, self.high = (low, high) if self.empty else (min(self.low, low), max(self.high, high))

    def _gapless(self, one: Series, low: float, high: float) -> bool:
        """Has the series one point for each hour from `low` to `high`: most have, and are taken in as a whole."""
        points = one.points
        if len(points) != round((high - low) / HOUR_S):
            return False
        lead = self.late - HOUR_S
        return abs(points[0][0] + lead - low) < 1.0 and abs(points[-1][0] + lead + HOUR_S - high) < 1.0

    def _make_room(self, low: float, high: float) -> None:
        if not self.count:
            self.first, self.count = low, round((high - low) / HOUR_S)
            return
        before = max(0, round((self.first - low) / HOUR_S))
        after = max(0, round((high - self.first) / HOUR_S) - self.count)
        if before or after:
            lead, tail = array("f", [nan]) * before, array("f", [nan]) * after
            self.values = {owner: lead + column + tail for owner, column in self.values.items()}
            self.first, self.count = self.first - before * HOUR_S, self.count + before + after

    def forget(self, before: float) -> None:
        """Let go of hours that began earlier, once they are a week's worth: a column does not grow for ever."""
        old = round((before - self.first) / HOUR_S)
        if old < 168 or self.empty or before >= self.high:
            return
        self.values = {owner: column[old:] for owner, column in self.values.items()}
        self.first, self.count, self.low = self.first + old * HOUR_S, self.count - old, max(self.low, before)

    # -- on the shelf -------------------------------------------------------------------------------------------------

    def key(self, rules: Sequence[DeploymentRule]) -> str:
        """What it is kept under: the query, and whose it is."""
        return key_of(
            "hours", self.promql, str(self.late), *(str(rules[owner].deployment) for owner in sorted(self.scope))
        )

    def packed(self, rules: Sequence[DeploymentRule]) -> bytes:
        """The column as bytes: a line of what it is, then the numbers, little-endian, compressed."""
        owners = sorted(self.values)
        head = {
            "v": FORMAT, "promql": self.promql, "late": self.late, "first": self.first, "count": self.count,
            "low": self.low, "high": self.high, "owners": [str(rules[owner].deployment.id) for owner in owners],
        }  # fmt: skip
        numbers = array("f")
        for owner in owners:
            numbers.extend(self.values[owner])
        if sys.byteorder == "big":
            numbers.byteswap()
        return json.dumps(head).encode() + b"\n" + zlib.compress(numbers.tobytes(), 1)

    def unpack(self, data: bytes, rules: Sequence[DeploymentRule]) -> bool:
        """Take in what `packed` made. False, and nothing is taken, where it is of another format, another query or
        other deployments: as good as none."""
        line, _, body = data.partition(b"\n")
        try:
            head = json.loads(line)
            names = {str(rules[owner].deployment.id): owner for owner in self.scope}
            if (head["v"], head["promql"], head["late"]) != (FORMAT, self.promql, self.late):
                return False
            count, owners = int(head["count"]), [names[name] for name in head["owners"]]
            first, low, high = float(head["first"]), float(head["low"]), float(head["high"])
            numbers = array("f")
            numbers.frombytes(zlib.decompress(body))
            fits = len(numbers) == count * len(owners) and first <= low <= high <= first + count * HOUR_S
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            return False
        if not fits or first % HOUR_S or low % HOUR_S or high % HOUR_S:
            return False
        if sys.byteorder == "big":
            numbers.byteswap()
        self.values = {owner: numbers[k * count : (k + 1) * count] for k, owner in enumerate(owners)}
        self.first, self.low, self.high, self.count, self.saved = first, low, high, count, (low, high)
        return True


Trailing = tuple[str, float]  # a query, and how many seconds earlier it is asked


class Windows:
    """Single windows of queries, an hour at a time: what short noise is read off, and then let go."""

    def __init__(self) -> None:
        self._hours: dict[tuple[Trailing, float, float], dict[int, array[float]]] = {}

    def missing(self, query: Trailing, step: float, hours: Iterable[float]) -> list[tuple[float, float]]:
        """The stretches (from, to) that have not been read, neighbours joined up to six hours."""
        found: list[tuple[float, float]] = []
        for hour in sorted(set(hours)):
            if (query, step, hour) in self._hours:
                continue
            if found and found[-1][1] == hour and hour - found[-1][0] < 6 * HOUR_S:
                found[-1] = (found[-1][0], hour + HOUR_S)
            else:
                found.append((hour, hour + HOUR_S))
        return found

    async def file(
        self, query: Trailing, step: float, low: float, high: float, series: Iterable[Series], splitter: Splitter,
        scope: set[int],
    ) -> None:  # fmt: skip
        """Take in an answer at low + step, low + 2 step, ..., high (asked as much earlier as the query says): each of
        them is the end of a window."""
        size = round(HOUR_S / step)
        hours = [low + k * HOUR_S for k in range(round((high - low) / HOUR_S))]
        found: list[dict[int, array[float]]] = [{} for _ in hours]
        filed = 0
        seen: set[int] = set()
        for one in series:
            for owner in splitter.owners(one.labels, scope):
                again = owner in seen
                seen.add(owner)
                for at, value in one.points:
                    k = round((at + query[1] - low) / step) - 1
                    if not 0 <= k < size * len(hours):
                        continue
                    column = found[k // size].get(owner)
                    if column is None:
                        column = found[k // size][owner] = array("f", [nan]) * size
                    column[k % size] = nan if again and column[k % size] == column[k % size] else value
                filed += len(one.points)
                if filed >= _SLICE:
                    filed = 0
                    await asyncio.sleep(0)
        for hour, columns in zip(hours, found, strict=True):
            self._hours[query, step, hour] = columns

    def of(self, query: Trailing, step: float, hour: float, owner: int) -> Sequence[float] | None:
        """The windows of one deployment in that hour; None where it was not read, or had nothing."""
        return self._hours.get((query, step, hour), _NOTHING).get(owner)

    def has(self, query: Trailing, step: float, hour: float) -> bool:
        return (query, step, hour) in self._hours

    def forget(self) -> None:
        """All of it: what was to be learned from it has been."""
        self._hours.clear()


_NOTHING: dict[int, array[float]] = {}

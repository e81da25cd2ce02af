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
from collections.abc import Iterable, Mapping, Sequence
from math import nan

from rollback_console.engine.queries import Splitter, bound_of
from rollback_console.engine.shelf import FORMAT, key_of
from rollback_console.model.observation import Series
from rollback_console.model.rules import DeploymentRule

HOUR_S = 3_600.0
_POINTS = 150_000  # asked of the backend in one query: a few megabytes
_LONGEST, _SHORTEST = 840, 24  # hours in one query
_WEEK_S = 604_800.0
_SLICE = 4_000  # points filed between two chances for others to run: a few milliseconds


class Column:
    """One query over whole hours. `values[owner][k]` is the answer for [first + k h, first + (k + 1) h), NaN where
    there was none; what lies between `low` and `high` (Unix seconds, full hours) has been read. `late`: of trials whose
    events trail them; their hours are asked so many seconds earlier, and stand with the events that came of them.
    `step`: seconds between two values, where there are several in an hour."""

    _series = 1  # a deployment

    def __init__(self, promql: str, late: float = 0.0, step: float = HOUR_S) -> None:
        self.promql, self.late, self.step = promql, late, step
        self.splitter: Splitter | None = None  # whose series are whose, where that is not as everywhere
        self.scope: set[int] = set()
        self.first = self.low = self.high = 0.0
        self.count = 0
        self._most = _LONGEST
        self.values: dict[int, array[float]] = {}
        self.saved: tuple[float, float] = (0.0, 0.0)  # low and high when it was last put on the shelf

    @property
    def empty(self) -> bool:
        return self.low >= self.high

    def keyed(self, owner: int, series: Series) -> int | None:
        """Under which key a deployment's series stands in `values`; None: it is none of ours."""
        return owner

    def missing(self, low: float, high: float) -> list[tuple[float, float]]:
        """The stretches of hours not read yet, each next to what has been, in portions that a backend can answer."""
        if self.empty:
            return self._portions(low, high)
        later = self._portions(self.high, high)
        return later[::-1] + self._portions(low, self.low)

    def _portions(self, low: float, high: float) -> list[tuple[float, float]]:
        width = HOUR_S * min(self._most, max(_SHORTEST, self._room()))
        found = []
        while high > low:
            found.append((max(low, high - width), high))
            high -= width
        return found

    def _room(self) -> int:
        """Hours whose points a backend can answer in one query."""
        return _POINTS // max(1, round(len(self.scope) * self._series * HOUR_S / self.step))

    def failed(self) -> None:
        """The backend did not answer: it is asked for less at a time from now on."""
        self._most = max(_SHORTEST, self._most // 4)

    async def file(self, low: float, high: float, series: Iterable[Series], splitter: Splitter) -> None:
        """Take in an answer for the hours from `low` to `high`. Two series for one deployment at one time are none."""
        self._make_room(low, high)
        splitter = self.splitter or splitter
        filed = 0
        seen: set[int] = set()
        for one in series:
            for owner in splitter.owners(one.labels, self.scope):
                key = self.keyed(owner, one)
                if key is None:
                    continue
                column = self.values.get(key)
                if column is None:
                    column = self.values[key] = array("f", [nan]) * self.count
                again = key in seen
                seen.add(key)
                if not again and self._gapless(one, low, high):
                    first = round((low - self.first) / self.step)
                    column[first : first + len(one.points)] = array("f", [value for _, value in one.points])
                    filed += len(one.points) // 4
                    continue
                for at, value in one.points:
                    k = round((at + self.late - self.step - self.first) / self.step)
                    if low <= self.first + k * self.step < high:
                        column[k] = nan if again and column[k] == column[k] else value
                filed += len(one.points)
                if filed >= _SLICE:
                    filed = 0
                    await asyncio.sleep(0)
        self.low, self.high = (low, high) if self.empty else (min(self.low, low), max(self.high, high))

    def _gapless(self, one: Series, low: float, high: float) -> bool:
        """Has the series one point for each step from `low` to `high`: most have, and are taken in as a whole."""
        points = one.points
        if len(points) != round((high - low) / self.step):
            return False
        lead = self.late - self.step
        return abs(points[0][0] + lead - low) < 1.0 and abs(points[-1][0] + lead + self.step - high) < 1.0

    def _make_room(self, low: float, high: float) -> None:
        if not self.count:
            self.first, self.count = low, round((high - low) / self.step)
            return
        before = max(0, round((self.first - low) / self.step))
        after = max(0, round((high - self.first) / self.step) - self.count)
        if before or after:
            lead, tail = array("f", [nan]) * before, array("f", [nan]) * after
            self.values = {owner: lead + column + tail for owner, column in self.values.items()}
            self.first, self.count = self.first - before * self.step, self.count + before + after

    def forget(self, before: float) -> None:
        """Let go of hours that began earlier, once they are a week's worth: a column does not grow for ever."""
        old = round((before - self.first) / self.step)
        if old * self.step < _WEEK_S or self.empty or before >= self.high:
            return
        self.values = {owner: column[old:] for owner, column in self.values.items()}
        self.first, self.count, self.low = self.first + old * self.step, self.count - old, max(self.low, before)

    # -- on the shelf -------------------------------------------------------------------------------------------------

    def key(self, rules: Sequence[DeploymentRule]) -> str:
        """What it is kept under: the query, and whose it is."""
        paced = () if self.step == HOUR_S else (str(self.step),)
        return key_of(
            "hours",
            self.promql,
            str(self.late),
            *paced,
            *(str(rules[owner].deployment) for owner in sorted(self.scope)),
        )

    def named(self, key: int, rules: Sequence[DeploymentRule]) -> str:
        """What a series is called on the shelf."""
        return str(rules[key].deployment.id)

    def known_as(self, name: str, owners: Mapping[str, int]) -> int:
        """The key of what `named` called so, `owners` being deployments by their names. Raises KeyError where it is of
        another fleet."""
        return owners[name]

    def packed(self, rules: Sequence[DeploymentRule]) -> bytes:
        """The column as bytes: a line of what it is, then the numbers, little-endian, compressed."""
        owners = sorted(self.values)
        head = {
            "v": FORMAT, "promql": self.promql, "late": self.late, "first": self.first, "count": self.count,
            "low": self.low, "high": self.high, "owners": [self.named(owner, rules) for owner in owners],
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
            count, owners = int(head["count"]), [self.known_as(name, names) for name in head["owners"]]
            first, low, high = float(head["first"]), float(head["low"]), float(head["high"])
            numbers = array("f")
            numbers.frombytes(zlib.decompress(body))
            fits = len(numbers) == count * len(owners) and first <= low <= high <= first + count * self.step
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
            return False
        if not fits or first % HOUR_S or low % HOUR_S or high % HOUR_S:
            return False
        if sys.byteorder == "big":
            numbers.byteswap()
        self.values = {owner: numbers[k * count : (k + 1) * count] for k, owner in enumerate(owners)}
        self.first, self.low, self.high, self.count, self.saved = first, low, high, count, (low, high)
        return True


class BesideColumn(Column):
    """What runs beside some deployments (their controls), each under its own deployment's number."""

    def __init__(self, promql: str, step: float) -> None:
        super().__init__(promql, step=step)
        self._controls: dict[int, DeploymentRule] = {}

    def enter(self, index: int, control: DeploymentRule) -> None:
        """The control of a deployment, as a rule of its own."""
        self._controls[index] = control
        self.scope.add(index)
        self.splitter = Splitter([self._controls.get(k, control) for k in range(max(self._controls) + 1)])

    def key(self, rules: Sequence[DeploymentRule]) -> str:
        named = [str(self._controls[index].deployment.labels) for index in sorted(self._controls)]
        return key_of("beside", super().key(rules), *named)


class BucketColumn(Column):
    """A histogram over whole hours: the series of each bucket by itself, `key_of_bucket` says under which key."""

    _series = 16  # a deployment, about

    def __init__(self, promql: str) -> None:
        super().__init__(promql)
        self._keys: dict[tuple[int, float], int] = {}
        self._pairs: list[tuple[int, float]] = []  # the same, by key

    def keyed(self, owner: int, series: Series) -> int | None:
        bound = bound_of(series)
        return None if bound is None else self.key_of_bucket(owner, bound)

    def key_of_bucket(self, owner: int, bound: float) -> int:
        """The key of the bucket up to `bound` of a deployment."""
        key = self._keys.get((owner, bound))
        if key is None:
            key = self._keys[owner, bound] = len(self._pairs)
            self._pairs.append((owner, bound))
        return key

    def bounds(self, owner: int) -> list[float]:
        """The upper bounds of a deployment's buckets, rising."""
        return sorted(bound for of, bound in self._pairs if of == owner)

    def named(self, key: int, rules: Sequence[DeploymentRule]) -> str:
        owner, bound = self._pairs[key]
        return f"{rules[owner].deployment.id} {bound!r}"

    def known_as(self, name: str, owners: Mapping[str, int]) -> int:
        deployment, _, bound = name.rpartition(" ")
        return self.key_of_bucket(super().known_as(deployment, owners), float(bound))


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
        column_of: Column,
    ) -> None:  # fmt: skip
        """Take in an answer at low + step, low + 2 step, ..., high (asked as much earlier as the query says): each of
        them is the end of a window. `column_of`: of the same query over hours, whose keys these are."""
        size = round(HOUR_S / step)
        hours = [low + k * HOUR_S for k in range(round((high - low) / HOUR_S))]
        found: list[dict[int, array[float]]] = [{} for _ in hours]
        splitter = column_of.splitter or splitter
        filed = 0
        seen: set[int] = set()
        for one in series:
            for owner in splitter.owners(one.labels, column_of.scope):
                key = column_of.keyed(owner, one)
                if key is None:
                    continue
                again = key in seen
                seen.add(key)
                for at, value in one.points:
                    k = round((at + query[1] - low) / step) - 1
                    if not 0 <= k < size * len(hours):
                        continue
                    column = found[k // size].get(key)
                    if column is None:
                        column = found[k // size][key] = array("f", [nan]) * size
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

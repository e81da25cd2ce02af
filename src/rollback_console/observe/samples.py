"""A file of samples, CSV or JSON Lines, read into columns: one a deployment and signal, 20 bytes a row, 28 with trials.

Columns are `time` (RFC 3339 or Unix seconds), `deployment`, `signal`, and `value` (a gauge) or `x`, `n` (events out of
trials). An empty value is no data, `NaN` is not a number. Everything wrong is told at once, up to `MOST_PROBLEMS`.
"""

from __future__ import annotations

import csv
import json
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

from rollback_console.errors import FileProblems, Problem
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import DeploymentRule, SignalKind
from rollback_console.model.text import plain
from rollback_console.model.times import NotATime, moment, unix

MOST_PROBLEMS = 50
NOTHING = math.inf  # in a column: the row is there and its value is empty; infinities of a file are NaN here
IMPACT_SIGNALS = ("revenue_per_minute", "users_per_minute")  # may stand in a file beside the policy's signals
CONTROLS = "control"  # the environment of what runs beside a deployment and is none of the policy's
_LONGEST = 20_000  # characters of a line
_NAMED = ("time", "deployment", "signal")
_FIELDS = (*_NAMED, "value", "x", "n")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NOT_NUMBERS = {"nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}
_HEADER = "The first line is time,deployment,signal,value or time,deployment,signal,x,n"
Raw = object  # a field as it stands: text of a CSV, or what JSON says; None where it is empty


@dataclass(slots=True)
class Column:
    """One signal of one deployment: `times` and, of the same length, `values` or `x` with `n`."""

    times: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))
    n: array[float] = field(default_factory=lambda: array("d"))
    lines: array[int] = field(default_factory=lambda: array("I"))
    ordered: bool = True


@dataclass(slots=True)
class Samples:
    """What a file holds. `counts`: the signals that it gives as x and n. `times`: the distinct ones, in order.
    `ignored`: columns that nothing is read from."""

    columns: dict[tuple[DeploymentId, str], Column] = field(default_factory=dict)
    counts: set[str] = field(default_factory=set)
    times: tuple[float, ...] = ()
    rows: int = 0
    ignored: tuple[str, ...] = ()


class _Bad(Exception):
    """What is wrong with a row: in which field, what, and the remedy."""

    def __init__(self, where: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.where, self.message, self.remedy = where, message, remedy


def read_samples(path: Path, rules: Sequence[DeploymentRule]) -> Samples:
    """The samples in a file, for the deployments and signals of `rules`. Raises FileProblems with all that is wrong."""
    reader = _Reader(str(path), rules)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=None) as handle:
            reader.read(handle)
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
        raise FileProblems((Problem(str(path), 1, 1, "", what, "Check the path and its permissions"),)) from None
    return reader.done()


class _Reader:
    """Reads one file, line by line."""

    def __init__(self, file: str, rules: Sequence[DeploymentRule]) -> None:
        self._file = file
        self._problems: list[Problem] = []
        self._full = False
        self.samples = Samples()
        ids = [rule.deployment.id for rule in rules]
        names = [each.name for each in ids]
        signals = [signal for rule in rules for signal in rule.signals]
        beside = {signal.baseline.control for signal in signals if signal.baseline is not None}
        self._deployments = {name: DeploymentId(CONTROLS, name) for name in beside if name is not None}
        self._deployments |= {str(each): each for each in ids}
        self._deployments |= {each.name: each for each in ids if names.count(each.name) == 1}
        self._signals = dict.fromkeys([*(signal.name for signal in signals), *IMPACT_SIGNALS])
        self._counted = {
            signal.name: "is judged by evidence" if signal.evidence is not None else "has a minimum of trials"
            for signal in signals
            if (signal.evidence is not None and signal.kind is not SignalKind.GAUGE) or signal.minimum is not None
        }
        self._columns: dict[tuple[str, str], Column] = {}  # by the words of the file
        self._times: dict[str, float] = {}  # text -> time: rows of one time stand together, in most files
        self._shapes: dict[str, tuple[bool, int]] = {}  # signal -> (given as x and n, on which line first)
        self._refused: set[str] = set()  # signals whose shape was complained of: once is enough
        self._at: set[float] = set()

    # -- lines --------------------------------------------------------------------------------------------------------

    def read(self, handle: TextIO) -> None:
        lines = self._lines(handle)
        first = next(((number, line) for number, line in lines if line.strip()), None)
        if first is None:
            self._complain(1, 1, "", "the file is empty", _HEADER)
        elif first[1].lstrip().startswith("{"):
            self._json(first, lines)
        else:
            self._csv(first, lines)

    def _lines(self, handle: TextIO) -> Iterator[tuple[int, str]]:
        """Each line without its end, numbered from 1, until too many were wrong."""
        number = 0
        while not self._full and (line := handle.readline(_LONGEST)):
            number += 1
            if len(line) == _LONGEST and not line.endswith("\n"):
                self._complain(number, 1, "", f"the line is longer than {_LONGEST:,} characters",
                               "Is this the right file? Reading stopped here")  # fmt: skip
                return
            yield number, line.rstrip("\n")

    def _csv(self, first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> None:
        number, line = first
        header = [name.strip().lower() for name in _split(line)]
        places = {name: header.index(name) for name in _FIELDS if name in header}
        wrong = [(1, f"the header has no column `{name}`") for name in _NAMED if name not in places]
        wrong += [
            (_place(line, header.index(name)), f"the header names `{name}` twice")
            for name in places
            if header.count(name) > 1
        ]
        if "value" not in places and not {"x", "n"} <= places.keys():
            wrong.append((1, "the header has neither `value` nor `x` and `n`"))
        for column, what in wrong:
            self._complain(number, column, "", what, _HEADER)
        if wrong:
            return
        self.samples.ignored = tuple(name for name in header if name not in _FIELDS)
        width = len(header)
        time, deployment, signal = (places[name] for name in _NAMED)
        value, x, n = (places.get(name, width) for name in ("value", "x", "n"))  # past the end: always empty
        for number, line in lines:
            fields = line.split(",") if '"' not in line else _split(line)
            if len(fields) != width:
                if line.strip():
                    self._complain(number, 1, "", f"has {len(fields)} fields, the header has {width}",
                                   "Write one for each column; an empty value is no data")  # fmt: skip
                continue
            if " " in line or "\t" in line:
                fields = [field.strip() for field in fields]
            fields.append("")
            try:
                self._row(number, fields[time], fields[deployment], fields[signal], fields[value], fields[x], fields[n])
            except _Bad as bad:
                self._complain(number, _place(line, places[bad.where]), bad.where, bad.message, bad.remedy)

    def _json(self, first: tuple[int, str], lines: Iterator[tuple[int, str]]) -> None:
        number, line = first
        while True:
            if line.strip():
                try:
                    found = json.loads(line)
                except (ValueError, RecursionError) as error:
                    column = getattr(error, "colno", 1)
                    self._complain(number, column, "", "is not JSON", 'Write one object a line: {"time": …, …}')
                else:
                    self._object(number, line, found)
            following = next(lines, None)
            if following is None:
                return
            number, line = following

    def _object(self, number: int, line: str, found: object) -> None:
        if not isinstance(found, dict):
            self._complain(number, 1, "", "is not an object", 'Write {"time": …, "deployment": …, "signal": …, …}')
            return
        missing = [name for name in _NAMED if found.get(name) is None]
        if not missing and not {"value", "x", "n"} & found.keys():
            missing = ["value"]
        for name in missing:
            self._complain(number, 1, "", f"has no `{name}`", "A value that is empty is written as null")
        if missing:
            return
        try:
            self._row(number, *(found.get(name) for name in _FIELDS))
        except _Bad as bad:
            self._complain(number, _key(line, bad.where), bad.where, bad.message, bad.remedy)

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _row(self, line: int, time: Raw, deployment: Raw, signal: Raw, value: Raw, x: Raw, n: Raw) -> None:
        at = self._times.get(time) if isinstance(time, str) else None
        if at is None:
            at = self._time(time)
        if not isinstance(deployment, str) or not isinstance(signal, str):
            raise self._stranger(deployment, signal, not isinstance(deployment, str))
        column = self._columns.get((deployment, signal)) or self._column(deployment, signal)
        one = NOTHING if value == "" else _number("value", value)
        events = NOTHING if x == "" else _number("x", x)
        trials = NOTHING if n == "" else _number("n", n)
        if events < 0 or trials < 0:
            raise _Bad("x" if events < 0 else "n", "counts, and is below zero", "Write how many there were")
        gauge, counts = one != NOTHING, events != NOTHING or trials != NOTHING
        if gauge and counts:
            raise _Bad("value", "stands beside x and n", "Keep the value, or x with n")
        if (gauge or counts) and not self._fits(signal, counts, line):
            return
        times = column.times
        if times and at <= times[-1]:
            column.ordered = False
        times.append(at)
        column.lines.append(line)
        column.values.append(events if counts else one)
        if counts or column.n:
            if len(column.n) < len(times) - 1:  # rows before the first that counts were empty
                column.n.extend([NOTHING] * (len(times) - 1 - len(column.n)))
            column.n.append(trials)
        self._at.add(at)
        self.samples.rows += 1

    def _column(self, deployment: str, signal: str) -> Column:
        """The column of these words. Raises _Bad where the policy knows none of them."""
        owner = self._deployments.get(deployment)
        if owner is None or signal not in self._signals:
            raise self._stranger(deployment, signal, owner is None)
        column = self.samples.columns.setdefault((owner, signal), Column())
        self._columns[deployment, signal] = column
        return column

    def _time(self, raw: Raw) -> float:
        try:
            if isinstance(raw, str):
                at = moment(raw)
                if len(self._times) > 100_000:
                    self._times.clear()
                self._times[raw] = at
                return at
            if isinstance(raw, (int, float)) and not isinstance(raw, bool):
                return unix(float(raw))
        except NotATime as error:
            raise _Bad("time", f"{_shown(raw)} {error.message}", error.remedy) from None
        raise _Bad("time", f"{_shown(raw)} is not a time", "Write it as 2026-11-20T09:00:00Z, or in Unix seconds")

    def _stranger(self, deployment: Raw, signal: Raw, unknown: bool) -> _Bad:
        if unknown:
            near = get_close_matches(str(deployment), self._deployments, 1, 0.6)
            bare = sorted({str(each) for each in self._deployments.values() if each.name == deployment})
            if len(bare) > 1:
                return _Bad("deployment", f"{_shown(deployment)} is in more than one environment", f"Write {bare[0]}")
            remedy = f"Did you mean {near[0]}" if near else "Take its rows out, or add it to the policy"
            return _Bad("deployment", f"the policy has no deployment {_shown(deployment)}", remedy)
        near = get_close_matches(str(signal), list(self._signals), 1, 0.6)
        return _Bad("signal", f"the policy has no signal {_shown(signal)}",
                    f"Did you mean {near[0]}" if near else f"It has {', '.join(list(self._signals)[:12])}")  # fmt: skip

    def _fits(self, signal: str, counts: bool, line: int) -> bool:
        """Does a row give its signal as the rows before do. Raises _Bad at the first that does not, or that gives a
        value where trials are counted."""
        shape = self._shapes.setdefault(signal, (counts, line))
        if signal in self._refused:
            return False
        if shape[0] != counts:
            self._refused.add(signal)
            here, there = ("x and n", "a value") if counts else ("a value", "x and n")
            what = f"{signal} is given as {here} here and as {there} on line {shape[1]}"
            raise _Bad("x" if counts else "value", what, "Give one signal in one way")
        if counts:
            if signal in IMPACT_SIGNALS and signal not in self._counted:
                self._refused.add(signal)
                raise _Bad("x", f"{signal} is one number", "Write it as `value`")
            self.samples.counts.add(signal)
        elif signal in self._counted:
            self._refused.add(signal)
            raise _Bad("value", f"{signal} {self._counted[signal]}: a value alone does not say how many there were",
                       "Give `x` (events) and `n` (trials)")  # fmt: skip
        return True

    # -- the end ------------------------------------------------------------------------------------------------------

    def _complain(self, line: int, column: int, path: str, message: str, remedy: str) -> None:
        if len(self._problems) >= MOST_PROBLEMS:
            self._full = True
            what = f"more is wrong: reading stopped after {MOST_PROBLEMS} problems"
            self._problems.append(Problem(self._file, line, column, "", what, "Mend those above first"))
            return
        self._problems.append(Problem(self._file, line, column, path, message, remedy))

    def _order(self, column: Column) -> None:
        """Put a column's rows in the order of time, and complain of those that say the same twice."""
        order = sorted(range(len(column.times)), key=column.times.__getitem__)
        for name in ("times", "values", "n", "lines"):
            old = getattr(column, name)
            if old:
                setattr(column, name, array(old.typecode, (old[index] for index in order)))
        for index in range(1, len(order)):
            if column.times[index] == column.times[index - 1] and not self._full:
                first, second = sorted(column.lines[index - 1 : index + 1])
                self._complain(second, 1, "", f"this time, deployment and signal stand on line {first} already",
                               "Keep one of the two")  # fmt: skip

    def done(self) -> Samples:
        for column in self.samples.columns.values():
            if not column.ordered and not self._full:
                self._order(column)
        if not self._problems and not self.samples.rows:
            self._complain(1, 1, "", "holds no rows", _HEADER)
        if self._problems:
            raise FileProblems(tuple(sorted(self._problems, key=lambda each: (each.line, each.column))))
        for column in self.samples.columns.values():
            column.lines = array("I")
        self.samples.times = tuple(sorted(self._at))
        return self.samples


def _number(where: str, raw: Raw) -> float:
    """A field's number; NOTHING where it is empty, NaN where it is not a number. Raises _Bad for other text."""
    if raw is None or raw == "":
        return NOTHING
    if isinstance(raw, str):
        if len(raw) < 16 and raw.isascii() and raw.isdigit():
            return float(raw)  # most counts
        if _NUMBER.fullmatch(raw):
            raw = float(raw)
        elif raw.lower() in _NOT_NUMBERS:
            return math.nan
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        try:
            number = float(raw)
        except OverflowError:
            return math.nan
        return number if math.isfinite(number) else math.nan
    raise _Bad(where, f"{_shown(raw)} is not a number", "Write digits, NaN for not a number, nothing for no data")


def _shown(raw: Raw) -> str:
    return plain(repr(raw) if isinstance(raw, str) else json.dumps(raw, default=str), 60)


def _split(line: str) -> list[str]:
    """The fields of one line of a CSV with quotes in it."""
    return next(csv.reader([line]), [])


def _place(line: str, field_number: int) -> int:
    """At which column (from 1) the field of that number begins; quotes count as part of it."""
    quoted = False
    for index, char in enumerate(line):
        if field_number == 0:
            return index + 1
        if char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            field_number -= 1
    return len(line) + 1


def _key(line: str, name: str) -> int:
    """At which column (from 1) the value of a key of one line of JSON begins."""
    found = re.search(rf'"{name}"\s*:\s*', line)
    return found.end() + 1 if found is not None else 1

"""Marked incidents: which stretches of which deployments were real, as a YAML or a CSV file has them.

    incidents:
      - {deployment: production/checkout-ranker, from: 2026-11-02T10:00:00Z, to: 2026-11-02T11:30:00Z}

or a CSV whose first line is ``deployment,from,to``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rollback_console.errors import FileProblems, Problem
from rollback_console.model.backtest import Mark
from rollback_console.model.identity import DeploymentId
from rollback_console.model.text import plain
from rollback_console.model.times import NotATime, moment, unix
from rollback_console.policy import yaml_marks
from rollback_console.policy.lint import nearest
from rollback_console.policy.problems import in_order

_KEYS = ("deployment", "from", "to")
_FORM = "Write `incidents:` and below it lines as `- {deployment: …, from: …, to: …}`"
_Place = tuple[int, int, str]  # line, column, path
_Entry = tuple[Mapping[str, Any], Mapping[str, _Place]]  # what stands there, and where


def load_marks(path: Path, deployments: Iterable[DeploymentId]) -> tuple[Mark, ...]:
    """The incidents marked in a file, oldest first. Raises FileProblems with everything wrong in it."""
    data = yaml_marks.read(path, str(path))
    first = data.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    problems: list[Problem] = []
    table = b"," in first and b":" not in first
    entries = _from_csv(data, str(path), problems) if table else _from_yaml(data, str(path), problems)
    known = list(deployments)
    found = []
    for entry, places in entries:
        mark = _mark(entry, places, str(path), known, problems)
        if mark is not None:
            found.append(mark)
    if problems:
        raise FileProblems(tuple(in_order(problems)))
    return tuple(sorted(found, key=lambda mark: (mark.start, mark.deployment)))


def _from_yaml(data: bytes, file: str, problems: list[Problem]) -> Iterator[_Entry]:
    document = yaml_marks.parse(data, file)
    for key in document.data:
        if key not in ("schema", "incidents"):
            line, column = document.of_key((key,))
            problems.append(Problem(file, line, column, plain(key, 60), "is not a key here", _FORM))
    entries = document.data.get("incidents")
    if not isinstance(entries, list):
        problems.append(Problem(file, 1, 1, "incidents", "is missing, or no list", _FORM))
        return
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            problems.append(document.problem(("incidents", index), "is not a mapping", _FORM))
            continue
        for key in entry.keys() - set(_KEYS):
            line, column = document.of_key(("incidents", index, key))
            path = document.path(("incidents", index, key))
            problems.append(Problem(file, line, column, path, "is not a key here", "They are deployment, from and to"))
        places = {}
        for key in _KEYS:
            line, column = document.of_value(("incidents", index, key))
            places[key] = (line, column, f"incidents[{index}].{key}")
        yield entry, places


def _from_csv(data: bytes, file: str, problems: list[Problem]) -> Iterator[_Entry]:
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] | None = None
    try:
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            if header is None:
                header = [name.strip().lower() for name in row]
                missing = [key for key in _KEYS if key not in header]
                if missing:
                    what = f"the header has no column `{missing[0]}`"
                    problems.append(Problem(file, reader.line_num, 1, "", what, "The first line is deployment,from,to"))
                    return
                continue
            if len(row) != len(header):
                what = f"has {len(row)} fields, the header has {len(header)}"
                problems.append(Problem(file, reader.line_num, 1, "", what, "Write one for each column"))
                continue
            places, column = {}, 1
            for name, field in zip(header, row, strict=True):
                places[name] = (reader.line_num, column, name)
                column += len(field) + 1
            yield {name: field.strip() for name, field in zip(header, row, strict=True)}, places
    except csv.Error as error:
        problems.append(Problem(file, reader.line_num, 1, "", f"is not CSV: {plain(error, 100)}", "Close its quotes"))


def _mark(
    entry: Mapping[str, Any], places: Mapping[str, _Place], file: str, known: list[DeploymentId],
    problems: list[Problem],
) -> Mark | None:  # fmt: skip
    before = len(problems)

    def complain(key: str, message: str, remedy: str) -> None:
        line, column, path = places[key]
        problems.append(Problem(file, line, column, path, message, remedy))

    name = entry.get("deployment")
    found = [each for each in known if name in (str(each), each.name)]
    if name is None or name == "":
        complain("deployment", "is missing", "Write `deployment: environment/name`")
    elif len(found) > 1:
        complain("deployment", f"{plain(name, 60)} is in more than one environment", f"Write {found[0]}")
    elif not found:
        remedy = nearest(str(name), [*map(str, known), *(each.name for each in known)], "They")
        complain("deployment", f"the policy has no deployment {plain(name, 60)}", remedy)
    times: dict[str, float] = {}
    for key in ("from", "to"):
        raw = entry.get(key)
        if raw is None or raw == "":
            complain(key, "is missing", f"Write `{key}: 2026-11-20T09:00:00Z`")
            continue
        try:
            number = isinstance(raw, (int, float)) and not isinstance(raw, bool)
            times[key] = unix(float(raw)) if number else moment(str(raw))
        except NotATime as error:
            complain(key, f"{plain(raw, 60)} {error.message}", error.remedy)
    if len(times) == 2 and times["to"] < times["from"]:
        complain("to", "is earlier than `from`", "Turn them round")
    return Mark(found[0], times["from"], times["to"]) if len(problems) == before else None

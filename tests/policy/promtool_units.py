"""Unit tests in promtool's own format, run by the console's engine: each alert imported, the same series, and whether
it has fired for the deployments that the test expects at the time it names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from import_oracle import Data, Lone, Values, all_states, import_each, openmetrics

from rollback_console.policy.import_options import ImportOptions, named_deployment
from rollback_console.policy.promql_words import seconds
from servers.prometheus import Prometheus

_REPEATED = re.compile(r"(_|[-+]?[0-9.eE]+|[-+]?Inf|NaN)(?:([-+][0-9.eE]+))?x([0-9]+)\Z")
_MATCHER = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*["\']([^"\']*)["\']\s*,?')


@dataclass(frozen=True)
class Expected:
    """One assertion: which deployments the alert fires for (their labels' values), at a time in seconds."""

    alert: str
    at: float
    firing: frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Group:
    name: str
    apart: float
    data: Data
    expected: tuple[Expected, ...]


@dataclass(frozen=True)
class UnitTests:
    rules: tuple[Path, ...]
    every: float
    groups: tuple[Group, ...]


def expanded(written: str) -> Values:
    """promtool's notation: `1+2x3` is 1 3 5 7, `1x2` is 1 1 1, `_x2` is two samples that are missing."""
    found: Values = []
    for word in written.split():
        match = _REPEATED.match(word)
        if match is None:
            found.append(None if word == "_" else float(word))
        elif match[1] == "_":
            found.extend([None] * int(match[3]))
        else:
            found.extend(float(match[1]) + k * float(match[2] or 0) for k in range(int(match[3]) + 1))
    return found


def _series(written: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    name, _, rest = written.partition("{")
    labels = dict(_MATCHER.findall(rest.rstrip().removesuffix("}")))
    return name.strip() or labels.pop("__name__"), tuple(sorted(labels.items()))


def read_tests(path: Path, by: tuple[str, ...]) -> UnitTests:
    """Raises ValueError for what back-filling cannot hold (stale markers)."""
    written: dict[str, Any] = yaml.safe_load(path.read_text())
    groups = []
    for number, each in enumerate(written["tests"]):
        data = {_series(one["series"]): expanded(str(one["values"])) for one in each.get("input_series") or ()}
        expected = []
        for one in each.get("alert_rule_test") or ():
            rows = [row.get("exp_labels") or {} for row in one.get("exp_alerts") or ()]
            firing = frozenset(tuple(str(row.get(label, "")) for label in by) for row in rows)
            expected.append(Expected(one["alertname"], seconds(str(one["eval_time"])) or 0.0, firing))
        name = str(each.get("name") or number)
        groups.append(Group(name, seconds(str(each.get("interval") or "1m")) or 60.0, data, tuple(expected)))
    every = seconds(str(written.get("evaluation_interval") or "1m")) or 60.0
    return UnitTests(tuple(path.parent / name for name in written["rule_files"]), every, tuple(groups))


def disagreements(server: Prometheus, tests: UnitTests, group: Group, by: tuple[str, ...]) -> tuple[list[str], int]:
    """What the engine says otherwise, in words, and how many assertions there were. `server` holds the group's data.

    Without `by` there is one deployment, and it has fired where any alert does.
    """
    values = sorted({tuple(dict(labels).get(label, "") for label in by) for _, labels in group.data})
    if by:
        named = tuple(
            named_deployment("-".join(each) + ":" + ",".join(map("=".join, zip(by, each, strict=True))), by)
            for each in values
            if all(each)
        )
        options = ImportOptions(by=by, deployments=named)
    else:
        options = ImportOptions(deployments=(named_deployment("lone", ("deployment",)),))
    wanted = {each.alert for each in group.expected}
    lones = [lone for path in tests.rules for lone in import_each(path.read_bytes(), path.name, options, wanted)[0]]
    end = max((each.at for each in group.expected), default=0.0)
    found = all_states(server.url, lones, tests.every, int(end / tests.every) + 1)
    said = []
    for each in group.expected:
        firing: set[tuple[str, ...]] = set()
        known = False
        for lone, rows in zip(lones, found, strict=True):
            if lone.alert.name == each.alert:
                known = True
                firing |= _fired(lone, rows, int(each.at / tests.every), by)
        expected = set(each.firing) if by else {()} if each.firing else set()
        if not known or firing != expected:
            said.append(f"{group.name}: {each.alert} at {each.at:g} s: {sorted(firing)}, expected {sorted(expected)}")
    return said, len(group.expected)


def _fired(lone: Lone, rows: list[list[str]], index: int, by: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {
        tuple(dict(rule.deployment.labels)[label] for label in by)
        for rule, row in zip(lone.rules, rows, strict=True)
        if row[index] == "firing"
    }


def data_of(group: Group) -> str:
    """The group's series as history to back-fill."""
    return openmetrics(group.data, group.apart)

"""Who rehearsed which scenario and walked which runbook, when and how well; and whose practice is overdue.

Read from the main journal alone: a drill leaves one `drill` entry there, a walk its `walk` and `step` entries. A walk
within a drill stands in the drill's own journal, and in the detail of its one entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rollback_console.errors import ConsoleError
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import DrillSummary, PolicyInForce, StepMarked, WalkEvent
from rollback_console.journal.merged import told
from rollback_console.journal.store import Journal
from rollback_console.model.value import dataclass

QUARTER_S = 91 * 86_400.0
KINDS = ("drill", "walk", "step")


@dataclass(frozen=True, slots=True)
class Drilled:
    """One drill. `at`: Unix seconds; times are seconds from the first fire; `mode`: drill, tutorial or shadow."""

    at: float
    operator: str
    scenario: str
    klass: str
    passed: bool
    mode: str
    decision: str
    acted_s: float | None
    recovered_s: float | None
    steps_skipped: int
    cost: float
    cost_unit: str


@dataclass(frozen=True, slots=True)
class Walked:
    """One passage through a runbook that came to its end or not. `incident`: its id, "" for none; `drill`: the scenario
    that it was walked in, "" for a real one."""

    at: float
    operator: str
    runbook: str
    outcome: str
    done: int
    skipped: int
    took_s: float | None
    incident: str = ""
    drill: str = ""


@dataclass(frozen=True, slots=True)
class Practised:
    """All that a journal knows of practice, oldest first."""

    drills: tuple[Drilled, ...]
    walks: tuple[Walked, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """One person's standing with one thing. `what`: scenario or runbook; `last`: Unix seconds, None for never;
    `over_s`: for how long it has been overdue, negative while it is not; None where it was never practised."""

    operator: str
    what: str
    name: str
    last: float | None
    times: int
    passed: int
    over_s: float | None

    @property
    def overdue(self) -> bool:
        return self.over_s is None or self.over_s > 0.0


def practised(path: Path) -> Practised:
    """All of it in the journal at `path`. Raises `JournalError`, and UsageError where there is no such file."""
    with Journal.open_read_only(path) as journal:
        return gathered(told(journal, KINDS))


def rostered(path: Path) -> tuple[str, ...]:
    """Who is in the roster that the journal recorded last; nobody where it holds none that can be read."""
    from rollback_console.policy.load import parse_roster

    digest = ""
    with Journal.open_read_only(path) as journal:
        for entry in journal.entries(kinds=("policy",)):
            body = entry.parsed()
            if isinstance(body, PolicyInForce) and body.what == "roster":
                digest = body.digest
        data = journal.get_blob(digest) if digest else None
    try:
        return tuple(each.id for each in parse_roster(data, "the recorded roster").roster.operators) if data else ()
    except ConsoleError:
        return ()


def gathered(entries: Iterable[Entry]) -> Practised:
    """The same from entries of the kinds in `KINDS`, in their order."""
    drills: list[Drilled] = []
    walks: dict[str, Walked] = {}
    steps: dict[str, dict[str, str]] = {}
    for entry in entries:
        body = entry.parsed()
        if isinstance(body, DrillSummary):
            drills.append(_drilled(entry, body))
            for number, walk in enumerate(_walks_in(body.detail)):
                walks[f"{entry.seq} {number}"] = _walked_in(entry, body, walk)
        elif isinstance(body, WalkEvent) and body.event == "started":
            walks[body.walk] = Walked(entry.at, entry.operator, body.runbook, "", 0, 0, None, body.incident)
        elif isinstance(body, WalkEvent) and body.walk in walks:
            begun = walks[body.walk]
            marks = list(steps.get(body.walk, {}).values())
            walks[body.walk] = _ended(begun, body.outcome or "ended", marks, entry.at - begun.at)
        elif isinstance(body, StepMarked) and body.walk in walks:
            steps.setdefault(body.walk, {})[body.step] = body.state
            begun = walks[body.walk]
            walks[body.walk] = _ended(begun, begun.outcome, list(steps[body.walk].values()), begun.took_s)
    return Practised(tuple(drills), tuple(sorted(walks.values(), key=lambda walk: walk.at)))


def standing(
    known: Practised, operators: Sequence[str], classes: Sequence[str], runbooks: Sequence[str], now: float,
    every_s: float = QUARTER_S,
) -> Iterator[Due]:  # fmt: skip
    """How everybody stands with each class of incident and each runbook, in the order given; a shadow of a real
    incident is practice in deciding, and counts for its class where it is known."""
    for operator in operators:
        for klass in classes:
            mine = [d for d in known.drills if d.operator == operator and d.klass == klass]
            yield _due(operator, "scenario", klass, [(d.at, d.passed) for d in mine], now, every_s)
        for runbook in runbooks:
            walked = [w for w in known.walks if w.operator == operator and w.runbook == runbook]
            yield _due(operator, "runbook", runbook, [(w.at, not w.skipped) for w in walked], now, every_s)


def _due(
    operator: str, what: str, name: str, found: Sequence[tuple[float, bool]], now: float, every_s: float
) -> Due:  # fmt: skip
    last = max((at for at, _ in found), default=None)
    over = None if last is None else now - last - every_s
    return Due(operator, what, name, last, len(found), sum(well for _, well in found), over)


def _drilled(entry: Entry, body: DrillSummary) -> Drilled:
    detail = body.detail
    return Drilled(
        entry.at, entry.operator or str(detail.get("operator", "")), body.scenario, str(detail.get("klass", "")),
        body.passed, str(detail.get("mode", "drill")), str(detail.get("decision", "")), _number(detail, "acted_s"),
        _number(detail, "recovered_s"), int(_number(detail, "steps_skipped") or 0), _number(detail, "cost") or 0.0,
        str(detail.get("cost_unit", "")),
    )  # fmt: skip


def _number(detail: Mapping[str, Any], key: str) -> float | None:
    value = detail.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _walks_in(detail: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = detail.get("walks", [])
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _walked_in(entry: Entry, body: DrillSummary, walk: Mapping[str, Any]) -> Walked:
    done, skipped = int(_number(walk, "done") or 0), int(_number(walk, "skipped") or 0)
    return Walked(
        entry.at, entry.operator, str(walk.get("runbook", "")), str(walk.get("outcome", "")), done, skipped,
        _number(walk, "took_s"), drill=body.scenario,
    )  # fmt: skip


def _ended(walk: Walked, outcome: str, marks: Sequence[str], took_s: float | None) -> Walked:
    return Walked(
        walk.at, walk.operator, walk.runbook, outcome, marks.count("done"), marks.count("skipped"), took_s,
        walk.incident, walk.drill,
    )  # fmt: skip

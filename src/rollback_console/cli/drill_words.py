"""Drills in words and in JSON: one of them, many of them, and what many say together."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rollback_console.cli.sheets import Cell, Column, Sheet
from rollback_console.model.text import duration, number
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.cli.drill_jobs import Played
    from rollback_console.rehearse.montecarlo import Bounded, Outcome, Share
    from rollback_console.rehearse.score import DrillResult

NO_PATH = "no rollback"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A scenario that was not played, and why."""

    name: str
    klass: str
    why: str


# -- one drill --------------------------------------------------------------------------------------------------------


def drill_lines(result: DrillResult, journal: str) -> Iterator[str]:
    """A drill's score for a person."""
    yield f"{'PASSED' if result.passed else 'FAILED'}: {result.scenario} by {result.operator}, seed {result.seed}"
    yield f"decision: {result.decision}; {result.steps_done} steps done, {result.steps_skipped} skipped"
    for word, seconds, wrongly in (
        ("noticed", result.noticed_s, result.noticed_wrongly_s),
        ("decided", result.decided_s, result.decided_wrongly_s),
        ("authorized", result.authorized_s, None),
        ("acted", result.acted_s, result.acted_wrongly_s),
        ("recovered", result.recovered_s, None),
    ):
        yield f"{word:<10} {_when(word, seconds, wrongly)}"
    if result.cost_unit:
        cost, before = number(result.cost, result.cost_unit), number(result.unavoidable, result.cost_unit)
        yield f"{'cost':<10} {cost}, {before} of it before the trigger fired"
    yield from (f"wrong: {each}" for each in (*result.wrong_turns, *result.failed_because))
    yield from (f"refused: {each}" for each in result.refused)
    yield f"journal: {journal}"


def _when(word: str, seconds: float | None, wrongly: float | None) -> str:
    """When the operator did it to what had to be rolled back, and when to what had not."""
    right = f"{duration(seconds)} after the trigger fired" if seconds is not None else ""
    wrong = f"{word} wrongly after {duration(wrongly)}" if wrongly is not None else ""
    if right or not wrong:
        return "; ".join(filter(None, (right, wrong))) or "never"
    return f"{wrong}; what had to be rolled back, never"


def why_failed(result: DrillResult) -> str:
    """Why a drill did not pass, in a line."""
    return "; ".join((*result.wrong_turns, *result.failed_because)) or f"the decision was {result.decision}"


# -- several scenarios, a drill each ----------------------------------------------------------------------------------


def drills_sheet(played: Sequence[Played], skipped: Sequence[Skipped]) -> Sheet:
    """A row a scenario."""
    columns = (
        Column("scenario", "scenario"),
        Column("result", "result"),
        Column("decision", "decision"),
        Column("noticed", "noticed", ">"),
        Column("acted", "acted", ">"),
        Column("recovered", "recovered", ">"),
        Column("cost", "cost", ">"),
    )
    rows: list[tuple[Cell, ...]] = []
    for each in played:
        result = each.result
        if result is not None:
            times = [_clock(s) for s in (result.noticed_s, result.acted_s, result.recovered_s)]
            cost = number(result.cost, result.cost_unit) if result.cost_unit else "-"
            rows.append((result.scenario, "passed" if result.passed else "FAILED", result.decision, *times, cost))
    notes = [f"not played: {each.name} ({each.why})" for each in skipped]
    return Sheet("drills", "Drills", columns, tuple(rows), tuple(notes))


def failure_lines(played: Sequence[Played]) -> Iterator[str]:
    """What failed, why, and where its journal is."""
    for each in played:
        if each.problem:
            yield f"could not be played: {each.problem}"
        elif (result := each.result) is not None and not result.passed:
            yield f"FAILED {result.scenario} by {result.operator}, seed {result.seed}: {why_failed(result)}"
            if each.journal:
                yield f"  journal: {each.journal}"


def drill_facts(each: Played) -> dict[str, Any]:
    """One drill as JSON has it."""
    if each.result is None:
        return {"problem": each.problem}
    return each.result.detail() | {"journal": each.journal or None}


# -- many runs of each ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Many:
    """The runs of one scenario by one operator. `passed`: of the score; `outcomes`: by recovery path."""

    scenario: str
    klass: str
    operator: str
    seeds: str
    passed: Share
    outcomes: tuple[Outcome, ...]
    played: tuple[Played, ...]

    @property
    def reasons(self) -> tuple[tuple[str, int, int], ...]:
        """Why runs did not pass: (reason, how many, the first seed), the most frequent first. Numbers in a reason are
        left out, so that the same reason is one."""
        counted: Counter[str] = Counter()
        first: dict[str, int] = {}
        for each in self.played:
            if each.result is not None and not each.result.passed:
                for reason in (*each.result.wrong_turns, *each.result.failed_because):
                    word = reason.split(" after ")[0] if " after " in reason else reason
                    counted[word] += 1
                    first.setdefault(word, each.result.seed)
        return tuple((word, count, first[word]) for word, count in counted.most_common(8))


def runs_sheet(many: Sequence[Many], skipped: Sequence[Skipped]) -> Sheet:
    """A row a scenario and recovery path."""
    columns = (
        Column("scenario", "scenario"),
        Column("path", "path taken"),
        *_OUTCOME_COLUMNS,
    )
    rows = [(each.scenario, o.path or NO_PATH, *outcome_cells(o)) for each in many for o in each.outcomes]
    notes = [_TOLD]
    for each in many:
        if each.passed.held < each.passed.runs:
            notes.append(f"{each.scenario}: {each.passed.held} of {each.passed.runs} passed the drill's bands")
        notes += [f"{each.scenario}: {word} ({count}, first with seed {seed})" for word, count, seed in each.reasons]
    notes += [f"not played: {each.name} ({each.why})" for each in skipped]
    return Sheet("scenarios", "Runs by scenario", columns, tuple(rows), tuple(notes))


_OUTCOME_COLUMNS = (
    Column("held", "held", ">"),
    Column("share", "95 %", ">"),
    Column("recover", "recovered", ">"),
    Column("recover_p90", "9 in 10", ">"),
    Column("cost", "cost", ">"),
)


_TOLD = (
    "recovered, cost: medians; in brackets and for the share that held: 95 % intervals, ? where the runs are too few"
)


def outcomes_sheet(found: Sequence[Outcome], *, numbers: bool = False) -> Sheet:
    """A row a class of incident and recovery path; `numbers`: plain ones, for a spreadsheet."""
    if numbers:
        facts = [_flat(outcome_facts(each)) for each in found]
        keys = facts[0] if facts else {"class": "", "path": ""}
        columns = tuple(Column(key, key) for key in keys)
        return Sheet("outcomes", "What recovery paths came to", columns, tuple(tuple(row.values()) for row in facts))
    columns = (Column("class", "incident"), Column("path", "path taken"), *_OUTCOME_COLUMNS)
    rows = [(each.klass, each.path or NO_PATH, *outcome_cells(each)) for each in found]
    return Sheet("outcomes", "What recovery paths came to", columns, tuple(rows), (_TOLD,) if rows else ())


def _flat(facts: dict[str, Any]) -> dict[str, Cell]:
    """Intervals as three cells: `cost_median`, `cost_median_low`, `cost_median_high`."""
    out: dict[str, Cell] = {}
    for key, value in facts.items():
        if key in ("recover_median_s", "recover_p90_s", "cost_median", "cost_p90"):
            bounds = value or {}
            out |= {key: bounds.get("value"), f"{key}_low": bounds.get("low"), f"{key}_high": bounds.get("high")}
        else:
            out[key] = value
    return out


def outcome_cells(outcome: Outcome) -> tuple[Cell, ...]:
    """An outcome's cells for a person, intervals in brackets."""
    share, slow, unit = outcome.success, outcome.recover_p90, outcome.cost_unit
    return (
        f"{share.held} of {share.runs}",
        f"{math.floor(100 * share.low)}-{math.ceil(100 * share.high)} %",  # never narrower than it is
        _bounded(outcome.recover_median, duration),
        "-" if slow is None else "never" if math.isinf(slow.value) else duration(slow.value),
        f"{_bounded(outcome.cost_median, number)} {unit}".rstrip(),
    )


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """An outcome as JSON has it: full precision. A null value is "never", a null bound one that so few runs cannot
    give."""
    share = outcome.success
    return {
        "class": outcome.klass,
        "path": outcome.path,
        "runs": share.runs,
        "held": share.held,
        "share": share.share,
        "share_low": share.low,
        "share_high": share.high,
        "recover_median_s": _bounds(outcome.recover_median),
        "recover_p90_s": _bounds(outcome.recover_p90),
        "cost_median": _bounds(outcome.cost_median),
        "cost_p90": _bounds(outcome.cost_p90),
        "cost_unit": outcome.cost_unit,
    }


def many_facts(each: Many) -> dict[str, Any]:
    """A scenario's runs as JSON has them."""
    return {
        "scenario": each.scenario,
        "class": each.klass,
        "operator": each.operator,
        "seeds": each.seeds,
        "passed": each.passed.held,
        "runs": each.passed.runs,
        "outcomes": [outcome_facts(outcome) for outcome in each.outcomes],
        "failed": [{"reason": word, "runs": count, "first_seed": seed} for word, count, seed in each.reasons],
        "drills": [drill_facts(played) for played in each.played],
    }


def _bounds(found: Bounded | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {name: _finite(getattr(found, name)) for name in ("value", "low", "high")}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _bounded(found: Bounded | None, text: Callable[[float], str]) -> str:
    """`4:00 (3:30..5:15)`; a bound that cannot be told is a question mark, a quantile among the unrecovered `never`."""
    if found is None:
        return "-"
    if math.isinf(found.value):
        return "never"
    low, high = (text(value) if math.isfinite(value) else "?" for value in (found.low, found.high))
    return f"{text(found.value)} ({low}..{high})"


def _clock(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)

"""`rollback-console report practice`: who rehearsed and walked what, when, how well; what is overdue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from rollback_console.cli.common import config_option, find_config, find_journal, journal_option
from rollback_console.cli.report_reading import format_option, length_of
from rollback_console.cli.sheets import Cell, Column, Sheet, show

if TYPE_CHECKING:
    from rollback_console.review.practice import Drilled, Due, Practised, Walked

_T = TypeVar("_T")


@click.command("practice", epilog="Example: rollback-console report practice --every 60d --format md")
@click.option("--every", default="91d", show_default=True, metavar="D", help="Practice older than this is overdue.")
@click.option("--operator", metavar="NAME", help="Of one person alone.")
@config_option
@journal_option
@format_option
def command(
    every: str, operator: str | None, config: Path | None, journal: Path | None, form: str, as_json: bool
) -> None:  # fmt: skip
    """Who rehearsed which scenario and walked which runbook, when, how well; what is overdue.

    Everybody in the roster is asked for each class of incident that comes with the console, and each runbook at hand.
    """
    from rollback_console.review.practice import practised, standing

    every_s = length_of("--every", every)
    path = find_journal(journal, config)
    known = practised(path)
    people = [operator] if operator is not None else _people(config, path, known)
    due = list(standing(known, people, _classes(), _runbooks(config), time.time(), every_s))
    drills = [d for d in known.drills if operator in (None, d.operator)]
    walks = [w for w in known.walks if operator in (None, w.operator)]
    show([_overdue(due, every), _drills(drills), _walks(walks)], "json" if as_json else form)


def _people(config: Path | None, path: Path, known: Practised) -> list[str]:
    """The operators of the settings' roster, else of the last that the journal recorded, else whoever practised."""
    from rollback_console.cli.identity import roster_of
    from rollback_console.review.practice import rostered

    ours = [each.id for each in roster_of(config).operators] if find_config(config) is not None else []
    return (
        ours
        or list(rostered(path))
        or sorted({d.operator for d in known.drills} | {w.operator for w in known.walks} - {""})
    )


def _classes() -> list[str]:
    from rollback_console.rehearse.scenario import shipped

    return list(dict.fromkeys(listed.klass for listed in shipped()))


def _runbooks(config: Path | None) -> list[str]:
    from rollback_console.cli.runbook import library_of

    return [runbook.name for runbook in library_of(config).all()]


def _overdue(due: Sequence[Due], every: str) -> Sheet:
    late = [each for each in due if each.overdue]
    rows = [
        (each.operator, each.what, each.name, _day(each.last) or "never", each.times, each.passed, _days(each.over_s))
        for each in sorted(late, key=lambda d: (d.operator, d.over_s is not None, -(d.over_s or 0.0), d.what, d.name))
    ]
    notes = (f"{len(due) - len(late)} of {len(due)} are not overdue; due every {every}",)
    return Sheet("overdue", "Practice that is overdue", (
        Column("operator", "operator"), Column("what", "what"), Column("name", "class or runbook"),
        Column("last", "last"), Column("times", "times", ">"), Column("well", "well", ">"),
        Column("days", "days over", ">", 0),
    ), tuple(rows), notes)  # fmt: skip


def _drills(drills: Sequence[Drilled]) -> Sheet:
    rows = list(_grouped(drills, lambda d: (d.operator, d.scenario), _drill_row))
    return Sheet("drills", "Drills", (
        Column("operator", "operator"), Column("scenario", "scenario"), Column("class", "class"),
        Column("times", "times", ">"), Column("passed", "passed", ">"), Column("last", "last"),
        Column("last_passed", "passed then"), Column("last_acted_s", "acted after s", ">", 0),
        Column("best_acted_s", "best s", ">", 0), Column("last_cost", "cost then", ">", 0), Column("unit", "unit"),
    ), tuple(rows), ("no rate, baseline or history counts a drill",))  # fmt: skip


def _drill_row(found: Sequence[Drilled]) -> tuple[Cell, ...]:
    last = found[-1]
    best = min((d.acted_s for d in found if d.acted_s is not None and d.passed), default=None)
    return (
        last.operator, last.scenario, last.klass, len(found), sum(d.passed for d in found), _day(last.at), last.passed,
        last.acted_s, best, last.cost, last.cost_unit,
    )  # fmt: skip


def _walks(walks: Sequence[Walked]) -> Sheet:
    rows = list(_grouped(walks, lambda w: (w.operator, w.runbook), _walk_row))
    return Sheet("walks", "Runbooks walked", (
        Column("operator", "operator"), Column("runbook", "runbook"), Column("times", "times", ">"),
        Column("in_drills", "in drills", ">"), Column("last", "last"), Column("done", "steps done", ">"),
        Column("skipped", "skipped", ">"), Column("took_s", "took s", ">", 0),
    ), tuple(rows))  # fmt: skip


def _walk_row(found: Sequence[Walked]) -> tuple[Cell, ...]:
    last = found[-1]
    in_drills = sum(bool(w.drill) for w in found)
    return (
        last.operator, last.runbook, len(found), in_drills, _day(last.at), last.done, last.skipped, last.took_s,
    )  # fmt: skip


def _grouped(
    found: Sequence[_T], key: Callable[[_T], tuple[str, str]], row: Callable[[Sequence[_T]], tuple[Cell, ...]]
) -> Iterator[tuple[Cell, ...]]:
    groups: dict[tuple[str, str], list[_T]] = {}
    for each in found:
        groups.setdefault(key(each), []).append(each)
    for name in sorted(groups):
        yield row(groups[name])


def _day(at: float | None) -> str:
    from rollback_console.cli.common import rfc3339

    return (rfc3339(at) or "")[:10]


def _days(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / 86_400.0

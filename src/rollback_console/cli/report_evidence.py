"""`rollback-console report evidence`: what drills have measured of each recovery path, and what of it is stale."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json
from rollback_console.cli.report_reading import format_option
from rollback_console.cli.sheets import Cell, Column, Sheet, show

if TYPE_CHECKING:
    from rollback_console.rehearse.library import Result


@click.command("evidence", epilog="Example: rollback-console report evidence --format md")
@click.option(
    "--library",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The evidence library (else beside the settings, else the data folder).",
)
@config_option
@format_option
def command(library: Path | None, form: str, config: Path | None, as_json: bool) -> None:  # fmt: skip
    """What drills have measured of each recovery path: success, time and cost to recover, with 95 % intervals.

    Only results of today's scenarios, policies and engine count; what is stale is listed, with the command that plays
    it again.
    """
    from rollback_console.cli.drill_library import again, checker, library_path
    from rollback_console.cli.drill_words import outcomes_sheet
    from rollback_console.rehearse.library import by_path, load

    path = library_path(library, config)
    results = load(path).results
    check = checker(path)
    why = [check(result) for result in results]
    current = [result for result, stale in zip(results, why, strict=True) if not stale]
    commands = list(
        dict.fromkeys(again(result, path) for result, stale in zip(results, why, strict=True) if stale)
    )  # fmt: skip
    if as_json or form == "json":
        emit_json(_document(path, results, why, commands))
        return
    notes = ["held: nothing else was rolled back, and what had to be recovered on its own signals"]
    notes += [f"stale, play it again: {each}" for each in commands]
    if not results:
        notes.append("nothing was measured yet: rollback-console rehearse --headless --all --runs 100")
    outcomes = outcomes_sheet(by_path(current), numbers=form == "csv")
    show([outcomes, _library_sheet(path, results, why, notes)], form)


def _library_sheet(path: Path, results: Sequence[Result], why: Sequence[str], notes: Sequence[str]) -> Sheet:
    columns = (
        Column("scenario", "scenario"),
        Column("class", "incident"),
        Column("operator", "operator"),
        Column("runs", "runs", ">"),
        Column("seeds", "seeds", ">"),
        Column("policy", "policy"),
        Column("engine", "engine"),
        Column("program", "program"),
        Column("state", "state"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            result.scenario, result.klass, result.operator, len(result.runs), result.seeds,
            result.policy_file or result.policy_digest[:8], result.engine, result.program, stale or "current",
        )
        for result, stale in zip(results, why, strict=True)
    ]  # fmt: skip
    return Sheet("library", f"Evidence library {path}", columns, tuple(rows), tuple(notes))


def _document(path: Path, results: Sequence[Result], why: Sequence[str], commands: Sequence[str]) -> dict[str, object]:
    from rollback_console.cli.drill_words import outcome_facts
    from rollback_console.rehearse.library import by_path

    current = [result for result, stale in zip(results, why, strict=True) if not stale]
    return {
        "library": str(path),
        "outcomes": [outcome_facts(outcome) for outcome in by_path(current)],
        "results": [
            {
                "scenario": result.scenario,
                "class": result.klass,
                "operator": result.operator,
                "runs": len(result.runs),
                "seeds": result.seeds,
                "scenario_digest": result.scenario_digest,
                "policy_digest": result.policy_digest,
                "policy_file": result.policy_file or None,
                "engine": result.engine,
                "program": result.program,
                "stale": stale or None,
                "outcomes": [outcome_facts(outcome) for outcome in by_path([result])],
            }
            for result, stale in zip(results, why, strict=True)
        ],
        "refresh": list(commands),
    }

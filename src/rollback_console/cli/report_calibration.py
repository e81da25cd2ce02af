"""`rollback-console report calibration`: what was foretold against what came, and how margins did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option
from rollback_console.cli.report_reading import (
    day,
    exit_code,
    format_option,
    journals_option,
    moment_of,
    print_sheets,
    read,
    sheet_option,
    sources_sheet,
)
from rollback_console.cli.sheets import Cell, Column, Sheet

if TYPE_CHECKING:
    from rollback_console.review.calibration import Agreement, Calibration


@click.command("calibration", epilog="Example: rollback-console report calibration --from 180d --format md")
@click.option("--from", "start", metavar="T", help="From then on: 2026-09-01, RFC 3339, or 180d ago (default: all).")
@click.option("--to", "end", metavar="T", help="Up to then, not included.")
@journals_option
@config_option
@format_option
@sheet_option
@click.pass_context
def command(
    ctx: click.Context, start: str | None, end: str | None, journals: tuple[Path, ...], config: Path | None, form: str,
    as_json: bool, only: tuple[str, ...],
) -> None:  # fmt: skip
    """Losses, waiting and recovery times as foretold at each fire, against what came; margins against judgements.

    Says where there is too little to tell. Needs no backend and no configuration.
    """
    from rollback_console.review.calibration import calibration
    from rollback_console.review.rates import Window

    past = read(journals, config)
    found = calibration(past, Window(moment_of("--from", start), moment_of("--to", end)))
    print_sheets((*_sheets(found), sources_sheet(past)), form, as_json, only)
    ctx.exit(exit_code(past))


def _sheets(found: Calibration) -> tuple[Sheet, ...]:
    return (_agreements(found), _margins(found), _fires(found), _misses(found))


def _agreements(found: Calibration) -> Sheet:
    columns = (
        Column("what", "foretold"), Column("pairs", "pairs", ">"), Column("median", "came / foretold", ">", 2),
        Column("low", "from", ">", 2), Column("high", "to", ">", 2), Column("near", "within 2x", ">"),
        Column("without", "unknown", ">"), Column("words", "says"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (a.what, a.pairs, a.median, a.low, a.high, a.near, a.without, _words(a)) for a in found.agreements
    ]
    notes = (
        "1 is what was foretold, 2 twice as much; the time to recover is foretold by drills, where advice had any",
        "unknown: not priced, nothing lost, over within a minute, or nothing was foretold",
    )
    return Sheet("foretold", "Foretold against what came", columns, tuple(rows), notes)


def _words(each: Agreement) -> str:
    if each.median is None:
        return "no data"
    if not each.enough:
        return "too few to tell"
    share = each.near / each.pairs
    leaning = (
        "more came than was said" if each.median > 1.25 else "less came than was said" if each.median < 0.8 else ""
    )
    good = "near" if share >= 0.8 else "rough" if share >= 0.5 else "not to be relied on"
    return f"{good}{'; ' + leaning if leaning else ''}"


def _margins(found: Calibration) -> Sheet:
    columns = (
        Column("beyond", "margin passed by"), Column("fires", "fires", ">"), Column("true", "true", ">"),
        Column("false", "false", ">"), Column("unjudged", "not judged", ">"),
        Column("false_low_pct", "false from %", ">"), Column("false_high_pct", "to %", ">"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = []
    for step in found.steps:
        name = f"{step.low:g}x to {step.high:g}x" if step.high is not None else f"{step.low:g}x and more"
        ends = [None if end is None else 100.0 * end for end in (step.false_low, step.false_high)]
        rows.append((name, step.fires, step.true, step.false, step.fires - step.true - step.false, *ends))
    judged = sum(step.true + step.false for step in found.steps)
    notes = ["false: judged a false alarm; from, to: Wilson's interval, 95 %, of those judged"]
    if judged < 20:
        notes.append(f"{judged} judged fires are too few to say how wide a margin should be")
    if found.margins:
        notes.append("people said of the margins: " + ", ".join(f"{word} {count}" for word, count in found.margins))
    return Sheet("margins", "Fires by how far the margin was passed", columns, tuple(rows), tuple(notes))


def _fires(found: Calibration) -> Sheet:
    columns = (
        Column("entry", "entry", ">"), Column("at", "at (UTC)"), Column("deployment", "deployment"),
        Column("signal", "signal"), Column("beyond", "margins", ">"), Column("judged", "was it"),
        Column("unit", "unit"), Column("rate", "a min. foretold", ">", 0), Column("mean", "came", ">", 0),
        Column("waited", "10 min. came", ">", 0), Column("recovery_foretold_s", "recovery foretold s", ">", 0),
        Column("recovery_s", "took s", ">", 0),
    )  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (f.seq, day(f.at), f.deployment, f.signal or None, f.beyond, f.judged or None, f.unit, f.rate, f.mean, f.waited,
         f.recovery_foretold_s, f.recovery_s)
        for f in found.fires
    )  # fmt: skip
    return Sheet("fires", "Every fire", columns, rows)


def _misses(found: Calibration) -> Sheet:
    columns = (
        Column("entry", "entry", ">"), Column("at", "at (UTC)"), Column("deployment", "deployment"),
        Column("signal", "signal"), Column("beyond", "margins", ">", 2), Column("lasted_s", "lasted s", ">", 0),
    )  # fmt: skip
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (m.seq, day(m.at), m.deployment, m.signal, m.beyond, m.lasted_s) for m in found.misses
    )
    notes = ("began to count and did not fire; as far off as they were when they began",) if rows else ()
    return Sheet("misses", "The closest misses", columns, rows, notes)

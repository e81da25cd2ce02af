"""`rollback-console report history MODEL`: what became of each version, for release notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option
from rollback_console.cli.report_reading import (
    day,
    exit_code,
    format_option,
    journals_option,
    print_sheets,
    read,
    sheet_option,
    sources_sheet,
)
from rollback_console.cli.sheets import Cell, Column, Sheet
from rollback_console.errors import UsageError
from rollback_console.model.text import number, plain, span

if TYPE_CHECKING:
    from rollback_console.review.past_history import Version


@click.command("history", epilog="Example: rollback-console report history checkout-ranker --format md --last 5")
@click.argument("model", metavar="MODEL")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the newest N versions of a deployment.")
@journals_option
@config_option
@format_option
@sheet_option
@click.pass_context
def command(
    ctx: click.Context, model: str, last: int | None, journals: tuple[Path, ...], config: Path | None, form: str,
    as_json: bool, only: tuple[str, ...],
) -> None:  # fmt: skip
    """Each version of a model: when it served and who brought it, its incidents, and why it was rolled back.

    MODEL is a registered model, or a deployment (environment/name). Needs no backend.
    """
    from rollback_console.review.past_history import history, names

    past = read(journals, config)
    found = history(past, model)
    if not found:
        known = names(past)
        if model not in known:
            from difflib import get_close_matches

            near = get_close_matches(model, known, n=3, cutoff=0.5) or known[:8]
            hint = f"it knows {', '.join(plain(name, 80) for name in near)}" if near else "it holds no move at all"
            raise UsageError(f"no journal here tells of {plain(model, 80)}", hint)
    shown = _last(found, last)
    sheets = [_versions(model, shown), _moves(shown), _incidents(shown)]
    print_sheets((*sheets, sources_sheet(past)), form, as_json, only)
    ctx.exit(exit_code(past))


def _last(found: Sequence[Version], last: int | None) -> list[Version]:
    seen: dict[str, int] = {}
    kept = []
    for version in found:
        seen[version.deployment] = seen.get(version.deployment, 0) + 1
        if last is None or seen[version.deployment] <= last:
            kept.append(version)
    return kept


def _versions(model: str, found: Sequence[Version]) -> Sheet:
    columns = (
        Column("deployment", "deployment"), Column("version", "version"), Column("registered", "registered"),
        Column("deployed", "deployed"), Column("by", "by"), Column("served", "served"),
        Column("incidents", "incidents", ">"), Column("rolled_back", "rolled back"), Column("reason", "why"),
        Column("root_cause", "root cause"), Column("judged", "rollback was"), Column("analysis", "analysis"),
    )  # fmt: skip
    rows = tuple(_row(version) for version in found)
    notes = ("times are UTC; > : it served before the journal begins",) if any(v.at_least for v in found) else ()
    return Sheet("versions", f"Versions of {plain(model, 80)}, the newest first", columns, rows, notes)


def _row(version: Version) -> tuple[Cell, ...]:
    first, back = version.first, version.rollbacks
    judged = [move.judgement for move in back if move.judgement is not None]
    causes = dict.fromkeys(each.root_cause for each in judged if each.root_cause)
    if not causes:
        causes = dict.fromkeys(trouble.root_cause for trouble in version.troubles if trouble.root_cause)
    served = f"{'> ' if version.at_least else ''}{_length(version.served_s)}{', serving' if version.serving else ''}"
    return (
        version.deployment, f"v{version.version}", day(version.registered_at), None if first is None else day(first.at),
        first.operator or None if first is not None else None, served, len(version.troubles),
        "; ".join(f"{day(move.at)} to v{move.after}" for move in back) or None,
        "; ".join(dict.fromkeys(move.reason for move in back if move.reason)) or None,
        "; ".join(causes) or None,
        "; ".join(dict.fromkeys(each.right for each in judged if each.right)) or None,
        "; ".join(dict.fromkeys(each.published for each in judged if each.published)) or None,
    )  # fmt: skip


def _length(seconds: float) -> str:
    """To two units: `3d4h`, `2h10m`."""
    size = 3_600 if seconds >= 86_400 else 60 if seconds >= 3_600 else 1
    return span(seconds // size * size)


def _moves(found: Sequence[Version]) -> Sheet:
    from rollback_console.review.past_history import came_by

    columns = (
        Column("entry", "entry", ">"), Column("at", "at (UTC)"), Column("deployment", "deployment"),
        Column("version", "version"), Column("how", "how"), Column("by", "by"), Column("served", "served"),
        Column("why", "why"),
    )  # fmt: skip
    moves = [(s, s.move, v) for v in found for s in v.stints if s.move is not None]
    rows = tuple(
        (move.seq, day(move.at), version.deployment, f"v{version.version}", came_by(move), move.operator or None,
         "serving" if stint.end is None else _length(stint.end - move.at), move.reason or None)
        for stint, move, version in sorted(moves, key=lambda each: (each[1].at, each[1].seq), reverse=True)
    )  # fmt: skip
    return Sheet("moves", "Every move", columns, rows)


def _incidents(found: Sequence[Version]) -> Sheet:
    columns = (
        Column("incident", "incident"), Column("entry", "entry", ">"), Column("began", "began (UTC)"),
        Column("lasted", "lasted"), Column("version", "version"), Column("cost", "cost"),
        Column("root_cause", "root cause"), Column("what", "what"),
    )  # fmt: skip
    every = sorted((t for v in found for t in v.troubles), key=lambda trouble: trouble.onset, reverse=True)
    rows = tuple(
        (t.id, t.seq, day(t.onset), "open" if t.closed_at is None else _length(max(0.0, t.closed_at - t.onset)),
         f"v{t.version}", None if t.cost is None else number(t.cost, t.unit), t.root_cause or None, t.sentence)
        for t in every
    )  # fmt: skip
    return Sheet("incidents", "Incidents while it served", columns, rows)

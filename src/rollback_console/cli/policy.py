"""`rollback-console policy …`: check, explain and describe what people write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback_console.cli.common import emit_json, emit_lines, json_option

if TYPE_CHECKING:
    from rollback_console.errors import Problem

# pydantic is 100 ms: it is imported where a file is read, not for `--help`.


@click.group("policy", epilog="Example: rollback-console policy check policy.yaml settings.yaml roster.yaml")
def command() -> None:
    """Policies, settings and rosters: lint them, read them in prose, give your editor their schemas."""


@command.command("check", epilog="Example: rollback-console policy check policies/*.yaml --json")
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def check_command(ctx: click.Context, files: tuple[Path, ...], as_json: bool) -> None:
    """Say everything that is wrong with each FILE, with its line, its column and the remedy.

    A file's kind is told by its `schema:` key. Only the files named are read. Exit 0 when all are right (warnings
    allowed), 2 when one is not.
    """
    from rollback_console.policy.load import check

    checked = [(path, *check(path)) for path in files]
    if as_json:
        emit_json([_as_json(path, kind, problems) for path, kind, problems in checked])
    else:
        for path, kind, problems in checked:
            emit_lines(_as_lines(path, kind, problems))
    ctx.exit(0 if all(_is_right(problems) for _, _, problems in checked) else 2)


def _is_right(problems: tuple[Problem, ...]) -> bool:
    return not any(problem.severity == "error" for problem in problems)


def _as_json(path: Path, kind: str, problems: tuple[Problem, ...]) -> dict[str, Any]:
    fields = ("line", "column", "path", "severity", "message", "remedy")
    return {
        "file": str(path),
        "kind": kind or None,
        "ok": _is_right(problems),
        "problems": [{field: getattr(problem, field) for field in fields} for problem in problems],
    }


def _as_lines(path: Path, kind: str, problems: tuple[Problem, ...]) -> list[str]:
    lines = [f"{problem}" + (" (warning)" if problem.severity == "warning" else "") for problem in problems]
    errors = sum(problem.severity == "error" for problem in problems)
    others = len(problems) - errors
    if errors:
        lines.append(f"{path}: {errors} error{'s' if errors > 1 else ''}" + (f", {others} warnings" if others else ""))
    else:
        lines.append(f"{path}: {kind} ok" + (f", {others} warning{'s' if others > 1 else ''}" if others else ""))
    return lines


@command.command("schema", epilog="Example: rollback-console policy schema policy > policy.schema.json")
@click.argument("kind", default="policy", type=click.Choice(["policy", "settings", "roster"]))
def schema_command(kind: str) -> None:
    """Print the JSON Schema of one kind of file, for editors."""
    from rollback_console.policy.schema import schema

    emit_json(schema(kind))


@command.command("explain", epilog="Example: rollback-console policy explain policy.yaml")
@click.argument("file", type=click.Path(path_type=Path))
def explain_command(file: Path) -> None:
    """Say in prose what a policy means, with its numbers."""
    from rollback_console.policy.explain import explain
    from rollback_console.policy.load import load_policy

    loaded = load_policy(file)
    emit_lines(explain(loaded))
    if loaded.warnings:
        emit_lines(["", *(str(problem) for problem in loaded.warnings)])

"""`runbook check|list|show`: markdown runbooks, as the console reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, find_config, json_option, warn, write
from rollback_console.errors import InputError
from rollback_console.model.text import plain, plain_block
from rollback_console.model.walk import Runbook, RunbookProblem, RunbookStep
from rollback_console.runbook.library import Library, find, read
from rollback_console.runbook.words import role, shown, title


@click.group(name="runbook", epilog="Example: rollback-console runbook check docs/runbooks --json")
def command() -> None:
    """Check, list and show runbooks."""


@command.command(epilog="Example: rollback-console runbook check runbooks/ oncall.md")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@json_option
def check(paths: tuple[str, ...], as_json: bool) -> None:
    """Parse markdown files, and every *.md below folders; exit 1 if one has an error."""
    checked = [(name, _read(path)) for name, path in _files(paths)]
    if as_json:
        emit_json([_facts(name, runbook) for name, runbook in checked])
    else:
        for name, runbook in checked:
            emit_lines(_report(name, runbook))
    if not checked:
        warn(f"no *.md file was found in {', '.join(paths)}: name a markdown file, or a folder that holds some")
    if any(problem.severity == "error" for _, runbook in checked for problem in runbook.problems):
        click.get_current_context().exit(1)


@command.command(name="list", epilog="Example: rollback-console runbook list --json")
@config_option
@json_option
def list_(config: Path | None, as_json: bool) -> None:
    """The runbooks at hand: the settings' folders, and the shipped ones."""
    runbooks = library_of(config).all()
    if as_json:
        emit_json(
            [
                {"name": runbook.name, "title": runbook.title, "file": runbook.path, "steps": len(runbook.steps)}
                for runbook in runbooks
            ]
        )
        return
    width = max((len(plain(runbook.name, 60)) for runbook in runbooks), default=0)
    emit_lines(
        f"{plain(runbook.name, 60):<{width}}  {_count(len(runbook.steps), 'step'):>9}  {plain(runbook.title, 120)}"
        for runbook in runbooks
    )


@command.command(epilog="Example: rollback-console runbook show model-version-rollback")
@click.argument("name")
@config_option
@json_option
def show(name: str, config: Path | None, as_json: bool) -> None:
    """A runbook, step by step, as plain text. NAME as `runbook list` has it, or a path."""
    runbook = library_of(config).get(name)
    if as_json:
        emit_json(_facts(runbook.path, runbook))
        return
    write(f"{plain(runbook.title, 120)}   ({_count(len(runbook.steps), 'step')}, sha256 {runbook.digest[:12]})")
    for number, step in enumerate(runbook.steps, start=1):
        write("")
        indent = "   " * step.level
        emit_lines([f"{indent}{number}. {step.title}{_about(step)}"])
        for line in _below_title(step):
            write(f"{indent}   {line}".rstrip())
    for problem in runbook.problems:
        warn(f"line {problem.line}: {problem.severity}: {problem.message}")


def _files(paths: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """(as printed, path) of each file named or below a folder named. Raises InputError for what does not exist."""
    for given in paths:
        path = Path(given)
        if path.is_dir():
            for found in find(path):
                yield os.path.join(given, found.relative_to(path)), found
        elif path.exists():
            yield given, path
        else:
            raise InputError(f"{plain(given)} does not exist", "name a markdown file, or a folder that holds some")


def _read(path: Path) -> Runbook:
    """The file as a runbook; one that is not markdown by its name is read all the same, with a warning."""
    runbook = read(path)
    if path.suffix.lower() in (".md", ".markdown"):
        return runbook
    why = "not a markdown file by its name: it is read as if it were, and no folder's runbooks will include it"
    return replace(runbook, problems=(RunbookProblem(1, "warning", why), *runbook.problems))


def library_of(config: Path | None) -> Library:
    """The runbooks in the settings' folders, and the shipped ones."""
    settings = find_config(config)
    if settings is None:
        return Library()
    from rollback_console.policy.load import load_settings

    return Library(load_settings(settings).runbook_paths)


def _facts(name: str, runbook: Runbook) -> dict[str, object]:
    """The JSON that command-line users rely on; names may be added, none renamed."""
    return {
        "file": name,
        "title": runbook.title,
        "steps": [
            {
                "id": step.id,
                "title": step.title,
                "line": step.line,
                "level": step.level,
                "kind": step.kind.value,
                "commands": list(step.commands),
                "checks": list(step.checks),
                "act": step.act,
                "role": step.role,
            }
            for step in runbook.steps
        ],
        "problems": [
            {"line": problem.line, "severity": problem.severity, "message": problem.message}
            for problem in runbook.problems
        ],
    }


def _report(name: str, runbook: Runbook) -> Iterator[str]:
    errors = sum(problem.severity == "error" for problem in runbook.problems)
    warnings = len(runbook.problems) - errors
    counts = [_count(count, word) for count, word in ((errors, "error"), (warnings, "warning")) if count]
    head = ", ".join([_count(len(runbook.steps), "step"), *counts])
    yield f"{'✗' if errors else '●'} {name}: {plain(runbook.title, 120)}: {head}"
    for number, step in enumerate(runbook.steps, start=1):
        yield f"  {'   ' * step.level}{number}. {plain(step.title, 160)}{_about(step)}"
    for problem in runbook.problems:
        yield f"  {name}:{problem.line}: {problem.severity}: {problem.message}"


def _count(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _below_title(step: RunbookStep) -> list[str]:
    """The step's own text, without the first line where it only repeats the title."""
    lines = plain_block(step.body).split("\n")
    if title(role(shown(lines[0]))[0]) == step.title:
        lines = lines[2:] if len(lines) > 1 and not lines[1].strip() else lines[1:]
    return [line for line in lines if line or len(lines) > 1]


def _about(step: RunbookStep) -> str:
    """What kind of step it is, in words."""
    words = [f"act: {step.act}"] if step.act else []
    words += [f"role: {step.role}"] if step.role else []
    words += [_count(len(step.checks), "check")] if step.checks else []
    return f"   [{', '.join(words)}]" if words else ""

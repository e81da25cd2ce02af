"""`rollback-console policy …`: check, explain, describe and compare what people write; import what they have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback_console.cli.common import emit_json, emit_lines, json_option, warn, write
from rollback_console.errors import UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rollback_console.errors import Problem
    from rollback_console.model.rules import DeploymentRule
    from rollback_console.policy.importing import Imported

# pydantic is 100 ms: it is imported where a file is read, not for `--help`.


@click.group("policy", epilog="Example: rollback-console policy check policy.yaml settings.yaml roster.yaml")
def command() -> None:
    """Policies, settings, rosters, scenarios: lint, read in prose, compare; import Prometheus' rules."""


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
@click.argument("kind", default="policy", type=click.Choice(["policy", "settings", "roster", "scenario", "operator"]))
def schema_command(kind: str) -> None:
    """Print the JSON Schema of one kind of file, for editors."""
    from rollback_console.policy.schema import schema

    emit_json(schema(kind))


@command.command("explain", epilog="Example: rollback-console policy explain policy.yaml --traffic 2000 --rate 3%")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--traffic",
    multiple=True,
    metavar="[NAME=]N",
    help="Trials a minute, of all deployments or of one (any number of times): say what could be found with them.",
)
@click.option("--rate", metavar="P%", help="The share of the trials that are events while all is well (3%).")
@click.option(
    "--journal",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A journal: say what the modes above would have done in its last 28 days.",
)
def explain_command(file: Path, traffic: tuple[str, ...], rate: str | None, journal: Path | None) -> None:
    """Say in prose what a policy means, with its numbers, and where each of them comes from."""
    from rollback_console.cli.detects import detects_at, parse_rate, parse_traffic
    from rollback_console.policy.explain import explain
    from rollback_console.policy.load import load_policy

    share, trials = parse_rate(rate), parse_traffic(traffic)
    loaded = load_policy(file)
    divided = loaded.rules[0].trigger.false_alarms_a_week is not None
    detects = detects_at(loaded.rules, trials, share) if trials or divided else None
    emit_lines(explain(loaded, detects))
    if not trials and any(signal.evidence is not None for signal in loaded.rules[0].signals):
        emit_lines(["", "With `--traffic 2000 --rate 3%` it says what could be found at that traffic, and how soon."])
    if journal is not None:
        emit_lines(["", "Moving up", *_moving_up(loaded.rules, journal)])
    if loaded.warnings:
        emit_lines(["", *(str(problem) for problem in loaded.warnings)])


def _moving_up(rules: Sequence[DeploymentRule], journal: Path) -> list[str]:
    from rollback_console.cli.moving_up import KINDS, preview_of
    from rollback_console.journal.store import Journal

    with Journal.open_read_only(journal) as reader:
        first, *firings = preview_of(rules, reader.entries(kinds=KINDS)).lines()
    return [first[:1].upper() + first[1:] + ".", *(f"- {each}" for each in firings)]


@command.command(
    "import",
    epilog="Example: rollback-console policy import rules.yml --by deployment --deployment checkout-ranker"
    " --output policy.yaml",
)
@click.argument("rules", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Else to stdout.")
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option(
    "--by", default="deployment", show_default=True, metavar="LABEL[,LABEL]",
    help="The labels by which a series is a deployment.",
)  # fmt: skip
@click.option(
    "--deployment", "deployments", multiple=True, metavar="NAME[:LABEL=VALUE,…]",
    help="A deployment to write into the policy; without any, an example stands there to fill in.",
)  # fmt: skip
@click.option("--alert", "alerts", multiple=True, metavar="NAME", help="Only this alert (may be given several times).")
@click.option("--environment", default="production", show_default=True, help="The deployments' environment.")
@click.option("--alias", default="champion", show_default=True, help="The registry pointer that serving follows.")
@click.option("--name", default="", help="The policy's name (else from the file's).")
@json_option
@click.pass_context
def import_command(
    ctx: click.Context, rules: Path, output: Path | None, force: bool, by: str, deployments: tuple[str, ...],
    alerts: tuple[str, ...], environment: str, alias: str, name: str, as_json: bool,
) -> None:  # fmt: skip
    """Make a policy of Prometheus' alerting rules in RULES, a file of Prometheus' or a PrometheusRule of Kubernetes'.

    What cannot become a policy is refused, and what a policy does otherwise is said, each with its place, on stderr.
    Exit 0 when every alert was imported, 1 when some were refused, 2 when nothing could be imported.
    """
    from rollback_console.policy.import_options import options_of
    from rollback_console.policy.importing import import_rules
    from rollback_console.policy.yaml_marks import read

    options = options_of(by, deployments, environment, alias, alerts, name)
    if output is not None and output.exists() and not force:
        raise UsageError(f"{plain(output, 200)} is there already", "--force overwrites it")
    got = import_rules(read(rules, str(rules)), str(rules), options)
    if output is not None and got.policy:
        _save(output, got.policy)
    if as_json:
        emit_json(_import_as_json(rules, got))
    else:
        if output is None and got.policy:
            write(got.policy.rstrip("\n"))
        for problem in (*got.refused, *got.warnings):
            warn(f"{problem}" + (" (warning)" if problem.severity == "warning" else " (refused)"))
        warn(_import_summary(rules, output, got, example=not deployments))
    ctx.exit((1 if got.refused else 0) if got.policy else 2)


def _save(path: Path, text: str) -> None:
    """Raises UsageError where it cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{plain(path, 200)} cannot be written: {error.strerror}", "Check the folder") from None


def _import_summary(rules: Path, output: Path | None, got: Imported, *, example: bool) -> str:
    alerts = len(got.alerts)
    parts = [f"{rules}: {alerts} alert{'' if alerts == 1 else 's'} imported, {len(got.refused)} refused"]
    if got.recorded:
        parts.append(
            f"{got.recorded} recording rule{'' if got.recorded == 1 else 's'} passed over (Prometheus keeps them)"
        )
    if output is not None and got.policy:
        parts.append(f"written to {output}")
    if example and got.policy:
        parts.append("an example deployment stands in the policy: fill it in, or name yours with --deployment")
    return "; ".join(parts)


def _import_as_json(rules: Path, got: Imported) -> dict[str, Any]:
    fields = ("line", "column", "path", "message", "remedy")
    return {
        "file": str(rules),
        "ok": bool(got.policy) and not got.refused,
        "policy": got.policy or None,
        "imported": [
            {
                "alert": alert.name, "line": alert.line, "when": alert.when, "dwell_s": alert.dwell_s,
                "hold_s": alert.hold_s, "signals": [signal.name for signal in alert.signals], "exact": alert.exact,
            }
            for alert in got.alerts
        ],
        "refused": [{field: getattr(problem, field) for field in fields} for problem in got.refused],
        "warnings": [{field: getattr(problem, field) for field in fields} for problem in got.warnings],
        "recording_rules": got.recorded,
    }  # fmt: skip


@command.command("diff", epilog="Example: rollback-console policy diff policy.yaml policy.new.yaml")
@click.argument("before", metavar="A", type=click.Path(path_type=Path))
@click.argument("after", metavar="B", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def diff_command(ctx: click.Context, before: Path, after: Path, as_json: bool) -> None:
    """Say in words what changes between the policies A and B, and which way.

    What reads differently and means the same is no change. Exit 0 when they mean the same, 1 when they differ, 2 when
    one of them is not right.
    """
    from rollback_console.errors import FileProblems
    from rollback_console.policy.diff import diff
    from rollback_console.policy.load import LoadedPolicy, load_policy

    loaded: list[LoadedPolicy] = []
    problems: list[Problem] = []
    for path in (before, after):
        try:
            loaded.append(load_policy(path))
        except FileProblems as error:
            problems.extend(error.problems)
    if problems:
        raise FileProblems(tuple(problems))
    changes = diff(*loaded)
    if as_json:
        fields = ("where", "before", "after", "effect", "text")
        found = [{field: getattr(change, field) for field in fields} for change in changes]
        emit_json({"a": str(before), "b": str(after), "same": not changes, "changes": found})
    else:
        emit_lines([change.text for change in changes] or ["They mean the same."])
    ctx.exit(1 if changes else 0)

"""`rollback-console rehearse`: a drill on the simulated world, with a screen or headless, one or many."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, journal_option, json_option
from rollback_console.cli.drilling import headless_drill
from rollback_console.errors import UsageError

if TYPE_CHECKING:
    from rollback_console.rehearse.score import DrillResult

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    "rehearse", epilog="Example: rollback-console rehearse demo --headless --operator perfect --seed 7 --json"
)
@click.argument("scenario", required=False)
@click.option("--list", "listing", is_flag=True, help="The scenarios there are.")
@click.option("--answers", is_flag=True, help="Of --list: with what is right in each, which spoils the drill.")
@click.option("--headless", is_flag=True, help="Without a screen; exit 0 passed, 1 failed.")
@click.option(
    "--operator",
    default="perfect",
    metavar="NAME|FILE",
    help="Who plays, headless: perfect, slow, careless, asleep, automatic, or a script.",
)
@click.option("--seed", type=int, default=7, help="Another seed is another day with the same story.")
@click.option("--speed", type=click.FloatRange(0.1, 60), default=1.0, help="How fast the clock runs, with a screen.")
@click.option("--policy", type=_FILE, metavar="FILE", help="Judge by this policy, in place of the scenario's own.")
@click.option("--all", "every", is_flag=True, help="Every scenario that comes with the console.")
@click.option(
    "--runs",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Monte Carlo: so many seeds of each, into the evidence library.",
)
@click.option(
    "--at-least",
    type=click.FloatRange(0, 100),
    default=100.0,
    metavar="PERCENT",
    help="Of --runs, so many are to pass for exit code 0.",
)
@click.option("--refresh", is_flag=True, help="Of --runs, only what the library lacks or what is stale in it.")
@click.option(
    "--library",
    type=_FILE,
    metavar="FILE",
    help="The evidence library (else beside the settings, else the data folder).",
)
@click.option(
    "--keep-failed",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the journals of drills that failed there.",
)
@click.option("--junit", type=_FILE, metavar="FILE", help="Write the results as JUnit XML, for a CI server.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="In so many processes (default: one a core).")
@click.option(
    "--shadow", type=_FILE, metavar="JOURNAL", help="Relive a journal's incident up to the decision, and decide."
)
@click.option("--incident", metavar="ID", help="Which incident of --shadow (default: the newest that was decided).")
@click.option(
    "--real", is_flag=True, help="On a real Prometheus and MLflow (make sandbox's), in the time that it takes."
)
@click.option("--tutorial", is_flag=True, help="For newcomers: says at each step why it is needed, and the key.")
@click.option(
    "--record", is_flag=True, help="Make the main journal where there is none, and keep the drill's line there."
)
@config_option
@journal_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, scenario: str | None, listing: bool, answers: bool, headless: bool, operator: str, seed: int,
    speed: float, policy: Path | None, every: bool, runs: int | None, at_least: float, refresh: bool,
    library: Path | None, keep_failed: Path | None, junit: Path | None, jobs: int | None, real: bool,
    shadow: Path | None, incident: str | None, tutorial: bool, record: bool,
    config: Path | None, journal: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """A drill on the very engine of the live console. Headless: byte-identical journals for a seed.

    SCENARIO is a name of --list, a scenario's file, or (headless) a folder of them.
    """
    if listing:
        _list(as_json, answers)
        return
    if real:
        _real_alone(ctx)
    if not headless:
        _needs_headless(ctx)
        if shadow is not None:
            from rollback_console.cli.shadow import relive

            relive(shadow, incident, speed, config, make=record)
            return
        if incident is not None:
            raise UsageError("--incident goes with --shadow JOURNAL", "leave it away, or name the journal")
        from rollback_console.cli.drill import Wanted, rehearse_live

        wanted = Wanted(scenario, seed, speed, tutorial, journal, config, record)
        if real:
            from rollback_console.cli.real_screen import rehearse_real

            rehearse_real(wanted)
        else:
            rehearse_live(wanted)
        return
    _needs_screen(ctx)
    many = every or runs is not None or junit is not None or (scenario is not None and Path(scenario).is_dir())
    _together(many=many, runs=runs, journal=journal, refresh=refresh, library=library)
    if real:
        from rollback_console.cli.real_drill import real_drill
        from rollback_console.rehearse.scenario import find

        result, path = real_drill(find(scenario or "demo"), operator, seed, journal, policy)
        _report(result, path, as_json)
        ctx.exit(0 if result.passed else 1)
    if many:
        from rollback_console.cli.drill_many import Order, rehearse_many

        named = scenario if scenario is not None or every else "demo"
        ctx.exit(
            rehearse_many(
                Order(
                    named, every, operator, seed, runs, jobs, policy, junit, keep_failed, library, refresh,
                    at_least / 100.0, as_json, config,
                )
            )
        )  # fmt: skip
    ctx.exit(_one(scenario or "demo", operator, seed, journal, policy, as_json))


def _one(name: str, operator: str, seed: int, journal: Path | None, policy: Path | None, as_json: bool) -> int:
    """One drill with its journal; the exit code."""
    from rollback_console.rehearse.scenario import find

    result, path = asyncio.run(headless_drill(find(name), operator, seed, journal, policy))
    _report(result, path, as_json)
    return 0 if result.passed else 1


def _needs_headless(ctx: click.Context) -> None:
    """Raises UsageError for an option that a drill with a screen does not have."""
    from click.core import ParameterSource

    alone = ("every", "runs", "refresh", "library", "keep_failed", "junit", "jobs", "operator", "policy", "at_least")
    for parameter in ctx.command.params:
        given = ctx.get_parameter_source(parameter.name or "")
        if parameter.name in alone and given is ParameterSource.COMMANDLINE:
            raise UsageError(f"{parameter.opts[0]} goes with a drill that nobody watches", "add --headless")


def _real_alone(ctx: click.Context) -> None:
    """Raises UsageError for an option that goes with a simulated world's time alone."""
    from click.core import ParameterSource

    for word in ("speed", "every", "runs", "junit", "jobs", "keep_failed"):
        if ctx.get_parameter_source(word) is ParameterSource.COMMANDLINE:
            raise UsageError(
                f"--{'all' if word == 'every' else word.replace('_', '-')} does not go with --real",
                "real servers take one drill at a time, and the wall's own time",
            )


def _needs_screen(ctx: click.Context) -> None:
    """Raises UsageError for an option that only a drill with a screen has."""
    for word, parameter in (
        ("--tutorial", "tutorial"),
        ("--record", "record"),
        ("--shadow", "shadow"),
        ("--incident", "incident"),
    ):
        if ctx.params[parameter]:
            raise UsageError(f"{word} goes with a drill that somebody plays", "leave --headless away")


def _together(
    *, many: bool, runs: int | None, journal: Path | None, refresh: bool, library: Path | None
) -> None:  # fmt: skip
    """Raises UsageError for options that do not go together."""
    if journal is not None and many:
        raise UsageError(
            "--journal names one drill's journal, and these are many", "--keep-failed DIR keeps failed ones"
        )
    if runs is None:
        for word, given in (("--refresh", refresh), ("--library", library is not None)):
            if given:
                raise UsageError(f"{word} goes with --runs N", "a single drill measures nothing")


def _list(as_json: bool, answers: bool) -> None:
    from rollback_console.rehearse.scenario import shipped

    if as_json:
        emit_json(
            [
                {"name": s.name, "title": s.title, "class": s.klass, "right": s.right, "needs": list(s.needs)}
                for s in shipped()
            ]
        )
        return
    found = shipped()
    width = max(len(s.name) for s in found)
    for s in found:
        lines = [f"{s.name:<{width}}  {s.title}"]
        if s.needs:
            lines.append(f"{'':<{width}}  needs: {', '.join(s.needs)}")
        if answers:
            lines.append(f"{'':<{width}}  right: {s.right}")
        emit_lines(lines)
    emit_lines([] if answers else ["what is right in each spoils the drill: --answers shows it"])


def _report(result: DrillResult, path: Path, as_json: bool) -> None:
    if as_json:
        emit_json(result.detail() | {"journal": str(path)})
        return
    from rollback_console.cli.drill_words import drill_lines

    emit_lines(drill_lines(result, str(path)))

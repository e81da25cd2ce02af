"""`rollback-console rehearse`: a drill on the simulated world, with a screen or headless."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import emit_json, emit_lines, journal_option, json_option
from rollback_console.errors import UsageError
from rollback_console.model.text import duration

if TYPE_CHECKING:
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.score import DrillResult


@click.command(
    "rehearse", epilog="Example: rollback-console rehearse demo --headless --operator perfect --seed 7 --json"
)
@click.argument("scenario", required=False)
@click.option("--list", "listing", is_flag=True, help="The scenarios there are.")
@click.option("--headless", is_flag=True, help="Without a screen; exit 0 passed, 1 failed.")
@click.option("--operator", default="perfect", metavar="NAME", help="Who plays, headless: perfect or careless.")
@click.option("--seed", type=int, default=7, help="Another seed is another day with the same story.")
@click.option("--speed", type=click.FloatRange(0.1, 60), default=1.0, help="How fast the clock runs, with a screen.")
@journal_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, scenario: str | None, listing: bool, headless: bool, operator: str, seed: int, speed: float,
    journal: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """A drill on the very engine of the live console. Headless: byte-identical journals for a seed."""
    if listing:
        _list(as_json)
        return
    from rollback_console.rehearse.scenario import find

    found = find(scenario or "demo")
    if not headless:
        from rollback_console.cli.demo import command as demo

        ctx.invoke(demo, speed=speed, seed=seed)
        return
    result, path = asyncio.run(headless_drill(found, operator, seed, journal))
    _report(result, path, as_json)
    ctx.exit(0 if result.passed else 1)


def _list(as_json: bool) -> None:
    from rollback_console.rehearse.scenario import shipped

    if as_json:
        emit_json([{"name": s.name, "title": s.title, "class": s.klass, "right": s.right} for s in shipped()])
    else:
        emit_lines(f"{s.name:<10} {s.title} (right: {s.right})" for s in shipped())


async def headless_drill(
    scenario: Scenario, operator: str, seed: int, journal: Path | None
) -> tuple[DrillResult, Path]:
    """Play a scenario on a virtual clock; returns the score and the journal's path."""
    from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal, rehearsal_journal
    from rollback_console.clock import VirtualClock
    from rollback_console.rehearse.headless import Drill, run_headless
    from rollback_console.rehearse.operators import operator_named
    from rollback_console.rehearse.score import About

    script = operator_named(operator)
    path = journal or rehearsal_journal()
    if path.exists():
        raise UsageError(f"{path} exists", "a drill makes its own journal: name a new file")
    clock = VirtualClock(HEADLESS_START)
    setup = scenario.stage(seed, clock.now(), clock)
    seat = rehearsal(setup, path, command="rehearse")
    try:
        await seat.engine.start()
        drill = Drill(
            scenario.name, seed, operator, script, setup.truth, setup.step_s,
            world=setup.world, about=About.of(scenario, setup),
        )  # fmt: skip
        return await run_headless(drill, seat.engine, seat.acts, clock), path
    finally:
        await seat.close()


def _report(result: DrillResult, path: Path, as_json: bool) -> None:
    if as_json:
        emit_json(result.detail() | {"journal": str(path)})
        return
    emit_lines(
        [f"{'PASSED' if result.passed else 'FAILED'}: {result.scenario} by {result.operator}, seed {result.seed}"]
    )
    emit_lines([f"decision: {result.decision}; {result.steps_done} steps done, {result.steps_skipped} skipped"])
    for word, seconds, wrongly in (
        ("noticed", result.noticed_s, result.noticed_wrongly_s),
        ("decided", result.decided_s, result.decided_wrongly_s),
        ("acted", result.acted_s, result.acted_wrongly_s),
        ("recovered", result.recovered_s, None),
    ):
        emit_lines([f"{word:<10} {_when(word, seconds, wrongly)}"])
    emit_lines(f"wrong: {each}" for each in (*result.wrong_turns, *result.failed_because))
    emit_lines(f"refused: {each}" for each in result.refused)
    emit_lines([f"journal: {path}"])


def _when(word: str, seconds: float | None, wrongly: float | None) -> str:
    """When the operator did it to what had to be rolled back, and when to what had not."""
    right = f"{duration(seconds)} after the trigger fired" if seconds is not None else ""
    wrong = f"{word} wrongly after {duration(wrongly)}" if wrongly is not None else ""
    if right or not wrong:
        return "; ".join(filter(None, (right, wrong))) or "never"
    return f"{wrong}; what had to be rolled back, never"

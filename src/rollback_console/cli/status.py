"""`rollback-console status`: one evaluation of the fleet, after a back-fill; nothing is written."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, journal_option, json_option, warn

if TYPE_CHECKING:
    from rollback_console.cli.compose import Seat
    from rollback_console.model.snapshot import Snapshot


@click.command("status", epilog="Example: rollback-console status production/checkout-ranker --json")
@click.argument("deployments", nargs=-1, metavar="[DEPLOYMENT]...")
@config_option
@journal_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, deployments: tuple[str, ...], config: Path | None, journal: Path | None, as_json: bool
) -> None:
    """One evaluation of the fleet; of what is named also why, and what would have to change.

    Exit 1 if any fired, else 3 if any is blind, else 0 (pending included).
    """
    ctx.exit(asyncio.run(_status(deployments, config, journal, as_json)))


async def _status(names: tuple[str, ...], config: Path | None, journal: Path | None, as_json: bool) -> int:
    from rollback_console.cli.compose import live
    from rollback_console.cli.facts import advice, deployment_facts, exit_code, lines
    from rollback_console.model.hub import NOT_CONFIGURED
    from rollback_console.model.observation import BackendState

    seat = live(config, journal, command="status", writes=False)
    try:
        wanted = {seat.acts.find(name) for name in names}
        snapshot = await evaluate(seat)
    finally:
        await seat.close()
    views = [view for view in snapshot.deployments if not wanted or view.id in wanted]
    advised = advice(snapshot)
    if as_json:
        emit_json([deployment_facts(view, advised.get(view.id), explained=bool(wanted)) for view in views])
    else:
        emit_lines(lines(views, advised, explained=bool(wanted)))
        for incident in snapshot.incidents:
            emit_lines([f"incident {incident.id}: {incident.sentence}"])
        if snapshot.hub != NOT_CONFIGURED:
            emit_lines([snapshot.hub])
    for backend in snapshot.backends:
        if backend.state is BackendState.FAILING:
            warn(f"{backend.name}: {backend.detail}")
    return exit_code(views)


async def evaluate(seat: Seat) -> Snapshot:
    """Start the engine (a back-fill), look at the pointers once, and return what it sees."""
    await seat.engine.start()
    await seat.engine.look_at_pointers()
    return seat.engine.snapshot()

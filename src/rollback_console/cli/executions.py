"""`rollback-console executions`, `resume`, `abort`: what was executed, and what is unfinished."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, find_journal, journal_option, json_option
from rollback_console.cli.emergency import emergency_option
from rollback_console.cli.rollback import execution_facts, execution_lines, exit_code
from rollback_console.errors import ConsoleError

if TYPE_CHECKING:
    from rollback_console.model.automatic import Announcement
    from rollback_console.model.plan import Execution


@click.command("executions", epilog="Example: rollback-console executions --unfinished")
@click.option("--unfinished", is_flag=True, help="Only those that can be resumed or aborted.")
@config_option
@journal_option
@json_option
def executions(unfinished: bool, config: Path | None, journal: Path | None, as_json: bool) -> None:
    """Every execution of the journal, oldest first. Needs no network and no key."""
    from rollback_console.model.plan import ExecutionState

    found = _of(find_journal(journal, config))
    if unfinished:
        found = tuple(item for item in found if item.state is ExecutionState.UNFINISHED)
    if as_json:
        emit_json([execution_facts(item) for item in found])
        return
    for item in found:
        emit_lines(execution_lines(item))
        if item.state is ExecutionState.UNFINISHED:
            where = f" --journal {shlex.quote(str(journal))}" if journal is not None else ""
            emit_lines([f"  go on: rollback-console resume {item.id}{where}"])
            emit_lines([f'  or stop: rollback-console abort {item.id} --reason "WHY"{where}'])
    if not found:
        emit_lines(["nothing is unfinished" if unfinished else "nothing was executed"])


def _of(path: Path) -> tuple[Execution, ...]:
    """Every execution of the journal at `path`."""
    from rollback_console.execute.fold import KINDS
    from rollback_console.execute.fold import executions as fold
    from rollback_console.journal.locks import ExecutionLock
    from rollback_console.journal.merged import told
    from rollback_console.journal.store import Journal

    with Journal.open_read_only(path) as book:
        return fold(
            told(book, KINDS),
            book.get_blob,
            lambda deployment: ExecutionLock(path, str(deployment)).holder() is None,
        )


def left_unfinished(path: Path, journal: Path | None) -> list[str]:
    """What is to be said when a console on the journal at `path` was left: a line for each unfinished execution.
    `journal` as it was named on the command line. A journal that cannot be read has been said already."""
    from rollback_console.model.plan import ExecutionState

    try:
        found = _of(path) if path.exists() else ()
    except ConsoleError:
        return []
    where = f" --journal {shlex.quote(str(journal))}" if journal is not None else ""
    return [
        f"unfinished: {item.id} on {item.plan.deployment}: rollback-console resume {item.id}{where}"
        f" (or abort {item.id})"
        for item in found
        if item.state is ExecutionState.UNFINISHED
    ]


@click.command("resume", epilog="Example: rollback-console resume ex-3f2a9c0d11e7")
@click.argument("execution")
@click.option("--reason", metavar="TEXT", default="", help="Why, in one line: for --emergency.")
@emergency_option
@config_option
@journal_option
@json_option
@click.pass_context
def resume(
    ctx: click.Context, execution: str, reason: str, emergency: str | None, config: Path | None, journal: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Go on with an unfinished execution where the journal says it stopped; nothing is done twice."""
    ctx.exit(asyncio.run(_go_on(ctx, execution, None, as_json)))


@click.command("abort", epilog='Example: rollback-console abort ex-3f2a9c0d11e7 --reason "done by hand"')
@click.argument("execution")
@click.option("--reason", metavar="TEXT", required=True, help="Why, in one line.")
@emergency_option
@config_option
@journal_option
@json_option
@click.pass_context
def abort(
    ctx: click.Context, execution: str, reason: str, emergency: str | None, config: Path | None, journal: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Close an unfinished execution, and say what stands as it is. Nothing is undone.

    A running one is aborted in the console or the command that runs it.
    """
    ctx.exit(asyncio.run(_go_on(ctx, execution, reason, as_json)))


async def _go_on(ctx: click.Context, execution: str, abort_reason: str | None, as_json: bool) -> int:
    from rollback_console.cli.compose import console

    async with console(ctx) as commands:
        if abort_reason is not None:
            await commands.abort(execution, abort_reason)
        else:
            await commands.resume(execution)
        ended = await commands.wait(execution)
    if as_json:
        emit_json(execution_facts(ended))
    else:
        emit_lines(execution_lines(ended))
    return 0 if abort_reason is not None and str(ended.state) == "aborted" else exit_code(ended)


@click.command(
    "hold", epilog='Example: rollback-console hold production/checkout-ranker --reason "we know, it is the sale"'
)
@click.argument("deployment", metavar="ENVIRONMENT/DEPLOYMENT")
@click.option("--reason", metavar="TEXT", required=True, help="Why, in one line.")
@config_option
@journal_option
@json_option
def hold(deployment: str, reason: str, config: Path | None, journal: Path | None, as_json: bool) -> None:
    """Hold the rollback that is announced to go by itself: it does not go until the deployment was healthy again.

    Give the journal of the `watch` that announced it. No backend is asked, so that it is in time.
    """
    held = asyncio.run(_hold(deployment, reason, config, journal))
    if as_json:
        emit_json({"deployment": str(held.deployment), "to_version": held.to_version, "state": str(held.state)})
    else:
        emit_lines([held.sentence])


async def _hold(deployment: str, reason: str, config: Path | None, journal: Path | None) -> Announcement:
    from rollback_console.cli.compose import desk

    async with desk(config, journal, "hold") as acts:
        return await acts.hold(acts.find(deployment), reason)

"""`rollback-console [DEPLOYMENT or ALERT]`: the live console."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import (
    config_option,
    emit_lines,
    find_journal,
    journal_option,
    need_config,
    need_terminal,
)
from rollback_console.errors import ConsoleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.commands import Commands
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.tui.app import ConsoleApp

_LEAVE_LIMIT_S = 5.0


@click.command("console", epilog="Example: rollback-console checkout-ranker")
@click.argument("deployment", required=False, metavar="[DEPLOYMENT or ALERT]")
@click.option("--theme", type=click.Choice(["auto", "dark", "light", "mono"]), help="Colours (default: the settings').")
@config_option
@journal_option
def command(
    deployment: str | None = None, theme: str | None = None, config: Path | None = None, journal: Path | None = None
) -> None:
    """The live console on the backends that the settings name, opened on DEPLOYMENT or ALERT when one is given."""
    need_config(config)  # a missing file is said on the terminal, not inside the screen
    need_terminal("`rollback-console status` prints the fleet, `watch` follows it")
    app = console_app(deployment, theme, config, journal)
    app.run()
    _say_unfinished(config, journal)
    if app.snapshot is not None and app.snapshot.journal.emergency:
        emit_lines([f"emergency journal: {app.snapshot.journal.path}; once the journal can be written again:"
                    f" rollback-console journal merge {app.snapshot.journal.path} --reason WHY"])  # fmt: skip
    if app.problem is not None:
        raise app.problem
    if app.return_code:
        raise click.exceptions.Exit(app.return_code)


def _say_unfinished(config: Path | None, journal: Path | None) -> None:
    """Back on the terminal: what was executing when the console was left is somebody's to take up."""
    from rollback_console.cli.executions import left_unfinished

    try:
        path = find_journal(journal, config)
    except ConsoleError:
        return  # what is wrong with the settings is said for itself
    emit_lines(left_unfinished(path, journal))


def console_app(
    deployment: str | None = None, theme: str | None = None, config: Path | None = None, journal: Path | None = None
) -> ConsoleApp:
    """The live console, put together and not yet running: what `command` runs, and what tests drive."""
    from rollback_console.tui.app import ConsoleApp

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        import asyncio

        from rollback_console.cli.compose import find_authority, live

        _leave_on_signals(app)
        seat = live(config, journal, command="console", must_record=False)
        seat.acts.on_close = seat.close
        seat.start(publish)
        looking = asyncio.create_task(find_authority(seat, ask=False), name="look for the key")
        seat.keep(looking)
        return seat.acts

    app = ConsoleApp(start, open_at=deployment, theme=theme or "auto")
    return app


def _leave_on_signals(app: ConsoleApp) -> None:
    """A signal to end is a way of leaving: what waits is written, the terminal is given back as it was.

    A terminal that is gone may hold up whoever still draws on it, so the end comes after a few seconds in any case;
    everything that matters is durable already, and what was executing is offered for resume.
    """
    import asyncio
    import contextlib
    import os
    import signal
    import threading

    def leave(number: int) -> None:
        last = threading.Timer(_LEAVE_LIMIT_S, os._exit, (128 + number,))
        last.daemon = True
        last.start()
        app.exit(return_code=128 + number)

    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        with contextlib.suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):  # Windows; a thread
            number = getattr(signal, name)
            loop.add_signal_handler(number, leave, number)

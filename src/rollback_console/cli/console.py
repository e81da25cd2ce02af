"""`rollback-console [DEPLOYMENT or ALERT]`: the live console."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import config_option, journal_option, need_config, need_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.actions import Commands
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.tui.app import ConsoleApp


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
    if app.problem is not None:
        raise app.problem


def console_app(
    deployment: str | None = None, theme: str | None = None, config: Path | None = None, journal: Path | None = None
) -> ConsoleApp:
    """The live console, put together and not yet running: what `command` runs, and what tests drive."""
    from rollback_console.tui.app import ConsoleApp

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        import asyncio

        from rollback_console.cli.compose import find_authority, live

        seat = live(config, journal, command="console", must_record=False)
        seat.acts.on_close = seat.close
        seat.start(publish)
        looking = asyncio.create_task(find_authority(seat, ask=False), name="look for the key")
        seat.keep(looking)
        return seat.acts

    return ConsoleApp(start, open_at=deployment, theme=theme or "auto")

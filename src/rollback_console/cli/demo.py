"""`rollback-console demo`: the console on an embedded simulated fleet, with an incident under way."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollback_console.cli.common import emit_lines, need_terminal
from rollback_console.errors import UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.commands import Commands
    from rollback_console.model.snapshot import Snapshot


@click.command("demo", epilog="Example: rollback-console demo --speed 10")
@click.option(
    "--speed", type=click.FloatRange(0.1, 60), default=1.0, help="How fast the simulated clock runs (1 to 60)."
)
@click.option("--seed", type=int, default=7, help="Another seed is another day with the same story.")
@click.option("--theme", type=click.Choice(["auto", "dark", "light", "mono"]), default="auto")
@click.argument("deployment", required=False)
def command(speed: float, seed: int, theme: str, deployment: str | None) -> None:
    """The console on a simulated fleet with an incident under way. No configuration, no network, its own journal."""
    if deployment is not None:
        _known(deployment)
    need_terminal("without one, `rollback-console rehearse demo --headless` plays the same story")
    from rollback_console.rehearse.ahead import Ahead
    from rollback_console.rehearse.grid import aligned

    begins = aligned(time.time())
    ahead = Ahead.begin(seed, begins)  # before the screen loads: it forks

    from rollback_console.tui.app import ConsoleApp

    path: list[Path] = []

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        drawn = asyncio.create_task(asyncio.to_thread(ahead.read)) if ahead is not None else None
        await asyncio.sleep(0)  # the thread reads while all this loads
        from rollback_console.cli.rehearsal import Rehearsal, opening, rehearsal_journal
        from rollback_console.clock import ScaledClock
        from rollback_console.rehearse.demo import demo_setup

        clock = ScaledClock(begins, speed)
        path.append(rehearsal_journal())
        past = await drawn if drawn is not None else b""
        played = Rehearsal(demo_setup(seed, begins, clock), path[0], command="demo", drawn=past)
        seat = await opening(played, publish, speed=speed, set_speed=clock.set_speed)
        seat.acts.on_close = seat.close
        return seat.acts

    app = ConsoleApp(start, open_at=deployment, theme=theme, title="rollback-console demo")
    app.run()
    _leave(app.problem, path)


def _known(deployment: str) -> None:
    """Raises UsageError where the demo has no such deployment. Its metric backend knows no alerts to open at."""
    from difflib import get_close_matches

    from rollback_console.policy.load import parse_policy
    from rollback_console.rehearse.demo import demo_setup

    setup = demo_setup()
    ids = [rule.deployment.id for rule in parse_policy(setup.policy_bytes, setup.policy_name).rules]
    names = [str(each) for each in ids] + [each.name for each in ids]
    if deployment not in names:
        near = get_close_matches(deployment, names, n=1)
        raise UsageError(
            f"the demo has no deployment {plain(deployment, 80)}",
            f"did you mean {near[0]}?" if near else "without a name it opens on the fleet",
        )


def _leave(problem: Exception | None, path: list[Path]) -> None:
    if problem is not None:
        raise problem
    if path:
        emit_lines([f"this rehearsal's journal: {path[0]}", f"read it again: rollback-console review {path[0]}"])

"""The best headless operator plays the very drill that somebody plays with a screen: same scenario, seed and minutes.

It runs as a process of its own (`python -m rollback_console.cli.drill_best`), so that the screen is not held up: one
JSON line on stdout is the result.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.errors import ConsoleError

if TYPE_CHECKING:
    from rollback_console.rehearse.score import DrillResult

OPERATOR = "perfect"
_NICE = 10


async def play(word: str, seed: int, begins: float, journal: Path) -> DrillResult:
    """The drill from that moment on (Unix seconds, on a step), by the best operator there is."""
    from rollback_console.cli.rehearsal import rehearsal
    from rollback_console.clock import VirtualClock
    from rollback_console.rehearse.headless import Drill, run_headless
    from rollback_console.rehearse.operators import operator_named
    from rollback_console.rehearse.pace import begun
    from rollback_console.rehearse.scenario import find
    from rollback_console.rehearse.score import About

    scenario, clock = find(word), VirtualClock(begins)
    setup = scenario.stage(seed, begins, clock)
    seat = rehearsal(setup, journal, command="rehearse")
    try:
        await begun(seat.engine.start(), setup.world, clock, setup.step_s)
        drill = Drill(
            scenario.name, seed, OPERATOR, operator_named(OPERATOR), setup.truth, setup.step_s,
            limit_s=scenario.lasts_s, world=setup.world, about=About.of(scenario, setup),
        )  # fmt: skip
        return await run_headless(drill, seat.engine, seat.acts, clock)
    finally:
        await seat.close()


async def beside(word: str, seed: int, begins: float) -> DrillResult:
    """The same in a child process, which ends with whoever waits for it. Raises ConsoleError where it came to grief."""
    from rollback_console.rehearse.drill_report import from_document

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rollback_console.cli.drill_best", word, str(seed), repr(begins),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    try:
        return from_document(json.loads(said))
    except (ValueError, TypeError, AttributeError):
        raise ConsoleError("the best operator's drill could not be played", "play it with --headless") from None


def main() -> None:
    """What the child does."""
    from rollback_console.cli.drilling import scratch

    if hasattr(os, "nice"):
        os.nice(_NICE)
    word, seed, begins = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with scratch() as folder:
        found = asyncio.run(play(word, seed, begins, folder / "journal.db"))
    sys.stdout.write(json.dumps(found.detail()) + "\n")


if __name__ == "__main__":
    main()

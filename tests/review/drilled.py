"""A drill that was played once, and consoles opened on copies of its journal: judged by the drill's own key."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rollback_console.cli.compose import Seat
from rollback_console.cli.rehearsal import HEADLESS_START, Rehearsal, rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal
from rollback_console.rehearse.headless import Drill, run_headless
from rollback_console.rehearse.operators import operator_named
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.setup import Setup


@dataclass
class Played:
    """A drill's journal, its world as the drill left it, and the world's clock."""

    path: Path
    setup: Setup
    clock: VirtualClock


def play(path: Path, scenario: str = "demo", seed: int = 3, operator: str = "perfect") -> Played:
    """Play it headless, to its end."""
    clock = VirtualClock(HEADLESS_START)
    found = find(scenario)
    setup = found.stage(seed, clock.now(), clock)

    async def go() -> None:
        seat = rehearsal(setup, path, command="rehearse")
        try:
            await seat.engine.start()
            drill = Drill(found.name, seed, operator, operator_named(operator), setup.truth, setup.step_s)
            await run_headless(drill, seat.engine, seat.acts, clock)
        finally:
            await seat.close()

    asyncio.run(go())
    return Played(path, setup, clock)


@cache
def the_demo() -> Played:
    """The demo, played once by the perfect operator for whoever only reads it, or judges a copy."""
    return play(Path(tempfile.mkdtemp(prefix="drilled-")) / "drill.db")


@asynccontextmanager
async def seated(played: Played, path: Path) -> AsyncIterator[Seat]:
    """A console on a copy of the drill's journal, at `path`, where nobody evaluates any more."""
    shutil.copy(played.path, path)
    console = Rehearsal(played.setup, path, command="rehearse")
    journal = Journal.open(
        path, device=DeviceKey.from_seed(played.setup.device_seed), clock=played.clock, rehearsal=True
    )
    engine = console.engine(journal=journal, inline=True)
    seat = Seat(engine, console.acts(engine, console.keys(engine), played.setup.step_s), journal, None)
    try:
        engine.fold()
        yield seat
    finally:
        await seat.close()

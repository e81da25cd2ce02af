"""What the journal grows by in a day, from what the engine really writes on a simulated clock."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.benchmarks.figures import Figure
from tests.benchmarks.fleets import InProcess, rules

from rollback_console.clock import VirtualClock
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal

_STEP_S = 15.0  # the default of `evaluate_every`
_START = 1_780_000_200.0
_DAY_S = 86_400.0


def journal(quick: bool) -> list[Figure]:
    """MB a day, at an evaluation every 15 s: a calm fleet, and one with an incident all day."""
    found = []
    for deployments, calm_s, incident_s in ((14, 14_400.0, 3600.0), (1000, 3600.0, 900.0)):
        for words, bad, seconds in (("calm", 0, calm_s), ("an incident all day", 3, incident_s)):
            per_day, entries = asyncio.run(_grown(deployments, bad, seconds / (4 if quick else 1)))
            note = f"{entries:,.0f} entries a day"
            found.append(
                Figure("journal", f"journal, {deployments:,} deployments, {words}", per_day, "MB/day", note=note)
            )
    return found


async def _grown(deployments: int, bad: int, seconds: float) -> tuple[float, float]:
    """(MB of file a day, entries a day), measured over `seconds` of evaluations after the first two minutes."""
    with tempfile.TemporaryDirectory(prefix="rollback-console-bench-") as folder:
        path = Path(folder) / "journal.db"
        clock = VirtualClock(_START)
        store = Journal.open(path, device=DeviceKey.from_seed(b"b" * 32), clock=clock)
        backend = InProcess(deployments, bad)
        options = Options(step_s=_STEP_S, delay_s=0.0, lookback_s=600.0)
        engine = Engine(rules(deployments), backend, None, clock, options, journal=store, inline=True)
        await engine.start()
        warm = round(120 / _STEP_S)
        began = (0, 0)
        steps = round(seconds / _STEP_S)
        for number in range(warm + steps):
            await clock.advance(_STEP_S)
            await engine.step(engine.aligned(clock.now()))
            if number == warm - 1:
                began = (_size(path), engine.snapshot().journal.entries)
        size, entries = _size(path), engine.snapshot().journal.entries
        await engine.close()
        store.close()
    days = seconds / _DAY_S
    return (size - began[0]) / days / 1e6, (entries - began[1]) / days


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))

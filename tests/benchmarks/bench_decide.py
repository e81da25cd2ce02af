"""Deciding and recording 1,000 deployments x 6 signals: microseconds a signal, and the longest slice of the event loop.

`python tests/benchmarks/bench_decide.py [deployments] [ticks]`. Observing is not counted (the backend is in the
process and its answers are ready); the journal is a real one, signed and synced, on the disk of the temporary folder.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import fleets
from rollback_console.clock import VirtualClock
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal
from rollback_console.model.observation import Series, Tick
from rollback_console.model.snapshot import Snapshot

START = 1_763_640_000.0
STEP_S = 15.0
_DRAWN = 7  # ticks of values drawn beforehand, used in turn


class Ready(fleets.InProcess):
    """Answers drawn beforehand: what is measured is not the drawing."""

    def __init__(self, deployments: int, bad: int) -> None:
        super().__init__(deployments, bad)
        columns = {query: [self._values.column(n, float(k)) for k in range(_DRAWN)]
                   for n, query in enumerate(fleets.QUERIES)}  # fmt: skip
        self._columns = columns

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        column = self._columns[promql][int(at / STEP_S) % _DRAWN]
        return tuple(Series(labels, ((at, value),)) for labels, value in zip(self._labels, column, strict=True))


class Timed(Engine):
    """An engine that notes how long each evaluation took from tick to durable journal, and to a Snapshot."""

    evaluated: list[tuple[float, float]]  # wall, CPU (all threads: the journal's too)
    published: list[float]  # CPU

    async def _evaluate(self, tick: Tick) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await super()._evaluate(tick)
        self.evaluated.append((time.perf_counter() - wall, time.process_time() - cpu))

    def publish(self) -> Snapshot:
        cpu = time.thread_time()
        snapshot = super().publish()
        self.published.append(time.thread_time() - cpu)
        return snapshot


async def _slices(gaps: list[tuple[float, float]]) -> None:
    """A task that does nothing but take its turns: how long each turn of the others was, wall and CPU. The CPU's time
    of this thread is what a slice costs by itself; the wall's is that and whatever else the machine does."""
    wall, cpu = time.perf_counter(), time.thread_time()
    while True:
        await asyncio.sleep(0)
        now, used = time.perf_counter(), time.thread_time()
        gaps.append((now - wall, used - cpu))
        wall, cpu = now, used


async def measure(deployments: int, ticks: int, bad: int, folder: Path) -> dict[str, float]:
    """What `main` prints, in the units of its names."""
    clock = VirtualClock(START)
    journal = Journal.open(folder / "bench.db", device=DeviceKey.from_seed(b"bench"), clock=clock)
    engine = Timed(
        fleets.rules(deployments), Ready(deployments, bad), None, clock,
        Options(step_s=STEP_S, delay_s=0.0, lookback_s=3600.0), journal=journal,
    )  # fmt: skip
    engine.evaluated, engine.published = [], []
    await engine.start()
    for k in range(1, 4):  # past the transitions of the degraded ones
        await engine.step(START + k * STEP_S)
    engine.evaluated.clear()
    engine.published.clear()
    gaps: list[tuple[float, float]] = []
    probe = asyncio.create_task(_slices(gaps))
    worst = []
    for k in range(4, 4 + ticks):
        await asyncio.sleep(0.01)
        gaps.clear()
        await engine.step(START + k * STEP_S)
        await asyncio.sleep(0)
        worst.append((max(wall for wall, _ in gaps), max(cpu for _, cpu in gaps)))
    probe.cancel()
    await engine.close()
    journal.close()
    signals = deployments * fleets.SIGNALS
    return {
        "wall_us": 1e6 * statistics.median(wall for wall, _ in engine.evaluated) / signals,
        "cpu_us": 1e6 * statistics.median(cpu for _, cpu in engine.evaluated) / signals,
        "publish_ms": 1e3 * statistics.median(engine.published),
        "slice_wall_ms": 1e3 * statistics.median(wall for wall, _ in worst),
        "slice_cpu_ms": 1e3 * statistics.median(cpu for _, cpu in worst),
    }


def main() -> None:
    deployments = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    ticks = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    print(f"medians of {ticks} ticks")
    for bad in (0, deployments // 20, deployments):
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measure(deployments, ticks, bad, Path(folder)))
        print(
            f"{deployments} deployments x {fleets.SIGNALS} signals, {bad} degraded: decide and record "
            f"{found['wall_us']:.1f} us a signal ({found['cpu_us']:.1f} of CPU); publish {found['publish_ms']:.1f} ms; "
            f"longest slice of a tick {found['slice_wall_ms']:.1f} ms ({found['slice_cpu_ms']:.1f} of CPU)"
        )


if __name__ == "__main__":
    main()

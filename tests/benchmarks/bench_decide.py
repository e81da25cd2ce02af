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

    evaluated: list[float]
    published: list[float]

    async def _evaluate(self, tick: Tick) -> None:
        began = time.perf_counter()
        await super()._evaluate(tick)
        self.evaluated.append(time.perf_counter() - began)

    def publish(self):  # type: ignore[no-untyped-def]
        began = time.perf_counter()
        snapshot = super().publish()
        self.published.append(time.perf_counter() - began)
        return snapshot


async def _slices(gaps: list[float]) -> None:
    """A task that does nothing but take its turns: how long each turn of the others was."""
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now


async def measure(deployments: int, ticks: int, bad: int, folder: Path) -> dict[str, float]:
    """Seconds: medians of evaluating and of publishing, the longest and the 99.9th percentile slice."""
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
    gaps: list[float] = []
    probe = asyncio.create_task(_slices(gaps))
    worst = []
    for k in range(4, 4 + ticks):
        await asyncio.sleep(0.01)
        gaps.clear()
        await engine.step(START + k * STEP_S)
        await asyncio.sleep(0)
        worst.append(max(gaps))
    probe.cancel()
    await engine.close()
    journal.close()
    signals = deployments * fleets.SIGNALS
    return {
        "evaluate_us_a_signal": 1e6 * statistics.median(engine.evaluated) / signals,
        "publish_ms": 1e3 * statistics.median(engine.published),
        "slice_median_ms": 1e3 * statistics.median(worst),
        "slice_worst_ms": 1e3 * max(worst),
    }


def main() -> None:
    deployments = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    ticks = int(sys.argv[2]) if len(sys.argv) > 2 else 40
    for bad in (0, deployments // 20, deployments):
        with tempfile.TemporaryDirectory() as folder:
            found = asyncio.run(measure(deployments, ticks, bad, Path(folder)))
        print(
            f"{deployments} deployments x {fleets.SIGNALS} signals, {bad} degraded: "
            f"decide and record {found['evaluate_us_a_signal']:.1f} us a signal, publish {found['publish_ms']:.1f} ms, "
            f"longest slice of a tick {found['slice_median_ms']:.1f} ms (median), {found['slice_worst_ms']:.1f} (worst)"
        )


if __name__ == "__main__":
    main()

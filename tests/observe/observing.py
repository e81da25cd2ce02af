"""What the tests of this room share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from random import Random

from rollback_console.clock import Clock, WallClock
from rollback_console.observe.prometheus import PrometheusBackend


def backend(url: str, **options: object) -> PrometheusBackend:
    """A PrometheusBackend with a seed and no limits worth mentioning, unless `options` say otherwise."""
    clock: Clock = options.pop("clock", None) or WallClock()  # type: ignore[assignment]
    wanted = {"auth": None, "headers": {}, "queries_per_minute": 100_000, **options}
    return PrometheusBackend(url, clock=clock, random=Random(1), **wanted)  # type: ignore[arg-type]


class Ticker:
    """Measures the longest time the event loop did not get its turn."""

    def __init__(self) -> None:
        self.ticks = 0
        self.longest_s = 0.0

    async def run(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.ticks += 1
            self.longest_s = max(self.longest_s, now - last)
            last = now


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[Ticker]:
    ticker = Ticker()
    task = asyncio.create_task(ticker.run())
    try:
        yield ticker
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

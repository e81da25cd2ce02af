"""Time as an object: the wall's, or a virtual one that a rehearsal or a test turns by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import Protocol


class Clock(Protocol):
    """Where the engine takes its time from. All in seconds."""

    def now(self) -> float:
        """Unix time: for evaluation times and the screen."""
        ...

    def monotonic(self) -> float:
        """Never runs backwards: for durations and time limits."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class WallClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ScaledClock:
    """A clock that starts at `start` and runs `speed` times as fast as the wall; speed 0 is a pause.

    The speed may change while others sleep on it: sleepers look again at least four times a wall second.
    """

    def __init__(self, start: float, speed: float = 1.0) -> None:
        self._origin = start
        self._wall = time.monotonic()
        self._speed = speed

    @property
    def speed(self) -> float:
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Change the rate from now on. Raises ValueError for a negative one."""
        if speed < 0:
            raise ValueError("a clock does not run backwards")
        self._origin, self._wall, self._speed = self.now(), time.monotonic(), speed

    def now(self) -> float:
        return self._origin + (time.monotonic() - self._wall) * self._speed

    def monotonic(self) -> float:
        return self.now()

    async def sleep(self, seconds: float) -> None:
        until = self.now() + seconds
        while (left := until - self.now()) > 1e-9:  # noqa: ASYNC110 - no Event knows the end: it moves with the speed
            await asyncio.sleep(min(0.25, left / self._speed if self._speed else 0.25))


class VirtualClock:
    """Time that moves only when told to. `sleep` waits until `advance` has passed its end; nothing really sleeps."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time on, waking sleepers in order, each at its own moment."""
        end = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now, _, future = heapq.heappop(self._sleepers)
            if not future.done():
                future.set_result(None)
            for _ in range(8):  # let what woke run, and sleep again, before time moves on
                await asyncio.sleep(0)
        self._now = end
        await asyncio.sleep(0)

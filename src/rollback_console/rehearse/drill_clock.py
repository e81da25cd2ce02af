"""The clock of a drill with a screen: 1x to 60x, paused, or moved on by hand to a moment."""

from __future__ import annotations

import asyncio
import itertools

from rollback_console.clock import ScaledClock

_LOOKS = 8  # turns of the event loop that those who woke get, before time moves on


class DrillClock(ScaledClock):
    """A `ScaledClock` whose sleepers know at once that its speed changed, and that can be moved on while it stands:
    each sleeper on the way wakes at its own moment, as if the time between had passed."""

    def __init__(self, start: float, speed: float = 1.0) -> None:
        super().__init__(start, speed)
        self._waiting: set[asyncio.Future[None]] = set()
        self._due: dict[int, float] = {}
        self._numbers = itertools.count()

    def set_speed(self, speed: float) -> None:
        super().set_speed(speed)
        self._wake()

    async def sleep(self, seconds: float) -> None:
        until, number = self.now() + seconds, next(self._numbers)
        self._due[number] = until
        try:
            while (left := until - self.now()) > 1e-9:
                await self._moved(left / self.speed if self.speed else None)
        finally:
            del self._due[number]

    async def _moved(self, within: float | None) -> None:
        """Until the clock was set or moved, at most so many of the wall's seconds. Without `asyncio.wait_for`, which
        swallows a cancellation that comes with the waking: who sleeps on a clock that stands would then sleep on."""
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()
        self._waiting.add(woken)
        timer = loop.call_later(within, _set, woken) if within is not None else None
        try:
            await woken
        finally:
            self._waiting.discard(woken)
            if timer is not None:
                timer.cancel()

    async def move_to(self, moment: float) -> None:
        """Move on to that Unix time, waking whoever sleeps until a moment before it. Raises ValueError for a moment
        that has passed, or while the clock runs."""
        if self.speed or moment < self.now() - 1e-6:
            raise ValueError("a clock that stands is moved on, not back")
        while (due := min((each for each in self._due.values() if each <= moment), default=None)) is not None:
            await self._go_to(max(due, self.now()))
        await self._go_to(moment)

    def next_due(self, earliest: float, latest: float) -> float:
        """When the next sleeper wakes, Unix seconds, between these bounds; the earlier bound where none does."""
        return max(earliest, min((each for each in self._due.values() if each <= latest), default=earliest))

    async def _go_to(self, moment: float) -> None:
        self._origin = moment
        self._wake()
        for _ in range(_LOOKS):
            await asyncio.sleep(0)

    def _wake(self) -> None:
        for woken in tuple(self._waiting):
            _set(woken)


def _set(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)

"""Virtual time for backends that take their time: it moves on while something waits for one of them, and only then."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from typing import TypeVar

from rollback_console.clock import VirtualClock
from rollback_console.rehearse.world import World

_T = TypeVar("_T")
_QUIET = 20  # turns of the event loop in which nobody new began to wait


async def paced(awaitable: Awaitable[_T], world: World, clock: VirtualClock) -> _T:
    """What `awaitable` gives. Where it waits for a slow backend of `world`, the clock moves on to the moment at which
    the backend answers; where there is none, this is `await`.

    Everything that is going to ask is let ask first: two questions of one evaluation wait together, not one behind the
    other.
    """
    if not world.is_slow:
        return await awaitable
    task = asyncio.ensure_future(awaitable)
    try:
        quiet, waiting = 0, world.waiting
        while not task.done():
            await asyncio.sleep(0)
            quiet, waiting = (quiet + 1, waiting) if world.waiting == waiting else (0, world.waiting)
            if waiting and quiet >= _QUIET and not task.done():
                await clock.advance(max(0.0, min(waiting) - clock.now()))
                quiet = 0
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return task.result()


async def begun(start: Awaitable[_T], world: World, clock: VirtualClock, step_s: float) -> _T:
    """What a console's `start` gives. Where slow backends took longer than no time, the clock stands on a step of the
    grid again afterwards."""
    began = clock.now()
    found = await paced(start, world, clock)
    if clock.now() > began:
        await clock.advance(left(clock.now() - began, step_s))
    return found


def left(elapsed: float, step_s: float) -> float:
    """Seconds until the next step of a grid that was begun so long ago: more than 0, at most a step."""
    return (math.floor(elapsed / step_s + 1e-9) + 1) * step_s - elapsed

"""The demo's past, drawn by a second process while this one loads and paints.

Half of what the demo does before its first states is drawing what a simulated fleet did in the hours before. That needs
nothing of the screen, so a child does it on the other core. Where there is no `fork`, or the child fails, the world
draws as it is asked, with the same result and later.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rollback_console.rehearse.world import World

_PIECE = 1 << 20


class Ahead:
    """A child that draws. Make it with `begin`, before any thread runs; ask it once with `read`."""

    def __init__(self, pipe: int, child: int) -> None:
        self._pipe = pipe
        self._child = child

    @classmethod
    def begin(cls, seed: int, start: float) -> Ahead | None:
        """Begin to draw the demo of `seed` and `start` (Unix seconds); None where the platform has no `fork`."""
        if not hasattr(os, "fork"):
            return None
        reading, writing = os.pipe()
        child = os.fork()
        if child:
            os.close(writing)
            return cls(reading, child)
        try:  # from here on in the child, which leaves nothing behind: no handler runs, no buffer is flushed twice
            os.close(reading)
            _draw(writing, seed, start)
        finally:
            os._exit(0)

    def read(self) -> bytes:
        """What was drawn, for `World.take`; blocks until it is there. Empty where the child came to grief."""
        pieces = []
        with os.fdopen(self._pipe, "rb") as pipe:
            while piece := pipe.read(_PIECE):
                pieces.append(piece)
        os.waitpid(self._child, 0)
        return b"".join(pieces)


def _draw(pipe: int, seed: int, start: float) -> None:
    from rollback_console.rehearse.demo import demo_world, first_reads

    world: World = demo_world(seed, start)
    for low, high, latencies in first_reads(world.clock.now()):
        world.draw(low, high, latencies=latencies)
    with os.fdopen(pipe, "wb") as file:
        file.write(world.drawn())

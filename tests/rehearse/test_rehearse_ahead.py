"""The demo's past, drawn by a child while the screen loads: the same world, and no more and no less than is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback_console.cli.rehearsal import HEADLESS_START, Rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.rehearse.ahead import Ahead
from rollback_console.rehearse.demo import demo_setup, demo_world, first_reads
from rollback_console.rehearse.grid import aligned


@pytest.mark.parametrize("hours", [0.0, 0.1, 7.3, 15.99])
async def test_a_start_reads_what_was_drawn_for_it_and_decides_the_same(tmp_path: Path, hours: float) -> None:
    start = aligned(HEADLESS_START + hours * 3600.0)
    ahead = Ahead.begin(7, start)
    assert ahead is not None
    drawn = ahead.read()
    states = []
    for past in (drawn, b""):
        played = Rehearsal(
            demo_setup(7, start, VirtualClock(start)), tmp_path / "journal.db", command="test", drawn=past
        )
        before = set(played.setup.world.places())
        engine = played.engine(inline=True)
        await engine.step(start)
        states.append([view.verdict for view in engine.snapshot().deployments])
        if past:
            assert played.setup.world.places() == before, "the start read what nobody had drawn"
    assert states[0] == states[1]


def test_a_child_that_comes_to_grief_leaves_the_drawing_to_us() -> None:
    world = demo_world(7, HEADLESS_START)
    world.take(b"")
    assert not world.places()
    for low, high, latencies in first_reads(HEADLESS_START):
        world.draw(low, high, latencies=latencies)
    assert world.places()

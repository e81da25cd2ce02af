"""A console opened cold, one that watched all along, one that slept, one whose backend failed: the same states."""

from __future__ import annotations

import os
import random

import pytest
from engine_tools import START, STEP, cold, engine_on, random_stream, shown, ticks

SEEDS = range(60 if os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN") else 8)


@pytest.mark.parametrize("seed", SEEDS)
async def test_cold_and_always_on_are_in_identical_states(seed: int) -> None:
    stream = random_stream(seed)
    always = engine_on(stream, START + 30 * STEP)
    await always.start()
    now = 30
    seen = set()
    for cut in range(36, stream.ticks, 9):
        await ticks(always, now + 1, cut)
        now = cut
        opened = await cold(stream, START + cut * STEP)
        assert shown(opened) == shown(always), f"seed {seed}, cut {cut}"
        assert opened.board.memories == always.board.memories
        seen |= {verdict.state for verdict in always.board.verdicts.values()}
    assert len(seen) >= 3, "the streams must lead somewhere"


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_that_sleeps_wakes_up_in_the_same_state(seed: int) -> None:
    stream = random_stream(seed + 100)
    draw = random.Random(seed)
    always = engine_on(stream, START + 30 * STEP)
    sleeper = engine_on(stream, START + 30 * STEP)
    await always.start()
    await sleeper.start()
    now = 30
    while now < stream.ticks - 50:
        nap = draw.choice((2, 3, 7, 20, 50))
        await ticks(always, now + 1, now + nap)
        await ticks(sleeper, now + nap, now + nap)
        now += nap
        assert shown(sleeper) == shown(always), f"seed {seed}, {nap} evaluations slept until {now}"
        assert sleeper.board.memories == always.board.memories

"""Evidence in the engine: a cold start, a sleep and a restart end in the states of a console that never slept."""

from __future__ import annotations

import os

import pytest
from evidence_tools import BEGIN, MINUTE, EvidenceStream, evidence_stream, watch

from rollback_console.engine.loop import Engine

SEEDS = range(100 if os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN") else 3)


async def cold(stream: EvidenceStream, minute: int) -> Engine:
    engine = stream.engine(BEGIN + minute * MINUTE)
    await engine.start()
    return engine


@pytest.mark.parametrize("seed", SEEDS)
async def test_cold_and_always_on_are_in_identical_states(seed: int) -> None:
    """Wherever a cold start says that it is certain, every memory is the very same, to the last bit."""
    stream = evidence_stream(seed, hold=120.0 * (seed % 2))
    always = await cold(stream, 5)
    now, certain, uncertain, alike, seen = 5, 0, 0, 0, set()
    for cut in range(1500 + 37 * (seed % 5), stream.minutes, 211):
        await watch(always, now + 1, cut)
        now = cut
        opened = stream.engine(BEGIN + cut * MINUTE)
        await opened.versions.load(BEGIN + cut * MINUTE)
        replayed = await opened.backfill.cold(BEGIN + cut * MINUTE, lambda *_: False, lambda *_: None)
        for index in set(replayed.memories) - replayed.unsettled:
            assert replayed.memories[index] == always.board.memories[index], f"seed {seed}, cut {cut}, {index}"
            assert replayed.verdicts[index] == always.board.verdicts[index]
            certain += 1
        seen |= {str(verdict.state) for verdict in always.board.verdicts.values()}
        for index in replayed.unsettled:  # said to be uncertain, and yet hardly ever another state
            alike += replayed.verdicts[index].state is always.board.verdicts[index].state
            uncertain += 1
    assert certain >= 2
    assert alike >= 0.75 * uncertain
    assert seen, "the streams must be judged"

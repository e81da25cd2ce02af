"""A console opened cold, one that watched all along, one that slept, one whose backend failed: the same states."""

from __future__ import annotations

import os
import random

import pytest
from engine_tools import START, STEP, cold, engine_on, random_stream, shown, ticks

SEEDS = range(60 if os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN") else 5)


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


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_outage_is_replayed_when_it_is_over(seed: int) -> None:
    """Random queries fail for random stretches, now and then the console sleeps as well; whenever everything answers
    again, nothing of it is left."""
    stream = random_stream(seed + 200)
    draw = random.Random(seed)
    metrics = stream.metrics()
    always = engine_on(stream, START + 30 * STEP)
    sick = engine_on(stream, START + 30 * STEP, metrics=metrics)
    await always.start()
    await sick.start()
    now, compared, hidden = 30, 0, 0
    while now < stream.ticks - 12:
        for _ in range(draw.randint(1, 4)):
            metrics.silent = set(draw.sample(sorted(stream.series), draw.randint(1, len(stream.series))))
            run = draw.randint(1, 4)
            await ticks(always, now + 1, now + run)
            if draw.random() < 0.2:
                await ticks(sick, now + run, now + run)
            else:
                await ticks(sick, now + 1, now + run)
            now += run
            hidden += shown(sick) != shown(always)
        metrics.silent = set()
        now += 1
        await ticks(always, now, now)
        await ticks(sick, now, now)
        compared += 1
        assert shown(sick) == shown(always), f"seed {seed}, after {now}"
        assert sick.board.memories == always.board.memories
        assert not sick.outages
    assert compared > 5
    assert hidden, "an outage must be seen while it lasts"


async def test_a_cold_start_into_an_outage_is_mended_too() -> None:
    stream = random_stream(7)
    metrics = stream.metrics()
    metrics.silent = set(stream.series)
    sick = await cold(stream, START + 60 * STEP, metrics=metrics)
    await ticks(sick, 61, 70)
    assert all(verdict.blind for verdict in sick.board.verdicts.values())
    metrics.silent = set()
    await ticks(sick, 71, 71)
    assert shown(sick) == shown(await cold(stream, START + 71 * STEP))


async def test_a_query_that_never_answers_does_not_keep_others_from_being_mended() -> None:
    stream = random_stream(3)
    broken, flapping = sorted(stream.series)[:2]
    calm = stream.metrics()
    calm.silent = {broken}
    always = engine_on(stream, START + 30 * STEP, metrics=calm)
    metrics = stream.metrics()
    metrics.silent = {broken}
    sick = engine_on(stream, START + 30 * STEP, metrics=metrics)
    await always.start()
    await sick.start()
    for now in range(31, 120, 6):
        metrics.silent = {broken, flapping}
        await ticks(sick, now, now + 3)
        metrics.silent = {broken}
        metrics.ranges.clear()
        await ticks(sick, now + 4, now + 5)
        await ticks(always, now, now + 5)
        assert shown(sick) == shown(always), now
        spans = [end - start for promql, start, end in metrics.ranges if promql == flapping]
        assert spans, "the unseen stretch is read again"
        assert max(spans) <= 5 * STEP, "and no more than that"


async def test_history_that_does_not_answer_is_asked_for_ever_less_often() -> None:
    stream = random_stream(4)
    metrics = stream.metrics()
    sick = engine_on(stream, START + 30 * STEP, metrics=metrics)
    await sick.start()
    metrics.silent = metrics.no_ranges = set(stream.series)
    await ticks(sick, 31, 34)
    metrics.silent = set()
    metrics.ranges.clear()
    tries = []
    for now in range(35, 135):
        await ticks(sick, now, now)
        if metrics.ranges:
            tries.append(now)
            metrics.ranges.clear()
        reported = [s.blind is None for v in sick.board.verdicts.values() for s in v.signals if s.name == "errors"]
        assert any(reported), "the present is judged although the past does not answer"
    assert 3 <= len(tries) <= 24, "of replays and of version baselines"
    metrics.no_ranges = set()
    await ticks(sick, 135, 160)
    assert not sick.outages
    assert shown(sick) == shown(await cold(stream, START + 160 * STEP))


async def test_a_clock_set_back_is_a_gap() -> None:
    stream = random_stream(5)
    engine = engine_on(stream, START + 90 * STEP)
    await engine.start()
    await ticks(engine, 91, 100)
    await ticks(engine, 60, 70)
    assert engine.evaluated_at == START + 70 * STEP
    assert shown(engine) == shown(await cold(stream, START + 70 * STEP))


async def test_a_trace_holds_each_evaluation_once() -> None:
    """After a sleep, an outage and its replay, a sparkline's points still stand a step apart."""
    stream = random_stream(6)
    metrics = stream.metrics()
    engine = engine_on(stream, START + 30 * STEP, metrics=metrics)
    await engine.start()
    await ticks(engine, 31, 50)
    metrics.silent = set(stream.series)
    await ticks(engine, 51, 57)
    metrics.silent = set()
    await ticks(engine, 58, 62)
    await ticks(engine, 75, 90)
    straight = engine_on(stream, START + 30 * STEP)
    await straight.start()
    await ticks(straight, 31, 90)
    for mine, other in zip(engine.board.views((), {}), straight.board.views((), {}), strict=True):
        for one, two in zip(mine.traces, other.traces, strict=True):
            assert one.until == two.until
            assert len(one.values) == len(one.baselines)
            for k in range(1, min(len(one.values), len(two.values)) + 1):
                assert one.values[-k] in (two.values[-k], None) or one.values[-k] != one.values[-k]
            assert one.values[-30:] == two.values[-30:]

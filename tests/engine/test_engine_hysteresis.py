"""Bounds that clear elsewhere than they fire: whoever looks, whenever they began, is in the same states."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from engine_tools import START, STEP, Stream, cold, engine_on, random_stream, shown, ticks

from rollback_console.model.rules import DeploymentRule, SignalRule


def clearing(signal: SignalRule) -> SignalRule:
    """The same, over only half-way back to healthy."""
    breach = signal.breach
    if breach.above is not None:
        return replace(signal, breach=replace(breach, clear=0.5 * breach.above))
    if breach.below is not None:
        return replace(signal, breach=replace(breach, clear=1.5 * breach.below))
    return replace(signal, breach=replace(breach, clear=0.4 * (breach.degraded_by or 0.0)))


def hysteresis(rule: DeploymentRule) -> DeploymentRule:
    return replace(rule, signals=tuple(clearing(each) for each in rule.signals))


def between(stream: Stream, seed: int) -> Stream:
    """Of what is bad for several evaluations some comes half-way back: below the bound, not yet clear of it."""
    draw, found = random.Random(seed), {}
    for promql, series in stream.series.items():
        found[promql] = [
            replace(
                one,
                points=tuple((at, 0.4 * v if 7.0 < v < 12.0 and draw.random() < 0.4 else v) for at, v in one.points),
            )
            for one in series
        ]
    return replace(stream, series=found)


@pytest.mark.parametrize("seed", [0, 2, 3])
async def test_cold_slept_and_always_on_are_in_identical_states(seed: int) -> None:
    plain = between(random_stream(seed + 300), seed)
    stream: Stream = replace(plain, rules=tuple(map(hysteresis, plain.rules)))
    always, sleeper = (engine_on(stream, START + 30 * STEP) for _ in range(2))
    usual = engine_on(plain, START + 30 * STEP)
    for engine in (always, sleeper, usual):
        await engine.start()
    now, other = 30, 0
    for cut in range(40, stream.ticks, 11):
        await ticks(always, now + 1, cut)
        await ticks(usual, now + 1, cut)
        await ticks(sleeper, cut, cut)
        now = cut
        assert shown(sleeper) == shown(always), f"seed {seed}, cut {cut}"
        opened = await cold(stream, START + cut * STEP)
        assert shown(opened) == shown(always), f"seed {seed}, cut {cut}"
        other += [each[1] for each in shown(always)[0].values()] != [each[1] for each in shown(usual)[0].values()]
    assert other, "what fired stays fired for longer"

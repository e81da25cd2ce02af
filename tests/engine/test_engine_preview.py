"""A first start that has much to learn shows what plain bounds say meanwhile, records none of it, and ends in the
states of a console that never had to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from book_tools import DAY, HOUR, MONDAY, Heard, Recorded, day_shape, weighed
from engine_tools import bounded, fleet_rule, labelled, new_journal, shown

from rollback_console.clock import VirtualClock
from rollback_console.engine import backfill
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.journal.store import Journal
from rollback_console.model.observation import Blind, Series
from rollback_console.model.rules import BlindPolicy, BlindPolicyKind, Or, Uses
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerState

MINUTE = 60.0
T = MONDAY + 9 * HOUR
LATENCY = "max by (deployment) (latency)"
SLOW_FROM = {"both": T - 5 * MINUTE, "plain": T + 3 * MINUTE}  # whose latency is bad, and from when on


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """Twelve days; `dropping` loses a third of its conversions three hours before the start."""
    conversion = weighed()
    # A policy that takes blindness for a breach: nothing may fire for what is only not learned yet.
    weighed_strictly = replace(conversion, blind=BlindPolicy(BlindPolicyKind.BREACH))
    either = Or((Uses("conversion"), Uses("latency")))
    rules = (
        fleet_rule("calm", (conversion, bounded("latency")), either, dwell=120.0, serving=None),
        fleet_rule("both", (conversion, bounded("latency")), either, dwell=120.0, serving=None),
        fleet_rule("dropping", (weighed_strictly, bounded("latency")), either, dwell=120.0, serving=None),
        fleet_rule("learned", (conversion,), dwell=120.0, serving=None),
        fleet_rule("plain", (bounded("latency"),), dwell=120.0, serving=None),
    )
    names = ("calm", "both", "learned", "plain")
    data = Recorded(MONDAY - 12 * DAY, T + HOUR, [conversion], deployments=names, rules=rules)
    drop = T - 3 * HOUR
    lost = Recorded(
        MONDAY - 12 * DAY, T + HOUR, [conversion], deployments=("dropping",), rules=rules, seed=2,
        rate=lambda at: day_shape(at) * (0.66 if at >= drop else 1.0),
    )  # fmt: skip
    for promql, series in lost.series.items():
        data.series[promql] += series
    times = [T + k * MINUTE for k in range(-1500, 61)]
    data.series[LATENCY] = [
        labelled("latency", name, [(at, 9.0 if at >= SLOW_FROM.get(name, at + 1) else 1.0) for at in times])
        for name in (*names, "dropping")
    ]
    return data


class Gated(Heard):
    """Hours of history are told once the gate is open; nothing is told of the future."""

    gate: asyncio.Event
    clock: VirtualClock

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        if step == HOUR:
            await self.gate.wait()
        self.until = self.clock.now()
        return await super().query_range(promql, start, end, step)


@pytest.fixture
def patient() -> Iterator[None]:
    """However small, it is a fleet that takes long."""
    before = backfill._LONG
    backfill._LONG = 1
    yield
    backfill._LONG = before


def engine(data: Recorded, at: float, journal: Journal | None = None, *, gated: bool = False) -> Engine:
    clock = VirtualClock(at)
    metrics = Gated(data.series, lookback_s=15.0)
    metrics.gate, metrics.clock = asyncio.Event(), clock
    if not gated:
        metrics.gate.set()
    options = Options(step_s=MINUTE, delay_s=0.0, lookback_s=DAY, debug=True)
    return Engine(data.rules, metrics, None, clock, options, journal=journal, inline=True)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(20_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


def states(snapshot: Snapshot) -> dict[str, TriggerState | None]:
    return {view.id.name: view.verdict.state if view.verdict else None for view in snapshot.deployments}


@pytest.mark.usefixtures("patient")
async def test_bounds_are_judged_at_once_and_what_is_not_learned_is_unknown(recorded: Recorded, tmp_path: Path) -> None:
    with new_journal(tmp_path / "journal.db", T) as journal:
        cold = engine(recorded, T, journal, gated=True)
        starting = asyncio.create_task(cold.start())
        await until(lambda: states(cold.snapshot())["both"] is TriggerState.FIRED)
        first = cold.snapshot()
        assert states(first) == {
            "calm": None, "both": TriggerState.FIRED, "dropping": None, "learned": None, "plain": TriggerState.HEALTHY,
        }  # fmt: skip
        verdict = next(view.verdict for view in first.deployments if view.id.name == "both")
        assert verdict is not None
        assert (verdict.signals[0].blind, verdict.signals[0].evidence) == (Blind.LEARNING, None)
        assert "latency" in verdict.sentence
        for minute in range(1, 9):
            await cold.clock.advance(MINUTE)  # type: ignore[attr-defined]
            await until(lambda minute=minute: cold.snapshot().evaluated_at == T + minute * MINUTE)  # type: ignore[misc]
        assert states(cold.snapshot())["plain"] is TriggerState.FIRED, "evaluation by evaluation"
        assert states(cold.snapshot())["dropping"] is None, "blindness is no breach while it is only not learned"
        assert cold.snapshot().notice.startswith("reading the history that baselines are learned from: 0 of ")
        assert [entry.kind for entry in journal.entries() if entry.kind in ("tick", "transition", "incident")] == []
        assert not starting.done()
        cold.metrics.gate.set()  # type: ignore[attr-defined]
        await starting
        told = {(e.deployment, e.parsed().after) for e in journal.entries(kinds=("transition",))}  # type: ignore[union-attr]
        assert told >= {("production/both", "fired"), ("production/plain", "fired"), ("production/dropping", "fired")}
        await cold.close()


@pytest.mark.usefixtures("patient")
async def test_it_ends_where_one_that_never_had_to_wait_is(recorded: Recorded) -> None:
    """Nine minutes of learning, and a slow latency that begins and goes meanwhile."""
    cold = engine(recorded, T, gated=True)
    starting = asyncio.create_task(cold.start())
    await until(lambda: states(cold.snapshot())["both"] is TriggerState.FIRED)
    for _ in range(9):
        await cold.clock.advance(MINUTE)  # type: ignore[attr-defined]
    cold.metrics.gate.set()  # type: ignore[attr-defined]
    await starting
    now = cold.clock.now()
    if cold.evaluated_at != now:
        await cold.step(now)
    watching = engine(recorded, T - 40 * MINUTE)
    backfill._LONG = 10_000
    await watching.start()
    for minute in range(-39, 10):
        watching.clock._now = T + minute * MINUTE  # type: ignore[attr-defined]
        await watching.step(T + minute * MINUTE)
    assert shown(cold) == shown(watching)
    assert cold.board.memories == watching.board.memories
    direct = engine(recorded, now)
    await direct.start()
    assert shown(direct) == shown(cold)
    assert states(cold.snapshot())["dropping"] is TriggerState.FIRED
    assert states(cold.snapshot())["calm"] is TriggerState.HEALTHY


@pytest.mark.usefixtures("patient")
async def test_a_start_that_fails_or_is_left_leaves_nothing_behind(recorded: Recorded) -> None:
    cold = engine(recorded, T, gated=True)
    starting = asyncio.create_task(cold.start())
    await until(lambda: states(cold.snapshot())["both"] is TriggerState.FIRED)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    others = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    assert not others


async def test_a_small_fleet_needs_no_preview(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("previewed")

    monkeypatch.setattr("rollback_console.engine.preview.Preview.__init__", never)
    small = engine(recorded, T)
    await small.start()
    assert states(small.snapshot())["both"] is TriggerState.FIRED

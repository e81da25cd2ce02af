"""A pointer that somebody else moves after a rollback: an alarm within a look at the registry, until it is settled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from rollback_console.cli.compose import Seat
from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import Snapshot
from rollback_console.rehearse.backends import WorldRegistry
from rollback_console.rehearse.demo import demo_setup

CHECKOUT = DeploymentId("production", "checkout-ranker")
ALIAS = "champion"
_STEP_S = 15.0
_LOOK_S = 30.0  # between two looks at the registry


class Bench:
    """The demo's world under the very engine and acts, on a virtual clock."""

    def __init__(self, seat: Seat, clock: VirtualClock) -> None:
        self.seat, self.clock = seat, clock
        self.seen: list[Snapshot] = []

    async def until(self, holds: Callable[[Snapshot], bool], limit_s: float) -> Snapshot:
        """Evaluate until `holds`. Fails after `limit_s`."""
        end = self.clock.now() + limit_s
        while self.clock.now() < end:
            await self.clock.advance(_STEP_S)
            self.seen.append(await self.seat.engine.step(self.clock.now()))
            if holds(self.seen[-1]):
                return self.seen[-1]
        raise AssertionError(f"it was not so within {limit_s} s")

    def flip(self, version: str) -> None:
        registry = self.seat.engine.registry
        assert isinstance(registry, WorldRegistry)
        plan = self.seat.engine.rules[self.seat.engine.index[CHECKOUT]].deployment
        registry._world.flip(plan.model, plan.alias, version, by="nightly-retraining")


def state(snapshot: Snapshot) -> ExecutionState | None:
    return snapshot.executions[-1].state if snapshot.executions else None


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A rollback of checkout-ranker from v8 to v7, which has just moved the pointer."""
    clock = VirtualClock(HEADLESS_START)
    seat = rehearsal(demo_setup(7, clock.now(), clock), tmp_path / "journal.db", command="test")
    found = Bench(seat, clock)
    await seat.engine.start()
    await found.until(
        lambda s: (v := s.view(CHECKOUT)) is not None and v.verdict is not None and v.verdict.alarming, 600
    )
    plan = await seat.acts.plan(CHECKOUT)
    assert (plan.from_version, plan.to_version) == ("8", "7")
    await seat.acts.execute(plan, "conversion fell", seat.acts.phrase(plan))
    await found.until(lambda s: state(s) is ExecutionState.VERIFYING, 300)
    yield found
    await seat.close()


def flipped(snapshot: Snapshot) -> bool:
    return bool(snapshot.alarms_of(CHECKOUT))


async def test_an_alarm_within_a_look_at_the_registry_and_none_before(bench: Bench) -> None:
    await bench.until(lambda s: s.at >= bench.seen[0].at + 300, 600)
    assert not any(snapshot.alarms for snapshot in bench.seen), "our own move, and readings older than it, are no alarm"
    bench.flip("8")
    shown = await bench.until(flipped, _LOOK_S + _STEP_S)
    (alarm,) = shown.alarms
    assert alarm.startswith(f"somebody else moved {ALIAS} of {CHECKOUT} from v7 to v8 at ")
    assert f"after execution {shown.executions[-1].id} had brought it there" in alarm
    assert any(item.kind == "pointer" and "somebody else" in item.text for item in shown.timeline)
    await bench.seat.acts.adopt(CHECKOUT, "ana did it: v7 lacks the new consent text")
    assert bench.seat.engine.snapshot().alarms == ()
    bench.flip("7")
    again = await bench.until(flipped, _LOOK_S + _STEP_S)
    assert "from v8 to v7" in again.alarms[0]
    assert "the adoption by" in again.alarms[0]


async def test_gone_when_the_incident_is_closed_and_back_for_what_follows_within_a_day(bench: Bench) -> None:
    bench.flip("6")  # serves well, too
    shown = await bench.until(flipped, _LOOK_S + _STEP_S)
    assert shown.incident_of(CHECKOUT) is not None
    closed = await bench.until(lambda s: s.incident_of(CHECKOUT) is None, 3600)
    assert not flipped(closed)
    bench.flip("8")
    assert (await bench.until(flipped, _LOOK_S + _STEP_S)).alarms


async def test_moved_back_where_it_belongs_it_is_no_alarm_any_more(bench: Bench) -> None:
    bench.flip("8")
    await bench.until(flipped, _LOOK_S + _STEP_S)
    bench.flip("7")
    await bench.until(lambda s: not s.alarms, _LOOK_S + _STEP_S)

"""A planned switch through the very engine and acts: asked for, or adopted, signed as one, and in no rate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rollback_console.cli.compose import Seat
from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.journal.kinds import Adopted, Requested
from rollback_console.journal.verify import verify
from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse.backends import WorldRegistry
from rollback_console.rehearse.demo import demo_setup

CHECKOUT = DeploymentId("production", "checkout-ranker")


@pytest.fixture
async def seat(tmp_path: Path) -> AsyncIterator[Seat]:
    clock = VirtualClock(HEADLESS_START)
    found = rehearsal(demo_setup(7, clock.now(), clock), tmp_path / "journal.db", command="test")
    await found.engine.start()
    await clock.advance(15.0)
    await found.engine.step(clock.now())
    await found.engine.look_at_pointers()
    yield found
    await found.close()


async def test_a_request_and_its_signature_say_that_it_was_planned(seat: Seat, tmp_path: Path) -> None:
    plan = await seat.acts.plan(CHECKOUT, None, "7")
    await seat.acts.execute(plan, "the season is over", seat.acts.phrase(plan), planned=True)
    assert seat.journal is not None
    (asked,) = [entry.parsed() for entry in seat.journal.entries(kinds=("request",))]
    assert isinstance(asked, Requested)
    assert asked.planned
    assert asked.person is not None
    assert '"planned":true' in asked.person.statement
    found = verify(tmp_path / "journal.db")
    assert found.ok
    assert found.persons >= 1


async def test_an_adoption_and_its_signature_say_that_it_was_planned(seat: Seat, tmp_path: Path) -> None:
    registry, engine = seat.engine.registry, seat.engine
    assert isinstance(registry, WorldRegistry)
    rule = engine.rules[engine.index[CHECKOUT]].deployment
    registry._world.flip(rule.model, rule.alias, "7", by="bo")
    await engine.look_at_pointers()
    await seat.acts.adopt(CHECKOUT, "bo did it as agreed", planned=True)
    assert seat.journal is not None
    (taken,) = [entry.parsed() for entry in seat.journal.entries(kinds=("adopt",))]
    assert isinstance(taken, Adopted)
    assert taken.planned
    assert taken.person is not None
    assert '"planned":true' in taken.person.statement
    assert verify(tmp_path / "journal.db").ok

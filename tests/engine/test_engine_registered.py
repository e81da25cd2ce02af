"""A pointer that somebody moves is journaled with when the registry got its version; our own moves ask for nothing."""

from __future__ import annotations

from pathlib import Path

from rollback_console.cli.rehearsal import HEADLESS_START, rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.journal.kinds import PointerMoved
from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse.backends import WorldRegistry
from rollback_console.rehearse.demo import demo_setup

CHECKOUT = DeploymentId("production", "checkout-ranker")


async def test_a_move_knows_when_its_version_was_registered(tmp_path: Path) -> None:
    clock = VirtualClock(HEADLESS_START)
    seat = rehearsal(demo_setup(7, clock.now(), clock), tmp_path / "journal.db", command="test")
    try:
        engine = seat.engine
        await engine.start()
        await clock.advance(15.0)
        await engine.step(clock.now())  # from here on it records
        await engine.look_at_pointers()  # the first sight of a pointer is no move
        registry = engine.registry
        assert isinstance(registry, WorldRegistry)
        rule = engine.rules[engine.index[CHECKOUT]].deployment
        known = {each.version: each.created_at for each in await registry.versions(rule.model)}
        stands = engine.pointers.stands[rule.model, rule.alias]
        other = next(version for version in known if version != stands)
        registry._world.flip(rule.model, rule.alias, other, by="nightly-retraining")
        await clock.advance(30.0)
        await engine.look_at_pointers()
        assert seat.journal is not None
        bodies = [entry.parsed() for entry in seat.journal.entries(kinds=("pointer",))]
        (moved,) = [body for body in bodies if isinstance(body, PointerMoved)]
        assert (moved.before, moved.after, moved.ours) == (stands, other, None)
        assert moved.registered_at == known[other]
        assert moved.registered_at is not None
        assert moved.registered_at < moved.at
    finally:
        await seat.close()

"""A console on the simulated world: the same engine and acts, a world and a clock of its own, a throw-away journal."""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.cli.compose import Seat
from rollback_console.engine.acts import Acts
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options, Paper, Roles
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal
from rollback_console.rehearse.demo import DemoSetup, demo_setup

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.clock import Clock

HEADLESS_START = 1_780_000_200.0  # when a headless drill begins (Unix seconds, on a step): any fixed time would do


def rehearsal_journal() -> Path:
    """A new throw-away journal's path, in a folder of its own."""
    return Path(tempfile.mkdtemp(prefix="rollback-console-rehearsal-")) / "journal.db"


def rehearsal(
    seed: int,
    clock: Clock,
    journal: Path,
    *,
    command: str,
    speed: float = 1.0,
    set_speed: Callable[[float], None] | None = None,
    headless: bool = False,
) -> Seat:
    """A console on the demo's world. Device, operator, ids, noise: all from the seed. `headless` writes in line, so
    that nothing hangs on a thread's turn."""
    from rollback_console.authorize.roles import Authority
    from rollback_console.authorize.roster_view import from_roster
    from rollback_console.execute.drivers.mlflow_alias import MlflowAliasDriver
    from rollback_console.execute.locks import MemoryLocks
    from rollback_console.policy.load import parse_policy, parse_roster
    from rollback_console.runbook.library import Library

    setup: DemoSetup = demo_setup(seed, clock.now(), clock)
    policy = parse_policy(setup.policy_bytes, setup.policy_name)
    roster = parse_roster(setup.roster_bytes, setup.roster_name)
    authority = Authority.of_key(from_roster(roster.roster), setup.operator_key, now=clock.now)
    ids = random.Random(f"rollback-console rehearsal {seed}")  # noqa: S311 - a drill's ids come from its seed
    opened = Journal.open(
        journal,
        device=DeviceKey.from_seed(setup.device_seed),
        clock=clock,
        rehearsal=True,
        chain=f"{ids.getrandbits(128):032x}",
    )
    locks = MemoryLocks(clock.now)
    library = Library()
    papers = (
        Paper("policy", policy.policy.name, policy.policy.version, policy.digest, policy.data),
        Paper("roster", setup.roster_name, 1, roster.digest, roster.data),
    )
    options = Options(
        step_s=setup.step_s,
        delay_s=0.0,
        lookback_s=6 * 3600.0,
        band="REHEARSAL",
        simulated=True,
        operator=authority.operator,
        journal_path=str(journal),
        command=command,
        papers=papers,
    )
    engine = Engine(
        policy.rules, setup.metrics, setup.registry, clock, options,
        journal=opened, roles=Roles(lock_free=lambda d: locks(str(d)).holder() is None),
        runbooks=library.all, inline=headless,
    )  # fmt: skip
    engine.set_speed(speed)
    driver = MlflowAliasDriver(setup.registry, now=clock.now, base_url="http://registry.rehearsal.invalid")
    acts = Acts(
        engine, authority, {"mlflow-alias": driver}, locks, library,
        random=ids, set_speed=set_speed, poll_s=setup.step_s if headless else 5.0,
    )  # fmt: skip
    return Seat(engine, acts, opened, None)


def now_on_a_step(step: float = 15.0) -> float:
    """The wall's time, brought to the evaluation grid."""
    return time.time() // step * step

"""One headless drill: the scenario staged, a console seated on it, the operator's script played, the score told."""

from __future__ import annotations

import gc
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.errors import UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.score import DrillResult
    from rollback_console.rehearse.setup import Setup

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder in memory, where there is one: a journal of our own making goes there


class NotCovered(UsageError):
    """The policy says nothing of a scenario's deployments: it cannot be rehearsed under it."""


def staged(scenario: Scenario, seed: int, policy: Path | None = None) -> Setup:
    """The scenario's stage for a headless drill, under its own policy or the one in a file. Raises FileProblems for a
    bad one, NotCovered for one that names none of the deployments that it is about."""
    from rollback_console.cli.rehearsal import HEADLESS_START
    from rollback_console.clock import VirtualClock

    setup = scenario.stage(seed, HEADLESS_START, VirtualClock(HEADLESS_START))
    return setup if policy is None else under(setup, policy, scenario.name)


def under(setup: Setup, policy: Path, scenario: str) -> Setup:
    """The same stage under the policy in a file. Raises as `staged`."""
    from rollback_console.policy.load import load_policy

    loaded = load_policy(policy)
    named = {rule.deployment.id for rule in loaded.rules}
    truth = setup.truth
    wanted = {cure.deployment for cure in truth.cures} or {*truth.leave, *truth.not_curable, *truth.blind}
    missing = sorted(str(name) for name in wanted - named)
    if missing:
        raise NotCovered(
            f"{plain(policy, 200)} says nothing of {', '.join(missing)}, which {plain(scenario, 80)} is about",
            "rehearse a scenario of its own deployments under it, or leave --policy away",
        )
    return replace(setup, policy_name=policy.name, policy_bytes=loaded.data, compiled=None)


def policy_digest(setup: Setup) -> str:
    """SHA-256 of the policy's bytes, hexadecimal: what rules compiled from it bear."""
    return hashlib.sha256(setup.policy_bytes).hexdigest()


async def headless_drill(
    scenario: Scenario, operator: str, seed: int, journal: Path | None, policy: Path | None = None
) -> tuple[DrillResult, Path]:
    """Play a scenario on a virtual clock; returns the score and the journal's path. `operator`: a name, or a script's
    file. Raises `ConsoleError` for whatever a person wrote wrong."""
    from rollback_console.cli.rehearsal import rehearsal, rehearsal_journal
    from rollback_console.clock import VirtualClock
    from rollback_console.rehearse.headless import Drill, run_headless
    from rollback_console.rehearse.operators import operator_named
    from rollback_console.rehearse.score import About

    script = operator_named(operator)
    path = journal or rehearsal_journal()
    if path.exists():
        raise UsageError(f"{path} exists", "a drill makes its own journal: name a new file")
    setup = staged(scenario, seed, policy)
    clock = setup.world.clock
    if not isinstance(clock, VirtualClock):
        raise TypeError("a headless drill is staged on a virtual clock")
    seat = rehearsal(setup, path, command="rehearse")
    try:
        await seat.engine.start()
        drill = Drill(
            scenario.name, seed, operator, script, setup.truth, setup.step_s,
            world=setup.world, about=About.of(scenario, setup),
        )  # fmt: skip
        return await run_headless(drill, seat.engine, seat.acts, clock), path
    finally:
        await seat.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for journals that nobody keeps: in memory where there is such a place, for a journal waits for its disk
    at every entry. The journal is the very same, and goes with the folder."""
    there = _MEMORY if _MEMORY.is_dir() and _usable(_MEMORY) else None
    folder = Path(tempfile.mkdtemp(prefix="rollback-console-drills-", dir=there))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _usable(folder: Path) -> bool:
    """May we write there, and is there room for some hundred journals of a few megabytes."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return shutil.disk_usage(folder).free > 256_000_000
    except OSError:
        return False


@contextmanager
def collected_between() -> Iterator[None]:
    """The cycle collector rests while a drill is played, and looks through what is left of it afterwards: of all that
    a drill makes nearly nothing is a cycle, and looking again and again is a seventh of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
        gc.collect()

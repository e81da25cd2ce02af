"""One headless drill: the scenario staged, a console seated on it, the operator's script played, the score told."""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.errors import UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.cli.compose import Seat
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.score import DrillResult
    from rollback_console.rehearse.setup import Setup

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder in memory, where there is one: a journal of our own making goes there


class NotCovered(UsageError):
    """The policy says nothing of a scenario's deployments: it cannot be rehearsed under it."""


def staged(scenario: Scenario, seed: int, policy: Path | None = None, operator: str = "perfect") -> Setup:
    """The scenario's stage for a headless drill, under its own policy or the one in a file, in the mode that the
    operator needs. Raises FileProblems for a bad one, NotCovered for one that does not name what it is about."""
    from rollback_console.cli.rehearsal import HEADLESS_START
    from rollback_console.clock import VirtualClock
    from rollback_console.rehearse.operators import mode_for

    clock = VirtualClock(HEADLESS_START)
    try:
        setup = scenario.stage(seed, HEADLESS_START, clock, policy=policy, mode=mode_for(operator))
    except UsageError as error:
        raise (error if policy is None else NotCovered(error.message, error.next_step)) from None
    truth = setup.truth
    about = {cure.deployment for cure in truth.cures} or {*truth.leave, *truth.not_curable, *truth.blind}
    missing = sorted(str(name) for name in about - {rule.deployment.id for rule in setup.rules()})
    if policy is not None and missing:
        raise NotCovered(
            f"{plain(policy, 200)} says nothing of {', '.join(missing)}, which {plain(scenario.name, 80)} is about",
            "rehearse a scenario of its own deployments under it, or leave --policy away",
        )
    return setup


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
    from rollback_console.rehearse.pace import begun
    from rollback_console.rehearse.score import About

    script = operator_named(operator)
    path = journal or rehearsal_journal()
    if path.exists():
        raise UsageError(f"{path} exists", "a drill makes its own journal: name a new file")
    setup = staged(scenario, seed, policy, operator)
    clock = setup.world.clock
    if not isinstance(clock, VirtualClock):
        raise TypeError("a headless drill is staged on a virtual clock")
    seat = rehearsal(setup, path, command="rehearse")
    try:
        await begun(seat.engine.start(), setup.world, clock, setup.step_s)
        drill = Drill(
            scenario.name, seed, operator, script, setup.truth, setup.step_s, limit_s=scenario.lasts_s,
            world=setup.world, about=About.of(scenario, setup),
        )  # fmt: skip
        after = by_itself(seat)
        return await run_headless(drill, seat.engine, seat.acts, clock, after=after), path
    finally:
        await seat.close()


def by_itself(seat: Seat) -> Callable[[], Coroutine[None, None, None]] | None:
    """What policies in the mode `act` let go by itself, looked at after every evaluation; None where none is."""
    from rollback_console.model.rules import Mode

    if not any(rule.mode is Mode.ACT for rule in seat.engine.rules):
        return None
    from rollback_console.engine.automatic import Automatic

    Automatic(seat.engine, seat.acts)
    return seat.engine.after_evaluation


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for journals that nobody keeps: in memory where there is such a place, for a journal waits for its disk
    at every entry. The journal is the very same, and goes with the folder."""
    there = _MEMORY if _MEMORY.is_dir() and _usable(_MEMORY) else None
    folder = Path(tempfile.mkdtemp(prefix=f"rollback-console-drills-{os.getpid()}-", dir=there))
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
def ends_when_asked() -> Iterator[None]:
    """A CI server that gives up (SIGTERM) and a terminal that closes (SIGHUP) end it as Ctrl-C does: what was started
    ends with it, and nothing is left lying in memory or on the disk."""

    def end(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    asked = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    if threading.current_thread() is not threading.main_thread():  # nobody but the main thread may listen
        yield
        return
    before = {number: signal.signal(number, end) for number in asked}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

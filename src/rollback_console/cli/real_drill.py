"""`rehearse SCENARIO --headless --real`: the same scenario, operator and score on a real Prometheus and MLflow."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rollback_console.cli.common import warn
from rollback_console.cli.drilling import ends_when_asked
from rollback_console.errors import BackendUnreachable, UsageError

if TYPE_CHECKING:
    from rollback_console.cli.compose import Seat
    from rollback_console.cli.rehearsal import Rehearsal
    from rollback_console.observe.connect import Backends
    from rollback_console.rehearse.sandbox.scene import Scene
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.score import DrillResult

_DELAY_S = 5.0  # evaluations lag behind the clock by this much, as a live console's do: scrapes have arrived
_SETTINGS = """\
schema: rollback-console/settings/v1
prometheus: {{url: {prometheus}, step: {step:g}s, timeout: 10s}}
registry: {{kind: mlflow, url: {registry}, timeout: 10s}}
budget: {{queries_per_minute: 6000}}
policies: [policy.yaml]
"""


class WallSteps:
    """Evaluation times on the wall's clock: each stands until the next is due, and none is left out."""

    def __init__(self, start: float, delay_s: float = _DELAY_S) -> None:
        """The first evaluation is that of `start` (Unix seconds, on a step)."""
        self._at, self._delay = start, delay_s

    def now(self) -> float:
        return self._at

    async def due(self) -> None:
        """Until the evaluation of this time may be made."""
        await asyncio.sleep(max(0.0, self._at + self._delay - time.time()))

    async def advance(self, seconds: float) -> None:
        self._at += seconds
        await self.due()


def real_drill(
    scenario: Scenario, operator: str, seed: int, journal: Path | None, policy: Path | None
) -> tuple[DrillResult, Path]:
    """Play a scenario for real, in its own time; returns the score and the journal's path. Raises UsageError for what
    is not installed or cannot be played so, BackendUnreachable where a server does not start."""
    from rollback_console.cli.rehearsal import rehearsal_journal
    from rollback_console.rehearse.operators import mode_for, operator_named
    from rollback_console.rehearse.sandbox.scene import Scene

    operator_named(operator)  # a name that nobody bears is said before anything is started
    path = journal or rehearsal_journal()
    if path.exists():
        raise UsageError(f"{path} exists", "a drill makes its own journal: name a new file")
    with ends_when_asked(), tempfile.TemporaryDirectory(prefix="rollback-console-real-") as folder:
        scene = Scene(scenario, seed, Path(folder), policy=policy, mode=mode_for(operator))
        warn("starting Prometheus, MLflow and the scenario's services; then it takes the time that it takes")
        with scene:
            return asyncio.run(_play(scene, scenario, operator, seed, path, Path(folder))), path


async def _play(
    scene: Scene, scenario: Scenario, operator: str, seed: int, path: Path, folder: Path
) -> DrillResult:  # fmt: skip
    from rollback_console.cli.drilling import by_itself
    from rollback_console.rehearse.grid import aligned
    from rollback_console.rehearse.headless import Drill, run_headless
    from rollback_console.rehearse.operators import operator_named
    from rollback_console.rehearse.score import About

    setup = scene.setup
    backends = connected(scene, folder)
    try:
        seat = _seat(scene, backends, path)
        try:
            steps = WallSteps(max(setup.start, aligned(time.time())))
            await steps.due()
            await seat.engine.start()
            drill = Drill(
                scenario.name, seed, operator, operator_named(operator), setup.truth, setup.step_s,
                limit_s=scenario.lasts_s, world=setup.world, about=About.of(scenario, setup),
            )  # fmt: skip

            async def stands() -> None:
                if dead := scene.dead():
                    raise BackendUnreachable(f"{dead} of the real stack died", "play it again")

            return await run_headless(drill, seat.engine, seat.acts, steps, settle=stands, after=by_itself(seat))
        finally:
            await seat.close()
    finally:
        await backends.close()


def connected(scene: Scene, folder: Path) -> Backends:
    """The very backends of a live console, by settings of their own."""
    from rollback_console.clock import WallClock
    from rollback_console.observe.connect import connect
    from rollback_console.policy.load import load_settings

    settings = folder / "settings.yaml"
    (folder / "policy.yaml").write_bytes(scene.setup.policy_bytes)
    words = {"prometheus": scene.prometheus_url, "registry": scene.registry_url, "step": scene.setup.world.slot_s}
    settings.write_text(_SETTINGS.format(**words))
    loaded = load_settings(settings)
    return connect(loaded.settings, folder, clock=WallClock(), random=random.Random(scene.setup.world.seed))  # noqa: S311 - jitter


def on_real(scene: Scene, backends: Backends, path: Path) -> Rehearsal:
    """A rehearsal's console parts, its own keys and journal, on these backends. It evaluates as late as a live one."""
    from rollback_console.cli.rehearsal import Rehearsal
    from rollback_console.engine.loop import Engine

    class Late(Rehearsal):
        def engine(self, **more: Any) -> Engine:
            made = super().engine(**more)
            made.options = replace(made.options, delay_s=_DELAY_S)
            return made

    real: Any = {"metrics": backends.metrics, "registry": backends.registry}
    return Late(cast("Any", replace(scene.setup, **real)), path, command="rehearse --real")


def _seat(scene: Scene, backends: Backends, path: Path) -> Seat:
    """A console on real backends that nobody watches."""
    from rollback_console.cli.compose import Seat

    played = on_real(scene, backends, path)
    opened = played.journal()
    engine = played.engine(journal=opened, inline=True)
    return Seat(engine, played.acts(engine, played.keys(engine), 5.0), opened, None)

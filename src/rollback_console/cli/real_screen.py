"""`rehearse SCENARIO --real`: a drill with a screen on a real Prometheus and MLflow, in the wall's own time."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.cli.common import need_terminal, warn
from rollback_console.cli.drill import Played, Wanted, first
from rollback_console.cli.drilling import ends_when_asked
from rollback_console.errors import Refused, UsageError
from rollback_console.rehearse.drill_clock import DrillClock

if TYPE_CHECKING:
    from rollback_console.cli.rehearsal import Rehearsal
    from rollback_console.rehearse.sandbox.scene import Scene
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.setup import Setup


class RealClock(DrillClock):
    """The wall's clock where a drill's is asked for: nobody pauses it, and nobody moves it on."""

    def __init__(self) -> None:
        super().__init__(time.time(), 1.0)

    def now(self) -> float:
        return time.time()

    def set_speed(self, speed: float) -> None:
        """Real servers go on, whatever is asked."""

    async def move_to(self, moment: float) -> None:
        """Raises Refused."""
        raise Refused("real servers take the time that they take", "without --real a drill steps, jumps and pauses")


class RealPlayed(Played):
    """A drill with a screen on a scene."""

    def __init__(self, wanted: Wanted, scene: Scene, folder: Path) -> None:
        self._scene, self._folder = scene, folder
        super().__init__(wanted)

    def _staged(self, scenario: Scenario) -> tuple[Setup, DrillClock]:
        return self._scene.setup, RealClock()

    def _rehearsal(self) -> Rehearsal:
        from rollback_console.cli.real_drill import connected, on_real

        return on_real(self._scene, connected(self._scene, self._folder), self.path)


def rehearse_real(wanted: Wanted) -> None:
    """The drill from its story to its report. Raises `ConsoleError` for whatever a person wrote wrong, and where a
    server does not start."""
    need_terminal("without one, `rollback-console rehearse --headless --real` plays it by an operator of its own")
    if wanted.journal is not None and wanted.journal.exists():
        raise UsageError(f"{wanted.journal} exists", "a drill makes its own journal: name a new file")
    from rollback_console.rehearse.sandbox.scene import Scene
    from rollback_console.rehearse.scenario import find

    scenario = find(wanted.scenario or first(tutorial=wanted.tutorial))
    with ends_when_asked(), tempfile.TemporaryDirectory(prefix="rollback-console-real-") as folder:
        scene = Scene(scenario, wanted.seed, Path(folder))
        warn("starting Prometheus, MLflow and the scenario's services: a minute, and then the story begins")
        with scene:
            played = RealPlayed(wanted, scene, Path(folder))
            app = played.app()
            app.run()
            if app.problem is not None:
                raise app.problem
            played.leave()

"""`rollback-console rehearse [SCENARIO]`: a drill with a screen, on the very engine and screens of the live console."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rollback_console.cli.common import emit_lines, need_terminal
from rollback_console.errors import ConsoleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.cli.drill_record import Record
    from rollback_console.cli.rehearsal import Rehearsal
    from rollback_console.commands import Commands
    from rollback_console.model.drill import DrillReport
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.rehearse.drill import LiveDrill
    from rollback_console.rehearse.drill_clock import DrillClock
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.score import DrillResult
    from rollback_console.rehearse.setup import Setup
    from rollback_console.tui.app import ConsoleApp

FIRST = "conversion-regression"  # the one to begin with, for whom nothing is named
_WIDEST = 100
_WEEK_S, _MONDAY_S = 604_800.0, 4 * 86_400.0  # the epoch was a Thursday


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for. `scenario`: a name or a file, None: the first one to play; `journal`: the drill's own,
    None: a throw-away one; `record`: make the main journal where there is none."""

    scenario: str | None
    seed: int
    speed: float
    tutorial: bool = False
    journal: Path | None = None
    config: Path | None = None
    record: bool = False


def rehearse_live(wanted: Wanted) -> None:
    """The drill from its story to its report. Raises `ConsoleError` for whatever a person wrote wrong."""
    try:
        need_terminal("without one, `rollback-console rehearse --headless` plays a scenario by an operator of its own")
    except UsageError:
        if wanted.scenario is not None:
            from rollback_console.rehearse.scenario import find

            find(wanted.scenario)  # a scenario that there is not is what to say first
        raise
    if wanted.journal is not None and wanted.journal.exists():
        raise UsageError(f"{wanted.journal} exists", "a drill makes its own journal: name a new file")
    played = Played(wanted)
    app = played.app()
    app.run()
    if app.problem is not None:
        raise app.problem
    played.leave()


def last_begin(now: float, begins_s: float | None) -> float:
    """The last time of that time of the week (seconds since Monday, 00:00 UTC) until `now`, Unix seconds: the clock on
    the screen then says what the story says. Now, where a scenario begins at any time."""
    return now if begins_s is None else now - (now - _MONDAY_S - begins_s) % _WEEK_S


def first(*, tutorial: bool) -> str:
    """The scenario for whom none is named: a newcomer's is the plainest one, else the demo's story."""
    from rollback_console.rehearse.scenario import shipped

    return FIRST if tutorial and any(listed.name == FIRST for listed in shipped()) else "demo"


def show_report(report: DrillReport | None) -> None:
    """Print a report as wide as the terminal is."""
    if report is not None:
        width = max(40, min(shutil.get_terminal_size().columns, _WIDEST))
        emit_lines("".join(text for text, _ in each) for each in report.lines(width))


class Played:
    """One drill put together: its console, who plays it, and what is kept of it."""

    def __init__(self, wanted: Wanted) -> None:
        from rollback_console.cli.drill_record import Record
        from rollback_console.cli.rehearsal import rehearsal_journal
        from rollback_console.rehearse.drill import LiveDrill
        from rollback_console.rehearse.grid import aligned
        from rollback_console.rehearse.scenario import find

        self._word = wanted.scenario or first(tutorial=wanted.tutorial)
        scenario = find(self._word)
        self._wanted = wanted
        self._begins = aligned(last_begin(time.time(), scenario.begins_s))
        self.path = wanted.journal or rehearsal_journal()
        self._record: Record = Record.find(wanted.config, make=wanted.record)
        self._setup, clock = self._staged(scenario)
        self.drill: LiveDrill = LiveDrill(
            scenario, self._setup, "you", clock, speed=wanted.speed, tutorial=wanted.tutorial
        )  # fmt: skip
        self.drill.on_over = self._over
        self._person: str | None = None
        self._beside: set[asyncio.Task[None]] = set()

    def _staged(self, scenario: Scenario) -> tuple[Setup, DrillClock]:
        """The stage, and the clock that the operator has in hand."""
        from rollback_console.rehearse.drill_clock import DrillClock

        clock = DrillClock(self._begins, 0.0)  # it stands until the story was read
        return scenario.stage(self._wanted.seed, self._begins, clock), clock

    def _rehearsal(self) -> Rehearsal:
        """The console's parts on that stage."""
        from rollback_console.cli.rehearsal import Rehearsal

        return Rehearsal(self._setup, self.path, command="rehearse")

    def app(self) -> ConsoleApp:
        """The console on it, not yet running."""
        from rollback_console.tui.app import ConsoleApp

        return ConsoleApp(self._start, drill=self.drill)

    async def _start(self, publish: Callable[[Snapshot], None]) -> Commands:
        from rollback_console.cli.drilling import by_itself
        from rollback_console.cli.rehearsal import opening

        played = self._rehearsal()
        clock = self.drill.clock
        seat = await opening(
            played, self.drill.tap(publish), speed=self._wanted.speed, set_speed=clock.set_speed
        )  # fmt: skip
        by_itself(seat)
        self._keep(self._play_best())
        self._keep(self._look_back())

        async def close() -> None:
            for task in tuple(self._beside):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConsoleError):
                    await task
            await seat.close()

        seat.acts.on_close = close
        return cast("Commands", self.drill.commands(seat.acts))

    def _keep(self, coro: Any) -> None:
        task = asyncio.create_task(coro)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _play_best(self) -> None:
        from rollback_console.cli.drill_best import beside

        try:
            self.drill.best = await beside(self._word, self._wanted.seed, self._begins)
        except ConsoleError as error:
            self.drill.why_no_best = f"best: {error}"
        self.drill.show()

    async def _look_back(self) -> None:
        """Who practises, and their earlier drills of this scenario."""
        from rollback_console.cli.drill_record import person

        self._person = await asyncio.to_thread(person, self._wanted.config)
        self.drill.operator = self._person
        scenario = self.drill.scenario.name
        self.drill.past = await asyncio.to_thread(self._record.past, scenario, self._person)
        self.drill.show()

    def _over(self, result: DrillResult) -> None:
        """It is over: put it on record, beside the screen."""

        async def keep() -> None:
            self.drill.recorded = await asyncio.to_thread(self._put_down, result)
            self.drill.show()

        self._keep(keep())

    def _put_down(self, result: DrillResult) -> str:
        from rollback_console.cli.drill_record import person

        who = self._person or person(self._wanted.config)
        mode = "tutorial" if self._wanted.tutorial else "drill"
        detail = result.detail() | {"operator": who, "mode": mode, "walks": self.drill.walked()}
        return self._record.keep(result.scenario, result.seed, result.passed, detail, who)

    def leave(self) -> None:
        """Back on the terminal: the report. A drill that was left is scored as it stands."""
        drill = self.drill
        if drill.result is None:
            drill.on_over = lambda _: None
            drill.end()
        if drill.result is not None and not drill.recorded:
            drill.recorded = self._put_down(drill.result)
        if drill.best is None:
            drill.why_no_best = drill.why_no_best if "computing" not in drill.why_no_best else "best: left too early"
        show_report(drill.view.report)
        emit_lines([f"this drill's journal: {self.path}", f"read it again: rollback-console review {self.path}"])

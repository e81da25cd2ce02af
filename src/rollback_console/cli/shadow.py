"""`rollback-console rehearse --shadow JOURNAL`: an incident of a real journal, relived up to the decision."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rollback_console.cli.common import emit_lines, need_terminal
from rollback_console.cli.drill import show_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.commands import Commands
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.rehearse.shadow import Shadow, ShadowResult
    from rollback_console.tui.app import ConsoleApp


def relive(journal: Path, incident: str | None, speed: float, config: Path | None, *, make: bool) -> None:
    """The shadow from its story to its report. Raises `ConsoleError`: no such journal, no such incident."""
    need_terminal("`rollback-console review` prints what a journal holds")
    shadowed = Shadowed(journal, incident, speed, config, make=make)
    app = shadowed.app()
    app.run()
    if app.problem is not None:
        raise app.problem
    shadowed.leave()


class Shadowed:
    """One shadow put together: its console, and what is kept of it. JOURNAL is read and never written."""

    def __init__(self, journal: Path, incident: str | None, speed: float, config: Path | None, *, make: bool) -> None:
        from rollback_console.cli.drill_record import Record
        from rollback_console.rehearse.drill_clock import DrillClock
        from rollback_console.rehearse.shadow import Shadow, chosen
        from rollback_console.review.replay import Replay

        replay = Replay.open(journal)
        self._config = config
        self._record: Record = Record.find(config, make=make)
        self.shadow: Shadow = Shadow(
            replay, chosen(replay, incident), "you", lambda start: DrillClock(start, 0.0), speed
        )  # fmt: skip
        self.shadow.on_over = self._over
        self._keeping: asyncio.Task[None] | None = None

    def app(self) -> ConsoleApp:
        """The console on it, not yet running."""
        from rollback_console.tui.app import ConsoleApp

        async def start(publish: Callable[[Snapshot], None]) -> Commands:
            return cast("Commands", await self.shadow.start(publish))

        return ConsoleApp(start, drill=self.shadow)

    def _over(self, result: ShadowResult) -> None:
        async def keep() -> None:
            self.shadow.recorded = await asyncio.to_thread(self._put_down, result)
            self.shadow.show()

        self._keeping = asyncio.create_task(keep())

    def _put_down(self, result: ShadowResult) -> str:
        from rollback_console.cli.drill_record import person

        who = person(self._config)
        return self._record.keep(self.shadow.view_name, 0, result.well, result.detail() | {"operator": who}, who)

    def leave(self) -> None:
        """Back on the terminal: the report, or that nothing was decided."""
        result = self.shadow.result
        if result is None:
            emit_lines(["nothing was decided: nothing is on record"])
            return
        if not self.shadow.recorded:
            self.shadow.recorded = self._put_down(result)
        show_report(self.shadow.view.report)

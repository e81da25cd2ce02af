"""`rollback-console watch`: the same engine without a screen, for a server."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback_console.cli.common import (
    config_option,
    emit_json_line,
    emit_lines,
    journal_option,
    json_option,
    rfc3339,
    warn,
)
from rollback_console.model.observation import BackendState

if TYPE_CHECKING:
    from collections.abc import Callable

    from rollback_console.model.automatic import Announcement
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.model.verdict import TriggerState


@click.command("watch", epilog="Example: rollback-console watch --json | tee -a transitions.jsonl")
@click.option("--for", "seconds", type=click.FloatRange(min=0), help="Leave after so many seconds (default: never).")
@config_option
@journal_option
@json_option
@click.pass_context
def command(
    ctx: click.Context, seconds: float | None, config: Path | None, journal: Path | None, as_json: bool
) -> None:
    """Observe, decide and record without a screen; prints a line a transition.

    What a policy in the mode `act` lets go by itself goes while this process records: announced first, held by
    `rollback-console hold` or by H on a console beside it.

    Beside another console on the same journal it follows, and takes over when the other has ended. SIGTERM ends it
    with code 0, Ctrl-C with 130. What goes wrong meanwhile is said on stderr.
    """
    ctx.exit(asyncio.run(_watch(seconds, config, journal, as_json)))


class Reporter:
    """Prints what changed from one Snapshot to the next."""

    def __init__(self, as_json: bool, leave: Callable[[], None]) -> None:
        self._json, self._leave = as_json, leave
        self._troubles: tuple[str, ...] = ()
        self._states: dict[str, TriggerState] = {}
        self._incidents: set[str] = set()
        self._at: float | None = None
        self._announced: tuple[Announcement, ...] = ()

    def __call__(self, snapshot: Snapshot) -> None:
        self._complain(snapshot)
        self._announce(snapshot)
        if snapshot.evaluated_at is None or snapshot.evaluated_at == self._at:
            return
        self._at = snapshot.evaluated_at
        for view in snapshot.deployments:
            verdict = view.verdict
            if verdict is None:
                continue
            before = self._states.get(str(view.id))
            self._states[str(view.id)] = verdict.state
            if before is verdict.state or (before is None and verdict.state == "healthy"):
                continue
            self._say(
                {
                    "at": rfc3339(verdict.at),
                    "deployment": str(view.id),
                    "from": str(before) if before else None,
                    "to": str(verdict.state),
                    "version": verdict.version,
                    "reason": verdict.sentence,
                    "incident": view.incident,
                }
            )
        for incident in snapshot.incidents:
            if incident.id not in self._incidents:
                self._incidents.add(incident.id)
                self._say(
                    {
                        "at": rfc3339(snapshot.evaluated_at),
                        "incident": incident.id,
                        "members": [str(name) for name in incident.members],
                        "attribution": str(incident.attribution.kind),
                        "reason": incident.sentence,
                    }
                )

    def _announce(self, snapshot: Snapshot) -> None:
        """What goes by itself, was held, or could not go."""
        for each in snapshot.announced:
            if each not in self._announced:
                self._say(
                    {
                        "at": rfc3339(snapshot.at),
                        "automatic": str(each.state),
                        "deployment": str(each.deployment),
                        "to_version": each.to_version,
                        "due": rfc3339(each.due),
                        "reason": each.sentence,
                    }
                )
        self._announced = snapshot.announced

    def _complain(self, snapshot: Snapshot) -> None:
        """What is wrong with the watching itself, once each time it begins: stderr, so that stdout stays facts."""
        failing = [f"{b.name}: {b.detail}" for b in snapshot.backends if b.state is BackendState.FAILING]
        noticed = [snapshot.notice] if snapshot.notice and snapshot.notice != "connecting" else []
        troubles = (*noticed, *failing, *([snapshot.journal.problem] if snapshot.journal.problem else []))
        for trouble in troubles:
            if trouble not in self._troubles:
                warn(f"{rfc3339(snapshot.at)} {trouble}")
        self._troubles = troubles

    def _say(self, fact: dict[str, Any]) -> None:
        if self._json:
            read = emit_json_line(fact)
        elif "automatic" in fact:
            read = emit_lines([f"{fact['at']} {fact['reason']}"])
        elif "deployment" in fact:
            read = emit_lines(
                [f"{fact['at']} {fact['deployment']}: {fact['from'] or 'start'} -> {fact['to']}: {fact['reason']}"]
            )
        else:
            read = emit_lines([f"{fact['at']} {fact['incident']}: {fact['reason']}"])
        if not read:
            self._leave()


async def _watch(seconds: float | None, config: Path | None, journal: Path | None, as_json: bool) -> int:
    from rollback_console.cli.compose import live

    seat = live(config, journal, command="watch", by_itself=True)
    loop = asyncio.get_running_loop()
    leave, code = asyncio.Event(), 0

    def interrupted() -> None:
        nonlocal code
        code = 130
        leave.set()

    loop.add_signal_handler(signal.SIGTERM, leave.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        seat.start(Reporter(as_json, leave.set))
        waiting = asyncio.create_task(leave.wait())
        tasks = {waiting} if seat.run is None else {waiting, seat.run}
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if seat.run is not None and seat.run.done():
            seat.run.result()
    finally:
        await seat.close()
    return code

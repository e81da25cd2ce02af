"""`rollback-console summary`: ten plain lines for the incident channel."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, journal_option, json_option


@click.command("summary", epilog="Example: rollback-console summary checkout-ranker | pbcopy")
@click.argument("incident", required=False, metavar="[INCIDENT or DEPLOYMENT]")
@config_option
@journal_option
@json_option
def command(incident: str | None, config: Path | None, journal: Path | None, as_json: bool) -> None:
    """Ten plain lines for the incident channel: state, sentence, who, next update, UTC."""
    text = asyncio.run(_summary(incident, config, journal))
    if as_json:
        emit_json({"lines": text.split("\n")})
    else:
        emit_lines(text.split("\n"))


async def _summary(name: str | None, config: Path | None, journal: Path | None) -> str:
    from rollback_console.cli.compose import find_authority, live
    from rollback_console.cli.status import evaluate
    from rollback_console.engine.summary import summarize

    seat = live(config, journal, command="summary", writes=False)
    try:
        await find_authority(seat, ask=False)  # who is at the console; never asks for a passphrase
        snapshot = await evaluate(seat)
        incident = next((i for i in snapshot.incidents if i.id == name), None)
        if incident is not None:
            return summarize(snapshot, incident.members[0])
        return summarize(snapshot, seat.acts.find(name) if name else None)
    finally:
        await seat.close()

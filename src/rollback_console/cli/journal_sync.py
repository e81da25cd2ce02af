"""`rollback-console journal sync`: send what waits to the hub, once or for as long as it runs."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback_console.cli.common import (
    config_option,
    emit_json,
    emit_json_line,
    emit_lines,
    find_journal,
    journal_option,
    json_option,
)
from rollback_console.errors import ConsoleError, LockHeld, UsageError

if TYPE_CHECKING:
    from rollback_console.cli.hub_link import Target
    from rollback_console.clock import Clock
    from rollback_console.journal.sync import Round
    from rollback_console.model.hub import HubState


@click.command("sync", epilog="Example: rollback-console journal sync --once")
@journal_option
@config_option
@click.option("--once", is_flag=True, help="Send what waits, and leave.")
@click.option("--receipt", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write the newest receipt there; nothing is sent.")  # fmt: skip
@click.option("--accept-hub", "reason", metavar="REASON",
              help="Close the alarms: go on with the hub as it is. The evidence stays.")  # fmt: skip
@json_option
def sync_command(
    journal: Path | None, config: Path | None, once: bool, receipt: Path | None, reason: str | None, as_json: bool
) -> None:
    """Send the journal to the team's hub, and check what it answers. A console does the same while it runs.

    Exit 0 when every entry is there and a receipt proves it; 1 when the hub is not to be believed; 3 when it cannot be
    reached. Without --once it goes on until SIGTERM or Ctrl-C, and says each change.
    """
    from rollback_console.cli import hub_link
    from rollback_console.clock import WallClock

    hub = hub_link.target(config)
    if hub is None:
        raise UsageError(
            "the settings name no hub", "`rollback-console hub join URL --code CODE` enrols and prints the lines"
        )
    path, clock = find_journal(journal, config), WallClock()
    if receipt is not None:
        _write_receipt(path, hub, receipt)
    elif reason is not None:
        _accept(path, hub, clock, reason, as_json)
    elif once:
        _once(path, hub, clock, as_json)
    else:
        _keep_on(path, hub, clock, as_json)


def _once(path: Path, hub: Target, clock: Clock, as_json: bool) -> None:
    from rollback_console.cli import hub_link

    _settle(path, hub, clock)
    syncer = hub_link.syncer(path, hub, clock)
    try:
        done = syncer.round()
        if done is None:
            raise LockHeld(
                "another process sends this journal already", "`rollback-console journal status` says how far it is"
            )
    finally:
        found = syncer.state
        syncer.close()
    if as_json:
        emit_json({**hub_link.facts(found), **_done(done)})
    else:
        emit_lines([_sent(done), *hub_link.lines(found, clock)])
    if found.open_alarms or found.closed:
        raise click.exceptions.Exit(1)


def _settle(path: Path, hub: Target, clock: Clock) -> None:
    """A journal with two ends, or of a copied key, is set aside where nobody works on it."""
    from rollback_console.cli import hub_link

    if path.exists():
        hub_link.open_journal(path, clock, hub).close()


def _done(done: Round) -> dict[str, Any]:
    return {"sent": done.sent, "duplicates": done.duplicates, "blobs": done.blobs, "refused_blobs": done.refused_blobs}


def _sent(done: Round) -> str:
    again = f", {done.duplicates:,} were there already" if done.duplicates else ""
    refused = f", {done.refused_blobs:,} blobs are too large for it" if done.refused_blobs else ""
    return f"sent {done.sent:,} entries and {done.blobs:,} blobs{again}{refused}"


def _keep_on(path: Path, hub: Target, clock: Clock, as_json: bool) -> None:
    from rollback_console.cli import hub_link
    from rollback_console.model.hub import words

    _settle(path, hub, clock)
    said = ""

    def changed(found: HubState) -> None:
        nonlocal said
        now = f"{words(found)}{': ' + found.problem if found.problem else ''}"
        if now != said:
            said = now
            if not (emit_json_line(hub_link.facts(found)) if as_json else emit_lines([f"{hub.url}: {now}"])):
                syncer.stop()

    syncer = hub_link.syncer(path, hub, clock, changed)
    code = 0

    def leave(number: int, _: object) -> None:
        nonlocal code
        code = 130 if number == signal.SIGINT else 0
        threading.Thread(target=syncer.stop, daemon=True).start()  # a handler must not wait for the thread it stops

    before = [(number, signal.signal(number, leave)) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        syncer.run()
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    raise click.exceptions.Exit(code)


def _write_receipt(path: Path, hub: Target, to: Path) -> None:
    """The newest receipt, as `journal verify --against` and `hub` read it."""
    import json

    from rollback_console.journal.hubstate import HubStore, path_of
    from rollback_console.journal.store import Journal

    with Journal.open_read_only(path) as journal:
        chain = journal.chain
    found = None
    if path_of(path).exists():
        store = HubStore(path, hub.key)
        try:
            found = store.last_receipt(chain)
        finally:
            store.close()
    if found is None:
        raise ConsoleError("there is no receipt yet", "`rollback-console journal sync --once` gets one")
    to.write_text(json.dumps(found.to_json(), indent=1) + "\n", encoding="utf-8")
    emit_lines([f"receipt for entry {found.seq:,} written to {to}"])


def _accept(path: Path, hub: Target, clock: Clock, reason: str, as_json: bool) -> None:
    from rollback_console.cli import hub_link
    from rollback_console.journal.hubstate import HubStore

    if not reason.strip():
        raise UsageError("accepting needs a reason", "say why the hub may be believed again")
    with hub_link.open_journal(path, clock, hub) as journal:
        from rollback_console.journal.kinds import Repaired

        store = HubStore(path, hub.key)
        try:
            waiting = [alarm for alarm in store.alarms() if not alarm.accepted]
            if waiting:
                which = "; ".join(alarm.sentence for alarm in waiting)
                journal.append(Repaired(what="hub accepted as it is", detail=f"{reason.strip()} (alarms: {which})"))
            closed = store.accept()
        finally:
            store.close()
    if as_json:
        emit_json({"accepted": closed})
    else:
        emit_lines([f"{closed} alarms closed; what they rest on is kept" if closed else "there was no alarm"])

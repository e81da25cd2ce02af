"""`rollback-console journal merge`, `rotate`, `prune`: how the journal is kept."""

from __future__ import annotations

from pathlib import Path

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, find_journal, journal_option, json_option


def system_user() -> str:
    """Who the system says sits here, or "": for the device's own lines, which are no person's signature."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""


@click.command("merge", epilog='Example: rollback-console journal merge emergency.db --reason "the disk has space"')
@click.argument("emergency", metavar="EMERGENCY", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--reason", metavar="TEXT", required=True, help="Why it was needed, in one line.")
@journal_option
@config_option
@json_option
def merge_command(emergency: Path, reason: str, journal: Path | None, config: Path | None, as_json: bool) -> None:
    """Take an emergency journal (its file, or what it printed) into the journal as evidence. Its acts count then.

    It is verified first, and must stand in for this journal. The file itself stays as it is; keep it.
    """
    from rollback_console.clock import WallClock
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.merging import merge
    from rollback_console.journal.store import Journal
    from rollback_console.journal.timeline import sentence

    with Journal.open(find_journal(journal, config), device=DeviceKey.default(), clock=WallClock()) as store:
        entry = merge(store, emergency, reason, system_user())
    if as_json:
        emit_json({"seq": entry.seq, "hash": entry.hash, "merged": sentence(entry)})
    else:
        emit_lines([f"recorded as entry {entry.seq}: {sentence(entry)}"])

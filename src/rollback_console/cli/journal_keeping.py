"""`rollback-console journal merge`, `rotate`, `prune`: how the journal is kept."""

from __future__ import annotations

from pathlib import Path

import click

from rollback_console.cli.common import config_option, emit_json, emit_lines, find_journal, journal_option, json_option
from rollback_console.errors import UsageError


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


@click.command("rotate", epilog="Example: rollback-console journal rotate")
@journal_option
@config_option
@json_option
def rotate_command(journal: Path | None, config: Path | None, as_json: bool) -> None:
    """Close the journal's file and go on in a new one under the same name; works beside a running console.

    The closed file stands in JOURNAL.segments and may be kept elsewhere: the chain goes on, and says so.
    """
    from rollback_console.clock import WallClock
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.rotate import rotate
    from rollback_console.journal.store import Journal

    with Journal.open(find_journal(journal, config), device=DeviceKey.default(), clock=WallClock()) as store:
        entry = rotate(store)
        closed = store.segments[-1]
    facts = {"seq": entry.seq, "closed": str(closed.path), "first": closed.first, "last": closed.last}
    lines = [f"entry {entry.seq} begins a new file; entries {closed.first} to {closed.last} are in {closed.path}"]
    emit_json(facts) if as_json else emit_lines(lines)


@click.command("prune", epilog="Example: rollback-console journal prune --blobs-older-than 90d")
@click.option("--blobs-older-than", "span", metavar="SPAN", required=True, help="For instance 90d; at least a day.")
@journal_option
@config_option
@json_option
def prune_command(span: str, journal: Path | None, config: Path | None, as_json: bool) -> None:
    """Drop old samples, never entries: what was decided from them can be read afterwards, not recomputed.

    Samples of open incidents stay, and so do policies, plans and runbooks. It is itself recorded.
    """
    from rollback_console.clock import WallClock
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.kinds import BlobsDropped
    from rollback_console.journal.retention import prune
    from rollback_console.journal.store import Journal
    from rollback_console.journal.timeline import sentence

    seconds = _span(span)
    clock = WallClock()
    with Journal.open(find_journal(journal, config), device=DeviceKey.default(), clock=clock) as store:
        entry = prune(store, clock.now() - seconds, system_user())
    body = entry.parsed()
    if as_json and isinstance(body, BlobsDropped):
        emit_json({"seq": entry.seq, "blobs": body.blobs, "size_bytes": body.size_bytes})
    else:
        emit_lines([f"recorded as entry {entry.seq}: {sentence(entry)}"])


def _span(text: str) -> float:
    """`90d`, `12w`: at least a day, since what is younger is still being worked on."""
    unit = {"d": 86_400.0, "w": 604_800.0}.get(text[-1:])
    if unit is None or not text[:-1].isdigit() or int(text[:-1]) < 1:
        raise UsageError(f"{text} is no span of days or weeks", "for instance 90d, or 12w")
    return int(text[:-1]) * unit

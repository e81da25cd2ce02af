"""`rollback-console journal …`: read it, add a note, export it; verifying, syncing and keeping it stand beside this."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rollback_console.cli.common import (
    config_option,
    emit_json,
    emit_lines,
    find_journal,
    journal_option,
    json_option,
    mute,
    warn,
)
from rollback_console.cli.journal_keeping import merge_command, prune_command, rotate_command, system_user
from rollback_console.cli.journal_sync import sync_command
from rollback_console.cli.journal_verify import verify_command
from rollback_console.errors import ConsoleError, UsageError

if TYPE_CHECKING:
    from rollback_console.journal.entry import Entry
    from rollback_console.journal.store import Journal

# Nothing of the journal is imported up here: `journal verify` starts in the time of click, sqlite3 and Ed25519 alone.


@click.group("journal", epilog="Example: rollback-console journal verify --decisions")
def command() -> None:
    """The record: append-only, hash-chained, signed; verify it, read it, add to it, take it elsewhere."""


command.add_command(sync_command)
for each in (verify_command, merge_command, rotate_command, prune_command):
    command.add_command(each)


@command.command("list", epilog="Example: rollback-console journal list --kind note --since 2h")
@journal_option
@config_option
@click.option("--kind", "kinds", multiple=True, help="Only this kind (may be given several times).")
@click.option("--deployment", metavar="ENVIRONMENT/NAME", help="Only this deployment.")
@click.option("--since", metavar="TIME", help="RFC 3339, or a span such as 2h or 3d before now.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The last so many.")
@json_option
@click.pass_context
def list_command(
    ctx: click.Context,
    journal: Path | None,
    config: Path | None,
    kinds: tuple[str, ...],
    deployment: str | None,
    since: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """What happened, one line an entry, the newest last. JSON: {seq, at, kind, deployment, operator, text, hash}."""
    from rollback_console.cli.common import emit_json_line, rfc3339
    from rollback_console.journal.timeline import clock_text, item

    earliest = _since(since) if since is not None else None
    with _reader(journal, config) as reader:
        found = [item(entry) for entry in reader.tail(limit, kinds, deployment=deployment, since=earliest)]
        forged = reader.not_as_signed(line.seq for line in found)
    for line in found:
        if as_json:
            emit_json_line({
                "seq": line.seq, "at": rfc3339(line.at), "kind": line.kind, "deployment": line.deployment,
                "operator": line.operator, "text": line.text, "hash": line.hash,
            })  # fmt: skip
        else:
            parts = (
                f"{line.seq:>6}",
                clock_text(line.at),
                f"{line.kind:<10}",
                line.deployment,
                line.operator,
                line.text,
            )
            emit_lines(["  ".join(part for part in parts if part)])
    _say_forged(ctx, forged)


def _say_forged(ctx: click.Context, forged: tuple[int, ...]) -> None:
    """Entries shown that are not what was signed: on stderr, and exit 1."""
    if not forged:
        return
    which = ", ".join(map(str, forged[:10])) + (f" and {len(forged) - 10} more" if len(forged) > 10 else "")
    many = f"entries {which} are not as they were" if len(forged) > 1 else f"entry {which} is not as it was"
    warn(f"NOT AS SIGNED: {many} signed: believe nothing in {'them' if len(forged) > 1 else 'it'};"
         " `rollback-console journal verify` walks the whole chain")  # fmt: skip
    ctx.exit(1)


@command.command("show", epilog="Example: rollback-console journal show 42 --json")
@click.argument("seq", type=click.IntRange(1))
@journal_option
@config_option
@json_option
@click.pass_context
def show_command(ctx: click.Context, seq: int, journal: Path | None, config: Path | None, as_json: bool) -> None:
    """One entry with every column and its body."""
    from rollback_console.journal.timeline import clock_text, sentence

    with _reader(journal, config) as reader:
        entry = reader.get(seq)
        last = reader.count()
        forged = reader.not_as_signed([seq]) if entry is not None else ()
    if entry is None:
        raise UsageError(f"there is no entry {seq}", f"the last one is {last}")
    body = json.loads(entry.body)
    if as_json:
        emit_json(_entry_json(entry, body))
        _say_forged(ctx, forged)
        return
    emit_lines([
        f"entry {entry.seq} of chain {entry.chain}",
        f"  {clock_text(entry.at)}  {entry.kind}  {entry.deployment} {entry.operator}",
        f"  {sentence(entry)}",
        f"  hash {entry.hash}",
        f"  prev {entry.prev}",
    ])  # fmt: skip
    emit_lines("  " + line for line in json.dumps(body, indent=2, ensure_ascii=False).split("\n"))
    _say_forged(ctx, forged)


def _entry_json(entry: Entry, body: object) -> dict[str, Any]:
    import base64

    from rollback_console.cli.common import rfc3339

    return {
        "seq": entry.seq, "chain": entry.chain, "at": rfc3339(entry.at), "mono": entry.mono, "kind": entry.kind,
        "deployment": entry.deployment, "operator": entry.operator, "body": body, "prev": entry.prev,
        "hash": entry.hash, "signature": base64.b64encode(entry.signature).decode(),
    }  # fmt: skip


@command.command("note", epilog='Example: rollback-console journal note "paged the feature store team"')
@click.argument("text")
@journal_option
@config_option
@click.option("--deployment", default="", metavar="ENVIRONMENT/NAME", help="The deployment it is about.")
@json_option
def note_command(text: str, journal: Path | None, config: Path | None, deployment: str, as_json: bool) -> None:
    """Add one line, signed by this device; works beside a running console."""
    from rollback_console.clock import WallClock
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.kinds import Note
    from rollback_console.journal.store import Journal
    from rollback_console.model.identity import DeploymentId

    if not text.strip():
        raise UsageError("a note needs some text", "say what happened")
    if deployment:
        try:
            DeploymentId.parse(deployment)
        except ValueError as error:
            raise UsageError(str(error), "for instance production/checkout-ranker") from error
    operator = system_user()
    with Journal.open(find_journal(journal, config), device=DeviceKey.default(), clock=WallClock()) as store:
        entry = store.append(Note(text=text), deployment=deployment, operator=operator)
    if as_json:
        emit_json({"seq": entry.seq, "hash": entry.hash})
    else:
        emit_lines([f"recorded as entry {entry.seq}"])


@command.command("export", epilog="Example: rollback-console journal export --format jsonl --output incident.jsonl")
@journal_option
@config_option
@click.option(
    "--format", "form", type=click.Choice(("jsonl", "csv", "cloudevents", "bundle")), default="jsonl", show_default=True
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH", help="Else standard output.")
@click.option("--force", is_flag=True, help="Replace PATH if it exists.")
@click.option("--hub", "of_hub", is_flag=True, help="What the team's hub holds, of every journal, to be reviewed.")
def export_command(
    journal: Path | None, config: Path | None, form: str, output: Path | None, force: bool, of_hub: bool
) -> None:
    """All entries. Lines of jsonl hold the exact signed bytes: `journal verify FILE.jsonl` verifies them.

    A bundle is one tar with everything that a stranger needs: `sh verify.sh` inside it verifies it with sha256sum,
    openssl, jq and ssh-keygen alone. This device signs the list of its files.
    """
    import sys

    from rollback_console.journal import export

    if of_hub:
        _export_hub(config, form, output, force)
        return
    if form == "bundle":
        _export_bundle(find_journal(journal, config), output, force)
        return
    with _reader(journal, config) as reader:
        lines = export.lines(reader.rows(), form)
        if output is not None:
            export.write(lines, output, force=force)
            return
        if sys.stdout is None:
            raise UsageError("standard output is closed", "--output PATH writes a file")
        try:  # the bytes as they are, whatever the terminal's encoding
            for line in lines:
                sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape"))
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            mute(sys.stdout)


def _export_hub(config: Path | None, form: str, output: Path | None, force: bool) -> None:
    from rollback_console.cli import hub_link
    from rollback_console.journal import download, export

    if form != "jsonl" or output is None:
        raise UsageError("what a hub holds is lines in a file", "--hub --output FILE.jsonl, and no --format")
    hub = hub_link.target(config)
    if hub is None:
        raise UsageError("the settings name no hub", "`rollback-console hub join URL --code CODE` prints the lines")
    client = hub.connect()
    try:
        export.write(download.lines(client), output, force=force)
    finally:
        client.close()
    emit_lines([f"what {hub.url} holds is in {output}", f"look at it: rollback-console review {output}"])


def _export_bundle(path: Path, output: Path | None, force: bool) -> None:
    from rollback_console.journal import bundle
    from rollback_console.journal.against import receipts_beside
    from rollback_console.journal.device import DeviceKey, default_path

    if output is None:
        raise UsageError("a bundle is a file", "--output PATH says where, for instance journal.tar")
    exporter = DeviceKey.load(default_path()) if default_path().exists() else None
    with _reader(path, None) as reader:
        receipts = receipts_beside(path, reader.chain)
        count = bundle.write(reader, output, roster=_signers, exporter=exporter, receipts=receipts, force=force)
    if exporter is None:
        warn("this machine has no device key: the list of the bundle's files is not signed (the entries are)")
    emit_lines([f"{count:,} entries in {output}: unpack it, and run `sh verify.sh` in its folder"])


def _signers(data: bytes) -> list[Any]:
    """The people of a recorded roster; none where its bytes are of a form that this program cannot read."""
    from rollback_console.journal.bundle import Signer
    from rollback_console.policy.load import parse_roster

    try:
        people = parse_roster(data, "a recorded roster").roster.operators
    except ConsoleError:
        return []
    return [Signer(person.id, line, person.valid_until) for person in people for line in person.keys]


@command.command("status", epilog="Example: rollback-console journal status --json")
@journal_option
@config_option
@json_option
def status_command(journal: Path | None, config: Path | None, as_json: bool) -> None:
    """Where the journal is, how much is in it, who records, and how SQLite keeps it."""
    from rollback_console.cli.common import rfc3339
    from rollback_console.journal import database
    from rollback_console.journal.device import fingerprint
    from rollback_console.journal.locks import RecorderLock
    from rollback_console.journal.segments import closed

    path = find_journal(journal, config)
    segments = closed(path)
    hub, hub_lines = _hub(path, config)
    with _reader(path, None) as reader:
        seq, hash_ = reader.head()
        facts: dict[str, Any] = {
            "path": str(path), "entries": seq, "size_bytes": reader.size_bytes(), "head": {"seq": seq, "hash": hash_},
            "chain": reader.chain, "device": reader.device, "rehearsal": reader.rehearsal,
            "recorder": None, "sqlite": sqlite3.sqlite_version, "mode": database.mode_for_writing(reader.mode()),
            "writable": os.access(path, os.W_OK) and os.access(path.parent, os.W_OK), "hub": hub,
            "segments": [
                {"path": str(each.path), "first": each.first, "last": each.last, "size_bytes": each.path.stat().st_size}
                for each in segments
            ],
        }  # fmt: skip
    try:
        holder = RecorderLock(path).holder()
    except ConsoleError:
        holder = None  # no locks on this platform: nobody records
    if holder is not None:
        facts["recorder"] = {"pid": holder.pid, "host": holder.host, "since": rfc3339(holder.since)}
    if as_json:
        emit_json(facts)
        return
    who = f"pid {holder.pid} on {holder.host} since {rfc3339(holder.since)}" if holder else "nobody"
    emit_lines([
        f"journal   {path}" + ("  (REHEARSAL)" if facts["rehearsal"] else ""),
        f"entries   {seq:,} in {facts['size_bytes']:,} bytes",
        f"head      {seq} {hash_}",
        f"chain     {facts['chain']}",
        f"device    {fingerprint(facts['device'])}",
        *(f"{'segments' if each is segments[0] else '':<9} {each.path.name}: entries {each.first:,} to {each.last:,}"
          for each in segments),
        f"recorder  {who}",
        f"sqlite    {facts['sqlite']}, {facts['mode']}" + ("" if facts["writable"] else ", read-only here"),
        *hub_lines,
    ])  # fmt: skip


def _hub(path: Path, config: Path | None) -> tuple[dict[str, Any] | None, list[str]]:
    """Where the journal stands with the hub, as facts and as lines; asks nobody."""
    from rollback_console.cli import hub_link
    from rollback_console.clock import WallClock

    clock = WallClock()
    try:
        found = hub_link.state(path, hub_link.target(config), clock)
    except ConsoleError as error:
        return None, [f"hub       not known: {error}"]
    return hub_link.facts(found), hub_link.lines(found, clock)


def _reader(journal: Path | None, config: Path | None) -> Journal:
    from rollback_console.journal.store import Journal

    return Journal.open_read_only(find_journal(journal, config))


def _since(text: str) -> float:
    """`--since` as Unix seconds."""
    import re
    import time
    from datetime import UTC, datetime

    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip()):
        return time.time() - float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[match[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"--since {text!r} is not a time", "give 2026-11-20T09:00:00Z, or 2h, 3d, 45m") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

"""`rollback-console journal verify`: walk a chain, name the first bad entry, recompute what was decided."""

from __future__ import annotations

from collections.abc import Iterable
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
    warn,
)
from rollback_console.errors import ConsoleError, UsageError

if TYPE_CHECKING:
    from rollback_console.journal.persons import People
    from rollback_console.journal.verify import Recompute, Verification

# Nothing of the journal is imported up here: it starts in the time of click, sqlite3 and Ed25519 alone.


@click.command("verify", epilog="Example: rollback-console journal verify incident.db --json")
@click.argument("file", required=False, metavar="[JOURNAL]", type=click.Path(path_type=Path, dir_okay=False))
@journal_option
@config_option
@click.option("--decisions", is_flag=True, help="Recompute every decision from what it was made from.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="KEY",
    help="An OpenSSH public key (or a file of one) that must have signed.",
)
@click.option(
    "--against",
    multiple=True,
    metavar="RECEIPT",
    help="What others saw of it: a receipt or a folder of them, JOURNAL.hub, another copy, an export, or SEQ:HASH.",
)
@click.option(
    "--hub-key",
    "hub_keys",
    multiple=True,
    metavar="VKEY",
    help="The key (or a file of it) that receipts must be signed by.",
)
@click.option(
    "--roster",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Whose keys are whose, by this roster (default: by the one that the journal recorded).",
)
@json_option
@click.pass_context
def verify_command(
    ctx: click.Context,
    file: Path | None,
    journal: Path | None,
    config: Path | None,
    decisions: bool,
    devices: tuple[str, ...],
    against: tuple[str, ...],
    hub_keys: tuple[str, ...],
    roster: Path | None,
    as_json: bool,
) -> None:
    """Walk the chain and the signatures; name the first bad entry. Exit 0 when all is as signed, 1 when not.

    JOURNAL is a journal, a .jsonl export of one, or a bundle. Needs no configuration, no network and no key.
    --against shows what no journal can show of itself: an end that was cut off, another history.
    """
    from rollback_console.journal.sources import open_source, rows_of
    from rollback_console.journal.verify import verify

    path = file or find_journal(journal, config)
    witnesses = None
    unchecked: tuple[str, ...] = ()
    if against:
        from rollback_console.journal import against as seen

        witnesses, unchecked = seen.load(against, _hub_keys(hub_keys), rows_of)
    keys = [_key(d) for d in devices] or None
    source = open_source(path)
    if source.witnesses:
        from rollback_console.journal.against import Against

        witnesses = witnesses or Against()
        witnesses.ask(source.witnesses)
    found = verify(
        source.rows, devices=keys, recompute=_recompute() if decisions else None, blobs=source.blobs,
        against=witnesses, others=source.others, people=_people(roster),
    )  # fmt: skip
    for warning in unchecked:
        warn(warning)
    if as_json:
        emit_json(_verification_json(found, path))
    else:
        emit_lines(_verification_lines(found, path, decisions))
    ctx.exit(0 if found.ok else 1)


def _people(roster: Path | None) -> People:
    """Whose keys are whose: by the roster that was named, else by those that the journal recorded."""
    from rollback_console.journal.persons import People

    def keys(data: bytes, file: str) -> dict[str, dict[bytes, float | None]]:
        from rollback_console.authorize.roster_view import from_roster
        from rollback_console.policy.load import parse_roster

        people = from_roster(parse_roster(data, file).roster).operators
        return {each.id: dict.fromkeys(each.blobs(), each.valid_until) for each in people}

    def recorded(data: bytes) -> dict[str, dict[bytes, float | None]] | None:
        try:
            return keys(data, "the recorded roster")
        except ConsoleError:
            return None  # another program's: whose keys are whose cannot be told from it

    if roster is None:
        return People(parse=recorded)
    try:
        return People(keys(roster.read_bytes(), str(roster)))
    except OSError as error:
        raise UsageError(f"--roster {roster} cannot be read ({error.strerror})", "name a roster file") from error


def _recompute() -> Recompute:
    """The engine's own recomputation, with policies compiled from their recorded bytes, each once."""
    from functools import lru_cache

    from rollback_console.engine.recomputing import Recomputation  # only where decisions are asked for
    from rollback_console.policy.load import parse_policy

    @lru_cache(maxsize=64)
    def rules(data: bytes, digest: str) -> Any:
        return parse_policy(data, f"policy {digest[:12]}").rules

    return Recomputation(rules)


def _key(text: str) -> str:
    """`--device`: the key itself, or a file that holds it."""
    if text.startswith("ssh-"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"--device {text} is neither a key nor a file of one", "give `ssh-ed25519 AAAA…`") from error


def _hub_keys(words: tuple[str, ...]) -> list[str]:
    """`--hub-key`: each the verifier key itself, or a file that holds it."""
    from rollback_console.journal.signednote import parse_vkey

    keys = []
    for word in words:
        try:
            text = word if "+" in word and not Path(word).is_file() else Path(word).read_text(encoding="utf-8").strip()
            parse_vkey(text)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"--hub-key {word}: {error}", "give the line `name+hash+base64`, as settings pin it"
            ) from error
        keys.append(text)
    return keys


def _verification_json(found: Verification, path: Path) -> dict[str, Any]:
    return {
        "ok": found.ok,
        "entries": found.entries,
        "first_bad_seq": found.first_bad_seq,
        "problems": [{"seq": p.seq, "what": p.what, "message": p.message} for p in found.problems],
        "problems_not_shown": found.suppressed,
        "warnings": [{"seq": w.seq, "message": w.message} for w in found.warnings],
        "blobs_missing": found.blobs_missing,
        "decisions": found.decisions,
        "decisions_not_recomputed": found.not_recomputed,
        "witnessed": found.witnessed,
        "chain": found.chain,
        "device": found.device,
        "rehearsal": found.rehearsal,
        "head": {"seq": found.head[0], "hash": found.head[1]},
        "journal": str(path),
    }


def _verification_lines(found: Verification, path: Path, decisions: bool) -> Iterable[str]:
    from rollback_console.journal.device import fingerprint

    rehearsal = " (REHEARSAL)" if found.rehearsal else ""
    if found.ok:
        also = f", {found.decisions:,} decisions recomputed alike" if decisions else ""
        also += f", {found.witnessed:,} witnesses agree" if found.witnessed else ""
        yield f"ok: {found.entries:,} entries{also}: {path}{rehearsal}"
    else:
        first = found.first_bad_seq
        why = f"the first bad entry is {first}" if first is not None else "not a sound journal"
        yield f"NOT OK: {path}{rehearsal}: {why}"
    yield from (f"  problem: {problem}" for problem in found.problems)
    if found.suppressed:
        yield f"  and {found.suppressed:,} problems more"
    if found.not_recomputed:
        yield (
            f"  warning: {found.not_recomputed:,} decisions were not recomputed: "
            "their blobs are not here, or another engine made them"
        )
    yield from (f"  warning: {warning}" for warning in found.warnings[:5])
    if len(found.warnings) > 5:
        yield f"  and more warnings ({found.blobs_missing:,} blobs are not here); --json has them"
    if found.device:
        yield f"  chain {found.chain}, signed by device {fingerprint(found.device)}"
    if found.head[0]:
        alone = "" if found.witnessed else " (only somebody else's word for a head shows a cut-off end: --against)"
        yield f"  head {found.head[0]:,} {found.head[1]}{alone}"
    if not found.ok:
        yield "  what to do: keep this file as it is, compare it with a copy, and go on with another --journal"

"""Taking an emergency journal into the journal it stood in for, as evidence. See `journal.merged`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Literal

from rollback_console.errors import InputError, JournalError, Refused, UsageError
from rollback_console.journal import chain as chains
from rollback_console.journal.chain import Row
from rollback_console.journal.entry import Entry
from rollback_console.journal.export import jsonl
from rollback_console.journal.kinds import EmergencyMerged, Genesis, StandsIn
from rollback_console.journal.merged import KIND, rows_of
from rollback_console.journal.reading import entry_of
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify

_SQLITE = b"SQLite format 3\0"


def merge(journal: Journal, source: Path, reason: str, operator: str) -> Entry:
    """Take the emergency journal `source` (its file, or the lines that it printed) into `journal`, in one transaction:
    an entry, the whole chain as a blob, and the blobs that its entries name.

    Raises Refused where it does not verify, stands in for another journal, or was taken in already; UsageError and
    InputError where it cannot be read.
    """
    rows, blobs = _printed(source) if _is_text(source) else _filed(source)
    found = verify(iter(rows), blobs=lambda digest: None)
    if not found.ok:
        raise Refused(
            f"{source} does not verify: {found.problems[0] if found.problems else 'no entries'}",
            "keep it as it is: it is evidence of what happened to it",
        )
    stands_in = _stands_in(rows[0], source)
    if stands_in.chain != journal.chain:
        raise Refused(
            f"{source} stands in for the journal of chain {stands_in.chain}, not of {journal.chain}",
            "name that journal with --journal",
        )
    head_seq, head = found.head
    _refuse_twice(journal, found.chain, head, source)
    text = "".join(jsonl(rows)).encode("utf-8", "surrogateescape")
    body = EmergencyMerged(
        chain=found.chain, device=found.device, entries=head_seq, head=head, blob=chains.digest(text),
        stands_in=stands_in, fits=_fits(journal, stands_in), reason=reason,
    )  # fmt: skip
    return journal.append_all([(body, "", operator)], [text, *blobs])[0]


def _refuse_twice(journal: Journal, chain: str, head: str, source: Path) -> None:
    for entry in journal.entries(kinds=(KIND,)):
        body = entry.parsed()
        if isinstance(body, EmergencyMerged) and body.chain == chain:
            same = "as it is" if body.head == head else "when it was shorter"
            raise Refused(f"{source} was taken in already, {same}: entry {entry.seq}", "nothing to do")


def _stands_in(first: Row, source: Path) -> StandsIn:
    body = entry_of(first).parsed()
    if not isinstance(body, Genesis) or body.stands_in is None:
        raise Refused(f"{source} is no emergency journal: its first entry names none it stands in for", "name another")
    return body.stands_in


def _fits(journal: Journal, stands_in: StandsIn) -> Literal["at the head", "entries since", "not in this journal"]:
    if journal.head() == (stands_in.seq, stands_in.hash):
        return "at the head"
    entry = journal.get(stands_in.seq) if stands_in.seq else None
    return "entries since" if entry is not None and entry.hash == stands_in.hash else "not in this journal"


def _is_text(source: Path) -> bool:
    try:
        with source.open("rb") as file:  # never a journal that this process has open: that is another file
            return file.read(len(_SQLITE)) != _SQLITE
    except OSError as error:
        raise UsageError(f"{source} cannot be read ({error.strerror})", "check the path") from error


def _filed(source: Path) -> tuple[list[Row], list[bytes]]:
    with Journal.open_read_only(source) as emergency:
        rows = list(emergency.rows())
        digests = [digest for (digest,) in emergency.all_of("SELECT digest FROM blobs ORDER BY digest")]
        blobs = []
        for digest in digests:
            try:
                data = emergency.get_blob(digest)
            except JournalError:
                continue  # spoilt: `verify` names the entry that misses it
            blobs += [data] if data is not None else []
    return rows, blobs


def _printed(source: Path) -> tuple[list[Row], list[bytes]]:
    """What a `PrintedJournal` wrote, among whatever else stood on the same standard output."""
    rows: list[Row] = []
    blobs: list[bytes] = []
    with source.open(encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if line.startswith('{"blob":'):
                with_data = json.loads(line)
                blobs.append(base64.b64decode(with_data["data"]))
            elif line.startswith('{"at":"') and '"signature":' in line:
                rows += rows_of(line)
    if not rows:
        raise InputError(f"{source} holds no entries", "give the file of an emergency journal, or what it printed")
    return rows, blobs

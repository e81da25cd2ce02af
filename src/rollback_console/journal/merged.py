"""Emergency journals taken into the journal: as evidence, whole and by digest; and their acts in every fold.

The `merge` entry names the chain, its head and its length, and carries it as a blob: the very lines that `journal
export --format jsonl` writes, which verify as any export does. Whoever folds the journal reads `told`, where the
entries of a merged chain stand behind their merge entry.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from rollback_console.errors import JournalBroken
from rollback_console.journal.chain import Row
from rollback_console.journal.entry import Entry, Recorder
from rollback_console.journal.kinds import EmergencyMerged
from rollback_console.journal.reading import entry_of

KIND = EmergencyMerged.kind
Blobs = Callable[[str], bytes | None]


def told(journal: Recorder, kinds: Sequence[str], after: int = 0) -> Iterator[Entry]:
    """Entries of these kinds after entry `after`, with those of merged emergency journals behind their `merge` entry,
    under its number. Raises `JournalError`."""
    for entry in journal.entries(after, (*kinds, KIND)):
        if entry.kind != KIND or KIND in kinds:
            yield entry
        if entry.kind == KIND:
            yield from expanded(entry, journal.get_blob, kinds)


def expanded(entry: Entry, blobs: Blobs, kinds: Sequence[str] = ()) -> Iterator[Entry]:
    """The entries (of `kinds`; all without) that a `merge` entry took in, each under the merge entry's own number. None
    where its blob is gone."""
    body = entry.parsed()
    data = blobs(body.blob) if isinstance(body, EmergencyMerged) else None
    for row in rows_of(data.decode("utf-8", "surrogateescape")) if data is not None else ():
        if not kinds or row.kind in kinds:
            yield replace(entry_of(row), seq=entry.seq)


def rows_of(text: str) -> Iterator[Row]:
    """The rows in JSON lines. Raises JournalBroken with the line that is none."""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            columns = json.loads(line)
            columns["at"], columns["mono"] = int(columns["at"]), int(columns["mono"])
            columns["signature"] = base64.b64decode(columns["signature"], validate=True)
            yield Row(**columns)
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise JournalBroken(f"line {number} of a merged journal is no entry ({error})", "verify it") from error

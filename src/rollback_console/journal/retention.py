"""Retention: samples that are older than a time are dropped, entries never. The chain does not notice.

Dropped are the blobs of `tick` entries alone: they are nearly all of a journal's volume. Policies, settings, rosters,
plans, runbooks and layouts stay, and so do the samples of incidents that are still open, from an hour before their
onset. What was dropped is itself an entry; decisions made from it can be read afterwards, and no longer recomputed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from rollback_console.errors import Refused
from rollback_console.journal import database
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import BlobsDropped, IncidentRecorded, SegmentFile
from rollback_console.journal.locks import RotationLock
from rollback_console.journal.segments import file_digest
from rollback_console.journal.store import Journal

BEFORE_ONSET_S = 3_600.0
_AT_ONCE = 500  # digests in one statement


def prune(journal: Journal, older_than: float, operator: str = "") -> Entry:
    """Drop the samples of evaluations before `older_than` (Unix seconds), in the journal and in its closed segments.

    Raises Refused where there is nothing to drop or another process rotates it, `JournalError`.
    """
    cut = min([older_than, *(onset - BEFORE_ONSET_S for onset in _open_onsets(journal))])
    digests = _droppable(journal, cut)
    lock = RotationLock(journal.path)
    if not lock.try_acquire("drops samples"):
        raise Refused("another process rotates this journal now", "try again in a moment")
    with lock:
        count = size = 0
        files = []
        for segment in journal.segments:
            dropped, freed = _drop_closed(segment.path, digests)
            if dropped:
                count, size = count + dropped, size + freed
                files.append(SegmentFile(name=segment.path.name, digest=file_digest(segment.path)))
        here, here_size = journal.sizes_of(digests)
        if not count and not here:
            raise Refused("there are no samples that old", "nothing to drop")
        body = BlobsDropped(older_than=cut, blobs=count + here, size_bytes=size + here_size, files=files)
        return journal.drop_blobs(body, digests, operator)


def _open_onsets(journal: Journal) -> list[float]:
    found: dict[str, float | None] = {}
    for entry in journal.entries(kinds=("incident",)):
        body = entry.parsed()
        if isinstance(body, IncidentRecorded):
            found[body.id] = None if body.event == "closed" else body.onset
    return [onset for onset in found.values() if onset is not None]


def _droppable(journal: Journal, cut: float) -> tuple[str, ...]:
    """Digests of samples from before `cut` that nothing newer names."""
    old: dict[str, None] = {}
    newer: set[str] = set()
    for entry in journal.entries(kinds=("tick", "transition")):
        body = json.loads(entry.body)
        digest = str(body["blob"] if entry.kind == "tick" else body["tick"])
        if entry.at < cut and body["at"] < cut:
            old[digest] = None
        else:
            newer.add(digest)
    return tuple(digest for digest in old if digest not in newer)


def _drop_closed(path: Path, digests: Iterable[str]) -> tuple[int, int]:
    """From a closed segment: nobody writes to it, so it is made smaller at once. (blobs, bytes) that went."""
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("BEGIN IMMEDIATE")
            count, size = delete(connection, digests)
            connection.execute("COMMIT")
            if count:
                connection.execute("VACUUM")
        finally:
            connection.close()
    except database.ERRORS as error:
        raise database.translate(error, path) from error
    return count, size


def delete(connection: sqlite3.Connection, digests: Iterable[str]) -> tuple[int, int]:
    """Inside a transaction: (how many of these blobs were there, their bytes at rest), and are not any more."""
    every, count, size = list(digests), 0, 0
    for start in range(0, len(every), _AT_ONCE):
        some = every[start : start + _AT_ONCE]
        marks = ", ".join("?" * len(some))
        query = f"SELECT count(*), coalesce(sum(length(data)), 0) FROM blobs WHERE digest IN ({marks})"  # noqa: S608 - marks
        here, there = connection.execute(query, some).fetchone()
        count, size = count + here, size + there
        connection.execute(f"DELETE FROM blobs WHERE digest IN ({marks})", some)  # noqa: S608 - marks alone
    return count, size

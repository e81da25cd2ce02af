"""What reports on one incident read: a journal where it stands, or whatever a review opens, one chain of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rollback_console.errors import JournalError, UsageError
from rollback_console.journal.entry import Entry
from rollback_console.journal.store import Journal
from rollback_console.review.sources import Source, open_source

if TYPE_CHECKING:
    from rollback_console.journal.entry import Recorder


@contextmanager
def readable(path: Path) -> Iterator[tuple[Recorder, ...]]:
    """The chains at `path`, for reading alone, the longest first. A journal that is damaged is read as far as it can
    be. Raises UsageError where there is nothing, InputError for what holds no entry."""
    if not path.exists():
        raise UsageError(f"there is no journal at {path}", "name one with --journal")
    try:
        journal = Journal.open_read_only(path) if path.is_file() else None
        if journal is not None:
            journal.head()
    except JournalError:
        journal = None
    if journal is not None:
        with journal:
            yield (journal,)
        return
    source = open_source(path)
    try:
        chains: dict[str, list[Entry]] = {}
        for step in source.walk():
            if step is not None:
                chains.setdefault(step[1].chain, []).append(step[1])
        longest = sorted(chains.values(), key=len, reverse=True)
        yield tuple(cast("Recorder", _Chain(entries, source)) for entries in longest)
    finally:
        source.close()


class _Chain:
    """One chain of a source, in memory. The reading half of `journal.entry.Recorder`."""

    def __init__(self, entries: Sequence[Entry], source: Source) -> None:
        self._entries = sorted(entries, key=lambda entry: entry.seq)
        self._source = source
        self.chain = self._entries[0].chain

    def entries(self, after: int = 0, kinds: Sequence[str] = (), limit: int | None = None) -> Iterator[Entry]:
        left = limit
        for entry in self._entries:
            if entry.seq > after and (not kinds or entry.kind in kinds):
                if left is not None:
                    if left <= 0:
                        return
                    left -= 1
                yield entry

    def head(self) -> tuple[int, str]:
        last = self._entries[-1]
        return last.seq, last.hash

    def get_blob(self, digest: str) -> bytes | None:
        return self._source.get_blob(digest)

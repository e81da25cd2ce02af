"""Journals of any form as one `Past`: files, exports, bundles, several at once, also where something is wrong with one.

Each is verified first. What can be read of one that does not hold is read all the same, and its source says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from rollback_console.errors import ConsoleError, JournalBroken, JournalError
from rollback_console.journal import segments
from rollback_console.journal.chain import Row
from rollback_console.journal.entry import Entry
from rollback_console.journal.merged import KIND as MERGE
from rollback_console.journal.reading import entry_of
from rollback_console.journal.sources import open_source
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import Verification, verify
from rollback_console.review.past import KINDS, Blobs, Fold, Past, Source

_READ = (*KINDS, MERGE)


def read_past(paths: Sequence[Path]) -> Past:
    """Verify and read them all. Raises UsageError where there is no such file, InputError for an archive that is no
    bundle; whatever else is wrong stands in the sources. Rehearsals are named, and nothing of them is taken."""
    fold, every = Fold(), tuple(dict.fromkeys(paths))
    with blobs_of(every) as blobs:  # an export has none: another of these may have what it names
        sources = [_read(path, fold, blobs) for path in every]
    return fold.past(sources)


def _read(path: Path, fold: Fold, blobs: Blobs) -> Source:
    found = open_source(path)
    if isinstance(found.rows, Path):
        verification = verify(path)
        source = _source(path, verification)
        return source if verification.rehearsal else _fold_file(source, fold, blobs)
    try:
        verification = verify(found.rows, blobs=found.blobs, others=found.others)
        problems = []
    except ConsoleError as error:  # a line of an export that is none: what stands before it is read
        problems = [error.message]
        verification = verify(_until_broken(open_source(path).rows), blobs=found.blobs)
    source = _source(path, verification)
    source = replace(source, problems=(*source.problems, *problems))
    if verification.rehearsal:
        return source
    return _fold_entries(source, _entries(_until_broken(open_source(path).rows)), blobs, fold)


def _source(path: Path, verification: Verification) -> Source:
    return Source(
        path, verification.chain, verification.entries, None, None,
        tuple(str(each) for each in verification.problems), verification.rehearsal,
    )  # fmt: skip


def _until_broken(rows: Path | Iterable[Row]) -> Iterator[Row]:
    try:
        yield from segments.rows(rows) if isinstance(rows, Path) else rows
    except ConsoleError:
        return  # the verification says where reading ended, and why


def _fold_file(source: Source, fold: Fold, blobs: Blobs) -> Source:
    """A journal's file: only the kinds that count are read, unless some row of it cannot be read at all."""
    try:
        with Journal.open_read_only(source.path) as journal:
            try:
                fold.take(journal.entries(kinds=_READ), blobs)
                ends = [*journal.entries(limit=1), *journal.tail(1)]
            except JournalError:  # what was taken is not taken twice
                return _fold_entries(source, _entries(_until_broken(source.path)), blobs, fold)
    except JournalError as error:
        return replace(source, problems=source.problems or (error.message,))
    return replace(source, first_at=ends[0].at, last_at=ends[-1].at) if ends else source


def _fold_entries(source: Source, entries: Iterable[Entry], blobs: Blobs, fold: Fold) -> Source:
    times: list[float] = []

    def noted() -> Iterator[Entry]:
        for entry in entries:
            times[1:] = [entry.at]  # the first, and the last so far
            yield entry

    fold.take(noted(), blobs)
    return replace(source, first_at=times[0], last_at=times[-1]) if times else source


def _entries(rows: Iterable[Row]) -> Iterator[Entry]:
    """Rows as entries; one that is malformed is passed over: the verification names it."""
    for row in rows:
        try:
            yield entry_of(row)
        except (JournalBroken, ValueError):
            continue


@contextmanager
def blobs_of(paths: Sequence[Path]) -> Iterator[Blobs]:
    """Blobs by digest out of any of these, while it lasts; None where none of them has it whole."""
    with ExitStack() as stack:
        sources: list[Blobs] = []
        for path in paths:
            found = open_source(path)
            if isinstance(found.rows, Path):
                with suppress(JournalError):
                    sources.append(stack.enter_context(Journal.open_read_only(path)).get_blob)
            elif found.blobs is not None:
                sources.append(found.blobs)

        def look(digest: str) -> bytes | None:
            for source in sources:
                with suppress(ConsoleError, ValueError):
                    if (data := source(digest)) is not None:
                        return data
            return None

        yield look

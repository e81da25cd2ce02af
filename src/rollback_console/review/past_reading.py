"""What stands at some paths as one `Past`: journals, exports, bundles, downloads, several at once, also where something
is wrong with one.

Each chain is verified first. What can be read of one that does not hold is read all the same, and its source says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from rollback_console.errors import JournalError
from rollback_console.journal.entry import Entry
from rollback_console.journal.verify import verify
from rollback_console.review import sources
from rollback_console.review.past import Past, Source
from rollback_console.review.past_fold import Blobs, Fold
from rollback_console.review.sources import Part


def read_past(paths: Sequence[Path], told: Callable[[int, int], None] = lambda done, total: None) -> Past:
    """Verify and read them all; `told` hears now and then how many entries are done, of about how many.

    Raises UsageError where there is nothing, InputError for what holds no entry of a journal; whatever else is wrong
    stands in the sources. Rehearsals are named, and nothing of them is taken.
    """
    fold, read = Fold(), list[Source]()
    with _opened(paths) as (found, broken):
        blobs, total, done = _any_of(found), sum(each.total for each in found), 0
        for each in found:
            read += _read(each, fold, blobs, _from(done, lambda all_done: told(all_done, total)))
            done += each.total
    return fold.past([*read, *broken])


@contextmanager
def blobs_of(paths: Sequence[Path]) -> Iterator[Blobs]:
    """Blobs by digest out of any of these, while it lasts; None where none of them has it whole. Raises as
    `read_past`."""
    with _opened(paths) as (found, _):
        yield _any_of(found)


@contextmanager
def _opened(paths: Sequence[Path]) -> Iterator[tuple[list[sources.Source], list[Source]]]:
    """Those that can be opened, while it lasts; and those that are too broken for it."""
    with ExitStack() as stack:
        found, broken = list[sources.Source](), list[Source]()
        for path in dict.fromkeys(paths):
            try:
                each = sources.open_source(path)
            except JournalError as error:
                broken.append(Source(path, "", 0, None, None, (error.message,)))
            else:
                stack.callback(each.close)
                found.append(each)
        yield found, broken


def _any_of(found: Sequence[sources.Source]) -> Blobs:
    """An export has no blobs: another source may have what it names."""

    def look(digest: str) -> bytes | None:
        return next((data for each in found if (data := each.get_blob(digest)) is not None), None)

    return look


def _read(source: sources.Source, fold: Fold, blobs: Blobs, told: Callable[[int], None]) -> list[Source]:
    """One source a chain."""
    chains: dict[str, Source] = {}
    for part in source.parts():
        before = sum(each.entries for each in chains.values())
        each = _verified(source.path, part, _from(before, told))
        chains[each.chain] = each
    times: dict[str, list[float]] = {}
    entries = (step[1] for step in source.walk() if step is not None)
    fold.take(_counted(entries, chains, times), blobs)
    read = []
    for chain, each in chains.items():
        if seen := times.get(chain):
            each = replace(each, first_at=seen[0], last_at=seen[-1])
        if each.verified and source.problems:  # it holds together, and yet there is more in it than could be read
            each = replace(each, problems=tuple(source.problems))
        read.append(each)
    return read


def _from(before: int, told: Callable[[int], None]) -> Callable[[int], None]:
    """`told` for what comes after the first `before`."""
    return lambda here: told(before + here)


def _verified(path: Path, part: Part, told: Callable[[int], None]) -> Source:
    if part.why_not:
        return Source(path, part.chain, part.entries, None, None, (part.why_not,))
    found = verify(part.rows, blobs=part.blobs, others=part.others, told=told)
    problems = tuple(str(each) for each in found.problems)
    return Source(path, found.chain or part.chain, found.entries, None, None, problems, found.rehearsal)


def _counted(entries: Iterable[Entry], chains: dict[str, Source], times: dict[str, list[float]]) -> Iterator[Entry]:
    """The entries that count: of no rehearsal. What an entry of another chain does in a journal, its verification
    asks; it is read as the journal's own would be."""
    alone = next(iter(chains)) if len(chains) == 1 else None
    for entry in entries:
        chain = entry.chain if entry.chain in chains else alone
        if chain is None or chains[chain].rehearsal:
            continue
        seen = times.setdefault(chain, [entry.at])
        seen[1:] = [entry.at]  # the first, and the last so far
        yield entry

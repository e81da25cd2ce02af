"""What can be verified: a journal's file, lines of an export, a bundle. Told apart by their first bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rollback_console.errors import UsageError
from rollback_console.journal import segments
from rollback_console.journal.chain import Row
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.journal.against import Witness

_SQLITE = b"SQLite format 3\0"


@dataclass(frozen=True, slots=True)
class Source:
    """`rows` as `verify` takes them; `blobs` where rows bring some; `others`, called after the walk, says what else is
    wrong with a bundle; `witnesses` are the receipts that came with it, as far as they hold."""

    rows: Path | Iterable[Row]
    blobs: Callable[[str], bytes | None] | None = None
    others: Callable[[], Iterable[str]] | None = None
    witnesses: tuple[Witness, ...] = ()


def open_source(path: Path) -> Source:
    """Raises UsageError where there is nothing; what is neither an export nor a bundle is taken for a journal."""
    if not path.is_file():
        raise UsageError(f"there is no journal at {path}", "check the path, or name one with --journal")
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error})", "check the path") from error
    if start[257:262] == b"ustar":
        from rollback_console.journal.bundle_reading import open_bundle

        found = open_bundle(path)
        return Source(found.rows(), found.blob, found.problems, found.witnesses())
    if path.suffix == ".jsonl" or (not start.startswith(_SQLITE) and start.lstrip()[:1] == b"{"):
        from rollback_console.journal.export import read_jsonl

        return Source(read_jsonl(path))
    return Source(path)


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of any of them, as stored, for comparison. A journal's errors come as the rows are read."""
    source = open_source(path)
    if not isinstance(source.rows, Path):
        yield from source.rows
        return
    yield from segments.rows(path)

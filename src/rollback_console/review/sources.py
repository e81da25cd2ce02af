"""What a review reads: a journal (in one file or several), an export, a bundle packed or not, a download from the hub.

Everything is opened for reading alone and as far as it can be read: a damaged row is passed over and said, never an
end. No backend, no configuration, no key, no network. Whether any of it may be believed, `replay_verifying` finds out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rollback_console.errors import JournalBroken, JournalError, UsageError
from rollback_console.journal import chain as chains
from rollback_console.journal import database, segments
from rollback_console.journal.chain import Row
from rollback_console.journal.entry import Entry
from rollback_console.journal.reading import entry_of
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.journal.against import Witness

_SQLITE = b"SQLite format 3\0"
_MOST_SAID = 20  # of what could not be read; a file that is wrong all over is not worth more lines
_FETCH = "fetch it again, or open another copy"


@dataclass(frozen=True, slots=True)
class Part:
    """One chain of a source, as `journal.verify.verify` takes it. `entries`: about so many, for telling how far it is;
    `why_not`: "" or why it cannot be verified at all."""

    chain: str
    rows: Path | Iterable[Row]
    entries: int
    blobs: Callable[[str], bytes | None] | None = None
    others: Callable[[], Iterable[str]] | None = None
    witnesses: tuple[Witness, ...] = ()
    why_not: str = ""


class Source(Protocol):
    """A record to review. `problems` grows while it is read; `rehearsal` is known once the first entry was."""

    path: Path
    what: str  # "journal", "bundle", ... in words
    problems: list[str]

    @property
    def total(self) -> int:
        """About how many entries there are."""
        ...

    def walk(self) -> Iterator[tuple[int, Entry] | None]:
        """(key, entry) of all that can be read, in the order in which they count; `get` finds one again by its key.
        None says only that time has passed: a screen may want to answer a key. Raises InputError where there is no
        entry."""
        ...

    def get(self, key: int) -> Entry | None: ...

    def get_blob(self, digest: str) -> bytes | None:
        """The bytes of that SHA-256; None where they are not here, or are something else."""
        ...

    def parts(self) -> Iterator[Part]:
        """What is to be verified."""
        ...

    def close(self) -> None: ...


class Said:
    """What could not be read, no more of it than a person reads."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def say(self, what: str) -> None:
        if len(self.problems) < _MOST_SAID:
            self.problems.append(plain(what, 300))
        elif len(self.problems) == _MOST_SAID:
            self.problems.append("and more that cannot be read")


class Journals(Said):
    """The files of one chain, read where they are: the journal with its closed segments, or a folder of these alone."""

    what = "journal"

    def __init__(self, path: Path, files: tuple[Path, ...] = ()) -> None:
        super().__init__()
        self.path = path
        self._alone = files  # segments without their journal
        self._open: list[tuple[Path, sqlite3.Connection]] = []
        try:
            if not files:
                found, own = segments.opened(path)
                self._open.append((path, own))
                files = tuple(segment.path for segment in found)
            before = [(file, database.connect_read_only(file)) for file in files]
        except database.ERRORS as error:
            self.close()
            raise database.translate(error, path) from error
        self._open = [*before, *self._open]
        try:
            for file, connection in self._open:
                database.check_format(connection, file)
        except (*database.ERRORS, JournalError) as error:
            self.close()
            raise error if isinstance(error, JournalError) else database.translate(error, path) from error

    @property
    def total(self) -> int:
        count = 0
        for file, connection in self._open:
            try:
                ((here,),) = database.fetch(connection, file, "SELECT count(*) FROM entries")
            except (*database.ERRORS, JournalError):
                continue  # said where it is read
            count += here
        return count

    def walk(self) -> Iterator[tuple[int, Entry]]:
        for file, connection in self._open:
            for row in self._rows(file, connection):
                entry = self._entry(row)
                if entry is not None:
                    yield entry.seq, entry

    def _rows(self, file: Path, connection: sqlite3.Connection) -> Iterator[Row]:
        query, after = f"{database.SELECT} WHERE seq > ? ORDER BY seq LIMIT ?", -(2**63)
        while True:
            try:
                page = database.fetch(connection, file, query, (after, database.PAGE))
            except (*database.ERRORS, JournalError):
                try:
                    page = _as_bytes(connection, query, after)
                except (*database.ERRORS, JournalError) as error:
                    self.say(f"{file.name} cannot be read after entry {max(after, 0)} ({error})")
                    return
            if not page:
                return
            yield from map(Row._make, page)
            if not isinstance(page[-1][1], int) or page[-1][1] <= after:
                self.say(f"{file.name} is damaged after entry {max(after, 0)}: its order")
                return
            after = page[-1][1]

    def _entry(self, row: Row) -> Entry | None:
        try:
            return entry_of(row)
        except (JournalBroken, ValueError, TypeError) as error:
            self.say(f"entry {row.seq!r:.20} cannot be read ({error})")
            return None

    def get(self, key: int) -> Entry | None:
        for file, connection in reversed(self._open):
            try:
                found = database.fetch(connection, file, f"{database.SELECT} WHERE seq = ?", (key,))
            except (*database.ERRORS, JournalError):
                continue
            if found:
                return self._entry(Row._make(found[0]))
        return None

    def get_blob(self, digest: str) -> bytes | None:
        from rollback_console.journal.blobs import unpack

        for file, connection in reversed(self._open):
            try:
                found = database.fetch(connection, file, "SELECT size, data FROM blobs WHERE digest = ?", (digest,))
            except (*database.ERRORS, JournalError):
                continue
            if found:
                data = unpack(found[0][0], found[0][1])
                return data if data is not None and chains.digest(data) == digest else None
        return None

    def parts(self) -> Iterator[Part]:
        if not self._alone:
            yield Part("", self.path, self.total)
            return
        rows = (row for file, connection in self._open for row in self._rows(file, connection))
        yield Part("", rows, self.total, self.get_blob)

    def close(self) -> None:
        for _, connection in self._open:
            connection.close()
        self._open = []


def _as_bytes(connection: sqlite3.Connection, query: str, after: int) -> list[Any]:
    """One row, also where its text is not UTF-8: the bytes that are none stay visible as what they are."""
    connection.text_factory = lambda raw: raw.decode("utf-8", "backslashreplace")
    try:
        return connection.execute(query, (after, 1)).fetchall()
    finally:
        connection.text_factory = str


def open_source(path: Path) -> Source:
    """What stands at `path`, opened for a review. Raises UsageError where there is nothing, InputError and JournalError
    for what is nothing that a review reads."""
    if "://" in str(path) or str(path).startswith(("http:/", "https:/")):
        raise UsageError(
            "a review reads files and asks no network",
            "`journal export --hub --output FILE` gets what the team's hub holds; then review FILE",
        )
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.is_file():
            raise UsageError(f"there is no journal at {path}", "name one: rollback-console review JOURNAL")
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error})", "check the path") from error
    if start[257:262] == b"ustar":
        from rollback_console.review.sources_kept import Bundled

        return Bundled(path)
    if not start.startswith(_SQLITE) and (path.suffix == ".jsonl" or start.lstrip()[:1] == b"{"):
        from rollback_console.review.sources_kept import Kept, lines_in

        return Kept(path, "export", lines_in)
    return Journals(path)


def _open_folder(path: Path) -> Source:
    """A folder: an unpacked bundle, a journal's closed segments, or one with a single journal in it."""
    from rollback_console.review.sources_kept import Bundled

    if any((path / "entries").glob("*.envelopes")):
        return Bundled(path)
    inner = [each for each in path.iterdir() if each.is_dir() and any((each / "entries").glob("*.envelopes"))]
    if len(inner) == 1:
        return Bundled(inner[0])  # as `tar -x` leaves it
    files = tuple(segment.path for segment in segments.closed(path.with_suffix(""))) if _segments(path) else ()
    if files:
        journal = path.with_suffix("")
        return Journals(journal) if journal.is_file() else Journals(path, files)
    found = sorted(each for each in path.iterdir() if each.is_file() and _is_sqlite(each))
    if len(found) == 1:
        return Journals(found[0])
    if not found:
        raise UsageError(f"{path} holds no journal and is no bundle", _FETCH)
    names = ", ".join(each.name for each in found[:6])
    raise UsageError(f"{path} holds {len(found)} databases: {names}", "name the one to review")


def _segments(path: Path) -> bool:
    return path.suffix == ".segments"


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False

"""What a review reads: a journal (in one file or several), an export, a bundle packed or not, a download from the hub.

Everything is opened for reading alone and as far as it can be read: a damaged row is passed over and said, never an
end. No backend, no configuration, no key, no network. Whether any of it may be believed, `replay_verifying` finds out.
"""

from __future__ import annotations

import base64
import heapq
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rollback_console.errors import ConsoleError, InputError, JournalBroken, JournalError, UsageError
from rollback_console.journal import chain as chains
from rollback_console.journal import database, segments
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.entry import Entry
from rollback_console.journal.reading import entry_of
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.journal.against import Witness

_SQLITE = b"SQLite format 3\0"
_MOST_SAID = 20  # of what could not be read; a file that is wrong all over is not worth more lines
_LINE = 64 << 20  # bytes of one line of an export; a longer one is no entry
_INSERT = f"INSERT INTO entries VALUES (NULL{', ?' * len(COLUMNS)})"  # noqa: S608 - so many columns, no data
_STEP = 100  # entries or lines between two words that time has passed
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


class _Said:
    """What could not be read, no more of it than a person reads."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def say(self, what: str) -> None:
        if len(self.problems) < _MOST_SAID:
            self.problems.append(plain(what, 300))
        elif len(self.problems) == _MOST_SAID:
            self.problems.append("and more that cannot be read")


class Journals(_Said):
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


class Kept(_Said):
    """Entries from elsewhere than a journal's own file, kept in a file of SQLite's own that is gone when this closes:
    so that any of them is found again at once and memory does not grow with them."""

    def __init__(self, path: Path, what: str, fill: Callable[[Kept], Iterator[None]]) -> None:
        """`fill` keeps what there is to keep, a little with every step."""
        super().__init__()
        self.path, self.what = path, what
        self._fill = fill(self)
        self.count = 0
        self._rows = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        columns = ", ".join(COLUMNS)
        self._rows.execute(f"CREATE TABLE entries (place INTEGER PRIMARY KEY, {columns})")
        self._rows.execute("CREATE TABLE blobs (digest PRIMARY KEY, data) WITHOUT ROWID")
        self._rows.execute("BEGIN")

    @property
    def total(self) -> int:
        return self.count

    def keep(self, row: Row) -> None:
        """Take a row; what has the columns of none is passed over."""
        if column := chains.malformed(row):
            self.say(f"entry {row.seq!r:.20} has no proper {column}")
            return
        self.count += 1
        try:
            self._rows.execute(_INSERT, _stored(row))
        except (sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
            self.say(f"entry {row.seq} cannot be kept ({error})")

    def keep_blob(self, digest: str, data: bytes) -> None:
        """Take a blob, where it is what its digest says."""
        if chains.digest(data) == digest:
            self._rows.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (digest, data))
        else:
            self.say(f"the blob {digest:.12} is not what its digest says")

    def chains(self) -> dict[str, tuple[int, int]]:
        """Of each chain that is here its first entry's number, and how many there are."""
        found = self._rows.execute("SELECT chain, min(seq), count(*) FROM entries GROUP BY chain ORDER BY min(place)")
        return {chain: (first, count) for chain, first, count in found}

    def chain(self, name: str) -> Iterator[tuple[int, Row]]:
        """(key, row) of one chain, in the order that its numbers tell."""
        after, place = -(2**63), 0
        query = (
            f"SELECT place, {', '.join(COLUMNS)} FROM entries"  # noqa: S608 - column names of our own
            " WHERE chain = ? AND (seq, place) > (?, ?) ORDER BY seq, place LIMIT ?"
        )
        while found := self._rows.execute(query, (name, after, place, database.PAGE)).fetchall():
            for key, *columns in found:
                yield key, _restored(columns)
            after, place = found[-1][2], found[-1][0]

    def get(self, key: int) -> Entry | None:
        query = f"SELECT {', '.join(COLUMNS)} FROM entries WHERE place = ?"  # noqa: S608 - column names of our own
        found = self._rows.execute(query, (key,)).fetchone()
        return _entry_or_none(_restored(found)) if found is not None else None

    def get_blob(self, digest: str) -> bytes | None:
        found = self._rows.execute("SELECT data FROM blobs WHERE digest = ?", (digest,)).fetchone()
        return bytes(found[0]) if found is not None else None

    def walk(self) -> Iterator[tuple[int, Entry] | None]:
        """All chains together as their times tell it, each in its own order also where its clock was put back."""
        yield from self._fill
        if not self.count:
            raise InputError(f"{self.path} holds no entry of a journal", "`journal export` makes such a file")
        for _, _, key, row in heapq.merge(*(self._timed(n, name) for n, name in enumerate(self.chains()))):
            entry = _entry_or_none(row)
            if entry is not None:
                yield key, entry

    def _timed(self, number: int, name: str) -> Iterator[tuple[int, int, int, Row]]:
        latest = -(2**63)
        for key, row in self.chain(name):
            latest = max(latest, row.at)
            yield latest, number, key, row

    def parts(self) -> Iterator[Part]:
        for _ in self._fill:
            pass
        any_blob = self._rows.execute("SELECT 1 FROM blobs LIMIT 1").fetchone() is not None
        blobs = self.get_blob if any_blob else None  # lines of an export bring none: that is no retention
        for name, (first, count) in self.chains().items():
            rows = (row for _, row in self.chain(name))
            yield Part(name, rows, count, blobs, why_not=_headless(name, first, next(self.chain(name))[1]))

    def close(self) -> None:
        self._rows.close()


def _headless(name: str, first: int, row: Row) -> str:
    """Why a chain of a download cannot be verified: what says whose it is was not downloaded."""
    if row.kind in ("genesis", segments.KIND):
        return ""
    return f"chain {plain(name, 12)} begins with entry {first} here: whose it is says entry 1, which was not downloaded"


def _stored(row: Row) -> tuple[object, ...]:
    """Times are text: SQLite's integers end where a tampered one may not."""
    return tuple(str(value) if name in ("at", "mono") else value for name, value in row._asdict().items())


def _restored(columns: Any) -> Row:
    row = Row._make(columns)
    return row._replace(at=int(row.at), mono=int(row.mono), signature=bytes(row.signature))


def _entry_or_none(row: Row) -> Entry | None:
    try:
        return entry_of(row)
    except (ConsoleError, ValueError, TypeError):
        return None


class Bundled(Kept):
    """A bundle, packed or not."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "bundle", self._rows_in)
        from rollback_console.journal.bundle_reading import open_bundle, open_folder

        found = open_folder(path) if path.is_dir() else open_bundle(path)
        if found is None:
            raise InputError(f"{path} is a folder, and neither a bundle nor a journal's", "name the file itself")
        self._bundle = found

    def _rows_in(self, _: Kept) -> Iterator[None]:
        for number, row in enumerate(self._bundle.rows()):
            self.keep(row)
            if number % _STEP == 0:
                yield None

    def get_blob(self, digest: str) -> bytes | None:
        try:
            return self._bundle.blob(digest)
        except (ValueError, OSError, ConsoleError):
            return None

    def parts(self) -> Iterator[Part]:
        found = self._bundle
        yield Part("", found.rows(), found.count, found.blob, found.problems, found.witnesses())


def _lines_in(kept: Kept) -> Iterator[None]:
    """JSON Lines as `journal export` writes them, or what the hub gives: entries with what the hub adds, a line each or
    in its answer's `entries`; `{"blob": digest, "data": base64}` for what entries name."""
    with kept.path.open("rb") as file:
        number = 0
        while line := file.readline(_LINE):
            number += 1
            if number % _STEP == 0:
                yield None
            if not line.strip():
                continue
            try:
                _take(kept, json.loads(line.decode("utf-8", "backslashreplace")))
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                if number == 1 and (whole := _whole(kept.path)) is not None:
                    _take(kept, whole)
                    return
                kept.say(f"line {number} is no entry ({error!r:.120})")


def _whole(path: Path) -> Mapping[str, Any] | None:
    """One answer of the hub over several lines, as somebody's tool has laid it out."""
    try:
        if path.stat().st_size > _LINE:
            return None
        document = json.loads(path.read_text(encoding="utf-8", errors="backslashreplace"))
    except (ValueError, OSError, RecursionError):
        return None
    return document if isinstance(document, dict) and isinstance(document.get("entries"), list) else None


def _take(kept: Kept, document: Any) -> None:
    """Raises ValueError, KeyError or TypeError for what is neither an entry nor a blob."""
    if not isinstance(document, dict):
        raise TypeError("no object")
    if isinstance(document.get("entries"), list):
        kept.what = "hub download"
        for each in document["entries"]:
            _take(kept, each)
    elif "blob" in document:
        kept.what = "hub download"
        kept.keep_blob(str(document["blob"]), base64.b64decode(document["data"], validate=True))
    else:
        if "position" in document:
            kept.what = "hub download"
        columns = {name: document[name] for name in COLUMNS}
        columns |= {name: _number(columns[name]) for name in ("at", "mono")}
        columns["signature"] = base64.b64decode(columns["signature"], validate=True)
        kept.keep(Row(**columns))


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r:.40} is no whole number")
    return int(value)


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
        return Bundled(path)
    if not start.startswith(_SQLITE) and (path.suffix == ".jsonl" or start.lstrip()[:1] == b"{"):
        return Kept(path, "export", _lines_in)
    return Journals(path)


def _open_folder(path: Path) -> Source:
    """A folder: an unpacked bundle, a journal's closed segments, or one with a single journal in it."""
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

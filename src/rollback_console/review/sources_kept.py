"""Entries from elsewhere than a journal's own file: lines of an export, a bundle, what a hub gave. Opened by
`review.sources.open_source`."""

from __future__ import annotations

import base64
import heapq
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rollback_console.errors import ConsoleError, InputError
from rollback_console.journal import chain as chains
from rollback_console.journal import database, segments
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.entry import Entry
from rollback_console.journal.reading import entry_of
from rollback_console.model.text import plain
from rollback_console.review.sources import Part, Said

_LINE = 64 << 20  # bytes of one line of an export; a longer one is no entry
_INSERT = f"INSERT INTO entries VALUES (NULL{', ?' * len(COLUMNS)})"  # noqa: S608 - so many columns, no data
_STEP = 100  # entries or lines between two words that time has passed


class Kept(Said):
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


def lines_in(kept: Kept) -> Iterator[None]:
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

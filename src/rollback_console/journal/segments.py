"""The files of one chain: the journal itself, and the closed segments before it, in the folder `<journal>.segments`.

A segment is a journal's file that was closed: `first-last.db`, by the numbers of its entries. The next file goes on
with the numbers and the hashes, and its first entry names the file before by its digest. Segments may be kept
elsewhere: the chain then verifies from the first entry that is here, and says so. Standard library alone.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rollback_console.errors import JournalUnwritable
from rollback_console.journal import database
from rollback_console.journal.chain import Row
from rollback_console.model.value import dataclass

KIND = "segment"
_NAME = re.compile(r"(\d{12,})-(\d{12,})\.db")
_HASH = (
    "import hashlib, sys\n"
    "with open(sys.argv[1], 'rb') as file:\n"
    "    print(hashlib.file_digest(file, 'sha256').hexdigest())\n"
)


@dataclass(frozen=True, slots=True)
class Segment:
    """A closed file of a chain, with entries `first` to `last`."""

    path: Path
    first: int
    last: int


def folder(journal: Path) -> Path:
    """Where the closed segments of a journal stand."""
    return Path(f"{journal}.segments")


def name(first: int, last: int) -> str:
    return f"{first:012d}-{last:012d}.db"


def closed(journal: Path) -> tuple[Segment, ...]:
    """The closed segments that are here, oldest first. One that still has the journal's own name is not yet one."""
    try:
        names = os.listdir(folder(journal))
    except OSError:
        return ()
    matches = (_NAME.fullmatch(each) for each in names)
    found = (Segment(folder(journal) / each[0], int(each[1]), int(each[2])) for each in matches if each)
    own = inode_of(journal)
    return tuple(sorted((each for each in found if inode_of(each.path) != own), key=lambda segment: segment.first))


def inode_of(path: Path) -> tuple[int, int]:
    """Which file stands under a name: (device, inode); (0, 0) where none does."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def opened(journal: Path) -> tuple[tuple[Segment, ...], sqlite3.Connection]:
    """The closed segments and the journal's own file, opened for reading: of one moment, whatever is rotated meanwhile.
    Raises as `database.connect_read_only` does."""
    while True:
        before = inode_of(journal)
        connection = database.connect_read_only(journal)
        found = closed(journal)
        if inode_of(journal) == before:
            return found, connection
        connection.close()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes. By a process of its own: closing any descriptor of a file drops every lock that SQLite
    holds on it in this process."""
    done = subprocess.run(  # noqa: S603 - this interpreter, our own program
        [sys.executable, "-I", "-S", "-c", _HASH, str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise JournalUnwritable(f"{path} cannot be read", done.stderr.strip().rpartition("\n")[2])
    return done.stdout.strip()


class Closed:
    """The closed segments of a journal, each opened for reading when it is asked for. Not for several threads."""

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._open: dict[Path, sqlite3.Connection] = {}
        self.segments = closed(journal)

    def look(self) -> None:
        """See again which are here."""
        self.segments = closed(self._journal)

    def after(self, seq: int) -> tuple[Segment, ...]:
        """Those with entries after `seq`."""
        return tuple(segment for segment in self.segments if segment.last > seq)

    def of(self, seq: int) -> Segment | None:
        """The one that holds this number."""
        return next((segment for segment in self.segments if segment.first <= seq <= segment.last), None)

    def fetch(self, segment: Segment, query: str, *values: object) -> list[Any]:
        """All rows of a query on one of them. Raises `JournalError`."""
        try:
            if segment.path not in self._open:
                self._open[segment.path] = database.connect_read_only(segment.path)
            return database.fetch(self._open[segment.path], segment.path, query, values)
        except database.ERRORS as error:
            raise database.translate(error, segment.path) from error

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()
        self._open.clear()


def rows(journal: Path, after: int = 0) -> Iterator[Row]:
    """The rows of a whole chain as stored: of its closed segments, then of the journal. Raises `JournalError`."""
    try:
        found, own = opened(journal)
    except database.ERRORS as error:
        raise database.translate(error, journal) from error
    try:
        for segment in found:
            if segment.last > after:
                connection = database.connect_read_only(segment.path)
                try:
                    yield from _rows(connection, segment.path, after)
                finally:
                    connection.close()
                after = max(after, segment.last)
        yield from _rows(own, journal, after)
    except database.ERRORS as error:
        raise database.translate(error, journal) from error
    finally:
        own.close()


def _rows(connection: sqlite3.Connection, path: Path, after: int) -> Iterator[Row]:
    database.check_format(connection, path)
    query = f"{database.SELECT} WHERE seq > ? ORDER BY seq LIMIT ?"
    while found := database.fetch(connection, path, query, (after, database.PAGE)):
        yield from map(Row._make, found)
        after = found[-1][1]

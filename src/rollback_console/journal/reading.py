"""Reading a journal back: entries as a stream, blobs by digest, the derived cache."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from rollback_console.errors import JournalBroken, JournalBusy
from rollback_console.journal import chain as chains
from rollback_console.journal import database
from rollback_console.journal.blobs import unpack
from rollback_console.journal.chain import Row
from rollback_console.journal.device import public_key, signed_by
from rollback_console.journal.entry import Entry
from rollback_console.journal.segments import KIND as SEGMENT
from rollback_console.journal.segments import Closed, Segment, inode_of

KEEP = "keep the file as it is, see `rollback-console journal verify`, go on with another --journal"


def entry_of(row: Row) -> Entry:
    """A stored row as an Entry: times in seconds, the body as its bytes. Raises JournalBroken for a row that holds
    something else than STRICT columns can."""
    if column := chains.malformed(row):
        raise JournalBroken(f"entry {row.seq} has no proper {column}", KEEP)
    return Entry(
        row.chain, row.seq, chains.seconds_of(row.at), chains.seconds_of(row.mono), row.kind, row.deployment,
        row.operator, row.body.encode(), row.prev, row.hash, row.signature,
    )  # fmt: skip


class JournalReader:
    """The reading half of a `Journal`; not made by itself."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.chain = ""
        self.device = ""  # the public key of the device that signs this chain, OpenSSH form
        self.rehearsal = False
        self._connection = connection
        self._lock = threading.RLock()
        self._closed = Closed(path)
        self._inode = inode_of(path)

    def entries(
        self,
        after: int = 0,
        kinds: Sequence[str] = (),
        limit: int | None = None,
        *,
        deployment: str | None = None,
        since: float | None = None,
    ) -> Iterator[Entry]:
        """Entries with seq > after, oldest first; of these kinds, this deployment, this Unix time or later.

        Streams: a page at a time, and no lock is held between pages. Reads on across the files of a chain, also of one
        that is rotated meanwhile.
        """
        where, values = _filter(kinds, deployment, since)
        left = limit
        query = f"{database.SELECT} WHERE seq > ?{where} ORDER BY seq LIMIT ?"
        while left is None or left > 0:
            page = database.PAGE if left is None else min(left, database.PAGE)
            found, ends = self._page(query, after, (*values, page))
            for row in found:
                yield entry_of(Row._make(row))
            if len(found) == page:
                after = found[-1][1]
            elif ends is not None:
                after = ends
            else:
                return
            left = None if left is None else left - len(found)

    def _page(self, query: str, after: int, values: Sequence[object]) -> tuple[list[Any], int | None]:
        """The rows of a query after a number, from the first file that has any, and where that file ends (None: it is
        the last)."""
        with self._lock:
            self._follow_file()
            for segment in self._closed.after(after)[:1]:
                return self._closed.fetch(segment, query, after, *values), segment.last
            return self._all(query, after, *values), None

    def tail(
        self, limit: int, kinds: Sequence[str] = (), *, deployment: str | None = None, since: float | None = None
    ) -> tuple[Entry, ...]:
        """The last `limit` entries that match, oldest first."""
        where, values = _filter(kinds, deployment, since)
        query = f"{database.SELECT} WHERE 1{where} ORDER BY seq DESC LIMIT ?"
        found = self._all(query, *values, limit)
        for segment in reversed(self._closed.segments):
            if len(found) == limit:
                break
            with self._lock:
                found += self._closed.fetch(segment, query, *values, limit - len(found))
        return tuple(entry_of(Row._make(row)) for row in reversed(found))

    def get(self, seq: int) -> Entry | None:
        """One entry by its number, or None."""
        row = self._row(seq)
        return entry_of(row) if row is not None else None

    def _row(self, seq: int) -> Row | None:
        query = f"{database.SELECT} WHERE seq = ?"
        with self._lock:
            found = self._all(query, seq)
            segment = self._closed.of(seq) if not found else None
            if segment is not None:
                found = self._closed.fetch(segment, query, seq)
        return Row._make(found[0]) if found else None

    def first_here(self) -> Entry | None:
        """The first entry of the file itself: the genesis, or what names the file before."""
        found = self._one(f"{database.SELECT} ORDER BY seq LIMIT 1")
        return entry_of(Row._make(found)) if found else None

    def count_here(self) -> int:
        """How many entries the file itself holds."""
        return int(self._one("SELECT count(*) FROM entries")[0])

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The closed files of the chain that are here, oldest first."""
        return self._closed.segments

    def not_as_signed(self, seqs: Iterable[int]) -> tuple[int, ...]:
        """Which of these entries are not what this journal's device signed, by their own hash and signature. Cheap,
        and less than `journal verify`: whether one was left out or put in between only the whole chain shows."""
        key = public_key(self.device)
        found = {}
        for seq in seqs:
            row = self._row(seq)
            found[seq] = row is not None and (
                chains.malformed(row) is None
                and row.chain == self.chain
                and _hashes_to(row)
                and signed_by(key, row.hash, row.signature)
            )
        return tuple(seq for seq, sound in found.items() if not sound)

    def rows(self, after: int = 0) -> Iterator[Row]:
        """Entries exactly as stored, for export and verification, across the files of the chain."""
        query, ends = f"{database.SELECT} WHERE seq > ? ORDER BY seq LIMIT ?", None
        while True:
            found, ends = self._page(query, after, (database.PAGE,))
            yield from map(Row._make, found)
            if not found and ends is None:
                return
            after = found[-1][1] if found else ends or after

    def get_blob(self, digest: str) -> bytes | None:
        """The bytes of that SHA-256, or None where retention dropped them. Raises JournalBroken when what is stored is
        something else."""
        query = "SELECT size, data FROM blobs WHERE digest = ?"
        found = self._one(query, digest)
        for segment in reversed(self._closed.segments):
            if found is not None:
                break
            with self._lock:
                found = next(iter(self._closed.fetch(segment, query, digest)), None)
        if found is None:
            return None
        data = unpack(found[0], found[1])
        if data is None or chains.digest(data) != digest:
            raise JournalBroken(f"the blob {digest} of {self.path} is not what its digest says", KEEP)
        return data

    def blob_digests(self) -> Iterator[str]:
        """The digests of all blobs that are here, in whatever file of the chain, sorted."""
        query, after = "SELECT digest FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?", ""
        while True:
            with self._lock:
                pages = [self._all(query, after, database.PAGE)]
                pages += [self._closed.fetch(each, query, after, database.PAGE) for each in self._closed.segments]
            found = sorted({digest for page in pages for (digest,) in page})[: database.PAGE]
            if not found:
                return
            yield from found
            after = found[-1]

    def get_live(self) -> tuple[float, bytes] | None:
        """(at, data) of the derived cache, or None."""
        found = self._one("SELECT at, data FROM live WHERE id = 1")
        return (float(found[0]), bytes(found[1])) if found else None

    def head(self) -> tuple[int, str]:
        """(seq, hash) of the last entry, by whatever process; (0, "") before the first."""
        found = self._one("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1")
        return (found[0], found[1]) if found else (0, "")

    def count(self) -> int:
        """How many entries the chain has. Numbers have no gaps, so this is the head's."""
        return self.head()[0]

    def size_bytes(self) -> int:
        """The file's size, with what waits beside it to be folded in."""
        total = 0
        for end in ("", "-wal", "-journal"):
            with suppress(OSError):
                total += os.stat(f"{self.path}{end}").st_size
        return total

    def _connect(self) -> sqlite3.Connection:
        return database.connect_read_only(self.path)

    def _follow_file(self) -> bool:
        """Where the file was rotated, read on in the one that took its name. False where it is the same, is gone, or is
        another journal's: what was open stays open."""
        inode = inode_of(self.path)
        if inode in (self._inode, (0, 0)):
            return False
        connection = self._connect()
        try:
            database.check_format(connection, self.path)
            row = connection.execute(f"{database.SELECT} ORDER BY seq LIMIT 1").fetchone()
            first = Row._make(row) if row else None
            ours = (
                first is not None
                and first.kind == SEGMENT
                and first.chain == self.chain
                and _hashes_to(first)
                and signed_by(public_key(self.device), first.hash, first.signature)
            )
        except (*database.ERRORS, JournalBroken):
            ours = False
        if not ours:
            connection.close()
            return False
        self._connection.close()
        self._connection, self._inode = connection, inode
        self._closed.look()
        return True

    def mode(self) -> str:
        """SQLite's journal mode of this connection: `wal`, `truncate`, ..."""
        return str(self._all("PRAGMA journal_mode")[0][0])

    @contextmanager
    def without_waiting(self, limit_s: float = 0.05) -> Iterator[None]:
        """Within, reads wait neither for another process that holds the file nor for an append of this object, but for
        `limit_s` seconds each: for whoever must answer keys. Raises JournalBusy; what was read until then is right."""
        if not self._lock.acquire(timeout=limit_s):
            raise JournalBusy(f"the journal {self.path} is being written", "it is read again in a moment")
        try:
            ((before,),) = self._connection.execute("PRAGMA busy_timeout").fetchall()
            self._connection.execute(f"PRAGMA busy_timeout = {round(limit_s * 1000)}")
            try:
                yield
            finally:
                with suppress(*database.ERRORS):
                    self._connection.execute(f"PRAGMA busy_timeout = {before}")
        except database.ERRORS as error:
            raise database.translate(error, self.path) from error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Close the file; the object is of no more use."""
        with self._lock:
            self._connection.close()
            self._closed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def all_of(self, query: str, *values: object) -> list[Any]:
        """The rows of a query of this package's own. Raises `JournalError`."""
        return self._all(query, *values)

    def _all(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            try:
                self._follow_file()
                return database.fetch(self._connection, self.path, query, values)
            except database.ERRORS as error:
                raise database.translate(error, self.path) from error

    def _one(self, query: str, *values: object) -> Any:
        found = self._all(query, *values)
        return found[0] if found else None


def _hashes_to(row: Row) -> bool:
    try:
        return chains.row_hash(row) == row.hash
    except ValueError:
        return False  # its text is no UTF-8: it was never hashed so


def _filter(kinds: Sequence[str], deployment: str | None, since: float | None) -> tuple[str, list[object]]:
    where, values = "", list[object]()
    if kinds:
        where += f" AND kind IN ({', '.join('?' * len(kinds))})"
        values += kinds
    if deployment is not None:
        where += " AND deployment = ?"
        values.append(deployment)
    if since is not None:
        where += " AND at >= ?"
        values.append(chains.nanoseconds(since))
    return where, values

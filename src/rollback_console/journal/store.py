"""The journal: append-only, hash-chained, signed, durable when `append` returns.

Several processes may append to one journal, and one process from several threads (each call takes the object's lock).
Every transaction begins IMMEDIATE and reads the head again inside it: a deferred BEGIN, which is what sqlite-utils'
`atomic` gives, fails with SQLITE_BUSY as soon as two writers read before they write.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from rollback_console.clock import Clock
from rollback_console.errors import JournalBroken, JournalError, JournalUnwritable
from rollback_console.journal import chain as chains
from rollback_console.journal import database
from rollback_console.journal.blobs import pack
from rollback_console.journal.chain import SECOND, Row
from rollback_console.journal.create import INSERT, canonical_body, create, seal, times
from rollback_console.journal.device import DeviceKey, public_key, signed_by
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Body, ClockJump, Genesis, SegmentBegun
from rollback_console.journal.reading import KEEP, JournalReader, entry_of
from rollback_console.journal.segments import inode_of
from rollback_console.version import __version__

_JUMP_NS = 2 * SECOND  # wall against monotonic, from one of our entries to the next


class Journal(JournalReader):
    """One journal file, for appending or for reading. Implements `journal.entry.Recorder`; raises only `JournalError`
    (and UsageError from `open_read_only` when there is no file). Use `open` or `open_read_only`."""

    def __init__(
        self, path: Path, connection: sqlite3.Connection, device: DeviceKey | None, clock: Clock | None, timeout: float
    ) -> None:
        super().__init__(path, connection)
        self._device = device
        self._clock = clock
        self._timeout = timeout
        self._head: tuple[int, str] = (0, "")
        self.operators: frozenset[str] = frozenset()  # their names may be e-mail addresses: redaction leaves these
        self._lost = False  # the connection was given up after a COMMIT that raised
        self._time = self._now() if clock is not None else (0, 0)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        device: DeviceKey,
        clock: Clock,
        rehearsal: bool = False,
        chain: str | None = None,
        program: str = f"rollback-console {__version__}",
        busy_timeout: float = database.BUSY_TIMEOUT_S,
    ) -> Journal:
        """The journal at `path` for appending, made (with its genesis entry, in one piece) when there is none.

        `chain` names the chain of a seeded rehearsal; others get a random one. Refuses a journal of another device, a
        rehearsal's for live work and the reverse, and one whose head does not verify.
        """
        path = Path(path)
        try:
            if not os.path.lexists(path):
                create(path, device, clock, Genesis(
                    chain=chain or secrets.token_hex(16), program=program, device=device.public_openssh(),
                    rehearsal=rehearsal,
                ))  # fmt: skip
            database.check_writable(path)
            journal = cls(path, database.connect(path, busy_timeout), device, clock, busy_timeout)
        except database.ERRORS as error:
            raise database.translate(error, path) from error
        except OSError as error:
            raise JournalUnwritable(
                f"the journal {path} cannot be made ({error.strerror or error})",
                "make its folder writable, or name another --journal",
            ) from error
        journal._begin(lambda: journal._check_ours(rehearsal, chain))
        return journal

    @classmethod
    def open_read_only(cls, path: Path) -> Journal:
        """The journal at `path` for reading alone: while others write to it, and on read-only media.

        Raises UsageError when there is no such file. Appending raises JournalUnwritable.
        """
        path = Path(path)
        try:
            journal = cls(path, database.connect_read_only(path), None, None, database.BUSY_TIMEOUT_S)
        except database.ERRORS as error:
            raise database.translate(error, path) from error
        journal._begin(lambda: None)
        return journal

    # Appending

    def append(self, body: Body, *, deployment: str = "", operator: str = "") -> Entry:
        """One entry, durable when this returns. Raises JournalUnwritable when nothing was recorded, JournalBroken when
        the journal is not what it was."""
        return self.append_all([(body, deployment, operator)])[0]

    def append_all(self, items: Sequence[tuple[Body, str, str]], blobs: Sequence[bytes] = ()) -> tuple[Entry, ...]:
        """Several (body, deployment, operator), in order, with the blobs they name, in one transaction: all or none.

        Where the wall clock jumped against the monotonic one since this object's last entry,
        a `clock` entry goes first.
        """
        prepared = [
            (body.kind, canonical_body(body, self.operators | {operator}), _text(deployment), _text(operator))
            for body, deployment, operator in items
        ]
        packed = [pack(data) for data in blobs]
        if not prepared and not packed:
            return ()
        # Sealed inside the transaction, bodies made before it: others wait for as short as can be.
        with self._lock:
            written = self._transact(lambda: self._insert(prepared, packed))
        return tuple(entry_of(row) for row in written[len(written) - len(prepared) :])

    def _insert(self, prepared: list[tuple[str, str, str, str]], packed: list[tuple[str, int, bytes]]) -> list[Row]:
        """Inside a transaction: the rows, chained to the head as it is now."""
        if self._device is None:
            raise self._read_only()
        at, mono = self._now()
        jump = (at - self._time[0]) - (mono - self._time[1])
        if prepared and abs(jump) > _JUMP_NS:
            prepared = [("clock", canonical_body(ClockJump(seconds=chains.seconds_of(jump))), "", ""), *prepared]
        seq, prev = self._check_head()
        written = []
        for kind, body, deployment, operator in prepared:
            seq += 1
            row = seal(self._device, self.chain, seq, (at, mono), (kind, body, deployment, operator), prev)
            written.append(row)
            prev = row.hash
        if packed:
            self._connection.executemany("INSERT OR IGNORE INTO blobs (digest, size, data) VALUES (?, ?, ?)", packed)
        self._connection.executemany(INSERT, written)
        return written

    def put_blob(self, data: bytes) -> str:
        """Content-addressed bytes, compressed at rest and durable when this returns; their SHA-256, hex.

        A transaction of its own: `append_all(items, blobs)` writes entries and their blobs with one sync.
        """
        packed = pack(data)
        with self._lock:
            if not self._one("SELECT 1 FROM blobs WHERE digest = ?", packed[0]):
                self._transact(lambda: self._insert([], [packed]))
        return packed[0]

    def sizes_of(self, digests: Sequence[str]) -> tuple[int, int]:
        """(how many of these blobs the file itself holds, their bytes at rest)."""
        found = [self._one("SELECT length(data) FROM blobs WHERE digest = ?", digest) for digest in digests]
        sizes = [int(each[0]) for each in found if each is not None]
        return len(sizes), sum(sizes)

    def drop_blobs(self, body: Body, digests: Sequence[str], operator: str = "") -> Entry:
        """Retention: these blobs go, and the entry that says so comes, in one transaction. For `journal.retention`."""
        from rollback_console.journal.retention import delete

        prepared = [(body.kind, canonical_body(body), "", _text(operator))]

        def write() -> list[Row]:
            delete(self._connection, digests)
            return self._insert(prepared, [])

        with self._lock:
            return entry_of(self._transact(write)[-1])

    def put_live(self, data: bytes, at: float) -> None:
        """Replace the derived cache: what a start may show before it has folded anything. Covered by no signature."""
        with self._lock:
            self._transact(lambda: self._insert_live(data, at))

    def _insert_live(self, data: bytes, at: float) -> list[Row]:
        self._connection.execute("INSERT OR REPLACE INTO live (id, at, data) VALUES (1, ?, ?)", (at, data))
        return []

    # Transactions

    def _transact(self, insert: Callable[[], list[Row]]) -> list[Row]:
        """BEGIN IMMEDIATE, `insert`, COMMIT. Either all of it is durable or this raises JournalError."""
        if self._device is None:
            raise self._read_only()
        if not self._same_file() and not self.follow():
            raise JournalUnwritable(
                f"the journal {self.path} was moved or replaced while it was open", "put it back, or start again"
            )
        try:
            if self._lost:
                self._connection, self._lost = database.connect(self.path, self._timeout), False
            self._connection.execute("BEGIN IMMEDIATE")
            while self._connection.execute("SELECT 1 FROM meta WHERE name = 'closed'").fetchone():
                self._go_on_after_rotation()
            self._check_mode()
            written = insert()
        except BaseException as error:
            self._roll_back()
            if isinstance(error, database.ERRORS):
                raise database.translate(error, self.path) from error
            raise
        try:
            self._connection.execute("COMMIT")
        except database.ERRORS as error:
            self._after_failed_commit(written, error)
        if written:
            self._head = (written[-1].seq, written[-1].hash)
            self._time = (written[-1].at, written[-1].mono)
        return written

    def _same_file(self) -> bool:
        return inode_of(self.path) == self._inode

    # Rotation (journal.rotate does it)

    def _connect(self) -> sqlite3.Connection:
        if self._device is None:
            return super()._connect()
        return database.connect(self.path, self._timeout)

    def follow(self) -> bool:
        """Go on in the file that took this one's name when it was rotated. False where it was not."""
        with self._lock:
            return self._follow_file()

    def _go_on_after_rotation(self) -> None:
        """Inside a transaction on a file that was closed: end it, and begin one on the file after it."""
        from rollback_console.journal.rotate import finish_for

        self._roll_back()
        assert self._device is not None  # noqa: S101 - `_transact` saw to it
        assert self._clock is not None  # noqa: S101 - who may append has one
        finish_for(self.path, self._device, self._clock)
        if not self.follow():
            raise JournalBroken(f"the journal {self.path} was closed, and another stands in its place", KEEP)
        self._connection.execute("BEGIN IMMEDIATE")

    def mark_closed(self) -> None:
        """The file takes no more entries, durably; for `journal.rotate` alone, which makes the next."""
        with self._lock:
            self._transact(lambda: self._mark("closed"))

    def _mark(self, name: str) -> list[Row]:
        self._connection.execute("INSERT INTO meta (name, value) VALUES (?, ?)", (name, "yes"))
        return []

    @property
    def clock(self) -> Clock:
        """What times its entries. Raises JournalUnwritable where it is open for reading alone."""
        if self._clock is None:
            raise self._read_only()
        return self._clock

    @property
    def device_key(self) -> DeviceKey | None:
        """What this object signs with; None where it is open for reading alone."""
        return self._device

    @property
    def known_head(self) -> tuple[int, str]:
        """(seq, hash) of the last entry that this object knows of, without a look at the file, which may be gone."""
        return self._head

    def _after_failed_commit(self, written: list[Row], error: Exception) -> None:
        """A COMMIT that raised may still be durable. Look with fresh eyes before saying that nothing was recorded: a
        second try would write the entry twice. Returns when it is there, raises when it is not."""
        self._roll_back()
        with suppress(*database.ERRORS):
            self._connection.close()
        self._lost = True
        try:
            self._connection, self._lost = database.connect(self.path, self._timeout), False
            if written:
                last = written[-1]
                found = self._connection.execute("SELECT hash FROM entries WHERE seq = ?", (last.seq,)).fetchone()
                if found is not None and found[0] == last.hash:
                    return
        except database.ERRORS as second:
            raise JournalUnwritable(
                f"the journal {self.path} failed at the moment of recording, and does not answer ({second})",
                "start again when it does: `journal list` then says whether the last entry was recorded",
            ) from error
        raise database.translate(error, self.path) from error

    def _roll_back(self) -> None:
        with suppress(*database.ERRORS):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _check_mode(self) -> None:
        """A process with a newer SQLite may have turned the file to WAL, which this one must not write with others."""
        if not database.WAL_SAFE and self._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            raise JournalUnwritable(
                f"the journal {self.path} is in WAL mode, which SQLite {sqlite3.sqlite_version} cannot share safely",
                "close the other processes on it and open it again, or use SQLite 3.51.3 or newer",
            )

    def _check_head(self) -> tuple[int, str]:
        """The head inside the transaction; raises JournalBroken when the journal is not the one we knew."""
        found = self._connection.execute("SELECT chain, seq, hash FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        if found is None or found[0] != self.chain:
            raise JournalBroken(f"another journal stands at {self.path} (chain {found and found[0]})", KEEP)
        known_seq, known_hash = self._head
        if (found[1], found[2]) != self._head:
            then = self._connection.execute("SELECT hash FROM entries WHERE seq = ?", (known_seq,)).fetchone()
            if then is None and (segment := self._closed.of(known_seq)) is not None:
                then = next(
                    iter(self._closed.fetch(segment, "SELECT hash FROM entries WHERE seq = ?", known_seq)), None
                )
            if not self._taken_elsewhere(known_seq, then) and (then is None or then[0] != known_hash):
                raise JournalBroken(
                    f"entry {known_seq} of {self.path} was changed or removed since it was written", KEEP
                )
        return found[1], found[2]

    def _taken_elsewhere(self, seq: int, found: object) -> bool:
        """Is this number in a closed file that is not here any more."""
        if found is not None or self._closed.of(seq) is not None:
            return False
        (first,) = self._connection.execute("SELECT min(seq) FROM entries").fetchone()
        return bool(seq < first)

    def _now(self) -> tuple[int, int]:
        if self._clock is None:
            raise self._read_only()
        return times(self._clock)

    def _read_only(self) -> JournalUnwritable:
        return JournalUnwritable(
            f"the journal {self.path} is open for reading alone", "open it without review or look-only"
        )

    # Opening

    def _begin(self, check: Callable[[], None]) -> None:
        """After opening: is it a journal of ours, and what does its first entry say. Closes it if not."""
        try:
            version = database.check_format(self._connection, self.path)
            if self._device is not None and version < database.SCHEMA_VERSION:
                self._migrate()
            if self._device is not None and version > database.SCHEMA_VERSION:
                raise JournalUnwritable(
                    f"the journal {self.path} was made by a newer program (schema {version})", "update rollback-console"
                )
            self._read_genesis()
            check()
        except database.ERRORS as error:
            self.close()
            raise database.translate(error, self.path) from error
        except JournalError:
            self.close()
            raise

    def _migrate(self) -> None:
        from rollback_console.journal.schema import migrate  # sqlite_utils: 73 ms, and nearly never needed

        self._connection.execute("BEGIN IMMEDIATE")
        try:
            migrate(self._connection)
            self._connection.execute("COMMIT")
        finally:
            self._roll_back()

    def _read_genesis(self) -> None:
        first = self.first_here()
        body = first.parsed() if first is not None else None
        if first is None or not isinstance(body, Genesis | SegmentBegun) or body.chain != first.chain:
            raise JournalBroken(f"the journal {self.path} does not begin with a genesis entry", KEEP)
        self.chain, self.device, self.rehearsal = first.chain, body.device, body.rehearsal

    def _check_ours(self, rehearsal: bool, chain: str | None) -> None:
        """May this process append here: same device, same purpose, same chain, and a head worth building on."""
        another = "name another --journal, or open this one with `rollback-console review`"
        if self._device is None or self.device != self._device.public_openssh():
            raise JournalUnwritable(f"the journal {self.path} belongs to another device", another)
        if self.rehearsal != rehearsal:
            kind = "a rehearsal's" if self.rehearsal else "a live one"
            raise JournalUnwritable(f"the journal {self.path} is {kind}", another)
        if chain is not None and chain != self.chain:
            raise JournalUnwritable(f"the journal {self.path} holds chain {self.chain}, not {chain}", another)
        found = self._one(f"{database.SELECT} ORDER BY seq DESC LIMIT 1")
        if found is None:
            raise JournalBroken(f"the journal {self.path} has no entries", KEEP)
        row = Row._make(found)
        if not _sound(row, self.device):
            raise JournalBroken(f"the last entry of {self.path}, {row.seq}, does not verify", KEEP)
        self._head = (row.seq, row.hash)


def _sound(row: Row, device: str) -> bool:
    if chains.malformed(row):
        return False
    return chains.row_hash(row) == row.hash and signed_by(public_key(device), row.hash, row.signature)


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise JournalUnwritable("a name holds a lone surrogate, which cannot be recorded", "rename it") from error
    return value

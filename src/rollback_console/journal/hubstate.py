"""What a journal knows of its hub: how far it was sent, the receipts, the newest checkpoint, and evidence.

A file of its own, `<journal>.hub`: the journal is never locked for it, and a journal that is put back from a backup
does not take its cursor back with it, so that the cut shows. Losing this file loses no entry: all are offered again and
the hub counts them as duplicates. What is lost with it is the memory of the hub's tree, and the receipts.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rollback_console.errors import JournalBroken, JournalUnwritable
from rollback_console.journal.receipt import Receipt
from rollback_console.journal.signednote import Checkpoint
from rollback_console.model.hub import Alarm
from rollback_console.model.value import dataclass

VERSION = 1
_APPLICATION_ID = 0x52424831  # "RBH1"
_HOUR_NS = 3_600_000_000_000
_SECOND = 1_000_000_000
_BUSY_S = 5.0

_TABLES = (
    # How far each chain is proven to be at the hub of this key; blobs go up behind entries.
    """CREATE TABLE cursors (hub TEXT NOT NULL, chain TEXT NOT NULL, seq INTEGER NOT NULL, hash TEXT NOT NULL,
       blob_seq INTEGER NOT NULL DEFAULT 0, closed TEXT NOT NULL DEFAULT '', PRIMARY KEY (hub, chain)) STRICT""",
    """CREATE TABLE receipts (hub TEXT NOT NULL, chain TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL,
       receipt TEXT NOT NULL, PRIMARY KEY (hub, chain, seq)) STRICT""",
    """CREATE TABLE checkpoints (hub TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL,
       note TEXT NOT NULL) STRICT""",
    """CREATE TABLE evidence (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, hub TEXT NOT NULL, chain TEXT NOT NULL,
       kind TEXT NOT NULL, sentence TEXT NOT NULL, detail TEXT NOT NULL, accepted INTEGER NOT NULL DEFAULT 0) STRICT""",
    """CREATE TABLE facts (hub TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
       PRIMARY KEY (hub, name)) STRICT""",
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a chain is proven to be at the hub: its last receipt's entry. `blob_seq`: blobs of entries up to it are
    there too. `closed`: why nothing more of this chain goes up, or ""."""

    seq: int = 0
    hash: str = ""
    blob_seq: int = 0
    closed: str = ""


def path_of(journal: Path) -> Path:
    """Where the state of a journal stands."""
    return Path(f"{journal}.hub")


class HubStore:
    """The file, opened (made when there is none). Safe to share between threads. `hub` is the pinned verifier key: the
    state of another hub stands beside and is not mixed up.

    Raises JournalUnwritable where it cannot be used, JournalBroken where it is something else.
    """

    def __init__(self, journal: Path, hub: str) -> None:
        self.path = path_of(journal)
        self.hub = hub
        self._lock = threading.RLock()
        try:
            self._connection = self._open()
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error

    def _open(self) -> sqlite3.Connection:
        if not self.path.exists():  # one that is there is never opened but by SQLite: see `journal.database`
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")  # a lost cursor is sent again
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if version == 0 and application == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                for table in _TABLES:
                    connection.execute(table)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif application != _APPLICATION_ID or version != VERSION:
                raise JournalBroken(
                    f"{self.path} is not a hub state of this program", "move it away: everything is offered again"
                )
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    # -- the cursor and the receipts

    def cursor(self, chain: str) -> Cursor:
        found = self._one("SELECT seq, hash, blob_seq, closed FROM cursors WHERE hub = ? AND chain = ?", chain)
        return Cursor(*found) if found else Cursor()

    def proven(self, receipt: Receipt, now_ns: int) -> None:
        """Keep a checked receipt and move the cursor to it. Of older receipts one an hour is kept: the newest proves
        every entry before it, the others prove when."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO cursors (hub, chain, seq, hash) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
                (self.hub, receipt.chain, receipt.seq, receipt.hash),
            )
            last = connection.execute(
                "SELECT seq, at FROM receipts WHERE hub = ? AND chain = ? ORDER BY seq DESC LIMIT 2",
                (self.hub, receipt.chain),
            ).fetchall()
            if len(last) == 2 and last[0][1] // _HOUR_NS == last[1][1] // _HOUR_NS == receipt.at // _HOUR_NS:
                connection.execute(
                    "DELETE FROM receipts WHERE hub = ? AND chain = ? AND seq = ?",
                    (self.hub, receipt.chain, last[0][0]),
                )
            connection.execute(
                "INSERT OR REPLACE INTO receipts (hub, chain, seq, at, receipt) VALUES (?, ?, ?, ?, ?)",
                (self.hub, receipt.chain, receipt.seq, receipt.at, json.dumps(receipt.to_json(), sort_keys=True)),
            )
            self._put(connection, {"contact_at": str(now_ns / _SECOND), "problem": "", "link": "ok"})

    def set_back(self, chain: str, seq: int, hash_: str) -> None:
        """The hub holds less than it acknowledged: what is missing goes up again."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO cursors (hub, chain, seq, hash) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET seq = excluded.seq, hash = excluded.hash, blob_seq = min(blob_seq, excluded.seq)",
                (self.hub, chain, seq, hash_),
            )

    def blobs_sent(self, chain: str, seq: int) -> None:
        """The blobs of every entry up to this one are at the hub."""
        with self._transaction() as connection:
            connection.execute("UPDATE cursors SET blob_seq = ? WHERE hub = ? AND chain = ?", (seq, self.hub, chain))

    def close_chain(self, chain: str, why: str) -> None:
        """Nothing more of this chain goes up: it has two ends, and the hub holds the other."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO cursors (hub, chain, seq, hash, closed) VALUES (?, ?, 0, '', ?)"
                " ON CONFLICT DO UPDATE SET closed = excluded.closed",
                (self.hub, chain, why),
            )

    def last_receipt(self, chain: str) -> Receipt | None:
        """The newest receipt of the chain, checked when it came."""
        found = self._one("SELECT receipt FROM receipts WHERE hub = ? AND chain = ? ORDER BY seq DESC LIMIT 1", chain)
        return Receipt.from_json(json.loads(found[0])) if found else None

    # -- the hub's tree

    def checkpoint(self) -> tuple[Checkpoint, str] | None:
        """The newest checkpoint held, and its signed note."""
        found = self._one("SELECT size, root, note FROM checkpoints WHERE hub = ?")
        if found is None:
            return None
        origin = str(found[2]).partition("\n")[0]
        return Checkpoint(origin, found[0], found[1]), found[2]

    def hold(self, checkpoint: Checkpoint, note: str) -> None:
        """From here on the hub's tree has to begin with this one."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO checkpoints (hub, size, root, note) VALUES (?, ?, ?, ?)",
                (self.hub, checkpoint.size, checkpoint.root, note),
            )

    def forget_checkpoint(self) -> None:
        """The log it was of has ended: the next one is held from its first checkpoint on."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM checkpoints WHERE hub = ?", (self.hub,))

    # -- evidence

    def keep_evidence(self, chain: str, kind: str, sentence: str, detail: dict[str, Any], now_ns: int) -> bool:
        """Keep what an honest hub and an only device would never have shown. False when the same is kept already and
        nobody has accepted it since."""
        with self._transaction() as connection:
            if connection.execute(
                "SELECT 1 FROM evidence WHERE hub = ? AND chain = ? AND kind = ? AND sentence = ? AND accepted = 0",
                (self.hub, chain, kind, sentence),
            ).fetchone():
                return False
            connection.execute(
                "INSERT INTO evidence (at, hub, chain, kind, sentence, detail) VALUES (?, ?, ?, ?, ?, ?)",
                (now_ns, self.hub, chain, kind, sentence, json.dumps(detail, sort_keys=True)),
            )
        return True

    def alarms(self) -> tuple[Alarm, ...]:
        """Everything kept as evidence about this hub, oldest first."""
        found = self._all("SELECT id, at, kind, sentence, accepted FROM evidence WHERE hub = ? ORDER BY id")
        return tuple(Alarm(id_, at / _SECOND, kind, text, bool(accepted)) for id_, at, kind, text, accepted in found)

    def detail(self, alarm: int) -> dict[str, Any]:
        """What was kept with one of them: notes, receipts, entries, as they came."""
        found = self._one("SELECT detail FROM evidence WHERE hub = ? AND id = ?", alarm)
        loaded = json.loads(found[0]) if found else {}
        return loaded if isinstance(loaded, dict) else {}

    def succeeded(self, chain: str) -> None:
        """A new chain has begun in this one's place: what stood against it is settled, and stays as evidence."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE evidence SET accepted = 1 WHERE hub = ? AND chain = ? AND kind IN ('restored', 'copied')",
                (self.hub, chain),
            )

    def accept(self) -> int:
        """Somebody goes on with the hub as it is: how many alarms that closed. The evidence stays."""
        with self._transaction() as connection:
            return connection.execute(
                "UPDATE evidence SET accepted = 1 WHERE hub = ? AND accepted = 0", (self.hub,)
            ).rowcount

    # -- facts of the last round, for processes that only look

    def say(self, **facts: str) -> None:
        """Keep facts of the last round by name."""
        with self._transaction() as connection:
            self._put(connection, facts)

    def facts(self) -> dict[str, str]:
        """What was said of this hub, by whatever process."""
        return dict(self._all("SELECT name, value FROM facts WHERE hub = ?"))

    def _put(self, connection: sqlite3.Connection, facts: dict[str, str]) -> None:
        connection.executemany(
            "INSERT OR REPLACE INTO facts (hub, name, value) VALUES (?, ?, ?)",
            [(self.hub, name, value) for name, value in facts.items()],
        )

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """BEGIN IMMEDIATE to COMMIT, under the store's lock."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._translated(error) from error
                raise

    def _all(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(query, (self.hub, *values)).fetchall()
            except sqlite3.Error as error:
                raise self._translated(error) from error

    def _one(self, query: str, *values: object) -> Any:
        found = self._all(query, *values)
        return found[0] if found else None

    def _translated(self, error: Exception) -> JournalUnwritable:
        return JournalUnwritable(
            f"the hub state {self.path} cannot be used ({error})",
            "entries are recorded all the same; move the file away, and everything is offered to the hub again",
        )

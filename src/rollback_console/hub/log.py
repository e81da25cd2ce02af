"""The hub's transparency log: heads of chains as leaves of an RFC 6962 tree, in a table of nodes.

A leaf and its nodes are committed before anything over them is signed, and nodes never change: so a proof may be made
at any time, by any hub process, outside every lock. What was signed is remembered (see `keyfile.Mark`): a database that
is suddenly shorter is an old one, and this hub then signs nothing more until a person has said so.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, func, insert, select

from rollback_console.errors import UsageError
from rollback_console.hub import keyfile, problems
from rollback_console.hub.database import Database
from rollback_console.hub.keyfile import Mark
from rollback_console.hub.problems import Problem
from rollback_console.hub.tables import entries, epochs, log_leaves, log_nodes, meta
from rollback_console.journal import merkle
from rollback_console.journal.receipt import Receipt, leaf_of
from rollback_console.journal.signednote import Checkpoint, NoteKey, open_note
from rollback_console.model.value import dataclass

_CACHED = 200_000  # nodes kept in memory: they never change
_MARK_EVERY_S = 1.0
HALTED = "halted"  # the name in `meta` under which a rolled-back hub says so to all its processes


@dataclass(frozen=True, slots=True)
class Head:
    """A chain's last entry."""

    seq: int
    hash: str


class Log:
    """One log over one database. `open` it; safe from several threads."""

    def __init__(self, database: Database, private: Ed25519PrivateKey, mark: Path) -> None:
        self._database = database
        self._private = private
        self._mark_path = mark
        self._nodes: dict[tuple[int, int], bytes] = {}
        self._signed = Mark("", 0, "")
        self._written = (Mark("", 0, ""), 0.0)  # what this process wrote into the mark's file, when (monotonic)
        self._lock = threading.Lock()
        self.key = NoteKey("unopened", private)

    def open(self, name: str) -> None:
        """Begin the log's first epoch where there is none, and compare the database with the mark.

        Raises UsageError when another key witnessed this database, or when it is older than what was signed.
        """
        with self._database.reading() as connection:
            last = connection.execute(select(epochs).order_by(epochs.c.number.desc()).limit(1)).one_or_none()
        if last is None:
            begin_epoch(self._database, self._private, name, "first start")
            self.open(name)
            return
        self.key = NoteKey(last.origin, self._private)
        if self.key.vkey != last.vkey:
            raise UsageError(
                f"this database is witnessed by another key than the one in {self._mark_path.parent}",
                "put the hub's own hub.key there: every process of one hub has the same",
            )
        self.check_mark()

    def check_mark(self) -> None:
        """Raises UsageError when the database does not hold what the mark says was signed."""
        mark = keyfile.read_mark(self._mark_path)
        if mark is None or not mark.size or _order(mark.origin) < _order(self.key.name):
            return
        with self._database.reading() as connection:
            size = self.size(connection)
            holds = mark.origin == self.key.name and mark.size <= size
            holds = holds and self.root(connection, mark.size).hex() == mark.root
        if not holds:
            raise UsageError(
                f"this database is older than what this hub has signed ({size} leaves, {mark.size} were signed)"
                if mark.size > size
                else f"this database holds another history than what this hub has signed ({mark.size} leaves)",
                "put the newer one back, or say that it was restored: rollback-console hub restore",
            )
        self._signed = replace(mark, clean=False)

    # Reading

    def size(self, connection: Connection) -> int:
        found = connection.execute(select(func.max(log_leaves.c.index))).scalar_one()
        return 0 if found is None else int(found) + 1

    def root(self, connection: Connection, size: int) -> bytes:
        return merkle.root_of(size, self.node(connection))

    def node(self, connection: Connection) -> merkle.Node:
        """The hashes of complete subtrees, from memory or the table."""

        def read(level: int, index: int) -> bytes:
            known = self._nodes.get((level, index))
            if known is None:
                known = bytes(
                    connection.execute(
                        select(log_nodes.c.hash).where(log_nodes.c.level == level, log_nodes.c.index == index)
                    ).scalar_one()
                )
                if len(self._nodes) >= _CACHED:
                    self._nodes.clear()
                self._nodes[level, index] = known
            return known

        return read

    def inclusion(self, index: int, size: int | None) -> list[bytes]:
        """Raises Problem when there is no such leaf in a tree of that size (None: as it is now)."""
        with self._database.reading() as connection:
            there = self.size(connection)
            if not 0 <= index < (size or there) <= there:
                raise Problem(404, "no-such-leaf", "this tree has no such leaf", size=there)
            return merkle.inclusion_proof(index, size or there, self.node(connection))

    def consistency(self, first: int, second: int | None) -> list[bytes]:
        """Raises Problem when the tree was never that large."""
        with self._database.reading() as connection:
            there = self.size(connection)
            second = there if second is None else second
            if not 0 <= first <= second <= there:
                raise Problem(409, "log-shorter", "this log has fewer leaves than that", size=there)
            return merkle.consistency_proof(first, second, self.node(connection))

    # Witnessing

    def append(self, connection: Connection, chain: str, head: Head, at: int) -> int:
        """Inside the log's transaction: one more leaf; its index."""
        size = self.size(connection)
        connection.execute(
            insert(log_leaves), {"index": size, "chain": chain, "seq": head.seq, "hash": head.hash, "at": at}
        )
        leaf = merkle.leaf_hash(leaf_of(chain, head.seq, head.hash, at))
        made = merkle.new_nodes(size, leaf, self.node(connection))
        connection.execute(insert(log_nodes), [{"level": level, "index": i, "hash": hash_} for level, i, hash_ in made])
        return size

    def checkpoint(self) -> tuple[str, int]:
        """The signed note over all that is committed, and its size. Raises Problem when this hub may not sign."""
        with self._honest(), self._database.reading() as connection:
            return self._sign(connection)

    def receipt(self, chain: str, seq: int | None = None) -> Receipt | None:
        """The receipt of the first head at or after entry `seq` (None: of the last) of a chain; None without one."""
        with self._honest(), self._database.reading() as connection:
            query = select(log_leaves).where(log_leaves.c.chain == chain)
            if seq is None:
                query = query.order_by(log_leaves.c.seq.desc())
            else:
                query = query.where(log_leaves.c.seq >= seq).order_by(log_leaves.c.seq)
            found = connection.execute(query.limit(1)).one_or_none()
            if found is None:
                return None
            note, size = self._sign(connection)
            index = int(found._mapping["index"])  # `.index` is a method of tuples
            proof = merkle.inclusion_proof(index, size, self.node(connection))
        return Receipt(found.chain, found.seq, found.hash, found.at, index, tuple(proof), note)

    def _sign(self, connection: Connection) -> tuple[str, int]:
        self.must_not_be_halted(connection)
        origin = connection.execute(select(epochs.c.origin).order_by(epochs.c.number.desc()).limit(1)).scalar_one()
        if origin != self.key.name:  # restored while this process ran: what it remembers is of another log
            self.key, self._signed, self._nodes = NoteKey(origin, self._private), Mark("", 0, ""), {}
        size = self.size(connection)
        root = self.root(connection, size)
        note = self.key.sign(Checkpoint(self.key.name, size, root).text())
        self._remember(Mark(self.key.name, size, root.hex()))
        return note, size

    # Honesty

    @contextlib.contextmanager
    def _honest(self) -> Iterator[None]:
        """Nothing leaves here when the database has become shorter than what was signed before."""
        signed = self._signed
        yield
        if signed.origin != self.key.name:
            return
        with self._database.reading() as connection:
            size = self.size(connection)
        if size < signed.size:
            raise self.halt(f"it has {size} leaves, and this hub has signed {signed.size}")

    def witness(self, note: str) -> tuple[int, list[bytes]]:
        """A checkpoint that somebody holds: (our size, proof that our tree begins with it). Raises Problem: 400 for
        what this key never signed; 409 `restored` for one of an earlier name; 409 `rolled-back`, and this hub signs no
        more, when our tree does not begin with it, or it is of a later name than this database knows."""
        try:
            vkey = NoteKey(note.partition("\n")[0], self._private).vkey
            held = Checkpoint.parse(open_note(note, [vkey]))
        except ValueError as error:
            raise Problem(400, "not-ours", "this log did not sign that checkpoint", str(error)) from None
        with self._database.reading() as connection:
            origin = connection.execute(select(epochs.c.origin).order_by(epochs.c.number.desc()).limit(1)).scalar_one()
            if _order(held.origin) < _order(origin):
                raise Problem(409, "restored", "that checkpoint is from before this hub was restored", origin=origin)
            size = self.size(connection)
            if held.origin == origin and held.size <= size and self.root(connection, held.size) == held.root:
                return size, merkle.consistency_proof(held.size, size, self.node(connection))
        self.halt(
            f"a console holds a checkpoint of {held.origin}, {held.size} leaves, that this database does not have"
        )
        raise Problem(409, "rolled-back", "this hub has signed another tree", size=size)

    def halt(self, why: str) -> Problem:
        """From now on no process of this hub signs anything, until `hub restore` has begun a new epoch."""
        with self._database.writing() as connection:
            if connection.execute(select(meta.c.value).where(meta.c.name == HALTED)).one_or_none() is None:
                connection.execute(insert(meta), {"name": HALTED, "value": why})
        return problems.rolled_back(why)

    def must_not_be_halted(self, connection: Connection) -> None:
        why = connection.execute(select(meta.c.value).where(meta.c.name == HALTED)).scalar_one_or_none()
        if why is not None:
            raise problems.rolled_back(why)

    def _remember(self, mark: Mark) -> None:
        with self._lock:
            if mark.origin != self._signed.origin or mark.size > self._signed.size:
                self._signed = mark
            late = time.monotonic() - self._written[1] > _MARK_EVERY_S
            if self._written[0] != self._signed and (late or not self._written[0].origin):
                self._write_mark(self._signed)

    def _write_mark(self, mark: Mark) -> None:
        keyfile.write_mark(self._mark_path, mark)
        self._written = (mark, time.monotonic())

    def close(self) -> None:
        """Write down exactly what was signed."""
        with self._lock:
            nothing = Mark(self.key.name, 0, merkle.EMPTY_ROOT.hex())
            self._write_mark(replace(self._signed if self._signed.origin else nothing, clean=True))


def begin_epoch(database: Database, private: Ed25519PrivateKey, name: str, reason: str) -> str:
    """The log's next epoch, under a name of its own; returns its verifier key. The first takes `name`; after a restore
    the log is another one to those who hold checkpoints, and never signs a second tree of a size that it has signed."""
    with database.writing(log=True) as connection:
        last = connection.execute(select(epochs).order_by(epochs.c.number.desc()).limit(1)).one_or_none()
        if last is not None and reason == "first start":
            return str(last.vkey)  # another process was quicker
        now = database.now(connection)
        number = 1 if last is None else int(last.number) + 1
        key = NoteKey(name if last is None else _next_origin(last.origin, now), private)
        found = connection.execute(select(func.max(log_leaves.c.index))).scalar_one()
        size = 0 if found is None else int(found) + 1
        root = merkle.root_of(size, Log(database, private, Path()).node(connection))
        connection.execute(
            insert(epochs),
            {"number": number, "origin": key.name, "vkey": key.vkey, "at": now, "size": size,
             "root": root.hex(), "reason": reason},
        )  # fmt: skip
        connection.execute(meta.delete().where(meta.c.name == HALTED))
    return key.vkey


def _next_origin(before: str, now: int) -> str:
    """A name that no log of this hub has had, also when one backup is put back twice: the time, to the second, as
    digits that grow. What the database counts would come again."""
    base = before.partition("/restored-")[0]
    time_ = int(datetime.fromtimestamp(now // 1_000_000_000, UTC).strftime("%Y%m%d%H%M%S"))
    return f"{base}/restored-{max(time_, _order(before) + 1)}"


def _order(origin: str) -> int:
    """Names of one hub's log in the order in which it had them; 0 for the first."""
    digits = origin.partition("/restored-")[2]
    return int(digits) if digits.isdecimal() else 0


def head_of(connection: Connection, chain: str) -> Head:
    """The chain's last entry here; (0, "") without one."""
    found = connection.execute(
        select(entries.c.seq, entries.c.hash).where(entries.c.chain == chain).order_by(entries.c.seq.desc()).limit(1)
    ).one_or_none()
    return Head(0, "") if found is None else Head(found.seq, found.hash)

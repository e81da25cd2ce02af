"""What an entry costs beside the bare INSERT of the same bytes with the same durability, one by one and in one
transaction: redaction, canonical JSON, SHA-256, Ed25519, and the head read again inside the transaction."""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.figures import Figure

from rollback_console.clock import WallClock
from rollback_console.journal import database
from rollback_console.journal.create import INSERT
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Note, Outcome
from rollback_console.journal.store import Journal

_BATCH = 100
_ROUND = 20  # ours and the floor take turns: a busy disk is busy for both


def append(quick: bool) -> list[Figure]:
    """Microseconds an entry, and how many a second that is."""
    rounds = 10 if quick else 40
    with tempfile.TemporaryDirectory(prefix="rollback-console-bench-") as folder:
        path = Path(folder) / "journal.db"
        with Journal.open(path, device=DeviceKey.from_seed(b"b"), clock=WallClock()) as journal:
            body = Outcome(execution="ex-3f2a9c0d11e7", step="set", state="done", detail="champion was pointed to v7")
            bare = _Bare(Path(folder) / "bare.db", journal)
            single = _turns(rounds, _ROUND, lambda: journal.append(body, deployment="production/checkout-ranker"),
                            bare.one)  # fmt: skip
            note = Note(text="paged the feature store team, they see it too")
            items = [(note, "production/checkout-ranker", "ana")] * _BATCH
            many = _turns(rounds // 2, 1, lambda: journal.append_all(items), bare.batch)
            bare.close()
    return [
        Figure("append", "an entry, durable when append returns", single[0], "µs", 2.0, single[1],
               "the bare INSERT, same durability", f"{1e6 / single[0]:,.0f} a second, bare {1e6 / single[1]:,.0f}"),
        Figure("append", f"an entry of {_BATCH} in one transaction", many[0] / _BATCH, "µs", None, many[1] / _BATCH,
               "the bare INSERTs, same durability", f"{1e6 * _BATCH / many[0]:,.0f} a second"),
    ]  # fmt: skip


def _turns(rounds: int, each: int, ours: Callable[[], object], floor: Callable[[], object]) -> tuple[float, float]:
    """The medians of both over rounds in which they take turns, in µs a call."""
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for times, function in zip(took, (ours, floor), strict=True):
            began = time.perf_counter()
            for _ in range(each):
                function()
            times.append((time.perf_counter() - began) / each * 1e6)
    return statistics.median(took[0]), statistics.median(took[1])


class _Bare:
    """The same table without guards, in a file kept by the very same pragmas; a row of the journal's own."""

    def __init__(self, path: Path, journal: Journal) -> None:
        sqlite3.connect(path).close()
        self._connection = database.connect(path)
        self._connection.execute(
            "CREATE TABLE entries (chain TEXT, seq INTEGER PRIMARY KEY, at INTEGER, mono INTEGER, kind TEXT,"
            " deployment TEXT, operator TEXT, body TEXT, prev TEXT, hash TEXT, signature BLOB) STRICT"
        )
        entry = journal.append(Note(text="champion was pointed from v8 to v7, as was planned and asked for by ana"))
        self._row = next(journal.rows(entry.seq - 1))
        self._seq = 0

    def one(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        self._insert()
        self._connection.execute("COMMIT")

    def batch(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for _ in range(_BATCH):
            self._insert()
        self._connection.execute("COMMIT")

    def _insert(self) -> None:
        self._seq += 1
        self._connection.execute(INSERT, self._row._replace(seq=self._seq))

    def close(self) -> None:
        self._connection.close()

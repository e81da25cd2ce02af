"""Verifying a long journal, against hashing and checking signatures alone on the very same entries in the same run."""

from __future__ import annotations

import itertools
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tests.benchmarks.figures import Figure

from rollback_console.clock import VirtualClock
from rollback_console.journal import chain as chains
from rollback_console.journal.chain import Row
from rollback_console.journal.create import INSERT, create, seal
from rollback_console.journal.device import DeviceKey, public_key
from rollback_console.journal.kinds import Genesis

_KEY = DeviceKey.from_seed(b"benchmark")
_START = 1_780_000_200
_CHUNK = 5_000
# Bodies as an incident writes them: many small ones, a transition now and then.
_BODIES = (
    ("note", '{"text":"paged the feature store team","v":1}'),
    ("backend", '{"detail":"no answer within 5 s","name":"prometheus","state":"failing","v":1}'),
    ("step", '{"reason":"","state":"done","step":"2","title":"Check the gate","v":1,"walk":"w-2"}'),
    (
        "transition",
        chains.canonical({
            "v": 1, "at": _START, "before": "healthy", "after": "pending", "sentence": "conversion is 8.4 % below",
            "engine": "1.1", "memory_before": {}, "memory_after": {"frozen_s": 0.5}, "cooling": False,
            "verdict": {"state": "pending", "signals": [{"name": "s", "value": 0.0291, "limit": 1.5}] * 6},
        }).decode(),
    ),
)  # fmt: skip
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from rollback_console.journal.verify import verify
began, cpu = time.perf_counter(), time.process_time()
found = verify(Path(sys.argv[1]))
spent = time.perf_counter() - began, time.process_time() - cpu
print(json.dumps([found.ok, found.entries, *spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def verify(quick: bool) -> list[Figure]:
    """Processor time an entry (the machine may be busy), and what memory a journal fifty times as long takes more."""
    count = 40_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="rollback-console-bench-") as folder:
        small, large = Path(folder) / "small.db", Path(folder) / "large.db"
        _build(small, count // 50)
        _build(large, count)
        _, _, little = _verified(small, count // 50)
        wall, ours, much = _verified(large, count)
        floor = _floor(large)
    per = 1e6 / count
    note = f"{ours:.0f} s of processor, {wall:.0f} s on the clock; {count:,} entries"
    floor_is = "2 SHA-256 and 1 Ed25519 an entry, bytes at hand"
    return [
        Figure("verify", f"verify {count:,} entries, each", ours * per, "µs", 2.0, floor * per, floor_is, note),
        Figure("verify", f"memory for {count:,} entries beside {count // 50:,}", much - little, "MB", 8.0,
               note=f"{much:.0f} MB in all"),
    ]  # fmt: skip


def _build(path: Path, count: int) -> None:
    """A journal of `count` entries. Not synced: it is thrown away."""
    create(path, _KEY, VirtualClock(_START), Genesis(chain="b" * 32, program="benchmark", device=_KEY.public_openssh()))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    ((prev,),) = connection.execute("SELECT hash FROM entries")

    def rows() -> Iterator[Row]:
        nonlocal prev
        for seq, (kind, body) in zip(range(2, count + 1), itertools.cycle(_BODIES), strict=False):
            what = (kind, body, "production/checkout-ranker" if seq % 3 else "", "ada")
            row = seal(_KEY, "b" * 32, seq, ((_START + seq) * chains.SECOND, seq * chains.SECOND), what, prev)
            prev = row.hash
            yield row

    connection.execute("BEGIN")
    connection.executemany(INSERT, rows())
    connection.execute("COMMIT")
    connection.close()


def _verified(path: Path, count: int) -> tuple[float, float, float]:
    """(seconds on the clock, seconds of processor, MB at most) of a process that verifies the file and nothing else."""
    done = subprocess.run([sys.executable, "-c", _CHILD, path], capture_output=True, text=True, check=True)
    ok, entries, wall, cpu, memory = json.loads(done.stdout)
    if not ok or entries != count:
        raise RuntimeError(f"{path} did not verify: {done.stdout}")
    return wall, cpu, memory


def _floor(path: Path) -> float:
    """Seconds of processor for hashing every body and every envelope and checking every signature, and nothing else:
    the bytes are made ready beforehand, a chunk at a time, outside the clock."""
    key = public_key(_KEY.public_openssh())
    connection = sqlite3.connect(path)
    cursor = connection.execute(f"SELECT {', '.join(chains.COLUMNS)} FROM entries ORDER BY seq")
    spent = 0.0
    while chunk := [Row._make(row) for row in cursor.fetchmany(_CHUNK)]:
        ready = [
            (row.body.encode(), chains.envelope(*row[:7], row.body.encode(), row.prev), row.signature,
             chains.message(row.hash))
            for row in chunk
        ]  # fmt: skip
        began = time.process_time()
        for body, envelope, signature, message in ready:
            sha256(body).hexdigest()
            sha256(envelope).hexdigest()
            key.verify(signature, message)
        spent += time.process_time() - began
    connection.close()
    return spent

"""What it costs to bring an entry to the hub, beside writing the same rows into the same PostgreSQL bare."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psycopg
from tests.benchmarks.figures import Figure

from hub.hub_tools import Console, chain_of, range_json
from rollback_console.journal import chain as chains
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.device import public_key, signed_by
from servers.hub import PROGRAM, Hub
from servers.postgresql import PostgreSQL

_BATCH = 500
_CONSOLES = 4


def hub(quick: bool) -> list[Figure]:
    """Entries from consoles over HTTP: parsed, verified, committed, witnessed, a receipt back; in turns with floors."""
    rounds, count = (2, 2_000) if quick else (5, 10_000)
    server = PostgreSQL()
    try:
        name = server.database()
        migrate = [*PROGRAM, "hub", "migrate", "--database", server.url(name), "--grant-to", "hub_app"]
        subprocess.run(migrate, check=True, capture_output=True)
        with tempfile.TemporaryDirectory(prefix="rollback-console-bench-") as folder:
            service = Hub(Path(folder) / "hub", database=server.url(name, "hub_app"))
            try:
                return _measure(server, service, rounds, count)
            finally:
                service.stop()
    finally:
        server.stop()


def _measure(server: PostgreSQL, service: Hub, rounds: int, count: int) -> list[Figure]:
    taken: dict[str, list[float]] = {}
    bare = server.url(server.database())
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute(_TABLE)
    for _ in range(rounds):
        for what, (entries, seconds) in _round(service, bare, count).items():
            taken.setdefault(what, []).append(seconds / entries * 1e6)
    one, several, insert, copy, verify = (
        statistics.median(taken[what]) for what in ("one", "several", "insert", "copy", "verify")
    )
    batches = f"{_BATCH} a request, {1e6 / one:,.0f} entries a second"
    many = f"{1e6 / several:,.0f} entries a second in all"
    return [
        Figure("hub", "an entry to the hub, one console", one, "µs", floor=insert,
               floor_is=f"INSERT, {_BATCH} a commit", note=batches),
        Figure("hub", "an entry to the hub, one console", one, "µs", floor=copy, floor_is=f"COPY, {_BATCH} a commit"),
        Figure("hub", "an entry to the hub, one console", one, "µs", floor=verify,
               floor_is="its hash, signature and form alone, one core"),
        Figure("hub", f"an entry to the hub, {_CONSOLES - 1} consoles at once", several, "µs", note=many),
    ]  # fmt: skip


def _round(service: Hub, bare: str, count: int) -> dict[str, tuple[int, float]]:
    """(entries, seconds) of each, one after the other."""
    consoles = [Console(service.url, service.code()) for _ in range(_CONSOLES)]
    lines = [chain_of(console.device, count) for console in consoles]
    return {
        "one": _sync(consoles[:1], lines[:1]),
        "several": _sync(consoles[1:], [line[: count // 2] for line in lines[1:]]),
        "insert": _insert(bare, lines[0]),
        "copy": _copy(bare, lines[0]),
        "verify": _verify(consoles[0].device.public_openssh(), lines[0]),
    }


def _sync(consoles: Sequence[Console], lines: Sequence[Sequence[Row]]) -> tuple[int, float]:
    """(entries, seconds) of bringing each console's line up, all at once; the requests are made beforehand."""
    requests = [
        [json.dumps(range_json(line[start : start + _BATCH])).encode() for start in range(0, len(line), _BATCH)]
        for line in lines
    ]

    def bring(number: int) -> None:
        for request in requests[number]:
            answer = consoles[number].http.post(f"/v1/chains/{lines[number][0].chain}/entries", content=request)
            answer.raise_for_status()

    return sum(map(len, lines)), _timed([lambda n=n: bring(n) for n in range(len(consoles))])  # type: ignore[misc]


def _timed(tasks: Sequence[Callable[[], None]]) -> float:
    threads = [threading.Thread(target=task) for task in tasks]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


_TABLE = (
    b"CREATE TABLE bare (chain text, seq bigint, at bigint, mono bigint, kind text, deployment text, operator text, "
    b"body text, prev text, hash text, signature bytea, PRIMARY KEY (chain, seq))"
)
_NAMES = ", ".join(COLUMNS)


def _insert(url: str, rows: Sequence[Row]) -> tuple[int, float]:
    statement = f"INSERT INTO bare ({_NAMES}) VALUES ({', '.join(['%s'] * len(COLUMNS))})".encode()
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        for start in range(0, len(rows), _BATCH):
            connection.cursor().executemany(statement, rows[start : start + _BATCH])
            connection.commit()
        took = time.perf_counter() - began
        connection.execute("TRUNCATE bare")
    return len(rows), took


def _copy(url: str, rows: Sequence[Row]) -> tuple[int, float]:
    with psycopg.connect(url) as connection:
        began = time.perf_counter()
        for start in range(0, len(rows), _BATCH):
            with connection.cursor().copy(f"COPY bare ({_NAMES}) FROM STDIN".encode()) as copy:
                for row in rows[start : start + _BATCH]:
                    copy.write_row(row)
            connection.commit()
        took = time.perf_counter() - began
        connection.execute("TRUNCATE bare")
    return len(rows), took


def _verify(openssh: str, rows: Sequence[Row]) -> tuple[int, float]:
    key = public_key(openssh)
    began = time.perf_counter()
    for row in rows:
        assert chains.row_hash(row) == row.hash
        assert signed_by(key, row.hash, row.signature)
        chains.parse_canonical(row.body)
    return len(rows), time.perf_counter() - began

"""The disk fails at any operation of an execution: nothing is done whose intent is not recorded, nothing told is lost.

Under the very SQLite and the very journal, by the disk of tests/journal/shaky_disk.py.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from exec_support import ALIAS, MODEL, START, Bench

from journal.shaky_disk import IOERR_FSYNC, IOERR_READ, IOERR_WRITE, Disk, Op, shaky
from rollback_console.errors import JournalError
from rollback_console.journal.verify import verify
from rollback_console.model.plan import ExecutionState

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
FAULTS: dict[str, tuple[int, tuple[Op, ...]]] = {
    "disk full": (sqlite3.SQLITE_FULL, ("write",)),
    "fdatasync fails": (IOERR_FSYNC, ("sync",)),
    "write error": (IOERR_WRITE, ("write", "truncate")),
    "read error": (IOERR_READ, ("read",)),
    "read-only": (sqlite3.SQLITE_READONLY, ("write", "truncate")),
}


class Fault:
    """Fails one operation of these sorts, or all from it on; counts them."""

    def __init__(self, code: int, sorts: tuple[Op, ...], at: int, *, lasting: bool) -> None:
        self.code, self.sorts, self.at, self.lasting = code, sorts, at, lasting
        self.count = 0

    def __call__(self, op: Op, path: str) -> int:
        if op not in self.sorts or "registry" in path:
            return 0
        self.count += 1
        failing = self.count >= self.at if self.lasting else self.count == self.at
        return self.code if failing else 0


def _run(folder: Path, fault: Fault, disk: Disk) -> tuple[Bench, bool]:
    """An execution on the failing disk; whether it came to an end."""
    bench = Bench(folder)
    disk.fails = fault
    said, done = "", False
    try:
        done = asyncio.run(bench.whole()).state is ExecutionState.DONE
    except JournalError as error:
        said = error.next_step
    disk.fails = lambda op, path: 0
    assert done or said, "what to do is said"
    return bench, done


def _intended(path: Path, bench: Bench) -> bool:
    return any(body.step == "set" for body in bench.bodies("intent"))


def _whole(bench: Bench) -> None:
    """Afterwards, on a disk that works: resumed where something was asked, it comes to the planned end, once."""
    after = Bench(bench.folder, start=START + 400.0)
    for left in after.runner.executions():
        if left.state is ExecutionState.UNFINISHED:

            async def go(left: Any = left) -> None:
                await after.runner.resume(left.id, "bo")
                await after.runner.wait(left.id)

            asyncio.run(go())
    assert after.files.moves() in ([], ["7"])
    if after.files.moves():
        assert asyncio.run(after.files.read_pointer(MODEL, ALIAS)) == "7"
    after.real_journal.close()


@pytest.mark.parametrize("lasting", [True, False], ids=["from then on", "once"])
@pytest.mark.parametrize("name", FAULTS)
def test_no_act_without_its_intent_whenever_the_disk_fails(tmp_path: Path, name: str, lasting: bool) -> None:
    code, sorts = FAULTS[name]
    with shaky() as disk:
        (tmp_path / "count").mkdir()
        counting = Fault(code, sorts, 10**9, lasting=True)
        bench, done = _run(tmp_path / "count", counting, disk)
        assert done
        bench.real_journal.close()
        every = 1 if CAMPAIGN else max(1, counting.count // 8)
        stopped = 0
        for at in range(1, counting.count + 1, every):
            folder = tmp_path / f"{at}"
            folder.mkdir()
            bench, done = _run(folder, Fault(code, sorts, at, lasting=lasting), disk)
            moved = bench.files.moves()
            bench.real_journal.close()
            seen = Bench(folder)  # as the next start finds it
            assert not moved or _intended(folder, seen), (name, at)
            assert verify(seen.path).ok, (name, at)
            seen.real_journal.close()
            stopped += not done
            _whole(bench)
        assert stopped > 0

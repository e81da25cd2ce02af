"""Another program holds the journal's file during an execution: the event loop goes on, the act waits or is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from exec_support import ID, Bench, plan_for

from rollback_console.engine.writer import Writer
from rollback_console.errors import JournalBusy
from rollback_console.execute.plan import phrase
from rollback_console.model.plan import ExecutionState

HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Within, another process holds the file; a line to its stdin lets it go."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.communicate("\n")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made: list[Writer] = []
    one = Bench(tmp_path, on_journal=lambda function: made[0].run(function))
    made.append(Writer(one.real_journal, ()))
    yield one
    made[0].close()
    one.real_journal.close()


async def _longest_pause(until: asyncio.Future[object]) -> float:
    """The longest time in which nothing ran on this event loop: what a key would have waited for."""
    longest, last = 0.0, time.monotonic()
    while not until.done():
        await asyncio.sleep(0.001)  # gives way: what is measured is how late it comes back
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
    return longest


async def test_the_act_waits_while_the_loop_goes_on_and_then_it_goes_on(bench: Bench) -> None:
    plan = await plan_for(bench.driver, bench.clock.now())
    with held(bench.path) as holder:
        asking = asyncio.ensure_future(bench.runner.start(plan, "ana", "v8 hurts", phrase(plan)))
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, lambda: holder.stdin and holder.stdin.write("\n"))
        loop.call_later(1.0, lambda: holder.stdin and holder.stdin.flush())
        began = time.monotonic()
        assert await _longest_pause(asking) < 0.3
        assert time.monotonic() - began > 0.9
        assert bench.files.moves() in ([], ["7"])
    ended = await bench.runner.wait(await asking)
    assert ended.state is ExecutionState.DONE
    assert bench.files.moves() == ["7"]


async def test_held_for_longer_than_one_waits_the_act_is_refused_and_nothing_touched(bench: Bench) -> None:
    bench.real_journal._connection.execute("PRAGMA busy_timeout = 300")
    plan = await plan_for(bench.driver, bench.clock.now())
    with held(bench.path):
        asking = asyncio.ensure_future(bench.runner.start(plan, "ana", "v8 hurts", phrase(plan)))
        assert await _longest_pause(asking) < 0.3
        with pytest.raises(JournalBusy, match="another process has held it for too long"):
            await asking
    assert bench.files.moves() == []
    assert bench.bodies("request") == []
    assert bench.runner.lock_free(ID)


async def test_stopping_waits_for_the_entry_under_way_and_frees_the_deployment_after_it(bench: Bench) -> None:
    plan = await plan_for(bench.driver, bench.clock.now())
    with held(bench.path) as holder:
        asking = asyncio.ensure_future(bench.runner.start(plan, "ana", "v8 hurts", phrase(plan)))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.sleep(0)
        assert not bench.runner.lock_free(ID)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert bench.runner.lock_free(ID)
    assert bench.files.moves() == []

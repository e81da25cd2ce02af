"""Another program holds the journal's file while somebody executes: keys answer, and the act goes on afterwards."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from faults_bench import FakeMlflow, FakePrometheus, running, write_console

from rollback_console.journal.verify import verify
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState

RANKER = DeploymentId("production", "ranker")
HOLDER = (
    "import sqlite3, sys\n"
    "connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\n"
    "connection.execute('BEGIN EXCLUSIVE')\n"
    "print('held', flush=True)\n"
    "sys.stdin.readline()\n"
)


async def test_keys_answer_while_the_journal_is_held_and_the_execution_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = FakePrometheus(), FakeMlflow()
    prometheus.versions = lambda name, at: mlflow.aliases[name]["champion"]
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    journal = tmp_path / "journal.db"
    try:
        async with running(settings, monkeypatch) as console:
            plan = await console.acts.plan(RANKER)
            holder = await asyncio.create_subprocess_exec(
                sys.executable, "-c", HOLDER, str(journal), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert holder.stdout is not None
            assert holder.stdin is not None
            await holder.stdout.readline()
            asking = asyncio.create_task(console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan)))
            slowest = max([await console.key_answers(key) for key in "jkjkjkjk"])
            assert slowest < 0.5
            assert not asking.done()
            assert mlflow.sets == []  # nothing is touched before its intent is durable
            holder.stdin.close()
            await holder.wait()
            assert (await console.acts.wait(await asking)).state is ExecutionState.DONE
            await console.until(lambda: not console.snapshot.journal.problem, 10)
    finally:
        prometheus.server.stop()
        mlflow.server.stop()
    assert mlflow.sets == [("ranker", "7")]
    assert verify(journal).ok

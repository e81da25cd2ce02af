"""The journal fails while the console runs: it is said, nothing is executed unrecorded, and it goes on afterwards."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faults_bench import (
    Disk,
    FakeMlflow,
    FakePrometheus,
    Live,
    bodies,
    environment,
    running,
    transitions,
    unbroken,
    write_console,
)
from faults_pty import CONSOLE, Pty

from rollback_console.authorize.roles import Authority
from rollback_console.errors import ConsoleError, JournalError, NotAuthorized, Refused
from rollback_console.journal.verify import verify
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState
from rollback_console.model.verdict import TriggerState

RANKER = DeploymentId("production", "ranker")


async def _execute_is_refused(console: Live, mlflow: FakeMlflow, reason: str) -> None:
    plan = await console.acts.plan(RANKER)
    with pytest.raises((JournalError, Refused), match=reason):
        await console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan))
    # Also past the gate: a screen that did not know yet, a disk that filled up this moment.
    with pytest.raises(JournalError):
        await console.acts.runner.start(plan, "oncall-1", "v8 hurts", console.acts.phrase(plan))
    assert mlflow.sets == []
    with pytest.raises(ConsoleError, match=reason):
        await console.acts.note("is anybody there", RANKER)


def _python(program: str, journal: Path) -> None:
    subprocess.run([sys.executable, "-c", program, str(journal)], check=True)


def _problem(console: Live) -> Callable[[], str]:
    return lambda: console.snapshot.journal.problem


async def test_a_full_disk_and_space_again(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url, dwell="2s", hold="2s")
    journal = disk.folder / "journal.db"
    async with running(settings, monkeypatch, journal=journal) as console:
        await console.until(lambda: journal.is_file(), 5)
        disk.fill()
        onset = int(time.time()) + 1
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5 if onset <= at < onset + 4 else 0.001
        await console.until(_problem(console), 10)
        assert "journal ✗" in console.screen.splitlines()[1]
        assert "disk" in _problem(console)()
        await _execute_is_refused(console, mlflow, "disk")
        assert await console.key_answers() < 0.2
        known = console.acts.authority
        console.acts.authority = Authority.of_key(known.roster, None)
        with pytest.raises(NotAuthorized):  # a no keeps its own reason, also where it cannot be written down
            await console.acts.snooze(RANKER, 60, "quiet")
        console.acts.authority = known
        await console.until(lambda: console.verdict().state is TriggerState.FIRED, 8)  # it goes on judging
        await console.until(lambda: time.time() > onset + 8, 12)
        disk.free()
        await console.until(lambda: not _problem(console)(), 10)
        await console.acts.note("here we are", RANKER)
        execution = await console.acts.execute(
            plan := await console.acts.plan(RANKER), "v8 hurts", console.acts.phrase(plan)
        )
        assert (await console.acts.wait(execution)).state is ExecutionState.DONE
    changes = transitions(journal, "ranker")
    assert [after for _, after, _ in changes][:2] == ["pending", "fired"]  # what was decided meanwhile was kept
    assert unbroken(changes), changes
    assert verify(journal).ok


async def test_a_file_that_is_removed(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    journal = tmp_path / "books" / "journal.db"
    async with running(settings, monkeypatch, journal=journal, size=(80, 24)) as console:
        aside = tmp_path / "aside"
        journal.rename(aside)
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5
        await console.until(_problem(console), 10)
        assert "journal ✗" in console.screen.splitlines()[1]
        await _execute_is_refused(console, mlflow, "moved or replaced")
        assert not journal.exists()  # no second journal is begun in silence
        aside.rename(journal)
        await console.until(lambda: not _problem(console)(), 10)
        await console.acts.note("back", RANKER)
    assert verify(journal).ok


async def test_a_file_that_is_spoilt(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    journal = tmp_path / "journal.db"
    async with running(settings, monkeypatch) as console:
        # By another process: closing a file of SQLite's in this one would drop the locks it holds.
        spoil = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(24); f.write(b'\\xff' * 20000)"
        await asyncio.to_thread(_python, spoil, journal)
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5
        await console.until(_problem(console), 10)
        assert "journal ✗" in console.screen.splitlines()[1]
        await _execute_is_refused(console, mlflow, "damaged|broken|database")
        await console.until(lambda: console.verdict().state is TriggerState.FIRED, 10)
        for key in "jtGn":
            await console.pilot.press(key)
        assert console.app.is_running


async def test_an_entry_that_is_changed_under_it(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    journal = tmp_path / "journal.db"
    async with running(settings, monkeypatch) as console:
        await console.acts.note("the truth", RANKER)
        tamper = (
            "import sqlite3, sys\n"
            "db = sqlite3.connect(sys.argv[1])\n"
            "for name, in db.execute(\"SELECT name FROM sqlite_master WHERE type = 'trigger'\").fetchall():\n"
            "    db.execute(f'DROP TRIGGER {name}')\n"
            "db.execute('DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries)')\n"
            "db.commit()\n"
        )
        await asyncio.to_thread(_python, tamper, journal)
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5
        await console.until(_problem(console), 10)
        await _execute_is_refused(console, mlflow, "changed or removed")


def test_read_only_from_the_start(tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], disk: Disk) -> None:
    """Every command that would write says so, in one line, at once; looking goes on."""
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    where = ["--config", str(settings), "--journal", str(disk.folder / "journal.db")]
    env = {**os.environ, **environment(tmp_path)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CONSOLE, *arguments, *where], env=env, capture_output=True, text=True, timeout=30, check=False
        )

    assert run("rollback", "production/ranker", "--plan").returncode == 0
    disk.make_read_only()
    for arguments in (("rollback", "production/ranker", "--plan"), ("watch", "--json"), ("journal", "note", "x")):
        done = run(*arguments)
        assert done.returncode == 1, done
        assert "read-only" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
    looked = run("status")
    assert looked.returncode == 0, looked.stderr
    assert "ranker" in looked.stdout
    with Pty([*CONSOLE, *where], env) as console:  # the fleet is looked at all the same, and the header says why not
        console.until("journal ✗ cannot be used", 15)
        console.until("healthy", 15)
        console.until("On Call", 15)  # until the key is found, every act says that it is looked for
        console.send("n")
        console.until("cannot record it", 10)
        console.send("q")
        assert console.wait() == 0


async def test_it_becomes_read_only_while_it_runs(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    journal = disk.folder / "journal.db"
    async with running(settings, monkeypatch, journal=journal) as console:
        console.engine.recording = False  # it follows another: then it takes the recorder's lock, on a sick disk
        assert console.engine.writer is not None
        disk.fill()
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5
        await console.until(lambda: console.verdict().state is TriggerState.FIRED, 10)
        await console.until(_problem(console), 10)
        disk.free()
        await console.until(lambda: not _problem(console)(), 10)


async def test_somebody_holds_the_file(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds SQLite's write lock: the screen lives, and the entries come when it lets go."""
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url, dwell="1s")
    journal = tmp_path / "journal.db"
    async with running(settings, monkeypatch) as console:
        other = sqlite3.connect(journal, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5
        noting = asyncio.create_task(console.acts.note("waits", RANKER))
        for key in "jkjk":
            assert await console.key_answers(key) < 0.2
            await asyncio.sleep(0.3)
        other.execute("ROLLBACK")
        other.close()
        await asyncio.wait_for(noting, 10)
        await console.until(lambda: console.verdict().state is TriggerState.FIRED, 8)
        await console.until(lambda: len(transitions(journal, "ranker")) >= 2, 5)
    assert [b.text for _, b in bodies(journal, "note")] == ["waits"]
    assert verify(journal).ok

"""The journal cannot be written, and somebody who may goes on with an emergency journal: live, then taken in."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from faults_bench import Disk, FakeMlflow, FakePrometheus, Live, environment, running, write_console
from faults_pty import CONSOLE

from journal import shaky_disk
from rollback_console.errors import JournalError, NotAuthorized, Refused
from rollback_console.execute.fold import KINDS
from rollback_console.journal.kinds import EmergencyBegun, Snoozed
from rollback_console.journal.merged import told
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState

RANKER = DeploymentId("production", "ranker")


@pytest.fixture
def sick() -> Iterator[shaky_disk.Disk]:
    with shaky_disk.shaky() as one:
        yield one


def _console(tmp_path: Path, prometheus: str, mlflow: str, role: str = "oncall, commander") -> Path:
    settings = write_console(tmp_path, prometheus, mlflow, dwell="2s", hold="2s")
    roster = settings.with_name("roster.yaml")
    roster.write_text(roster.read_text().replace("[oncall]", f"[{role}]"))
    return settings


@contextmanager
def _full(sick: shaky_disk.Disk, journal: Path) -> Iterator[None]:
    """Within, nothing can be written where the journal is, as on a full disk; everywhere else it can."""

    def fails(op: shaky_disk.Op, path: str) -> int:
        return sqlite3.SQLITE_FULL if op == "write" and path.startswith(str(journal.parent)) else 0

    sick.fails = fails
    try:
        yield
    finally:
        sick.fails = lambda op, path: 0


async def _notices(console: Live, prometheus: FakePrometheus, mlflow: FakeMlflow) -> None:
    """Something changes that the console cannot write down."""
    onset = int(time.time()) + 1
    prometheus.metrics["error_ratio", "ranker"] = lambda at: (
        0.5 if at >= onset and mlflow.aliases["ranker"]["champion"] == "8" else 0.001
    )
    await console.until(lambda: console.snapshot.journal.problem, 15)


def _run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment(tmp_path)}
    return subprocess.run([*CONSOLE, *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)


async def test_on_a_full_disk_by_the_one_dialog_then_an_execution_and_afterwards_a_merge(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], sick: shaky_disk.Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    settings = _console(tmp_path, prometheus.url, mlflow.url)
    journal = tmp_path / "books" / "journal.db"
    async with running(settings, monkeypatch, journal=journal) as console:
        await console.until(lambda: journal.is_file() and console.snapshot.journal.entries, 10)
        with pytest.raises(Refused, match="there is no glass to break"):
            await console.acts.break_glass("for nothing")
        with _full(sick, journal):
            await _notices(console, prometheus, mlflow)
            plan = await console.acts.plan(RANKER)
            with pytest.raises((JournalError, Refused)):
                await console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan))
            assert mlflow.sets == []
            await console.pilot.press("B")
            await console.pilot.press(*"conversion", "space", *"falls", "enter")
            await console.until(lambda: console.snapshot.journal.emergency, 10)
            emergency = Path(console.snapshot.journal.path)
            assert emergency.parent != journal.parent
            assert "EMERGENCY journal" in console.screen
            assert console.snapshot.journal.problem == ""
            plan = await console.acts.plan(RANKER)
            execution = await console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan))
            assert (await console.acts.wait(execution)).state is ExecutionState.DONE
            await console.acts.snooze(RANKER, 60, "known")
            assert [e.id for e in console.snapshot.executions] == [execution]
    assert mlflow.sets == [("ranker", "7")]
    assert verify(journal).ok
    found = verify(emergency)
    assert found.ok, found.problems
    assert found.persons >= 3  # who broke the glass, asked, snoozed
    with Journal.open_read_only(emergency) as book:
        second = book.get(2)
        assert second is not None
        body = second.parsed()
        assert isinstance(body, EmergencyBegun)
        assert (body.reason, second.operator) == ("conversion falls", "oncall-1")
        (snoozed,) = [e.parsed() for e in book.entries(kinds=("snooze",))]
        assert isinstance(snoozed, Snoozed)
        assert snoozed.person is not None
    where = ["--config", str(settings), "--journal", str(journal)]
    done = _run(tmp_path, "journal", "merge", str(emergency), "--reason", "space again", *where, "--json")
    assert done.returncode == 0, done.stderr
    assert "took in the emergency journal" in json.loads(done.stdout)["merged"]
    again = _run(tmp_path, "journal", "merge", str(emergency), "--reason", "x", *where)
    assert again.returncode == 5
    assert "taken in already" in again.stderr
    listed = _run(tmp_path, "executions", *where, "--json")
    assert [item["id"] for item in json.loads(listed.stdout)] == [execution]
    with Journal.open_read_only(journal) as book:
        assert {entry.kind for entry in told(book, KINDS)} == {"request", "intent", "outcome", "execution"}
    roster = str(settings.with_name("roster.yaml"))
    checked = _run(tmp_path, "journal", "verify", str(journal), "--roster", roster)
    assert checked.returncode == 0, checked.stdout


async def test_it_takes_a_permission_of_its_own(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], sick: shaky_disk.Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    prometheus, mlflow = fakes
    settings = _console(tmp_path, prometheus.url, mlflow.url, role="oncall")
    journal = tmp_path / "books" / "journal.db"
    async with running(settings, monkeypatch, journal=journal) as console:
        await console.until(lambda: console.snapshot.journal.entries, 10)
        with _full(sick, journal):
            await _notices(console, prometheus, mlflow)
            with pytest.raises(NotAuthorized, match="break-glass"):
                await console.acts.break_glass("conversion falls", str(tmp_path / "e.db"))
            assert not (tmp_path / "e.db").exists()
            assert not console.snapshot.journal.emergency


def test_on_the_command_line_with_a_read_only_disk(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], disk: Disk
) -> None:
    prometheus, mlflow = fakes
    settings = _console(tmp_path, prometheus.url, mlflow.url)
    journal = disk.folder / "journal.db"
    where = ["--config", str(settings), "--journal", str(journal)]
    planned = _run(tmp_path, "rollback", "production/ranker", "--plan", "--json", *where)
    digest = json.loads(planned.stdout)["digest"]
    disk.make_read_only()
    asked = ["rollback", "production/ranker", "--reason", "v8 hurts", "--digest", digest, "--yes", *where]
    refused = _run(tmp_path, *asked)
    assert refused.returncode == 1
    assert "read-only" in refused.stderr
    assert mlflow.sets == []
    without = _run(tmp_path, *[word for word in asked if word not in ("--reason", "v8 hurts")], "--emergency", "-")
    assert without.returncode == 2
    plan = _run(tmp_path, "rollback", "production/ranker", "--plan", "--json", *where, "--emergency", "-")
    assert plan.returncode == 0, plan.stderr  # a plan alone writes nothing, and breaks nothing
    assert "EMERGENCY" not in plan.stderr
    done = _run(tmp_path, *asked, "--emergency", "-")
    assert "EMERGENCY JOURNAL" in done.stderr, done.stderr
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert mlflow.sets == [("ranker", "7")]
    (tmp_path / "printed.txt").write_text(done.stdout)
    subprocess.run(["mount", "-o", "remount,rw", str(disk.folder)], check=True) if disk.mounted else (
        disk.folder.chmod(0o755)
    )
    merged = _run(tmp_path, "journal", "merge", str(tmp_path / "printed.txt"), "--reason", "writable again", *where)
    assert merged.returncode == 0, merged.stderr
    listed = json.loads(_run(tmp_path, "executions", *where, "--json").stdout)
    assert [item["state"] for item in listed] == ["done"]
    assert verify(journal).ok

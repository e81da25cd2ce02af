"""One recorder a journal, one execution a deployment; freed by the operating system when the holder dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rollback_console.errors import JournalUnwritable
from rollback_console.journal import locks
from rollback_console.journal.locks import ExecutionLock, Holder, RecorderLock

HOLD = """
import pathlib, sys
from rollback_console.journal.locks import RecorderLock, ExecutionLock
path = pathlib.Path(sys.argv[1])
lock = RecorderLock(path) if len(sys.argv) == 2 else ExecutionLock(path, sys.argv[2])
print(lock.try_acquire("holding"), flush=True)
sys.stdin.read()
"""


def _hold(*arguments: object) -> subprocess.Popen[str]:
    one = subprocess.Popen(
        [sys.executable, "-c", HOLD, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert one.stdout is not None
    assert one.stdout.readline() == "True\n"
    return one


def test_one_holds_and_says_who(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    one, two = RecorderLock(journal), RecorderLock(journal)
    assert one.holder() is None
    assert one.try_acquire("console")
    assert one.try_acquire()
    assert not two.try_acquire()
    holder = two.holder()
    assert holder is not None
    assert (holder.pid, holder.host, holder.note) == (os.getpid(), socket.gethostname(), "console")
    assert one.holder() == holder
    assert (one.held, two.held) == (True, False)
    one.release()
    assert two.holder() is None
    with two:
        assert two.try_acquire()
    assert one.try_acquire()
    one.release()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["j.db.recorder"]


@pytest.mark.parametrize("arguments", [(), ("production/checkout-ranker",)])
def test_taken_over_after_kill_9(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    journal = tmp_path / "j.db"
    ours = ExecutionLock(journal, *arguments) if arguments else RecorderLock(journal)
    with _hold(journal, *arguments) as one:
        assert not ours.try_acquire()
        holder = ours.holder()
        assert holder is not None
        assert (holder.pid, holder.note) == (one.pid, "holding")
        one.send_signal(signal.SIGKILL)
        one.wait()
        assert ours.holder() is None
        assert ours.try_acquire("taken over")
    ours.release()


def test_executions_exclude_each_other_by_deployment_alone(tmp_path: Path) -> None:
    journal = tmp_path / "j.db"
    ranker, again = (
        ExecutionLock(journal, "production/checkout-ranker"),
        ExecutionLock(journal, "production/checkout-ranker"),
    )
    odd = ExecutionLock(journal, "production/../../x\n\ud800")
    assert ranker.try_acquire("x-17 by ada")
    assert not again.try_acquire()
    assert (again.holder() or Holder(0, "", 0)).note == "x-17 by ada"
    assert odd.try_acquire()
    assert RecorderLock(journal).try_acquire()
    assert {p.parent.name for p in tmp_path.rglob("*.execution")} == {"j.db.locks"}
    ranker.release()
    assert again.try_acquire()
    again.release()
    odd.release()


def test_of_many_processes_that_race_exactly_one_wins(tmp_path: Path) -> None:
    script = HOLD.replace("sys.stdin.read()", "sys.stdin.readline()").replace(
        "print(lock", "sys.stdin.readline(); print(lock"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, tmp_path / "j.db"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    for one in racers:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    answers = [one.stdout.readline().strip() for one in racers if one.stdout is not None]
    for one in racers:
        one.communicate("end\n")
    assert sorted(answers) == ["False"] * 5 + ["True"]


def test_asking_who_holds_it_never_costs_anybody_the_lock(tmp_path: Path) -> None:
    """Asking takes the lock, shared, for microseconds; acquiring meanwhile still works."""
    journal, stop = tmp_path / "j.db", threading.Event()
    first = RecorderLock(journal)
    assert first.try_acquire()
    first.release()

    def ask() -> None:
        while not stop.is_set():
            RecorderLock(journal).holder()

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for one in askers:
        one.start()
    try:
        for _ in range(200):
            lock = RecorderLock(journal)
            assert lock.try_acquire()
            lock.release()
    finally:
        stop.set()
        for one in askers:
            one.join()


def test_a_platform_without_flock_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with pytest.raises(JournalUnwritable, match="use Linux, macOS or WSL"):
        RecorderLock(tmp_path / "j.db")


def test_a_lock_file_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "j.db.locks").write_text("a file in the way")
    with pytest.raises(JournalUnwritable, match="cannot be used"):
        ExecutionLock(tmp_path / "j.db", "a/b").try_acquire()

"""Consoles as processes: killed, stopped, hung up on, resized, raced; on the fakes, and on real servers."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from faults_bench import (
    ALIAS,
    FakeMlflow,
    FakePrometheus,
    bodies,
    environment,
    transitions,
    unbroken,
    write_console,
)
from faults_pty import CONSOLE, Pty, assert_safe_bytes

from e2e.terminal import Terminal
from rollback_console.journal.locks import RecorderLock
from rollback_console.journal.verify import verify
from servers.mlflow import Mlflow


@pytest.fixture
def fakes() -> Iterator[tuple[FakePrometheus, FakeMlflow]]:
    prometheus, mlflow = FakePrometheus(), FakeMlflow()
    prometheus.versions = lambda name, at: mlflow.aliases[name][ALIAS]
    yield prometheus, mlflow
    prometheus.server.stop()
    mlflow.server.stop()


def _free(journal: Path, within: float = 5.0) -> bool:
    limit = time.monotonic() + within
    while (holder := RecorderLock(journal).holder()) is not None and time.monotonic() < limit:
        time.sleep(0.05)
    return holder is None


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(stat[1]) == pid:
                    found.append(int(entry.name))
    return found


# Terminals


def test_sizes_from_the_smallest_to_the_largest(tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow]) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5
    sizes = random.Random(3)
    with Pty([*CONSOLE, "--config", str(settings)], environment(tmp_path)) as console:
        console.until("FIRED", 20)
        for number, keys in enumerate(("", "\r", "\x1br", "\x1bt", "\x1bb", "\x1b?", "\x1bn", "\x1b\x10", "\x1b")):
            console.send(keys)
            for columns, rows in ((20, 5), (300, 100), (1, 1), (sizes.randint(2, 200), sizes.randint(2, 60)), (80, 24)):
                console.resize(columns, rows)
                time.sleep(0.06)  # as a window that is dragged
            assert console.process.poll() is None, (number, console.text[-2000:])
        console.resize(80, 24)
        time.sleep(0.3)
        mark = len(console.raw)
        console.send("\x1b")
        time.sleep(0.2)
        console.resize(81, 24)
        console.until("ranker", 5, after=mark)
        console.send("q")
        assert console.wait() == 0
        assert_safe_bytes(bytes(console.raw), terminal=True)
    assert _free(tmp_path / "journal.db")


@pytest.mark.parametrize(
    "words",
    [{"TERM": "dumb"}, {"TERM": ""}, {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
    ids=["dumb", "none", "ascii"],
)
def test_poor_terminals(words: dict[str, str], tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow]) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    with Pty([*CONSOLE, "--config", str(settings)], {**environment(tmp_path), **words}) as console:
        console.until("ranker", 20)
        console.send("j")
        console.send("t")
        console.until("Timeline", 10)
        console.send("\x1b")
        time.sleep(0.3)
        console.send("q")
        assert console.wait() == 0
        assert b"Traceback" not in console.raw
    env = {**os.environ, **environment(tmp_path), **words}
    done = subprocess.run(
        [*CONSOLE, "status", "--config", str(settings)], env=env, capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    assert b"ranker" in done.stdout


@pytest.mark.parametrize("how", ["closed", "SIGHUP", "SIGTERM", "SIGINT"])
def test_an_end_from_outside_is_a_clean_end(how: str, tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow]) -> None:
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    with Pty([*CONSOLE, "--config", str(settings)], environment(tmp_path)) as console:
        console.until("healthy", 20)
        assert RecorderLock(tmp_path / "journal.db").holder() is not None
        children = _children(console.process.pid)
        if how == "closed":
            console.hang_up()
        else:
            console.process.send_signal(getattr(signal, how))
        # Reading a terminal that is gone fails beside the signal: whichever is first, it ends, soon.
        assert console.wait(10) in ((1, 128 + signal.SIGHUP) if how == "closed" else (128 + getattr(signal, how),))
        assert _free(tmp_path / "journal.db")
        for child in children:
            assert not Path(f"/proc/{child}").exists()
        assert b"Traceback" not in console.raw, console.text[-3000:]
        if how != "closed":  # the terminal is given back: the main screen, its cursor, no mouse, no paste marks
            ending = bytes(console.raw[-400:])
            for given_back in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?2004l"):
                assert given_back in ending, ending
    assert verify(tmp_path / "journal.db").ok


@pytest.mark.real
def test_a_hanging_backend_in_tmux(tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow]) -> None:
    """What a person sees: the key moves the selection at once, the header says why, and then it is all well again."""
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url)
    with Terminal([*CONSOLE, "--config", str(settings)], tmp_path, env=environment(tmp_path)) as console:
        console.until("3 healthy", 20)
        prometheus.server.fault = "hang"
        text = console.until(r"✗ failing.*did not answer", 10)
        for key in "jjkk":
            before, started = console.text.splitlines(), time.monotonic()
            console.keys(key)
            console.until(lambda text, before=before: text.splitlines()[3:] != before[3:], 2)
            assert time.monotonic() - started < 0.5  # with what tmux itself takes, twice
        assert "BLIND" in text
        prometheus.server.fault = "ok"
        console.until("3 healthy", 15)
        console.keys("q")


# A process that stood still


def test_stopped_for_a_while_it_catches_up(tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow]) -> None:
    """SIGSTOP is what a closed lid is: what happened meanwhile is replayed, and the record has no hole."""
    prometheus, mlflow = fakes
    settings = write_console(tmp_path, prometheus.url, mlflow.url, dwell="2s", hold="1s")
    with Pty([*CONSOLE, "--config", str(settings)], environment(tmp_path)) as console:
        console.until("healthy", 20)
        console.process.send_signal(signal.SIGSTOP)
        onset = int(time.time()) + 1
        prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5 if onset <= at < onset + 4 else 0.001
        time.sleep(8)  # the process stands still, the world does not
        console.process.send_signal(signal.SIGCONT)
        time.sleep(3)
        console.send("q")
        assert console.wait() == 0
    changes = transitions(tmp_path / "journal.db", "ranker")
    assert [(b, a) for b, a, _ in changes][:2] == [("healthy", "pending"), ("pending", "fired")]
    assert [at - onset for _, _, at in changes][:2] == [0, 2]
    assert changes[-1][1] in ("healthy", "cooling")
    assert unbroken(changes)
    assert verify(tmp_path / "journal.db").ok


# Races and kills on a real MLflow


class Stage:
    """A model of this test's own in the real MLflow: v1 to v8, the alias at v8; the fake Prometheus follows it."""

    def __init__(self, server: Mlflow, name: str) -> None:
        self.server, self.name = server, name
        server.model(name)
        for _ in range(8):
            server.version(name)
        server.point(name, ALIAS, "8")
        self.prometheus = FakePrometheus()
        self._stopped = threading.Event()
        self._served = "8"
        self.prometheus.versions = lambda _, at: self._served
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while not self._stopped.wait(0.3):
            with contextlib.suppress(Exception):
                self._served = self.alias

    @property
    def alias(self) -> str:
        found: Any = self.server.call("GET", "registered-models/alias", name=self.name, alias=ALIAS)
        return str(found["model_version"]["version"])

    def console(self, folder: Path, operator: str = "oncall-1") -> Path:
        models = dict.fromkeys(("ranker", "feed", "search"), self.name)
        return write_console(
            folder, self.prometheus.url, self.server.url, models=models, timeout="5s", operator=operator
        )

    def stop(self) -> None:
        self._stopped.set()
        self.prometheus.server.stop()


@pytest.fixture
def stage(mlflow_server: Mlflow, request: pytest.FixtureRequest) -> Iterator[Stage]:
    one = Stage(mlflow_server, f"faults {request.node.name}")
    yield one
    one.stop()


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CONSOLE, *arguments], env={**os.environ, **environment(folder)},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def _rollback(folder: Path, settings: Path, digest: str, journal: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*CONSOLE, "rollback", "production/ranker", "--reason", "v8 hurts", "--digest", digest, "--yes",
         "--config", str(settings), "--journal", str(journal)],
        env={**os.environ, **environment(folder)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _plan(folder: Path, settings: Path, journal: Path) -> dict[str, Any]:
    done = _run(
        folder,
        "rollback",
        "production/ranker",
        "--plan",
        "--json",
        "--config",
        str(settings),
        "--journal",
        str(journal),
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.real
@pytest.mark.parametrize("journals", [1, 2])
def test_two_processes_race_for_one_deployment(journals: int, tmp_path: Path, stage: Stage) -> None:
    """One journal: the lock decides, and the other says whose pid. Two journals: the registry's advisory tag does."""
    folders = [tmp_path / "one", tmp_path / "two"]
    settings = [stage.console(folders[0], "ana"), stage.console(folders[1], "bo")]
    books = [folders[0] / "journal.db", folders[0 if journals == 1 else 1] / "journal.db"]
    if journals == 1:  # one machine, one device; two people
        settings[1], folders[1] = settings[0], folders[0]
    digests = [_plan(*each)["digest"] for each in zip(folders, settings, books, strict=True)]
    served = stage.prometheus.versions
    stage.prometheus.versions = lambda name, at: "8"  # serving follows once the other gave up: they do meet
    racers = [_rollback(*each) for each in zip(folders, settings, digests, books, strict=True)]
    limit = time.monotonic() + 60
    while all(racer.poll() is None for racer in racers) and time.monotonic() < limit:
        time.sleep(0.05)
    stage.prometheus.versions = served
    ended = [(racer.communicate(timeout=90), racer.returncode) for racer in racers]
    codes = sorted(code for _, code in ended)
    texts = [out + err for (out, err), _ in ended]
    assert "Traceback" not in "".join(texts)
    assert codes == [0, 5], (codes, texts)
    lost = next(out + err for (out, err), code in ended if code == 5)
    winner = next(racer.pid for racer, (_, code) in zip(racers, ended, strict=True) if code == 0)
    # Who it is: the process on one journal; on two, whoever holds the registry's tag. One that planned only after the
    # move was made (a machine that is busy starts them seconds apart) is told that it was made.
    who = rf"pid {winner}\b" if journals == 1 else r"(ana|bo) .*holds the (registry.s )?advisory lock"
    assert re.search(rf"{who}|names v7 already", lost), lost
    assert stage.alias == "7"
    ends = [body.state for book in set(books) for _, body in bodies(book, "execution")]
    assert ends.count("done") == 1, ends
    moved = [body.state for book in set(books) for _, body in bodies(book, "outcome") if body.step == "set"]
    assert moved == ["done"]
    assert all(verify(book).ok for book in books)


@pytest.mark.real
def test_killed_in_mid_execution_it_offers_to_resume_and_does_it_once(tmp_path: Path, stage: Stage) -> None:
    settings = stage.console(tmp_path)
    journal = tmp_path / "journal.db"
    served = stage.prometheus.versions
    stage.prometheus.versions = lambda name, at: "8"  # serving does not follow yet: the execution waits in it
    racer = _rollback(tmp_path, settings, _plan(tmp_path, settings, journal)["digest"], journal)
    limit = time.monotonic() + 40
    while not [b for _, b in bodies(journal, "intent") if b.step == "serving"]:
        assert time.monotonic() < limit
        assert racer.poll() is None, racer.communicate()
        time.sleep(0.1)
    racer.send_signal(signal.SIGKILL)
    racer.communicate(timeout=10)
    assert stage.alias == "7"

    listed = _run(tmp_path, "executions", "--unfinished", "--config", str(settings), "--journal", str(journal))
    assert "unfinished" in listed.stdout
    again = _run(
        tmp_path, "rollback", "production/ranker", "--to", "6", "--plan", "--config", str(settings),
        "--journal", str(journal),
    )  # fmt: skip
    assert again.returncode in (0, 5), again.stderr
    with Terminal([*CONSOLE, "--config", str(settings)], tmp_path, env=environment(tmp_path)) as console:
        console.until("UNFINISHED", 20)  # on the first screen, and counted among the alarms
        console.until("oncall|On Call", 20)
        console.until("1 alarm", 5)
        console.keys("u")
        console.until("Resume execution", 10)
        time.sleep(0.4)
        stage.prometheus.versions = served
        console.keys("y")
        console.until(r"\bDONE\b", 40)
        console.keys("Escape", "Escape", "q")
    assert [b.state for _, b in bodies(journal, "execution")] == ["done"]
    sets = [(b.kind, getattr(b, "state", "")) for _, b in bodies(journal, "intent", "outcome") if b.step == "set"]
    assert sets == [("intent", ""), ("outcome", "done")]
    assert stage.alias == "7"
    checked = _run(tmp_path, "journal", "verify", str(journal), "--decisions", "--json")
    assert json.loads(checked.stdout)["ok"], checked.stdout

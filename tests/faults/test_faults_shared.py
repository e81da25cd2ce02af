"""Two machines on one hub, as processes: one `watch` asks its Prometheus, the other follows; killed, it is replaced."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_bench import FakeMlflow, FakePrometheus, environment, write_console

from hub.sync_tools import Laptop, eventually
from rollback_console.journal.store import Journal
from servers.hub import Hub
from servers.processes import PYTHON

pytestmark = pytest.mark.real


class Machine:
    """A laptop with a `watch` on it, and a Prometheus that nobody else asks."""

    def __init__(self, folder: Path, hub: Hub, registry: str) -> None:
        self.folder = folder
        laptop = Laptop(folder, hub)
        shutil.copytree(folder / "device", folder / "data" / "rollback-console" / "device")
        self.prometheus = FakePrometheus()
        self.settings = write_console(folder, self.prometheus.url, registry, dwell="2s", hold="2s")
        (folder / "hub-token").touch(0o600)
        (folder / "hub-token").write_text(laptop.token)
        lines = {"url": hub.url, "key": laptop.vkey, "token": {"file": "hub-token"}, "timeout": "2s"}
        self.settings.write_text(f"{self.settings.read_text()}hub: {json.dumps(lines)}\n")
        self.process: subprocess.Popen[str] | None = None

    def watch(self) -> None:
        arguments = [PYTHON, "-m", "rollback_console", "watch", "--json", "--config", str(self.settings)]
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            self.process = subprocess.Popen(arguments, stdout=out, stderr=err, env=environment(self.folder), text=True)

    def asked(self) -> int:
        """How often its Prometheus was asked for numbers."""
        return sum("/api/v1/query" in first for first, _, _ in list(self.prometheus.server.requests))

    def said(self) -> str:
        return (self.folder / "err").read_text()

    def states(self) -> list[str]:
        """What it told of the ranker: the states it went to."""
        lines = [json.loads(line) for line in (self.folder / "out").read_text().splitlines()]
        return [line["to"] for line in lines if line.get("deployment") == "production/ranker" and "to" in line]

    def recorded(self) -> set[str]:
        with Journal.open_read_only(self.folder / "journal.db") as journal:
            return {entry.kind for entry in journal.entries()}

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(20)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    hub, mlflow = Hub(tmp_path / "hub"), FakeMlflow()
    made: list[Machine] = []
    try:
        made.extend(Machine(tmp_path / name, hub, mlflow.url) for name in ("ana", "ben"))
        yield made[0], made[1]
    finally:
        for each in made:
            each.end()
            each.prometheus.server.stop()
        mlflow.server.stop()
        hub.stop()


def test_one_watch_asks_the_other_follows_and_takes_over_when_it_is_killed(machines: tuple[Machine, Machine]) -> None:
    ana, ben = machines
    ana.watch()
    eventually(lambda: ana.asked() > 20)
    eventually(lambda: "tick" in ana.recorded())
    ben.watch()
    eventually(lambda: "following the watch (" in ben.said())
    asked, onset = ana.asked(), int(time.time()) + 1
    for each in machines:
        each.prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5 if at >= onset else 0.001
    eventually(lambda: ben.states()[-1:] == ["fired"])
    eventually(lambda: ana.states()[-1:] == ["fired"])
    assert ana.asked() > asked
    assert ben.asked() == 0
    assert ben.recorded() & {"tick", "transition", "incident"} == set()
    ana.end(signal.SIGKILL)
    eventually(lambda: "transition" in ben.recorded(), 40)
    assert ben.asked() > 0
    for each in machines:
        each.prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.001
    eventually(lambda: ben.states()[-1:] == ["healthy"])
    ben.end()
    verified = subprocess.run(
        [PYTHON, "-m", "rollback_console", "journal", "verify", str(ben.folder / "journal.db"), "--decisions"],
        env=environment(ben.folder), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert verified.returncode == 0, verified.stdout + verified.stderr

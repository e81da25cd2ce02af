"""The commands a person types: join, sync, status, doctor; and a console without a screen that syncs by itself."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hub.sync_tools import code_of, eventually
from rollback_console.cli import hub_link
from rollback_console.cli.main import run
from rollback_console.clock import WallClock
from rollback_console.journal.upstream import HubClient
from rollback_console.model.hub import HubState, words
from rollback_console.policy.draft import draft_settings
from servers.hub import PROGRAM, Hub

pytestmark = pytest.mark.real


class Machine:
    """A home folder, and the program run in it."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys
        self.env = {**os.environ, "XDG_DATA_HOME": str(home / "data"), "XDG_CONFIG_HOME": str(home / "config")}
        for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.setenv(name, self.env[name])
        monkeypatch.delenv("ROLLBACK_CONSOLE_CONFIG", raising=False)
        folder = home / "config" / "rollback-console"
        folder.mkdir(parents=True)
        self.settings = folder / "settings.yaml"
        self.settings.write_text(draft_settings("http://127.0.0.1:9", "http://127.0.0.1:9", "ana"))
        (folder / "policy.yaml").write_text(POLICY)
        (folder / "roster.yaml").write_text(ROSTER)

    def run(self, *words: str, code: int = 0) -> str:
        """One command, in this process: an interpreter for each would be most of the test."""
        self._capsys.readouterr()
        ended = run(words)
        out, err = self._capsys.readouterr()
        assert ended == code, out + err
        return out if code == 0 else out + err

    def state(self) -> HubState:
        """What `journal status` reads, without a process of its own each time it is looked at."""
        return hub_link.state(
            self.home / "data" / "rollback-console" / "journal.db", hub_link.target(self.settings), WallClock()
        )

    def status(self) -> dict[str, Any]:
        found = json.loads(self.run("journal", "status", "--json"))["hub"]
        assert isinstance(found, dict)
        return found


POLICY = """schema: rollback-console/policy/v1
name: ranking
version: 1
mode: advise
owners: [team-ranking]
deployments:
  - {name: checkout-ranker, environment: production, model: {name: checkout-ranker, alias: champion}}
signals:
  error_rate: {area: technical, worse: higher, value: errors, window: 5m, breach: {above: 2%}}
trigger: {when: error_rate, dwell: 5m}
"""
ROSTER = """schema: rollback-console/roster/v1
operators: [{id: ana, roles: [oncall]}]
"""


def test_join_sync_status_and_a_watch_that_syncs_by_itself(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path, monkeypatch, capsys)
    machine.run("journal", "note", "before there was a hub")
    assert machine.status()["words"] == "hub not configured"
    said = machine.run("journal", "sync", "--once", code=2)
    assert "the settings name no hub" in said

    joined = machine.run("hub", "join", hub.url, "--code", code_of(hub, "ana-laptop"), "--write")
    client = HubClient(hub.url)
    assert client.about().key in joined
    assert "trusted on first use" in joined
    token = tmp_path / "data" / "rollback-console" / "hub-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text().strip() not in joined
    assert token.read_text().strip() not in machine.settings.read_text()
    again = machine.run("hub", "join", hub.url, "--code", "x", "--write", code=2)
    assert "names a hub already" in again
    other = machine.run("hub", "join", hub.url, "--code", "x", "--key", client.about().key + "x", code=2)
    assert "another key than the one given" in other
    client.close()

    assert machine.status()["waiting"] == 2
    sent = json.loads(machine.run("journal", "sync", "--once", "--json"))
    assert (sent["sent"], sent["words"], sent["last_receipt"]["seq"]) == (2, "hub ok", 2)
    receipt = tmp_path / "receipt.json"
    machine.run("journal", "sync", "--receipt", str(receipt))
    assert json.loads(receipt.read_text())["seq"] == 2
    findings = json.loads(machine.run("doctor", "--json", code=1))
    assert [each["ok"] for each in findings if each["name"] == "hub"] == [True, True, True]

    watch = subprocess.Popen([*PROGRAM, "watch"], env=machine.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        machine.run("journal", "note", "somebody else's line")
        eventually(lambda: (found := machine.state()).waiting == 0 and found.receipt_seq > 2, 30)
        held = machine.run("journal", "sync", "--once", code=5)
        assert "another process sends this journal already" in held
    finally:
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(20) == 0


def test_a_hub_that_is_gone_is_code_3_and_sync_goes_on_until_it_is_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub = Hub(tmp_path / "hub")
    machine = Machine(tmp_path / "home", monkeypatch, capsys)
    machine.run("hub", "join", hub.url, "--code", code_of(hub, "x"), "--write")
    machine.run("journal", "note", "one")
    port = hub.server.port
    hub.stop()
    gone = machine.run("journal", "sync", "--once", code=3)
    assert "cannot be reached" in gone
    assert machine.status()["words"] == "hub offline: you cannot see others"
    sync = subprocess.Popen([*PROGRAM, "journal", "sync", "--json"], env=machine.env, stdout=subprocess.PIPE, text=True)
    hub = Hub(tmp_path / "hub", port=port)
    try:
        eventually(lambda: words(machine.state()) == "hub ok", 30)
        sync.send_signal(signal.SIGTERM)
        out, _ = sync.communicate(timeout=20)
        assert sync.returncode == 0
        assert [json.loads(line)["words"] for line in out.splitlines()][-1] == "hub ok"
    finally:
        hub.stop()

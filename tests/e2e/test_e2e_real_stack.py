"""The whole main job on the real stack: Prometheus scraping real services, MLflow, the console in tmux at 80x24."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.terminal import Terminal

CONSOLE = [sys.executable, "-m", "rollback_console"]
pytestmark = [pytest.mark.real, pytest.mark.xdist_group("e2e")]


class Sandbox:
    """The real stack, started as a person starts it, without its console."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._log = (folder / "sandbox.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rollback_console.rehearse.sandbox", "--state", str(folder), "--no-console",
             "--fault-after", "90s", "--for", "9m"],
            stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        limit = time.monotonic() + 90
        while not (folder / "sandbox.json").exists():
            assert self._process.poll() is None, (folder / "sandbox.log").read_text()
            assert time.monotonic() < limit, "the sandbox did not come up in 90 s"
            time.sleep(0.2)
        self.facts = json.loads((folder / "sandbox.json").read_text())
        self.env = {"ROLLBACK_CONSOLE_KEY": (folder / "operator.key").read_text(), "HOME": str(folder)}

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(30)
        self._log.close()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CONSOLE, *arguments],
            env={**os.environ, **self.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def entries(self, journal: Path) -> list[dict[str, Any]]:
        """The journal's entries, bodies parsed."""
        lines = self.run("journal", "export", "--format", "jsonl", "--journal", str(journal)).stdout.splitlines()
        return [{**entry, "body": json.loads(entry["body"])} for entry in map(json.loads, lines)]

    def alias(self) -> str:
        url = f"{self.facts['registry']}/api/2.0/mlflow/registered-models/alias?name=checkout-ranker&alias=champion"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(json.load(answer)["model_version"]["version"])

    def serving(self) -> set[str]:
        """What the service itself says it serves, asked without Prometheus."""
        with urllib.request.urlopen(f"{self.facts['services']['checkout-ranker']}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return set(re.findall(r'^model_info\{[^}]*version="(\d+)"[^}]*\} 1', text, re.MULTILINE))


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    stack = Sandbox(tmp_path)
    yield stack
    stack.stop()


def _status(sandbox: Sandbox, journal: Path) -> dict[str, object]:
    done = sandbox.run(
        "status",
        "checkout-ranker",
        "--json",
        "--config",
        str(sandbox.folder / "settings.yaml"),
        "--journal",
        str(journal),
    )
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout)[0])


def _countdown(text: str) -> int | None:
    found = re.search(r"PENDING\s+checkout-ranker.*?\s(\d+):(\d\d)\b", text)
    return int(found[1]) * 60 + int(found[2]) if found else None


def test_an_incident_from_onset_to_recovery_by_keys_alone(sandbox: Sandbox) -> None:
    settings = ["--config", str(sandbox.folder / "settings.yaml")]
    journal = sandbox.folder / "journal.db"
    with Terminal([*CONSOLE, *settings], sandbox.folder, env=sandbox.env) as console:
        console.until(r"healthy +checkout-ranker +v7", 60)
        console.until(r"oncall", 20)

        # it degrades; the dwell runs down, each second; it fires
        first = _countdown(console.until(lambda text: _countdown(text) is not None, 240))
        later = _countdown(console.until(lambda text: (_countdown(text) or 99) < (first or 0) - 2, 30))
        assert first is not None
        assert later is not None
        assert later < first <= 30
        console.until(r"FIRED +checkout-ranker +v8", 60)

        _a_cold_console_agrees(sandbox, settings)

        # the runbook, step by step; its eighth step is the rollback itself
        console.keys("g", "b")
        console.until(r"1/12", 20)
        for step in range(1, 9):
            console.until(rf"{step}/12", 20)
            console.keys("Enter")
        _roll_back(console)
        assert sandbox.alias() == "7"
        console.until(r"✓ done +Verify serving", 90)
        assert sandbox.serving() == {"7"}
        console.until(r"\bDONE\b", 120)
        console.keys("Escape")
        for step in range(9, 13):
            console.until(rf"{step}/12", 20)
            if step == 12:  # its act is a note: the dialog asks for it
                break
            console.keys("Enter")
        console.keys("Escape")

        # cured, and it says so
        console.until(r"(COOLING|CLEARING|healthy) +checkout-ranker +v7", 90)
        console.keys("q")

    _the_record_holds(sandbox, journal)


def _a_cold_console_agrees(sandbox: Sandbox, settings: list[str]) -> None:
    """Opened in mid-incident with a journal of its own, it reaches the same state out of history."""
    live = sandbox.entries(sandbox.folder / "journal.db")
    fired = [e for e in live if e["kind"] == "transition" and e["body"]["after"] == "fired"][-1]
    cold = _status(sandbox, sandbox.folder / "cold.db")
    assert cold["state"] == "fired"
    since = str(cold["since"])
    assert time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(fired["body"]["at"])) == since[:19]
    with Terminal(
        [*CONSOLE, "checkout-ranker", *settings, "--journal", str(sandbox.folder / "cold.db")], sandbox.folder,
        env=sandbox.env,
    ) as other:  # fmt: skip
        text = other.until(r"FIRED", 30)
        assert "checkout-ranker" in text
        assert re.search(r"roll back to v7", other.until(r"roll back to v7", 20))
        other.keys("q")


def _roll_back(console: Terminal) -> None:
    console.until(r"FROM +v8 +──▶ +v7 +TO", 20)
    console.until(r"ready", 10)
    console.keys("x")
    console.until(r"[Rr]eason", 10)
    time.sleep(0.5)  # keys within 300 ms of a dialog are swallowed, a person's slower ones are not
    console.type("conversion fell with v8")
    console.keys("Enter")
    console.until(r"sandbox/checkout-ranker v7", 10)
    time.sleep(0.5)
    console.paste("sandbox/checkout-ranker v7")  # even the right one
    console.keys("Enter")
    console.until(r"paste is refused", 10)
    time.sleep(0.5)
    assert "type exactly" in console.text
    console.type("sandbox/checkout-ranker v8")  # the wrong version first: nothing may happen
    console.keys("Enter")
    time.sleep(0.5)
    assert "type exactly" in console.text
    console.keys("BSpace")
    console.type("7")
    console.keys("Enter")
    console.until(r"✓ done +Verify the registry", 60)


def _the_record_holds(sandbox: Sandbox, journal: Path) -> None:
    verified = sandbox.run("journal", "verify", str(journal), "--decisions", "--json")
    facts = json.loads(verified.stdout)
    assert verified.returncode == 0, facts
    assert facts["ok"]
    entries = sandbox.entries(journal)
    kinds = [entry["kind"] for entry in entries]
    told = json.loads(sandbox.run("review", str(journal), "--json").stdout)
    assert told["verified"], told["problems"]
    assert told["decisions"] == {"same": kinds.count("transition"), "differ": [], "not_recomputed": 0}
    assert any(each["recovered"] and each["rolled_back_to"] == "v7" for each in told["incidents"])
    assert kinds[0] == "genesis"
    assert [e["body"]["state"] for e in entries if e["kind"] == "execution"] == ["done"]
    sets = [e for e in entries if e["kind"] in ("intent", "outcome") and e["body"]["step"] == "set"]
    assert [e["kind"] for e in sets] == ["intent", "outcome"]  # once, intent first
    request = next(e for e in entries if e["kind"] == "request")
    assert request["operator"] == "oncall-1"
    assert request["body"]["person"]["signature"].startswith("-----BEGIN SSH SIGNATURE-----")
    done = [e["body"]["title"] for e in entries if e["kind"] == "step" and e["body"]["state"] == "done"]
    assert len(done) >= 11
    states = [e["body"]["after"] for e in entries if e["kind"] == "transition" and e["deployment"].endswith("ranker")]
    onset = states.index("pending")  # before it: the young stack's first seconds, back-filled as blind
    assert states[onset : onset + 2] == ["pending", "fired"]
    assert states[-1] in ("cooling", "healthy", "clearing")

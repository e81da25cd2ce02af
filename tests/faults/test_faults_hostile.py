"""Hostile strings from every side through the whole program: nothing crashes, nothing reaches a terminal raw."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults_bench import ALIAS, FakeMlflow, FakePrometheus, bodies, environment, running, write_console
from faults_pty import CONSOLE, Pty, assert_safe_bytes

from rollback_console.clock import WallClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import BackendChanged, Note, PointerMoved, Refusal, Snoozed
from rollback_console.journal.store import Journal
from rollback_console.model.identity import DeploymentId

RANKER = DeploymentId("production", "ranker")
BAD = (
    "a[/x][red]b[@click=app.quit]c\\[ \x1b[2JHOSTILE\x1b]0;PWNED\x07\x1b]52;c;UFdO\x07\x9b31m\u202eevil\u2066 \u200b"
    "模型" + "e" + "\u0301" * 40 + " 👩\u200d👩\u200d👧 \ud800\udc00\ud800 \n\r\n\x00\t\u2028" + "x" * 300
)
NAMED = BAD.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", "")
LONG = "y" * 10_000
MODEL = "rank [/x] [red]\u202e 模 'é'"  # what a policy permits of it
OPERATOR = "Ev [/x] [red] 模\u202e" + "e" + "\u0301" * 20
RUNBOOK = f"# {BAD}\n\nfirst [/x]\n\n1. step {BAD}\n2. [ ] `rm \x1b[2JHOSTILE`\n\n```sh\necho {BAD}\n```\n\n{LONG}\n"


@pytest.fixture
def fakes() -> Iterator[tuple[FakePrometheus, FakeMlflow]]:
    prometheus, mlflow = FakePrometheus(), FakeMlflow(models=(MODEL, "feed", "search"))
    mlflow.description = BAD
    mlflow.status = "READY" + BAD
    mlflow.run_id = "r1"
    mlflow.params = {BAD: BAD, "long": LONG, "b" * 500: LONG}
    mlflow.tags[MODEL, "8"] = {BAD: BAD}
    mlflow.tags[MODEL, ""] = {BAD: LONG}
    mlflow.aliases[MODEL] = {ALIAS: "8", BAD: BAD}
    yield prometheus, mlflow
    prometheus.server.stop()
    mlflow.server.stop()


def _console(folder: Path, fakes: tuple[FakePrometheus, FakeMlflow]) -> Path:
    prometheus, mlflow = fakes
    books = folder / "books"
    books.mkdir(parents=True)
    (books / "hostile.md").write_bytes(RUNBOOK.encode("utf-8", "surrogatepass"))
    settings = write_console(
        folder, prometheus.url, mlflow.url, models={"ranker": MODEL}, operator_name=OPERATOR, dwell="2s",
        more="runbooks: [books]\n",
    )  # fmt: skip
    policy = folder / "policy.yaml"
    policy.write_text(policy.read_text().replace("model-version-rollback.md", "hostile.md"))
    return settings


def _another_writer(folder: Path) -> None:
    """What another process on this journal wrote, of whatever program: signed well, meant badly."""
    key = DeviceKey.load(next((folder / "data").rglob("device.key")))
    with Journal.open(folder / "journal.db", device=key, clock=WallClock()) as journal:
        for deployment in ("production/ranker", "not an id", NAMED, ""):
            who = NAMED
            journal.append(Note(text=BAD + LONG), deployment=deployment, operator=who)
            journal.append(Refusal(act=BAD, rule=BAD, who_could=BAD), deployment=deployment, operator=who)
            journal.append(BackendChanged(name=BAD, state=BAD, detail=LONG), deployment=deployment)
            journal.append(
                PointerMoved(at=time.time(), model=MODEL, alias=ALIAS, before=BAD, after=BAD, ours=BAD),
                deployment=deployment,
            )
            journal.append(Snoozed(until=1e300, reason=BAD), deployment=deployment, operator=who)


def _hurt(fakes: tuple[FakePrometheus, FakeMlflow]) -> None:
    prometheus, _ = fakes
    prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5
    prometheus.versions = lambda name, at: BAD if name == "ranker" else LONG
    start = time.time()
    prometheus.metrics["error_ratio", "feed"] = lambda at: float("nan") if at > start else 1e308


async def test_every_screen_of_the_real_app(
    tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _console(tmp_path, fakes)
    prometheus, mlflow = fakes
    async with running(settings, monkeypatch, size=(100, 30)) as console:
        _hurt(fakes)
        await console.until(lambda: console.verdict().version not in (None, "8"), 8)
        await console.acts.note(BAD, RANKER)
        await console.acts.snooze(RANKER, 60, BAD)
        _another_writer(tmp_path)
        await console.until(lambda: any(item.kind == "refusal" for item in console.snapshot.timeline), 8)
        mlflow.aliases[MODEL][ALIAS] = BAD
        await console.engine.look_at_pointers()
        prometheus.refusal = json.dumps({"status": "error", "errorType": BAD, "error": BAD + LONG}).encode()
        await asyncio.sleep(1.2)  # an evaluation goes by with every query refused
        prometheus.refusal = None
        fleet = console.app.screen
        for keys in (
            "enter 1 2 3 4 tab escape", "r p x escape escape", "t G slash a escape enter escape escape",
            "b j j enter escape escape", "question_mark escape", "n a escape", "ctrl+p r escape", "y",
        ):  # fmt: skip
            for key in keys.split():
                await console.pilot.press(key)
                await asyncio.sleep(0.02)
                assert_safe_bytes(console.screen.encode("utf-8"), terminal=False)
        assert console.app.is_running
        assert console.app.screen is fleet
        assert console.snapshot.journal.problem == ""
    texts = [body.text for _, body in bodies(tmp_path / "journal.db", "note")]
    assert texts[0] == BAD.strip().encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # kept, not shown raw


def test_the_bytes_that_reach_the_terminal(tmp_path: Path, fakes: tuple[FakePrometheus, FakeMlflow]) -> None:
    settings = _console(tmp_path, fakes)
    prometheus, mlflow = fakes
    _hurt(fakes)
    with Pty([*CONSOLE, "--config", str(settings)], environment(tmp_path)) as console:
        console.until("FIRED", 20)
        _another_writer(tmp_path)
        mlflow.aliases[MODEL][ALIAS] = BAD
        for keys in ("\r", "1", "2", "3", "4", "\x1b", "r", "\x1b", "t", "G", "\r", "\x1b", "\x1b", "b", "j", "\r",
                     "\x1b", "n", "a\x1b[200~[/x]pasted\x1b[201~", "\r", "y", "?", "\x1b", "\x10", "\x1b"):  # fmt: skip
            console.send(keys)
            time.sleep(0.12)  # a person's pace: each screen is drawn before the next key
        for _ in range(4):  # back to the fleet, from wherever that led
            console.send("\x1b")
            time.sleep(0.3)
        prometheus.refusal = json.dumps({"status": "error", "errorType": BAD, "error": BAD + LONG}).encode()
        console.until("BLIND|query fai|refuses", 10)
        time.sleep(1.0)
        console.send("\x1bq")
        if console.process.poll() is None:
            time.sleep(0.3)
            console.send("q")
            time.sleep(0.2)
            console.send("y")
        assert console.wait() == 0
        assert b"Traceback" not in console.raw
        assert_safe_bytes(bytes(console.raw), terminal=True)
    _commands_are_safe(tmp_path, settings)


_COMMANDS = (
    ["status"], ["status", "--json"], ["summary"], ["journal", "list"], ["journal", "list", "--json"],
    ["journal", "status"], ["executions"], ["runbook", "list"], ["runbook", "show", "hostile"],
    ["rollback", "production/ranker", "--plan"], ["whoami"], ["doctor"], ["status", NAMED], ["runbook", "show", NAMED],
)  # fmt: skip


def _commands_are_safe(folder: Path, settings: Path) -> None:
    journal = str(folder / "journal.db")
    alone = (
        ["journal", "verify", journal], ["runbook", "check", str(folder / "books")], ["review", journal, "--plain"],
        ["review", journal, "--json"], ["policy", "explain", str(folder / "policy.yaml")],
    )  # fmt: skip
    env = {**os.environ, **environment(folder), "LC_ALL": "C.UTF-8"}
    with ThreadPoolExecutor(3) as pool:
        for done in pool.map(
            lambda arguments: subprocess.run(
                [*CONSOLE, *arguments], env=env, capture_output=True, timeout=90, check=False
            ),
            [*alone, *([*arguments, "--config", str(settings)] for arguments in _COMMANDS)],
        ):
            assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
            assert b"defect" not in done.stderr, (done.args, done.stderr)
            assert b"No such option" not in done.stderr, (done.args, done.stderr)
            for stream in (done.stdout, done.stderr):
                assert_safe_bytes(stream, terminal=False)

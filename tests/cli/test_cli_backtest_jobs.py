"""A backtest shared out between processes says what one process says, byte for byte; and ends as one does."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollback_console.cli.main import run
from rollback_console.cli.progress import Bar

T = 1_763_640_000  # 2025-11-20T12:00:00Z
PROGRAM = [sys.executable, "-m", "rollback_console"]
NAMES = ("ranker", "search", "pricer")
POLICY = """\
schema: rollback-console/policy/v1
name: ranking
version: 1
deployments:
{deployments}
signals:
  conversion:
    area: business
    worse: lower
    x: sum by (deployment) (orders)
    n: sum by (deployment) (visits)
    window: 1m
    maturity: 0s
    margin: 2%
    baseline: {{kind: seasonal, history: 7d}}
  errors: {{worse: higher, value: max by (deployment) (errors), window: 1m, breach: {{above: 2%}}}}
trigger: {{dwell: 5m, hold: 5m, cool_down: 10m{budget}}}
impact: {{revenue_per_minute: {{constant: 1000, unit: EUR}}}}
"""


def policy(budget: str = "") -> str:
    rows = [
        f"  - {{name: {name}, environment: production, model: {{name: {name}, alias: champion}}}}" for name in NAMES
    ]
    return POLICY.format(deployments="\n".join(rows), budget=budget)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's settings; a policy, and eight hours of three deployments, of which two degrade in the last."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ROLLBACK_CONSOLE_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(policy())
    draw = random.Random(5)
    lines = ["time,deployment,signal,value,x,n"]
    for minute in range(1, 481):
        for number, name in enumerate(NAMES):
            bad = number in (1, 2) and 400 < minute < 450
            n = round(draw.gauss(900, 30))
            rate = 0.03 * (0.5 if bad and number == 1 else 1.0)
            x = min(n, max(0, round(draw.gauss(n * rate, math.sqrt(n * rate)))))
            lines.append(f"{T + 60 * minute},{name},conversion,,{x},{n}")
            lines.append(f"{T + 60 * minute},{name},errors,{0.05 if bad else 0.01},,")
    (tmp_path / "s.csv").write_text("\n".join(lines) + "\n")
    begins, ends = T + 60 * 400, T + 60 * 450
    marked = f"deployment,from,to\nsearch,{begins},{ends}\npricer,{begins},{ends}\n"
    (tmp_path / "incidents.csv").write_text(marked)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, policy: str = "policy.yaml") -> str:
    assert run(["backtest", policy, "--samples", "s.csv", *words]) == 0
    return capsys.readouterr().out


def test_processes_say_what_one_says(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("--from", str(T + 60 * 380), "--trace"),
        ("--from", str(T + 60 * 380), "--sweep", "conversion.margin=1%,8%", "--incidents", "incidents.csv"),
    ):
        alone = said(capsys, *words, "--jobs", "1")
        assert len(alone.splitlines()) > 5
        for jobs in ("2", "9"):
            assert said(capsys, *words, "--jobs", jobs) == alone, words


def test_what_the_whole_rotation_shares_is_judged_in_one(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forked(*_: object) -> None:
        raise AssertionError("shared out")

    monkeypatch.setattr("rollback_console.cli.backtest_run._together", forked)
    (home / "shared.yaml").write_text(policy(", budget: {false_alarms_a_week: 1}"))
    assert "evaluations" in said(capsys, "--from", str(T + 60 * 430), "--jobs", "2", policy="shared.yaml")
    assert "evaluations" in said(capsys, "--from", str(T + 60 * 430)), "so little is not worth a second process"
    assert run(["backtest", "policy.yaml", "--samples", "s.csv", "--jobs", "2"]) == 1
    assert "shared out" in capsys.readouterr().err, "and what nobody shares is not"


def begun(home: Path, *words: str) -> subprocess.Popen[bytes]:
    """A long one, in two processes."""
    environ = {**os.environ, "HOME": str(home), "NO_COLOR": "1"}
    return subprocess.Popen(
        [*PROGRAM, "backtest", "policy.yaml", "--samples", "s.csv", "--trace", "--jobs", "2", *words], cwd=home,
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def workers(process: subprocess.Popen[bytes]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def gone(pids: list[int]) -> bool:
    for _ in range(500):
        if not any(Path(f"/proc/{pid}/stat").exists() for pid in pids):
            return True
        time.sleep(0.01)
    return False


def test_ctrl_c_ends_all_of_them_with_130(home: Path) -> None:
    process = begun(home)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["state"]
    children = workers(process)
    assert len(children) == 2
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err.strip()) == (130, b"")
    assert b"summary" not in out
    assert gone(children)


def test_a_process_that_dies_is_an_error_and_not_a_result(home: Path) -> None:
    process = begun(home)
    children: list[int] = []
    while len(children) < 2:  # at once: a fast machine is done before its first line is read
        assert process.poll() is None
        children = workers(process)
    os.kill(children[0], signal.SIGKILL)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert err == b"error: a process of the backtest has ended: is there memory enough? give --jobs 1\n"
    assert b"summary" not in out
    assert gone(children)


def test_a_reader_that_leaves_ends_all_of_them(home: Path) -> None:
    process = begun(home)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    children = workers(process)
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    assert gone(children)


class _Drawn:
    def __init__(self) -> None:
        self.said: list[str] = []

    def update(self, evaluations: int, left: str) -> None:
        self.said.append(left)


def test_the_time_left_is_of_judging_and_not_of_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of learning, then a hundred evaluations a second: of ten thousand, a hundred seconds."""
    now = 1000.0
    monkeypatch.setattr("rollback_console.cli.progress.time.monotonic", lambda: now)
    drawn = _Drawn()
    bar = Bar(drawn, 10_000)
    now += 60.0
    bar.come_to(100)
    for k in range(2, 101):
        now += 1.0
        bar.come_to(100 * k)
    assert drawn.said[0] == ""
    assert drawn.said[1] == "1m 38s left"
    assert drawn.said[50] == "49s left"
    assert drawn.said[-1] == "0s left"

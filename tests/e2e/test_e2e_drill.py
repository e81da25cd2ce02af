"""A newcomer's drill in a real terminal of 80x24, by keys alone, from `rehearse` to the report; and the tutorial."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.terminal import Terminal

PROGRAM = [sys.executable, "-m", "rollback_console"]
pytestmark = pytest.mark.xdist_group("e2e")
_PAUSE_S = 0.6  # keys within 300 ms of a dialog are swallowed, a person's slower ones are not
PHRASE = "rehearsal production/checkout-ranker v7"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "TMPDIR": str(home), "XDG_DATA_HOME": str(home / "data"), "LOGNAME": "jo", "USER": "jo"}


def rehearse(home: Path, *words: str) -> Iterator[Terminal]:
    terminal = Terminal([*PROGRAM, "rehearse", *words], home, env=environment(home))
    try:
        yield terminal
    finally:
        terminal.close()


def jump(pane: Terminal, wanted: str, most: int = 30) -> str:
    """Go on to the next event until the screen shows it."""
    for _ in range(most):
        pane.keys(">")
        with contextlib.suppress(AssertionError):  # not yet, or pressed before keys act: the next one
            return pane.until(wanted, 4.0)
    return pane.until(wanted, 1.0)


def roll_back(pane: Terminal, looking: str = "", planning: str = "", typing: str = "") -> None:
    """From the fleet: find it, look, plan, and type what it asks for; what the screen says at each of these."""
    pane.keys("/")
    pane.type("checkout")
    pane.keys("Enter")
    pane.until(r"1 of \d+")
    pane.keys("Enter")
    pane.until("checkout-ranker v8")
    pane.keys("3")
    pane.until(r"\[3 Changed\]")
    pane.until(looking)
    pane.keys("r")
    pane.until("ready: x asks")
    pane.until(planning)
    pane.keys("x")
    pane.until("one line|[Rr]eason, in", 10.0)
    time.sleep(_PAUSE_S)
    pane.type("v8 broke conversion")
    pane.keys("Enter")
    pane.until("type exactly")
    pane.until(typing)
    time.sleep(_PAUSE_S)
    pane.type(PHRASE)
    pane.keys("Enter")
    pane.until("execution .* has begun|RUNNING|VERIFYING|running|verifying")


def test_a_newcomers_drill_from_the_story_to_the_report(home: Path) -> None:
    for pane in rehearse(home, "demo", "--record"):
        pane.until("nothing here is real", 60.0)
        pane.keys("Enter")
        assert "REHEARSAL" in pane.until("On-call", 60.0)
        jump(pane, "FIRED +checkout-ranker")
        roll_back(pane)
        pane.keys("+", "+", "+", "+", "+")
        pane.until(r"REHEARSAL x\d+")
        report = pane.until("✓ PASSED|✗ NOT PASSED", 120.0)
        assert "✓ PASSED" in report, report
        assert "the decision was right" in report
        assert re.search(r"recover +\d+:\d\d +30:00", report)
        pane.until("best: the perfect headless operator", 60.0)
        pane.keys("q")
        pane.until("on record: entry")
    told = subprocess.run(
        [*PROGRAM, "report", "practice", "--json"], env=environment(home), capture_output=True, check=True
    )  # fmt: skip
    drills = json.loads(told.stdout)["drills"]["rows"]
    assert [(row["operator"], row["scenario"], row["passed"]) for row in drills] == [("jo", "demo", 1)]


def test_the_tutorial_says_each_step_and_its_key(home: Path) -> None:
    """The scenario for whom none is named: its own words at every step, the keys beside them."""
    for pane in rehearse(home, "--tutorial"):
        pane.until("nothing here is real", 60.0)
        pane.until("Conversion falls after a release")
        pane.keys("Enter")
        pane.until("▸ Nothing is red yet", 60.0)
        pane.until("On-call", 60.0)
        jump(pane, "▸ Pending: something is degraded")
        jump(pane, "▸ It fired")
        pane.until("enter opens it")
        roll_back(
            pane, "▸ Read who else is degraded", "▸ The plan names the version", "▸ What is typed is what happens"
        )
        jump(pane, "▸ Recovered is what the signals say")
        jump(pane, "✓ PASSED", 40)
        time.sleep(_PAUSE_S)
        pane.keys("Escape")
        pane.until("▸ Now read the report")
        pane.keys("q")
        pane.until("this drill's journal")

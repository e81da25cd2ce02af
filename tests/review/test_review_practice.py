"""Who practised what, how well, and what is overdue; and that nothing else counts a drill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollback_console.authorize.keys import PersonKey
from rollback_console.cli.drill_record import Record
from rollback_console.cli.main import run
from rollback_console.clock import VirtualClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import DrillSummary, PolicyInForce, StepMarked, WalkEvent
from rollback_console.journal.store import Journal
from rollback_console.rehearse.setup import roster_text
from rollback_console.review.practice import QUARTER_S, practised, standing

DAY = 86_400.0
NOW = 1_795_183_351.0


def detail(**more: object) -> dict[str, object]:
    return {
        "klass": "release", "mode": "drill", "decision": "right", "acted_s": 180.0, "recovered_s": 640.0,
        "steps_skipped": 0, "cost": 33_000.0, "cost_unit": "USD", "walks": [], **more,
    }  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A main journal: jo rehearsed twice and walked once, kim once, long ago; a drill of jo's had a walk in it."""
    path, clock = tmp_path / "journal.db", VirtualClock(NOW - 200 * DAY)
    with Journal.open(path, device=DeviceKey.from_seed(b"d" * 32), clock=clock) as book:

        def drill(scenario: str, passed: bool, operator: str, **more: object) -> None:
            book.append(
                DrillSummary(scenario=scenario, seed=7, passed=passed, detail=detail(**more)), operator=operator
            )

        drill("conversion-regression", False, "kim", acted_s=None)
        clock._now = NOW - 100 * DAY
        drill("conversion-regression", False, "jo", acted_s=900.0)
        book.append(
            WalkEvent(event="started", walk="wk-1", runbook="upstream-fault", digest="ab" * 32, incident="inc-1"),
            operator="jo",
        )
        clock._now += 600.0
        book.append(StepMarked(walk="wk-1", step="a", title="A", state="done"), operator="jo")
        book.append(StepMarked(walk="wk-1", step="b", title="B", state="running"), operator="jo")
        book.append(StepMarked(walk="wk-1", step="b", title="B", state="skipped", reason="no time"), operator="jo")
        book.append(
            WalkEvent(event="ended", walk="wk-1", runbook="upstream-fault", digest="ab" * 32, outcome="done"),
            operator="jo",
        )
        clock._now = NOW - 10 * DAY
        walk = {"runbook": "model-version-rollback", "outcome": "done", "done": 12, "skipped": 0, "took_s": 300.0}
        drill("conversion-regression", True, "jo", walks=[walk])
    return path


def test_drills_and_walks_are_read_with_who_and_how_well(journal: Path) -> None:
    known = practised(journal)
    assert [(d.operator, d.passed, d.acted_s) for d in known.drills] == [
        ("kim", False, None), ("jo", False, 900.0), ("jo", True, 180.0),
    ]  # fmt: skip
    real, drilled = known.walks
    assert (real.operator, real.runbook, real.outcome, real.done, real.skipped) == (
        "jo",
        "upstream-fault",
        "done",
        1,
        1,
    )
    assert (real.took_s, real.incident, real.drill) == (600.0, "inc-1", "")
    assert (drilled.runbook, drilled.done, drilled.drill) == ("model-version-rollback", 12, "conversion-regression")


def test_what_was_never_done_and_what_was_long_ago_is_overdue(journal: Path) -> None:
    known = practised(journal)
    due = {
        (d.operator, d.name): d
        for d in standing(known, ["jo", "kim"], ["release", "blip"], ["upstream-fault"], NOW)
    }  # fmt: skip
    assert not due["jo", "release"].overdue
    assert (due["jo", "release"].times, due["jo", "release"].passed) == (2, 1)
    assert due["jo", "blip"].overdue
    assert due["jo", "blip"].over_s is None
    assert due["kim", "release"].over_s == pytest.approx(200 * DAY - QUARTER_S, abs=1.0)
    assert due["jo", "upstream-fault"].overdue, "walked a hundred days ago"
    often = standing(known, ["jo"], ["release"], [], NOW, every_s=5 * DAY)
    assert next(iter(often)).overdue


def test_a_detail_of_another_program_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path, device=DeviceKey.from_seed(b"d" * 32), clock=VirtualClock(NOW)) as book:
        odd = {"acted_s": True, "walks": "none", "steps_skipped": "two", "klass": 5}
        book.append(DrillSummary(scenario="x", seed=1, passed=True, detail=odd), operator="jo")
    (drill,) = practised(path).drills
    assert (drill.acted_s, drill.steps_skipped, drill.klass, drill.mode) == (None, 0, "5", "drill")


def test_the_report_prints_it(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "practice", "--journal", str(journal), "--operator", "jo"]) == 0
    said = capsys.readouterr().out
    assert "Practice that is overdue" in said
    assert "conversion-regression" in said
    assert run(["report", "practice", "--journal", str(journal), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(r["operator"], r["times"], r["passed"]) for r in found["drills"]["rows"]] == [("jo", 2, 1), ("kim", 1, 0)]
    assert {r["runbook"] for r in found["walks"]["rows"]} == {"upstream-fault", "model-version-rollback"}
    assert run(["report", "practice", "--journal", str(journal), "--every", "soon"]) == 2


def test_who_left_the_roster_is_not_overdue(
    journal: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    line = PersonKey.from_seed(1, "jo").line
    with Journal.open(journal, device=DeviceKey.from_seed(b"d" * 32), clock=VirtualClock(NOW)) as book:
        digest = book.put_blob(roster_text("jo", "Jo", line).encode())
        book.append(PolicyInForce(what="roster", name="roster.yaml", version=2, digest=digest))
    assert run(["report", "practice", "--journal", str(journal), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["operator"] for row in found["overdue"]["rows"]} == {"jo"}
    assert {row["operator"] for row in found["drills"]["rows"]} == {"jo", "kim"}, "what was, was"


def test_a_drill_is_put_on_record_where_there_is_a_journal_and_makes_none_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    none = Record.find(None, make=False)
    assert "--record makes it" in none.keep("demo", 7, True, detail(), "jo")
    assert none.past("demo", "jo") == ()
    assert not (tmp_path / "nobody").exists()
    record = Record.find(None, make=True)
    assert "no rate, baseline or history counts it" in record.keep("demo", 7, True, detail(), "jo")
    again = Record.find(None, make=False)
    again.keep("demo", 7, False, detail(acted_s=None), "jo")
    again.keep("demo", 7, True, detail(), "kim")
    assert [(each.passed, each.acted_s) for each in again.past("demo", "jo")] == [(False, None), (True, 180.0)]


def test_no_rate_counts_a_drill(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are listed among what is not counted, and stand in no other sheet."""
    assert run(["report", "rollback-rate", "--journal", str(journal), "--json"]) == 0
    sheets = json.loads(capsys.readouterr().out)
    told = [key for key, sheet in sheets.items() if "conversion-regression" in json.dumps(sheet)]
    assert told == ["drills"]
    assert sheets["drills"]["title"] == "Drills, which count nowhere"

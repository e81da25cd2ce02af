"""`report …` as typed: every format, several journals, bundles, rehearsals, and journals that do not hold."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from docs_reading import blocks_of
from review.small_past import FEED, POLICY, RANKER, Team
from rollback_console.cli.main import run
from rollback_console.cli.sheets import Column, Sheet, table

SIGNAL = "{area: business, worse: lower, value: up, breach: {below: 1}}"
MORE = """links: {dashboard: "https://dash.example/d/1"}
recovery:
  - {path: version, driver: mlflow-alias, target: last_known_good}
runbook: model-version-rollback
"""
RATE = ("report", "rollback-rate")
ALL = (RATE, ("report", "history", "ranker"), ("report", "calibration"), ("report", "coverage", "--offline"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three releases, one rolled back; an incident; a planned switch."""
    team = Team(tmp_path_factory.mktemp("report") / "team.db")
    team.move(1, "1", "2", registered=0.5)
    team.turn(2.0, "pending", "fired", cost=(1.99, 40.0), cost_before=(1.99, 30.0, 1.999), degradation=9.0)
    team.incident(2.001, "inc-a", "opened", 1.99)
    team.rollback(2.01, "2", "1", name="ex-a")
    team.turn(2.02, "fired", "healthy", cost_before=(1.99, 90.0, 2.02))
    team.incident(2.02, "inc-a", "closed", 1.99)
    team.judge(3, "ex-a", root_cause="safety concern", gate="canary", right="right", published="wiki | 1")
    team.move(40, "1", "3")
    team.move(41, "1", "2", FEED)
    team.rollback(50, "3", "1", planned=True)
    team.note(60)
    return team.close()


@pytest.fixture(autouse=True)
def nobodys_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ROLLBACK_CONSOLE_CONFIG", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


def _json(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run([*words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_rate_in_every_format(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, *RATE, "--journal", str(told))
    whole = found["rollback_rate"]["rows"][0]
    assert (whole["of"], whole["deployments"], whole["rolled_back"], whole["open"]) == ("all", 3, 1, 0)
    assert [row["of"] for row in found["rollback_rate"]["rows"]] == ["all", RANKER, FEED]
    assert found["causes"]["rows"] == [{"cause": "safety concern", "rollbacks": 1}]
    assert found["cost"]["rows"][0]["total"] == pytest.approx(90.0)
    assert found["excluded"]["rows"][0]["why"] == "its request says planned"
    assert found["journals"]["rows"][0]["verified"] is True

    assert run([*RATE, "--journal", str(told), "--format", "csv"]) == 0
    text = capsys.readouterr().out
    sheet = next(part for part in text.split("# ")[1:] if part.startswith("rollback_rate\n"))
    rows = list(csv.DictReader(io.StringIO(sheet.partition("\n")[2])))
    assert float(rows[0]["rate_pct"]) == pytest.approx(100 / 3)
    assert run([*RATE, "--journal", str(told), "--format", "csv", "--sheet", "rollback_rate"]) == 0
    assert list(csv.DictReader(io.StringIO(capsys.readouterr().out))) == rows, "one table: a file as it is"
    assert run([*RATE, "--journal", str(told), "--sheet", "rates"]) == 2
    assert "there are rollback_rate, times" in capsys.readouterr().err

    assert run([*RATE, "--journal", str(told), "--format", "md"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line in (each for each in lines if each.startswith("|")):
        assert line.endswith("|")
    assert "## Rollback rate: rolled back within 7d, of the deployments" in lines

    assert run([*RATE, "--journal", str(told)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 3 deployments were rolled back within 7d: 33.3 %, alarming" in shown
    assert "few deployments" in shown
    assert "2026-02" in shown, "a plot in the terminal, a line a month"
    assert "o───" in shown, "none of two: the rate at the left end, and its interval"


def test_a_terminal_of_80_columns_shows_the_rate_of_a_fleet(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*RATE, "--journal", str(told), "--by", "team"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Rate by month"))
    assert max(map(len, lines[:4])) <= 80
    assert max(map(len, lines[start : start + 5])) <= 80


@pytest.mark.parametrize("by", ["model", "team", "tier", "environment", "all"])
def test_every_cut_adds_up(told: Path, capsys: pytest.CaptureFixture[str], by: str) -> None:
    rows = _json(capsys, *RATE, "--journal", str(told), "--by", by)["rollback_rate"]["rows"]
    for key in ("deployments", "rolled_back"):
        assert rows[0][key] == (sum(row[key] for row in rows[1:]) if by != "all" else rows[0][key])
    assert len(rows) == {"model": 3, "team": 2, "tier": 3, "environment": 3, "all": 1}[by]


def test_a_window_and_its_mistakes(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, *RATE, "--journal", str(told), "--from", "2026-02-01", "--to", "2026-02-12")
    assert found["rollback_rate"]["rows"][0]["deployments"] == 2
    for words, said in (
        (["--from", "2026-02-01", "--to", "2026-01-01"], "ends before it begins"),
        (["--from", "yesterday-ish"], "is not a time"),
        (["--within", "soon"], "no length of time"),
        (["--journal", "/nowhere/at-all.db"], "there is no journal"),
    ):
        assert run([*RATE, "--journal", str(told), *words]) == 2
        assert said in capsys.readouterr().err


def test_a_bundle_and_an_export_tell_the_same(told: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = _json(capsys, *RATE, "--journal", str(told))
    bundle, lines = tmp_path / "b.tar", tmp_path / "j.jsonl"
    assert run(["journal", "export", "--journal", str(told), "--format", "bundle", "--output", str(bundle)]) == 0
    assert run(["journal", "export", "--journal", str(told), "--format", "jsonl", "--output", str(lines)]) == 0
    for path in (bundle, lines):
        found = _json(capsys, *RATE, "--journal", str(path), "--journal", str(told))
        for sheet in ("rollback_rate", "times", "learning", "causes", "trend", "excluded", "cost"):
            assert found[sheet] == own[sheet], f"{path.suffix}: {sheet}, read beside the journal itself"
    assert _json(capsys, *RATE, "--journal", str(bundle))["rollback_rate"] == own["rollback_rate"]


def test_a_rehearsal_counts_nowhere_and_it_is_said(
    told: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    team = Team(tmp_path / "drill.db", seed=b"drill", rehearsal=True)
    team.move(5, "1", "2")
    team.rollback(5.1, "2", "1")
    path = team.close()
    own = _json(capsys, *RATE, "--journal", str(told))
    assert run([*RATE, "--journal", str(told), "--journal", str(path), "--json"]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert "a rehearsal: nothing of it counts" in said.err
    assert found["rollback_rate"] == own["rollback_rate"]
    assert [row["rehearsal"] for row in found["journals"]["rows"]] == [False, True]


def _tampered(told: Path, path: Path, change: str) -> Path:
    with sqlite3.connect(told) as source, sqlite3.connect(path) as copy:
        source.backup(copy)
        for name in ("entries_no_update", "entries_no_delete", "entries_append"):
            copy.execute(f"DROP TRIGGER {name}")
        copy.execute(change)
    return path


@pytest.mark.parametrize("words", ALL, ids=" ".join)
@pytest.mark.parametrize(
    "change",
    [
        'UPDATE entries SET body = replace(body, \'"after":"3"\', \'"after":"4"\') WHERE kind = \'pointer\'',
        "UPDATE entries SET body = 'no object at all' WHERE kind = 'judgement'",
        "DELETE FROM entries WHERE kind = 'note'",
        "DELETE FROM entries WHERE seq = 4",
    ],
)
def test_what_does_not_verify_is_read_as_far_as_it_goes_and_said(
    told: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], change: str
) -> None:
    path = _tampered(told, tmp_path / "t.db", change)
    expected = 0 if "kind = 'note'" in change else 1  # what was cut off at the end shows to those who saw it alone
    assert run([*words, "--journal", str(path), "--json"]) == expected
    said = capsys.readouterr()
    assert json.loads(said.out)
    assert ("NOT VERIFIED" in said.err) is bool(expected)


def test_what_is_no_journal_is_said_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "noise.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4_000)
    assert run([*RATE, "--journal", str(path), "--json"]) == 1
    said = capsys.readouterr()
    assert json.loads(said.out)["rollback_rate"]["rows"][0]["deployments"] == 0
    assert "NOT VERIFIED" in said.err
    assert "Traceback" not in said.err


def test_history_for_release_notes(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "history", "ranker", "--journal", str(told), "--format", "md"]) == 0
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith(f"| {RANKER} | v2 "))
    for part in ("2026-01-01 12:00", "2026-01-02 00:00", "2026-01-03 00:14 to v1", "it hurts", "safety concern",
                 "right", "wiki \\| 1"):  # fmt: skip
        assert part in row, part
    found = _json(capsys, "report", "history", RANKER, "--journal", str(told), "--last", "1")
    assert [row["version"] for row in found["versions"]["rows"]] == ["v3"]
    assert run(["report", "history", "rankr", "--journal", str(told)]) == 2
    assert "it knows ranker" in capsys.readouterr().err


def test_calibration_says_what_is_too_little(told: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _json(capsys, "report", "calibration", "--journal", str(told))
    assert [row["words"] for row in found["foretold"]["rows"]] == ["too few to tell", "too few to tell", "no data"]
    assert any("too few to say how wide a margin" in note for note in found["margins"]["notes"])
    assert found["fires"]["rows"][0]["judged"] == "true"


@pytest.mark.parametrize("width", [60, 80, 100])
def test_a_table_that_does_not_fit_its_terminal_is_told_in_lines(width: int) -> None:
    columns = (
        Column("who", "who"),
        Column("n", "number", ">"),
        Column("why", "why it was so"),
        Column("x", "left out"),
    )
    long = "because the features of yesterday were still served to everybody who asked for those of today"
    sheet = Sheet("s", "A title", columns, (("one", 1_000, long, None), ("two", 2, "short", "-")), (f"note: {long}",))
    lines = list(table(sheet, width))
    assert max(map(len, lines)) <= width
    told = " ".join(" ".join(lines).split())
    for part in ("A title", "one", "number 1,000", f"why it was so {long}", "two", "number 2", f"note: {long}"):
        assert part in told
    assert " no " not in told
    assert list(table(sheet, 200)) == list(table(sheet)), "it fits: a table as ever"


def test_the_document_is_run_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command of docs/measures.md, with settings that name a journal, a policy, and a registry that is down."""
    policy = POLICY.replace("name: ranker", "name: checkout-ranker").replace('{kind: sample, query: "up"}', SIGNAL)
    (tmp_path / "policy.yaml").write_text(policy + MORE)
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "schema: rollback-console/settings/v1\nprometheus: {url: 'http://127.0.0.1:9'}\n"
        "registry: {kind: mlflow, url: 'http://127.0.0.1:9'}\npolicies: [policy.yaml]\njournal: team.db\n"
    )
    team = Team(tmp_path / "team.db", policy=policy + MORE)
    team.move(1, "1", "2", "production/checkout-ranker")
    team.close()
    monkeypatch.setenv("ROLLBACK_CONSOLE_CONFIG", str(settings))
    (block,) = blocks_of("docs/measures.md")
    assert len(block.commands) == 6
    for command in block.commands:
        program, *words = shlex.split(command)
        assert program == "rollback-console"
        assert run(words) == 0, command
        assert capsys.readouterr().out

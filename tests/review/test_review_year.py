"""A year of a simulated team: every measure as counted independently, and as the generator planted it."""

from __future__ import annotations

import json
import math
import os
import sqlite3
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from review.measured import DAY, Measured
from review.year import DAYS, SMALL, write_year
from review.year_story import YearTruth
from rollback_console.cli.report import command
from rollback_console.engine.recomputing import Recomputation
from rollback_console.journal.verify import verify
from rollback_console.policy.load import parse_policy

_CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
_SHEETS = ("rollback_rate", "times", "learning", "incidents", "cost")
_CUTS = ("model", "team", "tier", "environment", "all")
WEEK_S = 7 * DAY


@pytest.fixture(scope="module", params=[SMALL, DAYS] if _CAMPAIGN else [SMALL])
def year(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, YearTruth]:
    """A journal and what was planted in it; the whole year in the campaign alone."""
    path = tmp_path_factory.mktemp("year") / "year.db"
    return path, write_year(path, days=request.param)


def report(path: Path, *options: str) -> dict[str, Any]:
    """What `report rollback-rate --json` prints."""
    found = CliRunner().invoke(command, ["rollback-rate", "--journal", str(path), "--json", *options])
    assert found.exit_code == 0, found.output
    answer: dict[str, Any] = json.loads(found.stdout)
    return answer


def same(told: Any, counted: Any) -> bool:
    if isinstance(told, float) or isinstance(counted, float):
        if told is None or counted is None:
            return False
        return math.isclose(told, counted, rel_tol=1e-9, abs_tol=1e-6)
    return bool(told == counted)


def differences(told: dict[str, Any], counted: Measured) -> list[str]:
    """Where the report and the independent computation say different things."""
    found = []
    for sheet in _SHEETS:
        for row in told[sheet]["rows"]:
            for key, value in counted.sheets(row["of"])[sheet].items():
                said = str(row[key]).removesuffix(" (few)") if key == "band" and row[key] else row[key]
                if not same(said, value):
                    found.append(f"{sheet} of {row['of']}: {key} is {said}, counted {value}")
    for month, mine in zip(told["trend"]["rows"], counted.trend(), strict=True):
        found += [f"trend {month}: {key}, counted {mine[key]}" for key in month if not same(month[key], mine[key])]
    causes = {row["cause"]: row["rollbacks"] for row in told["causes"]["rows"]}
    gates = {row["gate"]: row["rollbacks"] for row in told["gates"]["rows"]}
    if causes != counted.counted("root_cause") or gates != counted.counted("gate"):
        found.append(f"causes {causes}, gates {gates}")
    if _sorted(told["repeated"]["rows"]) != _sorted(counted.repeated()):
        found.append(f"repeated: {told['repeated']['rows']}, counted {counted.repeated()}")
    excluded = sorted((row["entry"], row["what"].split(":")[0]) for row in told["excluded"]["rows"])
    if excluded != sorted(counted.excluded()):
        found.append(f"excluded: {excluded}, counted {sorted(counted.excluded())}")
    if sorted(row["entry"] for row in told["unanchored"]["rows"]) != sorted(counted.unanchored()):
        found.append("unanchored")
    return found


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


@pytest.mark.parametrize("by", _CUTS)
def test_every_measure_equals_the_independent_computation(year: tuple[Path, YearTruth], by: str) -> None:
    path, _ = year
    counted = Measured(path, by=by)
    told = report(path, "--by", by)
    groups = {counted.group(move.deployment, move.at) for move in counted.moves} | {"all"}
    assert groups <= {row["of"] for row in told["rollback_rate"]["rows"]}
    assert differences(told, counted) == []


def test_every_window_is_counted_as_defined(year: tuple[Path, YearTruth]) -> None:
    """Also one that ends between a release and its rollback, one that begins there, and other observation windows."""
    path, truth = year
    cut = next(r for r in truth.rollbacks if r.undoes_at is not None and r.at - r.undoes_at > 3_600.0 and r.automatic)
    between = (cut.undoes_at + cut.at) / 2 if cut.undoes_at is not None else 0.0
    third = truth.begins + truth.days * DAY / 3
    windows: list[tuple[float | None, float | None, float, str]] = [
        (None, between, WEEK_S, "model"),
        (between, None, WEEK_S, "model"),
        (third, third + 12.5 * DAY, WEEK_S, "team"),
        (truth.begins + 3.3 * DAY, third, 2 * DAY, "tier"),
        (None, None, 3_600.0, "environment"),
        (truth.ends - 9 * DAY, None, 10 * DAY, "team"),
        (truth.ends + DAY, truth.ends + 2 * DAY, WEEK_S, "all"),
    ]
    for since, until, within, by in windows:
        options = ["--within", f"{within / 3600.0:g}h", "--by", by]
        options += ["--from", _time(since)] if since is not None else []
        options += ["--to", _time(until)] if until is not None else []
        since, until = (None if at is None else float(int(at)) for at in (since, until))
        counted = Measured(path, since=since, until=until, within_s=within, by=by)
        assert differences(report(path, *options), counted) == [], options


def _time(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_the_rate_is_what_was_planted(year: tuple[Path, YearTruth]) -> None:
    path, truth = year
    told = report(path)
    row = told["rollback_rate"]["rows"][0]
    back = [r for r in truth.rollbacks if r.undoes_at is not None and r.at - r.undoes_at <= WEEK_S]
    assert (row["deployments"], row["rolled_back"]) == (len(truth.deployments), len(back))
    kinds = Counter(line["what"].split(":")[0] for line in told["excluded"]["rows"])
    assert kinds == {"planned": len(truth.planned), "mistake": len(truth.mistakes)}
    assert len(told["unanchored"]["rows"]) == sum(r.undoes_at is None for r in truth.rollbacks)
    if truth.days == DAYS:
        assert len(truth.deployments) == 800
        assert len(truth.rollbacks) == 60
        assert {r.kind for r in truth.rollbacks} >= {"at the edge", "just late", "emergency", "automatic", "older"}


def test_times_and_causes_are_what_was_planted(year: tuple[Path, YearTruth]) -> None:
    path, truth = year
    told = report(path)
    times = told["times"]["rows"][0]
    decided = [r.decision_at - r.undoes_at for r in truth.rollbacks if r.undoes_at is not None]
    done = [r.completed_at - r.decision_at for r in truth.rollbacks if r.completed_at is not None]
    assert times["rollbacks"] == len(truth.rollbacks)
    assert math.isclose(times["to_decision_mean_h"], sum(decided) / len(decided) / 3600.0, abs_tol=1e-6)
    assert math.isclose(times["to_completion_mean_min"], sum(done) / len(done) / 60.0, abs_tol=1e-6)
    assert times["completed"] == len(done)
    assert same(times["within_standard_pct"], 100.0 * sum(t <= 900.0 for t in done) / len(done))
    automatic = sum(r.automatic for r in truth.rollbacks)
    assert same(times["automatic_pct"], 100.0 * automatic / len(truth.rollbacks))
    causes = {row["cause"]: row["rollbacks"] for row in told["causes"]["rows"]}
    assert causes == Counter(r.root_cause or "not known yet" for r in truth.rollbacks)
    assert told["learning"]["rows"][0]["published"] == sum(r.published for r in truth.rollbacks)
    assert told["learning"]["rows"][0]["judged_wrong"] == sum(r.right == "wrong" for r in truth.rollbacks)
    assert told["incidents"]["rows"][0]["incidents"] == len(truth.fired)


def test_the_journal_verifies_with_people_and_decisions(year: tuple[Path, YearTruth]) -> None:
    """Signed by device and people, also by him who left; every decision recomputes; nothing of it is a rehearsal."""
    path, truth = year
    compiled: dict[str, Any] = {}

    def rules(data: bytes, digest: str) -> Any:
        if digest not in compiled:
            compiled[digest] = parse_policy(data, "recorded.yaml").rules
        return compiled[digest]

    found = verify(path, recompute=Recomputation(rules))
    assert found.ok, found.problems
    assert not found.rehearsal
    entries = sqlite3.connect(path)
    count = dict(entries.execute("SELECT kind, count(*) FROM entries GROUP BY kind"))
    assert count["clock"] == truth.jumps
    assert count["drill"] == truth.drills
    assert count["merge"] == sum(r.kind == "emergency" for r in truth.rollbacks) == 1
    (by_him,) = entries.execute("SELECT count(*) FROM entries WHERE operator = ?", (truth.left,)).fetchone()
    assert by_him > 0
    (last_of_him,) = entries.execute("SELECT max(at) FROM entries WHERE operator = ?", (truth.left,)).fetchone()
    (roster,) = entries.execute(
        "SELECT at FROM entries WHERE kind = 'policy' AND json_extract(body, '$.what') = 'roster' ORDER BY seq DESC"
    ).fetchone()
    assert last_of_him < roster


def test_the_same_seed_gives_the_same_entries(tmp_path: Path) -> None:
    heads = []
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        write_year(tmp_path / name, seed, 8)
        heads.append(sqlite3.connect(tmp_path / name).execute("SELECT max(seq), hash FROM entries").fetchone())
    assert heads[0] == heads[1] != heads[2]

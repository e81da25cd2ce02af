"""The tables' machinery, on few streams: the promises that few streams can tell, and the page they are written into."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from quality import cost, page
from quality.cases import CASES, Case, summed
from quality.intervals import NEVER, Estimate, quantile
from quality.months import OURS, RIVALS, SIZES, Job, Month, judge

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def month() -> Month:
    return judge(Job("clean", 2_000.0, 1))


def test_a_clean_month_is_quiet_and_what_is_bad_is_seen_in_time(month: Month) -> None:
    assert month.false[OURS] == 0
    for size, most in ((0.30, 20.0), (0.60, 9.0)):
        assert quantile(month.delays[OURS, size], 0.5).value <= most
    assert set(month.false) == {OURS, *(rival.name for rival in RIVALS)}
    assert all(len(month.delays.get((OURS, size), [])) == 4 for size in SIZES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_case_keeps_its_promise_on_few_trials(name: str) -> None:
    found = [case for seed in range(3 if name == "outage" else 8) for case in CASES[name](seed)]
    assert summed(found).value <= page.PROMISED_CASES[name][1]


def test_a_promise_that_is_missed_reads_so(month: Month) -> None:
    assert not page.Target("x", Estimate(5.0, 4.0, 6.0, 9), 5.0).over
    late = page.Target("x", Estimate(NEVER, 4.0, NEVER, 9), 5.0, "min")
    assert late.over
    assert late.cells()[-1] == "OVER"
    assert "> a day" in page.target_table([late])
    wrong = Month(month.job, month.false | {OURS: 40}, month.delays)
    assert [target.over for target in page.targets([wrong], {"hovering": [Case("hovering", 9.0)]})][0::5] == [
        True,
        True,
    ]


def test_the_tables_name_every_rule_and_what_stands_behind_them(month: Month) -> None:
    false, delays = page.false_table([month]), page.delay_table([month], "clean")
    for rule in page.RULES:
        assert false.count(rule) == delays.count(rule) == 1
    assert "| months behind it | 1 |" in false


def test_a_block_is_replaced_between_its_markers_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    copy = tmp_path / "page.md"
    copy.write_text(text, encoding="utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    for block in ("tables", "anytime", "cost"):
        page.write(block, f"new {block}")
        page.write(block, f"newer {block}")
    after = copy.read_text(encoding="utf-8")
    assert [after.count(f"newer {block}") for block in ("tables", "anytime", "cost")] == [1, 1, 1]
    assert after.split("## Tables")[0] == text.split("## Tables")[0]
    with pytest.raises(ValueError, match="no block"):
        page.write("nothing", "x")


def test_the_command_measures_what_deciding_costs_and_says_so() -> None:
    command = [sys.executable, "-m", "tests.quality", "cost", "--quick"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert "memory a deployment" in done.stdout, done.stderr
    assert f"| {cost.FLEETS[1]:,} |" in done.stdout

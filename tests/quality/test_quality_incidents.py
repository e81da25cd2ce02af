"""A part of the benchmark of incidents on every run; the whole of it, and its tables, by `make campaign` or by hand."""

from __future__ import annotations

import os

import pytest

from quality.incident_worlds import KINDS, NOT_MILD, SCENARIOS, plan, tell
from quality.incidents import SEED, Judged, played, report, run

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
FEW = [(scenario, 77_000 + number, False) for number, (scenario, _) in enumerate(SCENARIOS) if number % 3 == 0]
MILD = [(scenario, 78_000 + number, True) for number, (scenario, _) in enumerate(SCENARIOS) if number % 4 == 1]


@pytest.fixture(scope="module")
def results() -> list[Judged]:
    if CAMPAIGN:
        return run(processes=2)
    return [result for chosen in FEW + MILD if not (chosen[2] and chosen[0] in NOT_MILD) for result in played(chosen)]


def test_no_more_than_one_advice_in_fifty_is_a_wrong_rollback(results: list[Judged]) -> None:
    wrong = [result for result in results if result.wrong]
    assert len(wrong) <= max(1, 0.02 * len(results)), [(r.scenario, r.seed, r.wrong, r.sentence) for r in wrong]


def test_nine_in_ten_are_advised_rightly(results: list[Judged]) -> None:
    right = [result for result in results if result.right_advice]
    assert len(right) >= 0.9 * len(results), [(r.scenario, r.seed, r.sentence) for r in results if r not in right]


def test_a_cause_is_one_incident_and_its_origin_is_named(results: list[Judged]) -> None:
    one = [result for result in results if result.one_incident]
    named = [result for result in results if result.right_origin]
    assert len(one) >= 0.93 * len(results), [
        (r.scenario, r.seed, r.incidents, r.merged) for r in results if r not in one
    ]
    assert len(named) >= 0.85 * len(results), [(r.scenario, r.seed, r.found) for r in results if r not in named]


def test_the_benchmark_holds_two_hundred_incidents_of_every_cause_and_its_report_counts_them(
    results: list[Judged],
) -> None:
    assert len(plan(SEED)) >= 200
    assert {cause.kind for chosen in FEW for cause in tell(*chosen).causes} == set(KINDS)
    text = report(results, SEED)
    assert f"of {len(results)}, " in text
    assert all(f"\n| {kind} |" in text for kind in KINDS)


def test_a_story_is_a_function_of_its_seed() -> None:
    one, two = (played((SCENARIOS[0][0], 91, True)) for _ in range(2))
    assert one == two
    assert one[0].found == "release"

"""What many drills say together: intervals against their definitions, and that a cheap run is the very same run."""

from __future__ import annotations

import asyncio
import gc
import math
import random
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.cli.drill_jobs import Task, play
from rollback_console.cli.drilling import collected_between, headless_drill, scratch
from rollback_console.journal.export import lines
from rollback_console.journal.store import Journal
from rollback_console.rehearse.montecarlo import Run, outcomes, quantile, share
from rollback_console.rehearse.scenario import find


def run_with(seed: int = 1, **more: object) -> Run:
    facts: dict[str, object] = {
        "klass": "release", "path": "version-rollback", "origin": "release", "held": True, "passed": True,
        "recovered_s": 240.0, "cost": 100.0,
    }  # fmt: skip
    return Run(seed=seed, **(facts | more))  # type: ignore[arg-type] # the defaults' types stand above


@pytest.mark.parametrize(
    ("held", "runs", "low", "high"),
    [  # R: prop.test(k, n, correct=FALSE)$conf.int
        (14, 15, 0.7018, 0.9881),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_a_share_has_wilsons_interval(held: int, runs: int, low: float, high: float) -> None:
    found = share(held, runs)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    assert found.share == held / runs


def test_nothing_tried_says_nothing() -> None:
    assert (share(0, 0).low, share(0, 0).high) == (0.0, 1.0)
    assert quantile([], 0.5) is None
    assert outcomes([]) == ()


@given(st.integers(1, 300), st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_wilson_solves_its_equation(runs: int, held: int) -> None:
    """Its bounds are where the share lies 1.96 standard errors *of the bound* away."""
    held = min(held, runs)
    found = share(held, runs)
    assert 0.0 <= found.low <= held / runs <= found.high <= 1.0
    for bound in (found.low, found.high):
        if 0.0 < bound < 1.0:
            away = abs(held / runs - bound) / math.sqrt(bound * (1 - bound) / runs)
            assert away == pytest.approx(1.959963984540054, abs=1e-6)


@pytest.mark.parametrize(
    ("count", "q", "low", "high"),
    [(15, 0.5, 4, 12), (10, 0.5, 2, 9), (100, 0.5, 40, 61), (5, 0.5, None, None), (100, 0.9, 84, 96)],
)
def test_a_quantile_lies_between_order_statistics(count: int, q: float, low: int | None, high: int | None) -> None:
    """Ranks as tabulated for 95 % (Conover, "Practical Nonparametric Statistics", table A3)."""
    values: list[float | None] = [float(k) for k in range(1, count + 1)]
    random.Random(count).shuffle(values)
    found = quantile(values, q)
    assert found is not None
    assert found.low == (-math.inf if low is None else low)
    assert found.high == (math.inf if high is None else high)
    assert found.value == math.ceil(q * count)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    draw, inside = random.Random(7), 0
    for _ in range(400):
        found = quantile([draw.expovariate(1.0) for _ in range(25)], 0.5)
        assert found is not None
        inside += found.low <= math.log(2.0) <= found.high
    assert 0.93 <= inside / 400 <= 1.0


def test_who_never_recovered_is_later_than_all_who_did() -> None:
    some = quantile([100.0, None, 50.0], 0.5)
    most = quantile([None, None, 50.0], 0.5)
    assert some is not None
    assert most is not None
    assert some.value == 100.0
    assert most.value == math.inf, "more than half never recovered: there is no median to tell"


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=80))
@settings(max_examples=60, deadline=None)
def test_a_median_is_a_run_that_took_place(values: list[float]) -> None:
    found = quantile(values, 0.5)
    assert found is not None
    assert found.value == statistics.median_low(values)
    assert found.low <= found.value <= found.high


def test_outcomes_stand_by_class_and_path_and_do_not_add_up_two_moneys() -> None:
    runs = [(run_with(k, recovered_s=60.0 * k, cost=10.0 * k), "USD") for k in range(1, 12)]
    runs.append((run_with(12, held=False, recovered_s=None, cost=500.0), "USD"))
    runs += [(run_with(1, klass="upstream", path="", origin="upstream", recovered_s=None), "EUR")]
    rollback, left = outcomes(runs)
    assert (rollback.klass, rollback.path, left.klass, left.path) == ("release", "version-rollback", "upstream", "")
    assert (rollback.success.held, rollback.success.runs) == (11, 12)
    assert rollback.recover_median is not None
    assert rollback.recover_median.value == 360.0
    assert rollback.recover_p90 is not None
    assert (rollback.recover_p90.value, rollback.recover_p90.high) == (660.0, math.inf)
    assert rollback.cost_p90 is not None
    assert (rollback.cost_p90.value, rollback.cost_unit) == (110.0, "USD")
    assert left.recover_median is None, "nothing was rolled back: there is no time to recover of a path"
    mixed = outcomes([(run_with(1), "USD"), (run_with(2), "EUR")])
    assert (mixed[0].cost_median, mixed[0].cost_unit) == (None, "")


# -- cheap, and the same ----------------------------------------------------------------------------------------------


def exported(path: Path) -> str:
    with Journal.open_read_only(path) as journal:
        return "".join(lines(journal.rows(), "jsonl"))


def test_a_run_among_many_is_the_drill_that_somebody_plays_alone(tmp_path: Path) -> None:
    """Among many a journal lies in memory and is not kept, the collector rests, and other drills were played before in
    the same process: the same score, and the same journal to the byte."""
    name, seed = "tracking-loss", 12
    slow, path = asyncio.run(headless_drill(find(name), "careless", seed, tmp_path / "alone.db"))
    with scratch() as folder:
        play(Task(0, "conversion-regression", "perfect", seed), folder)
        fast = play(Task(1, name, "careless", seed, keep=tmp_path / "kept"), folder)
        assert list(folder.iterdir()) == [], "nothing is left of a run"
    assert fast.result == slow
    assert not slow.passed, "or there would be no journal to compare"
    assert exported(Path(fast.journal)) == exported(path)


def test_a_problem_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    with scratch() as folder:
        missing = play(Task(0, "none", "perfect", 1), folder)
        (tmp_path / "bad.yaml").write_text("schema: rollback-console/policy/v1\n")
        bad = play(Task(1, "demo", "perfect", 1, policy=tmp_path / "bad.yaml"), folder)
    assert (missing.result, missing.exit_code) == (None, 2)
    assert "no scenario is called none" in missing.problem
    assert (bad.result, bad.exit_code) == (None, 2)
    assert "bad.yaml:1:1" in bad.problem


def test_the_collector_works_again_afterwards() -> None:
    assert gc.isenabled()
    with collected_between():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_scratch_folder_goes_with_what_is_in_it() -> None:
    with scratch() as folder:
        (folder / "0.db").write_text("x")
    assert not folder.exists()

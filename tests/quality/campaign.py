"""Which streams are drawn for which figure, and how they are spread over the processors."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from quality.cases import CASES, Case
from quality.months import Job, Month, judge
from quality.noises import NOISES

T = TypeVar("T")
R = TypeVar("R")
# (noises, visits a minute, months, months of the quick look)
PLAN = (
    (("clean", "mix"), 2_000.0, 36, 2),
    (tuple(noise for noise in NOISES if noise not in ("clean", "mix")), 2_000.0, 12, 2),
    (("clean", "mix"), 200.0, 18, 2),
    (("clean", "mix"), 20_000.0, 6, 1),
)
TRIALS = {  # jobs, and those of the quick look; a job of "outage" is 20 trials
    "outage": (25, 3),
    "half missing": (60, 6),
    "hovering": (30, 6),
    "business only": (60, 6),
    "tracking loss": (100, 6),
}


def months(quick: bool) -> list[Job]:
    """Every stream of the tables."""
    return [
        Job(noise, visits, seed)
        for noises, visits, many, few in PLAN
        for noise in noises
        for seed in range(few if quick else many)
    ]


def run_months(quick: bool, processes: int) -> list[Month]:
    return spread(judge, months(quick), processes, "months")


def run_cases(quick: bool, processes: int) -> dict[str, list[Case]]:
    jobs = [(name, seed) for name, (many, few) in TRIALS.items() for seed in range(few if quick else many)]
    found: dict[str, list[Case]] = {}
    for cases in spread(_case, jobs, processes, "trials"):
        for case in cases:
            found.setdefault(case.name, []).append(case)
    return found


def _case(job: tuple[str, int]) -> list[Case]:
    name, seed = job
    return CASES[name](seed)


def spread(work: Callable[[T], R], jobs: Iterable[T], processes: int, what: str) -> list[R]:
    """`work` of every job, in their order, at low priority, with a line of progress."""
    todo, began = list(jobs), time.monotonic()
    found: list[R] = []
    with multiprocessing.get_context("fork").Pool(processes, initializer=_yielding) as pool:
        for result in pool.imap(work, todo):
            found.append(result)
            if sys.stderr.isatty() or len(found) % max(1, len(todo) // 10) == 0:
                spent = time.monotonic() - began
                left = spent / len(found) * (len(todo) - len(found))
                done = f"{len(found)} of {len(todo)} {what}"
                print(f"  {done}, {spent:.0f} s, about {left:.0f} s left", file=sys.stderr, flush=True)
    return found


def _yielding() -> None:
    os.nice(10)

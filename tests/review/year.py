"""A year of a simulated team, as a journal: `python -m tests.review.year PATH [--seed N] [--days 400]`.

Twenty models of five teams, 800 releases, 60 rollbacks of every kind with known truth, drills, planned switches,
mistakes that were undone, two clock jumps, an operator who left, an emergency journal taken in; at its end an incident
is open. Written through the journal's own code, signed by device and people; every state is decided by the very
engine, so that panels, replays and recomputation work on it. The same seed gives the same file's entries, byte for
byte. The truth that was planted stands beside it (`PATH.truth.json`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the tests' own modules are

from review.year_scribe import Scribe
from review.year_story import HOUR_S, Act, Story, YearTruth, story
from review.year_world import START, SetClock, World

DAYS, SEED, SMALL = 400, 1, 60


def write_year(path: Path, seed: int = SEED, days: int = DAYS) -> YearTruth:
    """Write the journal (there must be none yet) and `PATH.truth.json`; returns what was planted."""
    plan = story(seed, days)
    truth = asyncio.run(_write(path, plan))
    path.with_name(f"{path.name}.truth.json").write_text(json.dumps(truth.document(), indent=1))
    return truth


async def _write(path: Path, plan: Story) -> YearTruth:
    clock = SetClock(START)
    scribe = Scribe(path, plan.truth.seed, clock, World(plan.truth.seed, plan.effects))
    scribe.roster(plan.people)
    await scribe.papers_in_force()
    scribe.known.pop("restart", None)
    try:
        for true, act in _in_order(plan):
            clock.true, clock.wall = true, plan.wall(true)
            if act is None:
                await scribe.evaluate(clock.wall, true, plan.version_at)
            else:
                act(scribe)
                if scribe.known.pop("restart", None):
                    await scribe.papers_in_force()
        plan.truth.ends = clock.wall
    finally:
        scribe.main.close()
    return plan.truth


def _in_order(plan: Story) -> Iterator[tuple[float, Act | None]]:
    """What people did and when the engine evaluated (None), by the true time. While an emergency journal stands in,
    only what belongs to it happens; the rest waits until it was taken in."""
    times = {START + number * HOUR_S for number in range(plan.days * 24 + 1)}
    for begin, end, step in plan.dense:
        times.update(begin + number * step for number in range(int((end - begin) / step) + 1))
    found: list[tuple[float, int, Act | None]] = [
        (at, 0, None) for at in times if START < at <= plan.end and not any(a <= at <= b for a, b in plan.pauses)
    ]
    for at, number, act, urgent in plan.acts:
        late = next((b + 1.0 for a, b in plan.pauses if a <= at <= b and not urgent), at)
        found.append((late, number, act))
    yield from ((at, act) for at, _, act in sorted(found, key=lambda each: each[:2]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.review.year", description="A simulated year as a journal.")
    parser.add_argument("path", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--days", type=int, default=DAYS)
    asked = parser.parse_args()
    began = time.monotonic()
    truth = write_year(asked.path, asked.seed, asked.days)
    took = time.monotonic() - began
    print(
        f"{asked.path}: {len(truth.deployments)} deployments, {len(truth.rollbacks)} rollbacks, "
        f"{len(truth.fired)} incidents, {truth.drills} drills in {asked.days} days; {took:.1f} s"
    )


if __name__ == "__main__":
    main()

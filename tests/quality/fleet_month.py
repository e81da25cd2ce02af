"""A thousand healthy deployments for thirty days against their rotation's weekly budget of false alarms.

`python -m tests.quality.fleet_month` draws every deployment with every noise at once (`noises.draw("mix")`), gives its
signal the share of the budget that `decide.budget` says, and runs the detector of `decide.evidence` over the very
baselines of `decide.baselines`, minute by minute: 43 million steps, some ten minutes of one core.

Two counts. *Full*: evidence reached its bar, which a person is told of; this is what the budget bounds. *Alone*: it
stayed full for `alone_hold_s`, after which the default trigger fires although nothing agrees.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that `quality` is one package, here and in tests

from quality import intervals, page
from quality.noises import DAY, MINUTE_S, START_S, degraded, draw
from quality.ours import UTC, Watch, rule_of
from rollback_console.decide.baselines import norm_of, rate_at
from rollback_console.decide.budget import Claim, Share, shares
from rollback_console.decide.detectability import detectability, in_words
from rollback_console.decide.evidence import EMPTY, advance
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Norm
from rollback_console.model.rules import EvidenceRule, Worse
from rollback_console.model.verdict import TriggerMemory

DEPLOYMENTS, PER_WEEK, DAYS, SEED = 1_000, 1.0, 30, 13
TIERS = ("critical", "high", "normal", "normal", "normal", "low")
APART = 120  # minutes without, between one false alarm and the next


@dataclass(frozen=True)
class Job:
    """One deployment of the fleet: its stream and what it was given."""

    number: int
    tier: str
    visits: float
    budget_s: float


@dataclass(frozen=True)
class Result:
    """What a healthy month of it came to. `words`: what its share can detect, by what it learned at the end."""

    job: Job
    full: int
    alone: int
    minutes: int
    words: str


class Swift(Watch):
    """A watch that asks for four rates an hour instead of sixty: between slots of the week they lie on straight
    lines."""

    def _hour(self, then: float, start: float) -> tuple[list[float], Norm]:
        profile, level = self._level(then)
        knots = (0.5, 29.5, 30.5, 59.5)
        rates = [rate_at(profile, level, UTC.position(start + knot * MINUTE_S) or 0.0) for knot in knots]
        judged = self.rule.signals[0].evidence or EvidenceRule()
        middle = UTC.position(start + 30.5 * MINUTE_S) or 0.0
        norm = norm_of(profile, level, self._noise(then), judged, Worse.LOWER, middle)[1]
        return np.interp(np.arange(60) + 0.5, knots, rates).tolist(), norm


def fleet(count: int, per_week: float, seed: int) -> list[Job]:
    """A rotation: `count` deployments, traffic from 50 to 20,000 visits a minute, tiers as fleets have them."""
    chance = random.Random(seed)
    claims = [
        Claim(
            DeploymentId("production", f"d{k:04d}"), "conversion", chance.choice(TIERS), 50.0 * 400.0 ** chance.random()
        )
        for k in range(count)
    ]
    given: tuple[Share, ...] = shares(per_week, claims)
    return [
        Job(seed * 10_000 + k, claim.tier, claim.trials or 0.0, share.budget_s)
        for k, (claim, share) in enumerate(zip(claims, given, strict=True))
    ]


def month(job: Job, days: int = DAYS, drop: float = 0.0) -> Result:
    """One stream under the detector, as the sampler and the judge drive it; healthy, or with `drop` of its conversions
    lost in the last six hours."""
    stream = draw("mix", job.visits, job.number, judged=days * DAY)
    if drop:
        stream = degraded(stream, len(stream) - 360, drop, length=360)
    rule, memory = EvidenceRule(budget_s=job.budget_s), EMPTY
    watch = Swift(stream)
    watch.rule = rule_of(alone=True, company=False, evidence=rule)
    x, n, seen = stream.x.tolist(), stream.n.tolist(), stream.seen.tolist()
    full: list[bool] = []
    alone: list[bool] = []
    frozen: float | None = None
    for i in range(stream.history, len(stream)):
        at = START_S + MINUTE_S * (i + 1)
        if seen[i] and n[i] > 0:
            p, norm = watch.norm(i)
            memory = advance(rule, Worse.LOWER, memory, at, x[i], n[i], p, norm)
            if memory.frozen_at != frozen:  # the baseline in use stays as it was while something is suspected
                frozen = memory.frozen_at
                watch.memory = TriggerMemory(evidence=(memory,))
        now = memory.full_since is not None and memory.at == at
        full.append(now)
        alone.append(now and at - (memory.full_since or at) >= rule.alone_hold_s)
    p, norm = watch.norm(len(stream) - 1)
    words = in_words(detectability(rule, Worse.LOWER, p, job.visits, norm, sizes=(0.6, 0.3, 0.1, 0.05)))
    return Result(job, _events(full), _events(alone), len(full), words)


def _events(flags: Sequence[bool]) -> int:
    last, count = -math.inf, 0
    for at, flag in enumerate(flags):
        if flag:
            count += at - last >= APART
            last = at
    return count


def run(
    count: int, per_week: float, seed: int, processes: int, days: int = DAYS, keep: Path | None = None
) -> list[Result]:
    """Judge `count` of the thousand. `keep`: a file of results that is added to one by one, and gone on from."""
    jobs = fleet(DEPLOYMENTS, per_week, seed)[:: max(1, DEPLOYMENTS // count)]
    out = [Result(Job(*row[:4]), *row[4:]) for row in _kept(keep)]
    done = {result.job for result in out}
    left = [job for job in jobs if job not in done]
    with ProcessPoolExecutor(processes) as pool:
        for result in pool.map(month, left, [days] * len(left)):
            out.append(result)
            if keep is not None:
                with keep.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([*astuple(result.job), *astuple(result)[1:]]) + "\n")
            if len(out) % 50 == 0:
                print(f"{len(out)} of {len(jobs)}", file=sys.stderr, flush=True)
    return out


def _kept(keep: Path | None) -> list[list[Any]]:
    if keep is None or not keep.exists():
        return []
    return [json.loads(line) for line in keep.read_text(encoding="utf-8").splitlines()]


def report(found: Sequence[Result], per_week: float) -> str:
    """What the docs say."""
    weeks = sum(result.minutes for result in found) / len(found) / (7 * DAY)
    scale = DEPLOYMENTS / len(found)
    rows = []
    for name, events in (
        ("evidence full", sum(r.full for r in found)),
        ("held alone for 30 min", sum(r.alone for r in found)),
    ):
        rate = intervals.rate(events, 1)
        per = scale / weeks
        rows.append(
            f"| {name} | {events} | {events * per:.2f} [{rate.low * per:.2f}, {rate.high * per:.2f}] | {per_week:g} |"
        )
    by_visits = sorted(found, key=lambda result: result.job.visits)
    examples = [by_visits[len(by_visits) * k // 10] for k in (1, 5, 9)]
    lines = [
        f"{len(found):,} healthy deployments, {weeks * 7:.0f} days each, 50 to 20,000 visits a minute, every noise at "
        f"once (mix), a budget of {per_week:g} false alarm a week for the whole rotation of {DEPLOYMENTS:,}.",
        "",
        "| | in all | a week, for the rotation (95 % interval) | budget |",
        "|---|---|---|---|",
        *rows,
        "",
        "What a share can still detect:",
        "",
        "| tier, visits a minute | one false alarm in | evidence full |",
        "|---|---|---|",
        *(
            f"| {r.job.tier}, {r.job.visits:,.0f} | {r.job.budget_s / (365.25 * 86_400):.1f} years | {r.words} |"
            for r in examples
        ),
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=DEPLOYMENTS, help="judge so many of the thousand")
    parser.add_argument("--per-week", type=float, default=PER_WEEK)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="a file of single results: added to, and gone on from")
    parser.add_argument("--write", action="store_true", help="put it into docs/decision-quality.md")
    args = parser.parse_args()
    found = run(args.count, args.per_week, args.seed, args.processes, keep=args.keep)
    text = report(found, args.per_week)
    print(text)
    for result in found:
        if result.full:
            print(f"{result.job}: full {result.full}, alone {result.alone}", file=sys.stderr)
    if args.write:
        page.write("fleet", text)
    return 1 if sum(r.full for r in found) / len(found) * DEPLOYMENTS > args.per_week * DAYS / 7 else 0


if __name__ == "__main__":
    sys.exit(main())

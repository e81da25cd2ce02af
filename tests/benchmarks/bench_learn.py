"""What a first start's baselines cost: reading five weeks of hours, learning them, and the same with a shelf.

`python tests/benchmarks/bench_learn.py [--quick]`. The backend is in the process, and what it takes to draw its answers
is not counted: what a Prometheus takes to find them, and HTTP and JSON, are `observe`'s figures.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from array import array
from operator import mul, truediv
from pathlib import Path
from statistics import median

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.figures import Figure, as_text

from rollback_console.clock import WallClock
from rollback_console.decide.baselines import Hours, learn
from rollback_console.decide.calendar import Calendar
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import BackendHealth, BackendState, Series
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    Or,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)

HOUR, DAY, WEEK = 3_600.0, 86_400.0, 604_800.0
AT = 1_763_942_400.0 + 2 * DAY + 15 * HOUR + 7 * 60  # a Wednesday
_PATTERNS = 64  # streams drawn; deployments take them in turn
_VISITS = 500.0


def rules(deployments: int, signals: int, *, bounds: bool = False) -> tuple[DeploymentRule, ...]:
    """A fleet whose signals are judged by evidence against a learned baseline of four weeks. `bounds`: each deployment
    has one by a plain bound beside them, and that of every twentieth is passed."""
    own = tuple(
        SignalRule(
            f"s{k}", f"Signal {k}", "business", Worse.LOWER if k % 2 else Worse.HIGHER, Breach(), 60.0,
            x=f"x{k}[1m]", n=f"n{k}[1m]", x_hour=f"x{k}[1h]", n_hour=f"n{k}[1h]",
            baseline=Baseline(BaselineKind.SEASONAL, history_s=28 * DAY), evidence=EvidenceRule(),
        )
        for k in range(signals)
    )  # fmt: skip
    if bounds:
        own += (
            SignalRule("latency", "Latency", "technical", Worse.HIGHER, Breach(above=5.0), 60.0, value="latency"),
        )  # fmt: skip
    trigger = TriggerRule(Or(tuple(Uses(each.name) for each in own)), "any", 300.0, 60.0, 3600.0, 300.0)
    return tuple(
        DeploymentRule(
            Deployment(DeploymentId("production", f"ranker-{k:04d}"), "high", f"ranker-{k:04d}", "champion",
                       (("deployment", f"ranker-{k:04d}"),), None),
            own, trigger, (), "bench", 1, "0" * 64,
        )
        for k in range(deployments)
    )  # fmt: skip


class Past:
    """A `MetricBackend` with five weeks of a daily shape, binomial noise and a rate that wanders by 1.5 % an hour."""

    def __init__(self, deployments: int, seed: int = 1) -> None:
        self._labels = [(("deployment", f"ranker-{k:04d}"),) for k in range(deployments)]
        draw = random.Random(seed)
        self._rates = [[draw.gauss(1.0, 0.015) for _ in range(997)] for _ in range(_PATTERNS)]
        self._noise = [[draw.gauss(0.0, 1.0) for _ in range(9973)] for _ in range(2)]
        self.points = 0
        self.seconds = 0.0  # spent here

    def value(self, promql: str, pattern: int, at: float, step: float) -> float:
        day = math.sin(2 * math.pi * at / DAY)
        n = _VISITS * step / 60.0 * (1.0 + 0.5 * day)
        number = int(at / step) + 31 * pattern + 7 * int(promql[1])
        n = round(n + math.sqrt(n) * self._noise[0][number % 9973])
        if promql[0] == "n":
            return float(n)
        mean = n * 0.03 * (1.0 + 0.1 * day) * self._rates[pattern][int(at / HOUR) % 997]
        return float(max(0, round(mean + math.sqrt(mean) * self._noise[1][number % 9973])))

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        return await self.query_range(promql, at, at, 1.0)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        began = time.process_time()
        times = [start + k * step for k in range(round((end - start) / step) + 1)]
        if promql == "latency":
            self.seconds += time.process_time() - began
            late = tuple((at, 9.0) for at in times), tuple((at, 1.0) for at in times)
            return tuple(Series(labels, late[k % 20 > 0]) for k, labels in enumerate(self._labels))
        patterns = [tuple((at, self.value(promql, pattern, at, step)) for at in times) for pattern in range(_PATTERNS)]
        found = tuple(Series(labels, patterns[k % _PATTERNS]) for k, labels in enumerate(self._labels))
        self.points += len(times) * len(found)
        self.seconds += time.process_time() - began
        return found

    def health(self) -> BackendHealth:
        return BackendHealth("prometheus", BackendState.OK, 0.0, None, "in process")

    async def close(self) -> None:
        return None


class Memory:
    """A shelf in memory: what it costs to keep, without a disk."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        return self.kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        self.kept[key] = data


async def _prepared(fleet: tuple[DeploymentRule, ...], past: Past, shelf: Memory | None) -> float:
    """Processor seconds that a book takes to be ready, the backend's own aside."""
    book, before = SeasonalBook(fleet, past, shelf), past.seconds
    began = time.process_time()
    await book.prepare(AT, AT - DAY / 2)
    spent = time.process_time() - began - (past.seconds - before)
    assert isinstance(book.norm(len(fleet) - 1, 0, AT), tuple)
    return spent


def _one(past: Past) -> tuple[float, float]:
    """(milliseconds to learn one signal from four weeks, the floor): medians, in turns. The floor is what any robust
    estimate does with so many hours: rates, their order, a weighted sum."""
    at, count = AT // DAY * DAY - HOUR, 672
    times = [at - k * HOUR for k in range(count, 0, -1)]
    columns = [
        (array("f", [past.value("x1", k, time, HOUR) for time in times]),
         array("f", [past.value("n1", k, time, HOUR) for time in times]))
        for k in range(20)
    ]  # fmt: skip
    ours, floors = [], []
    for x, n in columns * 5:
        began = time.process_time()
        learn(Hours(times[0], x, n), AT // DAY * DAY, 28 * DAY, Calendar())
        ours.append(time.process_time() - began)
        began = time.process_time()
        rates = list(map(truediv, x, n))
        median(rates)
        sorted(rates)
        sum(map(mul, rates, n))
        floors.append(time.process_time() - began)
    return 1e3 * median(ours), 1e3 * median(floors)


async def _shown(deployments: int, signals: int) -> tuple[float, float]:
    """Seconds from the start of an engine until plain bounds are shown, and until everything is known."""
    fleet = rules(deployments, signals, bounds=True)
    options = Options(step_s=15.0, delay_s=0.0, lookback_s=3_600.0)
    engine = Engine(fleet, Past(deployments), None, Fixed(AT), options)
    began, first = time.perf_counter(), math.inf
    starting = asyncio.create_task(engine.start())
    while not starting.done():
        await asyncio.sleep(0.005)
        if first == math.inf and engine.board.verdicts:
            first = time.perf_counter() - began
    await starting
    return first, time.perf_counter() - began


class Fixed(WallClock):
    """A clock that stands still and sleeps for real: what is measured is one start."""

    def __init__(self, at: float) -> None:
        self._at = at

    def now(self) -> float:
        return self._at


def learning(quick: bool) -> list[Figure]:
    """What it takes to learn a fleet of 1,000 x 6, first and again, and how long somebody waits for plain bounds."""
    deployments = 100 if quick else 1_000
    what = f"{deployments:,} x 6"
    past, shelf, fleet = Past(deployments), Memory(), rules(deployments, 6)
    one, floor = _one(past)
    first = asyncio.run(_prepared(fleet, past, shelf))
    again = asyncio.run(_prepared(fleet, past, shelf))
    bounds, all_of_it = asyncio.run(_shown(deployments, 6))
    return [
        Figure("learn", "a signal learned from four weeks of hours", one, "ms", 25.0, floor,
               "the same hours' rates, their order and a weighted sum"),
        Figure("learn", f"baselines of {what}, a first start: processor", first, "s",
               note=f"{past.points / 1e6:.0f} million points taken in, backend not counted"),
        Figure("learn", f"baselines of {what}, from the shelf: processor", again, "s", 0.25, first, "the first start",
               note=f"{sum(map(len, shelf.kept.values())) / 1e6:.0f} MB kept"),
        Figure("learn", f"{what} and a bound each, a first start: bounds shown", bounds, "s", 0.5, all_of_it,
               "until everything is known"),
    ]  # fmt: skip


if __name__ == "__main__":
    print(as_text(learning("--quick" in sys.argv)))

"""A fleet whose signals are judged by evidence, and a recording of everything that a book of baselines asks of it."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engine_tools import Flaky, fleet_rule, labelled

from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.model.observation import Norm, Series
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    SignalRule,
    Worse,
)

MONDAY = 1_763_942_400.0  # 2025-11-24 00:00 UTC
HOUR, DAY, WEEK = 3_600.0, 86_400.0, 604_800.0
Rate = Callable[[float], float]


def weighed(
    name: str = "conversion",
    baseline: Baseline | None = None,
    rule: EvidenceRule | None = None,
    worse: Worse = Worse.LOWER,
) -> SignalRule:
    """A signal judged by evidence, once a minute."""
    return SignalRule(
        name, name.capitalize(), "business", worse, Breach(), 60.0,
        x=f"x_{name}[1m]", n=f"n_{name}[1m]", x_hour=f"x_{name}[1h]", n_hour=f"n_{name}[1h]",
        baseline=baseline or Baseline(BaselineKind.SEASONAL, history_s=28 * DAY), evidence=rule or EvidenceRule(),
    )  # fmt: skip


def day_shape(at: float) -> float:
    """A rate of 3 % that swings by a tenth over the day."""
    return 0.03 * (1.0 + 0.1 * math.sin(2 * math.pi * at / DAY))


class Heard(Flaky):
    """A recording of which only what happened up to `until` is there."""

    def __init__(self, series: Mapping[str, Iterable[Series]], *, lookback_s: float) -> None:
        super().__init__(series, lookback_s=lookback_s)
        self.recorded, self.until = series, math.inf

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        if end > self.until:
            end = start + (self.until - start) // step * step
        return await super().query_range(promql, start, end, step)


@dataclass
class Recorded:
    """Minutes of a few deployments from `start` to `end`, and the hours they add up to."""

    start: float
    end: float
    signals: Sequence[SignalRule]
    deployments: Sequence[str] = ("d0", "d1")
    rate: Rate = day_shape
    visits: float = 500.0
    seed: int = 1
    rules: tuple[DeploymentRule, ...] = ()
    series: dict[str, list[Series]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rules = self.rules or tuple(
            fleet_rule(name, self.signals, serving=None) for name in self.deployments if name != "control"
        )
        draw = random.Random(self.seed)
        for signal in self.signals:
            for name in self.deployments:
                self._record(draw, signal, name)

    def _record(self, draw: random.Random, signal: SignalRule, name: str) -> None:
        hours_x: list[tuple[float, float]] = []
        hours_n: list[tuple[float, float]] = []
        minutes_x: list[tuple[float, float]] = []
        minutes_n: list[tuple[float, float]] = []
        at, x_hour, n_hour = self.start, 0.0, 0.0
        while at < self.end:
            n = round(draw.gauss(self.visits, math.sqrt(self.visits)))
            p = self.rate(at + 30)
            x = float(min(n, max(0, round(draw.gauss(n * p, math.sqrt(n * p * (1 - p)))))))
            at += 60.0
            minutes_x.append((at, x))
            minutes_n.append((at, float(n)))
            x_hour, n_hour = x_hour + x, n_hour + n
            if at % HOUR == 0.0:
                hours_x.append((at, x_hour))
                hours_n.append((at, n_hour))
                x_hour = n_hour = 0.0
        for promql, points in (
            (signal.x, minutes_x), (signal.n, minutes_n), (signal.x_hour, hours_x), (signal.n_hour, hours_n),
        ):  # fmt: skip
            self.series.setdefault(promql or "", []).append(labelled(promql or "", name, points))

    def metrics(self, until: float = math.inf) -> Heard:
        """A backend that has heard what happened up to `until`."""
        if self._whole is None or self._whole.recorded is not self.series:
            self._whole = Heard(self.series, lookback_s=15.0)
        found = copy.copy(self._whole)
        found.until, found.silent, found.ranges, found.asked = until, set(), [], []
        return found

    _whole: Heard | None = field(default=None, init=False)

    def book(self, until: float = math.inf, **more: object) -> SeasonalBook:
        return SeasonalBook(self.rules, self.metrics(until), **more)  # type: ignore[arg-type]


class MemoryShelf:
    """A shelf in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.gets = 0

    def get(self, key: str) -> bytes | None:
        self.gets += 1
        return self.kept.get(key)

    def put(self, key: str, data: bytes) -> None:
        self.kept[key] = data


async def told(book: SeasonalBook, at: float, frozen_at: float | None = None) -> tuple[float, Norm]:
    await book.prepare(at)
    found = book.norm(0, 0, at, frozen_at)
    assert isinstance(found, tuple), found
    return found

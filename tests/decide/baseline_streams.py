"""Streams that baselines are learned from, drawn with numpy: minutes of x out of n, and the hours they add up to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rollback_console.decide import baselines
from rollback_console.decide.baselines import Hours, Level, Profile, Windows
from rollback_console.decide.calendar import DAY_S, HOUR_S, WEEK_S, Calendar, anchor_of, hour_of, noise_anchor
from rollback_console.decide.dispersion import Block
from rollback_console.model.rules import Stretch

Floats = npt.NDArray[np.floating]
MONDAY = 1_767_571_200.0  # 2026-01-05 00:00 UTC
HISTORY_S = 28 * DAY_S
UTC = Calendar()


@dataclass(frozen=True)
class Minutes:
    """Minute i is [start + 60 i, start + 60 (i + 1))."""

    start: float
    x: Floats
    n: Floats

    @property
    def end(self) -> float:
        return self.start + 60.0 * len(self.x)

    def hours(self) -> Hours:
        whole = len(self.x) // 60 * 60
        x, n = (each[:whole].reshape(-1, 60).sum(axis=1) for each in (self.x, self.n))
        return Hours(self.start, x.tolist(), n.tolist())

    def windows(self, hour: float) -> Windows | None:
        k = round((hour - self.start) / 60.0)
        if k < 0 or k + 60 > len(self.x):
            return None
        return Windows(hour, 60.0, self.x[k : k + 60].tolist(), self.n[k : k + 60].tolist())

    def but(self, first: int, last: int, factor: float) -> Minutes:
        """The same with the events of minutes first to last times `factor`."""
        x = self.x.copy()
        x[first:last] = np.round(x[first:last] * factor)
        return Minutes(self.start, x, self.n)


def stream(
    days: float,
    *,
    rate: Callable[[Floats], Floats] | float = 0.03,
    visits: float | Callable[[Floats], Floats] = 2000.0,
    seed: int = 0,
    end: float = MONDAY + 2 * DAY_S,
    noise: Callable[[np.random.Generator, int], Floats] | None = None,
) -> Minutes:
    """`days` of binomial minutes up to `end`. `rate` and `visits`: numbers, or functions of Unix times."""
    rng = np.random.default_rng(seed)
    count = round(days * 1440)
    start = end - 60.0 * count
    times = start + 60.0 * np.arange(count) + 30.0
    p = rate(times) if callable(rate) else np.full(count, rate)
    if noise is not None:
        p = p * (1.0 + noise(rng, count))
    n = rng.poisson(visits(times) if callable(visits) else visits, count)
    return Minutes(start, rng.binomial(n, np.clip(p, 0, 1)).astype(float), n.astype(float))


def wandering(sd: float, tau: float = 30.0) -> Callable[[np.random.Generator, int], Floats]:
    """AR(1) noise of a rate: standard deviation and time constant in minutes."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        keep = math.exp(-1 / tau)
        walk, value = np.empty(count), rng.normal(0, sd)
        for k, shock in enumerate(rng.normal(0, sd * math.sqrt(1 - keep * keep), count).tolist()):
            value = keep * value + shock
            walk[k] = value
        return walk

    return draw


def week_shape(times: Floats) -> Floats:
    """A day that swings by 12 %, a week whose weekend is 6 % lower, and a Friday evening of its own."""
    day = 2 * np.pi * (times % DAY_S) / DAY_S
    weekday = ((times - MONDAY) // DAY_S) % 7
    hour = times % DAY_S // HOUR_S
    shape: Floats = (1 + 0.12 * np.sin(day)) * np.where(weekday >= 5, 0.94, 1.0)
    return shape * np.where((weekday == 4) & (hour >= 18), 1.15, 1.0)


def learned(
    hours: Hours, at: float, excluded: tuple[Stretch, ...] = (), calendar: Calendar = UTC, history_s: float = HISTORY_S
) -> tuple[Profile, Level]:
    """What is in force at `at`."""
    since = baselines.since_of(hours, hour_of(at), history_s)
    profile = baselines.learn(hours, anchor_of(at, since), history_s, calendar, excluded)
    assert profile is not None
    return profile, baselines.follow(profile, hours, at, calendar, excluded)


def short(minutes: Minutes, at: float, history_s: float = HISTORY_S) -> tuple[Block, ...]:
    """The noise of short blocks in force at `at`."""
    hours = minutes.hours()
    anchor, stretches = noise_anchor(at, baselines.since_of(hours, hour_of(at), history_s))
    found = [windows for hour in stretches if (windows := minutes.windows(hour)) is not None]
    return baselines.short_noise(hours, anchor, history_s, UTC, (), found)


__all__ = [
    "DAY_S", "HISTORY_S", "HOUR_S", "MONDAY", "UTC", "WEEK_S", "Minutes", "learned", "short", "stream", "wandering",
    "week_shape",
]  # fmt: skip

"""Single questions with an answer each: outages too short to act on, half of the minutes gone, a day at the edge, one
signal alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from quality.intervals import NEVER, Estimate, quantile, share
from quality.noises import DAY, Stream, degraded, draw, generator, without
from quality.ours import Watch

VISITS = 2000
JUDGED = 4 * DAY  # enough for a trial: the history before it is as long as ever


@dataclass(frozen=True)
class Case:
    """What one trial of a case found: a delay in minutes, a share of 0 or 1, or a count, as `name` says."""

    name: str
    value: float


def outage(seed: int, trials: int = 20) -> list[Case]:
    """An isolated outage of 2 to 3 min, -50 to -100 %, on a clean stream: does evidence fill within an hour (1) or not
    (0)."""
    stream = draw("clean", VISITS, seed, judged=JUDGED)
    rng = generator("outage", seed)
    starts = np.sort(rng.integers(stream.history + 60, len(stream) - 120, trials)).tolist()
    watch, at, found = Watch(stream), stream.history, []
    for start in starts:
        while at < start:
            watch.step(at)
            at += 1
        length, depth = int(rng.integers(2, 4)), float(rng.choice((1.0, rng.uniform(0.5, 1.0))))
        out = watch.fork(degraded(stream, start, depth, length=length, seed=seed))
        found.append(Case("outage", float(any(out.step(i) for i in range(start, start + 60)))))
    return found


def half_missing(seed: int) -> list[Case]:
    """Half of the minutes missing, all along; minutes until -30 % fires."""
    stream = without(draw("clean", VISITS, seed, judged=JUDGED), 0.5, seed)
    return [Case("half missing", _until(stream, 0.30, seed))]


def hovering(seed: int) -> list[Case]:
    """A day that stays at -10 %: how often the trigger goes from not fired to fired or back."""
    stream = draw("clean", VISITS, seed, judged=JUDGED)
    onset = stream.history + DAY
    stream = degraded(stream, onset, 0.10, seed=seed)
    watch = Watch(stream)
    states = []
    for i in range(stream.history, onset + DAY):
        watch.step(i)
        if i >= onset - 1:
            states.append(watch.fired)
    return [Case("hovering", float(sum(a != b for a, b in pairwise(states))))]


def business_only(seed: int) -> list[Case]:
    """Conversion at -30 %, errors and latency as ever: minutes until an automatic action may follow."""
    stream = draw("clean", VISITS, seed, judged=JUDGED)
    return [Case("business only", _until(stream, 0.30, seed, alone=False))]


def tracking_loss(seed: int) -> list[Case]:
    """20 min without a conversion reaching the counter, errors and latency as ever: acted on within three hours (1) or
    not (0)."""
    stream = draw("clean", VISITS, seed, judged=JUDGED)
    onset = stream.history + int(generator("tracking", seed).integers(60, 2 * DAY))
    depth = float(generator("depth", seed).uniform(0.6, 1.0))
    watch = Watch(degraded(stream, onset, depth, length=20, seed=seed), alone=False, company=True)
    for i in range(stream.history, onset):
        watch.step(i)
    return [Case("tracking loss", float(any(watch.step(i) or watch.fired for i in range(onset, onset + 180))))]


CASES = {"outage": outage, "half missing": half_missing, "hovering": hovering, "business only": business_only,
         "tracking loss": tracking_loss}  # fmt: skip


def _until(stream: Stream, size: float, seed: int, *, alone: bool = True) -> float:
    """Minutes from a random onset until it fires; NEVER where not within a day."""
    onset = stream.history + int(generator("onset", seed).integers(60, 2 * DAY))
    worse = degraded(stream, onset, size, seed=seed)
    watch = Watch(worse, alone=alone, company=not alone)
    for i in range(stream.history, onset):
        watch.step(i)
    for i in range(onset, onset + DAY):
        watch.step(i)
        if watch.fired:
            return float(i - onset + 1)
    return NEVER


def summed(found: list[Case]) -> Estimate:
    """Shares and counts by their mean, delays by their median."""
    values = [case.value for case in found]
    if found[0].name in ("outage", "tracking loss"):
        return share(int(sum(values)), len(values))
    if found[0].name == "hovering":
        mean = sum(values) / len(values)
        reach = 1.96 * float(np.std(values)) / len(values) ** 0.5
        return Estimate(mean, mean - reach, mean + reach, len(values))
    return quantile(values, 0.5)

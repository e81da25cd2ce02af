"""One healthy month of one stream, judged by every rule, and degradations put on at random times: what the tables
count."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from quality.intervals import NEVER, clusters
from quality.kayenta import kayenta
from quality.noises import DAY, Flags, Stream, degraded, draw, generator
from quality.ours import Watch
from quality.rivals import Expects, Facts, Rival, argo, cusum, ewma, facts_of, flagger, prometheus

SIZES = (0.05, 0.10, 0.30, 0.60)
ONSETS = 4  # a month
QUIET = 120  # minutes without an exceedance before an onset, or the trial does not count for that rule
OURS = "rollback-console, as it comes"
# EWMA and CUSUM: at their usual widths, and at those that give 0.2 false rollbacks in 30 clean days (by simulation).
RIVALS = (
    Rival("Prometheus, 60 min, `for` 10 min, on our baseline", prometheus(60, 10, Expects.LEARNED)),
    Rival("Prometheus, 60 min, `for` 10 min, the same hour a week before", prometheus(60, 10, Expects.WEEK)),
    Rival("Prometheus, 60 min, `for` 10 min, a fixed threshold", prometheus(60, 10, Expects.FLAT)),
    Rival("Argo Rollouts, 5 min, failureLimit 3, rollouts of 40 min", argo(40)),
    Rival("Argo Rollouts, 5 min, failureLimit 3, one run without an end", argo(None)),
    Rival("Flagger, 1 min, threshold 10, ten steps", flagger(1)),
    Rival("Kayenta, an hour at a time, with a control for nothing", kayenta),
    Rival("EWMA, weight 0.2, width 3 (usual)", ewma(0.2, 3.0)),
    Rival("EWMA, weight 0.2, width 4.25 (0.2 a month if clean)", ewma(0.2, 4.25)),
    Rival("CUSUM, slack 0.5, height 5 (usual)", cusum(0.5, 5.0)),
    Rival("CUSUM, slack 0.5, height 10 (0.2 a month if clean)", cusum(0.5, 10.0)),
)


@dataclass(frozen=True)
class Job:
    """One stream to judge. `rivals`: the others too, or ours alone."""

    noise: str
    visits: float
    seed: int
    rivals: bool = True


@dataclass
class Month:
    """What one stream gave: false rollbacks by rule, and by (rule, size) the minutes from onset to firing (NEVER: not
    within a day)."""

    job: Job
    false: dict[str, int] = field(default_factory=dict)
    delays: dict[tuple[str, float], list[float]] = field(default_factory=dict)


def judge(job: Job) -> Month:
    """Everything about one stream."""
    stream = draw(job.noise, job.visits, job.seed)
    found = Month(job)
    onsets = _onsets(stream, job)
    watch = Watch(stream)
    flags = np.zeros(len(stream), dtype=bool)
    trials: list[tuple[int, float, Stream]] = []
    for i in range(stream.history, len(stream)):
        if i in onsets:
            for size in SIZES:
                worse = degraded(stream, i, size, seed=job.seed)
                trials.append((i, size, worse))
                if not flags[i - QUIET : i].any():
                    found.delays.setdefault((OURS, size), []).append(_delay(watch.fork(worse), i))
        flags[i] = watch.step(i)
    found.false[OURS] = len(clusters(flags[stream.history :]))
    if job.rivals:
        _rivals(stream, facts_of(stream, watch.expected()), trials, found)
    return found


def _delay(watch: Watch, onset: int) -> float:
    """Minutes from onset to the end of the minute that fires."""
    for i in range(onset, onset + DAY):
        if watch.step(i):
            return float(i - onset + 1)
    return NEVER


def _rivals(stream: Stream, facts: Facts, trials: list[tuple[int, float, Stream]], found: Month) -> None:
    for rival in RIVALS:
        flags = np.zeros(len(stream), dtype=bool)
        flags[stream.history :] = rival.fired(stream, facts, stream.history, len(stream))
        found.false[rival.name] = len(clusters(flags[stream.history :]))
        for onset, size, worse in trials:
            if not flags[onset - QUIET : onset].any():
                found.delays.setdefault((rival.name, size), []).append(
                    first(rival.fired(worse, facts, onset, onset + DAY))
                )


def first(flags: Flags) -> float:
    """Minutes until the end of the first that fires."""
    at = np.flatnonzero(flags)
    return float(at[0] + 1) if len(at) else NEVER


def _onsets(stream: Stream, job: Job) -> set[int]:
    """Random minutes of the judged days, each with a whole day after it."""
    rng = generator("onsets", job.noise, job.visits, job.seed)
    return set(rng.integers(stream.history + QUIET, len(stream) - DAY, ONSETS).tolist())

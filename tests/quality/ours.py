"""Ours, minute by minute: the very code of `rollback_console.decide` on a stream, as the engine drives it.

A deployment with one signal, conversion, at every default, and the default trigger; `company` adds error rate and
latency, which are healthy throughout. What history tells is `decide.baselines`, asked as the sampler asks it; the
decision is `decide.judge.step`, which is `decide` but for the words.
"""

from __future__ import annotations

import math

import numpy as np

from quality.noises import MINUTE_S, START_S, Floats, Stream, generator
from rollback_console.decide.baselines import (
    Hours,
    Level,
    Profile,
    Windows,
    follow,
    learn,
    norm_of,
    rate_at,
    short_noise,
    since_of,
)
from rollback_console.decide.calendar import HOUR_S, Calendar, anchor_of, hour_of, noise_anchor
from rollback_console.decide.dispersion import Block
from rollback_console.decide.judge import FRESH, step
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Blind, Norm, Observation, Reading
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerMemory

HISTORY_S = 28 * 86_400.0  # what a seasonal baseline looks back on; the streams have half of it when they begin
UTC = Calendar()
WHO = DeploymentId("production", "ranker")
MISSING = Reading(blind=Blind.NO_DATA)
COMPANY = {"errors": 0.005, "latency": 0.05}  # their healthy rates: errors, and requests over the latency's target
COMPANY_NORM = Norm(0.02, (1.0,))


def rule_of(alone: bool, company: bool, evidence: EvidenceRule | None = None) -> DeploymentRule:
    """The deployment. `alone`: conversion is marked sufficient alone."""
    judged = evidence or EvidenceRule()
    seasonal = Baseline(BaselineKind.SEASONAL, history_s=HISTORY_S)
    signals = [
        SignalRule("conversion", "Conversion", "business", Worse.LOWER, Breach(), MINUTE_S, x="x", n="n",
                   baseline=seasonal, evidence=judged, sufficient_alone=alone)
    ]  # fmt: skip
    for name, rate in COMPANY.items() if company else ():
        fixed = Baseline(BaselineKind.FIXED, rate)
        signals.append(
            SignalRule(name, name, "technical", Worse.HIGHER, Breach(), MINUTE_S, x="x", n="n", baseline=fixed,
                       evidence=judged, sufficient_alone=True)
        )  # fmt: skip
    trigger = TriggerRule(Tiered(tuple(Uses(signal.name) for signal in signals)), "the tiered rule")
    who = Deployment(WHO, "high", "ranker", "champion", ())
    return DeploymentRule(who, tuple(signals), trigger, (), "quality", 1, "0" * 64)


class Watch:
    """One deployment under watch. Minutes are given in their order; `fork` goes on with another stream."""

    def __init__(self, stream: Stream, *, alone: bool = True, company: bool = False) -> None:
        self.rule = rule_of(alone, company)
        self.memory: TriggerMemory = FRESH
        self._profiles: dict[float, Profile] = {}
        self._levels: dict[float, tuple[Profile, Level]] = {}
        self._noises: dict[float, tuple[Block, ...]] = {}
        self._rates: dict[tuple[float, float], tuple[list[float], Norm]] = {}
        self._others = _company(stream) if company else ()
        self._take(stream)

    def _take(self, stream: Stream) -> None:
        self.stream = stream
        self._x, self._n, self._seen = stream.x.tolist(), stream.n.tolist(), stream.seen.tolist()
        self._hours = hours_of(stream)
        self._since = since_of(self._hours, START_S + MINUTE_S * stream.history, HISTORY_S)

    def fork(self, stream: Stream) -> Watch:
        """The same watch with another stream from here on; both have been the same until now."""
        other = Watch.__new__(Watch)
        other.rule, other.memory, other._others = self.rule, self.memory, self._others
        other._profiles, other._levels = dict(self._profiles), dict(self._levels)
        other._noises, other._rates = dict(self._noises), dict(self._rates)
        other._take(stream)
        return other

    @property
    def fired(self) -> bool:
        """Is the trigger fired: what an automatic action needs, and the screen shows."""
        return self.memory.fired_at is not None

    def step(self, i: int) -> bool:
        """Judge minute i. True: fired, with conversion beyond its bar in this very minute."""
        at = START_S + MINUTE_S * (i + 1)
        reading = MISSING
        if self._seen[i] and self._n[i] > 0:
            x, n = self._x[i], self._n[i]
            p, norm = self.norm(i)
            reading = Reading(x / n, p, n, x=x, norm=norm)
        others = tuple(Reading(each[i] / self._n[i], None, self._n[i], x=each[i], norm=COMPANY_NORM)
                       if self._n[i] > 0 else MISSING for each in self._others)  # fmt: skip
        done = step(self.rule, Observation(WHO, at, (reading, *others), "v8"), self.memory)
        self.memory = done.memory
        return done.memory.fired_at is not None and done.signals[0].breached is True

    def norm(self, i: int) -> tuple[float, Norm]:
        """The baseline and the norm of minute i, frozen while a degradation is suspected."""
        at = START_S + MINUTE_S * (i + 1)
        known = self.memory.evidence[0] if self.memory.evidence else None
        frozen = known.frozen_at if known is not None else None
        start = hour_of(at - MINUTE_S / 2)  # of the minute, not of its end: an hour's last minute is not the next one's
        then = start if frozen is None else hour_of(frozen - MINUTE_S / 2)
        rates = self._rates.get((then, start))
        if rates is None:
            rates = self._rates[then, start] = self._hour(then, start)
        return rates[0][round((at - start) / MINUTE_S) - 1], rates[1]

    def _hour(self, then: float, start: float) -> tuple[list[float], Norm]:
        """The baselines of the minutes of the hour from `start` on, as known at `then`, and the norm of its middle."""
        profile, level = self._level(then)
        positions = [UTC.position(start + (k + 0.5) * MINUTE_S) for k in range(60)]
        known = [position for position in positions if position is not None]  # all of them: no holidays here
        judged = self.rule.signals[0].evidence or EvidenceRule()
        norm = norm_of(profile, level, self._noise(then), judged, Worse.LOWER, known[30])[1]
        return [rate_at(profile, level, position) for position in known], norm

    def _level(self, at: float) -> tuple[Profile, Level]:
        hour = hour_of(at)
        known = self._levels.get(hour)
        if known is None:
            anchor = anchor_of(at, self._since)
            profile = self._profiles.get(anchor)
            if profile is None:
                found = learn(self._hours, anchor, HISTORY_S, UTC)
                assert found is not None  # streams begin with history
                profile = self._profiles[anchor] = found
            known = self._levels[hour] = (profile, follow(profile, self._hours, hour, UTC))
        return known

    def _noise(self, at: float) -> tuple[Block, ...]:
        anchor, starts = noise_anchor(at, self._since)
        noise = self._noises.get(anchor)
        if noise is None:
            windows = [self._windows(start) for start in starts]
            noise = self._noises[anchor] = short_noise(self._hours, anchor, HISTORY_S, UTC, (), windows)
        return noise

    def _windows(self, start: float) -> Windows:
        i = round((start - START_S) / MINUTE_S)
        part = slice(i, i + round(HOUR_S / MINUTE_S))
        seen = self.stream.seen[part]
        x = np.where(seen, self.stream.x[part], math.nan)
        n = np.where(seen, self.stream.n[part], math.nan)
        return Windows(start, MINUTE_S, x.tolist(), n.tolist())

    def expected(self) -> Floats:
        """The baseline of every minute of the stream by what was known in its hour, the history's by the first
        profile."""
        rates: list[float] = []
        began = START_S + MINUTE_S * self.stream.history
        for k in range(len(self.stream) // 60):
            start = START_S + HOUR_S * k
            known = self._rates.get((start, start)) or self._hour(max(start, began), start)
            rates += known[0]
        return np.array(rates)


def hours_of(stream: Stream) -> Hours:
    """Hourly sums of the minutes that were seen; an hour without any is unknown."""
    count = len(stream) // 60
    seen = stream.seen[: count * 60].reshape(count, 60)
    x = (stream.x[: count * 60].reshape(count, 60) * seen).sum(axis=1)
    n = (stream.n[: count * 60].reshape(count, 60) * seen).sum(axis=1)
    known = seen.any(axis=1)
    return Hours(START_S, np.where(known, x, math.nan).tolist(), np.where(known, n, math.nan).tolist())


def _company(stream: Stream) -> tuple[list[float], ...]:
    """Healthy errors and slow requests of the same traffic."""
    n = stream.n.astype(np.int64)
    return tuple(
        generator("company", name, float(stream.x.sum())).binomial(n, rate).astype(float).tolist()
        for name, rate in COMPANY.items()
    )

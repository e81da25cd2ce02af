"""``python -m tests.quality gauges``: a gauge judged by rank, on noise that resembles itself: false alarms and delay.

A gauge is a level with a daily swing of a quarter, times AR(1) noise: a tenth, whose values resemble each other for
`tau` minutes; *wandering*: on top of that 5 % by which days differ. It is judged as the engine judges it: the very
code of `rollback_console.decide`, bands and noise learned from the hours before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from quality.intervals import Estimate, clusters, quantile, rate
from quality.noises import DAY, HISTORY, JUDGED, MINUTE_S, START_S, Flags, Floats, generator
from rollback_console.decide import gauges
from rollback_console.decide.baselines import Level, Profile, follow, learn, short_noise
from rollback_console.decide.calendar import HOUR_S, SLOTS, Calendar, anchor_of, hour_of, lessons, noise_anchor
from rollback_console.decide.dispersion import Block
from rollback_console.decide.gauges import Bands, Noise, Samples
from rollback_console.decide.judge import FRESH, step
from rollback_console.decide.ranks import GAUGE_SHARE, SELDOM
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.observation import Norm, Observation, Reading
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    SignalKind,
    SignalRule,
    Tiered,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.verdict import TriggerMemory

UTC = Calendar()
HISTORY_S = 28 * 86_400.0
EVERY = 15  # minutes between two samples of history
SPREAD = 0.1
NOISES = ("independent", "tau 10 min", "tau 30 min", "tau 2 h", "wandering")
_TAU = {"independent": 0.0, "tau 10 min": 10.0, "tau 30 min": 30.0, "tau 2 h": 120.0, "wandering": 30.0}
BUDGET = 30.0 / 90.0  # false alarms in 30 days: the default budget
SIZES = (0.2, 0.5, 1.0)  # by how much it rises; two, four and seven standard deviations of its noise
SIGNAL = SignalRule(
    "depth", "Queue depth", "technical", Worse.HIGHER, Breach(), MINUTE_S, value="depth", kind=SignalKind.GAUGE,
    baseline=Baseline(BaselineKind.SEASONAL, history_s=HISTORY_S), evidence=EvidenceRule(), sufficient_alone=True,
)  # fmt: skip
WHO = DeploymentId("production", "ranker")
RULE = DeploymentRule(
    Deployment(WHO, "high", "ranker", "champion", ()), (SIGNAL,),
    TriggerRule(Tiered((Uses(SIGNAL.name),)), "the tiered rule"), (), "quality", 1, "0" * 64,
)  # fmt: skip


def draw(noise: str, seed: int, length: int = HISTORY + JUDGED) -> Floats:
    """A healthy gauge, minute by minute from START_S on."""
    rng = generator("gauge", noise, seed)
    level = 20.0 * (1.0 + 0.25 * np.sin(2 * math.pi * (np.arange(length) / DAY + rng.uniform())))
    log_level = _ar1(rng, length, SPREAD, _TAU[noise])
    if noise == "wandering":
        days = rng.normal(0.0, 0.05, length // DAY + 1)
        log_level += np.repeat(days, DAY)[:length]
    return level * np.exp(log_level)


def _ar1(rng: np.random.Generator, length: int, spread: float, tau: float) -> Floats:
    white = rng.normal(0.0, spread, length)
    if tau <= 0.0:
        return white
    keep = math.exp(-1.0 / tau)
    white *= math.sqrt(1.0 - keep * keep)
    found, value = [], float(rng.normal(0.0, spread))
    for each in white.tolist():
        value = keep * value + each
        found.append(value)
    return np.array(found)


class GaugeWatch:
    """A gauge under watch, minute by minute."""

    def __init__(self, values: Floats) -> None:
        self.memory: TriggerMemory = FRESH
        self._values: list[float] = values.tolist()
        self._samples = Samples(START_S, EVERY * MINUTE_S, self._values[EVERY - 1 :: EVERY])
        self._bands: dict[tuple[float, float], Bands | None] = {}
        self._hours: dict[tuple[float, float], gauges.Hours | None] = {}
        self._profiles: dict[tuple[float, float], Profile | None] = {}
        self._noises: dict[float, tuple[Block, ...]] = {}
        self._norms: dict[tuple[float, float], tuple[float, Norm] | None] = {}
        self._since = START_S

    def begin(self, values: Floats) -> None:
        """Go on with other values; those before now are the same."""
        self._values = values.tolist()

    def step(self, i: int) -> bool:
        """Judge minute i. True: fired."""
        at = START_S + MINUTE_S * (i + 1)
        own = self.memory.evidence[0] if self.memory.evidence else None
        frozen = own.frozen_at if own is not None and own.frozen_at is not None else at
        key = (hour_of(at), hour_of(frozen))
        if key not in self._norms:
            self._norms[key] = self._norm(*key)
        found = self._norms[key]
        reading = Reading(self._values[i])
        if found is not None:
            reading = Reading(self._values[i], found[0], norm=found[1])
        self.memory = step(RULE, Observation(WHO, at, (reading,)), self.memory).memory
        return self.memory.fired_at is not None

    def _norm(self, hour: float, known: float) -> tuple[float, Norm] | None:
        anchor = anchor_of(known, self._since)
        profile, often = self._profile(anchor, SELDOM), self._profile(anchor, GAUGE_SHARE)
        bands, hours = self._bands[anchor, SELDOM], self._counted(anchor, SELDOM)
        position = UTC.position(hour + HOUR_S / 2)
        if profile is None or often is None or bands is None or hours is None or position is None:
            return None
        level: Level = follow(profile, hours, known, UTC)
        usual = gauges.usual_share(hours, bands.end)
        noise = Noise(self._noise(known), often.long, often.per_minute, often.slow)
        share, norm = gauges.share_and_norm(
            profile, level, noise, EvidenceRule(), position, usual, bands.pool, MINUTE_S
        )
        slot = round(position) % SLOTS
        return bands.middles[slot], replace(norm, bound=bands.bound(slot), share=share)

    def _profile(self, anchor: float, share: float) -> Profile | None:
        if (anchor, share) not in self._profiles:
            found = self._counted(anchor, share)
            self._profiles[anchor, share] = None if found is None else learn(found, anchor, HISTORY_S, UTC)
        return self._profiles[anchor, share]

    def _counted(self, anchor: float, share: float) -> gauges.Hours | None:
        if (anchor, share) not in self._hours:
            found = gauges.bands(self._samples, anchor, HISTORY_S, UTC, (), Worse.HIGHER, share=share)
            self._bands[anchor, share] = found
            self._hours[anchor, share] = (
                None if found is None else gauges.hours_of(self._samples, found, UTC, (), Worse.HIGHER)
            )
        return self._hours[anchor, share]

    def _noise(self, known: float) -> tuple[Block, ...]:
        anchor, starts = noise_anchor(known, self._since)
        if anchor not in self._noises:
            hours = self._counted(anchor, GAUGE_SHARE)
            bands = self._bands[anchor, GAUGE_SHARE]
            blocks: tuple[Block, ...] = ()
            if hours is not None and bands is not None:
                windows = []
                for start in starts:
                    i = round((start - START_S) / MINUTE_S)
                    slot = lessons(UTC, (), start, 1)[0]
                    windows.append(
                        gauges.windows_of(self._values[i : i + 60], start, MINUTE_S, bands, slot, Worse.HIGHER)
                    )
                blocks = short_noise(hours, anchor, HISTORY_S, UTC, (), windows)
            self._noises[anchor] = blocks
        return self._noises[anchor]


@dataclass(frozen=True)
class GaugeMonth:
    """One stream: when it fired in vain (minutes), and minutes to fire after a rise of each size at a random time."""

    noise: str
    fires: tuple[int, ...]
    delays: tuple[float, ...]


def judge(job: tuple[str, int, int]) -> GaugeMonth:
    """A healthy month, and rises of each size that begin at one random minute of it. `job`: noise, seed, minutes."""
    noise, seed, judged = job
    values = draw(noise, seed, HISTORY + judged)
    rng = generator("gauge rises", noise, seed)
    rises = HISTORY + int(rng.integers(judged // 4, judged // 2))
    watch, fired, delays = GaugeWatch(values), np.zeros(judged, dtype=bool), []
    for i in range(HISTORY, HISTORY + judged):
        if i == rises:
            delays = [_delay(watch, values, rises, size) for size in SIZES]
        fired[i - HISTORY] = watch.step(i)
    return GaugeMonth(noise, tuple(clusters(_begins(fired))), tuple(delays))


def _begins(fired: Flags) -> Flags:
    return fired & ~np.concatenate(([False], fired[:-1]))


def _delay(watch: GaugeWatch, values: Floats, rises: int, size: float) -> float:
    """Minutes until it fires for a rise; infinite where that takes more than a day."""
    other = GaugeWatch.__new__(GaugeWatch)
    other.__dict__ = dict(watch.__dict__)
    other._norms = dict(watch._norms)
    risen = values.copy()
    risen[rises:] *= 1.0 + size
    other.begin(risen)
    other._samples = Samples(START_S, EVERY * MINUTE_S, other._values[EVERY - 1 :: EVERY])
    other._hours, other._profiles, other._bands = {}, {}, {}
    if other.memory.fired_at is not None:
        return math.nan  # it had fired in vain just then
    for i in range(rises, min(rises + DAY, len(values))):
        if other.step(i):
            return float(i + 1 - rises)
    return math.inf


def missed(months: Sequence[GaugeMonth]) -> list[str]:
    """The noises on which false alarms are more, beyond chance, than the budget of one in 90 days."""
    noises = dict.fromkeys(month.noise for month in months)
    return [f"gauges: {noise}" for noise in noises if _alarms(months, noise).low > BUDGET]


def _alarms(months: Sequence[GaugeMonth], noise: str) -> Estimate:
    own = [month for month in months if month.noise == noise]
    return rate(sum(len(month.fires) for month in own), len(own))


def table(months: Sequence[GaugeMonth]) -> str:
    """False alarms in 30 healthy days, and minutes to fire (median / 95th percentile), by noise, as markdown."""
    heads = " | ".join(f"+{size:.0%}" for size in SIZES)
    rows = [f"| noise | false alarms in 30 days (95 % interval) | {heads} |", "|---|---:" + "|---:" * len(SIZES) + "|"]
    for noise in dict.fromkeys(month.noise for month in months):
        own = [month for month in months if month.noise == noise]
        alarms = _alarms(months, noise)
        cells = [_cell([month.delays[k] for month in own if month.delays]) for k in range(len(SIZES))]
        rows.append(
            f"| {noise} | {alarms.value:.2f} ({alarms.low:.2f} to {alarms.high:.2f}), {len(own)} streams | "
            f"{' | '.join(cells)} |"
        )
    return "\n".join(rows)


def _cell(delays: Sequence[float]) -> str:
    known = [each for each in delays if each == each]
    if not known:
        return "–"
    middle, late = (quantile(known, share).value for share in (0.5, 0.95))
    return " / ".join("not in a day" if math.isinf(each) else f"{each:.0f}" for each in (middle, late))


def jobs(quick: bool) -> list[tuple[str, int, int]]:
    """Every stream of the table."""
    return [(noise, seed, JUDGED) for noise in NOISES for seed in range(2 if quick else 8)]

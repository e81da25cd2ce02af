"""Places whose counts are not asked but derived: a gauge's samples beyond its bound, orders above the usual one.

What they are counted against is itself learned, at the very anchor at which the baseline of the counts is, and from the
same history: it hangs on nothing but the backend's data and fixed times, like everything in the book.
"""

from __future__ import annotations

from array import array
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from math import inf, nan
from typing import TypeVar

from rollback_console.decide import gauges
from rollback_console.decide.baselines import Hours, Level, Profile, learn
from rollback_console.decide.baselines import Windows as Counted
from rollback_console.decide.calendar import HOUR_S, LAG_S, SLOTS, lessons
from rollback_console.decide.dispersion import Block
from rollback_console.decide.gauges import Bands, Noise, Samples
from rollback_console.decide.ranks import GAUGE_SHARE, SELDOM
from rollback_console.engine.beside import asked_beside, beside_of
from rollback_console.engine.hourbook import BesideColumn, BucketColumn, Column, Trailing, Windows
from rollback_console.engine.places import Place
from rollback_console.engine.shelf import key_of
from rollback_console.model.observation import Norm
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    DeploymentRule,
    EvidenceRule,
    SignalKind,
    SignalRule,
    Worse,
)

_EVERY_S = (900.0, 1_800.0, 3_600.0)  # a gauge's history is sampled at the first that is no shorter than its window
K = TypeVar("K")
T = TypeVar("T")
_KEPT = 12  # anchors whose counts are kept
_VERSION_SAMPLES = 96  # behind the bound of another version (`engine.versions`)


def place_of(
    index: int, of: DeploymentRule, signal: SignalRule, columns: MutableMapping[Trailing, Column]
) -> Place | None:
    """The place of a signal whose counts are derived; None where nothing is learned of it. What it reads is entered
    among the book's `columns`."""
    if signal.evidence is None or signal.baseline is None:
        return None
    if signal.kind is SignalKind.GAUGE and signal.value is not None:
        step = next((each for each in _EVERY_S if each >= signal.window_s), HOUR_S)
        samples = columns.setdefault((signal.value, -step), Column(signal.value, step=step))
        samples.scope.add(index)
        beside = _beside(index, of, signal, columns, step)
        if beside is None:
            return RankedPlace(index, of, signal, signal.baseline, signal.evidence, samples)
        return RankedPlace(index, of, signal, signal.baseline, signal.evidence, samples, beside)
    if signal.kind is SignalKind.VALUE and signal.buckets_hour is not None:
        key = (signal.buckets_hour, 0.0)
        known = columns.get(key)
        buckets = known if isinstance(known, BucketColumn) else BucketColumn(signal.buckets_hour)
        columns[key] = buckets
        buckets.scope.add(index)
        return ValuePlace(index, of, signal, signal.baseline, signal.evidence, buckets)
    return None


def _beside(
    index: int, of: DeploymentRule, signal: SignalRule, columns: MutableMapping[Trailing, Column], step: float
) -> Column | None:
    """The column of a gauge's control; None where it has none."""
    if signal.baseline is None or signal.baseline.kind is not BaselineKind.CONTROL or signal.baseline.control is None:
        return None
    control = beside_of(of, signal.baseline.control)
    promql = asked_beside(signal.value or "", of, control) + " "  # the same query may be asked of the deployments too
    known = columns.get((promql, -step))
    column = known if isinstance(known, BesideColumn) else BesideColumn(promql, step)
    columns[promql, -step] = column
    column.enter(index, control)
    return column


class RankedPlace(Place):
    """A gauge: one sample an evaluation, beyond its bound or not (`decide.gauges`). Where a control runs beside it,
    what is learned is how far the two lie apart: what both share cancels, and that one always runs hotter is no news.
    """

    __slots__ = ("_bands", "_hours", "_noises")

    def __init__(
        self, index: int, of: DeploymentRule, signal: SignalRule, baseline: Baseline, rule: EvidenceRule,
        samples: Column, beside: Column | None = None,
    ) -> None:  # fmt: skip
        super().__init__(index, of, signal, baseline, rule, samples, samples)
        self.columns = (samples,) if beside is None else (samples, beside)
        self.worse = Worse.HIGHER
        self.queries = (
            ((signal.value or "", 0.0),)
            if beside is None
            else (
                (signal.value or "", 0.0),
                (beside.promql, 0.0),
            )
        )
        if beside is not None:
            self.name = key_of(self.name, beside.promql, baseline.control or "")
        self._bands: dict[tuple[float, float], tuple[float, Bands | None]] = {}
        self._hours: dict[tuple[float, float], tuple[tuple[float, float], Hours | None]] = {}
        self._noises: dict[float, tuple[float, Profile | None]] = {}

    @property
    def _fixed(self) -> float | None:
        return self.baseline.value if self.baseline.kind is BaselineKind.FIXED else None

    def _samples(self) -> Samples | None:
        values = self.x.values.get(self.index)
        if values is None or len(self.columns) == 1:
            return None if values is None else Samples(self.x.first, self.x.step, values)
        other = self.columns[1].values.get(self.index)
        if other is None:
            return None
        start = max(self.x.first, self.columns[1].first)
        own, others = (
            each[round((start - column.first) / column.step) :]
            for each, column in zip((values, other), self.columns, strict=True)
        )
        return Samples(start, self.x.step, array("f", map(gauges.apart, own, others)))

    def bands(self, anchor: float, share: float = SELDOM) -> Bands | None:
        """What `share` of the history before `anchor` passed."""
        known = self._bands.get((anchor, share))
        if known is None or known[0] != self.read_from:
            samples = self._samples()
            found = None
            if samples is not None:
                found = gauges.bands(
                    samples, anchor, self.history_s, self.calendar, self.baseline.exclude, self.signal.worse,
                    share=share, weekly=self.baseline.kind is BaselineKind.LAST_WEEK,
                )  # fmt: skip
            if anchor - LAG_S > self.read_until:
                return found  # some of its history is not read yet
            known = self._bands[anchor, share] = (self.read_from, found)
            _forget(self._bands)
        return known[1]

    def trials(self) -> Hours | None:
        samples = self._samples()
        if samples is None:
            return None
        per_hour = samples.per_hour
        seen = array("f")
        for k in range(len(samples.values) // per_hour):
            count = sum(value == value for value in samples.values[k * per_hour : (k + 1) * per_hour])
            seen.append(count or nan)
        return Hours(samples.start, seen, seen)

    def hours(self, anchor: float) -> Hours | None:
        return self._counted(anchor, SELDOM)

    def noisy(self, anchor: float) -> Hours | None:
        return self._counted(anchor, GAUGE_SHARE)

    def _counted(self, anchor: float, share: float) -> Hours | None:
        known, read = self._hours.get((anchor, share)), (self.read_from, self.read_until)
        if known is None or known[0] != read:
            samples, found = self._samples(), self.bands(anchor, share)
            kept = None
            if samples is not None and found is not None:
                fixed = self._fixed if share == SELDOM else None
                kept = gauges.hours_of(
                    samples, found, self.calendar, self.baseline.exclude, self.signal.worse, fixed
                )  # fmt: skip
            known = self._hours[anchor, share] = (read, kept)
            _forget(self._hours)
        return known[1]

    def windows(self, read: Windows, hour: float, anchor: float) -> Counted | None:
        step = self.signal.window_s
        seen = [read.of(query, step, hour, self.index) for query in self.queries]
        values, found = seen[0], self.bands(anchor, GAUGE_SHARE)
        if values is None or found is None:
            return None
        if len(seen) > 1:
            if seen[1] is None:
                return None
            values = list(map(gauges.apart, values, seen[1]))
        slot = lessons(self.calendar, self.baseline.exclude, hour, 1)[0]
        return gauges.windows_of(values, hour, step, found, slot, self.signal.worse)

    def _noise(self, anchor: float, short: Sequence[Block]) -> Noise:
        """How it resembles itself, as the history before `anchor` has it."""
        known = self._noises.get(anchor)
        if known is None or known[0] != self.read_from:
            kept = self.noisy(anchor)
            found = None
            if kept is not None:
                found = learn(kept, anchor, self.history_s, self.calendar, self.baseline.exclude)
            known = (self.read_from, found)
            if anchor - LAG_S <= self.read_until:
                self._noises[anchor] = known
                _forget(self._noises)
        profile = known[1]
        if profile is None:
            return Noise(short, (), 0.0, 0.0)
        return Noise(short, profile.long, profile.per_minute, profile.slow)

    def norm_of(
        self, profile: Profile, level: Level, short: Sequence[Block], rule: EvidenceRule, hour: float, position: float
    ) -> tuple[float | None, Norm] | None:
        """The gauge's median, and a norm with its bound and the share beyond."""
        found, window = self.bands(profile.anchor), self.signal.window_s
        kept = self.hours(profile.anchor)
        if found is None or kept is None:
            return None
        slot, noise = round(position) % SLOTS, self._noise(profile.anchor, short)
        kind = self.baseline.kind
        if kind in (BaselineKind.FIXED, BaselineKind.VERSION):
            samples = _VERSION_SAMPLES if kind is BaselineKind.VERSION else 0
            norm = gauges.norm_at(noise, rule, SELDOM, samples, window)
            return found.middles[slot], replace(norm, bound=self._fixed, share=SELDOM)
        usual = gauges.usual_share(kept, found.end)
        share, norm = gauges.share_and_norm(profile, level, noise, rule, position, usual, found.pool, window)
        return found.middles[slot], replace(norm, bound=found.bound(slot), share=share)


class ValuePlace(Place):
    """Orders above the usual one: the bucket's bound that is nearest to the median of the history."""

    __slots__ = ("_buckets", "_targets")

    def __init__(
        self, index: int, of: DeploymentRule, signal: SignalRule, baseline: Baseline, rule: EvidenceRule,
        buckets: BucketColumn,
    ) -> None:  # fmt: skip
        super().__init__(index, of, signal, baseline, rule, buckets, buckets)
        self.columns, self._buckets = (buckets,), buckets
        self.queries = ((signal.buckets or "", 0.0),)
        self._targets: dict[float, tuple[float, float | None]] = {}

    def _column(self, bound: float) -> array[float] | None:
        return self._buckets.values.get(self._buckets.key_of_bucket(self.index, bound))

    def target(self, anchor: float) -> float | None:
        """The bound that about half of the orders before `anchor` were above; None where there is none."""
        known = self._targets.get(anchor)
        if known is None or known[0] != self.x.low:
            found = self._learned(anchor)
            if anchor - LAG_S > self.read_until:
                return found
            known = self._targets[anchor] = (self.x.low, found)
            _forget(self._targets)
        return known[1]

    def _learned(self, anchor: float) -> float | None:
        end, count = anchor - LAG_S, max(1, round(self.history_s / HOUR_S))
        first = end - count * HOUR_S
        slots = lessons(self.calendar, self.baseline.exclude, first, count)
        sums = {bound: self._sum(bound, first, slots) for bound in self._buckets.bounds(self.index)}
        whole = sums.get(inf, 0.0)
        shares = {bound: 1.0 - total / whole for bound, total in sums.items() if bound < inf} if whole > 0.0 else {}
        near = {bound: abs(share - 0.5) for bound, share in shares.items() if 0.0 < share < 1.0}
        return min(near, key=lambda bound: (near[bound], bound), default=None)

    def _sum(self, bound: float, first: float, slots: Sequence[int]) -> float:
        column = self._column(bound)
        if column is None:
            return 0.0
        start = round((first - self.x.first) / HOUR_S)
        total = 0.0
        for k, slot in enumerate(slots, start):
            if slot >= 0 and 0 <= k < len(column) and column[k] == column[k]:
                total += column[k]
        return total

    def trials(self) -> Hours | None:
        whole = self._column(inf)
        return None if whole is None else Hours(self.x.first, whole, whole)

    def hours(self, anchor: float) -> Hours | None:
        target, whole = self.target(anchor), self._column(inf)
        under = self._column(target) if target is not None else None
        if whole is None or under is None:
            return None
        return Hours(self.x.first, array("f", map(_above, whole, under)), whole)

    def windows(self, read: Windows, hour: float, anchor: float) -> Counted | None:
        step, target, buckets = self.signal.window_s, self.target(anchor), self._buckets
        if target is None:
            return None
        whole, under = (
            read.of(self.queries[0], step, hour, buckets.key_of_bucket(self.index, bound)) for bound in (inf, target)
        )
        if whole is None or under is None:
            return None
        return Counted(hour, step, list(map(_above, whole, under)), whole)

    def norm_of(
        self, profile: Profile, level: Level, short: Sequence[Block], rule: EvidenceRule, hour: float, position: float
    ) -> tuple[float | None, Norm] | None:
        found = super().norm_of(profile, level, short, rule, hour, position)
        target = self.target(profile.anchor)
        return None if found is None or target is None else (found[0], replace(found[1], bound=target))


def _above(whole: float, under: float) -> float:
    """Orders above a bound; increases are extrapolated bucket by bucket and may cross by a hair."""
    return whole - under if whole > under else 0.0 if under == under and whole == whole else nan


def _forget(kept: dict[K, T]) -> None:
    """The oldest first, once there are many."""
    while len(kept) > _KEPT:
        del kept[next(iter(kept))]

"""One signal of one deployment as the book of baselines holds it; and which of them are in force, where people took
stretches out of the baselines by hand."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from rollback_console.decide.baselines import Hours, Level, Profile, norm_beside, norm_of, week_before
from rollback_console.decide.baselines import Windows as Counted
from rollback_console.decide.calendar import DAY_S, HOUR_S, Calendar, calendar_of
from rollback_console.decide.dispersion import Block
from rollback_console.engine.book import LeftOut
from rollback_console.engine.hourbook import Column, Trailing, Windows
from rollback_console.engine.shelf import key_of
from rollback_console.model.observation import Norm
from rollback_console.model.rules import Baseline, BaselineKind, DeploymentRule, EvidenceRule, SignalRule, Stretch
from rollback_console.model.value import dataclass

HISTORY_S = 28 * DAY_S  # behind the noise of a signal whose baseline names no history of its own
_OWN_HISTORY = (BaselineKind.SEASONAL,)


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds during one hour, as known at another. `p`: a baseline that stands for the hour; None: it glides with
    the profile."""

    hour: float
    known_hour: float
    profile: Profile
    level: Level
    norm: Norm
    p: float | None


class Place:
    """One signal of one deployment, and what was learned of it."""

    __slots__ = (
        "baseline", "calendar", "columns", "history_s", "index", "last", "n", "name", "noise", "of", "past", "profiles",
        "queries", "rule", "signal", "wanted", "worse", "x",
    )  # fmt: skip

    def __init__(
        self, index: int, of: DeploymentRule, signal: SignalRule, baseline: Baseline, rule: EvidenceRule, x: Column,
        n: Column,
    ) -> None:  # fmt: skip
        self.index, self.of, self.signal, self.baseline, self.rule = index, of, signal, baseline, rule
        self.x, self.n = x, n
        self.columns: tuple[Column, ...] = (x, n)
        self.worse = signal.worse  # which way its share of events is worse
        self.name = key_of(  # by all that its noise hangs on
            "noise", str(of.deployment), signal.name, signal.x_hour or x.promql, signal.n_hour or n.promql,
            str(signal.x), str(signal.n), str(rule.maturity_s), str(signal.window_s),
            *map(str, (baseline.history_s, baseline.timezone, baseline.holidays, baseline.exclude)),
        )  # fmt: skip
        self.queries: tuple[Trailing, ...] = ((signal.x or "", 0.0), (signal.n or "", rule.maturity_s))
        self.calendar: Calendar = calendar_of(baseline)
        self.history_s = baseline.history_s if baseline.kind in _OWN_HISTORY else HISTORY_S
        self.profiles: dict[float, Profile | None] = {}
        self.noise: dict[float, tuple[Block, ...]] = {}  # by `noise_key`
        self.wanted: set[float] = set()  # hours whose noise somebody asked for in vain
        self.past: dict[float, tuple[float, ...]] = {}  # excursions, by `noise_key`; only for an adaptive dwell
        self.last: InForce | None = None

    def trials(self) -> Hours | None:
        """Hours of which the trials count: where history begins."""
        return self.hours(0.0)

    def hours(self, anchor: float) -> Hours | None:
        """The hours of history, counted as whoever learns at `anchor` (Unix seconds) counts them."""
        x, n = self.x.values.get(self.index), self.n.values.get(self.index)
        if x is None or n is None:
            return None
        start = max(self.x.first, self.n.first)
        before_x, before_n = round((start - self.x.first) / HOUR_S), round((start - self.n.first) / HOUR_S)
        return Hours(start, x[before_x:] if before_x else x, n[before_n:] if before_n else n)

    def noisy(self, anchor: float) -> Hours | None:
        """The hours that the noise of single windows is measured by."""
        return self.hours(anchor)

    def windows(self, read: Windows, hour: float, anchor: float) -> Counted | None:
        """The single windows of an hour that was read, counted so; None where there are none."""
        step = self.signal.window_s
        x, n = (read.of(query, step, hour, self.index) for query in self.queries)
        return Counted(hour, step, x, n) if x is not None and n is not None else None

    def norm_of(
        self, profile: Profile, level: Level, short: Sequence[Block], rule: EvidenceRule, hour: float, position: float
    ) -> tuple[float | None, Norm] | None:
        """(a baseline that stands for the hour, or None where it glides with the profile; the norm); None where there
        is nothing to compare with."""
        base = self.baseline
        if base.kind is BaselineKind.FIXED and base.value is not None:
            return base.value, norm_beside(profile, short, rule, self.worse, position, base.value)
        if base.kind is BaselineKind.LAST_WEEK:
            kept = self.hours(profile.anchor)
            found = None if kept is None else week_before(kept, hour + HOUR_S / 2, self.calendar, base.exclude)
            return (
                None if found is None else (found[0], norm_beside(profile, short, rule, self.worse, position, *found))
            )
        return None, norm_of(profile, level, short, rule, self.worse, position)[1]

    def learns(self) -> tuple[object, ...]:
        """All that what is learned of it hangs on, beside the backend's data."""
        return self.name, self.worse, self.history_s, self.rule.adaptive is not None

    def take_over(self, other: Place) -> None:
        """Have what the other place, which learns the same, has learned."""
        self.x, self.n, self.columns = other.x, other.n, other.columns
        self.profiles, self.noise, self.past, self.wanted = other.profiles, other.noise, other.past, other.wanted
        self.last = None

    @property
    def read_from(self) -> float:
        return max(column.low for column in self.columns)

    @property
    def read_until(self) -> float:
        return min(column.high for column in self.columns)


class Places:
    """All places of a fleet. Where stretches were excluded by hand, a signal has a place of its own for each set of
    them: what is learned without them is another thing, and both may be asked for, as an evaluation knew them."""

    def __init__(self) -> None:
        self.left_out: LeftOut | None = None
        self.in_force: list[Place] = []  # for the evaluations that `look_from` was last called for
        self._own: dict[tuple[int, int], Place] = {}
        self._without: dict[tuple[int, int, tuple[Stretch, ...]], Place] = {}
        self._told: dict[int, tuple[int, float, float, tuple[Stretch, ...]]] = {}
        self._epoch: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._own)

    def enter(self, number: int, place: Place) -> None:
        """Signal `number` of the place's deployment is there."""
        self._own[place.index, number] = place
        self.in_force.append(place)

    def look_from(self, since: float, at: float) -> tuple[int, ...]:
        """Find what is in force for the evaluations from `since` to `at`. Returns what changes with it."""
        moments = self.left_out.moments() if self.left_out is not None else ()
        if self.left_out is None or not moments:
            return ()
        low, high = bisect_left(moments, since), bisect_left(moments, at)
        epoch = (self.left_out.revision, low, high)
        if epoch != self._epoch:
            times = [since, *(math.nextafter(moment, math.inf) for moment in moments[low:high]), at]
            found = {
                (index, number, stretches): place
                for (index, number), place in self._own.items()
                for stretches in dict.fromkeys(self._stretches(place, time) for time in times)
            }
            self._without = {
                key: self._without.get(key) or _leaving_out(place, key[2]) for key, place in found.items() if key[2]
            }
            self.in_force = [self._without.get(key, place) for key, place in found.items()]
            self._epoch = epoch
        return epoch

    def of(self, index: int, number: int, at: float) -> Place | None:
        """The place that the evaluation at `at` is told of; None where nothing is learned of that signal."""
        place = self._own.get((index, number))
        if place is None or self.left_out is None:
            return place
        stretches = self._stretches(place, at)
        if not stretches:
            return place
        key = (index, number, stretches)
        if key not in self._without:
            self._without[key] = _leaving_out(place, stretches)
        return self._without[key]

    def _stretches(self, place: Place, at: float) -> tuple[Stretch, ...]:
        """What the evaluation at `at` leaves out by hand."""
        if self.left_out is None:
            return ()
        told = self._told.get(place.index)
        if told is None or told[0] != self.left_out.revision or not told[1] < at <= told[2]:
            name = str(place.of.deployment.id)
            told = (self.left_out.revision, *self.left_out.steady(name, at), self.left_out.excluded(name, at))
            self._told[place.index] = told
        return told[3]


def _leaving_out(place: Place, stretches: Sequence[Stretch]) -> Place:
    """The same, without what happened in these stretches."""
    base = replace(place.baseline, exclude=(*place.baseline.exclude, *stretches))
    return type(place)(place.index, place.of, place.signal, base, place.rule, *place.columns)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be learned of a place from single windows as of `anchor`, and kept by `key`: its noise from those of
    the hours `noisy`, its excursions from those of `past`; None: not that."""

    place: Place
    anchor: float
    key: float  # `calendar.noise_key`
    noisy: tuple[float, ...] | None
    past: tuple[float, ...] | None

    @property
    def hours(self) -> tuple[float, ...]:
        return (self.noisy or ()) + (self.past or ())

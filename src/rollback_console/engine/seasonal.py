"""The book of baselines: what history says of each signal that is judged by evidence, kept ready for the sampler.

It reads hours of history once, and then an hour an hour; learns at fixed times (`decide.baselines`); and answers at
once. Nothing in it depends on when somebody began to look, so that a console opened cold, one that watched all along
and a backtest are told the same numbers. While the backend fails, what was learned last stays, for a week at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from math import isfinite

from rollback_console.decide import baselines, gauges, past
from rollback_console.decide.adaptive import Stakes, adaptive_dwell
from rollback_console.decide.baselines import Profile
from rollback_console.decide.calendar import (
    DAY_S,
    HOUR_S,
    LAG_S,
    WEEK_S,
    anchor_of,
    history_words,
    hour_of,
    noise_anchor,
    noise_key,
)  # fmt: skip
from rollback_console.decide.standing import stood
from rollback_console.engine.backoff import Backoff
from rollback_console.engine.beside import Beside
from rollback_console.engine.book import LeftOut
from rollback_console.engine.hourbook import Column, Trailing, Windows
from rollback_console.engine.keeping import Keeping
from rollback_console.engine.places import Due, InForce, Place, Places
from rollback_console.engine.progress import Progress
from rollback_console.engine.queries import Splitter
from rollback_console.engine.shares import Shares
from rollback_console.engine.shelf import Shelf
from rollback_console.errors import BackendError
from rollback_console.model.observation import Blind, Norm
from rollback_console.model.rules import BaselineKind, DeploymentRule, SignalKind, SignalRule
from rollback_console.observe.protocol import MetricBackend

_FROZEN_S = WEEK_S  # a level stays frozen for no longer: by then it is what is normal
_FIRST_WAIT_S = 15.0
_SLICE = 50  # signals looked at between two chances for others to run


class SeasonalBook:
    """An `engine.book.Book` over a metric backend. One task at a time prepares; `norm` may be asked at any time."""

    def __init__(self, rules: Sequence[DeploymentRule], metrics: MetricBackend, shelf: Shelf | None = None) -> None:
        self._rules = tuple(rules)
        self._metrics = metrics
        self._splitter = Splitter(self._rules)
        self._columns: dict[Trailing, Column] = {}
        self._windows = Windows()
        self._beside = Beside(self._rules, metrics)
        self._places = Places()
        self._again = Backoff(_FIRST_WAIT_S)
        self._turn = asyncio.Lock()
        self._keeping = Keeping(self._rules, self._columns, self._places, shelf)
        self._lender: SeasonalBook | None = None
        self.progress: Progress | None = None
        for index, rule in enumerate(self._rules):
            for number, signal in enumerate(rule.signals):
                self._enter(index, number, signal)
        self._shares = Shares(self._rules, self._columns)
        self._ready: tuple[object, ...] | None = None  # the hours that all is learned for, and what they leave out

    def leave_out(self, left_out: LeftOut) -> None:
        """See `engine.book.Book`."""
        self._places.left_out = left_out

    def _enter(self, index: int, number: int, signal: SignalRule) -> None:
        if signal.kind is not SignalKind.PLAIN:
            from rollback_console.engine.derived import place_of

            found = place_of(index, self._rules[index], signal, self._columns)
            if found is not None:
                self._places.enter(number, found)
            return
        if signal.evidence is None or signal.baseline is None or signal.x_hour is None or signal.n_hour is None:
            return
        if signal.baseline.kind is BaselineKind.CONTROL:
            return
        late = signal.evidence.maturity_s
        x = self._columns.setdefault((signal.x_hour, 0.0), Column(signal.x_hour))
        n = self._columns.setdefault((signal.n_hour, late), Column(signal.n_hour, late))
        x.scope.add(index)
        n.scope.add(index)
        self._places.enter(number, Place(index, self._rules[index], signal, signal.baseline, signal.evidence, x, n))

    # -- preparing ----------------------------------------------------------------------------------------------------

    async def prepare(self, at: float, since: float | None = None, *, learned: bool = True) -> None:
        """See `engine.book.Book`. Reads and learns in slices of a few milliseconds."""
        since = at if since is None else min(since, at)
        if not learned:
            await self._beside.prepare(at, since)
            return
        async with self._turn:
            await self._beside.prepare(at, since)
            if self._lender is not None:
                await self._lender.prepare(at, since)
                self._places.look_from(since, at)
                self._take_over(self._lender)
                return
            if not self._places and not self._shares:
                return
            due = (hour_of(since), hour_of(at), *self._places.look_from(since, at))
            if due == self._ready or not self._again.due(at):
                return
            await self._keeping.look()
            answered = await self._read(at, since)
            await self._shares.learn(at, since)
            windows = await self._due(at, since)
            answered = await self._read_windows(windows) and answered
            await self._learn(at, since, windows)
            self._windows.forget()
            self.progress = None
            if answered:
                self._again.answered()
                self._ready = due
            else:
                self._again.failed(at)
            await self._keeping.put_away()

    def borrow(self, lender: SeasonalBook) -> bool:
        """From here on take what `lender` has learned, where all that this book learns is the same: the rules differ in
        what it takes to be convinced alone. False, and nothing is borrowed, where it is not."""
        ours, theirs = self._places.in_force, lender._places.in_force
        same = len(ours) == len(theirs) and all(
            type(one) is Place and type(other) is Place and one.learns() == other.learns()
            for one, other in zip(ours, theirs, strict=True)
        )
        if not same or self._shares or lender._shares:
            return False
        self._lender = lender
        return True

    def _take_over(self, lender: SeasonalBook) -> None:
        for one, other in zip(self._places.in_force, lender._places.in_force, strict=True):
            one.take_over(other)

    async def _read(self, at: float, since: float) -> bool:
        """Read the hours that are missing; False where the backend did not answer something."""
        answered = True
        wanted: dict[Column, tuple[float, float]] = {}
        async for place in self._each():
            place.last = None
            low, high = self._reach(place, at, since)
            for column in place.columns:
                had = wanted.get(column, (low, high))
                wanted[column] = (min(had[0], low), max(had[1], high))
        for column, low, high in self._shares.wanted(at, since):
            had = wanted.get(column, (low, high))
            wanted[column] = (min(had[0], low), max(had[1], high))
        missing = {column: column.missing(*span) for column, span in wanted.items()}
        self.progress = Progress("reading the history that baselines are learned from", sum(map(len, missing.values())))
        for column, (low, _) in wanted.items():
            for start, end in missing[column]:
                ends = (start + column.step - column.late, end - column.late)
                try:
                    found = await self._metrics.query_range(column.promql, *ends, column.step)
                except BackendError:
                    column.failed()
                    answered = False
                    break
                await column.file(start, end, found, self._splitter)
                self.progress.done += 1
            column.forget(low - WEEK_S)
        return answered

    @staticmethod
    def _reach(place: Place, at: float, since: float) -> tuple[float, float]:
        """The hours (from, to) that the evaluations from `since` to `at` hang on: the history before the week whose
        beginning the noise was learned at, and before the day from whose beginning a frozen level would come."""
        low = (since - _FROZEN_S) // DAY_S * DAY_S - WEEK_S - LAG_S - place.history_s
        return hour_of(low), hour_of(at) - LAG_S

    async def _learn(self, at: float, since: float, windows: Sequence[Due]) -> None:
        """Learn what these evaluations hang on, one deployment after the other."""
        of_windows: dict[Place, list[Due]] = {}
        for due in windows:
            of_windows.setdefault(due.place, []).append(due)
        work: list[tuple[Place, list[float], list[Due]]] = []
        async for place in self._each():
            anchors = {
                anchor_of(moment, self._since(place, moment)): moment for moment in self._moments(place, at, since)
            }
            place.profiles = {anchor: found for anchor, found in place.profiles.items() if anchor in anchors}
            known = place.profiles
            missing = [time for key, time in anchors.items() if key not in known and key - LAG_S <= place.read_until]
            if missing or place in of_windows:
                work.append((place, missing, of_windows.get(place, [])))
        left = Counter(place.index for place, _, _ in work)
        self.progress = Progress("learning baselines", len(left))
        for place, missing, dues in work:
            for moment in missing:
                self._profile(place, moment)
                await asyncio.sleep(0)
            for due in dues:
                if self._windows_read(due):
                    self._learn_windows(due)
                    await asyncio.sleep(0)
            left[place.index] -= 1
            self.progress.done += not left[place.index]

    def _windows_read(self, due: Due) -> bool:
        step = due.place.signal.window_s
        return all(self._windows.has(query, step, hour) for query in due.place.queries for hour in due.hours)

    async def _each(self) -> AsyncIterator[Place]:
        """All places, with chances for others in between."""
        for count, place in enumerate(self._places.in_force):
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            yield place

    def _moments(self, place: Place, at: float, since: float) -> list[float]:
        """Times that between them meet every profile in force from `since` to `at`."""
        first, last = hour_of(since), hour_of(at)
        days = [day * DAY_S for day in range(int(first // DAY_S) + 1, int(last // DAY_S) + 1)]
        found = [first, *days, last]
        if (
            anchor_of(last, self._since(place, last)) == last or anchor_of(first, self._since(place, first)) == first
        ):  # young: learned hour by hour
            found = [first + k * HOUR_S for k in range(round((last - first) / HOUR_S) + 1)]
        return sorted(set(found))

    async def _due(self, at: float, since: float) -> list[Due]:
        """Where the noise of short blocks, or what past excursions were like, is to be learned."""
        due: list[Due] = []
        async for place in self._each():
            measures: dict[float, tuple[float, tuple[float, ...]]] = {}
            for moment in {*self._moments(place, at, since), *place.wanted}:
                begun = self._since(place, moment)
                if begun is not None and hour_of(moment) - LAG_S <= place.read_until:
                    anchor, hours = noise_anchor(moment, begun)
                    measures[noise_key(anchor, hours)] = anchor, hours
            oldest = since - _FROZEN_S - 2 * WEEK_S  # what a frozen level may still hang on
            place.noise = {key: found for key, found in place.noise.items() if key >= oldest}
            place.past = {key: found for key, found in place.past.items() if key >= oldest}
            place.wanted.clear()
            for key, (anchor, hours) in measures.items():
                noisy = hours if key not in place.noise else None
                suspects = self._suspects(place, anchor, hours) if key not in place.past else None
                if suspects is not None:
                    await asyncio.sleep(0)
                if noisy is not None or suspects is not None:
                    due.append(Due(place, anchor, key, noisy, suspects))
        return due

    @staticmethod
    def _suspects(place: Place, anchor: float, hours: Sequence[float]) -> tuple[float, ...] | None:
        """The hours that an adaptive dwell is chosen by; None where none is, or history is less than a day."""
        kept = place.noisy(anchor)
        if place.rule.adaptive is None or kept is None or hours[-1] - hours[0] < 6 * HOUR_S:
            return None
        return past.suspects(kept, anchor, place.history_s, place.calendar, place.baseline.exclude, place.worse)

    async def _read_windows(self, due: Sequence[Due]) -> bool:
        wanted: dict[tuple[Trailing, float], tuple[set[float], Column]] = {}
        for count, one in enumerate(due):
            if count % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            for query, column in zip(one.place.queries, one.place.columns, strict=True):
                wanted.setdefault((query, one.place.signal.window_s), (set(), column))[0].update(one.hours)
        for (query, step), (times, column) in wanted.items():
            promql, late = query
            for low, high in self._windows.missing(query, step, times):
                try:
                    found = await self._metrics.query_range(promql, low + step - late, high - late, step)
                except BackendError:
                    return False
                await self._windows.file(query, step, low, high, found, self._splitter, column)
        return True

    def _learn_windows(self, due: Due) -> None:
        """What single windows say: the noise of short blocks, and past excursions."""
        place, base = due.place, due.place.baseline
        kept = place.noisy(due.anchor)
        known = (due.anchor, place.history_s, place.calendar, base.exclude)
        if due.noisy is not None:
            stretches = self._stretches(place, due.noisy, due.anchor)
            place.noise[due.key] = baselines.short_noise(kept, *known, stretches) if kept is not None else ()
            self._keeping.noise_is_new = True
        if due.past is not None and kept is not None:
            stretches = self._stretches(place, due.past, due.anchor)
            place.past[due.key] = past.past_excursions(kept, *known, place.worse, stretches)
        place.last = None

    def _stretches(self, place: Place, hours: Sequence[float], anchor: float) -> list[baselines.Windows]:
        found = [place.windows(self._windows, hour, anchor) for hour in hours]
        return [one for one in found if one is not None]

    # -- answering ----------------------------------------------------------------------------------------------------

    def norm(self, index: int, number: int, at: float, frozen_at: float | None = None) -> tuple[float, Norm] | Blind:
        """See `engine.book.Book`."""
        place = self._places.of(index, number, at)
        if place is None:
            beside = self._beside.norm(index, number, at)
            if isinstance(beside, Blind) or not self._shares:
                return beside
            return beside[0], replace(beside[1], budget_s=self.share(index, number, at))
        known_at = at if frozen_at is None else min(at, max(frozen_at, at - _FROZEN_S))
        known_at = min(known_at, place.read_until + LAG_S)
        if known_at < at - _FROZEN_S - HOUR_S:
            return Blind.QUERY_FAILED  # for more than a week, or since the beginning
        position = place.calendar.position(at - place.signal.window_s / 2)
        if position is None:
            return Blind.NO_DATA
        hour, known_hour = hour_of(at), hour_of(known_at)
        last = place.last
        if last is None or last.hour != hour or last.known_hour != known_hour:
            last = place.last = self._look(place, hour, known_hour)
            if last is None:
                return Blind.NO_DATA
        p = baselines.rate_at(last.profile, last.level, position) if last.p is None else last.p
        if place.baseline.kind is BaselineKind.CONTROL:  # a gauge's: what was learned is how far it lies from that
            return self._beside_control(p, last.norm, self._beside.norm(index, number, at))
        return p, last.norm

    @staticmethod
    def _beside_control(distance: float, norm: Norm, control: tuple[float, Norm] | Blind) -> tuple[float, Norm] | Blind:
        """A gauge's baseline and bound now, out of how far it lies from its control (`decide.gauges.apart`)."""
        if isinstance(control, Blind) or norm.bound is None:
            return control if isinstance(control, Blind) else Blind.NO_DATA
        middle, bound = (gauges.beside(control[0], each) for each in (distance, norm.bound))
        return (middle, replace(norm, bound=bound)) if isfinite(middle) and isfinite(bound) else Blind.NO_DATA

    def _look(self, place: Place, hour: float, known_hour: float) -> InForce | None:
        """What is in force during the hour, as known at `known_hour`."""
        profile = self._profile(place, known_hour)
        kept = place.hours(profile.anchor) if profile is not None else None
        position = place.calendar.position(hour + HOUR_S / 2)
        if kept is None or profile is None or position is None:
            return None
        rule, base = place.rule, place.baseline
        share = self._shares.budget_s(place.index, place.signal, hour) if self._shares else None
        if share is not None:
            rule = replace(rule, budget_s=share)
        level = baselines.follow(profile, kept, known_hour, place.calendar, base.exclude)
        key = self._noise_key(place, known_hour)
        if key not in place.noise:  # of a level frozen before anything was prepared here
            place.wanted.add(known_hour)
            (self._lender or self)._ready = None
        short = place.noise.get(key, ())
        found = place.norm_of(profile, level, short, rule, hour, position)
        if found is None:
            return None
        p, norm = found
        hours, dwell = baselines.little(profile, place.history_s), self._dwell(place, known_hour, profile)
        norm = replace(norm, hours=hours, dwell_s=dwell, budget_s=share)
        return InForce(hour, known_hour, profile, level, norm, p)

    def dwell(self, index: int, number: int, at: float, frozen_at: float | None, stakes: Stakes) -> float | None:
        """See `engine.book.Book`."""
        place = self._places.of(index, number, at)
        if place is None or place.rule.adaptive is None or isinstance(self.norm(index, number, at, frozen_at), Blind):
            return None
        last = place.last
        return None if last is None else self._dwell(place, last.known_hour, last.profile, stakes)

    def share(self, index: int, number: int, at: float) -> float | None:
        """See `engine.book.Book`."""
        return self._shares.budget_s(index, self._rules[index].signals[number], at)

    def _dwell(self, place: Place, known_hour: float, profile: Profile, stakes: Stakes | None = None) -> float | None:
        """What an adaptive dwell comes to by the past excursions, and by what is at stake where that is known; None
        where it is not adaptive, or the excursions are unknown."""
        bounds = place.rule.adaptive
        key = self._noise_key(place, known_hour)
        if bounds is None or key not in place.past:
            return None
        seen_s, otherwise_s = profile.hours * HOUR_S, place.rule.dwell_s
        return adaptive_dwell(bounds, place.past[key], seen_s, stakes, otherwise_s)

    def _noise_key(self, place: Place, known_hour: float) -> float:
        return noise_key(*noise_anchor(known_hour, self._since(place, known_hour)))

    def _since(self, place: Place, moment: float) -> float | None:
        kept = place.trials()
        return baselines.since_of(kept, hour_of(moment), place.history_s) if kept is not None else None

    def _profile(self, place: Place, moment: float) -> Profile | None:
        """The profile in force at `moment`, learned now if it was not yet."""
        anchor = anchor_of(moment, self._since(place, moment))
        if anchor in place.profiles:
            return place.profiles[anchor]
        kept = place.hours(anchor)
        if kept is None:
            return None
        found = self._keeping.learned(place, anchor, kept)
        if place.read_from <= anchor - LAG_S - place.history_s and anchor - LAG_S <= place.read_until:
            place.profiles[anchor] = found  # else some of its history was not read: learned again when it is
        return found

    def may_stand_frozen(self, index: int, number: int, at: float) -> bool:
        """See `engine.book.Book`."""
        place = self._places.of(index, number, at)
        if place is None or place.baseline.kind is not BaselineKind.SEASONAL:
            return False  # no level stands in its baseline
        found, profile = self.norm(index, number, at), self._profile(place, at)
        kept = place.hours(profile.anchor) if profile is not None else None
        if profile is None or kept is None or isinstance(found, Blind):
            return False
        away = stood(profile, kept, at, place.calendar, place.baseline.exclude, place.worse)
        return away > 0.5 * found[1].margin

    def behind(self, index: int, number: int, at: float) -> str:
        """See `engine.book.Book`."""
        place = self._places.of(index, number, at)
        profile = self._profile(place, at) if place is not None else None
        hours = baselines.little(profile, place.history_s) if place is not None and profile is not None else None
        return history_words(hours) if hours is not None else ""

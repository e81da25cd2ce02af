"""What served when: the version history that serving reports, the releases in it, and baselines of the version before.

Everything here is a function of the metric backend's data, so that a console opened cold and one that watched all along
hold the same history. To that end what is asked of it looks back no further than a cold start reads.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence, Set
from typing import Any

from rollback_console.decide.attribution import Release
from rollback_console.decide.calendar import touched
from rollback_console.decide.ranks import SELDOM, bound_of
from rollback_console.engine.backoff import Backoff
from rollback_console.engine.queries import ROLL_OUT, Answer, Before, VersionBaseline
from rollback_console.engine.sampler import Sampler
from rollback_console.errors import BackendError
from rollback_console.model.observation import Blind
from rollback_console.model.rules import BaselineKind, SignalKind, SignalRule, Stretch

HISTORY_S = 2 * 86_400.0  # how far back a version before is looked for, at each evaluation
_COARSE_S = 600.0  # read so finely first ...
_RECENT_S = 7200.0  # ... but the last two hours, in which a release explains a degradation,
_MEDIUM_S = 60.0  # so finely; a change between two of these points is then read to the tick
_SEARCHED_S = 3600.0  # how far before a first sight a change is searched for, when serving was silent meanwhile
_POINTS = 96  # how many values a version baseline is the median of, at most
_DAY_S = 86_400.0
_REFINED = 48  # stretches read to the tick, newest first: older changes are known to ten minutes

Change = tuple[float, str | None, str]  # at, before, after
VersionRow = tuple[int, str, str, float, list[Change]]  # number, version, as last reported, when, changes
Sightings = list[tuple[float, Sequence[Answer]]]  # time, an answer a query


def read_span(lookback_s: float) -> float:
    """How much history a cold start reads: what the earliest evaluation that it replays looks back on."""
    return HISTORY_S + lookback_s


_ALL_ANSWER: frozenset[int] = frozenset()


class VersionHistory:
    """Per deployment: the version now serving, and the changes seen, oldest first."""

    def __init__(self, sampler: Sampler, step_s: float, lookback_s: float = _DAY_S) -> None:
        self._sampler = sampler
        self._step = step_s
        self._reads = read_span(lookback_s)
        self.current: dict[int, str] = {}
        self._raw: dict[int, str] = {}  # as last reported; two at once while a roll-out is under way
        self._noted: dict[int, float] = {}  # when that was
        self.changes: dict[int, list[Change]] = {}
        self.loaded = False  # the history was read, all of it
        self._load_again, self._baselines_again = Backoff(step_s), Backoff(step_s)
        # -> ((anchor, what is left out), value)
        self._baselines: dict[tuple[int, int], tuple[tuple[float, tuple[Stretch, ...]], VersionBaseline]] = {}
        self._wanted = [
            (index, number, signal)
            for index, rule in enumerate(sampler.rules)
            for number, signal in enumerate(rule.signals)
            if signal.baseline is not None and signal.baseline.kind is BaselineKind.VERSION
        ]

    # -- reading ------------------------------------------------------------------------------------------------------

    async def load(self, until: float, *, retry: bool = False) -> None:
        """Read the history up to `until` (on the evaluation grid): coarsely, then each change to the tick. When it
        cannot be read, what was known stays known, and `loaded` says that it is to be tried again: by `retry`, at any
        evaluation, which does nothing until it is time."""
        if not self._sampler.plan.version_queries:
            self.loaded = True
            return
        if retry and not self._load_again.due(until):
            return
        seen = await self._sightings(until)
        if seen is None:
            self.loaded = False
            self._load_again.failed(until)
            return
        self._load_again.answered()
        self.current, self._raw, self._noted, self.changes = {}, {}, {}, {}
        for at, answers in seen:
            for index, column in enumerate(self._sampler.plan.columns):
                if column.version >= 0:
                    self.note(index, at, answers[column.version].versions.get(index))
        self.loaded = True

    async def _sightings(self, until: float) -> Sightings | None:
        """Every time at which the history is known, oldest first, or None where a query failed."""
        coarse, medium = self._on_grid(_COARSE_S), self._on_grid(_MEDIUM_S)
        start = (until - self._reads) // coarse * coarse
        middle = max(start, (until - _RECENT_S) // coarse * coarse)
        found: Sightings = []
        for low, high, pace in ((start, middle, coarse), (middle, until, medium)):
            read = await self._read(low, low + math.floor((high - low) / pace + 1e-9) * pace, pace)
            if read is None:
                return None
            found.extend(read)
        if found and until > found[-1][0]:
            read = await self._read(found[-1][0], until, self._step)
            if read is None:
                return None
            found.extend(read)
        for low, high in self._changed(found)[-_REFINED:]:
            read = await self._read(low, high, self._step)
            if read is None:
                return None
            found.extend(read)
        return sorted(found, key=lambda sighting: sighting[0])

    def _on_grid(self, seconds: float) -> float:
        return max(1, round(seconds / self._step)) * self._step

    async def _read(self, low: float, high: float, pace: float) -> Sightings | None:
        columns = await self._sampler.versions_between(low, high, pace)
        if any(answer.failed for column in columns for answer in column):
            return None
        count = round((high - low) / pace) + 1
        return [(low + k * pace, [column[k] if column else _NONE for column in columns]) for k in range(count)]

    def _changed(self, seen: Sightings) -> list[tuple[float, float]]:
        """The stretches in which a version changed, merged: from the last sight of the one to the first of the next."""
        last: dict[int, tuple[float, str]] = {}
        edges: set[tuple[float, float]] = set()
        for at, answers in seen:
            for query in self._sampler.plan.version_queries:
                for index, version in answers[query].versions.items():
                    before = last.get(index)
                    if before is not None and before[1] != version and at - before[0] > self._step:
                        low = max(before[0], at - self._on_grid(_SEARCHED_S))
                        edges.add((low + self._step, at - self._step))
                    last[index] = (at, version)
        merged: list[tuple[float, float]] = []
        for low, high in sorted(edges):
            if merged and low <= merged[-1][1] + self._step:
                merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
            else:
                merged.append((low, high))
        return merged

    def note(self, index: int, at: float, version: str | None) -> bool:
        """Take note of what served at `at`; silence changes nothing. True when the version changed.

        While two versions serve at once a roll-out is under way: the one that came in is the version from then on.
        """
        if version is None or at <= self._noted.get(index, -math.inf):
            return False  # replayed: already known
        raw, before, after = self._raw.get(index), self.current.get(index), version
        self._raw[index], self._noted[index] = version, at
        if raw == version:
            return False
        if raw is not None:
            now, earlier = version.split(ROLL_OUT), raw.split(ROLL_OUT)
            came = [name for name in now if name not in earlier]
            if came:
                after = ROLL_OUT.join(came)
            elif before in now:
                return False  # the roll-out ended with what it had brought
            if before == raw:  # first seen in the midst of a roll-out: what came before is what left
                before = ROLL_OUT.join(name for name in earlier if name not in now) or before
        self.current[index] = after
        if raw is None:
            return False  # first sight of it: served since before we looked
        self.changes.setdefault(index, []).append((at, before, after))
        return True

    # -- handing on ---------------------------------------------------------------------------------------------------

    def known(self) -> list[list[object]]:
        """All of it, a row a deployment: number, version, as last reported, when, and the changes. For JSON."""
        return [
            [index, version, self._raw[index], self._noted[index], self.changes.get(index, [])]
            for index, version in self.current.items()
        ]

    def checked(self, rows: Sequence[Sequence[Any]]) -> tuple[VersionRow, ...]:
        """Another console's `known`. Raises ValueError, TypeError or IndexError for what is none."""
        found = []
        for index, version, reported, at, changed in rows:
            if type(index) is not int or not 0 <= index < len(self._sampler.rules):
                raise ValueError("a version of no deployment")
            changes = [
                (_time(when), None if before is None else _name(before), _name(after))
                for when, before, after in changed
            ]
            found.append((index, _name(version), _name(reported), _time(at), changes))
        return tuple(found)

    def believe(self, rows: Sequence[VersionRow]) -> None:
        """Take this in place of what is known here; it is read from the backend once that is asked again."""
        self.current = {index: version for index, version, _, _, _ in rows}
        self._raw = {index: reported for index, _, reported, _, _ in rows}
        self._noted = {index: at for index, _, _, at, _ in rows}
        self.changes = {index: changes for index, _, _, _, changes in rows if changes}
        self.loaded = False

    # -- asking -------------------------------------------------------------------------------------------------------

    def last_seen(self, index: int) -> tuple[str, float] | None:
        """(version, Unix seconds) that serving last reported, None where it never did."""
        version, at = self.current.get(index), self._noted.get(index)
        return (version, at) if version is not None and at is not None else None

    def releases(self, at: float, rollbacks: Sequence[tuple[str, float, str]] = ()) -> tuple[Release, ...]:
        """Every change seen as of `at`, oldest first. `rollbacks`: (environment/name, at, to version) of our own."""
        found = []
        for index, changes in self.changes.items():
            name = self._sampler.rules[index].deployment.id
            ours = [(made, to) for owner, made, to in rollbacks if owner == str(name)]
            for when, before, after in _lasting(changes, self._on_grid(_MEDIUM_S)):
                if at - HISTORY_S <= when <= at:
                    rollback = any(to == after and -60 <= when - made <= 3600 for made, to in ours)
                    found.append(Release(name, when, before, after, rollback=rollback))
        return tuple(sorted(found, key=lambda release: release.at))

    async def baselines(self, at: float, failing: Set[int] = _ALL_ANSWER) -> dict[tuple[int, int], VersionBaseline]:
        """The version baselines in force at `at`. Fetched once for each moment at which a version ended: deployments
        that changed together, or not at all, share one query. Nothing is asked for a signal whose own query is among
        the `failing`."""
        missing: dict[tuple[SignalRule, float], list[tuple[int, int]]] = {}
        found: dict[tuple[int, int], VersionBaseline] = {}
        again = self._baselines_again.due(at)
        for index, number, signal in self._wanted:
            anchor = self._anchor(index, at)
            told = (anchor, self._left_out(index, signal, at))
            known = self._baselines.get((index, number))
            if known is not None and known[0] == told and (known[1] is not Blind.QUERY_FAILED or not again):
                found[(index, number)] = known[1]
            elif failing and not failing.isdisjoint(self._sampler.plan.columns[index].signals[number].asked()):
                found[(index, number)] = Blind.QUERY_FAILED
            else:
                missing.setdefault((signal, anchor), []).append((index, number))
        failed = False
        for (signal, anchor), places in missing.items():
            medians = await self._medians(signal, anchor, {index for index, _ in places}, at)
            for place in places:
                value = medians if isinstance(medians, Blind) else medians.get(place[0], Blind.NO_DATA)
                self._baselines[place] = ((anchor, self._left_out(place[0], signal, at)), value)
                found[place] = value
            failed = failed or isinstance(medians, Blind)
        if failed:
            self._baselines_again.failed(at)
        elif missing:
            self._baselines_again.answered()
        return found

    def _anchor(self, index: int, at: float) -> float:
        """Where the service ended that the present version is compared with: the earliest change of the last two days
        that it took part in. For a release that is the end of the version before. For a version that a rollback brought
        back it is the end of its own earlier service, or the beginning of that: never the end of the bad version's. One
        that has served for longer than we look back is compared with its own self two days ago (anchored at midnight
        UTC, so that all consoles agree).

        A version that came and went within a minute (ten, once that is hours ago) does not count: a cold start may not
        have seen it.
        """
        coarse, medium = self._on_grid(_COARSE_S), self._on_grid(_MEDIUM_S)
        seen = [change for change in self.changes.get(index, ()) if at - HISTORY_S <= change[0] <= at]
        old = _lasting([change for change in seen if at - change[0] > _RECENT_S], coarse)
        seen = _lasting([*old, *(change for change in seen if at - change[0] <= _RECENT_S)], medium)
        if not seen:
            return (at // _DAY_S) * _DAY_S - HISTORY_S
        serving = seen[-1][2]
        return next(when for when, before, after in seen if serving in (before, after))

    def _left_out(self, index: int, signal: SignalRule, at: float) -> tuple[Stretch, ...]:
        """The stretches that the evaluation at `at` takes no history from: the policy's, and those by hand."""
        by_policy = signal.baseline.exclude if signal.baseline is not None else ()
        left_out = self._sampler.left_out
        if left_out is None or not left_out.moments():
            return by_policy
        return (*by_policy, *left_out.excluded(str(self._sampler.rules[index].deployment.id), at))

    async def _medians(
        self, signal: SignalRule, anchor: float, owners: set[int], at: float
    ) -> Mapping[int, VersionBaseline] | Blind:
        """The median of each owner's values over the signal's history before `anchor`, as the evaluation at `at` knows
        what is left out of it; of a ratio, x over n summed; of a gauge what it rarely passed; of a distribution its
        histogram."""
        stretches = {owner: found for owner in owners if (found := self._left_out(owner, signal, at))}

        def leaves_out(owner: int, time: float) -> bool:
            return owner in stretches and touched(stretches[owner], time - signal.window_s, time)

        history = signal.baseline.history_s if signal.baseline else _DAY_S
        if signal.aside:
            return await self._histograms(signal, anchor, owners - stretches.keys())
        step = max(self._step, history / _POINTS // self._step * self._step)
        span = (anchor - history, anchor - self._step, step)
        try:
            if signal.value is not None:
                values = await self._sampler.history(signal.value, owners, *span, leaves_out)
                if signal.kind is SignalKind.GAUGE:
                    bounds = {owner: bound_of(found, signal.worse, SELDOM) for owner, found in values.items()}
                    return {owner: bound for owner, bound in bounds.items() if bound is not None}
                return {owner: statistics.median(found) for owner, found in values.items() if found}
            x = await self._sampler.history(signal.x or "", owners, *span, leaves_out)
            n = await self._sampler.history(signal.n or "", owners, *span, leaves_out)
        except BackendError:
            return Blind.QUERY_FAILED
        return {owner: sum(x.get(owner, ())) / sum(trials) for owner, trials in n.items() if sum(trials) > 0}

    async def _histograms(self, signal: SignalRule, anchor: float, owners: set[int]) -> dict[int, Before] | Blind:
        """What a distribution was before `anchor`, of those whose history is whole."""
        try:
            found = await self._sampler.buckets_at(signal.buckets_then or "", owners, anchor)
        except BackendError:
            return Blind.QUERY_FAILED
        return {owner: Before(anchor, tuple(sorted(buckets.items()))) for owner, buckets in found.items()}


def _lasting(changes: Sequence[Change], shortest: float) -> list[Change]:
    """The changes without those that came and went again within less than `shortest` seconds."""
    kept: list[Change] = []
    for change in changes:
        if kept and kept[-1][1] == change[2] and change[0] - kept[-1][0] < shortest:
            kept.pop()
        else:
            kept.append(change)
    return kept


def _name(value: object) -> str:
    if not isinstance(value, str) or len(value) > 1_000:
        raise ValueError("not a version")
    return value


def _time(value: object) -> float:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("not a time")
    return float(value)


_NONE = Answer()

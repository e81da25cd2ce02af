"""What served when: the version history that serving reports, the releases in it, and baselines of the version before.

Everything here is a function of the metric backend's data, so that a console opened cold and one that watched all along
hold the same history.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from rollback_console.decide.attribution import Release
from rollback_console.engine.queries import Answer
from rollback_console.engine.sampler import Sampler
from rollback_console.errors import BackendError
from rollback_console.model.observation import Blind
from rollback_console.model.rules import BaselineKind, SignalRule

HISTORY_S = 2 * 86_400.0  # how far back releases are looked for
_COARSE_S = 600.0
_POINTS = 96  # how many values a version baseline is the median of, at most
_DAY_S = 86_400.0


class VersionHistory:
    """Per deployment: the version now serving, since when, and the changes seen, oldest first."""

    def __init__(self, sampler: Sampler, step_s: float) -> None:
        self._sampler = sampler
        self._step = step_s
        self.current: dict[int, str] = {}
        self.began: dict[int, float] = {}  # absent: longer ago than HISTORY_S
        self.changes: dict[int, list[tuple[float, str | None, str]]] = {}
        self.loaded = False  # the last two days were read
        self._baselines: dict[tuple[int, int], tuple[float, float | Blind]] = {}  # -> (anchor, value)
        self._wanted = [
            (index, number, signal)
            for index, rule in enumerate(sampler.rules)
            for number, signal in enumerate(rule.signals)
            if signal.baseline is not None and signal.baseline.kind is BaselineKind.VERSION
        ]

    async def load(self, until: float) -> None:
        """Read the last two days coarsely, then each change to the tick. `until` is on the evaluation grid."""
        self.loaded = True
        if not self._sampler.plan.version_queries:
            return
        self.current, self.began, self.changes = {}, {}, {}
        start = (until - HISTORY_S) // _COARSE_S * _COARSE_S
        times = int((until - start) // _COARSE_S) + 1
        coarse = await self._sampler.versions_between(start, start + (times - 1) * _COARSE_S, _COARSE_S)
        self.loaded = not any(answer.failed for column in coarse for answer in column)
        edges = set()
        for index, column in enumerate(self._sampler.plan.columns):
            if column.version < 0:
                continue
            last: str | None = None
            for k, answer in enumerate(coarse[column.version]):
                seen = answer.versions.get(index)
                if seen is None:
                    continue
                if last is not None and seen != last:
                    edges.add(k)
                last = seen
            if last is not None and coarse[column.version]:
                first = next(a.versions[index] for a in coarse[column.version] if index in a.versions)
                self.current[index] = first
        fine: dict[int, list[list[Answer]]] = {}
        for k in sorted(edges):
            low = start + (k - 1) * _COARSE_S
            fine[k] = await self._sampler.versions_between(low, low + _COARSE_S, self._step)
        for k in range(times):
            if k in fine:
                low = start + (k - 1) * _COARSE_S
                for j in range(1, round(_COARSE_S / self._step) + 1):
                    self._note_all(low + j * self._step, [row[j] if row else Answer() for row in fine[k]])
            else:
                self._note_all(start + k * _COARSE_S, [row[k] if row else Answer() for row in coarse])
        low = start + (times - 1) * _COARSE_S
        if until > low:
            rest = await self._sampler.versions_between(low, until, self._step)
            for j in range(1, round((until - low) / self._step) + 1):
                self._note_all(low + j * self._step, [row[j] if row else Answer() for row in rest])

    def _note_all(self, at: float, answers: Sequence[Answer]) -> None:
        for index, column in enumerate(self._sampler.plan.columns):
            if column.version >= 0:
                self.note(index, at, answers[column.version].versions.get(index))

    def note(self, index: int, at: float, version: str | None) -> bool:
        """Take note of what served at `at`; silence changes nothing. True when the version changed."""
        before = self.current.get(index)
        if version is None or version == before:
            return False
        changes = self.changes.setdefault(index, [])
        if changes and at <= changes[-1][0]:
            return False  # replayed: already known
        self.current[index] = version
        if before is None and not changes:
            return False  # first sight of it: served since before we looked
        changes.append((at, before, version))
        self.began[index] = at
        return True

    def releases(self, rollbacks: Sequence[tuple[str, float, str]] = ()) -> tuple[Release, ...]:
        """Every change seen, oldest first. `rollbacks`: (environment/name, at, to version) of our own executions."""
        ours = {(name, to): at for name, at, to in rollbacks}
        found = []
        for index, changes in self.changes.items():
            name = self._sampler.rules[index].deployment.id
            for at, before, after in changes:
                made = ours.get((str(name), after))
                found.append(Release(name, at, before, after, rollback=made is not None and -60 <= at - made <= 3600))
        return tuple(sorted(found, key=lambda release: release.at))

    async def baselines(self, at: float) -> dict[tuple[int, int], float | Blind]:
        """The version baselines in force at `at`. Fetched once for each moment at which a version ended: deployments
        that changed together, or not at all, share one query."""
        missing: dict[tuple[SignalRule, float], list[tuple[int, int]]] = {}
        found: dict[tuple[int, int], float | Blind] = {}
        for index, number, signal in self._wanted:
            anchor = self._anchor(index, at)
            known = self._baselines.get((index, number))
            if known is None or known[0] != anchor or known[1] is Blind.QUERY_FAILED:
                missing.setdefault((signal, anchor), []).append((index, number))
            else:
                found[(index, number)] = known[1]
        for (signal, anchor), places in missing.items():
            medians = await self._medians(signal, anchor, {index for index, _ in places})
            for place in places:
                value = medians.get(place[0], Blind.NO_DATA) if isinstance(medians, dict) else medians
                self._baselines[place] = (anchor, value)
                found[place] = value
        return found

    def _anchor(self, index: int, at: float) -> float:
        """Where the version before ended: the last change before `at`; a version that has served for longer than we
        look back is compared with its own self two days ago (anchored at midnight UTC, so that all consoles agree)."""
        earlier = [change[0] for change in self.changes.get(index, ()) if change[0] <= at]
        return earlier[-1] if earlier else (at // _DAY_S) * _DAY_S - HISTORY_S

    async def _medians(self, signal: SignalRule, anchor: float, owners: set[int]) -> dict[int, float] | Blind:
        """The median of each owner's values over the signal's history before `anchor`; of a ratio, x over n summed."""
        history = signal.baseline.history_s if signal.baseline else _DAY_S
        step = max(self._step, history / _POINTS // self._step * self._step)
        span = (anchor - history, anchor - self._step, step)
        try:
            if signal.value is not None:
                values = await self._sampler.history(signal.value, owners, *span)
                return {owner: statistics.median(found) for owner, found in values.items()}
            x = await self._sampler.history(signal.x or "", owners, *span)
            n = await self._sampler.history(signal.n or "", owners, *span)
        except BackendError:
            return Blind.QUERY_FAILED
        return {owner: sum(x.get(owner, ())) / sum(trials) for owner, trials in n.items() if sum(trials) > 0}

"""What a policy's signals were made of: the recorded samples, judged once by the policy as it is now.

One walk over the ticks tells how good the data were, how baselines drifted, and keeps the stretches in which the
trigger, or a tighter one, had anything to say: what a change is tried on (`review.criteria_change`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass as mutable
from dataclasses import field
from datetime import UTC, datetime
from pathlib import Path

from rollback_console.decide.judge import FRESH
from rollback_console.decide.signals import limit_of
from rollback_console.engine.backtest import Judged, Lane
from rollback_console.engine.record import unpack
from rollback_console.journal.kinds import TickRecorded
from rollback_console.model.observation import Blind, Observation, Reading, Tick
from rollback_console.model.rules import BaselineKind, DeploymentRule, Expression, Not, SignalRule, Uses
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import SignalVerdict, TriggerMemory
from rollback_console.review.rates import Window
from rollback_console.review.sources import Source, open_source

MOST_S = 3_600.0  # a tick stands for the time to the next, at most so long
AROUND_S = 1_800.0  # after it was last of interest, a stretch goes on so long: holds end within
TIGHTEST = 0.5  # the tightest margin that may be tried, as a part of the one in force
_BLIND = (Blind.NO_DATA, Blind.NOT_A_NUMBER, Blind.QUERY_FAILED, Blind.STALE)
_ODD = (ValueError, KeyError, TypeError, IndexError, AttributeError)


@dataclass(frozen=True, slots=True)
class Quality:
    """How good one signal's data were: shares of the time that its deployments were sampled. `blind` in the order no
    data, not a number, query failed, stale."""

    policy: str
    signal: str
    hours: float  # deployment-hours that the samples stand for
    seen: float
    blind: tuple[float, float, float, float]
    too_few: float
    no_baseline: float


@dataclass(frozen=True, slots=True)
class Drifted:
    """One signal's baseline of one deployment: its mean in the first and the last calendar month with samples."""

    policy: str
    signal: str
    deployment: str
    first: float
    last: float
    months: int  # from the first to the last

    @property
    def change(self) -> float | None:
        """As a fraction of the first."""
        return (self.last - self.first) / abs(self.first) if self.first else None

    @property
    def a_month(self) -> float | None:
        """The same, a month in the mean (compound)."""
        if not self.months or self.first == 0 or self.last / self.first <= 0:
            return None
        return float((self.last / self.first) ** (1.0 / self.months)) - 1.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """Evaluations of one deployment that a change is tried on, and the memory before the first of them."""

    deployment: str
    before: TriggerMemory
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """All that the samples tell. `stretches` by policy; `other`: observations that the policy as it is now cannot
    judge, because its signals were others then; `gone`: ticks whose samples are not kept."""

    quality: tuple[Quality, ...]
    drift: tuple[Drifted, ...]
    stretches: Mapping[str, tuple[Stretch, ...]]
    ticks: int
    gone: int
    other: int


@mutable
class _Counted:
    """One signal's time, in seconds."""

    total: float = 0.0
    seen: float = 0.0
    blind: list[float] = field(default_factory=lambda: [0.0] * len(_BLIND))
    too_few: float = 0.0
    no_baseline: float = 0.0

    def add(self, rule: SignalRule, reading: Reading, verdict: SignalVerdict, seconds: float) -> None:
        self.total += seconds
        if verdict.breached is not None:
            self.seen += seconds
        elif reading.value is None:
            kind = reading.blind if reading.blind in _BLIND else Blind.NO_DATA
            self.blind[_BLIND.index(kind)] += seconds
        elif rule.minimum is not None and (reading.n is None or reading.n < rule.minimum):
            self.too_few += seconds
        else:
            self.no_baseline += seconds


class _One:
    """One deployment on its way through the ticks, judged by its policy as it is now."""

    def __init__(self, policy: str, rule: DeploymentRule) -> None:
        self.policy, self.rule = policy, rule
        self.names = [signal.name for signal in rule.signals]
        self.lane = Lane((rule,))
        self.at: float | None = None
        self.months: dict[tuple[int, str], list[float]] = {}  # (signal, month) -> sum, count
        self.stretches: list[Stretch] = []
        self._open: list[Observation] = []
        self._before, self._last = FRESH, 0.0
        self._everything = _negates(rule.trigger.when)

    def take(self, observation: Observation) -> Judged | None:
        """Judge it; None where it is not after the last (a clock was put back)."""
        if self.at is not None and observation.at <= self.at:
            return None
        self.at = observation.at
        before = self.lane.memories()[0]
        judged = next(iter(self.lane.take(Tick(observation.at, (observation,)))))
        self._keep(observation, before, judged)
        month = datetime.fromtimestamp(observation.at, UTC).strftime("%Y-%m")
        for number, signal in enumerate(judged.step.signals):
            rule = self.rule.signals[number]
            fixed = rule.baseline is not None and rule.baseline.kind is BaselineKind.FIXED
            if signal.baseline is not None and not fixed:
                total = self.months.setdefault((number, month), [0.0, 0.0])
                total[0] += signal.baseline
                total[1] += 1.0
        return judged

    def _keep(self, observation: Observation, before: TriggerMemory, judged: Judged) -> None:
        memory = judged.step.memory
        troubled = memory.active_since is not None or memory.fired_at is not None or self._everything
        if troubled or any(map(self._near, self.rule.signals, observation.readings, judged.step.signals)):
            if not self._open:
                self._before = before
            self._last = observation.at
        elif not self._open or observation.at - self._last > AROUND_S:
            self.end()
            return
        self._open.append(observation)

    @staticmethod
    def _near(rule: SignalRule, reading: Reading, verdict: SignalVerdict) -> bool:
        """Would it be degraded by the tightest margin that may be tried, or is anything suspected."""
        if verdict.breached or verdict.onset is not None:
            return True
        value, base, breach = reading.value, verdict.baseline, rule.breach
        if value is None:
            return False
        if breach.degraded_by is not None and base is not None and verdict.degradation is not None:
            return verdict.degradation > abs(base) * breach.degraded_by * TIGHTEST
        limit = limit_of(rule, base) if breach.curve is None else None
        if limit is None:
            return False
        return value > limit * TIGHTEST if breach.above is not None else value < limit / TIGHTEST

    def end(self) -> None:
        """The stretch is over."""
        if self._open:
            self.stretches.append(Stretch(str(self.rule.deployment.id), self._before, tuple(self._open)))
            self._open = []


class Walk:
    """Through the ticks of journals. `rules`: by environment/name, the policy's name and the rule as it is now."""

    def __init__(self, rules: Mapping[str, tuple[str, DeploymentRule]]) -> None:
        self._ones = {name: _One(policy, rule) for name, (policy, rule) in rules.items()}
        self._counted: dict[tuple[str, str], _Counted] = {}
        self._signals: dict[str, list[tuple[str, list[str]]]] = {}  # layout -> (deployment, its signals' names)
        self.ticks = self.gone = self.other = 0

    def read(self, path: Path, window: Window) -> Iterator[None]:
        """Read a journal, a step an entry. Raises as `open_source` does."""
        source = open_source(path)
        waiting: tuple[Tick, str] | None = None
        try:
            for each in source.walk():
                yield None
                body = each[1].parsed() if each is not None and each[1].kind == "tick" else None
                if not isinstance(body, TickRecorded) or not window.holds(body.at):
                    continue
                self.ticks += 1
                found = self._unpacked(source, body.blob)
                if found is None:
                    self.gone += 1
                    continue
                if waiting is not None:
                    self._take(*waiting, found[0].at - waiting[0].at)
                waiting = found
            if waiting is not None:
                self._take(*waiting, 0.0)
        finally:
            source.close()
            for one in self._ones.values():
                one.end()

    def _unpacked(self, source: Source, digest: str) -> tuple[Tick, str] | None:
        data = source.get_blob(digest)
        if data is None:
            return None
        try:
            layout = str(json.loads(data.partition(b"\n")[0])["layout"])
            stored = source.get_blob(layout)
            if layout not in self._signals:
                told = json.loads(stored or b"{}")
                self._signals[layout] = [(name, told["signals"][policy]) for name, policy in told["rows"]]
            return unpack(data, lambda _: stored), layout
        except _ODD:
            return None

    def _take(self, tick: Tick, layout: str, seconds: float) -> None:
        seconds = min(max(0.0, seconds), MOST_S)
        for (name, signals), observation in zip(self._signals[layout], tick.observations, strict=False):
            one = self._ones.get(name)
            if one is None:
                continue
            if signals != one.names:
                self.other += 1
                continue
            judged = one.take(observation)
            if judged is None:
                continue
            for rule, reading, verdict in zip(one.rule.signals, observation.readings, judged.step.signals, strict=True):
                self._counted.setdefault((one.policy, rule.name), _Counted()).add(rule, reading, verdict, seconds)

    def found(self) -> Sampled:
        """What was read so far."""
        stretches: dict[str, list[Stretch]] = {}
        for one in self._ones.values():
            stretches.setdefault(one.policy, []).extend(one.stretches)
        counted = sorted(self._counted.items(), key=lambda item: item[0][0])  # a policy's signals in their own order
        return Sampled(
            tuple(_quality(policy, signal, each) for (policy, signal), each in counted if each.total),
            tuple(each for one in self._ones.values() for each in _drift(one)),
            {policy: tuple(found) for policy, found in stretches.items()},
            self.ticks,
            self.gone,
            self.other,
        )


def _quality(policy: str, signal: str, counted: _Counted) -> Quality:
    total = counted.total
    blind = [each / total for each in counted.blind]
    return Quality(
        policy, signal, total / 3_600.0, counted.seen / total, (blind[0], blind[1], blind[2], blind[3]),
        counted.too_few / total, counted.no_baseline / total,
    )  # fmt: skip


def _drift(one: _One) -> Iterator[Drifted]:
    for number, signal in enumerate(one.rule.signals):
        months = sorted(month for which, month in one.months if which == number)
        if not months:
            continue
        first, last = (one.months[number, month] for month in (months[0], months[-1]))
        yield Drifted(
            one.policy, signal.name, str(one.rule.deployment.id), first[0] / first[1], last[0] / last[1],
            _apart(months[0], months[-1]),
        )  # fmt: skip


def _apart(first: str, last: str) -> int:
    """Calendar months between two, `2026-01` and `2026-03` being 2 apart."""
    (one, begin), (other, end) = (map(int, month.split("-")) for month in (first, last))
    return (other - one) * 12 + end - begin


def _negates(when: Expression) -> bool:
    """Does the condition hold where a signal is *not* breached: then a wider margin is not always laxer."""
    if isinstance(when, Not):
        return True
    if isinstance(when, Uses):
        return False
    items = [item[0] if isinstance(item, tuple) else item for item in when.items]
    return any(_negates(item) for item in items)

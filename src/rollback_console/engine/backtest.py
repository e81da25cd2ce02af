"""The very engine that watches, over the past: one lane a setting, all of them on the same ticks.

A lane judges as the live loop does (`decide.step`, and `decide` in full where a state changes) and keeps what became
of each deployment. Nothing was acted on, so nothing cools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from rollback_console.decide.detectability import Detectable, detectability
from rollback_console.decide.guards import Acts, holding
from rollback_console.decide.judge import FRESH, Step, decide, step
from rollback_console.decide.trigger import state_of
from rollback_console.decide.weighing import in_force
from rollback_console.engine.declared import Declared
from rollback_console.engine.sampler import Sampler
from rollback_console.model.backtest import Counted, Fire, Mark
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Norm, Observation, Tick
from rollback_console.model.rules import DeploymentRule, ExpectedChange, Worse
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import SignalVerdict, TriggerMemory, TriggerState, Verdict

_FIRING = (TriggerState.FIRED, TriggerState.CLEARING)
_WORST_DROP = 0.99  # as in `decide.impact`


@dataclass(frozen=True, slots=True)
class Turn:
    """A change of state: `before` is None at the first evaluation of all."""

    index: int
    before: TriggerState | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """One deployment at one evaluation."""

    index: int
    observation: Observation
    step: Step
    state: TriggerState
    turn: Turn | None


@dataclass(slots=True)
class _Row:
    """What became of one deployment so far."""

    memory: TriggerMemory = FRESH
    state: TriggerState | None = None
    fires: list[Fire] = field(default_factory=list)
    since: float | None = None  # it is firing since this evaluation
    before: bool = False  # and had fired before the first one
    rollbacks: list[float] = field(default_factory=list)
    blind_fires: int = 0
    version: str | None = None
    released: float | None = None


class Lane:
    """One setting's way through the past. `memories`: what it begins with; without any it knows nothing yet. `sampler`:
    who knows what is learned for these rules; without one nothing is. `declared`: the changes that people expected."""

    def __init__(
        self,
        rules: Sequence[DeploymentRule],
        memories: Mapping[int, TriggerMemory] | None = None,
        sampler: Sampler | None = None,
        declared: Declared | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self._sampler = sampler
        self._declared = declared
        self.at: float | None = None
        self._rows: list[_Row] = []
        self.begin(memories or {})

    def begin(self, memories: Mapping[int, TriggerMemory]) -> None:
        """Count from here, with these memories."""
        self.at, self._rows = None, [_Row() for _ in self.rules]
        for index, memory in memories.items():
            row = self._rows[index]
            row.memory, row.state = memory, state_of(memory, cooling=False)[0]

    async def prepare(self, start: float, end: float) -> None:
        """Have ready what is learned for the evaluations from `start` to `end`, and for a level frozen before."""
        if self._sampler is not None:
            carried = (each for row in self._rows for each in row.memory.evidence if each is not None)
            frozen = (each.frozen_at for each in carried if each.frozen_at is not None)
            await self._sampler.prepare(end, min(start, *frozen, start))

    def take(self, tick: Tick) -> Iterator[Judged]:
        """Judge one evaluation, deployment by deployment in the order of the rules."""
        first, self.at = self.at is None, tick.at
        for index, observation in enumerate(tick.observations):
            row, rule = self._rows[index], self.rules[index]
            if self._sampler is not None:
                observation = self._sampler.normed(index, observation, row.memory)
            done = step(rule, observation, row.memory)
            state, _ = state_of(done.memory, cooling=False)
            turn = None
            if state is not row.state or (first and state is not TriggerState.HEALTHY):
                verdict, _ = decide(rule, observation, row.memory)
                before = None if first and state is row.state else row.state
                if before is not None or state is not TriggerState.HEALTHY:
                    turn = Turn(index, before, verdict)
            if observation.version is not None and observation.version != row.version:
                row.released = tick.at if row.version is not None else None
                row.version = observation.version
            self._keep(row, rule, tick.at, state, done.memory)
            yield Judged(index, observation, done, state, turn)

    def _keep(self, row: _Row, rule: DeploymentRule, at: float, state: TriggerState, memory: TriggerMemory) -> None:
        firing = state in _FIRING
        if firing and row.since is None:
            row.since, row.before = at, row.state in _FIRING
            expected = self._declared.expected(str(rule.deployment.id), at) if self._declared is not None else ()
            if not row.before and not holding(rule.trigger, at, _acts(row, at, expected)):
                row.rollbacks.append(at)
        elif not firing and row.since is not None:
            row.fires.append(Fire(row.since, at, row.before))
            row.since = None
        if memory.blind_fired_at == at:
            row.blind_fires += 1
        row.memory, row.state = memory, state

    def memories(self) -> dict[int, TriggerMemory]:
        """What each deployment's trigger carries on."""
        return {index: row.memory for index, row in enumerate(self._rows)}

    def kept(self) -> tuple[float | None, list[_Row]]:
        """What became of the deployments, for a lane in another process to `keep`."""
        return self.at, self._rows

    def keep(self, numbers: Sequence[int], part: tuple[float | None, list[_Row]]) -> None:
        """Take over what became of the deployments with these numbers, as `kept` gave it."""
        self.at = part[0]
        for number, row in zip(numbers, part[1], strict=True):
            self._rows[number] = row

    def fires(self, index: int) -> tuple[Fire, ...]:
        """Every time a deployment fired, oldest first."""
        row = self._rows[index]
        return (*row.fires, Fire(row.since, None, row.before)) if row.since is not None else tuple(row.fires)

    def counted(self, index: int) -> Counted:
        """What a deployment came to, up to the last evaluation."""
        row, end, fires = self._rows[index], self.at or 0.0, self.fires(index)
        fired_s = sum((end if fire.end is None else fire.end) - fire.start for fire in fires)
        return Counted(sum(not fire.before for fire in fires), fired_s / 60.0, len(row.rollbacks), row.blind_fires)


def _acts(row: _Row, at: float, expected: tuple[ExpectedChange, ...]) -> Acts:
    """What the guards of an automatic action ask about a deployment that fires at `at`."""
    cleared = row.fires[-1].end if row.fires else None
    last = row.rollbacks[-1] if row.rollbacks else None
    return Acts(row.released, last, tuple(row.rollbacks[-100:]), at, cleared, expected)


def rows_of(lane: Lane) -> Iterator[tuple[DeploymentRule, Counted]]:
    """Each deployment's rule and what it came to."""
    for index, rule in enumerate(lane.rules):
        yield rule, lane.counted(index)


class Losses:
    """What marked incidents cost while they lasted, whoever noticed: revenue that did not come in, a minute.

    The formula is `decide.impact`'s, revenue d / (1 - d), with d the drop of the worst business signal that is worse
    when lower, breached or not. Where revenue or a drop is unknown at an evaluation, nothing is added for it.
    """

    def __init__(self, rules: Sequence[DeploymentRule], marks: Sequence[Mark]) -> None:
        numbers = {rule.deployment.id: index for index, rule in enumerate(rules)}
        self._marks: dict[int, list[Mark]] = {}
        for mark in marks:
            self._marks.setdefault(numbers[mark.deployment], []).append(mark)
        self._rules = tuple(rules)
        self._seen: dict[Mark, list[tuple[float, float | None]]] = {mark: [] for mark in marks}

    def add(self, judged: Judged) -> None:
        """Take note of an evaluation of the policy as it stands."""
        at = judged.observation.at
        for mark in self._marks.get(judged.index, ()):
            if mark.start <= at <= mark.end:
                rule = self._rules[judged.index]
                self._seen[mark].append((at, lost_per_minute(rule, judged.observation, judged.step.signals)))

    def kept(self) -> dict[Mark, list[tuple[float, float | None]]]:
        """What was taken note of, for another process to `keep`."""
        return self._seen

    def keep(self, part: Mapping[Mark, list[tuple[float, float | None]]]) -> None:
        """Take over what was taken note of elsewhere, of other deployments."""
        self._seen.update(part)

    def seen(self, mark: Mark) -> bool:
        """Was there an evaluation within the incident at all."""
        return bool(self._seen.get(mark))

    def until(self, mark: Mark, at: float) -> float | None:
        """What was lost from an incident's beginning until `at`; None where revenue was never known."""
        points = self._seen[mark]
        if not any(loss is not None for _, loss in points):
            return None
        total = 0.0
        for number, (when, loss) in enumerate(points):
            end = min(at, points[number + 1][0] if number + 1 < len(points) else mark.end)
            if loss is not None and end > when:
                total += loss * (end - when) / 60.0
        return total


def lost_per_minute(rule: DeploymentRule, observation: Observation, signals: Sequence[SignalVerdict]) -> float | None:
    """Revenue that does not come in, per minute; None where revenue, or how far it fell, is not known."""
    revenue = observation.revenue_per_minute
    drops = [
        verdict.degradation_pct / 100.0
        for each, verdict in zip(rule.signals, signals, strict=True)
        if each.area == "business" and each.worse is Worse.LOWER and verdict.degradation_pct is not None
    ]
    if revenue is None or not drops:
        return None
    drop = min(max(0.0, *drops), _WORST_DROP)
    return revenue * drop / (1.0 - drop)


@dataclass(frozen=True, slots=True)
class Seen:
    """What can be detected of one signal that is judged by evidence, at the traffic that a backtest met: `trials` a
    window in the mean, `p` and `norm` as last known."""

    deployment: DeploymentId
    signal: str
    trials: float
    p: float
    norm: Norm
    detectable: tuple[Detectable, ...]


class Traffic:
    """The traffic of signals that are judged by evidence, and what it allows to see."""

    def __init__(self, rules: Sequence[DeploymentRule]) -> None:
        self._rules = tuple(rules)
        self._met: dict[tuple[int, int], tuple[float, int, float, Norm]] = {}
        self._judged = [
            tuple(number for number, signal in enumerate(rule.signals) if signal.evidence is not None)
            for rule in self._rules
        ]

    def add(self, judged: Judged) -> None:
        """Take note of an evaluation's counts."""
        for number in self._judged[judged.index]:
            reading, verdict = judged.observation.readings[number], judged.step.signals[number]
            p = verdict.baseline
            if not reading.n or reading.norm is None or p is None:
                continue
            total, count, _, _ = self._met.get((judged.index, number), (0.0, 0, p, reading.norm))
            self._met[judged.index, number] = total + reading.n, count + 1, p, reading.norm

    def kept(self) -> dict[tuple[int, int], tuple[float, int, float, Norm]]:
        """What was met, for another process to `keep`."""
        return self._met

    def keep(self, numbers: Sequence[int], part: Mapping[tuple[int, int], tuple[float, int, float, Norm]]) -> None:
        """Take over what was met elsewhere, of the deployments with these numbers."""
        self._met.update({(numbers[index], signal): met for (index, signal), met in part.items()})

    def told(self) -> tuple[Seen, ...]:
        """What can be seen of each signal, in the order of the rules."""
        out = []
        for (index, number), (total, count, p, norm) in sorted(self._met.items()):
            rule, signal = self._rules[index], self._rules[index].signals[number]
            if signal.evidence is not None and 0.0 < p < 1.0:
                trials = total / count
                judged = in_force(signal.evidence, norm)
                found = detectability(judged, signal.worse, p, trials, norm, window_s=signal.window_s)
                out.append(Seen(rule.deployment.id, signal.name, trials, p, norm, found))
        return tuple(out)

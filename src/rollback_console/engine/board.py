"""The fleet as it stands, and the Snapshot of it: most urgent first, grouped by incident."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import Observation
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.snapshot import DeploymentView, Trace
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict

TRACE_POINTS = 60
_RANK = {
    TriggerState.FIRED: 0,
    TriggerState.PENDING: 2,
    TriggerState.CLEARING: 3,
    TriggerState.BLIND: 4,
    TriggerState.COOLING: 5,
    TriggerState.HEALTHY: 6,
}


def urgency(verdict: Verdict | None) -> int:
    """How urgent a verdict is, 0 the most; not yet judged comes before what is known to be well."""
    if verdict is None:
        return 5
    if verdict.fired_as_blind and verdict.state is not TriggerState.FIRED:
        return 1
    return _RANK[verdict.state]


class Board:
    """Per deployment (by number): memory, verdict and the trace of each signal."""

    def __init__(self, rules: Sequence[DeploymentRule], step_s: float) -> None:
        self.rules = tuple(rules)
        self._step = step_s
        self.memories: dict[int, TriggerMemory] = {}
        self.before: dict[int, TriggerMemory] = {}
        self.verdicts: dict[int, Verdict] = {}
        self._values = [[deque[float | None](maxlen=TRACE_POINTS) for _ in rule.signals] for rule in self.rules]
        self._bases = [[deque[float | None](maxlen=TRACE_POINTS) for _ in rule.signals] for rule in self.rules]
        self._revision = 0
        self.registry_versions: dict[int, str | None] = {}

    def trace(self, index: int, observations: Iterable[Observation]) -> None:
        """Add observations, oldest first, to a deployment's traces."""
        values, bases = self._values[index], self._bases[index]
        for observation in observations:
            for number, reading in enumerate(observation.readings):
                values[number].append(reading.value)
                bases[number].append(reading.baseline)

    def put(self, index: int, before: TriggerMemory, verdict: Verdict, after: TriggerMemory) -> None:
        self.before[index], self.verdicts[index], self.memories[index] = before, verdict, after

    def by_id(self) -> dict[DeploymentId, Verdict]:
        return {self.rules[index].deployment.id: verdict for index, verdict in self.verdicts.items()}

    def onsets(self) -> dict[DeploymentId, float]:
        """When each deployment's present trouble began: its first breach, else its first blindness."""
        found = {}
        for index, memory in self.memories.items():
            times = [time for time in (memory.active_since, memory.blind_since) if time is not None]
            if times:
                found[self.rules[index].deployment.id] = min(times)
        return found

    def views(self, incidents: Sequence[Incident], snoozed: Mapping[str, float]) -> tuple[DeploymentView, ...]:
        """Every deployment, most urgent first; members of one incident stand together, at their most urgent's place."""
        self._revision += 1
        member_of = {name: incident.id for incident in incidents for name in incident.members}
        rank_of: dict[str, tuple[int, float]] = {}
        for index, rule in enumerate(self.rules):
            incident = member_of.get(rule.deployment.id)
            if incident is not None:
                verdict = self.verdicts.get(index)
                rank = (urgency(verdict), -(verdict.impact.score if verdict else 0.0))
                rank_of[incident] = min(rank_of.get(incident, rank), rank)
        rows = []
        for index, rule in enumerate(self.rules):
            name = rule.deployment.id
            verdict, incident = self.verdicts.get(index), member_of.get(name)
            own = (urgency(verdict), -(verdict.impact.score if verdict else 0.0))
            left = verdict.dwell_remaining_s if verdict and verdict.dwell_remaining_s is not None else 0.0
            key = (*(rank_of[incident] if incident else own), incident or "~", *own, left, name)
            view = DeploymentView(
                rule,
                verdict,
                self._traces(index),
                self.registry_versions.get(index),
                incident,
                snoozed.get(str(name)),
                self._revision,
            )
            rows.append((key, view))
        rows.sort(key=lambda row: row[0])
        return tuple(view for _, view in rows)

    def _traces(self, index: int) -> tuple[Trace, ...]:
        verdict = self.verdicts.get(index)
        until = verdict.at if verdict else 0.0
        return tuple(
            Trace(signal.name, self._step, until, tuple(values), tuple(bases))
            for signal, values, bases in zip(
                self.rules[index].signals, self._values[index], self._bases[index], strict=True
            )
        )

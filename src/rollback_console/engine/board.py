"""The fleet as it stands, and the Snapshot of it: most urgent first, grouped by incident."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from rollback_console.decide.incidents import Trouble
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import Observation
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.snapshot import DeploymentView, Trace
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict

if TYPE_CHECKING:
    from rollback_console.model.declared import Expectation

TRACE_POINTS = 60
_NOTHING_EXPECTED: Mapping[str, Expectation] = {}
_Key = tuple[int, float, float, int]
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
    """Per deployment (by number): memory, verdict and the trace of each signal.

    What a Snapshot needs of a deployment is made when the deployment changes, so that publishing is cheap.
    """

    def __init__(self, rules: Sequence[DeploymentRule], step_s: float) -> None:
        self.rules = tuple(rules)
        self._step = step_s
        self.memories: dict[int, TriggerMemory] = {}
        self.before: dict[int, TriggerMemory] = {}
        self.verdicts: dict[int, Verdict] = {}
        self.registry_versions: dict[int, str | None] = {}
        self.last_seen: Callable[[int], tuple[str, float] | None] = lambda index: None  # (version, at), by serving
        self._traces = [tuple(Trace(signal.name, step_s, 0.0, ()) for signal in rule.signals) for rule in self.rules]
        self._views: list[DeploymentView | None] = [None] * len(self.rules)
        by_name = sorted(range(len(self.rules)), key=lambda index: self.rules[index].deployment.id)
        self._rank = {index: rank for rank, index in enumerate(by_name)}  # numbers compare faster than names
        self._keys: list[_Key] = [_key(None, self._rank[index]) for index in range(len(self.rules))]
        self._revision = 0

    def trace(self, index: int, observations: Sequence[Observation]) -> None:
        """Add observations, oldest first and a step apart, to a deployment's traces. What they say again takes the
        place of what was there; a hole before them stays one."""
        if not observations:
            return
        self._views[index] = None
        first, until = observations[0].at, observations[-1].at
        traces = []
        for number, old in enumerate(self._traces[index]):
            values, bases = old.values, old.baselines
            ahead = round((first - old.until) / self._step) - 1  # evaluations missing between; negative: said again
            if ahead < 0:
                values, bases = values[:ahead], bases[:ahead]
            elif ahead and values:
                hole = (None,) * min(ahead, TRACE_POINTS)
                values, bases = values + hole, bases + hole
            new = observations[-TRACE_POINTS:]
            values += tuple([each.readings[number].value for each in new])
            bases += tuple([each.readings[number].baseline for each in new])
            traces.append(Trace(old.signal, self._step, until, values[-TRACE_POINTS:], bases[-TRACE_POINTS:]))
        self._traces[index] = tuple(traces)

    def put(self, index: int, before: TriggerMemory, verdict: Verdict, after: TriggerMemory) -> None:
        self.before[index], self.verdicts[index], self.memories[index] = before, verdict, after
        self._views[index], self._keys[index] = None, _key(verdict, self._rank[index])

    def forget(self, index: int) -> None:
        """A deployment of which nothing is known after all."""
        if index in self.verdicts:
            del self.before[index], self.verdicts[index], self.memories[index]
            self._views[index], self._keys[index] = None, _key(None, self._rank[index])

    def newest(self) -> float | None:
        """The newest evaluation of any deployment, None before the first."""
        return max((verdict.at for verdict in self.verdicts.values()), default=None)

    def by_id(self) -> dict[DeploymentId, Verdict]:
        return {self.rules[index].deployment.id: verdict for index, verdict in self.verdicts.items()}

    def troubles(self) -> dict[DeploymentId, Trouble]:
        """How each deployment's present trouble began. A signal that was blind for a week is not when today's breach
        began."""
        found = {}
        for index, memory in self.memories.items():
            if memory.active_since is not None:
                found[self.rules[index].deployment.id] = Trouble(memory.active_since, memory.onset_signals)
            elif memory.blind_since is not None:
                found[self.rules[index].deployment.id] = Trouble(memory.blind_since)
        return found

    def views(
        self,
        incidents: Sequence[Incident],
        snoozed: Mapping[str, float],
        expected: Mapping[str, Expectation] = _NOTHING_EXPECTED,
    ) -> tuple[DeploymentView, ...]:
        """Every deployment, most urgent first; members of one incident stand together, at their most urgent's place.
        `snoozed`, `expected`: by environment/name."""
        self._revision += 1
        member_of = {name: incident.id for incident in incidents for name in incident.members}
        incident_of = {
            index: member_of[rule.deployment.id]
            for index, rule in enumerate(self.rules if member_of else ())
            if rule.deployment.id in member_of
        }
        first: dict[str, tuple[int, float]] = {}
        for index, incident in incident_of.items():
            place = self._keys[index][:2]
            first[incident] = min(first.get(incident, place), place)
        rows = []
        for index, key in enumerate(self._keys):
            member = incident_of.get(index)
            place = key[:2] if member is None else first[member]
            rows.append((*place, member or "~", key, self._view(index, member, snoozed, expected)))
        rows.sort(key=itemgetter(0, 1, 2, 3))
        return tuple([row[4] for row in rows])

    def _view(
        self, index: int, incident: str | None, snoozed: Mapping[str, float], expected: Mapping[str, Expectation]
    ) -> DeploymentView:
        """A deployment's view: the one made before, where nothing about it has changed."""
        rule, view = self.rules[index], self._views[index]
        until = snoozed.get(str(rule.deployment.id)) if snoozed else None
        registry = self.registry_versions.get(index)
        change = expected.get(str(rule.deployment.id)) if expected else None
        if (
            view is None
            or view.incident != incident
            or view.snoozed_until != until
            or view.registry_version != registry
            or view.expected != change
        ):
            traces, verdict = self._traces[index], self.verdicts.get(index)
            seen = self.last_seen(index) if verdict is not None and verdict.version is None else None
            version, at = seen if seen is not None else (None, None)
            view = DeploymentView(rule, verdict, traces, registry, incident, until, self._revision, version, at, change)
            self._views[index] = view
        return view


def _key(verdict: Verdict | None, rank: int) -> _Key:
    """Where a deployment stands in the fleet: by urgency, impact, time left, name."""
    if verdict is None:
        return urgency(None), -0.0, 0.0, rank
    left = verdict.dwell_remaining_s if verdict.dwell_remaining_s is not None else verdict.eta_s
    return urgency(verdict), -verdict.impact.score, left or 0.0, rank

"""Deployments that degrade together are one incident: by shared dependency, by onset, by symptom.

A function of the verdicts and the releases, so that a console opened cold names the same incidents as one that watched
all along. `previous` only keeps an open incident's id when its first member has recovered meanwhile.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import field, replace

from rollback_console.decide.attribution import Case, Release, attribute
from rollback_console.decide.clues import unanswered
from rollback_console.decide.origin import Origin, controls, merely_suspected, onset_of, origins, symptoms
from rollback_console.decide.shared import Dependencies
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.rules import DeploymentRule, ExpectedChange
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState, Verdict

SHARED_ONSET_S = 1800.0  # with a shared dependency: onsets within half an hour of each other
BARE_ONSET_S = 120.0  # with nothing shared but the moment and the signal
_TROUBLE = (TriggerState.PENDING, TriggerState.FIRED, TriggerState.CLEARING, TriggerState.BLIND)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What grouping needs to know: the rules, the releases seen (oldest first), to which version a rollback of a
    deployment is under way, and which changes people expect, declared by hand."""

    rules: Mapping[DeploymentId, DeploymentRule]
    releases: Sequence[Release]
    executing: Mapping[DeploymentId, str] = field(default_factory=dict)
    expected: Mapping[DeploymentId, tuple[ExpectedChange, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trouble:
    """How a deployment's present trouble began: its first breach (else blindness), Unix seconds; what was breached."""

    onset: float
    signals: tuple[str, ...] = ()


def group(
    fleet: Fleet,
    verdicts: Mapping[DeploymentId, Verdict],
    troubles: Mapping[DeploymentId, Trouble],
    previous: Sequence[Incident] = (),
    seen_at: float | None = None,
) -> tuple[Incident, ...]:
    """The open incidents, worst first (most members alarming, then the earliest onset).

    `troubles`: of each deployment in trouble. A lone pending or blind deployment is not an incident yet; one that
    fired, or two that share a cause, are.

    `previous`: the incidents open at the evaluation before; or, with `seen_at` (Unix seconds), at that time, and
    nothing was seen since: what began later is then another trouble, even of the same deployment.
    """
    onsets = {name: trouble.onset for name, trouble in troubles.items()}
    goes_on = {name for name in verdicts if seen_at is None or onsets.get(name, seen_at) <= seen_at}
    previous = [replace(old, members=tuple(name for name in old.members if name in goes_on)) for old in previous]
    troubled = sorted(
        (
            name
            for name, verdict in verdicts.items()
            if name in onsets
            and (verdict.state in _TROUBLE or verdict.fired_as_blind)
            and not merely_suspected(verdict)
        ),
        key=lambda name: (onsets[name], name),
    )
    blind = sum(1 for verdict in verdicts.values() if verdict.blind)
    known = origins(
        fleet.rules,
        verdicts,
        {name: onset_of(verdicts[name], troubles[name].onset, troubles[name].signals) for name in troubled},
        fleet.releases,
    )
    dependencies = Dependencies(fleet.rules)
    found = []
    for members in _components(fleet, troubled, known, verdicts):
        alarming = sum(1 for name in members if verdicts[name].alarming)
        if not alarming and len(members) < 2:
            continue
        attribution, advice, sentence = attribute(_case(fleet, members, known, verdicts, blind, dependencies))
        onset = onsets[members[0]]
        incident = Incident(_id(members[0], onset), members, onset, attribution, sentence, advice)
        found.append((-alarming, onset, incident))
    return _keeping(tuple(incident for *_, incident in sorted(found, key=lambda item: item[:2])), previous)


class _Together:
    """Who degraded with whom: union-find over numbers in the order of their first breaches (a thousand may be in
    trouble). `onsets`: their likely beginnings; `off_s`: by how much these may be off."""

    def __init__(self, onsets: Sequence[float], off_s: Sequence[float]) -> None:
        self._parent = list(range(len(onsets)))
        self._onsets, self._off = onsets, off_s

    def find(self, number: int) -> int:
        parent = self._parent
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    def join(self, numbers: Sequence[int], within: float) -> None:
        """Join neighbours in order of onset that began within `within` seconds of one another."""
        for one, other in itertools.pairwise(sorted(numbers, key=lambda number: (self._onsets[number], number))):
            if self._onsets[other] - self._onsets[one] <= within + max(self._off[one], self._off[other]):
                self._parent[self.find(other)] = self.find(one)

    def groups(self) -> list[list[int]]:
        gathered: dict[int, list[int]] = {}
        for number in range(len(self._parent)):  # in order of first breach, so that members are too
            gathered.setdefault(self.find(number), []).append(number)
        return list(gathered.values())


def _case(
    fleet: Fleet,
    members: tuple[DeploymentId, ...],
    known: Mapping[DeploymentId, Origin],
    verdicts: Mapping[DeploymentId, Verdict],
    blind: int,
    dependencies: Dependencies,
) -> Case:
    """What is known about deployments in trouble together."""
    acquitted = {}
    for name in members:
        release, why = known[name].release, known[name].acquitted
        if release is not None and why:
            acquitted[name] = (release, why)
    return Case(
        members,
        {name: known[name].onset.at for name in members},
        {name: verdicts[name] for name in members},
        fleet.rules,
        fleet.releases,
        len(verdicts),
        blind,
        fleet.executing,
        {name: blamed for name in members if (blamed := known[name].blamed) is not None},
        acquitted,
        _controls_well(fleet, members, known, verdicts),
        dependencies,
        fleet.expected,
    )


def _controls_well(
    fleet: Fleet,
    members: Sequence[DeploymentId],
    known: Mapping[DeploymentId, Origin],
    verdicts: Mapping[DeploymentId, Verdict],
) -> dict[DeploymentId, DeploymentId]:
    """Of members whose release is to blame: a control of theirs that is seen and is not in trouble."""
    found = {}
    for name in members:
        if known[name].blamed is not None:
            well = [c for c in controls(fleet.rules[name], fleet.rules) if c in verdicts and c not in known]
            if well:
                found[name] = well[0]
    return found


def _components(
    fleet: Fleet,
    troubled: Sequence[DeploymentId],
    known: Mapping[DeploymentId, Origin],
    verdicts: Mapping[DeploymentId, Verdict],
) -> list[tuple[DeploymentId, ...]]:
    by_cause: dict[str, list[int]] = {}
    by_symptom: dict[str, list[int]] = {}
    unseen: list[int] = []
    for number, name in enumerate(troubled):
        verdict = verdicts[name]
        if unanswered(verdict):
            unseen.append(number)
            continue  # that a backend does not answer says nothing of what else they share
        has_release = known[name].blamed is not None
        for cause in _causes(fleet.rules[name], has_release=has_release):
            by_cause.setdefault(cause, []).append(number)
        if not has_release:
            for symptom in symptoms(verdict, known[name].onset.signals):
                by_symptom.setdefault(f"{name.environment}:{symptom}", []).append(number)
    together = _Together([known[name].onset.at for name in troubled], [known[name].onset.off_s for name in troubled])
    for numbers in by_cause.values():
        together.join(numbers, SHARED_ONSET_S)
    for numbers in by_symptom.values():
        together.join(numbers, BARE_ONSET_S)
    together.join(unseen, SHARED_ONSET_S)
    return [tuple(troubled[number] for number in numbers) for numbers in together.groups()]


def _causes(rule: DeploymentRule, *, has_release: bool) -> tuple[str, ...]:
    """What a deployment can degrade with: those that depend on it; what it depends on, unless its own release says
    more about it than what it shares."""
    environment = rule.deployment.id.environment
    itself = f"{environment}:deployment/{rule.deployment.id.name}"
    if has_release:
        return (itself,)
    return (itself, *(f"{environment}:{dependency}" for dependency in rule.deployment.depends_on))


def _id(first: DeploymentId, onset: float, taken: str = "") -> str:
    return "inc-" + hashlib.sha256(f"{first}@{onset:.3f}{taken}".encode()).hexdigest()[:8]


def _keeping(incidents: tuple[Incident, ...], previous: Sequence[Incident]) -> tuple[Incident, ...]:
    """Give each incident the name it had, by a member in common; an old name goes to one incident only."""
    names = [old for old in previous if old.closed_at is None]
    kept: list[Incident] = []
    new: list[int] = []
    for incident in incidents:
        old = next((old for old in names if not set(old.members).isdisjoint(incident.members)), None)
        if old is None:
            new.append(len(kept))
        else:
            names.remove(old)
            incident = replace(incident, id=old.id, onset=min(old.onset, incident.onset), commander=old.commander)
        kept.append(incident)
    taken = {incident.id for number, incident in enumerate(kept) if number not in new}
    for number in new:  # its first member may have left an incident that still bears its name
        while kept[number].id in taken:
            kept[number] = replace(kept[number], id=_id(kept[number].members[0], kept[number].onset, kept[number].id))
        taken.add(kept[number].id)
    return tuple(kept)

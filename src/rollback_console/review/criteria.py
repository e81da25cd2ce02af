"""The criteria, audited: how each policy's trigger and signals did, by what was recorded and how people judged it.

Definitions: docs/measures.md, "The criteria audit". `review.criteria_samples` reads the samples beside it, and
`review.criteria_change` proposes a change with its backtest.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from rollback_console.errors import ConsoleError
from rollback_console.journal.entry import Entry
from rollback_console.model.judgement import FALSE_ALARM, Judgement
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy.load import LoadedPolicy
from rollback_console.review.criteria_fires import Fire, Fires
from rollback_console.review.moves import Move, moves_of
from rollback_console.review.past import Episode, Past
from rollback_console.review.rates import Window
from rollback_console.review.sources import open_source

LOOK_BACK_S = 86_400.0  # a fire so long before a rollback's decision is the one that led to it


@dataclass(frozen=True, slots=True)
class Missed:
    """Trouble that no trigger told of: a rollback without a fire, or an incident judged real in which none fired."""

    at: float
    policy: str
    deployment: str
    what: str


@dataclass(frozen=True, slots=True)
class SignalAudit:
    """One signal of a policy. `fires`: those in which it had broken; `lead_s`: the mean, over those that it led and
    another signal followed. `since`: it has been judged as it is now."""

    policy: str
    signal: str
    since: float
    fires: int
    right: int
    wrong: int
    led: int
    lead_s: float | None


@dataclass(frozen=True, slots=True)
class TriggerAudit:
    """One policy's trigger. `since`: it has been as it is now. `kept_s`: the median time from the condition's beginning
    to the fire; `needed_s`: how long the longest wrong fire's condition held (a longer dwell would have avoided them
    all), None without one; `earlier_s`: by how much right fires could have come earlier, in the mean."""

    policy: str
    version: int
    since: float
    deployments: tuple[str, ...]
    fires: tuple[Fire, ...]
    missed: tuple[Missed, ...]
    dwell_s: float | None
    kept_s: float | None
    needed_s: float | None
    earlier_s: float | None
    reviewed: float  # when its policy last changed
    overdue_s: float | None  # beyond `review_every`, below nothing: not yet; None: the policy names none
    signals: tuple[SignalAudit, ...]
    problem: str = ""  # why its policy cannot be read

    def judged(self, word: str) -> int:
        """How many fires were judged so ("": not judged)."""
        return sum(fire.judged == word for fire in self.fires)


@dataclass(frozen=True, slots=True)
class Version:
    """A policy as it was in force from `at` on; `loaded` is None where its bytes are gone or cannot be read."""

    at: float
    digest: str
    loaded: LoadedPolicy | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Policies:
    """Every policy's versions in their order, by its name; and whose each digest is."""

    versions: Mapping[str, tuple[Version, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    def last(self, name: str) -> Version:
        return self.versions[name][-1]

    def rules(self) -> dict[str, tuple[str, DeploymentRule]]:
        """By environment/name, the policy that names it now, and its rule; of several, the last to come into force."""
        newest = sorted(self.versions.items(), key=lambda each: each[1][-1].at)
        return {
            str(rule.deployment.id): (name, rule)
            for name, versions in newest
            for rule in (versions[-1].loaded.rules if versions[-1].loaded is not None else ())
        }


def policies_of(past: Past, blobs: Mapping[str, bytes]) -> Policies:
    """Out of what was in force, and the policies' bytes by digest."""
    found: dict[str, list[Version]] = {}
    names: dict[str, str] = {}
    for paper in past.papers:
        names.setdefault(paper.digest, paper.name)
        versions = found.setdefault(paper.name, [])
        if not versions or versions[-1].digest != paper.digest:
            versions.append(_version(paper.at, paper.digest, blobs.get(paper.digest)))
    return Policies({name: tuple(versions) for name, versions in sorted(found.items())}, names)


def _version(at: float, digest: str, data: bytes | None) -> Version:
    from rollback_console.policy.load import parse_policy

    if data is None:
        return Version(at, digest, None, "its bytes are not in what was read")
    try:
        return Version(at, digest, parse_policy(data, f"policy {digest[:12]}"))
    except ConsoleError as error:
        return Version(at, digest, None, plain(error.message, 200))


# -- fires


def recorded(past: Past, paths: Iterable[Path]) -> tuple[Policies, tuple[Fire, ...]]:
    """The policies of journals of any form and every fire in them, as far as they can be read."""
    blobs: dict[str, bytes] = {}
    turns: list[Entry] = []
    for path in paths:
        source = open_source(path)
        try:
            turns += [each[1] for each in source.walk() if each is not None and each[1].kind == "transition"]
            for digest in {paper.digest for paper in past.papers} - set(blobs):
                data = source.get_blob(digest)
                if data is not None:
                    blobs[digest] = data
        finally:
            source.close()
    policies = policies_of(past, blobs)
    fires = Fires(policies.names)
    for entry in turns:
        fires.take(entry)
    return policies, fires.all()


def judged_fires(past: Past, fires: Sequence[Fire], moves: Sequence[Move]) -> tuple[Fire, ...]:
    """The fires with what people made of them."""
    return tuple(_judged(past, fire, [m for m in moves if m.deployment == fire.deployment]) for fire in fires)


def _judged(past: Past, fire: Fire, moves: Sequence[Move]) -> Fire:
    until = fire.ended if fire.ended is not None else math.inf
    back = next((m for m in moves if m.is_rollback and fire.at <= _decided(m) <= until), None)
    said = back.judgement if back is not None else None
    if said is None:
        around = _incident_of(past, fire)
        said = past.judgement(around.id) if around is not None else None
    fire = replace(fire, rolled_back=None if back is None else _decided(back))
    if said is None:
        return fire
    return replace(fire, judged=verdict_on(said, rolled_back=back is not None), root_cause=said.root_cause)


def verdict_on(said: Judgement, *, rolled_back: bool) -> str:
    """Was the fire right or wrong, by the judgement; "" where that does not say."""
    if said.root_cause:
        return "wrong" if said.root_cause.casefold() == FALSE_ALARM else "right"
    return said.right if rolled_back and said.right in ("right", "wrong") else ""


def _decided(move: Move) -> float:
    return move.decided_at if move.decided_at is not None else move.at


def _incident_of(past: Past, fire: Fire) -> Episode | None:
    """The last incident to begin that the deployment was in when it fired."""
    found = [
        each
        for each in past.episodes.values()
        if fire.deployment in each.members
        and each.onset <= fire.at
        and (each.closed_at is None or each.closed_at >= fire.at)
    ]
    return max(found, key=lambda each: (each.onset, each.id), default=None)


# -- what was missed


def missed(past: Past, fires: Sequence[Fire], moves: Sequence[Move], window: Window) -> tuple[Missed, ...]:
    """Rollbacks without a fire, and incidents judged real in which nothing fired; each trouble once."""
    found = []
    for move in moves:
        if not move.is_rollback or not window.holds(move.at) or _nothing_there(move.judgement):
            continue
        decided = _decided(move)
        if not any(_told_of(fire, move.deployment, decided) for fire in fires):
            what = f"{move.klass} v{move.before} to v{move.after} without a fire (entry {move.seq})"
            found.append(Missed(decided, _policy_at(past, move.deployment, decided), move.deployment, what))
    for each in past.episodes.values():
        said, end = past.judgement(each.id), math.inf if each.closed_at is None else each.closed_at
        if not window.holds(each.onset) or not each.members or said is None or not said.root_cause:
            continue
        if said.root_cause.casefold() == FALSE_ALARM:
            continue
        fired = any(f.deployment in each.members and each.onset <= f.at <= end for f in fires)
        told = any(m.deployment in each.members and each.onset <= m.at <= end for m in found)
        if not fired and not told:
            first = each.members[0]
            what = f"incident {each.id} in which nothing fired: {said.root_cause}"
            found.append(Missed(each.onset, _policy_at(past, first, each.onset), first, what))
    return tuple(sorted(found, key=lambda each: each.at))


def _nothing_there(said: Judgement | None) -> bool:
    return said is not None and (said.right == "wrong" or said.root_cause.casefold() == FALSE_ALARM)


def _told_of(fire: Fire, deployment: str, decided: float) -> bool:
    ended = math.inf if fire.ended is None else fire.ended
    return fire.deployment == deployment and fire.at <= decided <= ended + LOOK_BACK_S


def _policy_at(past: Past, deployment: str, at: float) -> str:
    """The name of the last policy that named the deployment by then, else of the first after; "" where none does."""
    naming = [paper for paper in past.papers if any(each.deployment == deployment for each in paper.deployments)]
    before = [paper for paper in naming if paper.at <= at]
    return before[-1].name if before else naming[0].name if naming else ""


# -- the audit


def audit(past: Past, policies: Policies, found: Sequence[Fire], window: Window) -> tuple[TriggerAudit, ...]:
    """Every policy's trigger and signals. `found`: all fires of the journals, as `Fires` made them."""
    moves = moves_of(past)
    fires = judged_fires(past, found, moves)
    unseen = missed(past, fires, moves, window)
    end = past.last_at or 0.0
    return tuple(
        _trigger(
            name, versions, [f for f in fires if f.policy == name and window.holds(f.at)],
            [m for m in unseen if m.policy == name], end,
        )
        for name, versions in policies.versions.items()
    )  # fmt: skip


def _trigger(
    name: str, versions: Sequence[Version], fires: Sequence[Fire], unseen: Sequence[Missed], end: float
) -> TriggerAudit:
    last = versions[-1]
    loaded = last.loaded
    wrong = [fire.held_s for fire in fires if fire.judged == "wrong" and fire.held_s is not None]
    right = [fire.at - fire.since for fire in fires if fire.judged == "right"]
    kept = [fire.at - fire.since for fire in fires]
    every = loaded.policy.review_every if loaded is not None else None
    return TriggerAudit(
        name,
        loaded.policy.version if loaded is not None else 0,
        _since(versions, "trigger"),
        tuple(str(rule.deployment.id) for rule in loaded.rules) if loaded is not None else (),
        tuple(fires),
        tuple(unseen),
        loaded.rules[0].trigger.dwell_s if loaded is not None else None,
        statistics.median(kept) if kept else None,
        max(wrong, default=None),
        math.fsum(right) / len(right) if right else None,
        last.at,
        None if every is None else end - last.at - every,
        tuple(_signals(name, versions, fires)),
        last.problem,
    )


def _signals(name: str, versions: Sequence[Version], fires: Sequence[Fire]) -> Iterator[SignalAudit]:
    loaded = versions[-1].loaded
    for rule in loaded.rules[0].signals if loaded is not None else ():
        if rule.aside:
            continue
        mine = [fire for fire in fires if any(broke == rule.name for broke, _ in fire.breaches)]
        led = [fire for fire in mine if rule.name in fire.led]
        leads = [fire.lead_s for fire in led if fire.lead_s is not None]
        yield SignalAudit(
            name, rule.name, _since(versions, rule.name), len(mine),
            sum(fire.judged == "right" for fire in mine), sum(fire.judged == "wrong" for fire in mine),
            len(led), math.fsum(leads) / len(leads) if leads else None,
        )  # fmt: skip


def _since(versions: Sequence[Version], what: str) -> float:
    """Since when the trigger (`trigger`), or the signal of that name, has been as it is in the last version."""
    now = _part(versions[-1], what)
    since = versions[-1].at
    for version in reversed(versions):
        if _part(version, what) != now:
            break
        since = version.at
    return since


def _part(version: Version, what: str) -> object:
    if version.loaded is None:
        return version.digest
    rule = version.loaded.rules[0]
    if what == "trigger":
        return rule.trigger
    return next((signal for signal in rule.signals if signal.name == what), None)

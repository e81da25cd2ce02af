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
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.model.judgement import Judgement
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy.load import LoadedPolicy
from rollback_console.review.moves import Move, moves_of
from rollback_console.review.past import Episode, Past
from rollback_console.review.rates import Window
from rollback_console.review.sources import open_source

FALSE_ALARM = "false alarm"  # the root cause of a fire behind which there was nothing
LOOK_BACK_S = 86_400.0  # a fire so long before a rollback's decision is the one that led to it
_FIRING = ("fired", "clearing")
_TROUBLE = ("pending", *_FIRING)


@dataclass(frozen=True, slots=True)
class Fire:
    """One time that a trigger fired (Unix seconds). `since`: its condition held from then on, until `gone`; `ended`:
    when it was over; both None where that had not come by the end. `breaches`: when each signal broke, first first;
    `judged`: right, wrong or "" (nobody said, or nobody can tell). `rolled_back`: a rollback was decided meanwhile."""

    deployment: str
    policy: str
    at: float
    since: float
    gone: float | None
    ended: float | None
    breaches: tuple[tuple[str, float], ...]
    judged: str = ""
    root_cause: str = ""
    rolled_back: float | None = None

    @property
    def led(self) -> tuple[str, ...]:
        """The signals that broke first: several where they did at once."""
        return tuple(name for name, at in self.breaches if at == self.breaches[0][1])

    @property
    def lead_s(self) -> float | None:
        """By how much the first led the next; None where none followed."""
        later = [at for _, at in self.breaches if at > self.breaches[0][1]]
        return min(later) - self.breaches[0][1] if later else None

    @property
    def held_s(self) -> float | None:
        """For how long its condition held."""
        return None if self.gone is None else self.gone - self.since


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


def transitions(paths: Iterable[Path]) -> Iterator[Entry]:
    """The `transition` entries of journals of any form, as far as they can be read."""
    for path in paths:
        source = open_source(path)
        try:
            for found in source.walk():
                if found is not None and found[1].kind == "transition":
                    yield found[1]
        finally:
            source.close()


class Fires:
    """Folds transitions into fires, deployment by deployment."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._open: dict[str, Fire] = {}
        self._breaches: dict[str, dict[str, float]] = {}
        self._seen: set[tuple[str, float, str]] = set()
        self.found: list[Fire] = []

    def take(self, entry: Entry) -> None:
        """One entry, in order; what another journal told already is passed over."""
        body = entry.parsed()
        if not isinstance(body, TransitionRecorded):
            return
        name = plain(entry.deployment, 200)
        if (name, body.at, body.after) in self._seen:
            return
        self._seen.add((name, body.at, body.after))
        self._note_breaches(name, body)
        fire = self._open.get(name)
        if fire is None:
            if body.after == "fired" and body.before != "clearing":
                since = body.memory_after.get("active_since")
                self._open[name] = Fire(
                    name, self._names.get(body.policy, ""), body.at,
                    since if isinstance(since, int | float) else body.at, None, None, (),
                )  # fmt: skip
            return
        if body.after == "clearing":
            self._open[name] = replace(fire, gone=body.at)
        elif body.after == "fired":
            self._open[name] = replace(fire, gone=None)
        elif body.after not in _FIRING:
            self._close(replace(fire, gone=fire.gone if fire.gone is not None else body.at, ended=body.at))

    def _note_breaches(self, name: str, body: TransitionRecorded) -> None:
        if body.after not in _TROUBLE:
            if name not in self._open:
                self._breaches.pop(name, None)
            return
        known = self._breaches.setdefault(name, {})
        for signal in body.verdict.get("signals", ()):
            if isinstance(signal, dict) and signal.get("breached") is True:
                onset = signal.get("onset")
                at = onset if isinstance(onset, int | float) else body.at
                known.setdefault(plain(str(signal.get("name")), 80), float(at))

    def _close(self, fire: Fire) -> None:
        self._open.pop(fire.deployment, None)
        broke = sorted(self._breaches.pop(fire.deployment, {}).items(), key=lambda each: (each[1], each[0]))
        self.found.append(replace(fire, breaches=tuple(broke)))

    def all(self) -> tuple[Fire, ...]:
        """Every fire, oldest first, those that are not over included."""
        for fire in list(self._open.values()):
            self._close(fire)
        return tuple(sorted(self.found, key=lambda fire: (fire.at, fire.deployment)))


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

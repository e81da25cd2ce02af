"""A change of one value of a policy, proposed where the record calls for it, with its backtest over recorded samples.

A proposal names what it would have done to every fire that people judged. Where too few were judged, or no change is
better by the record alone, none is made, and why is said. Nobody is asked to trust it: it is a diff to review.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rollback_console.decide.judge import weighed
from rollback_console.engine.backtest import Lane
from rollback_console.errors import ConsoleError
from rollback_console.model import backtest as replayed
from rollback_console.model.observation import Tick
from rollback_console.model.rules import DeploymentRule, SignalRule
from rollback_console.model.text import span
from rollback_console.model.value import dataclass
from rollback_console.policy import yaml_marks
from rollback_console.policy.load import LoadedPolicy, parse_policy
from rollback_console.policy.quantities import format_duration
from rollback_console.policy.yaml_marks import Loc
from rollback_console.review.criteria import TriggerAudit
from rollback_console.review.criteria_fires import Fire
from rollback_console.review.criteria_samples import TIGHTEST, Sampled, Stretch

ENOUGH = 5  # fires that were judged, and whose samples are kept: below, nothing is proposed
ENOUGH_OF_BOTH = 2  # of them right ones, and wrong ones, for a change that avoids some and might lose others
WORTH_S = 60.0  # a change that brings right fires forward by less is not worth a review
_DWELLS = (60, 120, 180, 240, 300, 360, 420, 480, 600, 720, 900, 1_200, 1_800, 2_700, 3_600)
_WIDER, _TIGHTER = (1.25, 1.5, 2.0), (0.8, 0.65, TIGHTEST)
_MOST = 3.0  # times the dwell in force
_BOUNDS = ("degraded_by", "above", "below")


@dataclass(frozen=True, slots=True)
class Change:
    """One value of a policy's file, as it is written there and as it would be."""

    where: str  # `trigger.dwell`, for a person
    before: str
    after: str
    data: bytes  # the whole file with it
    size: float  # how far it goes: of two that do as much, the smaller


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change does to one known fire. `at`: when it would have fired, None: not at all."""

    fire: Fire
    at: float | None

    @property
    def delay_s(self) -> float | None:
        """Below nothing: earlier than it did."""
        return None if self.at is None else self.at - self.fire.at


@dataclass(frozen=True, slots=True)
class Tried:
    """A change over the recorded samples. `more`: fires that neither the record nor the policy as written has."""

    change: Change
    outcomes: tuple[Outcome, ...]
    more: int
    caught: int  # of what was missed

    def kept(self, word: str) -> int:
        """How many fires judged so would fire still."""
        return sum(each.at is not None for each in self.outcomes if each.fire.judged == word)

    @property
    def delay_s(self) -> float:
        """Of the right fires that are kept, in the mean."""
        found = [each.delay_s for each in self.outcomes if each.fire.judged == "right" and each.delay_s is not None]
        return math.fsum(found) / len(found) if found else 0.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is proposed for one policy: `tried` is None where nothing is, and `why` says why, or what it gains."""

    policy: str
    why: str
    tried: Tried | None = None
    diff: tuple[str, ...] = ()


def propose(audit: TriggerAudit, loaded: LoadedPolicy | None, sampled: Sampled) -> Proposal:
    """The best change of one value by the record, or none."""
    if loaded is None:
        return Proposal(audit.policy, f"its policy cannot be read: {audit.problem}")
    stretches = sampled.stretches.get(audit.policy, ())
    known = [f for f in audit.fires if f.judged in ("right", "wrong") and _covered(f, stretches)]
    right, wrong = (sum(f.judged == word for f in known) for word in ("right", "wrong"))
    if len(known) < ENOUGH:
        return Proposal(audit.policy, f"too few to say: {len(known)} judged fires with samples, {ENOUGH} are needed")
    if wrong and min(right, wrong) < ENOUGH_OF_BOTH:
        of = f"{right} right and {wrong} wrong fires with samples"
        return Proposal(audit.policy, f"too few to say: {of}, {ENOUGH_OF_BOTH} of each are needed")
    written = _fires(loaded.rules, stretches)
    tried = [_tried(audit, change, known, stretches, written) for change in _candidates(loaded, audit, bool(wrong))]
    found = [each for each in tried if each is not None]
    best, why = _best(found, right, wrong, len(audit.missed))
    if best is None:
        return Proposal(audit.policy, why)
    name = f"{audit.policy}.yaml"
    lines = difflib.unified_diff(
        loaded.data.decode().splitlines(), best.change.data.decode().splitlines(), f"a/{name}", f"b/{name}",
        lineterm="", n=2,
    )  # fmt: skip
    return Proposal(audit.policy, why, best, tuple(lines))


def _best(found: Sequence[Tried], right: int, wrong: int, missed: int) -> tuple[Tried | None, str]:
    """The change to propose and what it gains, or why there is none."""
    safe = [each for each in found if each.kept("right") == right and each.more == 0]
    if wrong:
        better = [each for each in safe if each.kept("wrong") < wrong]
        if not better:
            return None, f"no change of one value avoids any of {wrong} wrong fires and keeps all {right} right ones"
        best = min(better, key=lambda each: (each.kept("wrong"), each.delay_s, each.change.size))
        late = f", {span(best.delay_s)} later in the mean" if best.delay_s >= 1.0 else ""
        gained = wrong - best.kept("wrong")
        return best, f"avoids {gained} of {wrong} wrong fires and keeps all {right} right ones{late}"
    if missed and (better := [each for each in safe if each.caught]):
        best = min(better, key=lambda each: (-each.caught, each.change.size))
        return best, f"would have told of {best.caught} of {missed} that were missed, with no wrong fire more"
    better = [each for each in safe if each.delay_s <= -WORTH_S]
    if better:
        best = min(better, key=lambda each: (each.delay_s, each.change.size))
        return best, f"fires {span(-best.delay_s)} earlier in the mean for {right} right ones, with no fire more"
    return None, f"nothing to mend: no wrong fire among {right} judged, and none could come earlier without more fires"


# -- what may be changed


def _candidates(loaded: LoadedPolicy, audit: TriggerAudit, wrong: bool) -> Iterator[Change]:
    """Changes that might mend what was wrong; without wrong fires, those that might tell earlier, or of what was
    missed."""
    document = yaml_marks.parse(loaded.data, "policy")
    rule = loaded.rules[0]
    yield from _dwells(document, loaded, rule, longer=wrong)
    plain = [signal for signal in rule.signals if signal.evidence is None and not signal.aside]
    if wrong:
        broke = {name for fire in audit.fires if fire.judged == "wrong" for name, _ in fire.breaches}
        for signal in plain:
            if signal.name in broke:
                yield from _margins(document, loaded, signal, _WIDER)
    elif audit.missed:
        for signal in plain:
            yield from _margins(document, loaded, signal, _TIGHTER)


def _dwells(
    document: yaml_marks.Document, loaded: LoadedPolicy, rule: DeploymentRule, *, longer: bool
) -> Iterator[Change]:
    now = rule.trigger.dwell_s
    if rule.trigger.adaptive is not None or (weighed(rule) and not longer):
        return  # an adaptive one is chosen by the stakes; evidence needs its time whatever the dwell
    for dwell in _DWELLS:
        if (now < dwell <= max(now * _MOST, 600.0)) if longer else (dwell < now):
            text = format_duration(dwell)
            yield from _made(document, loaded, ("trigger", "dwell"), text, format_duration(now), abs(dwell - now) / 60)


def _margins(
    document: yaml_marks.Document, loaded: LoadedPolicy, signal: SignalRule, factors: Sequence[float]
) -> Iterator[Change]:
    for key in _BOUNDS:
        now = getattr(signal.breach, key)
        if now is None or signal.breach.curve is not None:
            continue
        loc: Loc = ("signals", signal.name, "breach", key)
        if document.actual(loc) != loc:
            return  # written elsewhere (a slice, a burn rate): not one value
        written = str(document.value(loc))
        for factor in factors:
            new = now / factor if key == "below" else now * factor
            text = f"{round(100.0 * new, 2):g}%" if written.endswith("%") else f"{new:.4g}"
            if text != written:
                yield from _made(document, loaded, loc, text, written, 100.0 * abs(factor - 1.0))


def _made(
    document: yaml_marks.Document, loaded: LoadedPolicy, loc: Loc, text: str, before: str, size: float
) -> Iterator[Change]:
    """The change, where the file takes it."""
    data = changed(document, loc, text).encode()
    try:
        parse_policy(data, "the change")
    except ConsoleError:
        return
    yield Change(yaml_marks.dotted(loc), before, text, data, size)


def changed(document: yaml_marks.Document, loc: Loc, text: str) -> str:
    """The file's text with the scalar at `loc` as `text`: nothing else is touched. Where it is not written there, it is
    added as the first of its mapping, or at the end with it."""
    node, known = document.root, document.actual(loc)
    for step in known:
        node = node.child(step) or node
    whole = document.text
    if known == loc:
        return whole[: node.start] + text + whole[node.end :]
    key = str(loc[-1])
    if known == loc[:-1] and node.kind == "mapping" and node.children:
        if whole[node.start] == "{":
            return f"{whole[: node.start + 1]}{key}: {text}, {whole[node.start + 1 :]}"
        line, column = next(iter(node.keys.values()))
        start = sum(len(each) for each in whole.splitlines(keepends=True)[: line - 1])
        return f"{whole[:start]}{' ' * (column - 1)}{key}: {text}\n{whole[start:]}"
    return f"{whole.rstrip()}\n{loc[0]}: {{{key}: {text}}}\n"


# -- the backtest


def _covered(fire: Fire, stretches: Sequence[Stretch]) -> bool:
    """Are the samples of the fire among the stretches."""
    return any(
        each.deployment == fire.deployment and each.observations[0].at <= fire.at <= each.observations[-1].at
        for each in stretches
    )


def _fires(rules: Sequence[DeploymentRule], stretches: Sequence[Stretch]) -> dict[str, list[replayed.Fire]]:
    """When each deployment would have fired."""
    by_name = {str(rule.deployment.id): rule for rule in rules}
    found: dict[str, list[replayed.Fire]] = {}
    for stretch in stretches:
        rule = by_name.get(stretch.deployment)
        if rule is None:
            continue
        lane = Lane((rule,), {0: stretch.before})
        for observation in stretch.observations:
            for _ in lane.take(Tick(observation.at, (observation,))):
                pass
        end = stretch.observations[-1].at
        fires = (each if each.end is not None else replace(each, end=end) for each in lane.fires(0))
        found.setdefault(stretch.deployment, []).extend(fires)
    return found


def _tried(
    audit: TriggerAudit,
    change: Change,
    known: Sequence[Fire],
    stretches: Sequence[Stretch],
    written: Mapping[str, Sequence[replayed.Fire]],
) -> Tried | None:
    rules = parse_policy(change.data, audit.policy).rules
    fires = _fires(rules, stretches)
    outcomes = []
    for fire in known:
        hit = [each.start for each in fires.get(fire.deployment, ()) if _overlaps(each, fire.since, fire.ended)]
        outcomes.append(Outcome(fire, min(hit, default=None)))
    more = caught = 0
    recorded = [*audit.fires]
    told = {(miss.deployment, miss.at) for miss in audit.missed}
    for name, found in fires.items():
        for each in found:
            if any(f.deployment == name and _overlaps(each, f.since, f.ended) for f in recorded):
                continue
            if any(_overlaps(each, other.start, other.end) for other in written.get(name, ())):
                continue
            hits = {(d, at) for d, at in told if d == name and each.start <= at <= (each.end or each.start) + 86_400.0}
            caught += len(hits)
            more += not hits
            told -= hits
    return Tried(change, tuple(outcomes), more, caught)


def _overlaps(fire: replayed.Fire, since: float, ended: float | None) -> bool:
    return (ended is None or fire.start <= ended) and (fire.end is None or fire.end >= since)

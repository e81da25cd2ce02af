"""What changes between two policies, in words and with its direction. Pure: two loaded policies in, changes out.

Rules are compared, not texts: what is written another way and means the same is no change. A part that this module
has no words of its own for is still compared, field by field.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from rollback_console.model.rules import (
    And,
    AtLeast,
    BlindPolicy,
    DeploymentRule,
    Expression,
    Not,
    Or,
    SignalRule,
    Uses,
    Weighted,
)  # fmt: skip
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy import expression
from rollback_console.policy.compile import compile_policy
from rollback_console.policy.diff_words import QUERIES, briefly, judged, query_words, shown
from rollback_console.policy.load import LoadedPolicy
from rollback_console.policy.policy import ModelPointer, Policy, PolicyDeployment

SOONER, LATER = "fires sooner", "fires later"
EASIER, HARDER = "fires more easily", "fires less easily"
LONGER, SHORTER = "stays fired longer", "stays fired for less time"
_MAX_SIGNALS = 12  # whose every combination is tried, to say which way a condition changed
_SHOWN = 8  # deployments named before "and others"
# (path without names) -> what more of it does, what less of it does
_DIRECTIONS = {
    "trigger.dwell_s": (LATER, SOONER),
    "trigger.hold_s": (LONGER, SHORTER),
    "trigger.blind_dwell_s": ("fires as blind later", "fires as blind sooner"),
    "trigger.not_before_s": (LATER, SOONER),
    "trigger.loss_budget": (LATER, SOONER),
    "trigger.false_alarms_a_week": (SOONER, LATER),
    "impact.false_rollback": ("an adaptive dwell waits longer", "an adaptive dwell waits less"),
    "signals.minimum": (HARDER, EASIER),
    "signals.stale_s": ("counts as stale later", "counts as stale sooner"),
    "signals.evidence.budget_s": (LATER, SOONER),
    "signals.evidence.dwell_s": (LATER, SOONER),
    "signals.evidence.alone_hold_s": (LATER, SOONER),
    "signals.evidence.margin": (HARDER, EASIER),
    "signals.evidence.maturity_s": (LATER, SOONER),
    "recovery.verify_for_s": ("recovered is said later", "recovered is said sooner"),
    "recovery.authority.automatic_after_s": ("acts by itself later", "acts by itself sooner"),
    "recovery.healthy_for_s": ("fewer versions can be gone back to", "more versions can be gone back to"),
}
_NEUTRAL = PolicyDeployment(name="x", environment="x", model=ModelPointer(name="x", alias="x"))


@dataclass(frozen=True, slots=True)
class Change:
    """One change: where (`trigger.dwell`, `signals.conversion.breach`), from what to what, which way it makes the
    policy fire ("" where it does not), and all of it as a sentence without its full stop."""

    where: str
    before: str
    after: str
    effect: str
    text: str


def diff(before: LoadedPolicy, after: LoadedPolicy) -> tuple[Change, ...]:
    """Every change from one policy to the other; empty where they mean the same, whatever their versions are."""
    one, two = _neutral(before.policy), _neutral(after.policy)
    found = [
        *_plain("name", before.policy.name, after.policy.name),
        *_signals(one, two, _queries(before.policy), _queries(after.policy)),
        *_trigger(one, two),
        *_deployments(before.rules, after.rules),
        *_fields("impact", one.impact, two.impact),
        *_paths(one, two),
        *_plain("mode", str(one.mode), str(two.mode)),
        *_plain("runbook", one.runbook or "none", two.runbook or "none"),
        *_listed("owners", before.policy.owners, after.policy.owners),
        *_listed("links", *(tuple(f"{k}: {v}" for k, v in each.policy.links.items()) for each in (before, after))),
    ]
    found += _others(before.policy, after.policy)
    if found and before.policy.version == after.policy.version:
        same = str(after.policy.version)
        found.append(Change("version", same, same, "", f"the version is {same} in both: raise it with every change"))
    return tuple(found)


def _neutral(policy: Policy) -> DeploymentRule:
    """The rule of a deployment that is the same for both policies, so that only their own words differ."""
    return compile_policy(policy.model_copy(update={"deployments": (_NEUTRAL,)}), "0" * 64)[0]


def _queries(policy: Policy) -> dict[str, SignalRule]:
    """The signals as they would be with one window for all: another window is no other query."""
    alike = {
        name: signal if signal.burn else signal.model_copy(update={"window": 60.0})
        for name, signal in policy.signals.items()
    }
    return {signal.name: signal for signal in _neutral(policy.model_copy(update={"signals": alike})).signals}


def _change(where: str, before: str, after: str, effect: str = "", subject: str = "") -> Change:
    text = f"{subject or where} {after} instead of {before}"
    return Change(where, before, after, effect, text + (f": {effect}" if effect else ""))


def _plain(where: str, before: str, after: str) -> Iterator[Change]:
    if before != after:
        yield _change(where, plain(before, 200), plain(after, 200))


def _listed(where: str, before: Iterable[str], after: Iterable[str]) -> Iterator[Change]:
    """Entries that came and went."""
    one, two = list(before), list(after)
    for word, names in (("added", [n for n in two if n not in one]), ("removed", [n for n in one if n not in two])):
        if names:
            shown = plain(", ".join(names[:_SHOWN]), 300)
            more = f" and {len(names) - _SHOWN:,} others" if len(names) > _SHOWN else ""
            left, right = ("", ", ".join(names)) if word == "added" else (", ".join(names), "")
            yield Change(where, left, right, "", f"{where} {word}: {shown}{more}")


# -- signals ----------------------------------------------------------------------------------------------------------


def _signals(
    one: DeploymentRule, two: DeploymentRule, queries: dict[str, SignalRule], anew: dict[str, SignalRule]
) -> Iterator[Change]:
    before, after = ({signal.name: signal for signal in rule.signals} for rule in (one, two))
    for name in after:
        if name not in before:
            words = judged(after[name])
            yield Change(f"signals.{name}", "", words, "", f"signal added: {name}, degraded {words}")
    for name in before:
        if name not in after:
            yield Change(f"signals.{name}", judged(before[name]), "", "", f"signal removed: {name}")
    clocks = [(rule.trigger.dwell_s, rule.trigger.adaptive) for rule in (one, two)]
    shared = {"dwell_s", "adaptive"} if clocks[0] != clocks[1] else set()  # said of the trigger
    weekly = [rule.trigger.false_alarms_a_week for rule in (one, two)]
    if None not in weekly and weekly[0] != weekly[1]:
        shared.add("budget_s")
    evidence: dict[tuple[str, str, str], list[str]] = {}
    for name in before:
        if name in after and before[name] != after[name]:
            same = {key for key in QUERIES if _asked(queries, name, key) == _asked(anew, name, key)}
            yield from _signal(before[name], after[name], same)
            for change in _evidence(before[name], after[name], shared):
                evidence.setdefault((change.where, change.before, change.after), []).append(name)
    for (key, a, b), names in evidence.items():
        way = _DIRECTIONS.get(f"signals.evidence.{key}")
        effect = "" if way is None else way[_falls(one, two, names[0], key)]
        where = f"signals.{names[0]}.evidence.{key.removesuffix('_s')}" if len(names) == 1 else f"evidence.{key}"
        yield _change(where, a, b, effect, f"{', '.join(names)}: evidence {key.removesuffix('_s').replace('_', ' ')}")


def _asked(signals: dict[str, SignalRule], name: str, key: str) -> object:
    return query_words(getattr(signals[name], key, None))


def _falls(one: DeploymentRule, two: DeploymentRule, name: str, key: str) -> bool:
    values = []
    for rule in (one, two):
        (signal,) = [each for each in rule.signals if each.name == name]
        values.append(getattr(signal.evidence, key) or 0.0)
    return bool(values[1] < values[0])


def _evidence(one: SignalRule, two: SignalRule, leave: set[str]) -> Iterator[Change]:
    """What changed of how evidence is weighed; `where` is the bare field, for signals mostly change together."""
    if one.evidence is None or two.evidence is None:
        return
    for each in fields(one.evidence):
        a, b = getattr(one.evidence, each.name), getattr(two.evidence, each.name)
        if a != b and each.name not in leave:
            yield Change(each.name, shown(each.name, a), shown(each.name, b), "", "")


def _signal(one: SignalRule, two: SignalRule, same: set[str]) -> Iterator[Change]:
    """`same`: queries that are written alike."""
    where = f"signals.{one.name}"
    told = {"name", "breach", "baseline", "worse", "evidence", "x_hour", "n_hour", *same}
    before, after = judged(one), judged(two)
    if (one.breach, one.worse, one.evidence is None) != (
        two.breach,
        two.worse,
        two.evidence is None,
    ) or before != after:
        if one.baseline == two.baseline and one.breach.degraded_by is not None and two.breach.degraded_by is not None:
            before, after = briefly(one), briefly(two)
        yield _change(f"{where}.breach", before, after, _stricter(one, two), f"{one.name} counts as degraded")
    elif one.baseline != two.baseline:
        yield from _fields(f"{where}.baseline", one.baseline, two.baseline, subject=f"{one.name}: baseline")
    yield from _fields(where, one, two, leave=told, subject=f"{one.name}:")


def _stricter(one: SignalRule, two: SignalRule) -> str:
    """Which way a bound moved, where both bounds are of one kind and against one baseline."""
    if one.worse is not two.worse or one.baseline != two.baseline:
        return ""
    a, b = one.breach, two.breach
    for before, after, up in ((a.above, b.above, HARDER), (a.below, b.below, EASIER),
                              (a.degraded_by, b.degraded_by, HARDER)):  # fmt: skip
        if before is not None and after is not None and before != after:
            return up if after > before else EASIER if up == HARDER else HARDER
    return ""


# -- trigger ----------------------------------------------------------------------------------------------------------


def _trigger(before: DeploymentRule, after: DeploymentRule) -> Iterator[Change]:
    one, two = before.trigger, after.trigger
    if one.when != two.when:
        way = implication(one.when, two.when)
        if way != "same":
            yield _change("trigger.when", f"`{_condition(one.when, one.text)}`", f"`{_condition(two.when, two.text)}`",
                          way, "condition")  # fmt: skip
    yield from _fields("trigger", one, two, leave={"when", "text"})


def _condition(when: Expression, text: str) -> str:
    try:
        return expression.unparse(when)
    except (ValueError, TypeError, AttributeError):
        return text


def implication(before: Expression, after: Expression) -> str:
    """ "same", which way it changed, or "" where neither condition contains the other or there are too many signals."""
    try:
        names = sorted({*expression.names(before), *expression.names(after)})
        if len(names) > _MAX_SIGNALS:
            return ""
        wider = narrower = False
        for values in itertools.product((False, True), repeat=len(names)):
            known = dict(zip(names, values, strict=True))
            one, two = _holds(before, known), _holds(after, known)
            wider, narrower = wider or (two and not one), narrower or (one and not two)
    except _NotLogic:
        return ""
    if wider and narrower:
        return ""
    return EASIER if wider else HARDER if narrower else "same"


class _NotLogic(Exception):
    """A condition that more than breaches decide."""


def _holds(item: Expression, known: dict[str, bool]) -> bool:
    match item:
        case Uses(signal):
            return known[signal]
        case Not(inner):
            return not _holds(inner, known)
        case And(items):
            return all(_holds(each, known) for each in items)
        case Or(items):
            return any(_holds(each, known) for each in items)
        case AtLeast(k, items):
            return sum(_holds(each, known) for each in items) >= k
        case Weighted(weighed, bar):
            return sum(weight for each, weight in weighed if _holds(each, known)) >= bar
        case _:
            raise _NotLogic


# -- deployments and ways back ----------------------------------------------------------------------------------------


def _deployments(before: tuple[DeploymentRule, ...], after: tuple[DeploymentRule, ...]) -> Iterator[Change]:
    one = {str(rule.deployment.id): rule.deployment for rule in before}
    two = {str(rule.deployment.id): rule.deployment for rule in after}
    yield from _listed("deployments", one, two)
    same: dict[Change, list[str]] = {}
    for name in one:
        if name in two and one[name] != two[name]:
            for change in _fields("deployments", one[name], two[name], leave={"id", "owners", "links"}):
                same.setdefault(change, []).append(name)
    for change, names in same.items():
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} others" if len(names) > _SHOWN else "")
        text = f"{shown}: {change.text.removeprefix('deployments.')}"
        where = change.where if len(names) > 1 else change.where.replace("deployments", f"deployments.{names[0]}", 1)
        yield Change(where, change.before, change.after, change.effect, text)


def _paths(before: DeploymentRule, after: DeploymentRule) -> Iterator[Change]:
    one, two = {path.name: path for path in before.recovery}, {path.name: path for path in after.recovery}
    yield from _listed("recovery paths", one, two)
    for name in one:
        if name in two and one[name] != two[name]:
            yield from _fields(f"recovery.{name}", one[name], two[name], leave={"name"}, subject=f"path {name}:")
    kept = [name for name in one if name in two]
    if kept != [name for name in two if name in one]:
        yield _change("recovery", ", ".join(one), ", ".join(two), "", "order of recovery paths")


def _others(before: Policy, after: Policy) -> Iterator[Change]:
    """What the rules do not hold yet: accepted keys that are compared as they are written."""
    for key in ("stakeholders", "escalation", "review_every", "risk"):
        one, two = getattr(before, key, None), getattr(after, key, None)
        if one != two:
            yield _change(key, shown(key, one), shown(key, two))


# -- anything else, field by field ------------------------------------------------------------------------------------


def _fields(where: str, before: Any, after: Any, *, leave: Iterable[str] = (), subject: str = "") -> Iterator[Change]:
    """Changed fields of two values of one class, nested ones too; where only one is there, that is the change."""
    if before == after:
        return
    if not (is_dataclass(before) and is_dataclass(after) and type(before) is type(after)):
        yield _change(where, shown(where, before), shown(where, after), "", subject)
        return
    for each in fields(before):
        if each.name in leave:
            continue
        one, two = getattr(before, each.name), getattr(after, each.name)
        if each.name in QUERIES:
            one, two = query_words(one), query_words(two)
        if one == two:
            continue
        here = f"{where}.{each.name.removesuffix('_s')}"
        called = each.name.removesuffix("_s").replace("_", " ")
        if is_dataclass(one) and is_dataclass(two) and not isinstance(one, BlindPolicy):
            yield from _fields(here, one, two, subject=f"{subject} {called}".strip())
        else:
            who = f"{subject} {called}".strip() if subject else called
            yield _change(here, shown(each.name, one), shown(each.name, two),
                          _direction(f"{where}.{each.name}", one, two), who)  # fmt: skip


def _direction(where: str, before: Any, after: Any) -> str:
    if not isinstance(before, (int, float)) or not isinstance(after, (int, float)) or isinstance(before, bool):
        return ""
    parts = where.split(".")
    key = ".".join([parts[0], *parts[2:]]) if parts[0] in ("signals", "recovery") else where
    more = _DIRECTIONS.get(key)
    return "" if more is None else more[0] if after > before else more[1]

"""What no single key shows: names that refer to each other, things written twice, and words that nothing uses yet.

The checks read plain data, not models, so that a wrong trigger is said beside a wrong signal, in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any

from rollback_console.errors import Problem
from rollback_console.model.rules import Expression
from rollback_console.model.text import plain
from rollback_console.policy import expression
from rollback_console.policy.doubts import doubts
from rollback_console.policy.kinds import ASIDE, burn_rates
from rollback_console.policy.policy import Policy
from rollback_console.policy.promql import unsplittable
from rollback_console.policy.quantities import format_duration
from rollback_console.policy.signal import PolicySignal
from rollback_console.policy.yaml_marks import Document, Loc

_UNUSED = "nothing uses it yet"
_MAX_SAID = 20  # of one kind: a thousand like problems are one to a person


def check_policy(document: Document) -> Iterator[Problem]:
    """Errors between the parts of a policy file, whether or not each part is right by itself."""
    yield from _trigger(document)
    yield from _deployments(document)
    yield from _paths(document)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _trigger(document: Document) -> Iterator[Problem]:
    signals = _mapping(document.data.get("signals"))
    when = _mapping(document.data.get("trigger")).get("when")
    if not isinstance(when, str):
        return
    try:
        aside = [name for name, signal in signals.items() if _mapping(signal).get("kind") in ASIDE]
        expression.parse(when, signals.keys() or None, aside)
    except expression.ExpressionError as error:
        yield document.problem(("trigger", "when"), error.message, error.remedy, offset=error.offset)


def _deployments(document: Document) -> Iterator[Problem]:
    seen: dict[tuple[str, str], int] = {}
    labels: dict[tuple[tuple[str, str], ...], str] = {}
    said = 0
    for index, item in enumerate(_list(document.data.get("deployments"))):
        item = _mapping(item)
        name, environment = item.get("name"), item.get("environment")
        if not isinstance(name, str) or not isinstance(environment, str):
            continue
        known = _mapping(item.get("labels")) or {"deployment": name}
        key = tuple(sorted((str(label), str(value)) for label, value in known.items()))
        here = f"{plain(environment, 60)}/{plain(name, 60)}"
        first = seen.setdefault((environment, name), index)
        if first != index:
            said += 1
            if said <= _MAX_SAID:
                line, column = document.of_value(("deployments", index, "name"))
                what = f"{here} stands twice, first as deployments[{first}]"
                yield Problem(document.file, line, column, f"deployments[{index}].name", what, "Keep one of them")
        elif key in labels:
            said += 1
            if said <= _MAX_SAID:
                where = "labels" if item.get("labels") else "name"
                line, column = document.of_value(("deployments", index, where))
                yield Problem(document.file, line, column, f"deployments[{index}].{where}",
                              f"its metrics have the labels of {labels[key]}'s: the same series would be read for both",
                              "Add a label that tells them apart")  # fmt: skip
        else:
            labels[key] = here


def _paths(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for index, item in enumerate(_list(document.data.get("recovery"))):
        name = _mapping(item).get("path")
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            yield document.problem(
                ("recovery", index, "path"), f"the path {plain(name, 60)} stands twice", "Rename one"
            )


def warnings(document: Document, policy: Policy) -> Iterator[Problem]:
    """What is allowed and probably not meant, in a policy that is right."""
    for loc in _unused(policy):
        line, column = document.of_key(loc)
        yield Problem(document.file, line, column, document.path(loc), _UNUSED, "It may stay", "warning")
    labels = frozenset(name for deployment in policy.deployments for name, _ in deployment.metric_labels())
    for name, signal in policy.signals.items():
        for key in ("value", "x", "n", "heartbeat"):
            query = getattr(signal, key)
            if query is not None and unsplittable(query, labels):
                remedy = f"Group it `by ({', '.join(sorted(labels))})`, or select with {{$selector}}"
                yield _warn(document, ("signals", name, key), "the answer cannot be told apart by deployment", remedy)
    when = when_of(policy)
    used = set(expression.names(when))
    for name in policy.signals:
        if name not in used and not _explains(policy.signals[name]):
            line, column = document.of_key(("signals", name))
            yield Problem(document.file, line, column, f"signals.{name}", "the trigger does not use it",
                          "It is shown, and never fires", "warning")  # fmt: skip
    for doubt in doubts(policy, when):
        yield _warn(document, doubt.loc, doubt.message, doubt.remedy)
    if not policy.recovery:
        yield _warn(
            document, (), "names no recovery path", "The console will alarm and cannot roll back; add `recovery:`"
        )


def _explains(signal: PolicySignal) -> bool:
    """Is it there to explain, and need not fire."""
    return signal.area == "inputs" or signal.aside


def against_settings(document: Document, policy: Policy, scrape_s: float, every_s: float) -> Iterator[Problem]:
    """What does not go with the settings: the scrape interval, and how often is evaluated (both in seconds)."""
    for name, signal in policy.signals.items():
        loc: Loc = ("signals", name, "window") if signal.window is not None else ("signals", name)
        asked = [signal.value, signal.x, signal.n, "$window" if signal.buckets or signal.histogram else None]
        window, ranged = signal.window_s, any("$window" in query for query in asked if query is not None)
        if signal.kind == "burn_rate":
            loc, window = ("signals", name), min(pair.short for pair in burn_rates(signal))
        if ranged and window < 2 * scrape_s:
            what = (
                f"a window of {format_duration(window)} holds fewer than two scrapes, {format_duration(scrape_s)} apart"
            )
            yield _warn(document, loc, what, "Its rates would have gaps: make it twice as long at least")
        if signal.by_evidence and signal.window_s % every_s:
            what = (
                f"a window of {format_duration(window)} is no multiple of `evaluate_every: {format_duration(every_s)}`"
            )
            yield _warn(document, loc, what, "Evidence steps once a window, where an evaluation falls on its end")


def _warn(document: Document, loc: Loc, message: str, remedy: str) -> Problem:
    return document.problem(loc, message, remedy, "warning")


def _unused(policy: Policy) -> Iterator[Loc]:
    for key in ("stakeholders", "escalation"):
        if key in policy.model_fields_set:
            yield (key,)
    evidence = any(signal.by_evidence for signal in policy.signals.values())
    for key in ("budget", "alone_hold", "loss_budget"):
        if getattr(policy.trigger, key) is not None and not evidence:
            yield ("trigger", key)
    for name, signal in policy.signals.items():
        if signal.maturity is not None and not signal.by_evidence and not signal.aside:
            yield ("signals", name, "maturity")
    if policy.exclude and not any(signal.compared_with for signal in policy.signals.values()):
        yield ("exclude",)


def when_of(policy: Policy) -> Expression:
    """The trigger's expression: what is written, else the default, of which signals that watch inputs are no part: they
    explain, and alone they never act; nor of those that stand aside. Raises ExpressionError for what does not parse."""
    critical = [name for name, signal in policy.signals.items() if signal.critical]
    if policy.trigger.when is not None:
        return expression.beside(expression.parse(policy.trigger.when, policy.signals.keys()), critical)
    may = {name: signal for name, signal in policy.signals.items() if not signal.aside}
    judged = {name: signal for name, signal in may.items() if signal.area != "inputs"} or may
    alone = [
        name
        for name, signal in judged.items()
        if signal.sufficient_alone or signal.critical or signal.kind == "burn_rate"
    ]
    evidence = [name for name, signal in judged.items() if signal.by_evidence]
    return expression.default(list(judged), alone, evidence)


def nearest(name: str, known: list[str], what: str) -> str:
    """A remedy for a name that refers to nothing."""
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f"Did you mean {close[0]}" if close else f"{what} are {', '.join(known[:12])}" if known else f"{what}: none"

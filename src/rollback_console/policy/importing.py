"""Prometheus' alerting rules become a policy: bytes in; the policy's text, and all that is to be said of it, out.

An alert is a condition (`policy.conditions`) with clocks: `for` is the dwell, `keep_firing_for` the hold. A policy has
one trigger, so of several alerts any one's condition counts, with the shortest `for` and the longest `keep_firing_for`:
whenever one of the alerts fires, the policy has fired. What differs from the rules is said, each with its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from pathlib import PurePath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rollback_console.errors import FileProblems, Problem, UsageError
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy import conditions, yaml_marks
from rollback_console.policy.conditions import Bound, Condition, Join, Tree
from rollback_console.policy.expression import RESERVED
from rollback_console.policy.import_options import ImportOptions
from rollback_console.policy.import_text import draft
from rollback_console.policy.promql import SignalQuery
from rollback_console.policy.promql_words import PromqlError, seconds
from rollback_console.policy.quantities import format_duration
from rollback_console.policy.yaml_marks import Document, Loc

_TIERS = {
    "critical": "critical", "page": "critical", "disaster": "critical", "fatal": "critical", "p1": "critical",
    "error": "high", "high": "high", "major": "high", "p2": "high",
    "warning": "normal", "warn": "normal", "medium": "normal", "ticket": "normal", "minor": "normal", "p3": "normal",
    "info": "low", "low": "low", "notice": "low", "none": "low", "p4": "low",
}  # fmt: skip
TIERS = ("low", "normal", "high", "critical")
_RULE = {"alert", "expr", "for", "keep_firing_for", "labels", "annotations", "record"}
_GROUP = {"name", "interval", "limit", "rules", "labels", "query_offset", "partial_response_strategy"}
_MAX_WHEN = 4_000
_MAX_ALERTS = 1_000
_MAX_LINK = 2_000
_QUERY: TypeAdapter[str] = TypeAdapter(SignalQuery)
_MAX_DWELL_S = 400 * 86_400.0


@dataclass(frozen=True, slots=True)
class NamedSignal:
    name: str
    bound: Bound


@dataclass(frozen=True, slots=True)
class ImportedAlert:
    """One alert that became signals and a part of the trigger (`when`). Seconds. `line`, `column`: of its `alert:`."""

    name: str
    line: int
    column: int
    group: str
    expr: str
    dwell_s: float
    hold_s: float
    tier: str | None
    team: str
    signals: tuple[NamedSignal, ...]
    when: str
    exact: bool
    summary: str
    runbook: str  # the name of a markdown file that an annotation ends with, or ""
    links: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """`policy` is empty where no alert could be imported. `refused`, `warnings`: with their places; `recorded`: how
    many recording rules were passed over."""

    policy: str
    alerts: tuple[ImportedAlert, ...]
    refused: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    recorded: int


def import_rules(data: bytes, file: str, options: ImportOptions) -> Imported:
    """The policy that the alerting rules of a file are; `file` is its name in messages.

    Raises FileProblems where it is no file of rules, and UsageError where an alert that was asked for is not there or
    all together are too many for one trigger.
    """
    reader = _Reader(_document(data, file), options)
    reader.read()
    missing = sorted(options.alerts - reader.seen)
    if missing:
        known = ", ".join(sorted(reader.seen)[:12]) or "none"
        raise UsageError(f"{file} has no alert {plain(missing[0], 80)}", f"Its alerts are {plain(known, 300)}")
    alerts = tuple(reader.alerts)
    warnings = [*reader.warnings, *_together(file, alerts)]
    when = together(alerts)
    if len(when) > _MAX_WHEN or len(alerts) > _MAX_ALERTS:
        raise UsageError(f"{file}: {len(alerts)} alerts are too many for one trigger", "Choose some with --alert NAME")
    text = draft(file, alerts, options, when, _policy_name(options.name, file)) if alerts else ""
    return Imported(text, alerts, tuple(reader.refused), tuple(warnings), reader.recorded)


def together(alerts: tuple[ImportedAlert, ...]) -> str:
    """The trigger's expression: any of the alerts' conditions."""
    if len(alerts) == 1:
        return alerts[0].when
    return " or ".join(f"({alert.when})" if " or " in alert.when else alert.when for alert in alerts)


def _document(data: bytes, file: str) -> Document:
    try:
        return yaml_marks.parse(data, file)
    except FileProblems as error:
        remedy = "Rules begin with `groups:`"
        raise FileProblems(
            tuple(
                Problem(each.file, each.line, each.column, each.path, each.message,
                        remedy if "`schema:`" in each.remedy else each.remedy)
                for each in error.problems
            )
        ) from None  # fmt: skip


@dataclass
class _Reader:
    document: Document
    options: ImportOptions
    alerts: list[ImportedAlert] = field(default_factory=list)
    refused: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    recorded: int = 0

    def read(self) -> None:
        """Raises FileProblems where there are no groups of rules."""
        at: Loc = ("groups",)
        found = self.document.data.get("groups")
        spec = self.document.data.get("spec")
        if found is None and self.document.data.get("kind") == "PrometheusRule" and isinstance(spec, dict):
            at, found = ("spec", "groups"), spec.get("groups")
        if not isinstance(found, list):
            raise FileProblems((self.document.problem(at, "there are no `groups:` of rules here",
                                                      "Name a file of Prometheus' alerting rules"),))  # fmt: skip
        for index, group in enumerate(found):
            here = (*at, index)
            if not isinstance(group, dict) or not isinstance(group.get("rules") or [], list):
                self.refuse(here, "is no group of rules", "Write `name:` and `rules:`")
                continue
            self.group(group, here)

    def group(self, group: dict[str, Any], at: Loc) -> None:
        for key in group:
            if key not in _GROUP:
                self.warn((*at, key), "is no key of groups of rules that is known here", "It was passed over", key=True)
        name = plain(group.get("name") or "", 100)
        chosen = False
        for index, rule in enumerate(group.get("rules") or []):
            here = (*at, "rules", index)
            if not isinstance(rule, dict):
                self.refuse(here, "is no rule", "Write `alert:` and `expr:`")
            elif "record" in rule:
                self.recorded += 1
            else:
                alert = rule.get("alert")
                if not isinstance(alert, str) or not alert.strip():
                    self.refuse(here, "has no name", "Write `alert:`")
                    continue
                self.seen.add(alert)
                if len(self.alerts) <= _MAX_ALERTS and alert in (self.options.alerts or {alert}):
                    chosen = True
                    self.rule(alert, rule, group, name, here)
        if chosen and group.get("limit"):
            self.warn((*at, "limit"), "a policy has no limit of alerts", "Every deployment is judged by itself")
        if chosen and group.get("query_offset"):
            self.warn((*at, "query_offset"), "is the settings' `delay:`", "Set it there")

    def rule(self, name: str, rule: dict[str, Any], group: dict[str, Any], group_name: str, at: Loc) -> None:
        for key in rule:
            if key not in _RULE:
                self.warn((*at, key), "is no key of rules that is known here", "It was passed over", key=True)
        labels = {**_texts(group.get("labels")), **_texts(rule.get("labels"))}
        found = self.condition(rule, labels, at)
        dwell = self.clock(rule, "for", at)
        hold = self.clock(rule, "keep_firing_for", at)
        if found is None or dwell is None or hold is None:
            return
        self.absent(found, at)
        line, column = self.document.of_value((*at, "alert"))
        signals = self.named(name, found)
        names = {id(each.bound): each.name for each in signals}
        if not found.exact and (dwell or hold):
            self.warn((*at, "expr"), "may answer with several series a deployment",
                      "Prometheus counts `for` of each series, the policy of the deployment: any counts")  # fmt: skip
        annotations = _texts(rule.get("annotations"))
        summary = annotations.get("summary") or annotations.get("message") or annotations.get("description") or ""
        links = tuple(self.links(name, annotations, at))
        self.alerts.append(
            ImportedAlert(
                name, line, column, group_name, str(rule["expr"]), dwell, hold,
                _TIERS.get(labels.get("severity", "").strip().lower()), _team(labels), signals,
                _when(found.tree, names), found.exact, plain(summary, 300), _runbook(annotations), links,
            )
        )  # fmt: skip

    def absent(self, found: Condition, at: Loc) -> None:
        """Says it where a rule asks for a deployment by name that is none of the policy's."""
        known = {pair for one in self.options.deployments for pair in one.labels}
        for label, value in found.pinned:
            if known and (label, value) not in known:
                self.warn((*at, "expr"), f'asks for {label}="{plain(value, 80)}", which is none of --deployment',
                          "Its signal has no data for the others: name that deployment, or leave it out")  # fmt: skip

    def condition(self, rule: dict[str, Any], labels: dict[str, str], at: Loc) -> Condition | None:
        """The rule's condition; None where it was refused, and said."""
        expr = rule.get("expr")
        if expr is None or isinstance(expr, (list, dict, bool)) or not str(expr).strip():
            self.refuse((*at, "expr") if "expr" in rule else at, "has no expression", "Write `expr:`")
            return None
        options = self.options
        alone = len(options.deployments) == 1
        for label in options.by:
            own = dict(options.deployments[0].labels).get(label) if alone else None
            if label in labels and labels[label] != own:
                remedy = f"Import it for that deployment alone: --deployment NAME:{label}={plain(labels[label], 60)}"
                self.refuse((*at, "labels", label), f"sets the label {label} itself: the alert is about one deployment",
                            "Choose other labels with --by" if "{{" in labels[label] else remedy)  # fmt: skip
                return None
        try:
            found = conditions.read(str(expr), options.by, alone=alone)
        except PromqlError as error:
            self.refused.append(self.document.problem((*at, "expr"), error.message, error.remedy, offset=error.offset))
            return None
        for bound in found.bounds():
            try:
                _QUERY.validate_python(bound.value)  # what is written is what `policy check` lets pass
            except ValidationError as error:
                self.refuse((*at, "expr"), plain(error.errors()[0]["msg"], 200), "Write it another way")
                return None
        return found

    def clock(self, rule: dict[str, Any], key: str, at: Loc) -> float | None:
        """Seconds; None where it is no duration, and said."""
        written = rule.get(key)
        if written is None:
            return 0.0
        found = seconds(str(written)) if not isinstance(written, (bool, list, dict)) else None
        if found is None or found > _MAX_DWELL_S:
            what = "is no duration" if found is None else "is longer than 400 days"
            self.refuse((*at, key), what, "Write it as `5m`")
            return None
        return found

    def named(self, alert: str, found: Condition) -> tuple[NamedSignal, ...]:
        base = signal_name(alert)
        bounds = found.bounds()
        signals = []
        for number, bound in enumerate(bounds, 1):
            name = wanted = base if len(bounds) == 1 else f"{base}_{number}"
            count = 2
            while name in self.taken:
                name, count = f"{wanted}_v{count}", count + 1
            self.taken.add(name)
            signals.append(NamedSignal(name, bound))
        return tuple(signals)

    def links(self, alert: str, annotations: dict[str, str], at: Loc) -> Iterator[tuple[str, str]]:
        """Every annotation that is a link. `{{ $labels.x }}` of the deployment's own label becomes `$deployment`."""
        for key, text in annotations.items():
            if (
                not re.match(r"https?://[^\s/]\S*\Z", re.sub(r"{{.*?}}", "x", text.strip()))
                or plain(text, 1_000) != text
            ):
                continue
            url = re.sub(rf"{{{{-?\s*\$labels\.{re.escape(self.options.by[0])}\s*-?}}}}", "$deployment", text.strip())
            if "{{" in url or (len(self.options.by) > 1 and "$deployment" in url):
                self.warn((*at, "annotations", key), "holds a template that a policy cannot fill in",
                          "It was left out; add it under `links:`")  # fmt: skip
                continue
            yield f"{plain(alert, 100)} {'runbook' if key == 'runbook_url' else plain(key, 60)}", url

    def refuse(self, loc: Loc, message: str, remedy: str) -> None:
        self.refused.append(self.document.problem(loc, message, remedy))

    def warn(self, loc: Loc, message: str, remedy: str, *, key: bool = False) -> None:
        line, column = self.document.of_key(loc) if key else self.document.of_value(loc)
        self.warnings.append(
            Problem(self.document.file, line, column, self.document.path(loc), message, remedy, "warning")
        )


def _texts(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {str(key): str(value) for key, value in found.items() if isinstance(value, (str, int, float))}


def _runbook(annotations: dict[str, str]) -> str:
    """`errors.md` of `https://wiki.example/runbooks/errors.md#first`, or as it stands in an annotation `runbook`."""
    text = annotations.get("runbook_url") or annotations.get("runbook") or ""
    found = re.search(r"(?:^|/)([A-Za-z0-9][A-Za-z0-9._-]{0,99}\.md)(?:[?#]\S*)?\Z", text.strip()[:_MAX_LINK])
    return found[1] if found else ""


def _team(labels: dict[str, str]) -> str:
    team = labels.get("team") or labels.get("owner") or ""
    return team if plain(team, 100) == team and "{{" not in team else ""


def signal_name(alert: str) -> str:
    """`HighErrorRate` is high_error_rate."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", alert)
    name = re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_").lower()[:60].rstrip("_")
    if not name or name[0].isdigit():
        name = f"alert_{name}".rstrip("_")
    return f"{name}_signal" if name in RESERVED or name in ("true", "false", "null") else name


def _policy_name(given: str, file: str) -> str:
    found = given or re.sub(r"(\.(rules|alerts))?\.[A-Za-z]+$", "", PurePath(file).name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", found).strip("-._")[:100] or "imported"


def _when(item: Tree, names: dict[int, str]) -> str:
    """A condition as a trigger's expression."""
    if isinstance(item, Bound):
        return names[id(item)]
    if item.kind == "or":
        return " or ".join(_when(each, names) for each in item.items)
    parts = [_wrapped(each, names) for each in item.items]
    return f"{parts[0]} and not {parts[1]}" if item.kind == "and not" else " and ".join(parts)


def _wrapped(item: Tree, names: dict[int, str]) -> str:
    text = _when(item, names)
    return f"({text})" if isinstance(item, Join) else text


def clocks(alerts: tuple[ImportedAlert, ...]) -> tuple[float, float]:
    """The dwell and the hold of a policy of these alerts: never later and never shorter than any of them."""
    return min(alert.dwell_s for alert in alerts), max(alert.hold_s for alert in alerts)


def _together(file: str, alerts: tuple[ImportedAlert, ...]) -> Iterator[Problem]:
    """How one trigger differs from the clocks that these alerts have each for itself; said at the first of them."""
    if len(alerts) < 2:
        return
    dwell, hold = clocks(alerts)
    remedy = "Import an alert alone (--alert NAME) to keep its own clocks"

    def said(those: list[ImportedAlert], what: str) -> Problem:
        names = ", ".join(plain(alert.name, 60) for alert in those[:6]) + (", …" if len(those) > 6 else "")
        return Problem(file, those[0].line, those[0].column, "", f"{what}: {names}", remedy, "warning")

    if sooner := [alert for alert in alerts if alert.dwell_s > dwell]:
        what = f"the policy waits {format_duration(dwell)}, the shortest `for`, and these alerts wait longer"
        yield said(sooner, what)
    if longer := [alert for alert in alerts if alert.hold_s < hold]:
        what = f"the policy holds {format_duration(hold)}, the longest `keep_firing_for`, and these alerts end sooner"
        yield said(longer, what)
    if dwell:
        yield said(list(alerts), "one trigger joins these alerts, and the time of one counts for the next")

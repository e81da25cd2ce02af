"""The text of an imported policy: YAML with comments that say where each part comes from and what it does otherwise."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rollback_console.model.text import plain
from rollback_console.policy import policy
from rollback_console.policy.quantities import format_duration, format_percentage, parse_percentage

if TYPE_CHECKING:
    from rollback_console.policy.conditions import Bound
    from rollback_console.policy.import_options import ImportOptions
    from rollback_console.policy.importing import ImportedAlert, NamedSignal

_WIDTH = 100
_PIECE = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`|[^\s"'`])+""")
_PLAIN = re.compile(r"[A-Za-z][ -~]*\Z")
EXAMPLE = "fill-me-in"


def draft(file: str, alerts: tuple[ImportedAlert, ...], options: ImportOptions, when: str, name: str) -> str:
    """The policy of these alerts; the trigger's expression and the policy's name are given."""
    lines = [
        f"# Imported from {plain(file, 200)} by `rollback-console policy import`: {_count(len(alerts), 'alert')}.",
        f"schema: {policy.SCHEMA}",
        f"name: {name}",
        "version: 1",
        "mode: observe             # advise: once its verdicts have been compared with the alerts'",
        *_owners(alerts),
        *_links(alerts),
        "",
        "deployments:",
        *_deployments(alerts, options),
        "",
        "signals:                  # blind: healthy, for without data Prometheus' alerts do not fire",
    ]
    for alert in alerts:
        lines += _alert(alert)
    return "\n".join([*lines, "", *_trigger(alerts, when), "", *_recovery(), *_runbook(alerts), ""])


def quoted(text: str) -> str:
    """A JSON string is a YAML string."""
    return json.dumps(text, ensure_ascii=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _owners(alerts: Sequence[ImportedAlert]) -> list[str]:
    teams = dict.fromkeys(alert.team for alert in alerts if alert.team)
    return [f"owners: [{', '.join(quoted(team) for team in teams)}]"] if teams else []


def _links(alerts: Sequence[ImportedAlert]) -> list[str]:
    found: dict[str, str] = {}
    for title, url in (pair for alert in alerts for pair in alert.links):
        if url not in found.values():
            found.setdefault(title, url)
    return ["links:", *(f"  {quoted(title)}: {quoted(url)}" for title, url in found.items())] if found else []


def _deployments(alerts: Sequence[ImportedAlert], options: ImportOptions) -> list[str]:
    from rollback_console.policy.importing import TIERS

    tiers = [alert.tier for alert in alerts if alert.tier is not None]
    tier = max(tiers, key=TIERS.index) if tiers else "normal"
    why = "the highest severity of the alerts" if tiers else "no alert has a severity that is known here"
    lines = []
    for one in options.deployments:
        labels = ", ".join(f"{label}: {quoted(value)}" for label, value in one.labels)
        lines += [
            f"  - name: {quoted(one.name)}",
            f"    environment: {options.environment}",
            f"    tier: {tier}    # {why}",
            f"    model: {{name: {quoted(one.name)}, alias: {quoted(options.alias)}}}    # rules do not say: check it",
            f"    labels: {{{labels}}}",
        ]
    if not lines:
        labels = ", ".join(f"{label}: {quoted(EXAMPLE)}" for label in options.by)
        lines = [
            "  # FILL IN: an example stands here, for rules do not name deployments. One entry each, with the labels",
            "  # that its metrics carry and the registered model behind it. --deployment NAME writes them for you.",
            f"  - name: {EXAMPLE}",
            f"    environment: {options.environment}",
            f"    tier: {tier}    # {why}",
            f"    model: {{name: {EXAMPLE}, alias: {quoted(options.alias)}}}",
            f"    labels: {{{labels}}}",
        ]
    return lines


def _alert(alert: ImportedAlert) -> list[str]:
    where = f"line {alert.line}" + (f", group {alert.group}" if alert.group else "")
    where += f", for {format_duration(alert.dwell_s)}"
    where += f", keep_firing_for {format_duration(alert.hold_s)}" if alert.hold_s else ""
    lines = [f"  # {plain(alert.name, 100)} ({where})" + (f": {plain(alert.summary, 160)}" if alert.summary else "")]
    for number, signal in enumerate(alert.signals, 1):
        title = alert.name if len(alert.signals) == 1 else f"{alert.name} ({number} of {len(alert.signals)})"
        lines += _signal(signal, title)
    return lines


def _signal(signal: NamedSignal, title: str) -> list[str]:
    bound = signal.bound
    side = "above" if bound.worse == "higher" else "below"
    amount = _amount(bound)
    percent = ['    unit: "%"'] if bound.ratio and not amount.endswith("%") else []
    window = bound.window_s if bound.window_s is not None else bound.longest_s or 60.0
    return [
        f"  {signal.name}:",
        f"    title: {quoted(plain(title, 200).strip() or signal.name)}",
        f"    worse: {bound.worse}",
        *(f"    # {plain(note, 200)}" for note in bound.words),
        *_query(bound.value),
        f"    window: {format_duration(min(max(1.0, round(window)), 400 * 86_400.0))}",
        f"    breach: {{{side}: {amount}}}",
        *percent,
        "    blind: healthy",
    ]


def _query(text: str) -> list[str]:
    """`value:`, on lines of a readable length."""
    if "\n" in text or not text.isprintable():
        return [f"    value: {quoted(text)}"]
    if len(text) > _WIDTH:
        rows: list[str] = [""]
        for piece in _PIECE.findall(text):
            if rows[-1] and len(rows[-1]) + len(piece) + 1 > _WIDTH:
                rows.append("")
            rows[-1] += f" {piece}" if rows[-1] else piece
        if " ".join(rows) == text:
            return ["    value: >-", *(f"      {row}" for row in rows)]
    safe = _PLAIN.match(text) and ": " not in text and " #" not in text and text[-1] not in ": "
    if safe and text.lower() not in ("true", "false", "null", "on", "off", "yes", "no"):
        return [f"    value: {text}"]
    return [f"    value: {quoted(text)}"]


def _amount(bound: Bound) -> str:
    """The bound as it is read back to the same float; a share in percent where that reads better."""
    if bound.ratio:
        text = format_percentage(bound.bound)
        if "e" not in text and parse_percentage(text) == bound.bound:
            return text
    return str(int(bound.bound)) if bound.bound == int(bound.bound) and abs(bound.bound) < 1e15 else repr(bound.bound)


def _trigger(alerts: tuple[ImportedAlert, ...], when: str) -> list[str]:
    from rollback_console.policy.importing import clocks

    dwell, hold = clocks(alerts)
    several = len(alerts) > 1
    shortest = " (the shortest)" if several and len({alert.dwell_s for alert in alerts}) > 1 else ""
    longest = " (the longest)" if several and len({alert.hold_s for alert in alerts}) > 1 else ""
    words = when.split(" ")
    rows = [""]
    for word in words:
        if rows[-1] and len(rows[-1]) + len(word) + 1 > _WIDTH:
            rows.append("")
        rows[-1] += f" {word}" if rows[-1] else word
    condition = [f"  when: {when}"] if len(rows) == 1 else ["  when: >-", *(f"    {row}" for row in rows)]
    return [
        "trigger:",
        *condition,
        f"  dwell: {format_duration(dwell)}    # the rules' `for`{shortest}",
        f"  hold: {format_duration(hold)}    # the rules' `keep_firing_for`{longest}",
        "  cool_down: 1h",
    ]


def _runbook(alerts: Sequence[ImportedAlert]) -> list[str]:
    """The one runbook of all alerts; where they have several, a person chooses."""
    names = list(dict.fromkeys(alert.runbook for alert in alerts if alert.runbook))
    if not names:
        return []
    if len(names) > 1:
        return ["", f"# runbook: {plain(', '.join(names), 200)}    # the alerts have several: choose one"]
    return ["", f"runbook: {names[0]}    # a file of that name in your folders of runbooks"]


def _recovery() -> list[str]:
    return [
        "recovery:                 # rules do not say; this is the usual way back",
        "  - path: version",
        "    driver: mlflow-alias",
        "    target: last_known_good",
        "    verify: {for: 10m, within: 30m}",
        "    authority: {request: [oncall]}",
    ]

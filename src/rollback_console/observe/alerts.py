"""The alerting rules that a Prometheus already evaluates, as `/api/v1/rules` reports them: their own countdowns can be
shown beside ours. https://prometheus.io/docs/prometheus/latest/querying/api/#rules
"""

from __future__ import annotations

import datetime
import re
from typing import Any

from rollback_console.model.value import dataclass
from rollback_console.observe.http import Server, wrong_shape

Labels = tuple[tuple[str, str], ...]

_FRACTION = re.compile(r"(\.\d{1,6})\d*")


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """One alert of a rule: `state` pending or firing; `active_at` Unix seconds; `value` as Prometheus wrote it."""

    labels: Labels
    state: str
    active_at: float | None
    value: str


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """One alerting rule. `state` inactive, pending or firing; `duration_s` its `for`, `keep_firing_s` its
    `keep_firing_for`; `health` ok, err or unknown, `last_error` the reason."""

    group: str
    name: str
    query: str
    state: str
    duration_s: float
    keep_firing_s: float
    labels: Labels
    health: str
    last_error: str
    alerts: tuple[ActiveAlert, ...]


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """A server's version ("" where it does not say) and how many seconds its clock is ahead of ours (None where it
    sends no date; good to about a second)."""

    version: str
    skew_s: float | None


def rules(to: Server, data: Any) -> tuple[AlertingRule, ...]:
    """The `data` of /api/v1/rules. Recording rules are left out. Raises BackendNonsense for another shape."""
    try:
        return tuple(
            _rule(str(group["name"]), rule)
            for group in data["groups"]
            for rule in group["rules"]
            if rule["type"] == "alerting"
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise wrong_shape(to, "rules without groups of named rules") from error


def _rule(group: str, rule: dict[str, Any]) -> AlertingRule:
    return AlertingRule(
        group=group,
        name=str(rule["name"]),
        query=str(rule.get("query", "")),
        state=str(rule.get("state", "unknown")),
        duration_s=float(rule.get("duration", 0)),
        keep_firing_s=float(rule.get("keepFiringFor", 0)),
        labels=_labels(rule.get("labels")),
        health=str(rule.get("health", "unknown")),
        last_error=str(rule.get("lastError", "")),
        alerts=tuple(
            ActiveAlert(
                _labels(alert.get("labels")),
                str(alert["state"]),
                rfc3339(str(alert.get("activeAt", ""))),
                str(alert.get("value", "")),
            )
            for alert in rule.get("alerts") or ()
        ),
    )


def _labels(labels: dict[str, Any] | None) -> Labels:
    return tuple(sorted((str(name), str(value)) for name, value in (labels or {}).items()))


def rfc3339(text: str) -> float | None:
    """A time as Prometheus writes it (nanoseconds, Z or an offset) as Unix seconds; None where it cannot be read."""
    try:
        return datetime.datetime.fromisoformat(_FRACTION.sub(r"\1", text)).timestamp()
    except ValueError:
        return None

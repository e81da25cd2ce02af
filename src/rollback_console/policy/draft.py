"""First drafts of settings, policy and roster from what a Prometheus and a registry hold.

Pure: facts in, text out. What could not be guessed stands in the draft as a comment; what was guessed says so. Text
from elsewhere is quoted, and made safe where it stands in a comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence

from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.policy import policy, roster, settings

# What metrics call a deployment, the likeliest first.
LABELS = ("deployment", "model", "model_name", "service", "app", "job")
_POINTERS = ("champion", "production", "prod", "live")
_EVENTS = ("orders", "conversions", "purchases", "checkouts", "bookings", "signups", "clicks")
_TRIALS = ("visits", "sessions", "impressions", "views", "recommendations", "requests", "predictions")
_MAX_DEPLOYMENTS = 2_000
_MAX_LEFT_OUT = 500


@dataclass(frozen=True, slots=True)
class MetricFact:
    """A metric that exists: `values` are those its series have for the label that tells deployments apart."""

    name: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFact:
    """A registered model, and the names of its pointers."""

    name: str
    aliases: tuple[str, ...] = ()


def draft_settings(prometheus: str, mlflow: str | None, operator: str | None = None) -> str:
    """Settings for these two servers, with the policy and the roster beside them."""
    lines = [
        f"schema: {settings.SCHEMA}",
        "prometheus:",
        f"  url: {_quoted(prometheus)}",
        '  # auth: {kind: bearer, token: {env: PROMETHEUS_TOKEN}}   # or keyring: "service/name", or file: PATH',
        "  # headers: {X-Scope-OrgID: team}                         # Mimir, Thanos",
        "  step: 15s                 # could not be guessed: your scrape interval",
    ]
    if mlflow is not None:
        lines += ["registry:", "  kind: mlflow", f"  url: {_quoted(mlflow)}"]
    else:
        lines += ['# registry: {kind: mlflow, url: "http://mlflow:5000"}     # no registry was named']
    lines += ["evaluate_every: 15s", "policies: [policy.yaml]", "roster: roster.yaml"]
    lines += [f"operator: {_quoted(operator)}"] if operator else ["# operator: your-id          # nobody was named"]
    lines += ["# runbooks: [runbooks]        # folders with your own *.md", ""]
    return "\n".join(lines)


def draft_roster(operator: str | None, key: str | None) -> str:
    """A roster with one operator; without a key the console only looks."""
    lines = [f"schema: {roster.SCHEMA}", "operators:", f"  - id: {_quoted(operator or 'oncall-1')}"]
    if operator is None:
        lines.append("    # could not be guessed: who you are")
    lines.append("    roles: [oncall]          # viewer, oncall, lead, commander")
    if key:
        lines.append(f"    keys: [{_quoted(key.strip())}]")
    else:
        lines.append("    keys: []                 # could not be guessed: `rollback-console identity init` makes one")
    return "\n".join([*lines, ""])


def choose_label(candidates: Mapping[str, Sequence[MetricFact]], models: Sequence[ModelFact]) -> str | None:
    """The label that tells deployments apart: the one whose values meet the most models' names, then the one on the
    most metrics; None where no metric has any of them."""
    names = {_folded(model.name) for model in models}

    def rank(label: str) -> tuple[int, int, int]:
        values = {_folded(value) for metric in candidates[label] for value in metric.values}
        return len(values & names), sum(1 for metric in candidates[label] if metric.values), -LABELS.index(label)

    used = [label for label in candidates if any(metric.values for metric in candidates[label])]
    # `job` is on everything: it counts only where models go by it.
    used = [label for label in used if label != "job" or rank(label)[0]] or used
    return max(used, key=rank) if used else None


def draft_policy(
    metrics: Iterable[MetricFact],
    models: Iterable[ModelFact],
    label: str | None,
    environment: str = "production",
    name: str = "first-draft",
) -> str:
    """A policy that loads. `metrics` with the values of `label` (None: no metric tells deployments apart)."""
    known = {metric.name: metric for metric in metrics if plain(metric.name) == metric.name}
    values = sorted({value for metric in known.values() for value in metric.values if plain(value) == value})
    lines = [
        f"schema: {policy.SCHEMA}",
        f"name: {name}",
        "version: 1",
        "mode: advise              # observe: record only",
        "# owners: [your-team]      # could not be guessed",
        "# All below is guessed from names. Read it; `policy check FILE` and `policy explain FILE` help.",
        "",
        "deployments:",
        *_deployments(tuple(models), values, label or "deployment", environment, _info(known)),
        "",
        "signals:",
        *_signals(known, label),
        "",
        "trigger:                  # `policy explain` says what holds without `when:`",
        "  dwell: 5m",
        "  hold: 10m",
        "  cool_down: 1h",
        "",
        *_impact(known, label),
        "recovery:",
        "  - path: version",
        "    driver: mlflow-alias",
        "    target: last_known_good",
        "    verify: {for: 10m, within: 30m}",
        "    authority: {request: [oncall]}",
        "",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A JSON string is a YAML string."""
    return json.dumps(text, ensure_ascii=False)


def _folded(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _named(text: str) -> str:
    """A deployment's name from a model's: other characters become `-`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:100] or "unnamed"


def _info(known: dict[str, MetricFact]) -> str | None:
    return next((name for name in ("model_info", "model_version_info", "serving_info") if name in known), None)


def _deployments(
    models: tuple[ModelFact, ...], values: list[str], label: str, environment: str, info: str | None
) -> list[str]:
    lines: list[str] = []
    taken: set[str] = set()
    exact = {model.name for model in models}
    folded = {_folded(value): value for value in values if value not in exact}
    without = [model.name for model in models if not model.aliases]
    pointed = [model for model in models if model.aliases and plain(model.name) == model.name]
    for model in pointed[:_MAX_DEPLOYMENTS]:
        alias = next((name for name in _POINTERS if name in model.aliases), model.aliases[0])
        others = [name for name in model.aliases if name != alias]
        value = model.name if model.name in values else folded.pop(_folded(model.name), None)
        lines += _deployment(
            _unique(model.name, taken), environment, model.name, alias, label, value or model.name, info
        )
        if others:
            lines.append(f"    # it has other aliases as well: {plain(', '.join(others), 200)}")
        if value is None:
            lines.append(f"    # could not be guessed: no metric has {label}={plain(_quoted(model.name), 120)}")
    if not pointed:
        for value in (values or ["my-model"])[:_MAX_DEPLOYMENTS]:
            lines += _deployment(_unique(value, taken), environment, value, "champion", label, value, info)
            lines.append("    # could not be guessed: the registered model, and the alias that serving follows")
    if without:
        lines += _left_out(without)
    return lines


def _left_out(names: list[str]) -> list[str]:
    """Every model that has no alias, by name, as comments: whoever misses a deployment finds it here."""
    lines = [f"# left out, for they have no alias that serving could follow ({len(names)}):"]
    for name in map(plain, names[:_MAX_LEFT_OUT]):
        if len(lines) == 1 or len(lines[-1]) + len(name) > 118:
            lines.append("#  ")
        lines[-1] += f" {name}"
    if len(names) > _MAX_LEFT_OUT:
        lines.append(f"#   and {len(names) - _MAX_LEFT_OUT} others")
    return lines


def _unique(text: str, taken: set[str]) -> str:
    name = base = _named(text)
    count = 2
    while name in taken:
        name = f"{base[:95]}-{count}"
        count += 1
    taken.add(name)
    return name


def _deployment(
    name: str, environment: str, model: str, alias: str, label: str, value: str, info: str | None
) -> list[str]:
    lines = [
        f"  - name: {_quoted(name)}",
        f"    environment: {environment}    # could not be guessed",
        "    tier: normal              # could not be guessed: critical, high, normal or low",
        f"    model: {{name: {_quoted(model)}, alias: {_quoted(alias)}}}",
        f"    labels: {{{label}: {_quoted(value)}}}",
    ]
    if info is not None:
        lines.append(f"    serving_version: {info}    # its `version` label is what serves")
    return lines


def _find(known: dict[str, MetricFact], stems: Sequence[str], suffix: str) -> str | None:
    """A metric with one of the stems in its name and the suffix at its end; earlier stems and shorter names first."""
    for stem in stems:
        found = [name for name in known if name.endswith(suffix) and re.search(rf"(^|_){stem}(_|$)", name)]
        if found:
            return min(found, key=lambda name: (len(name), name))
    return None


def _signals(known: dict[str, MetricFact], label: str | None) -> list[str]:
    if label is None:
        return [
            "  # could not be guessed: no metric has a label that tells deployments apart. This one at least exists.",
            *_signal("reachable", "lower", ["value: min by (deployment) (up)", "breach: {below: 1}"]),
        ]
    mine = {name: metric for name, metric in known.items() if metric.values}
    lines: list[str] = []
    events, trials = _find(mine, _EVENTS, "_total"), _find(mine, _TRIALS, "_total")
    if events and trials and events != trials:
        lines += _signal("conversion", "lower", [
            f"x: sum by ({label}) (increase({events}[$window]))", f"n: sum by ({label}) (increase({trials}[$window]))",
            "maturity: 3m              # a guess: how late events follow their trials",
            "baseline: {kind: seasonal}    # learned from 28 days; the margin from its noise",
        ], "business")  # fmt: skip
    served = _find(mine, ("requests", "predictions", "inferences"), "_total")
    errors = _find(mine, ("errors", "failures", "failed", "error"), "_total")
    if served and errors and served != errors:
        lines += _signal("error_rate", "higher", [
            f"x: sum by ({label}) (increase({errors}[$window]))", f"n: sum by ({label}) (increase({served}[$window]))",
            "window: 5m", "minimum: 100", "breach: {above: 2%}    # a guess",
            "blind: healthy     # no errors, no series", "sufficient_alone: true",
        ])  # fmt: skip
    latency = _find(mine, ("latency", "duration", "seconds", "milliseconds", "time"), "_bucket")
    if latency:
        lines += _signal("latency_p95", "higher", [
            f"value: histogram_quantile(0.95, sum by ({label}, le) (rate({latency}[$window])))", "window: 5m",
            "breach: {degraded_by: 50%, baseline: {kind: last_week}}    # a guess",
            *(['unit: "s"'] if "seconds" in latency.split("_") else []),
        ])  # fmt: skip
    if served:
        lines += _signal("volume", "lower", [
            f"value: sum by ({label}) (rate({served}[$window]))", "window: 5m",
            "breach: {degraded_by: 60%, baseline: {kind: last_week}}    # a guess", 'unit: "/s"',
        ])  # fmt: skip
    if not lines:
        some = plain(", ".join(sorted(mine)[:12]), 300)
        lines = [
            f"  # could not be guessed: which of these say how well a deployment does: {some or 'none'}",
            *_signal("reporting", "lower", [f'value: count by ({label}) ({{{label}!=""}})', "breach: {below: 1}"]),
        ]
    return lines


def _signal(name: str, worse: str, lines: Sequence[str], area: str = "technical") -> list[str]:
    return [f"  {name}:", f"    area: {area}", f"    worse: {worse}", *(f"    {line}" for line in lines)]


def _impact(known: dict[str, MetricFact], label: str | None) -> list[str]:
    revenue = _find(known, ("revenue", "sales"), "_total")
    if revenue is None or label is None:
        return ['# impact: {revenue_per_minute: {value: "…", unit: USD}}    # could not be guessed', ""]
    return [
        "impact:",
        f'  revenue_per_minute: {{value: "sum by ({label}) (rate({revenue}[5m])) * 60", unit: USD}}',
        "",
    ]

"""What the sandbox writes into its folder: settings, policy, roster, an operator's key, Prometheus' configuration."""

from __future__ import annotations

import json
import os
from pathlib import Path

from rollback_console.model.value import dataclass
from rollback_console.rehearse.sandbox.registry import ALIAS, MODELS
from rollback_console.rehearse.setup import roster_text

ENVIRONMENT = "sandbox"
OPERATOR = "oncall-1"
GOOD_CONVERSION = "59%"  # what a good version reaches with the traffic's eagerness of 0.7 (tests measure it)
_DEPENDS = {"checkout-ranker": "[]", "home-feed": "[feature-view/likes]", "search-rank": "[feature-view/likes]"}

_POLICY = """\
# Short windows, so that a whole incident fits into three minutes. No policy for production.
schema: rollback-console/policy/v1
name: sandbox
version: 1
mode: advise
owners: [you]

deployments:
{deployments}
signals:
  conversion:
    title: Conversion
    area: business
    worse: lower
    x: sum by (deployment) (increase(orders_total[$window]))
    n: sum by (deployment) (increase(visits_total[$window]))
    window: 30s
    minimum: 200
    unit: "%"
    breach: {{degraded_by: 12%, baseline: {{kind: fixed, value: {conversion}}}}}
  revenue_per_visit:
    title: Revenue a visit
    area: business
    worse: lower
    x: sum by (deployment) (increase(revenue_total[$window]))
    n: sum by (deployment) (increase(visits_total[$window]))
    window: 30s
    minimum: 200
    unit: USD
    breach: {{degraded_by: 12%, baseline: {{kind: version, history: 2m}}}}
    blind: healthy                  # a stack this young has no version before
  error_rate:
    title: Errors
    area: technical
    worse: higher
    value: sum by (deployment) (rate(errors_total[$window])) / sum by (deployment) (rate(requests_total[$window]))
    window: 30s
    breach: {{above: 2%}}
  latency_p95:
    title: Latency p95
    area: technical
    worse: higher
    value: histogram_quantile(0.95, sum by (deployment, le) (rate(latency_seconds_bucket[$window])))
    window: 30s
    unit: s
    breach: {{above: 0.2}}
  volume:
    title: Requests
    area: technical
    worse: lower
    value: sum by (deployment) (rate(requests_total[$window]))
    window: 10s
    unit: /s
    breach: {{below: 1}}

trigger:
  when: conversion or volume or any 2 of [revenue_per_visit, error_rate, latency_p95]
  dwell: {dwell}
  hold: 20s
  cool_down: 5m
  blind_dwell: 30s

impact:
  revenue_per_minute: {{value: "sum by (deployment) (rate(revenue_total[30s])) * 60", unit: USD}}
  users_per_minute: {{value: "sum by (deployment) (rate(visits_total[30s])) * 60"}}
  regulatory: low

recovery:
  - path: version
    driver: mlflow-alias
    target: {target}
    healthy_for: 30s                # the stack is young
    verify: {{for: 20s, within: 3m}}
    authority: {{request: [oncall], approve: {{of: [], count: 0}}, expires: 30m}}

runbook: model-version-rollback.md
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the sandbox put things. `key` holds the operator's private key in clear, mode 0600: it is worth nothing
    outside this sandbox."""

    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "settings.yaml"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.yaml"

    @property
    def roster(self) -> Path:
        return self.folder / "roster.yaml"

    @property
    def key(self) -> Path:
        return self.folder / "operator.key"

    @property
    def journal(self) -> Path:
        return self.folder / "journal.db"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def facts(self) -> Path:
        """A JSON file with URLs and ports, written once everything answers."""
        return self.folder / "sandbox.json"


def write_configuration(places: Places, prometheus: str, registry: str, dwell: str, target: str) -> None:
    """Settings, policy, roster and key. `target`: `last_known_good` or a version."""
    deployments = "".join(
        f"""\
  - name: {name}
    environment: {ENVIRONMENT}
    tier: {"critical" if name == "checkout-ranker" else "high"}
    model: {{name: {name}, alias: {ALIAS}}}
    labels: {{deployment: {name}}}
    serving_version: model_info{{deployment="$deployment"}}
    depends_on: {_DEPENDS[name]}
"""
        for name in MODELS
    )
    words = {"deployments": deployments, "conversion": GOOD_CONVERSION, "dwell": dwell}
    places.policy.write_text(_POLICY.format(**words, target=target if not target.isdecimal() else f'"{target}"'))
    places.settings.write_text(
        "schema: rollback-console/settings/v1\n"
        f"prometheus: {{url: {prometheus}, step: 1s, timeout: 5s}}\n"
        f"registry: {{kind: mlflow, url: {registry}, timeout: 5s}}\n"
        "evaluate_every: 2s\n"
        "delay: 1s\n"
        "lookback: 30m\n"
        "budget: {queries_per_minute: 2000}    # an evaluation every two seconds\n"
        "policies: [policy.yaml]\n"
        "roster: roster.yaml\n"
        "journal: journal.db\n"
        f"operator: {OPERATOR}\n"
        f"band: {{{ENVIRONMENT}: SANDBOX}}\n"
    )
    places.roster.write_text(roster_text(OPERATOR, "You, in the sandbox", _make_key(places.key)))


def write_prometheus(places: Places, ports: dict[str, int]) -> Path:
    """Prometheus' configuration: one target a deployment, scraped every second. JSON is YAML."""
    path = places.folder / "prometheus.yml"
    path.write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "model-service",
                        "static_configs": [
                            {
                                "targets": [f"127.0.0.1:{port}"],
                                "labels": {"deployment": name, "environment": ENVIRONMENT},
                            }
                            for name, port in ports.items()
                        ],
                    }
                ],
            },
            indent=1,
        )
    )
    return path


def _make_key(path: Path) -> str:
    """A new key for this sandbox; its public line."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    private = Ed25519PrivateKey.generate()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return f"{line} {OPERATOR}"

"""Fleets of any size to measure with: a policy of six signals, and a metric backend in the process itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from rollback_console.model.observation import BackendHealth, BackendState, Series
from rollback_console.model.rules import DeploymentRule
from rollback_console.policy.load import parse_policy

SIGNALS = 6
BASES = (0.46, 0.004, 0.120, 1.9, 520.0, 42.0)
QUERIES = tuple(f"max by (deployment) (signal_{number})" for number in range(SIGNALS))


def name(index: int) -> str:
    return f"ranker-{index:04d}"


def policy_text(deployments: int) -> str:
    """A policy: six signals, a trigger over all of them. Signal 0 of a deployment breaches below 0.4."""
    rows = "".join(
        f"  - name: {name(index)}\n    environment: production\n"
        f"    model: {{name: {name(index)}, alias: champion}}\n    labels: {{deployment: {name(index)}}}\n"
        f"    depends_on: [feature-view/{index % 50}]\n"
        for index in range(deployments)
    )
    signals = "".join(
        f"  signal_{number}:\n    title: Signal {number}\n    area: {'business' if number < 1 else 'technical'}\n"
        f"    worse: {'lower' if number < 1 else 'higher'}\n    value: {QUERIES[number]}\n    window: 1m\n"
        + ("    breach: {below: 0.4}\n" if number < 1 else f"    breach: {{above: {BASES[number] * 2}}}\n")
        for number in range(SIGNALS)
    )
    others = ", ".join(f"signal_{number}" for number in range(1, SIGNALS))
    return (
        "schema: rollback-console/policy/v1\nname: bench\nversion: 1\nmode: advise\n"
        f"deployments:\n{rows}signals:\n{signals}"
        f"trigger:\n  when: signal_0 or any 2 of [{others}]\n  dwell: 10s\n  hold: 10s\n  blind_dwell: 20s\n"
    )


def rules(deployments: int) -> tuple[DeploymentRule, ...]:
    return parse_policy(policy_text(deployments).encode(), "bench.yaml").rules


def write_settings(folder: Path, prometheus: str, deployments: int, every: str = "2s") -> Path:
    """Settings and policy in `folder`; returns the settings' path."""
    (folder / "policy.yaml").write_text(policy_text(deployments))
    path = folder / "settings.yaml"
    path.write_text(
        "schema: rollback-console/settings/v1\n"
        f"prometheus: {{url: {prometheus}, timeout: 10s}}\n"
        f"evaluate_every: {every}\ndelay: 0s\nlookback: 10m\n"
        "budget: {queries_per_minute: 100000}\n"
        "policies: [policy.yaml]\njournal: journal.db\n"
    )
    return path


class Values:
    """What signal `signal` of deployment `index` is at `at`: every value changes with every second, in all its digits.

    The first `bad` deployments are degraded.
    """

    def __init__(self, deployments: int, bad: int) -> None:
        self.deployments, self.bad = deployments, bad

    def column(self, signal: int, at: float) -> list[float]:
        draw = random.Random(f"{signal} {at:.3f}")
        base = BASES[signal]
        found = [base * (0.97 + 0.06 * draw.random()) for _ in range(self.deployments)]
        if signal == 0:
            found[: self.bad] = [value * 0.8 for value in found[: self.bad]]
        return found


class InProcess:
    """A `MetricBackend` that answers at once, without a server: for figures in which observing has no part."""

    def __init__(self, deployments: int, bad: int = 0) -> None:
        self._values = Values(deployments, bad)
        self._labels = [(("deployment", name(index)),) for index in range(deployments)]
        self.bad = bad

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        self._values.bad = self.bad
        column = self._values.column(QUERIES.index(promql), at)
        return tuple(Series(labels, ((at, value),)) for labels, value in zip(self._labels, column, strict=True))

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        self._values.bad = self.bad
        times = [start + number * step for number in range(round((end - start) / step) + 1)]
        columns: Sequence[list[float]] = [self._values.column(QUERIES.index(promql), at) for at in times]
        return tuple(
            Series(labels, tuple((at, column[index]) for at, column in zip(times, columns, strict=True)))
            for index, labels in enumerate(self._labels)
        )

    def health(self) -> BackendHealth:
        return BackendHealth("prometheus", BackendState.OK, 0.0, None, "in process")

    async def close(self) -> None:
        return None

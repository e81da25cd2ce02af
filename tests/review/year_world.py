"""The simulated team's fleet: twenty models of five teams, how they truly behave, and the papers in force over time."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rollback_console.authorize.keys import PersonKey
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Blind, Observation, Reading
from rollback_console.model.rules import DeploymentRule
from rollback_console.policy.load import parse_policy

START = 1_756_684_800.0  # Monday 2025-09-01 00:00 UTC
DAY_S, WEEK_S, MINUTE_S = 86_400.0, 604_800.0, 60.0
_WINDOW_MIN = 5.0
_DRAWN = 4_099  # normal numbers, used in turn: a prime, so that no two signals stay in step
SIGNALS = ("conversion", "error_rate", "latency_p95")


@dataclass(frozen=True)
class Model:
    """One deployment. `visits` a minute, `drift`: how much its conversion changes in a year, as a fraction."""

    number: int
    name: str
    environment: str
    team: str
    tier: str
    visits: float
    conversion: float
    order_value: float
    latency_s: float
    version: int
    drift: float
    depends_on: str

    @property
    def id(self) -> DeploymentId:
        return DeploymentId(self.environment, self.name)

    @property
    def key(self) -> str:
        return str(self.id)


_ACTIVITY, _CATALOGUE = "feature-view/user-activity", "feature-view/catalogue"
_FLEET = (  # name, team, tier, visits a minute, conversion, value, latency, version, drift a year, depends on
    ("search-rank", "ranking", "critical", 24_000, 0.38, 4.1, 0.052, 31, -0.10, _ACTIVITY),
    ("home-feed", "ranking", "high", 20_000, 0.42, 1.9, 0.060, 14, 0.05, _ACTIVITY),
    ("recs-similar", "ranking", "normal", 14_000, 0.40, 2.7, 0.038, 11, 0.0, _ACTIVITY),
    ("checkout-ranker", "ranking", "critical", 16_000, 0.46, 6.4, 0.045, 8, 0.02, "feature-view/basket"),
    ("email-ranker", "growth", "normal", 12_000, 0.44, 1.2, 0.075, 6, 0.0, _ACTIVITY),
    ("ads-ctr", "growth", "high", 42_000, 0.31, 0.4, 0.018, 22, -0.15, "feature-view/advertisers"),
    ("churn-risk", "growth", "low", 3_500, 0.84, 3.0, 0.065, 16, 0.0, "feature-view/accounts"),
    ("upsell", "growth", "normal", 5_200, 0.22, 8.0, 0.048, 4, 0.08, "feature-view/accounts"),
    ("fraud-score", "risk", "critical", 5_000, 0.93, 31.0, 0.030, 12, 0.0, "feature-view/payments"),
    ("credit-limit", "risk", "critical", 3_800, 0.71, 22.0, 0.042, 9, -0.03, "feature-view/payments"),
    ("account-takeover", "risk", "high", 6_100, 0.95, 4.0, 0.025, 18, 0.0, "feature-view/sessions"),
    ("chargeback", "risk", "normal", 3_100, 0.88, 12.0, 0.055, 5, 0.0, "feature-view/payments"),
    ("delivery-eta", "logistics", "high", 6_500, 0.82, 6.5, 0.042, 9, 0.0, "feature-view/carriers"),
    ("stock-forecast", "logistics", "normal", 4_500, 0.88, 9.0, 0.160, 10, 0.04, "feature-view/stock"),
    ("route-planner", "logistics", "normal", 3_900, 0.79, 5.0, 0.210, 7, 0.0, "feature-view/carriers"),
    ("returns-risk", "logistics", "low", 3_300, 0.66, 7.0, 0.070, 3, 0.0, "feature-view/stock"),
    ("query-embedder", "platform", "high", 26_000, 0.88, 0.3, 0.022, 3, 0.0, _CATALOGUE),
    ("image-embedder", "platform", "normal", 9_500, 0.90, 0.2, 0.120, 4, 0.0, _CATALOGUE),
    ("support-triage", "platform", "low", 4_000, 0.86, 1.5, 0.140, 7, 0.0, "feature-view/tickets"),
    ("price-optimiser", "platform", "high", 8_000, 0.52, 12.0, 0.090, 5, 0.06, _CATALOGUE),
)
_INTERNAL = {"support-triage", "churn-risk", "returns-risk", "route-planner", "stock-forecast"}  # the other environment
MODELS = tuple(
    Model(number, name, "internal" if name in _INTERNAL else "production", *rest)
    for number, (name, *rest) in enumerate(_FLEET)
)  # fmt: skip
TEAMS = ("ranking", "growth", "risk", "logistics", "platform")


@dataclass(frozen=True)
class Effect:
    """What truly befalls a deployment from `start` to `end` (the simulated time): factors and an added error rate."""

    model: int
    start: float
    end: float
    conversion: float = 1.0
    errors: float = 0.0
    latency: float = 1.0
    silent: bool = False  # its exporter is dead


@dataclass
class Papers:
    """One team's policy as it stands: what may change over the year."""

    team: str
    version: int = 1
    dwell: str = "5m"
    owners: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    tiers: dict[str, str] = field(default_factory=dict)

    def text(self) -> bytes:
        """The policy file."""
        mode = "act" if self.team == "risk" else "advise"
        automatic = ", automatic: {after: 1m}" if mode == "act" else ""
        rows = "".join(
            f"  - name: {model.name}\n    environment: {model.environment}\n    tier: {self.tiers[model.name]}\n"
            f"    model: {{name: {model.name}, alias: champion}}\n    labels: {{deployment: {model.name}}}\n"
            f'    serving_version: model_info{{deployment="$deployment"}}\n    depends_on: [{model.depends_on}]\n'
            for model in MODELS
            if model.name in self.members
        )
        return (
            f"schema: rollback-console/policy/v1\nname: {self.team}\nversion: {self.version}\nmode: {mode}\n"
            f"owners: [{', '.join(self.owners)}]\nreview_every: 180d\n"
            f'links: {{dashboard: "https://dashboards.invalid/{self.team}"}}\n'
            f"deployments:\n{rows}{_SIGNALS}"
            f"trigger:\n  when: conversion or error_rate or latency_p95\n  dwell: {self.dwell}\n  hold: 5m\n"
            f"  cool_down: 1h\n  blind_dwell: 10m\n{_IMPACT}"
            f"recovery:\n  - path: version\n    driver: mlflow-alias\n    target: last_known_good\n"
            f"    verify: {{for: 8m, within: 30m}}\n"
            f"    authority: {{request: [oncall], approve: {{of: [], count: 0}}, expires: 30m{automatic}}}\n"
            f"runbook: model-version-rollback.md\n"
        ).encode()


_SIGNALS = """signals:
  conversion:
    title: Conversion
    area: business
    worse: lower
    x: sum by (deployment) (increase(orders_total[$window]))
    n: sum by (deployment) (increase(visits_total[$window]))
    window: 5m
    minimum: 1000
    unit: "%"
    breach: {degraded_by: 5%, baseline: {kind: last_week}}
  error_rate:
    title: Errors
    area: technical
    worse: higher
    value: sum by (deployment) (rate(errors_total[$window])) / sum by (deployment) (rate(requests_total[$window]))
    window: 1m
    unit: "%"
    breach: {above: 2%}
  latency_p95:
    title: Latency p95
    area: technical
    worse: higher
    value: histogram_quantile(0.95, sum by (deployment, le) (rate(latency_seconds_bucket[$window])))
    window: 2m
    unit: s
    breach: {degraded_by: 40%, baseline: {kind: last_week}}
"""
_IMPACT = """impact:
  revenue_per_minute: {value: "sum by (deployment) (rate(revenue_total[5m])) * 60", unit: EUR}
  users_per_minute: {value: "sum by (deployment) (rate(visits_total[5m])) * 60"}
"""


def first_papers() -> dict[str, Papers]:
    """Every team's first policy."""
    return {
        team: Papers(
            team,
            owners=(f"team-{team}",),
            members=tuple(model.name for model in MODELS if model.team == team),
            tiers={model.name: model.tier for model in MODELS},
        )
        for team in TEAMS
    }


def rules_of(papers: Mapping[str, Papers]) -> tuple[DeploymentRule, ...]:
    """All deployments' rules, as the settings would list the policies."""
    return tuple(
        rule for team in TEAMS for rule in parse_policy(papers[team].text(), f"{team}.yaml").rules
    )  # fmt: skip


def roster_text(people: Sequence[str], seed: int) -> bytes:
    """A roster of on-call people, with the keys that they sign with (a simulated team's: made from the seed)."""
    rows = "".join(
        f"  - id: {name}\n    name: {name.title()}\n    roles: [commander]\n"
        f'    keys: ["{PersonKey.from_seed(seed, name).line}"]\n'
        for name in people
    )
    return f"schema: rollback-console/roster/v1\noperators:\n{rows}".encode()


class SetClock:
    """A clock that is set by hand: the wall's time may jump, the monotonic one never."""

    def __init__(self, at: float) -> None:
        self.wall = self.true = at

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.true

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody waits in a simulated year")


class World:
    """What the metrics would say. Deterministic: noise comes out of one table drawn from the seed."""

    def __init__(self, seed: int, effects: Iterable[Effect]) -> None:
        draw = random.Random(f"year {seed}")
        self._normal = [draw.gauss(0.0, 1.0) for _ in range(_DRAWN)]
        self._effects: dict[int, list[Effect]] = {}
        for effect in effects:
            self._effects.setdefault(effect.model, []).append(effect)

    def observe(self, model: Model, true: float, at: float, version: str) -> Observation:
        """What an evaluation at `at` (the wall's time) sees of a deployment at the time that it truly is."""
        now = [each for each in self._effects.get(model.number, ()) if each.start <= true < each.end]
        blind = any(each.silent for each in now)
        visits = model.visits * (1.0 + 0.45 * math.sin(2.0 * math.pi * (true / DAY_S - 0.3)))
        n = float(round(visits * _WINDOW_MIN))
        rate = self._conversion(model, true) * math.prod(each.conversion for each in now)
        errors = max(0.0, 0.003 + 0.0003 * self._noise(model, true, 1) + sum(each.errors for each in now))
        latency = self._latency(model, true) * math.prod(each.latency for each in now)
        if blind:
            gone = Reading(blind=Blind.NO_DATA)
            return Observation(model.id, at, (gone, gone, gone), None)
        readings = (
            Reading(rate, self._conversion(model, true - WEEK_S), n),
            Reading(errors),
            Reading(latency, self._latency(model, true - WEEK_S)),
        )
        return Observation(
            model.id, at, readings, version, round(visits * rate * model.order_value, 2), float(round(visits))
        )

    def _conversion(self, model: Model, true: float) -> float:
        """Without what befell it: an incident of last week is left out of baselines."""
        drifted = 1.0 + model.drift * (true - START) / (365.0 * DAY_S)
        return model.conversion * drifted * (1.0 + 0.005 * self._noise(model, true, 0))

    def _latency(self, model: Model, true: float) -> float:
        return model.latency_s * (1.0 + 0.03 * self._noise(model, true, 2))

    def _noise(self, model: Model, true: float, signal: int) -> float:
        return self._normal[(int(true // MINUTE_S) * 31 + model.number * 977 + signal * 2_011) % _DRAWN]

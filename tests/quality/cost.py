"""What deciding costs: time a signal and evaluation, memory a deployment, and how both grow with deployments."""

from __future__ import annotations

import gc
import time
import tracemalloc
from dataclasses import dataclass, replace
from math import log

from quality.noises import MINUTE_S, START_S, generator
from quality.ours import rule_of
from rollback_console.decide.judge import FRESH, step
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Norm, Observation, Reading
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerMemory

FLEETS = (100, 300, 1_000, 3_000)
_NORM = Norm(0.01, (1.0, 1.1, 1.2, 1.4, 1.8, 2.2, 2.5))
_DRAWN = 31  # evaluations' readings drawn beforehand, used in turn
_RATES = (0.03, 0.005, 0.05)


@dataclass(frozen=True)
class Cost:
    """One size of a fleet of three signals each. `us`: of processor time a signal and evaluation; `bytes`: of memory a
    deployment between two evaluations; `evaluations`: of a signal, timed."""

    deployments: int
    us: float
    bytes: float
    evaluations: int


def measure(evaluations: int, fleets: tuple[int, ...] = FLEETS) -> list[Cost]:
    """Every size of `fleets`; `evaluations` of a signal in all, shared out evenly between them."""
    readings = _readings()
    found = []
    for deployments in fleets:
        rules = _fleet(deployments)
        ticks = max(3, evaluations // len(fleets) // (deployments * len(_RATES)))
        found.append(Cost(deployments, _timed(rules, readings, ticks), _held(rules, readings),
                          ticks * deployments * len(_RATES)))  # fmt: skip
    return found


def slope(costs: list[Cost]) -> float:
    """The exponent by which an evaluation of the whole fleet grows with it: 1 is linear. By the ends of the range."""
    first, last = costs[0], costs[-1]
    return log(last.us * last.deployments / (first.us * first.deployments)) / log(last.deployments / first.deployments)


def _fleet(count: int) -> list[DeploymentRule]:
    one = rule_of(alone=False, company=True)
    return [replace(one, deployment=replace(one.deployment, id=DeploymentId("production", f"ranker-{k}")))
            for k in range(count)]  # fmt: skip


def _readings() -> list[tuple[Reading, ...]]:
    rng = generator("cost")
    found = []
    for _ in range(_DRAWN):
        n = float(rng.poisson(2000))
        xs = [float(rng.binomial(int(n), rate)) for rate in _RATES]
        found.append(tuple(Reading(x / n, rate, n, x=x, norm=_NORM) for x, rate in zip(xs, _RATES, strict=True)))
    return found


def _tick(
    rules: list[DeploymentRule], memories: list[TriggerMemory], readings: list[tuple[Reading, ...]], tick: int
) -> list[TriggerMemory]:
    at = START_S + MINUTE_S * (tick + 1)
    return [
        step(rule, Observation(rule.deployment.id, at, readings[(tick + k) % _DRAWN], "v8"), memory).memory
        for k, (rule, memory) in enumerate(zip(rules, memories, strict=True))
    ]


def _timed(rules: list[DeploymentRule], readings: list[tuple[Reading, ...]], ticks: int) -> float:
    """Processor time: what else the machine does is not ours."""
    memories = _tick(rules, [FRESH] * len(rules), readings, 0)
    began = time.process_time()
    for tick in range(1, ticks + 1):
        memories = _tick(rules, memories, readings, tick)
    return 1e6 * (time.process_time() - began) / (ticks * len(rules) * len(_RATES))


def _held(rules: list[DeploymentRule], readings: list[tuple[Reading, ...]]) -> float:
    """Bytes that a deployment's memory takes once its evidence is under way."""
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    memories = [FRESH] * len(rules)
    for tick in range(3):
        memories = _tick(rules, memories, readings, tick)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / len(memories)

"""Fleets judged by evidence, and recorded streams for them: healthy counts, drops, bursts, gaps, releases."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from engine_tools import VERSIONS, Flaky, bounded, fleet_rule, labelled

from rollback_console.clock import VirtualClock
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.journal.store import Journal
from rollback_console.model.observation import Series
from rollback_console.model.rules import (
    Baseline,
    BaselineKind,
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    DeploymentRule,
    EvidenceRule,
    Expression,
    SignalRule,
    Tiered,
    Uses,
    Worse,
)

MINUTE = 60.0
BEGIN = 1_763_640_000.0 // 43_200 * 43_200  # a mark of the detectors' clock
Points = list[tuple[float, float]]


def weighed_signal(name: str, p: float, worse: Worse = Worse.LOWER, **more: object) -> SignalRule:
    """A signal judged by evidence against a fixed baseline, asked as ``NAME_x`` out of ``NAME_n``."""
    facts: dict[str, object] = {"area": "business" if worse is Worse.LOWER else "technical", "minimum": 50.0}
    facts |= {"evidence": EvidenceRule(margin=0.02), "baseline": Baseline(BaselineKind.FIXED, p), **more}
    return SignalRule(
        name=name, title=name.capitalize(), worse=worse, breach=Breach(), window_s=MINUTE, x=f"{name}_x", n=f"{name}_n",
        **facts,  # type: ignore[arg-type]
    )  # fmt: skip


def draw_count(draw: random.Random, n: float, p: float, noise: float = 1.6) -> float:
    """Events out of n, `noise` times as variable as the binomial."""
    return float(min(n, max(0, round(draw.gauss(n * p, math.sqrt(noise * n * p * (1 - p)))))))


@dataclass
class EvidenceStream:
    """A fleet, and what its queries answer, minute by minute from BEGIN."""

    rules: tuple[DeploymentRule, ...]
    series: Mapping[str, list[Series]]
    minutes: int

    def engine(self, at: float, *, journal: Journal | None = None, lookback_s: float = 86_400.0) -> Engine:
        options = Options(step_s=MINUTE, delay_s=0.0, lookback_s=lookback_s, debug=True)
        metrics = Flaky(self.series, lookback_s=MINUTE)
        return Engine(self.rules, metrics, None, VirtualClock(at), options, journal=journal, inline=True)


def troubles(draw: random.Random, minutes: int) -> list[float]:
    """Per minute what a rate is multiplied by: healthy for most of the time."""
    level = [1.0] * minutes
    k = 0
    while k < minutes:
        k += draw.randint(200, 1200)
        length, size = draw.choice((3, 12, 40, 150)), draw.choice((0.4, 0.65, 0.85, 0.92, 1.1))
        for j in range(k, min(k + length, minutes)):
            level[j] = size
        k += length
    return level


def evidence_stream(
    seed: int, *, deployments: int = 2, minutes: int = 2400, when: Expression | None = None, hold: float = 0.0
) -> EvidenceStream:
    """Conversion (worse when lower), errors (worse when higher, three minutes late), and latency by a plain bound."""
    draw = random.Random(seed)
    late = EvidenceRule(margin=0.02, maturity_s=180.0, alone_hold_s=600.0)
    signals = (
        weighed_signal("conversion", 0.03),
        weighed_signal("errors", 0.01, Worse.HIGHER, evidence=late, sufficient_alone=draw.random() < 0.5),
        bounded("latency", blind=BlindPolicy(draw.choice([BlindPolicyKind.FREEZE, BlindPolicyKind.HEALTHY]))),
    )
    chosen = when or Tiered(tuple(Uses(signal.name) for signal in signals))
    names = [f"d{number}" for number in range(deployments)]
    rules = tuple(fleet_rule(each, signals, chosen, dwell=300.0, hold=hold, blind_dwell=600.0) for each in names)
    found: dict[str, list[Series]] = {}
    for each in names:
        traffic, conversion, errors = draw.choice((300, 2000)), troubles(draw, minutes), troubles(draw, minutes)
        columns: dict[str, Points] = {f"{name}_{kind}": [] for name in ("conversion", "errors") for kind in "xn"}
        latency: Points = []
        for k in range(minutes):
            at = BEGIN + k * MINUTE
            gap = draw.random()
            n = 0.0 if gap < 0.01 else float(max(1, round(draw.gauss(traffic, math.sqrt(traffic)))))
            if gap > 0.03:
                columns["conversion_n"].append((at, n))
                columns["conversion_x"].append((at, draw_count(draw, n, 0.03 * conversion[k])))
            columns["errors_n"].append((at, n))
            columns["errors_x"].append((at, draw_count(draw, n, min(0.9, 0.01 / errors[k]))))
            if draw.random() > 0.02:
                latency.append((at, 9.0 if conversion[k] < 0.7 and k % 3 else 1.0))
        for name, points in columns.items():
            found.setdefault(name, []).append(labelled(name, each, points))
        found.setdefault("max by (deployment) (latency)", []).append(labelled("latency", each, latency))
        change = draw.randrange(minutes // 3, minutes) if draw.random() < 0.3 else minutes
        for version, low, high in (("1", 0, change), ("2", change, minutes)):
            points = [(BEGIN + k * MINUTE, 1.0) for k in range(low, high)]
            found.setdefault(VERSIONS, []).append(labelled(VERSIONS, each, points, job="serving", version=version))
    return EvidenceStream(rules, found, minutes)


async def watch(engine: Engine, start: int, end: int) -> None:
    """Evaluate every minute from number `start` to `end`, inclusive."""
    for k in range(start, end + 1):
        at = BEGIN + k * MINUTE
        engine.clock._now = at  # type: ignore[attr-defined]
        await engine.step(at)

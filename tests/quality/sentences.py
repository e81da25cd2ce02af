"""Sentences of a simulated day, to be read by people: ``python -m tests.quality.sentences [--seed N] [--count 50]``.

A fleet of ten lives through a day, minute by minute, from one seed: traffic with its daily shape, noise, and the
incidents of a bad day. Policies are read as people write them; half of the fleet is judged by evidence and half by
bounds, by the very `decide` that the engine calls. Of all that it said the most different sentences are printed, each
with what would have to change, and what it costs.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that `quality` is one package, here and in tests

from rollback_console.decide.change import why_not
from rollback_console.decide.impact import total_words, waiting_words
from rollback_console.decide.judge import FRESH, decide
from rollback_console.model.countdown import eta_words
from rollback_console.model.observation import Blind, Norm, Observation, Reading
from rollback_console.model.rules import BaselineKind, DeploymentRule
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict
from rollback_console.policy.load import parse_policy

MIDNIGHT = 1_763_596_800.0  # 20 November 2025, 00:00 UTC
MINUTE, DAY = 60.0, 1_440
NAMES = ("checkout", "search", "feed", "similar", "email", "ads", "fraud", "eta", "prices", "triage")
WEIGHED = NAMES[:5]
ACTED_ON = "search"  # somebody rolls it back five minutes after it fired: its cool-down runs from then on
COOL_DOWN, NEVER = 60, 10**9
RATIO = "sum by (deployment) (increase({}[$window]))"


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with one deployment from a minute on: factors, but `errors`, which adds to the share of
    requests that fail; `blind` says why nothing of it is seen."""

    starts: int
    minutes: int
    conversion: float = 1.0
    errors: float = 0.0
    latency: float = 1.0
    volume: float = 1.0
    stale: bool = False  # its features are no longer refreshed
    blind: Blind | None = None
    mended: bool = False  # a rollback ends it

    def active(self, minute: int) -> bool:
        return self.starts <= minute < self.starts + self.minutes


@dataclass
class Deployment:
    """One simulated deployment: its normal rates, and what goes wrong."""

    name: str
    visits: float  # a minute, at the mean of the day
    conversion: float
    value: float  # of an order
    errors: float
    latency: float
    faults: list[Fault] = field(default_factory=list)
    wander: float = 0.0  # autocorrelated noise of the conversion, a fraction


@dataclass(frozen=True)
class Said:
    """One verdict with the rule that it was made by: what all the words are made from."""

    rule: DeploymentRule
    verdict: Verdict

    @property
    def shape(self) -> str:
        """The sentence without its numbers: what makes it another kind of sentence."""
        return f"{self.verdict.state} " + re.sub(r"[-+]?[\d,.]+( %| s)?", "#", self.verdict.sentence)


def fleet(draw: random.Random) -> list[Deployment]:
    """Ten deployments and their bad day: each kind of trouble once or twice, at seeded moments, of seeded sizes. The
    last has so little traffic that its conversion can hardly be judged."""

    def when() -> int:
        return draw.randint(120, 1_150)

    faults: dict[str, list[Fault]] = {
        "checkout": [Fault(when(), 180, conversion=draw.uniform(0.85, 0.92))],
        "search": [Fault(when(), 300, conversion=0.7, errors=0.02, mended=True)],
        "feed": [Fault(when(), 50, conversion=0.0)],  # orders are not counted: serving is well
        "similar": [Fault(when(), 90, errors=0.004)],
        "email": [Fault(when(), 120, conversion=0.8, latency=5.0)],
        "ads": [Fault(when(), 30, errors=0.06), Fault(when(), 2, errors=0.05)],
        "fraud": [Fault(when(), 90, conversion=0.85, latency=2.2)],
        "eta": [Fault(when(), 25, volume=0.1), Fault(when(), 30, conversion=0.88)],
        "prices": [Fault(when(), 45, latency=2.5), Fault(when(), 60, latency=1.8, stale=True)],
        "triage": [Fault(when(), 240, conversion=0.5)],
    }
    for name, minutes in (("fraud", 25), ("checkout", 12), ("ads", 3), ("similar", 40)):
        faults[name].append(Fault(when(), minutes, blind=Blind.NO_DATA))
    hit = faults["ads"][0].starts
    faults["ads"].append(Fault(hit + 2, 4, blind=Blind.QUERY_FAILED))  # in the middle of its dwell
    begins = faults["email"][0].starts
    faults["email"].append(Fault(begins + 100, 6, blind=Blind.QUERY_FAILED))
    outage = when()  # the backend itself
    for each in faults.values():
        each.append(Fault(outage, 9, blind=Blind.QUERY_FAILED))
    return [
        Deployment(
            name, 40.0 if name == "triage" else draw.uniform(2_000.0, 20_000.0), draw.uniform(0.03, 0.4),
            draw.uniform(1.0, 30.0), draw.uniform(0.002, 0.004), draw.uniform(0.05, 0.2), faults[name],
        )
        for name in NAMES
    ]  # fmt: skip


# ── what is judged, as people write it


def policies(deployments: list[Deployment]) -> list[DeploymentRule]:
    """A rule each, through the very reader of policies: five by evidence and the default trigger, five by bounds."""
    rules: list[DeploymentRule] = []
    for each in deployments:
        weighed = each.name in WEIGHED
        policy = {
            "schema": "rollback-console/policy/v1", "name": "day", "version": 1, "mode": "advise",
            "deployments": [{"name": each.name, "environment": "production",
                             "model": {"name": each.name, "alias": "champion"}, "labels": {"deployment": each.name}}],
            "signals": _weighed(each) if weighed else _bounded(),
            "trigger": {"hold": "5m", "blind_dwell": "5m"} if weighed else {
                "when": "errors or volume or any 2 of [conversion, latency, age]", "dwell": "3m", "hold": "5m",
                "blind_dwell": "5m",
            },
            "impact": {
                "revenue_per_minute": {"value": "sum by (deployment) (rate(revenue_total[5m])) * 60"},
                "users_per_minute": {"value": "sum by (deployment) (rate(visits_total[5m])) * 60"},
                "regulatory": "low",
            },
        }  # fmt: skip
        rules.extend(parse_policy(json.dumps(policy).encode(), "day.yaml").rules)
    return rules


_P95 = "histogram_quantile(0.95, sum by (deployment, le) (rate(latency_seconds_bucket[$window])))"
_RATE = "sum by (deployment) (rate({}[$window]))"


def _weighed(each: Deployment) -> dict[str, object]:
    orders, visits = RATIO.format("orders_total"), RATIO.format("visits_total")
    failed, asked = RATIO.format("errors_total"), RATIO.format("requests_total")
    return {
        "conversion": {"area": "business", "worse": "lower", "x": orders, "n": visits, "window": "1m", "margin": "1%",
                       "minimum": 200, "baseline": {"kind": "fixed", "value": round(each.conversion, 5)}},
        "errors": {"title": "Error rate", "worse": "higher", "x": failed, "n": asked, "window": "1m", "margin": "5%",
                   "baseline": {"kind": "fixed", "value": round(each.errors, 5)}, "sufficient_alone": True},
        "latency": {"title": "p95 latency", "worse": "higher", "value": _P95, "window": "2m", "unit": "s",
                    "breach": {"above": round(each.latency * 2, 3)}},
    }  # fmt: skip


def _bounded() -> dict[str, object]:
    def past(by: str) -> dict[str, object]:
        return {"degraded_by": by, "baseline": {"kind": "last_week"}}

    return {
        "conversion": {"area": "business", "worse": "lower", "x": RATIO.format("orders_total"),
                       "n": RATIO.format("visits_total"), "window": "5m", "minimum": 1000, "breach": past("8%")},
        "errors": {"title": "Errors", "worse": "higher", "window": "1m", "unit": "%", "breach": {"above": "2%"},
                   "value": _RATE.format("errors_total") + " / " + _RATE.format("requests_total")},
        "latency": {"title": "p95 latency", "worse": "higher", "value": _P95, "window": "2m", "unit": "s",
                    "breach": past("40%")},
        "volume": {"worse": "lower", "value": _RATE.format("requests_total"), "window": "1m", "breach": past("80%")},
        "age": {"area": "inputs", "title": "Feature age", "worse": "higher", "window": "1m", "unit": "s",
                "value": "max by (deployment) (feature_age_seconds)", "breach": {"above": 180},
                "blind": {"last": "5m"}},
    }  # fmt: skip


# ── a day


class Life:
    """One deployment's day: its readings a minute, out of its own random numbers."""

    def __init__(self, each: Deployment, rule: DeploymentRule, seed: int) -> None:
        self.each, self.rule = each, rule
        self._draw = random.Random(f"{seed} {each.name}")
        self._recent: list[tuple[int, int]] = []  # (orders, visits) of the last five minutes
        self.mended = False

    def _count(self, n: float, p: float) -> int:
        """About binomial: its mean and variance, whole, within 0 and n."""
        return int(min(n, max(0.0, round(self._draw.gauss(n * p, math.sqrt(max(0.0, n * p * (1.0 - p))))))))

    def observe(self, minute: int) -> Observation:
        each, draw = self.each, self._draw
        faults = [f for f in each.faults if f.active(minute) and not (f.mended and self.mended)]
        each.wander = 0.97 * each.wander + draw.gauss(0.0, 0.002)
        shape = 1.0 + 0.5 * math.sin(2 * math.pi * (minute / DAY - 0.35))
        volume = math.prod(f.volume for f in faults)
        visits = max(0, round(draw.gauss(each.visits * shape * volume, math.sqrt(each.visits * shape * volume))))
        rate = min(1.0, each.conversion * math.prod(f.conversion for f in faults) * (1.0 + each.wander))
        orders = self._count(visits, rate)
        failed = self._count(visits, min(1.0, each.errors + sum(f.errors for f in faults)))
        self._recent = [*self._recent, (orders, visits)][-5:]
        latency = each.latency * math.prod(f.latency for f in faults) * draw.gauss(1.0, 0.03)
        age = 400.0 if any(f.stale for f in faults) else draw.uniform(20.0, 60.0)
        blind = next((f.blind for f in faults if f.blind is not None), None)
        at, version = MIDNIGHT + minute * MINUTE, "7" if self.mended else "8"
        if blind is not None:
            return Observation(self.rule.deployment.id, at, (Reading(blind=blind),) * len(self.rule.signals))
        counts = {"conversion": (orders, visits, each.conversion), "errors": (failed, visits, each.errors)}
        if each.name not in WEIGHED:
            five = (sum(o for o, _ in self._recent), sum(v for _, v in self._recent), each.conversion)
            counts["conversion"] = five
        values = {"latency": (latency, each.latency), "volume": (visits / 60.0, each.visits * shape / 60.0),
                  "age": (age, None)}  # fmt: skip
        readings = tuple(self._reading(signal.name, counts, values) for signal in self.rule.signals)
        revenue = sum(o for o, _ in self._recent) / len(self._recent) * each.value
        return Observation(self.rule.deployment.id, at, readings, version, revenue, float(visits))

    def _reading(
        self, name: str, counts: dict[str, tuple[int, int, float]], values: dict[str, tuple[float, float | None]]
    ) -> Reading:
        rule = next(signal for signal in self.rule.signals if signal.name == name)
        if name in values:
            value, base = values[name]
            return Reading(value, base if rule.baseline is not None else None)
        x, n, p = counts[name]
        if n <= 0:
            return Reading(blind=Blind.NO_DATA)
        if rule.evidence is not None:
            return Reading(x / n, p, float(n), x=float(x), norm=Norm(rule.evidence.margin or 0.01, (1.5,) * 7))
        learned = rule.baseline is not None and rule.baseline.kind is not BaselineKind.FIXED
        return Reading(x / n, p if learned else None, float(n))


def day(seed: int, minutes: int = DAY) -> list[Said]:
    """Everything that was said from midnight on, a verdict a minute of each deployment."""
    deployments = fleet(random.Random(seed))
    lives = [Life(each, rule, seed) for each, rule in zip(deployments, policies(deployments), strict=True)]
    memories: dict[str, TriggerMemory] = {}
    fired: dict[str, int] = {}
    found: list[Said] = []
    for minute in range(1, minutes + 1):
        for life in lives:
            name = life.each.name
            acted = fired[name] + 5 if name == ACTED_ON and name in fired else NEVER
            life.mended = minute >= acted
            cooling = acted <= minute < acted + COOL_DOWN
            verdict, memories[name] = decide(
                life.rule, life.observe(minute), memories.get(name, FRESH), cooling=cooling
            )
            if verdict.state is TriggerState.FIRED:
                fired.setdefault(name, minute)
            found.append(Said(life.rule, verdict))
    return found


# ── what is printed


def varied(found: list[Said], count: int, seed: int) -> list[Said]:
    """The most different ones: one of each shape at random, then more of the rarer shapes; in the order of time."""
    draw = random.Random(seed)
    shapes: dict[str, list[Said]] = {}
    for said in found:
        shapes.setdefault(said.shape, []).append(said)
    groups = sorted(shapes.values(), key=len)
    draw.shuffle(groups)
    chosen: list[Said] = []
    for _ in range(count):
        for group in groups:
            if group and len(chosen) < count:
                chosen.append(group.pop(draw.randrange(len(group))))
    return sorted(chosen, key=lambda said: (said.verdict.at, said.verdict.deployment))


def lines(chosen: list[Said]) -> Iterator[str]:
    """Each as a person reads it."""
    for number, said in enumerate(chosen, 1):
        verdict = said.verdict
        at, name = datetime.fromtimestamp(verdict.at, UTC), verdict.deployment.name
        yield f"{number:2} {at:%H:%M} {name:8} {verdict.state.upper():8} {verdict.sentence}"
        for each in why_not(said.rule, verdict)[:2]:
            yield f"{'':27}why not: {each}"
        for each in (total_words(verdict.impact), waiting_words(verdict.impact), eta_words(verdict)):
            if each:
                yield f"{'':27}{each}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.quality.sentences", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another day (default: 1)")
    parser.add_argument("--count", type=int, default=50, help="how many sentences (default: 50)")
    asked = parser.parse_args()
    for line in lines(varied(day(asked.seed), asked.count, asked.seed)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A small journal as a console leaves it: two deployments, one of which degrades, fires, is rolled back and recovers.

Made by the engine's own decisions and packing over samples that a test chooses; nothing in it hangs on a shipped drill.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rollback_console.decide.judge import FRESH, decide
from rollback_console.engine.record import Decided, layout_bytes, pack, transition_body
from rollback_console.execute.plan import plan_bytes, plan_digest
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import (
    Body,
    ExecutionEnded,
    IncidentRecorded,
    Intent,
    Note,
    Outcome,
    PointerMoved,
    PolicyInForce,
    Requested,
    TickRecorded,
)
from rollback_console.journal.store import Journal
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Observation, Reading, Tick
from rollback_console.model.plan import Plan
from rollback_console.model.rules import AuthorityRule, DeploymentRule
from rollback_console.model.verdict import TriggerMemory, TriggerState
from rollback_console.policy.load import parse_policy

BEGUN = 1_795_183_200.0  # 2026-11-20T14:00:00Z
STEP = 60.0
RANKER, FEED = "production/ranker", "production/feed"
POLICY = b"""schema: rollback-console/policy/v1
name: shop
version: 1
owners: [team-shop]
deployments:
  - {name: ranker, environment: production, tier: critical, model: {name: ranker, alias: champion}}
  - {name: feed, environment: production, model: {name: feed, alias: champion}}
signals:
  conversion:
    area: business
    value: "conversion"
    unit: "%"
    worse: lower
    baseline: {kind: fixed, value: 0.4}
    breach: {degraded_by: 5%}
  errors:
    area: technical
    value: "errors"
    unit: "%"
    worse: higher
    breach: {above: 0.02}
trigger: {when: conversion, dwell: 3m, hold: 2m}
impact:
  revenue_per_minute: {value: "revenue", unit: USD}
recovery:
  - {path: version, driver: mlflow-alias, target: last_known_good}
"""


class HandClock:
    """Stands where it was put."""

    def __init__(self, at: float) -> None:
        self.at = at

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


Values = Callable[[int], tuple[float, float]]  # minute -> (conversion, errors)


def ranker(minute: int) -> tuple[float, float]:
    """Falls by 10 % at minute 20, is itself again at minute 32: the rollback of minute 28 took effect."""
    return (0.36 if 20 <= minute < 32 else 0.4, 0.004)


def feed(minute: int) -> tuple[float, float]:
    return 0.4, 0.003


@dataclass
class Past:
    """The journal while it is made."""

    journal: Journal
    clock: HandClock
    rules: tuple[DeploymentRule, ...]
    memories: dict[str, TriggerMemory] = field(default_factory=dict)
    states: dict[str, TriggerState] = field(default_factory=dict)
    last_tick: float = 0.0

    def say(self, body: Body, deployment: str = "", operator: str = "") -> None:
        self.journal.append(body, deployment=deployment, operator=operator)

    def evaluate(self, minute: int, values: dict[str, Values]) -> None:
        """One evaluation, recorded as the engine's writer does: with what is not healthy, else every five minutes."""
        at = BEGUN + minute * STEP
        seen = tuple(
            Observation(rule.deployment.id, at, _readings(values[str(rule.deployment.id)](minute)), "8", 1_000.0, 500.0)
            for rule in self.rules
        )
        layout = layout_bytes(self.rules)
        data = pack(Tick(at, seen), hashlib.sha256(layout).hexdigest())
        digest = hashlib.sha256(data).hexdigest()
        changed: list[tuple[Body, str, str]] = []
        for rule, observation in zip(self.rules, seen, strict=True):
            name = str(rule.deployment.id)
            before = self.memories.get(name, FRESH)
            verdict, after = decide(rule, observation, before)
            was = self.states.get(name, TriggerState.HEALTHY)
            if verdict.state is not was:
                changed.append((transition_body(Decided(rule, before, was, verdict, after, digest)), name, ""))
            self.memories[name], self.states[name] = after, verdict.state
        troubled = [name for name, state in self.states.items() if state is not TriggerState.HEALTHY]
        if changed or troubled or at - self.last_tick >= 300.0:
            self.last_tick = at
            tick = TickRecorded(at=at, blob=digest, deployments=len(seen), not_healthy=troubled)
            self.journal.append_all([(tick, "", ""), *changed], [layout, data])


def _readings(values: tuple[float, float]) -> tuple[Reading, ...]:
    conversion, errors = values
    return Reading(conversion, 0.4), Reading(errors)


def begin(path: Path, device: DeviceKey | None = None, chain: str = "ab" * 16) -> Past:
    clock = HandClock(BEGUN)
    loaded = parse_policy(POLICY, "shop.yaml")
    journal = Journal.open(path, device=device or DeviceKey.from_seed(b"p" * 32), clock=clock, chain=chain)
    past = Past(journal, clock, loaded.rules)
    digest = journal.put_blob(POLICY)
    past.say(PolicyInForce(what="policy", name="shop", version=1, digest=digest))
    return past


def make(path: Path, minutes: int = 50, *, device: DeviceKey | None = None, chain: str = "ab" * 16) -> Path:
    """The whole story, written to `path`."""
    past = begin(path, device, chain)
    values: dict[str, Values] = {RANKER: ranker, FEED: feed}
    for minute in range(minutes):
        past.clock.at = BEGUN + minute * STEP
        past.evaluate(minute, values)
        for body, name, who in _events(past, minute):
            past.say(body, name, who)
    past.journal.close()
    return path


def incident(event: str) -> IncidentRecorded:
    return IncidentRecorded.model_validate({
        "event": event, "id": "inc-1", "members": [RANKER], "onset": BEGUN + 20 * STEP, "attribution": "release",
        "reasons": ["ranker degraded 5m after v8 began to serve in place of v7"],
        "sentence": "release: ranker degraded 5m after v8 began to serve in place of v7",
        "recommendations": [{"deployment": RANKER, "path": "version", "to": "7", "sentence": "roll back to v7"}],
    })  # fmt: skip


def _events(past: Past, minute: int) -> list[tuple[Body, str, str]]:
    """What people did, and what came of it."""
    if minute == 15:
        moved = PointerMoved(at=past.clock.now(), model="ranker", alias="champion", before="7", after="8")
        return [(moved, RANKER, "")]
    if minute == 23:
        return [(incident("opened"), "", ""), (Note(text="looking at v8's feature diff"), RANKER, "oncall-1")]
    if minute == 28:
        plan = _plan(past.clock.now())
        digest = past.journal.put_blob(plan_bytes(plan))
        asked = Requested(
            execution="ex-1", plan=plan.digest, plan_blob=digest, phrase=f"{RANKER} v7", reason="v8 converts less"
        )
        found: list[tuple[Body, str, str]] = [(asked, RANKER, "oncall-1")]
        for step in ("lock", "compare", "set", "registry"):
            found.append((Intent(execution="ex-1", step=step, detail="about to"), RANKER, "oncall-1"))
            found.append((Outcome(execution="ex-1", step=step, state="done", detail="done"), RANKER, "oncall-1"))
        moved = PointerMoved(
            at=past.clock.now(), model="ranker", alias="champion", before="8", after="7", ours="ex-1"
        )  # fmt: skip
        return [*found, (moved, RANKER, "")]
    if minute == 34:
        return [(ExecutionEnded(execution="ex-1", state="done", detail="the signals are back"), RANKER, "oncall-1")]
    return [(incident("closed"), "", "")] if minute == 35 else []


def _plan(at: float) -> Plan:
    from dataclasses import replace

    environment, _, name = RANKER.partition("/")
    plan = Plan(
        deployment=DeploymentId(environment, name), model="ranker", alias="champion", from_version="8",
        to_version="7", path="version", driver="mlflow-alias", stages=(), verify_for_s=300.0,
        verify_within_s=1800.0, authority=AuthorityRule(), policy_digest="", manual=(), why_target="last known good",
        checks=(), created_at=at, expires_at=at + 1800.0, digest="",
    )  # fmt: skip
    return replace(plan, digest=plan_digest(plan))

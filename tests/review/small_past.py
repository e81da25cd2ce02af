"""A team's journal told by hand, a line an event, at the times that a test gives: real entries, signed and chained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rollback_console.execute.plan import plan_bytes, plan_digest
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import (
    Adopted,
    AutomaticRecorded,
    Body,
    DrillSummary,
    ExecutionEnded,
    IncidentRecorded,
    Judged,
    Note,
    Outcome,
    PointerMoved,
    PolicyInForce,
    Requested,
    TransitionRecorded,
)
from rollback_console.journal.store import Journal
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Plan
from rollback_console.model.rules import AuthorityRule

BEGUN = 1_767_225_600.0  # 2026-01-01T00:00:00Z
DAY, HOUR = 86_400.0, 3_600.0
RANKER, FEED = "production/ranker", "staging/feed"
POLICY = """schema: rollback-console/policy/v1
name: shop
version: 1
owners: [team-shop, "#shop"]
deployments:
  - name: ranker
    environment: production
    tier: critical
    model: {name: ranker, alias: champion}
  - name: feed
    environment: staging
    model: {name: feed, alias: champion}
signals:
  conversion: {kind: sample, query: "up"}
impact:
  revenue_per_minute: {constant: 100, unit: EUR}
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


class Team:
    """Days are counted from `BEGUN`. Every call returns the number of its entry."""

    def __init__(self, path: Path, *, seed: bytes = b"team", rehearsal: bool = False, policy: str = POLICY) -> None:
        self.path, self.clock = path, HandClock(BEGUN)
        self.journal = Journal.open(path, device=DeviceKey.from_seed(seed), clock=self.clock, rehearsal=rehearsal)
        if policy:
            self.policy(0, policy)

    def write(self, day: float, body: Body, deployment: str = "", operator: str = "", *blobs: bytes) -> int:
        self.clock.at = BEGUN + day * DAY
        return self.journal.append_all([(body, deployment, operator)], blobs)[-1].seq

    def policy(self, day: float, text: str) -> int:
        data = text.encode()
        digest = self.journal.put_blob(data)
        return self.write(day, PolicyInForce(what="policy", name="shop", version=1, digest=digest))

    def move(
        self, day: float, before: str | None, after: str | None, deployment: str = RANKER, *, ours: str | None = None,
        registered: float | None = None,
    ) -> int:  # fmt: skip
        at, name = BEGUN + day * DAY, deployment.partition("/")[2]
        known = None if registered is None else BEGUN + registered * DAY
        body = PointerMoved(
            at=at, model=name, alias="champion", before=before, after=after, ours=ours, registered_at=known
        )
        return self.write(day, body, deployment)

    def rollback(
        self, day: float, before: str, after: str, deployment: str = RANKER, *, name: str = "", took_s: float = 300.0,
        state: str = "done", planned: bool = False, automatic: bool = False, pointer: bool = True,
        operator: str = "ada",
    ) -> str:  # fmt: skip
        """Request, move (after 30 s), end; returns the execution's id."""
        name = name or f"ex-{day:g}"
        plan = plan_of(deployment, before, after)
        data = plan_bytes(plan)
        digest = self.journal.put_blob(data)
        second = 1 / DAY
        if automatic:
            due = AutomaticRecorded(
                event="started", path="version", to_version=after, due=BEGUN + day * DAY, words="w", execution=name
            )
            self.write(day, due, deployment)
        asked = Requested(
            execution=name, plan=plan.digest, plan_blob=digest, phrase="p", reason="it hurts", planned=planned
        )
        self.write(day, asked, deployment, operator)
        self.write(
            day + 30 * second, Outcome(execution=name, step="set", state="done", detail=""), deployment, operator
        )
        if pointer:
            self.move(day + 31 * second, before, after, deployment, ours=name)
        ended: Any = state
        self.write(day + took_s * second, ExecutionEnded(execution=name, state=ended, detail=""), deployment, operator)
        return name

    def adopt(self, day: float, before: str, after: str, deployment: str = RANKER, *, moved: float | None = None,
              planned: bool = False) -> int:  # fmt: skip
        at = None if moved is None else BEGUN + moved * DAY
        body = Adopted(
            model=deployment.partition("/")[2], alias="champion", from_version=before, to_version=after,
            reason="by hand", moved_at=at, moved_by="bo", planned=planned,
        )  # fmt: skip
        return self.write(day, body, deployment, "ada")

    def incident(self, day: float, name: str, event: str, onset: float, *members: str) -> int:
        what: Any = event
        body = IncidentRecorded(
            event=what, id=name, members=list(members or (RANKER,)), onset=BEGUN + onset * DAY, attribution="release",
            reasons=[], sentence="release: ranker degraded",
            recommendations=[
                {"deployment": (members or (RANKER,))[0], "path": "version", "to": "1", "sentence": "go back"}
            ],
        )  # fmt: skip
        return self.write(day, body)

    def turn(
        self, day: float, before: str, after: str, deployment: str = RANKER, *, backfilled: bool = False,
        cost: tuple[float, float] | None = None, cost_before: tuple[float, float, float] | None = None,
        degradation: float | None = None, limit: float = 95.0, breached: bool = True,
    ) -> int:  # fmt: skip
        """`cost`: (since in days, lost) after it; `cost_before`: (since, lost, at) before it."""
        at = BEGUN + day * DAY
        memory_after: dict[str, Any] = {"at": at}
        memory_before: dict[str, Any] = {"at": at - 15.0}
        if cost is not None:
            memory_after["cost"] = _cost(*cost)
        if cost_before is not None:
            memory_before = {"at": BEGUN + cost_before[2] * DAY, "cost": _cost(*cost_before[:2])}
        signals = []
        if degradation is not None:
            signals = [{"name": "conversion", "value": 100.0 - degradation, "baseline": 100.0, "limit": limit,
                        "degradation_pct": degradation, "breached": breached}]  # fmt: skip
        body = TransitionRecorded(
            at=at, before=before, after=after, sentence="s", tick="0" * 64, policy="0" * 64, engine="1.1",
            memory_before=memory_before, memory_after=memory_after, backfilled=backfilled,
            verdict={"version": "2", "signals": signals, "state": after},
        )  # fmt: skip
        return self.write(day, body, deployment)

    def judge(self, day: float, subject: str, **said: Any) -> int:
        return self.write(day, Judged(subject=subject, **said), "", "ada")

    def drill(self, day: float) -> int:
        return self.write(day, DrillSummary(scenario="demo", seed=1, passed=True, detail={}))

    def note(self, day: float) -> int:
        return self.write(day, Note(text="still here"))

    def close(self) -> Path:
        self.journal.close()
        return self.path


def _cost(since: float, lost: float) -> dict[str, Any]:
    return {"since": BEGUN + since * DAY, "whole": True, "seen_s": 0, "unseen_s": 0, "lost": [lost, None, None, None]}


def plan_of(deployment: str, before: str, after: str) -> Plan:
    from dataclasses import replace

    who = DeploymentId.parse(deployment)
    draft = Plan(
        deployment=who, model=who.name, alias="champion", from_version=before, to_version=after, path="version",
        driver="mlflow-alias", stages=(), verify_for_s=600.0, verify_within_s=1800.0, authority=AuthorityRule(),
        policy_digest="0" * 64, manual=(), why_target="w", checks=(), created_at=BEGUN, expires_at=BEGUN + 1800,
        digest="",
    )  # fmt: skip
    return replace(draft, digest=plan_digest(draft))

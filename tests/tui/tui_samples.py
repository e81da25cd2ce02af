"""Sample Snapshots by plain constructors, and a fake of Commands that records what was asked."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from rollback_console.commands import Commands
from rollback_console.errors import Refused, UsageError
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import Attribution, AttributionKind, Incident, Recommendation
from rollback_console.model.observation import BackendHealth, BackendState, Blind
from rollback_console.model.operator import Operator
from rollback_console.model.plan import Execution, ExecutionState, Plan, StepState
from rollback_console.model.rules import (
    AtLeast,
    AuthorityRule,
    Baseline,
    BaselineKind,
    Breach,
    DeploymentRule,
    RecoveryPath,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.snapshot import DeploymentView, JournalStatus, Snapshot, TimelineItem, Trace
from rollback_console.model.verdict import Impact, ImpactPart, SignalVerdict, TriggerState, Verdict
from rollback_console.model.walk import CheckResult, Runbook, RunbookStep, StepKind, Walk, WalkStep

AT = 1_795_183_351.0  # 2026-11-20 14:02:31 UTC

SIGNALS = (
    SignalRule(
        "conversion", "conversion", "business", Worse.LOWER, Breach(degraded_by=0.05), 300.0, x="c", n="v",
        baseline=Baseline(BaselineKind.LAST_WEEK), minimum=200, unit="%",
    ),
    SignalRule(
        "error_rate", "error rate", "technical", Worse.HIGHER, Breach(degraded_by=0.5), 300.0, value="e",
        baseline=Baseline(BaselineKind.VERSION), unit="%",
    ),
    SignalRule("latency", "p95 latency", "technical", Worse.HIGHER, Breach(above=0.4), 300.0, value="l", unit="s"),
)  # fmt: skip
TRIGGER = TriggerRule(AtLeast(2, tuple(Uses(s.name) for s in SIGNALS)), "any 2 of [conversion, error_rate, latency]")
HEALTHY = (0.0318, 0.004, 0.21)
BASE = (0.0318, 0.004, None)
LIMIT = (0.0302, 0.006, 0.4)


def rule(name: str, environment: str = "production", **more: Any) -> DeploymentRule:
    """A rule with three signals and one recovery path."""
    tier = more.pop("tier", "high")
    deployment = Deployment(
        DeploymentId(environment, name), tier, name, "champion", (("model", name),),
        depends_on=("feature-view:sessions",), owners=("ranking",),
    )  # fmt: skip
    path = RecoveryPath("version rollback", "mlflow_alias", "last_known_good")
    values: dict[str, Any] = {
        "signals": SIGNALS, "trigger": TRIGGER, "recovery": (path,), "policy": "ranking", "policy_version": 3,
        "policy_digest": "ab" * 32, "runbook": "model-version-rollback",
    }  # fmt: skip
    return DeploymentRule(deployment, **(values | more))


def wave(base: float, count: int, phase: float, size: float = 0.02) -> list[float]:
    """A calm daily shape, without randomness."""
    return [base * (1 + size * math.sin(phase + i * 0.7)) for i in range(count)]


def signals(values: tuple[float | None, ...], breached: tuple[int, ...] = ()) -> tuple[SignalVerdict, ...]:
    """Judged signals with these values; None is blind."""
    out = []
    for index, (signal, value) in enumerate(zip(SIGNALS, values, strict=True)):
        base = BASE[index]
        pct = None
        if value is not None and base is not None:
            pct = (base - value if signal.worse is Worse.LOWER else value - base) / base * 100
        out.append(
            SignalVerdict(
                signal.name, value, base, LIMIT[index],
                None if pct is None or base is None else pct / 100 * base, pct,
                None if value is None else index in breached,
                Blind.NO_DATA if value is None else None,
            )
        )  # fmt: skip
    return tuple(out)


def view(
    name: str,
    state: TriggerState = TriggerState.HEALTHY,
    values: tuple[float | None, ...] = HEALTHY,
    *,
    environment: str = "production",
    version: str | None = "8",
    registry: str | None = None,
    breached: tuple[int, ...] = (),
    since: float | None = None,
    dwell: float | None = None,
    hold: float | None = None,
    blind_left: float | None = None,
    frozen: bool = False,
    sentence: str = "",
    impact: Impact | None = None,
    incident: str | None = None,
    revision: int = 1,
    tier: str = "high",
    at: float = AT,
    snoozed_until: float | None = None,
) -> DeploymentView:
    """One deployment in a state."""
    judged = signals(values, breached)
    verdict = Verdict(
        DeploymentId(environment, name), at, version, state, since, bool(breached),
        tuple(s.name for s in judged if s.blind), frozen, dwell, hold, blind_left, False,
        state is TriggerState.COOLING, judged, sentence or "all three signals are inside their envelope",
        impact or Impact(0.0),
    )  # fmt: skip
    traces = []
    phase = sum(map(ord, name)) % 7
    for index, signal in enumerate(judged):
        line: list[float | None] = list(wave(HEALTHY[index], 40, phase + index))
        if signal.breached and signal.value is not None:
            for step in range(8):
                line[-8 + step] = HEALTHY[index] + (signal.value - HEALTHY[index]) * (step + 1) / 8
        if signal.blind:
            line[-5:] = [None] * 5
        traces.append(Trace(signal.name, 15.0, at, tuple(line)))
    return DeploymentView(
        rule(name, environment, tier=tier), verdict, tuple(traces), registry or version, incident, snoozed_until,
        revision,
    )  # fmt: skip


def fired(**more: Any) -> DeploymentView:
    """The deployment of the sample's first incident."""
    values: dict[str, Any] = {
        "values": (0.0291, 0.019, 0.22), "breached": (0, 1), "since": AT - 72, "incident": "I-7f3a",
        "tier": "critical",
        "sentence": "conversion is 2.91 %, 8.5 % below last week's 3.18 % (margin 5 %), and error rate corroborates: "
        "1.9 % against 0.4 % on v7",
        "impact": Impact(78.0, (
            ImpactPart("revenue", 412.0, "USD/min", 48.0, "prometheus"),
            ImpactPart("users", 2100.0, "users/min", 25.0, "prometheus"),
            ImpactPart("regulatory", None, "low", 5.0, "policy"),
        )),
    }  # fmt: skip
    return view("checkout-ranker", TriggerState.FIRED, **(values | more))


QUIET = (
    "ads-ctr", "basket-next", "churn", "coupon-uplift", "delivery-eta", "email-subject", "image-dedup",
    "inventory-forecast", "price-elasticity", "query-rewrite", "returns", "spam-filter",
)  # fmt: skip


def fleet(quiet: int = 9) -> tuple[DeploymentView, ...]:
    """Every state once, two incidents, then healthy ones."""
    upstream = {"incident": "I-91c0", "values": (0.0301, 0.0041, 0.52), "breached": (0, 2)}
    return (
        fired(),
        view("search-rank", TriggerState.PENDING, since=AT - 139, dwell=161.0, version="3", **upstream,
             sentence="p95 latency is 0.52 s, above 0.4 s; dwell runs"),
        view("search-suggest", TriggerState.PENDING, since=AT - 120, dwell=180.0, version="12", frozen=True, **upstream,
             sentence="the condition cannot be told now: the dwell stands still"),
        view("fraud-score", TriggerState.CLEARING, since=AT - 700, hold=244.0, version="12",
             sentence="the condition is gone; the hold runs"),
        view("search-embed", TriggerState.BLIND, (0.031, None, None), since=AT - 64, blind_left=236.0, frozen=True,
             version="3", sentence="error rate and p95 latency: no data for this deployment while others report"),
        view("feed-order", TriggerState.COOLING, version="21", registry="20", since=AT - 1200,
             sentence="rolled back 20 minutes ago; no automatic action for 40 more"),
        *(view(name, version=str(5 + i), snoozed_until=AT + 600 if i == 1 else None)
          for i, name in enumerate(QUIET[:quiet])),
    )  # fmt: skip


INCIDENTS = (
    Incident(
        "I-7f3a", (DeploymentId("production", "checkout-ranker"),), AT - 372,
        Attribution(AttributionKind.RELEASE, (
            "v8 began to serve 14 minutes before the onset",
            "nothing that shares feature-view:sessions degrades",
        )),
        "conversion fell 8.5 % fourteen minutes after v8 began to serve",
        (Recommendation(DeploymentId("production", "checkout-ranker"), "version rollback", "7",
                        "roll back to v7: it served healthily for 9 days until 13:42", "model-version-rollback"),),
        "oncall-1",
    ),
    Incident(
        "I-91c0",
        (DeploymentId("production", "search-rank"), DeploymentId("production", "search-suggest")),
        AT - 139,
        Attribution(AttributionKind.UPSTREAM, ("no release here in 6 days", "both read feature-view:sessions")),
        "two deployments on feature-view:sessions slow together; rolling back will not help",
    ),
)  # fmt: skip

BACKENDS = (
    BackendHealth("prometheus", BackendState.OK, 0.2, AT - 1),
    BackendHealth("registry", BackendState.OK, 0.4, AT - 4),
)


def timeline(count: int = 12) -> tuple[TimelineItem, ...]:
    """Journal entries, newest last."""
    kinds = (
        ("tick", "", "", "evaluated 15 deployments"),
        ("transition", "production/checkout-ranker", "", "healthy → pending: conversion 8.5 % below last week"),
        ("note", "production/checkout-ranker", "oncall-1", "looking at v8's feature diff"),
        ("transition", "production/checkout-ranker", "", "pending → fired: 5m0s dwell over"),
    )
    return tuple(
        TimelineItem(i + 1, AT - (count - i) * 37.0, *kinds[i % 4], hash=f"{i * 7919 % 65536:04x}" * 16)
        for i in range(count)
    )


def snapshot(**more: Any) -> Snapshot:
    """A production fleet in mid-incident."""
    values: dict[str, Any] = {
        "at": AT, "evaluated_at": AT, "step_s": 15.0, "band": "PRODUCTION", "deployments": fleet(),
        "incidents": INCIDENTS, "backends": BACKENDS, "hub": "hub not configured",
        "journal": JournalStatus("/tmp/j.sqlite", 1204, True),
        "operator": Operator("oncall-1", "oncall-1", ("commander",)), "timeline": timeline(),
        "runbooks": (runbook(),),
    }  # fmt: skip
    return Snapshot(**(values | more))


def runbook() -> Runbook:
    """A runbook of one step."""
    step = RunbookStep("s1", "Look at the panel", 3, 1, StepKind.PROSE, "Look.")
    return Runbook("model-version-rollback", "Model version rollback", "cd" * 32, "rb.md", "# x", (step,))


def execution(state: ExecutionState = ExecutionState.RUNNING) -> Execution:
    """A rollback of checkout-ranker under way."""
    plan = Plan(
        DeploymentId("production", "checkout-ranker"), "checkout-ranker", "champion", "8", "7", "version rollback",
        "mlflow_alias", (), 600.0, 1800.0, AuthorityRule(), "ab" * 32, (), "", (), AT, AT + 900, "ef" * 32,
    )  # fmt: skip
    return Execution("X-1", plan, state, (), "oncall-1", "conversion", AT - 10)


def walk() -> Walk:
    """An open walk."""
    return Walk("W-1", runbook(), "", "", "oncall-1", AT, (WalkStep(runbook().steps[0], StepState.WAITING),))


class FakeCommands:
    """A fake of `Commands`: records every ask as (name, *arguments); `refuse` makes each raise `Refused`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.refuse = ""
        self.text = "\n".join(f"line {i} of the summary" for i in range(1, 11))
        self.closed = False
        self.answers: dict[str, CheckResult] = {}  # to checks, by the query as written
        self.gate: asyncio.Event | None = None  # a check waits for it
        self.checking = self.most_checking = 0
        self.alerts: dict[str, DeploymentId] = {}

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        async def ask(*arguments: Any) -> str:
            self.asked.append((name, *arguments))
            await asyncio.sleep(0)
            if self.refuse:
                raise Refused(self.refuse, "ask the owner")
            return "X-1"

        return ask

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan:
        self.asked.append(("plan", deployment, path, to))
        return execution().plan

    async def check(self, promql: str, deployment: DeploymentId | None) -> CheckResult:
        self.asked.append(("check", promql, deployment))
        self.checking += 1
        self.most_checking = max(self.most_checking, self.checking)
        await (self.gate.wait() if self.gate is not None else asyncio.sleep(0))
        self.checking -= 1
        return self.answers.get(promql, CheckResult(("version 8: 1",), AT, "", promql))

    async def locate(self, name: str) -> DeploymentId:
        self.asked.append(("locate", name))
        if name not in self.alerts:
            raise UsageError(f"there is no deployment {name} in this fleet", "/ filters the fleet by name")
        return self.alerts[name]

    def phrase(self, plan: Plan) -> str:
        return f"{plan.deployment} v{plan.to_version}"

    def summary(self, deployment: DeploymentId | None = None) -> str:
        self.asked.append(("summary", deployment))
        return self.text

    def set_speed(self, speed: float) -> None:
        self.asked.append(("set_speed", speed))

    async def close(self) -> None:
        self.closed = True


def starter(shown: Snapshot | None, commands: FakeCommands | None = None) -> Callable[..., Awaitable[Commands]]:
    """A `start` for ConsoleApp that publishes one Snapshot."""

    async def start(publish: Callable[[Snapshot], None]) -> Commands:
        if shown is not None:
            publish(shown)
        return commands or FakeCommands()  # type: ignore[return-value]  # a fake: its asks are recorded, not typed

    return start

"""What the engine's tests share: fleets of rules, recorded streams for them, a backend that can be made to fail."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rollback_console.clock import VirtualClock
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options, Roles
from rollback_console.errors import BackendUnreachable
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import Series
from rollback_console.model.rules import (
    And,
    AtLeast,
    Baseline,
    BaselineKind,
    BlindPolicy,
    BlindPolicyKind,
    Breach,
    DeploymentRule,
    Expression,
    Not,
    Or,
    RecoveryPath,
    SignalRule,
    TriggerRule,
    Uses,
    Worse,
)
from rollback_console.model.snapshot import Snapshot
from rollback_console.observe.protocol import ModelRegistry
from rollback_console.observe.recorded import RecordedMetrics

STEP = 15.0
START = 1_763_640_000.0  # a multiple of ten minutes, and so of every step in use
WEEK = 7 * 86_400.0
VERSIONS = 'model_info{job="serving"}'
Points = list[tuple[float, float]]


def name(text: str, environment: str = "production") -> DeploymentId:
    return DeploymentId(environment, text)


def bounded(signal: str, above: float = 5.0, **more: object) -> SignalRule:
    """A signal with a plain upper bound, asked as `max by (deployment) (NAME)`."""
    facts: dict[str, object] = {"value": f"max by (deployment) ({signal})", "area": "technical", **more}
    return SignalRule(
        name=signal, title=signal.capitalize(), worse=Worse.HIGHER, breach=Breach(above=above), window_s=60.0, **facts
    )  # type: ignore[arg-type]


def relative(signal: str, kind: BaselineKind, by: float = 0.2, history_s: float = 3600.0) -> SignalRule:
    """A business signal that is worse when lower than its baseline by more than `by`."""
    return SignalRule(
        name=signal, title=signal.capitalize(), area="business", worse=Worse.LOWER, breach=Breach(degraded_by=by),
        window_s=60.0, value=f"max by (deployment) ({signal})", baseline=Baseline(kind, history_s=history_s),
    )  # fmt: skip


def fleet_rule(
    deployment: str,
    signals: Sequence[SignalRule],
    when: Expression | None = None,
    *,
    dwell: float = 60.0,
    hold: float = 45.0,
    blind_dwell: float = 90.0,
    depends_on: Sequence[str] = (),
    serving: str | None = VERSIONS,
    cool_down: float = 600.0,
    policy_digest: str = "0" * 64,
    labels: Mapping[str, str] | None = None,
) -> DeploymentRule:
    own = tuple(sorted((labels or {"deployment": deployment}).items()))
    facts = Deployment(
        name(deployment), "high", f"model-{deployment}", "champion", own, serving, depends_on=tuple(depends_on)
    )
    trigger = TriggerRule(
        when or Or(tuple(Uses(signal.name) for signal in signals)), "the trigger", dwell, hold, cool_down, blind_dwell
    )
    return DeploymentRule(
        facts, tuple(signals), trigger, (RecoveryPath("version", "mlflow-alias", "last_known_good"),), "tests", 1,
        policy_digest, runbook="model-version-rollback",
    )  # fmt: skip


def labelled(promql: str, deployment: str, points: Iterable[tuple[float, float]], **labels: str) -> Series:
    return Series(tuple(sorted({"deployment": deployment, **labels}.items())), tuple(points))


class Flaky(RecordedMetrics):
    """A fake of a sick backend: recorded metrics of which some queries do not answer, at instants or over ranges."""

    def __init__(self, series: Mapping[str, Iterable[Series]], *, lookback_s: float = STEP) -> None:
        super().__init__(series, lookback_s=lookback_s)
        self.silent: set[str] = set()  # PromQL that fails, however asked
        self.no_ranges: set[str] = set()  # PromQL that fails over ranges
        self.ranges: list[tuple[str, float, float]] = []

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        if promql in self.silent:
            raise BackendUnreachable("prometheus does not answer", "try again")
        return await super().query(promql, at)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        self.ranges.append((promql, start, end))
        if promql in self.silent or promql in self.no_ranges:
            raise BackendUnreachable("prometheus does not answer", "try again")
        return await super().query_range(promql, start, end, step)


@dataclass
class Stream:
    """A fleet's rules and a recording of everything they ask, over `ticks` evaluations from START."""

    rules: tuple[DeploymentRule, ...]
    series: dict[str, list[Series]] = field(default_factory=dict)
    ticks: int = 0

    def metrics(self) -> Flaky:
        return Flaky(self.series)

    @property
    def end(self) -> float:
        return START + self.ticks * STEP


def _run_values(draw: random.Random, ticks: int, calm: int, good: float, bad: float) -> Points:
    """Values an evaluation apart, after `calm` good ones: good and bad stretches, gaps, NaN."""
    points: Points = [(START + k * STEP, good) for k in range(calm)]
    k = calm
    while k <= ticks:
        kind, length = draw.random(), draw.choice((1, 1, 2, 3, 4, 6, 9, 14))
        for at in (START + j * STEP for j in range(k, min(k + length, ticks + 1))):
            if kind < 0.55:
                points.append((at, good * draw.uniform(0.97, 1.03)))
            elif kind < 0.82:
                points.append((at, bad * draw.uniform(0.97, 1.03)))
            elif kind < 0.86:
                points.append((at, math.nan))
        k += length
    return points


def random_expression(draw: random.Random, names: Sequence[str]) -> Expression:
    uses = [Uses(each) for each in names]
    kind = draw.randrange(5)
    if kind == 0:
        return Or(tuple(uses))
    if kind == 1:
        return And((uses[0], Or(tuple(uses[1:]))))
    if kind == 2:
        return AtLeast(2, tuple(uses))
    if kind == 3:
        return And((uses[0], Not(uses[1])))
    return Or((uses[0], And(tuple(uses[1:]))))


def random_policy(draw: random.Random) -> BlindPolicy:
    kind = draw.choice(list(BlindPolicyKind))
    return BlindPolicy(kind, draw.choice((30.0, 60.0, 100.0)) if kind is BlindPolicyKind.LAST else 0.0)


def random_stream(seed: int, *, deployments: int = 6, ticks: int = 170, calm: int = 30) -> Stream:
    """A fleet with every kind of signal, dependencies, and versions that change (for good, or in a roll-out)."""
    draw = random.Random(seed)
    policies = [random_policy(draw) for _ in range(3)]
    signals = (
        bounded("errors", blind=policies[0]),
        bounded("latency", blind=policies[1]),
        relative("orders", BaselineKind.LAST_WEEK),
        relative("revenue", BaselineKind.VERSION),
    )
    when = random_expression(draw, [signal.name for signal in signals])
    lengths = [0.0, 15.0, 40.0, 60.0, 150.0]
    dwell, hold, blind = draw.choice(lengths), draw.choice(lengths), draw.choice([30.0, 90.0])
    names = [f"d{number}" for number in range(deployments)]
    rules = tuple(
        fleet_rule(
            each, signals, when, dwell=dwell, hold=hold, blind_dwell=blind,
            depends_on=[f"feature-view/{draw.randrange(2)}"] if draw.random() < 0.6 else [],
        )
        for each in names
    )  # fmt: skip
    stream = Stream(rules, ticks=ticks)
    for signal, good, bad in (
        ("errors", 1.0, 9.0),
        ("latency", 2.0, 8.0),
        ("orders", 100.0, 50.0),
        ("revenue", 30.0, 9.0),
    ):
        found = []
        for each in names:
            points = _run_values(draw, ticks, calm, good, bad)
            if signal == "orders":
                points = [(at - WEEK, good) for at, _ in points] + points
            if signal == "revenue":  # before the recording: what the version before earned, all day
                points = [(START - k * 120.0, good) for k in range(3000, 0, -1)] + points
            found.append(labelled(signal, each, points))
        stream.series[f"max by (deployment) ({signal})"] = found
    stream.series[VERSIONS] = [one for each in names for one in _versions(draw, each, ticks)]
    return stream


def _versions(draw: random.Random, deployment: str, ticks: int) -> list[Series]:
    """Serving since four days ago, with a change or two in the recording, some of them a roll-out of two minutes."""
    served: dict[str, Points] = {"1": [(START - k * STEP, 1.0) for k in range(0, 4 * 5760, 1)][::-1]}
    now, k, whole = 1, 1, 0
    changes = sorted(draw.sample(range(20, ticks - 10), draw.choice((0, 0, 1, 1, 2))))
    while k <= ticks:
        at = START + k * STEP
        if changes and k == changes[0]:
            changes.pop(0)
            before, now, whole = now, now + 1, k + 8
            if draw.random() < 0.5:
                for j in range(8):
                    served[str(before)].append((at + j * STEP, 1.0))
        if draw.random() > 0.03 or k <= whole:  # no scrape is lost in the midst of a change
            served.setdefault(str(now), []).append((at, 1.0))
        k += 1
    return [
        labelled(VERSIONS, deployment, points, job="serving", version=version) for version, points in served.items()
    ]


def engine_on(
    stream: Stream,
    at: float,
    *,
    metrics: RecordedMetrics | None = None,
    registry: ModelRegistry | None = None,
    journal: Journal | None = None,
    roles: Roles | None = None,
    lookback_s: float = 7200.0,
    clock: VirtualClock | None = None,
    follow: bool = True,
) -> Engine:
    options = Options(step_s=STEP, delay_s=0.0, lookback_s=lookback_s, follow=follow, debug=True)
    return Engine(
        stream.rules, metrics or stream.metrics(), registry, clock or VirtualClock(at), options, journal=journal,
        roles=roles, inline=True,
    )  # fmt: skip


def new_journal(path: Path, at: float = START) -> Journal:
    return Journal.open(path, device=DeviceKey.from_seed(b"tests"), clock=VirtualClock(at), rehearsal=True)


Shown = dict[str, tuple[object, ...]]


def shown(engine: Engine) -> tuple[Shown, tuple[tuple[object, ...], ...]]:
    """What a person sees of an engine: each deployment's verdict, and the incidents."""
    verdicts = {
        str(v.deployment): (
            v.at, v.state, v.since, v.condition, v.version, v.blind, v.frozen, v.dwell_remaining_s, v.hold_remaining_s,
            v.blind_remaining_s, v.fired_as_blind, v.signals, v.sentence, v.impact,
        )
        for v in engine.board.verdicts.values()
    }  # fmt: skip
    return verdicts, tuple(told(incident) for incident in engine.incidents)


def told(incident: Incident) -> tuple[object, ...]:
    """An incident without the name that history gave it."""
    return (
        incident.members, incident.attribution, incident.sentence, incident.recommendations,
    )  # fmt: skip


async def cold(stream: Stream, at: float, **options: object) -> Engine:
    engine = engine_on(stream, at, **options)  # type: ignore[arg-type]
    await engine.start()
    return engine


async def ticks(engine: Engine, start: int, end: int, each: Callable[[Snapshot], None] | None = None) -> None:
    """Evaluate every tick from number `start` to `end`, inclusive."""
    for k in range(start, end + 1):
        at = START + k * STEP
        engine.clock._now = at  # type: ignore[attr-defined]
        snapshot = await engine.step(at)
        if each is not None:
            each(snapshot)

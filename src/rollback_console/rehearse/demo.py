"""The demo: a simulated shop with an incident under way that a rollback truly cures, and another that it would not.

What is true in it, and what an operator has to find out:

- `checkout-ranker` v8 began to serve 20 minutes before the start. For a quarter of an hour it lives on features that
  v7 cached; then conversion falls by about 8 %. It is pending at the start and fires about a minute later. v7 cures it.
- `feature-view/user-activity` has not refreshed for nine minutes. Four deployments that read it degrade together, none
  of them released: rolling any of them back changes nothing.
- `support-triage` serves well, but its exporter died: blind.
- `delivery-eta` has half a minute of errors later on, which heal by themselves.
- `ads-ctr` was released 70 minutes ago and is fine: not every release is a culprit.
"""

from __future__ import annotations

from importlib import resources

from rollback_console.clock import Clock, VirtualClock
from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse.backends import WorldMetrics, WorldRegistry
from rollback_console.rehearse.demo_fleet import fleet, history
from rollback_console.rehearse.fleet import Effect, Fault, FaultKind
from rollback_console.rehearse.grid import STEP_S, aligned
from rollback_console.rehearse.setup import Setup
from rollback_console.rehearse.truth import Cure, Truth
from rollback_console.rehearse.world import World

DEFAULT_SEED = 7
_DAY_S = 86_400.0
RELEASED_S = 1200.0  # before the start


def demo_world(seed: int = DEFAULT_SEED, start: float = 0.0, clock: Clock | None = None) -> World:
    """The demo's world, whose story begins at `start` (Unix seconds). Without a clock it gets a virtual one there."""
    start = aligned(start)
    return World(seed, clock or VirtualClock(start), fleet(start), history(start, RELEASED_S), _faults(start), STEP_S)


def demo_setup(seed: int = DEFAULT_SEED, start: float = 0.0, clock: Clock | None = None) -> Setup:
    """The world with everything a console on it needs. The same seed and start give the same bytes throughout."""
    world = demo_world(seed, start, clock)
    return Setup(
        world=world,
        metrics=WorldMetrics(world),
        registry=WorldRegistry(world),
        policy_name="demo-policy.yaml",
        policy_bytes=_data("demo-policy.yaml"),
        start=aligned(start),
        step_s=STEP_S,
        truth=demo_truth(),
        compiled=_data("demo-policy.json"),
        roster_name="demo-roster.yaml",
        runbooks=("model-version-rollback", "upstream-fault", "blind-telemetry", "rollback-of-a-rollback"),
    )


def demo_truth() -> Truth:
    """What a perfect operator would do: scoring compares with this, the console never sees it."""
    return Truth(
        cures=(Cure(DeploymentId("production", "checkout-ranker"), "8", "7"),),
        not_curable=tuple(
            DeploymentId("production", name) for name in ("email-ranker", "home-feed", "recs-similar", "search-rank")
        ),
        blind=(DeploymentId("production", "support-triage"),),
        recover_within_s=1800.0,
        leave=(DeploymentId("production", "delivery-eta"), DeploymentId("production", "ads-ctr")),
    )


def first_reads(start: float) -> tuple[tuple[float, float, bool], ...]:
    """What a console that opens on the demo at `start` reads of its past: (from, to, with latencies), Unix seconds.
    The back-fill of an incident that is twenty minutes old, the same hour a week ago, and what long-serving versions
    are compared with (`engine.versions`: the last half hour of the day before yesterday)."""
    midnight = (start // _DAY_S - 2) * _DAY_S
    return (
        (start - 1.75 * 3600.0, start, False),
        (start - 0.75 * 3600.0, start, True),
        (start - 0.75 * 3600.0 - 7 * _DAY_S, start - 7 * _DAY_S, True),
        (midnight - 2100.0, midnight - STEP_S, False),
    )


def _faults(start: float) -> tuple[Fault, ...]:
    return (
        Fault(
            FaultKind.DEPENDENCY,
            "feature-view/user-activity",
            start - 540.0,
            effect=Effect(conversion=0.86, latency=1.1, feature_age=True),
            over_s=60.0,
        ),
        Fault(FaultKind.EXPORTER, "production/support-triage", start - 240.0),
        Fault(
            FaultKind.DEPLOYMENT,
            "production/delivery-eta",
            start + 240.0,
            start + 270.0,
            Effect(errors=0.12, latency=1.6),
        ),
    )


def _data(name: str) -> bytes:
    return (resources.files("rollback_console.rehearse") / "data" / name).read_bytes()

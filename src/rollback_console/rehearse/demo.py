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

import hashlib
from importlib import resources
from typing import TYPE_CHECKING

from rollback_console.clock import Clock, VirtualClock
from rollback_console.model.identity import DeploymentId
from rollback_console.model.value import dataclass
from rollback_console.rehearse.backends import WorldMetrics, WorldRegistry
from rollback_console.rehearse.demo_fleet import fleet, history
from rollback_console.rehearse.fleet import Effect, Fault, FaultKind
from rollback_console.rehearse.grid import STEP_S, aligned
from rollback_console.rehearse.truth import Cure, Truth
from rollback_console.rehearse.world import World

if TYPE_CHECKING:
    from rollback_console.authorize.keys import PersonKey
    from rollback_console.model.rules import DeploymentRule

DEFAULT_SEED = 7
_DAY_S = 86_400.0
RELEASED_S = 1200.0  # before the start
_OPERATOR = "oncall-1"


@dataclass(frozen=True)
class DemoSetup:
    """All that a console on the demo world is composed of. Keys are made from the seed: a rehearsal's, never a
    person's. `device_seed` is a raw Ed25519 private key, 32 bytes."""

    world: World
    metrics: WorldMetrics
    registry: WorldRegistry
    policy_name: str
    policy_bytes: bytes
    roster_name: str
    operator: str
    device_seed: bytes
    start: float  # Unix seconds, on a step
    step_s: float
    truth: Truth
    runbooks: tuple[str, ...] = (
        "model-version-rollback",
        "upstream-fault",
        "blind-telemetry",
        "rollback-of-a-rollback",
    )

    def rules(self) -> tuple[DeploymentRule, ...]:
        """What the policy compiles to."""
        from rollback_console.rehearse.compiled import decode

        compiled = decode(_data("demo-policy.json"), self.policy_bytes)
        if compiled is not None:
            return compiled
        from rollback_console.policy.load import parse_policy

        return parse_policy(self.policy_bytes, self.policy_name).rules

    @property
    def roster_bytes(self) -> bytes:
        """The roster, which lists the operator alone."""
        return roster_text(self.operator, "On-call (rehearsal)", self.operator_key.line).encode()

    @property
    def operator_key(self) -> PersonKey:
        """The operator's key, which the roster lists."""
        return _operator_key(self.world.seed)


def demo_world(seed: int = DEFAULT_SEED, start: float = 0.0, clock: Clock | None = None) -> World:
    """The demo's world, whose story begins at `start` (Unix seconds). Without a clock it gets a virtual one there."""
    start = aligned(start)
    return World(seed, clock or VirtualClock(start), fleet(start), history(start, RELEASED_S), _faults(start), STEP_S)


def demo_setup(seed: int = DEFAULT_SEED, start: float = 0.0, clock: Clock | None = None) -> DemoSetup:
    """The world with everything a console on it needs. The same seed and start give the same bytes throughout."""
    world = demo_world(seed, start, clock)
    return DemoSetup(
        world=world,
        metrics=WorldMetrics(world),
        registry=WorldRegistry(world),
        policy_name="demo-policy.yaml",
        policy_bytes=_data("demo-policy.yaml"),
        roster_name="demo-roster.yaml",
        operator=_OPERATOR,
        device_seed=_private(seed, "device"),
        start=aligned(start),
        step_s=STEP_S,
        truth=demo_truth(),
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


def roster_text(operator: str, name: str, line: str) -> str:
    """A roster of one on-call person, as YAML. `line` is the public key in OpenSSH form."""
    return (
        "schema: rollback-console/roster/v1\n"
        "operators:\n"
        f"  - id: {operator}\n"
        f"    name: {name}\n"
        "    roles: [oncall]\n"
        f'    keys: ["{line}"]\n'
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


def _operator_key(seed: int) -> PersonKey:
    from rollback_console.authorize.keys import PersonKey  # cryptography: only where somebody signs

    return PersonKey.from_seed(seed, _OPERATOR)


def _private(seed: int, who: str) -> bytes:
    return hashlib.blake2b(f"rollback-console rehearsal {seed} {who}".encode(), digest_size=32).digest()


def _data(name: str) -> bytes:
    return (resources.files("rollback_console.rehearse") / "data" / name).read_bytes()

"""All that a console on a simulated world is composed of."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from rollback_console.model.value import dataclass
from rollback_console.rehearse.backends import WorldMetrics, WorldRegistry
from rollback_console.rehearse.truth import Truth
from rollback_console.rehearse.world import World

if TYPE_CHECKING:
    from rollback_console.authorize.keys import PersonKey
    from rollback_console.model.rules import DeploymentRule

OPERATOR = "oncall-1"


@dataclass(frozen=True)
class Setup:
    """A world, the backends in front of it, and the papers that are in force there. Keys are made from the seed: a
    rehearsal's, never a person's."""

    world: World
    metrics: WorldMetrics
    registry: WorldRegistry
    policy_name: str
    policy_bytes: bytes
    start: float  # Unix seconds, on a step
    step_s: float
    truth: Truth
    compiled: bytes | None = None  # the policy, compiled ahead (`rehearse.compiled`)
    roster_name: str = "rehearsal-roster.yaml"
    operator: str = OPERATOR
    runbooks: tuple[str, ...] = ()

    def rules(self) -> tuple[DeploymentRule, ...]:
        """What the policy compiles to."""
        if self.compiled is not None:
            from rollback_console.rehearse.compiled import decode

            compiled = decode(self.compiled, self.policy_bytes)
            if compiled is not None:
                return compiled
        from rollback_console.policy.load import parse_policy

        return parse_policy(self.policy_bytes, self.policy_name).rules

    @property
    def device_seed(self) -> bytes:
        """The device's raw Ed25519 private key, 32 bytes."""
        seed = f"rollback-console rehearsal {self.world.seed} device"
        return hashlib.blake2b(seed.encode(), digest_size=32).digest()

    @property
    def roster_bytes(self) -> bytes:
        """The roster, which lists the operator alone."""
        return roster_text(self.operator, "On-call (rehearsal)", self.operator_key.line).encode()

    @property
    def operator_key(self) -> PersonKey:
        """The operator's key, which the roster lists."""
        from rollback_console.authorize.keys import PersonKey  # cryptography: only where somebody signs

        return PersonKey.from_seed(self.world.seed, self.operator)


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

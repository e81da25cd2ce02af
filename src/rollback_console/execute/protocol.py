"""What an execution needs of the part that touches one kind of system."""

from __future__ import annotations

from typing import Protocol

from rollback_console.model.plan import Check, Plan
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Pointer:
    """A registry pointer by its full name."""

    model: str
    alias: str


class Driver(Protocol):
    """Moves exposure from one version to another in one kind of system.

    Every method is idempotent: called again after a crash it brings, or finds, the same world. Failures raise
    `BackendError`; a world that is not as planned raises `WorldChanged`.
    """

    name: str

    async def current(self, pointer: Pointer) -> str | None:
        """The version the pointer names now, or None where there is no such pointer."""
        ...

    async def preflight(self, plan: Plan) -> tuple[Check, ...]:
        """The checks that only this system can answer: exists and ready, not known bad, pointer where the plan says."""
        ...

    async def move(self, pointer: Pointer, to_version: str) -> None:
        """Set the pointer. Last writer wins in MLflow: compare before, verify after."""
        ...

    async def mark(self, model: str, version: str, tags: tuple[tuple[str, str], ...]) -> None:
        """Tag a version with the rollback event."""
        ...

    async def hold_lock(self, pointer: Pointer, holder: str, until: float) -> str | None:
        """Take or renew the advisory, expiring lock. Returns None when held, else who holds it."""
        ...

    async def free_lock(self, pointer: Pointer, holder: str) -> None: ...

    def manual(self, plan: Plan) -> tuple[str, ...]:
        """What a person would type instead, shell lines."""
        ...

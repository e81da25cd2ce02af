"""The pointers, watched: where each deployment's alias stands, and every move of it, ours or somebody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rollback_console.errors import BackendError
from rollback_console.model.plan import ExecutionState
from rollback_console.model.rules import DeploymentRule
from rollback_console.observe.protocol import ModelRegistry

if TYPE_CHECKING:
    from rollback_console.engine.folding import Folded
    from rollback_console.journal.kinds import PointerMoved

_OURS = (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.DONE, ExecutionState.NOT_CONFIRMED)
_OURS_WITHIN_S = 600.0  # a move seen this long after our execution began may still be ours


class PointerWatch:
    """Remembers where each pointer stood, so that a move is seen once."""

    def __init__(self, rules: Sequence[DeploymentRule]) -> None:
        self._rules = tuple(rules)
        self._last: dict[tuple[str, str], str | None] = {}
        self.by_deployment: dict[int, str | None] = {}
        self.read_at: float | None = None  # Unix seconds just before the last reading that was answered
        self._reading = asyncio.Lock()  # one at a time: an older answer that came last would look like a move back

    @property
    def stands(self) -> dict[tuple[str, str], str | None]:
        """(model, alias) -> the version it named when it was last read, None where it named none."""
        return self._last

    async def poll(self, registry: ModelRegistry, now: float, folded: Folded | None) -> list[tuple[PointerMoved, str]]:
        """Read every pointer once; returns (body, environment/name) of each move since the last time.

        The first sight of a pointer is compared with the last move that the journal holds, so that what was flipped
        while nobody watched is seen as well.
        """
        async with self._reading:
            return await self._read(registry, now, folded)

    async def _read(self, registry: ModelRegistry, now: float, folded: Folded | None) -> list[tuple[PointerMoved, str]]:
        try:
            models = {model.name: model for model in await registry.models()}
        except BackendError:
            return []
        self.read_at = now
        moves = []
        for index, rule in enumerate(self._rules):
            deployment = rule.deployment
            model = models.get(deployment.model)
            stands = model.pointer(deployment.alias) if model is not None else None
            self.by_deployment[index] = stands
            key = (deployment.model, deployment.alias)
            known = folded.pointers if folded is not None else {}
            before = self._last[key] if key in self._last else known.get(key, stands)
            if stands != before:
                from rollback_console.journal.kinds import PointerMoved

                ours = _execution(folded, str(deployment.id), stands, now)
                registered = None if ours else await _registered(registry, deployment.model, stands)
                body = PointerMoved(
                    at=now, model=deployment.model, alias=deployment.alias, before=before, after=stands, ours=ours,
                    registered_at=registered,
                )  # fmt: skip
                moves.append((body, str(deployment.id)))
            self._last[key] = stands
        return moves


async def _registered(registry: ModelRegistry, model: str, version: str | None) -> float | None:
    """When the registry got a version that somebody rolled out, for the lead time; None where it does not say. One
    request a move, and none for our own: they go back to what is known."""
    if version is None:
        return None
    try:
        versions = await registry.versions(model)
    except BackendError:
        return None
    return next((each.created_at for each in versions if each.version == version), None)


def _execution(folded: Folded | None, deployment: str, to_version: str | None, now: float) -> str | None:
    for execution in reversed(folded.executions if folded is not None else ()):
        if (
            str(execution.plan.deployment) == deployment
            and execution.plan.to_version == to_version
            and execution.state in _OURS
            and now - execution.started_at <= _OURS_WITHIN_S
        ):
            return execution.id
    return None

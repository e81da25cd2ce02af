"""What every part of `engine.acts.Acts` stands on: an engine, one gate, one way to write."""

from __future__ import annotations

import random as randoms
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from rollback_console.engine.loop import Engine
from rollback_console.errors import Refused
from rollback_console.journal.entry import Recorder
from rollback_console.journal.kinds import Body
from rollback_console.model.identity import DeploymentId
from rollback_console.model.operator import Permission

_T = TypeVar("_T")


class Acting(ABC):
    """Base of the acts."""

    engine: Engine
    _random: randoms.Random

    @abstractmethod
    async def _gate(
        self, act: str, permission: Permission, deployment: DeploymentId | None, roles: tuple[str, ...] = ()
    ) -> None:
        """The one gate. Raises NotAuthorized or Refused."""

    @abstractmethod
    async def _append(self, body: Body, deployment: str) -> None:
        """Write it down, and show what became of it."""

    @abstractmethod
    async def _signed(self, body: Body, deployment: str) -> Body:
        """The body with the person's signature, where its kind carries one and a key is at hand."""

    @abstractmethod
    def _seen(self) -> None:
        """Show what was written."""

    @property
    @abstractmethod
    def _operator(self) -> str:
        """Who acts; "" where nobody is known."""

    @property
    def _journal(self) -> Recorder:
        if self.engine.writer is None:
            raise Refused("there is no journal to record it in", "name one with --journal")
        return self.engine.writer.journal

    async def _do(self, function: Callable[[], _T]) -> _T:
        """On the journal's thread, in order with what the engine writes."""
        if self.engine.writer is None:
            raise Refused("there is no journal to record it in", "name one with --journal")
        return await self.engine.writer.run(function)

"""The local lock on one deployment, as the runner needs it; the journal's file locks are one kind, memory another."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

from rollback_console.journal.locks import Holder


class DeploymentLock(Protocol):
    """Held by at most one execution on this machine, and freed when its process dies. Not re-entrant."""

    def try_acquire(self, note: str = "") -> bool:
        """Take it if it is free; `note` says for people what is done with it. Raises JournalUnwritable."""
        ...

    def release(self) -> None: ...

    def holder(self) -> Holder | None:
        """Who holds it now, in whatever process; None when it is free."""
        ...


LockOf = Callable[[str], DeploymentLock]  # `environment/name` -> a new object for its lock


def words(holder: Holder) -> str:
    """Who holds it, for people: `ex-1 by ana (pid 4711 on bastion)`."""
    return f"{holder.note or 'another execution'} (pid {holder.pid} on {holder.host or 'this machine'})"


class MemoryLocks:
    """Locks of one process alone: for rehearsals, whose journal and world nobody else shares. Call it with a
    deployment to get its lock. `now` is the clock's."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._held: dict[str, tuple[object, Holder]] = {}

    def __call__(self, deployment: str) -> DeploymentLock:
        return _MemoryLock(self._held, deployment, self._now)


class _MemoryLock:
    def __init__(self, held: dict[str, tuple[object, Holder]], deployment: str, now: Callable[[], float]) -> None:
        self._held, self._deployment, self._now = held, deployment, now

    def try_acquire(self, note: str = "") -> bool:
        owner, _ = self._held.setdefault(self._deployment, (self, Holder(os.getpid(), "", self._now(), note)))
        return owner is self

    def release(self) -> None:
        if self._held.get(self._deployment, (None,))[0] is self:
            del self._held[self._deployment]

    def holder(self) -> Holder | None:
        held = self._held.get(self._deployment)
        return held[1] if held is not None else None

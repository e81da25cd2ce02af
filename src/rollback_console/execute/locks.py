"""The local lock on one deployment, as the runner needs it; the journal's file locks are one kind, memory another."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Protocol

from rollback_console.errors import JournalUnwritable, LockHeld
from rollback_console.journal.locks import Holder
from rollback_console.model.value import dataclass


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


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """What the team's upstream says to a lease: a `token` (ours; larger than every earlier holder's), or who else has
    it, or why it could not be asked."""

    token: int | None = None
    holder: str = ""
    offline: str = ""


class Leases(Protocol):
    """One execution at a time across the team. Never raises, and holds up no key: each answer says what is known."""

    ttl_s: float

    async def take(self, deployment: str, note: str) -> LeaseAnswer: ...

    async def renew(self, deployment: str, token: int) -> LeaseAnswer: ...

    async def release(self, deployment: str, token: int) -> None: ...


class TeamLock:
    """The local lock of a deployment, and the team's lease on it where the upstream answers. A `DeploymentLock`;
    whoever may wait also calls `share`."""

    def __init__(self, local: DeploymentLock, leases: Leases, deployment: str) -> None:
        self._local = local
        self._leases = leases
        self._deployment = deployment
        self._token: int | None = None
        self._note = ""
        self._beat: asyncio.Task[None] | None = None
        self._lost = ""
        self.words = ""  # how it is held across the team, for the journal

    def try_acquire(self, note: str = "") -> bool:
        self._note = note
        return self._local.try_acquire(note)

    def holder(self) -> Holder | None:
        return self._local.holder()

    async def share(self) -> None:
        """With the local lock in hand: take the team's lease too. Raises LockHeld when somebody else has it. Without an
        answer the local lock alone holds, and `words` says so: a hub that is down keeps nobody from a rollback."""
        answer = await self._leases.take(self._deployment, self._note)
        if answer.holder and not _same_execution(answer.holder, self._note):
            raise LockHeld(f"{answer.holder} is executing on {self._deployment}", "watch it there, or wait")
        self._heard(answer)
        self._beat = asyncio.get_running_loop().create_task(self._keep(), name=f"lease {self._deployment}")

    async def lost(self) -> str:
        """Who took the lease from us, asked now, right before a touch; "" while it is ours, or cannot be asked."""
        if self._token is not None and not self._lost:
            self._heard(await self._leases.renew(self._deployment, self._token), renewed=True)
        return self._lost

    def release(self) -> None:
        """Both. The lease is given back beside whatever comes next; where that fails it ends by itself."""
        beat, self._beat = self._beat, None
        if beat is not None:
            beat.cancel()
            token, self._token = self._token, None
            if token is not None:
                giving = beat.get_loop().create_task(self._leases.release(self._deployment, token))
                _GIVEN.add(giving)
                giving.add_done_callback(_GIVEN.discard)
        self._local.release()

    async def _keep(self) -> None:
        """Three times a lifetime: renewed while it is ours, taken where it could not be yet."""
        while not self._lost:
            await asyncio.sleep(self._leases.ttl_s / 3)
            if self._token is not None:
                self._heard(await self._leases.renew(self._deployment, self._token), renewed=True)
            else:
                self._heard(await self._leases.take(self._deployment, self._note))

    def _heard(self, answer: LeaseAnswer, *, renewed: bool = False) -> None:
        if answer.token is not None:
            self._token = answer.token
            self.words = f"the team's lease with token {answer.token}"
        elif answer.offline:
            if self._token is None:
                self.words = f"the hub cannot be asked ({answer.offline}): this machine's lock alone holds"
        elif not _same_execution(answer.holder, self._note):
            if renewed and answer.holder == "nobody":
                self._token = None  # it lapsed while the hub could not be asked, and nobody took it: taken again
            elif renewed or self._token is None:
                self._lost = answer.holder
        elif self._token is None:
            self.words = "the team's lease of this execution's earlier process, until it ends"


_GIVEN: set[asyncio.Task[None]] = set()  # leases on their way back: the loop itself keeps no task alive


def _same_execution(holder: str, note: str) -> bool:
    """Is the lease that of this very execution, left by a process that died: resumed before it lapsed."""
    mine = note.split(" ", 1)[0].rstrip(",")
    return bool(mine) and holder.split(" ", 1)[0].rstrip(",") == mine


def words(holder: Holder) -> str:
    """Who holds it, for people: `ex-1 by ana (pid 4711 on bastion)`."""
    return f"{holder.note or 'another execution'} (pid {holder.pid} on {holder.host or 'this machine'})"


class EitherLock:
    """The first lock, or where its file cannot be made (a full or read-only disk) the second, beside the emergency
    journal. Whoever holds either holds the deployment."""

    def __init__(self, first: DeploymentLock, second: DeploymentLock) -> None:
        self._first, self._second = first, second

    def try_acquire(self, note: str = "") -> bool:
        try:
            taken = self._first.try_acquire(note)
        except JournalUnwritable:
            return self._second.try_acquire(note)
        if taken and self._second.holder() is not None:
            self._first.release()
            return False
        return taken

    def release(self) -> None:
        self._first.release()
        self._second.release()

    def holder(self) -> Holder | None:
        return self._first.holder() or self._second.holder()


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

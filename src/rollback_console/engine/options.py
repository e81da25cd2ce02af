"""How a loop runs, and who records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Literal, Protocol

from rollback_console.model.identity import DeploymentId
from rollback_console.model.operator import Operator
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.engine.drilled import Records
    from rollback_console.model.sharing import SharedFleet
    from rollback_console.model.team import Team


class FleetHub(Protocol):
    """Where one console of a team leaves its evaluations for the others. Only `first` waits; none of these raises."""

    problem: str  # why nothing is shared, in words

    def holder(self) -> str:
        """Who this console is, as the others are told."""
        ...

    def allow(self, may: bool) -> None:
        """May this console be the one that evaluates for all."""
        ...

    def holds(self) -> bool:
        """Is it."""
        ...

    def newest(self) -> SharedFleet | None: ...

    def offer(self, data: bytes | None) -> None:
        """This console's newest evaluation; None: it cannot observe."""
        ...

    def first(self, limit_s: float) -> None:
        """Wait, not on the event loop, until the hub was asked once, for no longer than `limit_s`."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How this loop runs. Seconds throughout."""

    step_s: float = 15.0
    delay_s: float = 5.0  # evaluations lag behind the clock by this much, so that scrapes have arrived
    jitter_s: float = 0.0  # this console's own delay on top, so that thirty consoles do not ask at one instant
    lookback_s: float = 86_400.0
    band: str = "PRODUCTION"
    simulated: bool = False
    operator: Operator | None = None
    look_only: str = ""
    key_locked: str = ""
    journal_path: str = ""
    command: str = "console"
    debug: bool = False  # an unforeseen error ends the loop instead of being shown
    follow: bool = True  # where another process records, show what it decided
    papers: tuple[Paper, ...] = ()
    quiet_s: float = 0.0  # after so long without an entry one says so; 0 never
    emergency: bool = False  # what is written is an emergency journal
    journal_problem: str = ""  # why nothing can be recorded here from the start; looking goes on


@dataclass(frozen=True, slots=True)
class Paper:
    """A policy, settings or roster in force: its bytes go into the journal, so that decisions can be made again."""

    what: Literal["policy", "settings", "roster"]
    name: str
    version: int
    digest: str
    data: bytes


@dataclass(slots=True)
class Roles:
    """Who records. `recorder` is asked whether this process may (it takes the lock when it is free)."""

    may_record: Callable[[], bool] = lambda: True
    tidy: Callable[[], None] = lambda: None  # on the journal's thread, now and then, by who records
    recorder_pid: Callable[[], int | None] = lambda: None
    lock_free: Callable[[DeploymentId], bool] = field(default=lambda _: True)
    # How the hub is, in the header's words, and what of it is an alarm.
    hub: Callable[[], tuple[str, tuple[str, ...]]] = field(default=lambda: ("hub not configured", ()))
    team: Callable[[], Team | None] = field(default=lambda: None)  # what is known of other consoles
    fleet: FleetHub | None = None  # evaluations shared by the hub
    drilled: Records | None = None  # what drills have measured of recovery paths

"""How a loop runs, and who records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from rollback_console.model.identity import DeploymentId
from rollback_console.model.operator import Operator
from rollback_console.model.value import dataclass

if TYPE_CHECKING:
    from rollback_console.model.team import Team


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

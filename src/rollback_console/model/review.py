"""What a review shows beside the panels: incidents as stretches of a journal, the moment one stands at, decisions made
again, and what another setting would have done."""

from __future__ import annotations

from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Episode:
    """An incident from its first breach until recovered, as a stretch of the journal. `first`, `last`: places of its
    first and last entries (`last` is the journal's end while it is open). Times are Unix seconds; None: not told."""

    incident: Incident  # as the journal leaves it
    first: int
    last: int
    begins: float
    ends: float | None
    fired_at: float | None = None  # when the first of its members fired
    decided_at: float | None = None  # when somebody first asked for a rollback of a member
    moved_to: str = ""  # the version that the last of these rollbacks went to
    judged: str = ""  # the root cause that was last judged; "": not judged
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that a scrubber shows: at which place, and as what (a trigger's state, `request`, `moved`, `differs`,
    `opened`, `closed`)."""

    place: int
    at: float
    kind: str
    deployment: str


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded decision that this program does not come to again (`differs`), or cannot tell (why in `text`)."""

    place: int
    seq: int
    at: float
    deployment: str
    differs: bool
    text: str


@dataclass(frozen=True, slots=True)
class Again:
    """A deployment's state at a moment beside what the engine comes to over the recorded ticks since its last recorded
    decision. `recomputed`: "" where it cannot be told (`note` says why). `exact`: every tick between is recorded."""

    deployment: DeploymentId
    recorded: str
    recomputed: str
    exact: bool
    note: str = ""

    @property
    def differs(self) -> bool:
        """Do the two say different things, where nothing is missing between."""
        return self.exact and bool(self.recomputed) and self.recomputed != self.recorded


@dataclass(frozen=True, slots=True)
class Moment:
    """The state at one place of a journal. `age_s`: how old the samples shown are then; None where there are none.
    `whole`: nothing of it is still being fetched."""

    place: int
    seq: int  # of the entry that stands there
    at: float
    snapshot: Snapshot
    age_s: float | None
    again: tuple[Again, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """What verifying a source found. `done`: from 0 to 1; until it is 1 nothing is verified. `problems`: why not."""

    done: float = 0.0
    verified: bool = False
    entries: int = 0
    first_bad: int | None = None
    bad: tuple[int, ...] = ()  # the numbers of all entries that are not what was signed (of one chain)
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    decisions: int = 0  # made again, and the same
    differences: tuple[Difference, ...] = ()
    untold: int = 0  # decisions that could not be made again

    @property
    def words(self) -> str:
        """One clause: `verifying 40 %`, `verified`, `NOT VERIFIED: …`."""
        if self.done < 1.0:
            return f"verifying {int(self.done * 100)} %"
        if not self.verified:
            return f"NOT VERIFIED: {self.problems[0] if self.problems else 'it is not sound'}"
        return f"verified: {self.entries:,} entries, chain and signatures hold"


@dataclass(frozen=True, slots=True)
class Supposed:
    """What another setting would have done in an episode, over the samples that the journal holds. Times are Unix
    seconds, costs in `unit`; None: it would not have fired, or it cannot be told (`notes` say which)."""

    deployment: DeploymentId
    setting: tuple[tuple[str, str], ...]
    began: float | None  # of the recorded degradation
    fired_at: float | None  # as recorded
    would_fire_at: float | None
    cost: float | None  # until `fired_at`
    would_cost: float | None  # until `would_fire_at`
    unit: str
    notes: tuple[str, ...] = ()
    certain: bool = True  # no recorded tick is missing where it matters

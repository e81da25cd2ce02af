"""What journals hold of the past, folded once: moves of pointers, executions, incidents, transitions, judgements, and
the policies of each time. Every measure (`docs/measures.md`) is counted from this, and from nothing else."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from rollback_console.model.judgement import Judgement
from rollback_console.model.value import dataclass

SAME_S = 600.0  # two consoles' entries on one move of a pointer are at most so far apart


@dataclass(frozen=True, slots=True)
class Source:
    """One journal that was read. `problems`: what is wrong with it; its measures then rest on what cannot be believed.
    `rehearsal`: nothing of it counts."""

    path: Path
    chain: str
    entries: int
    first_at: float | None
    last_at: float | None
    problems: tuple[str, ...] = ()
    rehearsal: bool = False

    @property
    def verified(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Pointer:
    """A `pointer` entry. Times are Unix seconds."""

    at: float
    chain: str
    seq: int
    deployment: str
    model: str
    alias: str
    before: str | None
    after: str | None
    ours: str = ""
    registered_at: float | None = None
    also: tuple[tuple[str, int], ...] = ()  # (chain, number) of other journals' entries on the same move


@dataclass(frozen=True, slots=True)
class Adoption:
    """An `adopt` entry; `at` is when the pointer moved, as far as that is known."""

    at: float
    chain: str
    seq: int
    deployment: str
    model: str
    alias: str
    before: str
    after: str
    reason: str
    operator: str
    planned: bool


@dataclass(frozen=True, slots=True)
class Run:
    """An execution: its request, what its plan said (None: its bytes are gone), how it ended."""

    id: str
    chain: str
    seq: int  # of the request
    deployment: str
    operator: str
    requested_at: float
    reason: str
    planned: bool
    plan: tuple[str, str, str, str, str] | None  # model, alias, from, to, path
    set_at: float | None = None  # the pointer was set
    state: str = ""  # of the last `execution` entry
    ended_at: float | None = None
    ended_seq: int = 0


@dataclass(frozen=True, slots=True)
class Episode:
    """An incident: its first entry's onset and its last entry's words. `closed_at` is None while it is open."""

    id: str
    chain: str
    seq: int
    onset: float
    opened_at: float
    members: tuple[str, ...]
    attribution: str
    sentence: str
    closed_at: float | None
    advised: tuple[str, ...] = ()  # members for which its first entry advised a rollback
    drilled: tuple[tuple[str, float], ...] = ()  # (deployment, seconds): what drills said a recovery takes, as advised


@dataclass(frozen=True, slots=True)
class Point:
    """What a trouble had cost by `at` since `since`, in the policy's unit of revenue: the engine's own sum."""

    at: float
    lost: float
    since: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A signal as a transition's verdict states it. `beyond`: how many times its margin it was off (of one with a plain
    bound and no baseline: how many times the bound); None where the verdict does not tell."""

    name: str
    breached: bool | None
    beyond: float | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A `transition` entry. `goes_on`: the trouble that is priced goes on after it."""

    at: float
    chain: str
    seq: int
    deployment: str
    before: str
    after: str
    version: str | None
    backfilled: bool
    points: tuple[Point, ...]
    goes_on: bool
    signals: tuple[Seen, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruled:
    """A deployment in a policy."""

    deployment: str
    tier: str
    owners: tuple[str, ...]
    unit: str  # of revenue
    model: str = ""
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Paper:
    """A `policy` entry: what was in force from then on. No deployments: its bytes are gone, or cannot be read."""

    at: float
    chain: str
    seq: int
    name: str
    digest: str
    deployments: tuple[Ruled, ...]


@dataclass(frozen=True, slots=True)
class Drilled:
    """A `drill` entry: a drill's one line in the main journal. It counts nowhere, and is listed."""

    at: float
    chain: str
    seq: int
    scenario: str
    operator: str
    passed: bool


@dataclass(frozen=True, slots=True)
class Past:
    """All of it, each list in the order of its times."""

    sources: tuple[Source, ...] = ()
    pointers: tuple[Pointer, ...] = ()
    adoptions: tuple[Adoption, ...] = ()
    runs: dict[str, Run] = field(default_factory=dict)
    automatic: frozenset[str] = frozenset()  # executions that began by themselves
    episodes: dict[str, Episode] = field(default_factory=dict)
    turns: dict[str, tuple[Turn, ...]] = field(default_factory=dict)  # by deployment
    papers: tuple[Paper, ...] = ()
    judgements: dict[tuple[str, str], Judgement] = field(default_factory=dict)  # (chain, subject); last one
    unread: int = 0  # entries whose form is newer than this program
    drills: tuple[Drilled, ...] = ()
    homes: dict[str, str] = field(default_factory=dict)  # a merged emergency chain -> the chain that took it in

    @property
    def first_at(self) -> float | None:
        return min((s.first_at for s in self.sources if s.first_at is not None and not s.rehearsal), default=None)

    @property
    def last_at(self) -> float | None:
        return max((s.last_at for s in self.sources if s.last_at is not None and not s.rehearsal), default=None)

    def by_member(self) -> dict[str, list[Episode]]:
        """The incidents of every deployment, in the order of their onsets."""
        found: dict[str, list[Episode]] = {}
        for each in self.episodes.values():
            for member in dict.fromkeys(each.members):
                found.setdefault(member, []).append(each)
        return found

    def judgement(self, subject: str, chain: str | None = None) -> Judgement | None:
        """The last one on a subject: of one journal (`move:SEQ` means something there only), or of all."""
        if chain is not None:
            return self.judgements.get((chain, subject))
        found = [each for (_, named), each in self.judgements.items() if named == subject]
        return max(found, key=lambda each: (each.at, each.seq), default=None)

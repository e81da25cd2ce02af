"""What a console knows of the others, by way of the hub: what they did, who is where, who is on which incident."""

from __future__ import annotations

from collections.abc import Sequence

from rollback_console.model.automatic import Announcement
from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

_BY_MACHINES = frozenset({"transition", "incident", "pointer", "backend"})  # every console that watches records these
_SAME_S = 180.0


@dataclass(frozen=True, slots=True)
class Colleague:
    """Somebody at another console: `where` is the deployment they look at (`environment/name`), or "fleet". `at` is
    when they were last heard of, Unix seconds by the hub's clock."""

    operator: str
    where: str
    at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Who is on an incident. `offered_to` is whom the commander hands over to, until they take it."""

    incident: str
    commander: str = ""
    offered_to: str = ""
    working: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody's signed word, from another journal, that what is announced (`deployment`, `path`, `to_version`, `due`:
    Unix seconds) does not go by itself. `key`: that made the signature, which was checked (OpenSSH's wire form);
    `person`: the signature as the entry has it, JSON. Whether they may is the roster's to say."""

    deployment: DeploymentId
    path: str
    to_version: str
    due: float
    words: str
    operator: str
    key: bytes
    person: str


@dataclass(frozen=True, slots=True)
class Team:
    """All of it, as last heard. `items` are entries of other chains as lines, oldest first; `announced` what other
    consoles announced to go by itself, as it stands there."""

    items: tuple[TimelineItem, ...] = ()
    colleagues: tuple[Colleague, ...] = ()
    standings: tuple[Standing, ...] = ()
    announced: tuple[Announcement, ...] = ()
    held: tuple[Held, ...] = ()

    def standing(self, incident: str) -> Standing | None:
        """Who is on it, or None where nobody said so."""
        return next((each for each in self.standings if each.incident == incident), None)


def together(own: Sequence[TimelineItem], others: Sequence[TimelineItem]) -> tuple[TimelineItem, ...]:
    """One timeline, by time. What machines record (a change of state, a pointer that moved) stands in the journal of
    every console that watches: of those, what stands here already is not told again."""
    if not others:
        return tuple(own)
    known: dict[tuple[str, str, str], list[float]] = {}
    for item in own:
        if item.kind in _BY_MACHINES:
            known.setdefault(_what(item), []).append(item.at)
    fresh = []
    for item in others:
        if item.kind in _BY_MACHINES:
            times = known.setdefault(_what(item), [])
            if any(abs(at - item.at) <= _SAME_S for at in times):
                continue
            times.append(item.at)
        fresh.append(item)
    return tuple(sorted((*own, *fresh), key=lambda item: item.at))


def _what(item: TimelineItem) -> tuple[str, str, str]:
    """The change without its figures, which differ by what each console had sampled."""
    return item.kind, item.deployment, item.text.partition(":")[0]


def who_is_at(colleagues: Sequence[Colleague], standing: Standing | None, deployment: str) -> str:
    """One line: `ana is looking at it · ben and cy work on it`; "" where nobody is."""
    looking = [plain(each.operator, 30) for each in colleagues if each.where == deployment]
    parts = []
    if looking:
        parts.append(f"{_names(looking)} {'is' if len(looking) == 1 else 'are'} looking at it")
    if standing is not None and standing.working:
        parts.append(f"{_names(standing.working)} work{'s' if len(standing.working) == 1 else ''} on it")
    if standing is not None and standing.offered_to:
        parts.append(f"command is offered to {plain(standing.offered_to, 30)}")
    return " · ".join(parts)


def _names(names: Sequence[str]) -> str:
    shown = [plain(name, 30) for name in names[:3]]
    more = len(names) - len(shown)
    if more:
        return f"{', '.join(shown)} and {more} more"
    return " and ".join((", ".join(shown[:-1]), shown[-1])) if len(shown) > 1 else shown[0]

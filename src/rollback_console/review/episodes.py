"""Incidents as stretches of a journal: from the first breach of a member until recovered, with what was done."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from rollback_console.model.incident import Incident
from rollback_console.model.review import Episode, Mark
from rollback_console.review.replay_index import Index

_BEFORE_STEPS = 3.0  # how much earlier than its onset a member's first change of state may stand, in evaluations
_AROUND = 12  # ticks before and after that are looked at, too: while all is calm that is an hour


def episodes(index: Index) -> tuple[Episode, ...]:
    """Every incident, the newest last, as far as the journal was read."""
    found = []
    for name, told in index.incidents.items():
        found.append(_episode(index, name, told))
    return tuple(sorted(found, key=lambda each: each.first))


def _episode(index: Index, name: str, told: list[tuple[int, Incident, str]]) -> Episode:
    opened = told[0][0]
    last, incident, event = told[-1]
    members = {str(member) for _, each, _ in told for member in each.members}
    first = min([opened, *(_first_turn(index, member, opened, incident.onset) for member in members)])
    end = last if event == "closed" else len(index) - 1
    marks = [mark for mark in marks_in(index, first, end) if mark.deployment in members]
    asked = [mark for mark in marks if mark.kind == "request"]
    judged = index.judged.get(name)
    return Episode(
        incident, first, end, incident.onset, index.ats[end] if event == "closed" else None,
        fired_at=next((mark.at for mark in marks if mark.kind == "fired"), None),
        decided_at=asked[0].at if asked else None,
        moved_to=_moved_to(index, asked[-1]) if asked else "",
        judged=(judged[1].root_cause or judged[1].right) if judged is not None else "",
        transitions=sum(1 for mark in marks if mark.kind in _STATES),
    )  # fmt: skip


_STATES = frozenset({"healthy", "pending", "fired", "clearing", "cooling", "blind"})


def _first_turn(index: Index, member: str, opened: int, onset: float) -> int:
    """Where a member's trouble began: its first change of state from the onset on, until the incident was opened."""
    turns = index.transitions.get(member)
    place = opened
    for turn in reversed(turns[: bisect_right(turns, opened)] if turns is not None else ()):
        if index.ats[turn] < onset - _BEFORE_STEPS * index.ticks.step_s:
            break
        place = turn
    return place


def _moved_to(index: Index, mark: Mark) -> str:
    """The version that a request names, as its phrase ends."""
    from rollback_console.journal.kinds import Requested

    entry = index.entry(mark.place)
    body = entry.parsed() if entry is not None else None
    return body.phrase.rpartition(" ")[2] if isinstance(body, Requested) else ""


def marks_in(index: Index, first: int, last: int) -> list[Mark]:
    """What happened between two places, both included."""
    low = bisect_left(index.marks, first, key=lambda mark: mark.place)
    high = bisect_right(index.marks, last, key=lambda mark: mark.place)
    return index.marks[low:high]


def window(index: Index, episode: Episode | None) -> tuple[int, int]:
    """(first, last) place that is looked at: of an incident with a few evaluations around it, else of everything."""
    end = max(0, len(index) - 1)
    if episode is None:
        return 0, end
    places = index.ticks.places
    if not len(places):
        return episode.first, episode.last
    before = max(0, bisect_left(places, episode.first) - _AROUND)
    after = min(len(places) - 1, bisect_right(places, episode.last) + _AROUND)
    return min(places[before], episode.first), min(end, max(index.settled(places[after]), episode.last))

"""What stands where in a journal, found in one walk over it. Small against the journal: numbers, one line of text for
each happening, and the few entries that carry state; samples stay where they are.

A *place* is an entry's number in the order in which they count, from 0: of one chain its own order, of several the
order that their times tell. Clocks jump, places do not: everything here goes by place.
"""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence

from rollback_console.engine.folding import incident_of
from rollback_console.errors import ConsoleError
from rollback_console.journal.body import Body
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Adopted, Claimed, IncidentRecorded, Judged, PointerMoved, PolicyInForce
from rollback_console.journal.merged import KIND as MERGE
from rollback_console.journal.merged import expanded
from rollback_console.journal.timeline import item
from rollback_console.model.incident import Incident
from rollback_console.model.review import Mark
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import plain
from rollback_console.review.sources import Source

_EXECUTION = ("request", "intent", "outcome", "execution")
_WALK = ("walk", "step")
_FOLDED = ("snooze", "adopt", "pointer", "policy", "exclusion", "expected", "automatic", "claim", "backend")
_STEP_S = 60.0  # between evaluations, where no two ticks tell


class Series:
    """Entries of one kind with their places, rising; and what they say (None: it cannot be read), each read once."""

    __slots__ = ("bodies", "places", "things")

    def __init__(self) -> None:
        self.places = array("q")
        self.things: list[Entry] = []
        self.bodies: list[Body | None] = []

    def add(self, place: int, thing: Entry) -> None:
        self.places.append(place)
        self.things.append(thing)
        self.bodies.append(thing.parsed())

    def said(self, place: int) -> Iterator[tuple[Entry, Body | None]]:
        """Each at this place or before, with what it says."""
        count = self.until(place)
        return zip(self.things[:count], self.bodies[:count], strict=True)

    def until(self, place: int) -> int:
        """How many stand at this place or before."""
        return bisect_right(self.places, place)


class Ticks:
    """The evaluations that were recorded: where, of which time, and the digest of their samples."""

    def __init__(self) -> None:
        self.places = array("q")
        self.ats = array("d")
        self._digests = bytearray()
        self._gaps: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.places)

    def add(self, place: int, at: float, digest: str) -> None:
        """Raises ValueError for what is no digest."""
        raw = bytes.fromhex(digest)
        if len(raw) != 32:
            raise ValueError("no SHA-256")
        if self.ats and 0.5 <= at - self.ats[-1] <= 86_400.0:
            self._gaps[round((at - self.ats[-1]) * 10)] += 1
        self.places.append(place)
        self.ats.append(at)
        self._digests += raw

    def digest(self, number: int) -> str:
        return self._digests[number * 32 : number * 32 + 32].hex()

    def until(self, place: int) -> int:
        """The number of the last at this place or before; -1: there is none."""
        return bisect_right(self.places, place) - 1

    @property
    def step_s(self) -> float:
        """Seconds between evaluations: the shortest gap that is not rare."""
        total = sum(self._gaps.values())
        usual = [gap for gap, count in self._gaps.items() if count * 50 >= total]
        return min(usual) / 10.0 if usual else _STEP_S


class Index:
    """One walk's findings. `grow` makes it, a little at a time, and may be asked meanwhile for what it has."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.whole = False
        self.rehearsal = False
        self.chains: set[str] = set()
        self.keys = array("q")
        self.seqs = array("q")
        self.ats = array("d")
        self._least: array[float] | None = None  # the earliest time from each place on
        self.ticks = Ticks()
        self.items: list[TimelineItem] = []  # of everything but ticks ...
        self.item_places = array("q")
        self.texts: list[str] = []  # ... and what a search looks through
        self.transitions: dict[str, array[int]] = {}  # by deployment, places
        self.turns = array("q")  # places of all of them
        self.marks: list[Mark] = []
        self.incidents: dict[str, list[tuple[int, Incident, str]]] = {}  # (place, as then, event)
        self.executions: dict[str, Series] = {}
        self.walks: dict[str, Series] = {}
        self.series: dict[str, Series] = {kind: Series() for kind in _FOLDED}
        self.judged: dict[str, tuple[int, Judged]] = {}  # the last on each subject
        self._merged: dict[int, Entry] = {}
        self._interned: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.ats)

    def grow(self) -> Iterator[int]:
        """Read on; says again and again how many entries were read. Raises as `Source.walk` does."""
        for found in self.source.walk():
            if found is not None:
                key, entry = found
                self._take(key, entry)
                if entry.kind == MERGE:
                    self._take_merged(key, entry)
            yield len(self)
        self.whole = True
        least = array("d", self.ats)
        for place in range(len(least) - 2, -1, -1):
            least[place] = min(least[place], least[place + 1])
        self._least = least

    def _take_merged(self, key: int, entry: Entry) -> None:
        """The entries of an emergency journal stand behind the entry that took it in."""
        try:
            inner = list(expanded(entry, self.source.get_blob))
        except ConsoleError as error:
            self.source.problems.append(plain(f"entry {entry.seq}: {error.message}", 300))
            return
        for each in inner:
            if each.kind != "tick":  # its samples were not taken in
                self._merged[len(self)] = each
                self._take(key, each)

    def _take(self, key: int, entry: Entry) -> None:
        place = len(self.ats)
        self.keys.append(key)
        self.seqs.append(entry.seq)
        self.ats.append(entry.at)
        self.chains.add(entry.chain)
        if entry.kind == "tick":
            self._tick(place, entry)
            return
        self.item_places.append(place)
        line = self._line(entry)
        self.items.append(line)
        self.texts.append(f"{line.kind} {line.deployment} {line.operator} {line.text}".lower())
        if entry.kind == "genesis" and not self.rehearsal:
            self.rehearsal = b'"rehearsal":true' in entry.body
        elif entry.kind == "transition":
            self._transition(place, entry)
        elif entry.kind == "incident":
            self._incident(place, entry)
        elif entry.kind in _EXECUTION or entry.kind in _WALK:
            self._lived(place, entry)
        elif entry.kind in self.series:
            self.series[entry.kind].add(place, entry)
            if entry.kind in ("pointer", "adopt"):
                self.marks.append(Mark(place, entry.at, "moved", line.deployment))
        elif entry.kind == "judgement" and isinstance(body := entry.parsed(), Judged):
            self.judged[body.subject] = (place, body)

    def _line(self, entry: Entry) -> TimelineItem:
        """As `journal.timeline.item`; the names that come again and again are kept once."""
        found = item(entry)
        same = self._interned.setdefault
        return TimelineItem(
            found.seq, found.at, same(found.kind, found.kind), same(found.deployment, found.deployment),
            same(found.operator, found.operator), found.text, found.hash,
        )  # fmt: skip

    def _tick(self, place: int, entry: Entry) -> None:
        try:
            body = json.loads(entry.body)
            self.ticks.add(place, float(body["at"]), body["blob"])
        except (ValueError, KeyError, TypeError):
            pass  # a tick of another form: it is counted as an entry, and shows nothing

    def _transition(self, place: int, entry: Entry) -> None:
        try:
            after = json.loads(entry.body)["after"]
        except (ValueError, KeyError, TypeError):
            return
        name = plain(entry.deployment, 200)
        self.transitions.setdefault(self._interned.setdefault(name, name), array("q")).append(place)
        self.turns.append(place)
        self.marks.append(Mark(place, entry.at, plain(after, 20), name))

    def _incident(self, place: int, entry: Entry) -> None:
        body = entry.parsed()
        if isinstance(body, IncidentRecorded):
            incident = incident_of(entry, body)
            self.incidents.setdefault(incident.id, []).append((place, incident, body.event))
            if body.event != "changed":
                self.marks.append(Mark(place, entry.at, body.event, ""))

    def _lived(self, place: int, entry: Entry) -> None:
        """Entries of one execution, or of one walk."""
        try:
            body = json.loads(entry.body)
            kept, name = (
                (self.executions, body["execution"]) if entry.kind in _EXECUTION else (self.walks, body["walk"])
            )
            kept.setdefault(str(name), Series()).add(place, entry)
        except (ValueError, KeyError, TypeError):
            return
        if entry.kind == "request":
            self.marks.append(Mark(place, entry.at, "request", plain(entry.deployment, 200)))

    # -- finding ------------------------------------------------------------------------------------------------------

    def entry(self, place: int) -> Entry | None:
        """The entry at a place; None where it cannot be read any more."""
        if (merged := self._merged.get(place)) is not None:
            return merged
        return self.source.get(self.keys[place]) if 0 <= place < len(self.keys) else None

    def place_at(self, at: float) -> int:
        """The last place whose entry is not later than `at` (Unix seconds); after a clock that was put back, of the
        second time round. -1: everything is later."""
        if self._least is None:
            return bisect_right(self.ats, at) - 1
        return bisect_right(self._least, at) - 1

    def settled(self, place: int) -> int:
        """The last place that belongs to the same evaluation: its changes of state stand behind its tick."""
        number = bisect_right(self.turns, place)
        while number < len(self.turns) and self.turns[number] == place + 1 and self.ats[place + 1] == self.ats[place]:
            place, number = place + 1, number + 1
        return place

    def place_of(self, seq: int) -> int | None:
        """Where an entry stands by its number; None where it is not here (or several chains have one)."""
        place = bisect_left(self.seqs, seq)
        return place if place < len(self.seqs) and self.seqs[place] == seq and len(self.chains) == 1 else None

    def last_turn(self, deployment: str, place: int) -> int | None:
        """The place of a deployment's last transition at this place or before."""
        places = self.transitions.get(deployment)
        number = bisect_right(places, place) - 1 if places is not None else -1
        return places[number] if places is not None and number >= 0 else None

    def shown(self, place: int, most: int) -> tuple[TimelineItem, ...]:
        """The last lines of the timeline up to a place."""
        end = bisect_right(self.item_places, place)
        return tuple(self.items[max(0, end - most) : end])

    def moves(self, place: int) -> Sequence[tuple[Entry, PointerMoved]]:
        """The pointers' moves up to a place."""
        said = self.series["pointer"].said(place)
        return [(entry, body) for entry, body in said if isinstance(body, PointerMoved)]

    def policies(self) -> list[str]:
        """The digests of all policies that came into force, in order."""
        bodies = self.series["policy"].bodies
        return [body.digest for body in bodies if isinstance(body, PolicyInForce) and body.what == "policy"]

    def papers(self, place: int) -> dict[tuple[str, str], str]:
        """(what, name) -> digest of what was in force."""
        said = self.series["policy"].said(place)
        return {(body.what, body.name): body.digest for _, body in said if isinstance(body, PolicyInForce)}

    def commanders(self, place: int) -> dict[str, str]:
        """Who commanded which incident; "" where it was given up."""
        found: dict[str, str] = {}
        for entry, body in self.series["claim"].said(place):
            if isinstance(body, Claimed) and body.role == "commander" and body.action != "handover":
                found[body.incident] = plain(entry.operator, 100) if body.action == "take" else ""
        return found

    def adopted(self, place: int) -> list[tuple[str, float, str]]:
        """(deployment, at, to version) of every rollback that was done by hand and adopted."""
        return [
            (entry.deployment, body.moved_at or entry.at, body.to_version)
            for entry, body in self.series["adopt"].said(place)
            if isinstance(body, Adopted)
        ]

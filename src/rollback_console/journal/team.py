"""The hub's stream, followed on a thread: what others did within a second, who is where, who is on which incident.

What comes is shown, and one thing alone rests on it: that somebody held what would go by itself, by a signature of
their own, which the roster judges (`engine.automatic`). An entry is shown when it is what its chain's device signed, by
the key that the hub names for that chain: that a device is whose it says is the hub's word (docs/threat-model.md).
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace as replaced
from datetime import datetime
from random import Random
from typing import Any

from rollback_console.authorize import sshsig
from rollback_console.clock import Clock
from rollback_console.errors import BackendError, ConsoleError
from rollback_console.journal import chain as chains
from rollback_console.journal.announced import Announced
from rollback_console.journal.device import public_key, signed_by
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import AutomaticRecorded, TransitionRecorded
from rollback_console.journal.persons import NAMESPACE, People
from rollback_console.journal.reading import entry_of
from rollback_console.journal.syncing import Pace
from rollback_console.journal.timeline import item
from rollback_console.journal.upstream import HubClient, row_of
from rollback_console.model.automatic import Announcement
from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.team import Colleague, Held, Standing, Team
from rollback_console.model.text import plain
from rollback_console.model.times import written

KEPT = 500  # lines of others
BACK_S = 2 * 3_600.0  # how far back a start reads what others did
BEAT_S = 20.0  # presence; the hub forgets whoever was silent for a minute
GONE_S = 60.0
OVERDUE_S = 600.0  # so long after its time an announcement stands here: then nobody is going to carry it out
_NOT_SHOWN = frozenset({"tick", "session", "genesis", "policy", "clock", "drill"})

Here = Callable[[], tuple[str, str]]  # (operator, where), or ("", "") where nobody is known


class TeamFeed:
    """Follows one hub. `own` names this console's chain; `here` who sits here and what they look at; `changed` is
    called, on the thread, after each change of `team`, `shared` when somebody shared a snapshot."""

    def __init__(
        self,
        connect: Callable[[], HubClient],
        own: Callable[[], str],
        clock: Clock,
        random: Random,
        *,
        here: Here = lambda: ("", ""),
        changed: Callable[[], None] = lambda: None,
        shared: Callable[[], None] = lambda: None,
    ) -> None:
        self.team = Team()
        self._connect = connect
        self._own = own
        self._clock = clock
        self._here = here
        self._changed = changed
        self._shared = shared
        self._pace = Pace(random)
        self._position: int | None = None
        self._items: deque[TimelineItem] = deque(maxlen=KEPT)
        self._keys: dict[str, str] = {}  # chain -> its device's public key
        self._by_themselves = ByThemselves()
        self._stopped = threading.Event()
        self._streaming: HubClient | None = None
        self._asking: HubClient | None = None

    def start(self) -> None:
        """Two daemon threads: one that listens, one that says that we are here."""
        for work, name in ((self.run, "hub stream"), (self._beat, "hub presence")):
            threading.Thread(target=work, name=name, daemon=True).start()

    def stop(self) -> None:
        """No more from here on; a stream under way is left to its thread, which ends with the process."""
        self._stopped.set()

    def run(self) -> None:
        """Until `stop`. Never raises: the sync says how the hub is."""
        while not self._stopped.is_set():
            wait = 1.0
            try:
                self._follow()
            except ConsoleError as error:
                wait = self._pace.failed(error)
                if isinstance(error, BackendError) and self.team.colleagues:
                    self._set(colleagues=())  # who is where is not known any more
            except Exception as error:  # a stream of another shape must not end the thread
                wait = self._pace.failed(error)
            finally:
                self._close()
            self._stopped.wait(wait)

    def _follow(self) -> None:
        self._streaming, self._asking = self._connect(), self._connect()
        if self._position is None:
            self._catch_up(self._asking)
        self._ask_who(self._asking)
        after = f"?after={self._position}" if self._position is not None else ""
        for kind, id_, data in events(self._streaming.stream(f"/v1/stream{after}")):
            if self._stopped.is_set():
                return
            self._pace.answered()
            self._heard(kind, data, self._asking)
            if id_.isdecimal():
                self._position = int(id_)
            elif kind in ("ready", "reset") and type(data.get("position")) is int:
                self._position = data["position"]

    def _catch_up(self, client: HubClient) -> None:
        """What others did in the last hours, before the stream."""
        since, after = written(self._clock.now() - BACK_S), 0
        while not self._stopped.is_set():
            page = client.json("GET", f"/v1/entries?since={since}&after={after}&limit=500")
            found = page.get("entries")
            if not isinstance(found, list) or not found or type(page.get("next")) is not int:
                break
            for document in found:
                self._entry(document, client)
            after = page["next"]
        self._set_items()

    def _heard(self, kind: str, data: dict[str, Any], client: HubClient) -> None:
        if kind == "entry" and self._entry(data, client):
            self._set_items()
        elif kind == "claim":
            self._ask_who(client)
        elif kind == "snapshot":
            self._shared()
        elif kind == "presence" and (found := _colleague(data)) is not None:
            now = self._clock.now()
            rest = tuple(
                each for each in self.team.colleagues if each.operator != found.operator and now - each.at < GONE_S
            )
            self._set(colleagues=(*rest, found) if self._is_other(found) else rest)

    def _set_items(self) -> None:
        found = self._by_themselves
        self._set(items=tuple(self._items), announced=found.announced(self._clock.now()), held=tuple(found.held))

    def _entry(self, document: object, client: HubClient) -> bool:
        """Take a line of another chain in; False where it is ours, nothing to show, or not what its device signed."""
        chain = document.get("chain") if isinstance(document, dict) else None
        if not isinstance(chain, str) or chain == self._own():
            return False
        try:
            row = row_of(chain, document)
            if row.kind in _NOT_SHOWN or chains.row_hash(row) != row.hash:
                return False
            if not signed_by(public_key(self._key(chain, client)), row.hash, row.signature):
                return False
            entry = entry_of(row)
            line = item(entry)
            self._by_themselves.take(row, entry)
        except (KeyError, TypeError, ValueError, ConsoleError):
            return False
        self._items.append(replaced(line, seq=0, origin=f"entry {row.seq:,} of chain {plain(chain, 12)}, by the hub"))
        return True

    def _key(self, chain: str, client: HubClient) -> str:
        if chain not in self._keys:
            from urllib.parse import quote

            self._keys[chain] = str(client.json("GET", f"/v1/chains/{quote(chain, safe='')}").get("key", ""))
        return self._keys[chain]

    def _ask_who(self, client: HubClient) -> None:
        """Who is on which incident, and who is where."""
        incidents = client.json("GET", "/v1/incidents").get("incidents")
        present = client.json("GET", "/v1/presence").get("present")
        standings = (
            [_standing(each) for each in incidents if isinstance(each, dict)] if isinstance(incidents, list) else []
        )
        colleagues = (
            [_colleague(each) for each in present if isinstance(each, dict)] if isinstance(present, list) else []
        )
        self._set(
            standings=tuple(each for each in standings if each is not None),
            colleagues=tuple(each for each in colleagues if each is not None and self._is_other(each)),
        )

    def _is_other(self, who: Colleague) -> bool:
        return who.operator != self._here()[0]

    def _set(self, **changes: Any) -> None:
        after = replaced(self.team, **changes)
        if after != self.team:
            self.team = after
            self._changed()

    def _beat(self) -> None:
        """Say that we are here, and at what; at once where that changes."""
        client: HubClient | None = None
        said, at = ("", ""), 0.0
        while not self._stopped.wait(0.5):
            here, now = self._here(), self._clock.monotonic()
            if not here[0] or (here == said and now - at < BEAT_S):
                continue
            said, at = here, now
            try:
                client = client or self._connect()
                client.json("POST", "/v1/presence", {"operator": here[0][:200], "where": here[1][:200]})
            except ConsoleError:
                continue  # said again in a moment; the header says how the hub is
        if client is not None:
            client.close()

    def _close(self) -> None:
        for client in (self._streaming, self._asking):
            if client is not None:
                client.close()
        self._streaming = self._asking = None


class ByThemselves:
    """What goes by itself elsewhere, and who held it: folded from the entries of other chains, each sound already."""

    def __init__(self) -> None:
        self.held: deque[Held] = deque(maxlen=KEPT)
        self._chains: dict[str, Announced] = {}

    def announced(self, now: float) -> tuple[Announcement, ...]:
        """What stands, without what must have been over long ago: whoever announced that has ended, or is cut off."""
        found = [each for chain in self._chains.values() for each in chain.by_deployment.values()]
        return tuple(each for each in found if each.due > now - OVERDUE_S)

    def take(self, row: chains.Row, entry: Entry) -> None:
        """Fold one entry."""
        if row.kind not in ("automatic", "transition"):
            return
        chain = self._chains.setdefault(row.chain, Announced())
        if row.kind == "transition":
            body = entry.parsed()
            if isinstance(body, TransitionRecorded):
                chain.turned(entry.deployment, body.after, body.at)
            return
        chain.take(entry)
        if (held := _held(row, entry)) is not None:
            self.held.append(held)


def _held(row: chains.Row, entry: Entry) -> Held | None:
    """What a person signed of an entry, if they hold something by it and the signature is sound."""
    body = entry.parsed()
    if not isinstance(body, AutomaticRecorded) or body.event != "held" or body.person is None:
        return None
    if any(People().problems(row, json.loads(row.body), lambda _: None)):
        return None
    person = body.person
    key = sshsig.verify(person.statement.encode(), NAMESPACE, person.signature)
    return Held(
        DeploymentId.parse(entry.deployment), body.path, body.to_version, round(body.due, 3), body.words,
        person.operator, key, person.model_dump_json(),
    )  # fmt: skip


def events(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(event, id, data) of a stream of server-sent events (WHATWG HTML, section 9.2). Data that is no JSON object is
    left out."""
    kind, id_, data = "", "", list[str]()
    for line in lines:
        if not line:
            if data:
                try:
                    loaded = json.loads("\n".join(data))
                except (ValueError, RecursionError):
                    loaded = None
                if isinstance(loaded, dict):
                    yield kind or "message", id_, loaded
            kind, id_, data = "", "", []
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            id_ = value
        elif name == "data":
            data.append(value)


def _colleague(document: dict[str, Any]) -> Colleague | None:
    try:
        at = datetime.fromisoformat(str(document["at"])).timestamp()
        return Colleague(plain(document["operator"], 60), plain(document["where"], 200), at)
    except (KeyError, ValueError):
        return None


def _standing(document: dict[str, Any]) -> Standing | None:
    working = document.get("working")
    if not isinstance(document.get("id"), str) or not isinstance(working, list):
        return None
    return Standing(
        document["id"], plain(document.get("commander") or "", 60), plain(document.get("offered_to") or "", 60),
        tuple(plain(name, 60) for name in working[:20]),
    )  # fmt: skip

"""The live stream: what is committed, by whichever process of this hub, told to all who follow within a second.

One task a process looks at the database: at once when a request of this process has committed something, else every
quarter of a second, and not at all while nobody follows. Entries, messages and claims have positions, and a follower
who comes back with the last one misses nothing. Presence, leases and snapshots are only what is now: they have none.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from rollback_console.hub import people, shared
from rollback_console.hub.append import last_position
from rollback_console.hub.database import Database
from rollback_console.hub.problems import busy
from rollback_console.hub.reads import Wanted, timeline_page
from rollback_console.hub.tables import claims, leases, messages, presence, snapshots
from rollback_console.model.value import dataclass

logger = logging.getLogger("rollback_console.hub")
PAGE = 200
BEAT_S = 10.0
_WAITING = 2_000  # events a follower may be behind before its stream ends; it comes back with its last position
_NOW = (presence, leases, snapshots)


@dataclass(frozen=True, slots=True)
class Event:
    """`position` 0: it has none."""

    kind: str
    position: int
    data: dict[str, Any]

    def text(self) -> str:
        id_ = f"id: {self.position}\n" if self.position else ""
        return f"{id_}event: {self.kind}\ndata: {json.dumps(self.data, separators=(',', ':'))}\n\n"


def recorded_after(connection: Connection, after: int, until: int | None = None) -> list[Event]:
    """At most PAGE of what has positions above `after` (and up to `until`), in order."""
    found = [Event("entry", row["position"], row) for row in timeline_page(connection, Wanted(), after, PAGE)]
    short = len(found) == PAGE
    last = found[-1].position if found else 0
    for table, kind, event in ((messages, "message", people.message_event), (claims, "claim", people.claim_event)):
        query = select(table).where(table.c.position > after).order_by(table.c.position).limit(PAGE)
        found += [Event(kind, row.position, event(row)) for row in connection.execute(query).all()]
    found.sort(key=lambda each: each.position)
    if not short and last and _more_entries(connection, last):
        short = True  # a page of entries ends early rather than to be too large
    return [
        each
        for each in found[:PAGE]
        if (until is None or each.position <= until) and not (short and each.position > last)
    ]


def _more_entries(connection: Connection, after: int) -> bool:
    return bool(timeline_page(connection, Wanted(), after, 1))


def _changed(connection: Connection, seen: list[int]) -> list[Event]:
    """What is now and was not yet told; moves `seen` on."""
    found: list[Event] = []
    makers: tuple[Any, ...] = (
        lambda row: Event("presence", 0, people.presence_event(row)),
        lambda row: Event("lease", 0, shared.lease_event(row)),
        lambda row: Event("snapshot", 0, shared.snapshot_event(row)),
    )
    for number, (table, maker) in enumerate(zip(_NOW, makers, strict=True)):
        columns = [column for column in table.c if column.name != "data"]
        rows = connection.execute(
            select(*columns).where(table.c.version > seen[number]).order_by(table.c.version)
        ).all()
        if rows:
            seen[number] = rows[-1].version
        found += [maker(row) for row in rows]
    return found


class Stream:
    """Followers of one process. Its methods are called on the event loop; `wake` from anywhere."""

    def __init__(self, database: Database, poll_s: float, most: int) -> None:
        self._database = database
        self._poll_s = poll_s
        self._most = most
        self._followers: set[asyncio.Queue[Event | None]] = set()
        self._position = 0
        self._seen = [0] * len(_NOW)
        self._wake = asyncio.Event()
        self._joining = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    def __len__(self) -> int:
        return len(self._followers)

    def wake(self) -> None:
        """Something was committed."""
        if self._loop is not None and self._followers:
            with suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Look, and tell, for as long as the service runs."""
        self._loop = asyncio.get_running_loop()
        while not self._closing:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_s if self._followers else None)
            self._wake.clear()
            if not self._followers:
                continue
            async with self._joining:
                try:
                    events = await anyio.to_thread.run_sync(self._look)
                except Exception as error:  # whatever it is: followers wait, and are not left without a word for ever
                    unforeseen = not isinstance(error, SQLAlchemyError)
                    fields = {"error": type(error).__name__}
                    logger.warning("stream", extra={"fields": fields}, exc_info=error if unforeseen else None)
                    await asyncio.sleep(self._poll_s)
                    continue
                self._tell(events)
                if len(events) >= PAGE:
                    self._wake.set()

    def _look(self) -> list[Event]:
        with self._database.reading() as connection:
            events = recorded_after(connection, self._position)
            return events + _changed(connection, self._seen)

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._position = max(self._position, event.position)
            for queue in list(self._followers):
                if queue.qsize() >= _WAITING:
                    self._end(queue)
                else:
                    queue.put_nowait(event)

    def _end(self, queue: asyncio.Queue[Event | None]) -> None:
        self._followers.discard(queue)
        queue.put_nowait(None)

    def end(self) -> None:
        """The service ends: so does every stream, and the task."""
        self._closing = True
        for queue in list(self._followers):
            self._end(queue)
        self._wake.set()

    async def join(self) -> tuple[asyncio.Queue[Event | None], int]:
        """A queue of all that comes from now on, and the position that this is. Raises Problem when there are too
        many, or the service ends."""
        if self._closing or len(self._followers) >= self._most:
            raise busy("too many event streams")
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        async with self._joining:  # not while somebody looks: what is told twice, or to nobody, begins there
            if not self._followers:
                self._position = await anyio.to_thread.run_sync(self._begin)
            self._followers.add(queue)
            self._wake.set()
            return queue, self._position

    def _begin(self) -> int:
        with self._database.reading() as connection:
            self._seen = [int(connection.execute(select(func.max(t.c.version))).scalar_one() or 0) for t in _NOW]
            return last_position(connection)

    def leave(self, queue: asyncio.Queue[Event | None]) -> None:
        self._followers.discard(queue)

    async def follow(self, queue: asyncio.Queue[Event | None], joined: int, after: int | None) -> AsyncIterator[str]:
        """The text of the stream: what came between `after` and `joined`, then what comes; beats where nothing does.
        Ends when the service does, or when this follower is too slow."""
        yield "retry: 1000\n\n"
        if after is not None and after > joined:  # its position is of another time: this hub was restored
            yield Event("reset", joined, {"position": joined}).text()
            after = None
        while after is not None and after < joined:
            page = await anyio.to_thread.run_sync(self._replay, after, joined)
            if not page:
                break
            for event in page:
                yield event.text()
            after = page[-1].position
        yield Event("ready", joined, {"position": joined}).text()
        while True:
            try:
                event_or_end = await asyncio.wait_for(queue.get(), BEAT_S)
            except TimeoutError:
                yield ": still here\n\n"
                continue
            if event_or_end is None:
                return
            yield event_or_end.text()

    def _replay(self, after: int, until: int) -> list[Event]:
        with self._database.reading() as connection:
            return recorded_after(connection, after, until)

"""The thread that keeps a journal at the hub: when to try, how long to wait, what the header says meanwhile.

Any number of processes may run one on the same journal: a lock beside it lets one of them send, the others show what it
found. A key is never waited for here (a keyring may take seconds), nor an action: the journal is read by a connection
of the thread's own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from rollback_console.clock import Clock
from rollback_console.errors import BackendError, ConsoleError
from rollback_console.journal.hubstate import HubStore
from rollback_console.journal.locks import SyncLock
from rollback_console.journal.store import Journal
from rollback_console.journal.sync import MEET_S, Round, Sync, Tell
from rollback_console.journal.upstream import HubRefused, Upstream
from rollback_console.model.hub import HubState, Link
from rollback_console.model.text import plain, span
from rollback_console.observe.http import Transient

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LONGEST_ASKED_S = 3_600.0  # a Retry-After beyond an hour is looked at again after one
LOOK_S = 0.2  # how soon a new entry is seen
STALE_S = 180.0  # a contact older than this is none: whoever syncs hears from the hub every minute


class Pace:
    """How long to wait after a failure: doubling, with jitter, so that thirty consoles do not come back at once."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0

    def answered(self) -> None:
        self._failures = 0

    def failed(self, error: Exception) -> float:
        """Seconds until the next try."""
        wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures, 10)) * self._random.uniform(0.5, 1.0)
        self._failures += 1
        asked = error.retry_after_s if isinstance(error, Transient) else None
        return max(wait, min(asked, LONGEST_ASKED_S)) if asked is not None else wait


def look(store: HubStore, url: str, chain: str, entries: int, now: float) -> HubState:
    """Where a chain of so many entries stands, from what is kept beside the journal. Raises JournalUnwritable."""
    facts, cursor, receipt, held = store.facts(), store.cursor(chain), store.last_receipt(chain), store.checkpoint()
    contact = float(facts["contact_at"]) if "contact_at" in facts else None
    link, problem = Link(facts.get("link", Link.UNKNOWN.value)), facts.get("problem", "")
    if link is Link.OK and contact is not None and now - contact > STALE_S:
        link, problem = Link.OFFLINE, f"last heard {span(now - contact)} ago; `rollback-console journal sync` sends"
    return HubState(
        link=link,
        url=url,
        waiting=max(0, entries - cursor.seq),
        blobs_waiting=cursor.blob_seq < cursor.seq,
        receipt_seq=receipt.seq if receipt is not None else 0,
        receipt_at=receipt.at / 1e9 if receipt is not None else None,
        checkpoint_size=held[0].size if held is not None else 0,
        contact_at=contact,
        problem=problem,
        closed=cursor.closed,
        alarms=store.alarms(),
    )


class Syncer:
    """Rounds of a `Sync`, for as long as wanted. `connect` makes the upstream, in the thread that runs (it may ask a
    keyring, and raise InputError); `tell` writes a line into the journal; `changed` is called after every look."""

    def __init__(
        self,
        journal: Path,
        hub: str,
        url: str,
        connect: Callable[[], Upstream],
        clock: Clock,
        random: Random,
        *,
        tell: Tell = lambda what, detail: None,
        changed: Callable[[HubState], None] = lambda state: None,
    ) -> None:
        self._path = journal
        self._hub = hub
        self._url = url
        self._connect = connect
        self._clock = clock
        self._tell = tell
        self._changed = changed
        self._pace = Pace(random)
        self._lock = SyncLock(journal)
        self._store: HubStore | None = None
        self._upstream: Upstream | None = None
        self._sync: Sync | None = None
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._marks: tuple[object, ...] = ()
        self.state = HubState(link=Link.UNKNOWN, url=url)

    # -- as a thread

    def start(self) -> None:
        """Run beside whatever else runs, until `stop`. A daemon: it holds up nobody's leaving."""
        self._thread = threading.Thread(target=self.run, name="hub sync", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 1.0) -> None:
        """No new request from here on. Waits so long for the one under way; what it sent is offered again next time."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(wait_s)

    def run(self) -> None:
        """Until `stop`. Never raises: what goes wrong is `state.problem`."""
        try:
            while not self._stopped.is_set():
                self._sleep(self._once())
        finally:
            self.close()

    def _once(self) -> float:
        """One try; how long to wait for the next, at most: a new entry ends a wait after success."""
        try:
            if self.round() is None:
                return LOOK_S * 5  # another process sends: what it found is shown
        except ConsoleError as error:
            return self._pace.failed(error)
        except Exception as error:
            self._show(Link.OFFLINE, f"the sync failed for a reason nobody foresaw ({type(error).__name__}: {error})")
            return LONGEST_WAIT_S
        return MEET_S

    def _sleep(self, wait_s: float) -> None:
        """So long, or until there is something new to send; a failure's wait is slept to its end."""
        calm = wait_s in (MEET_S, LOOK_S * 5)
        until = self._clock.monotonic() + wait_s
        while not self._stopped.is_set() and self._clock.monotonic() < until:
            self._wake.wait(LOOK_S)
            marks = self._look_at_files()
            if marks != self._marks:
                self._marks = marks
                if calm:
                    return
                self._refresh()

    def _look_at_files(self) -> tuple[object, ...]:
        """What changes whenever an entry is written: no lock is taken for it."""
        found: list[object] = []
        for end in ("", "-wal"):
            with suppress(OSError):
                status = os.stat(f"{self._path}{end}")
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    # -- one round

    def round(self) -> Round | None:
        """Send what waits; None where another process does. Raises `ConsoleError`: BackendError for the hub's part,
        InputError for a secret that is not to be had, JournalError."""
        self._marks = self._look_at_files()
        try:
            if not self._lock.try_acquire("sync"):
                self._refresh()
                return None
            done = self._made().round()
        except BackendError as error:
            if isinstance(error, HubRefused) and error.status in (401, 403):
                self._let_go()  # the token may be another by the next try
            self._refresh()
            raise
        except ConsoleError as error:
            self._show(Link.REFUSED, str(error))
            raise
        self._pace.answered()
        self._refresh()
        return done

    def _made(self) -> Sync:
        if self._sync is None:
            self._upstream = self._connect()
            self._sync = Sync(
                self._path, self._upstream, self._stored(), self._clock, tell=self._tell, stop=self._stopped.is_set
            )
        return self._sync

    def _let_go(self) -> None:
        if self._upstream is not None:
            self._upstream.close()
        self._upstream = self._sync = None

    def _stored(self) -> HubStore:
        if self._store is None:
            self._store = HubStore(self._path, self._hub)
        return self._store

    def _refresh(self) -> None:
        """Say how it stands now."""
        try:
            with Journal.open_read_only(self._path) as journal:
                self.state = look(self._stored(), self._url, journal.chain, journal.head()[0], self._clock.now())
        except ConsoleError as error:
            self._show(self.state.link, str(error))
            return
        self._changed(self.state)

    def _show(self, link: Link, problem: str) -> None:
        from dataclasses import replace

        self.state = replace(self.state, link=link, problem=plain(problem, 400))
        self._changed(self.state)

    def close(self) -> None:
        """Free what is held. After `stop`, or after the last `round`."""
        self._lock.release()
        self._let_go()
        if self._store is not None:
            self._store.close()
            self._store = None

"""One snapshot of the fleet for all consoles of an environment: who holds the lease `poll/ENVIRONMENT` asks Prometheus
and writes, the others read.

Blocking, on a thread of its own: `offer` and `newest` only leave and take what lies here, so that no evaluation and no
key waits for the hub. What the bytes are is the engine's to say (`engine.shared`); nothing is believed of them here but
that who holds the lease wrote them, which is the hub's word.
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections.abc import Callable, Iterable
from random import Random
from urllib.parse import quote

from rollback_console.clock import Clock
from rollback_console.errors import ConsoleError
from rollback_console.journal.syncing import Pace
from rollback_console.journal.upstream import HubClient, HubRefused
from rollback_console.model.sharing import MAX_SENT, MAX_SHARED, SharedFleet
from rollback_console.model.text import plain

LEASE_STEPS = 2  # a lease is over after so many evaluations: before a snapshot is too old (`engine.shared`)
_SHORTEST_S = 10.0  # of a lease
_LOOK_S = 3.0  # between two looks at most, where the stream does not say sooner


def name_of(environments: Iterable[str]) -> str:
    """The name under which consoles that look at these environments share."""
    name = "+".join(sorted(set(environments)))
    return name if len(name) <= 150 else hashlib.sha256(name.encode()).hexdigest()


class FleetSharing:
    """A console's part in it (`engine.options.FleetHub`). `holder` says who this is, for the others' screens;
    `ttl_s` is the lease's time."""

    def __init__(
        self,
        connect: Callable[[], HubClient],
        environment: str,
        holder: Callable[[], str],
        clock: Clock,
        random: Random,
        *,
        step_s: float,
        ttl_s: float = 0.0,
    ) -> None:
        self._connect, self._holder, self._clock, self._pace = connect, holder, clock, Pace(random)
        self._lease = f"/v1/leases/poll/{quote(environment, safe='')}"
        self._snapshot = f"/v1/environments/{quote(environment, safe='')}/snapshot"
        self._step_s = step_s
        self._ttl_s = ttl_s or max(_SHORTEST_S, LEASE_STEPS * step_s)
        self._client: HubClient | None = None
        self._token: int | None = None
        self._lively = clock.monotonic()  # when this console last evaluated, or began to hold the lease
        self._renewed = self._lively
        self._found: SharedFleet | None = None
        self._offered: bytes | None = None
        self._may = False  # this console records: it may hold the lease
        self._sees = True  # its last own evaluation reached the metric backend
        self.problem = ""  # why nothing is shared, in words
        self._wake, self._stopped, self._looked = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    # -- the engine's side: none of these waits for the hub, none raises

    def holder(self) -> str:
        """Who this is, as others are told."""
        return self._holder()

    def allow(self, may: bool) -> None:
        """May this console hold the lease: only who records may."""
        self._may = may

    def holds(self) -> bool:
        """Does this console ask for all."""
        return self._token is not None

    def newest(self) -> SharedFleet | None:
        """What the holder wrote last; None where there is none, or the hub does not answer."""
        return self._found

    def offer(self, data: bytes | None) -> None:
        """This console's newest evaluation; None: it cannot observe, and somebody else may be able to."""
        self._sees, self._lively = data is not None, self._clock.monotonic()
        self._offered = data
        if self._token is not None or data is not None:
            self._wake.set()

    def first(self, limit_s: float) -> None:
        """Wait until the hub was asked once, and no longer than `limit_s`. Blocks: not for the event loop."""
        self._looked.wait(limit_s)

    # -- as a thread

    def start(self) -> None:
        """Run beside whatever else runs, until `stop`. A daemon: it holds up nobody's leaving."""
        self._thread = threading.Thread(target=self.run, name="hub sharing", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something changed at the hub."""
        self._wake.set()

    def stop(self, wait_s: float = 1.0) -> None:
        """Give the lease back, so that another goes on at once; waits no longer than `wait_s`."""
        self._stopped.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(wait_s)

    def run(self) -> None:
        """Until `stop`. Never raises: what goes wrong is `problem`."""
        while not self._stopped.is_set():
            wait = self.round()
            (self._stopped if self._client is None else self._wake).wait(wait)  # after a failure nothing is hurried
            self._wake.clear()
        self.leave()

    def round(self) -> float:
        """One exchange with the hub. Returns for how long to wait; never raises."""
        try:
            self._client = self._client or self._connect()
            if self._token is not None:
                self._keep(self._client)
            if self._token is None:
                self._look(self._client)
            self._pace.answered()
            return min(_LOOK_S, self._step_s / 5)
        except ConsoleError as error:
            return self._failed(error, error.message)
        except Exception as error:  # an answer of another shape must not end the thread
            return self._failed(error, f"the hub's answer is not what was asked for: {type(error).__name__}")
        finally:
            self._looked.set()

    def leave(self) -> None:
        """Give the lease back. Never raises: it ends by itself too."""
        try:
            if self._client is not None and self._token is not None:
                self._release(self._client)
        except ConsoleError as error:
            self.problem = plain(error.message, 200)
        finally:
            self._token = None
            if self._client is not None:
                self._client.close()
            self._client = None

    def _failed(self, error: Exception, words: str) -> float:
        self._found, self.problem = None, plain(words, 200)
        if self._client is not None:
            self._client.close()
        self._client = None
        return self._pace.failed(error)

    # -- with the lease

    def _keep(self, client: HubClient) -> None:
        """Renew it and write what was evaluated since; give it back where this console cannot evaluate."""
        late = self._clock.monotonic() - self._lively > LEASE_STEPS * self._step_s
        if late or not self._sees or not self._may:
            self._sees = self._sees and not late
            self._release(client)
            return
        data, self._offered = self._offered, None
        now = self._clock.monotonic()
        if data is None and now - self._renewed < self._ttl_s / 3:
            return
        try:
            packed = zlib.compress(data, 1) if data is not None else b""
            if len(packed) > MAX_SENT or len(data or b"") > MAX_SHARED:
                self._sees = False
                self._release(client)
                self.problem = f"an evaluation of {len(packed):,} bytes is more than the hub takes: it is not shared"
                return
            client.json("PUT", self._lease, {"token": self._token, "ttl_s": self._ttl_s})
            self._renewed = now
            if packed:
                headers = {"Content-Type": "application/octet-stream", "Lease-Token": str(self._token)}
                client.exchange("PUT", self._snapshot, packed, headers)
            self.problem = ""
        except HubRefused as error:
            if error.status != 409:
                raise
            self._token = None  # it was over, or is somebody else's by now

    def _release(self, client: HubClient) -> None:
        token, self._token = self._token, None
        try:
            client.json("DELETE", f"{self._lease}?token={token}")
        except HubRefused as error:
            if error.status != 409:
                raise

    # -- without it

    def _look(self, client: HubClient) -> None:
        """Read what the holder wrote; take the lease where nobody holds it."""
        lease = self._held(client)
        if lease is None:
            if not (self._may and self._sees and self._take(client)):
                self._found = None if not self._may else self._found
            return
        known, self._offered = self._found, None  # who takes the lease later makes a new one
        headers = {"If-None-Match": known.etag} if known is not None else {}
        try:
            status, answered, data = client.exchange("GET", self._snapshot, None, headers, limit=MAX_SENT)
        except HubRefused as error:
            if error.status != 404:
                raise
            self._found, self.problem = None, ""  # whoever holds it has written nothing yet
            return
        if status == 304:
            return
        if answered.get("Lease-Token") != str(lease):
            self.problem = "the snapshot at the hub is not by who holds the lease"
            return  # what was read before holds until it is old: a new holder has yet to write
        self._found, self.problem = SharedFleet(_unpacked(data), answered.get("ETag", ""), lease), ""

    def _held(self, client: HubClient) -> int | None:
        """The token of whoever holds the lease, None where nobody does."""
        try:
            token = client.json("GET", self._lease).get("token")
        except HubRefused as error:
            if error.status != 404 or not error.code:
                raise
            return None
        if type(token) is not int:
            raise client.wrong("a lease without its token")
        return token

    def _take(self, client: HubClient) -> bool:
        try:
            token = client.json("POST", self._lease, {"ttl_s": self._ttl_s, "holder": self._holder()[:200]}).get(
                "token"
            )
        except HubRefused as error:
            if error.status != 409:
                raise
            return False  # somebody was quicker
        if type(token) is not int:
            raise client.wrong("a lease without its token")
        self._token, self._lively, self.problem = token, self._clock.monotonic(), ""
        self._renewed = self._lively
        if self._offered is not None:
            self._keep(client)
        return True


def _unpacked(data: bytes) -> bytes:
    """What was packed, b"" for what was not, or would be more than MAX_SHARED."""
    inflate = zlib.decompressobj()
    try:
        found = inflate.decompress(data, MAX_SHARED)
    except zlib.error:
        return b""
    return found if inflate.eof else b""

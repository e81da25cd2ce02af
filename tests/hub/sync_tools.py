"""A console's side of the hub for tests: a machine with its key, its journal and its token; and a path that fails."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rollback_console.clock import WallClock
from rollback_console.hub.devices import ENROL_DOMAIN, make_code
from rollback_console.hub.hub import database_of
from rollback_console.hub.settings import HubSettings
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.hubstate import HubStore
from rollback_console.journal.kinds import Body, Note, Repaired
from rollback_console.journal.store import Journal
from rollback_console.journal.succession import open_settled
from rollback_console.journal.sync import Round, Sync
from rollback_console.journal.syncing import look
from rollback_console.journal.upstream import HubClient
from rollback_console.model.hub import HubState
from servers.hub import Hub

CLOCK = WallClock()


def code_of(hub: Hub, name: str) -> str:
    """What `hub enrol` does, in this process: a second of a subprocess for each device would be most of a test."""
    database = database_of(HubSettings(data=hub.folder, database=hub.where[3] if len(hub.where) > 2 else ""))
    try:
        return make_code(database, name)
    finally:
        database.close()


class Laptop:
    """One machine: `folder` is its disk. `url` is where it finds the hub (a path that fails may stand in between)."""

    def __init__(self, folder: Path, hub: Hub, *, url: str = "", code: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.url = url or hub.url
        self.key_path = folder / "device" / "device.key"
        client = HubClient(hub.url)
        self.vkey = client.about().key
        client.close()
        self.token = self.enrol(hub, code)

    @classmethod
    def of(cls, other: Laptop, folder: Path) -> Laptop:
        """A copy of its disk: key, journal, state and token."""
        shutil.copytree(other.folder, folder)
        copy = cls.__new__(cls)
        copy.folder, copy.url, copy.key_path = folder, other.url, folder / "device" / "device.key"
        copy.vkey, copy.token = other.vkey, other.token
        return copy

    def enrol(self, hub: Hub, code: str = "") -> str:
        device, code = self.device, code or code_of(hub, self.folder.name)
        client = HubClient(hub.url)
        try:
            _, token = client.enrol(device.public_openssh(), "", code, device.sign(ENROL_DOMAIN + code.encode()))
        finally:
            client.close()
        self.token = token
        return token

    @property
    def device(self) -> DeviceKey:
        return DeviceKey.load_or_create(self.key_path)

    @property
    def journal(self) -> Path:
        return self.folder / "journal.db"

    @property
    def chain(self) -> str:
        with Journal.open_read_only(self.journal) as journal:
            return journal.chain

    def open(self) -> Journal:
        """As a console with a hub opens it: what was copied or restored is set aside first."""
        return open_settled(self.journal, CLOCK, self.vkey, device_path=self.key_path)

    def write(self, count: int, text: str = "note", blobs: Sequence[bytes] = ()) -> None:
        with self.open() as journal:
            for first in range(0, count, 500):
                some: list[tuple[Body, str, str]] = [
                    (Note(text=f"{text} {number}"), "production/checkout-ranker", "ana")
                    for number in range(first, min(first + 500, count))
                ]
                journal.append_all(some, blobs if not first else ())

    def sync(self, timeout_s: float = 5.0) -> Round:
        """One round, by a process of its own as it were: nothing is remembered but what is on the disk."""
        client, store = HubClient(self.url, self.token, timeout_s=timeout_s), HubStore(self.journal, self.vkey)
        try:
            return Sync(self.journal, client, store, CLOCK, tell=self.tell).round()
        finally:
            store.close()
            client.close()

    def tell(self, what: str, detail: str) -> None:
        with Journal.open(self.journal, device=self.device, clock=CLOCK) as journal:
            journal.append(Repaired(what=what, detail=detail))

    def state(self) -> HubState:
        store = HubStore(self.journal, self.vkey)
        try:
            with Journal.open_read_only(self.journal) as journal:
                return look(store, self.url, journal.chain, journal.head()[0], CLOCK.now())
        finally:
            store.close()

    def said(self) -> list[str]:
        """What its journal says was found."""
        with Journal.open_read_only(self.journal) as journal:
            bodies = [entry.parsed() for entry in journal.entries(kinds=("found",))]
        return [f"{body.what}: {body.detail}" for body in bodies if isinstance(body, Repaired)]


class Path2Hub:
    """TCP between a console and its hub, on loopback: `cut` halts it; `break_after` ends each connection after so many
    bytes of answers; `slow` trickles. Nothing is faked: the bytes that pass are the client's and the hub's own."""

    def __init__(self, target: int, seed: int = 0) -> None:
        self.target = target
        self.cut = False
        self.break_chance = 0.0  # of a connection: to end somewhere within its answer, after the hub has acted
        self.random = random.Random(seed)
        self.broken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def partition(self) -> None:
        """Nothing passes from here on; what is open ends."""
        self.cut = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        self.cut = False

    def close(self) -> None:
        self._closed = True
        self.partition()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self._open |= {client, server}
            budget = self.random.randrange(1, 1_500) if self.random.random() < self.break_chance else None
            threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, budget), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, budget: int | None) -> None:
        """Bytes from one to the other, until one ends, or `budget` of them have passed."""
        try:
            while data := source.recv(65_536):
                if budget is not None and len(data) >= budget:
                    self.broken += 1
                    sink.sendall(data[:budget])
                    break
                budget = None if budget is None else budget - len(data)
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            self._open.discard(each)
            each.close()


def eventually(done: object, seconds: float = 20.0) -> None:
    """Wait until `done()` is true; fails after `seconds`."""
    assert callable(done)
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)

"""Exactly once through everything that goes wrong: twenty consoles, two hubs on one real PostgreSQL, and paths that
halt, break off after the hub has acted, deliver late and again; hubs that are killed in the middle of a batch."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest

from hub.sync_liar import Liar
from hub.sync_tools import Laptop, Path2Hub, code_of
from rollback_console.errors import BackendError
from servers.hub import PROGRAM, Hub
from servers.postgresql import PostgreSQL

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("postgresql")]
CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
CONSOLES = 20
ENTRIES = 2_500 if CAMPAIGN else 100  # of each console
KILLS = 12 if CAMPAIGN else 2
MAX_S = 1_800.0 if CAMPAIGN else 90.0


class Site:
    """Two hubs with one key on one database, a bad path to each, and what is done to them."""

    def __init__(self, folder: Path, postgresql: PostgreSQL) -> None:
        (folder / "one").mkdir(parents=True)
        name = postgresql.database()
        owner, self.role = postgresql.url(name), postgresql.url(name, "hub_app")
        self.url = owner
        migrate = [
            *PROGRAM,
            "hub",
            "migrate",
            "--data",
            str(folder / "one"),
            "--database",
            owner,
            "--grant-to",
            "hub_app",
        ]
        subprocess.run(migrate, check=True, capture_output=True)
        self.hubs = [Hub(folder / "one", database=self.role)]
        (folder / "two").mkdir()
        shutil.copy(folder / "one" / "hub.key", folder / "two" / "hub.key")  # one hub, two processes: one key
        self.hubs.append(Hub(folder / "two", database=self.role))
        self.paths = [Path2Hub(hub.server.port, seed) for seed, hub in enumerate(self.hubs)]

    def kill(self, number: int) -> None:
        """kill -9, whatever it was doing; another process takes its place on the same port."""
        hub = self.hubs[number]
        os.killpg(hub.server.process.pid, signal.SIGKILL)
        hub.server.process.wait()
        self.hubs[number] = Hub(hub.folder, database=self.role, port=hub.server.port)

    def held(self) -> dict[str, list[str]]:
        """Chain to hashes, by the hub's own table; raises where a number is there twice or missing."""
        found: dict[str, list[str]] = {}
        with psycopg.connect(self.url) as connection:
            for chain, seq, hash_ in connection.execute("SELECT chain, seq, hash FROM entries ORDER BY chain, seq"):
                known = found.setdefault(chain, [])
                assert seq == len(known) + 1, (chain, seq)
                known.append(hash_)
        return found

    def close(self) -> None:
        for path in self.paths:
            path.close()
        for hub in self.hubs:
            hub.stop()


def write_and_send(laptop: Laptop, site: Site, seed: int, troubles: list[str], end: float) -> None:
    """One console's life: entries a few at a time, sent by whichever hub, until all are proven to be there."""
    dice = random.Random(seed)
    left = ENTRIES
    while left or laptop.state().waiting:
        if time.monotonic() > end:
            troubles.append(f"{laptop.folder.name}: {laptop.state()}")
            return
        if left:
            some = min(left, dice.randint(1, max(2, ENTRIES // 3)))
            laptop.write(some, f"{laptop.folder.name} {left}")
            left -= some
        laptop.url = dice.choice(site.paths).url
        try:
            laptop.sync(timeout_s=3.0)
        except BackendError:
            time.sleep(dice.uniform(0.02, 0.2))


def test_every_entry_arrives_exactly_once(tmp_path: Path, postgresql_server: PostgreSQL) -> None:
    site = Site(tmp_path / "hub", postgresql_server)
    try:
        laptops = [
            Laptop(tmp_path / f"console-{n:02}", site.hubs[0], code=code_of(site.hubs[0], f"console-{n:02}"))
            for n in range(CONSOLES)
        ]
        for path in site.paths:
            path.break_chance = 0.25
        troubles: list[str] = []
        begun = time.monotonic()
        workers = [
            threading.Thread(target=write_and_send, args=(laptop, site, n, troubles, begun + MAX_S))
            for n, laptop in enumerate(laptops)
        ]
        for worker in workers:
            worker.start()
        for round_ in range(KILLS):
            number = round_ % 2
            site.paths[number].partition()
            time.sleep(0.3)
            site.paths[number].heal()
            time.sleep(0.3)
            site.kill(1 - number)
        for path in site.paths:  # what is left goes through: nobody waits for a lucky connection
            path.break_chance = 0.05
        for worker in workers:
            worker.join(MAX_S)
        assert not troubles
        took = time.monotonic() - begun
        assert sum(path.broken for path in site.paths) > 0, "no answer was ever lost: nothing was tried"
        held = site.held()
        for laptop in laptops:
            with sqlite3.connect(laptop.journal) as database:
                ours = [hash_ for (hash_,) in database.execute("SELECT hash FROM entries ORDER BY seq")]
            assert len(ours) == ENTRIES + 1
            assert held[laptop.chain] == ours
            assert not laptop.state().alarms, "an honest hub was called a liar"
        assert sum(map(len, held.values())) == CONSOLES * (ENTRIES + 1)
        print(f"{CONSOLES * (ENTRIES + 1):,} entries of {CONSOLES} consoles in {took:.1f} s, "
              f"{sum(path.broken for path in site.paths)} answers broken off, {KILLS} hubs killed")  # fmt: skip
    finally:
        site.close()


def test_late_and_reordered_requests_at_two_hubs_change_nothing(tmp_path: Path, postgresql_server: PostgreSQL) -> None:
    site = Site(tmp_path / "hub", postgresql_server)
    liars = [Liar(hub.url) for hub in site.hubs]
    try:
        laptop = Laptop(tmp_path / "ana", site.hubs[0])
        dice = random.Random(7)
        for _ in range(8):
            laptop.write(dice.randint(1, 9))
            laptop.url = dice.choice(liars).url
            laptop.sync()
        before = site.held()
        posts = [post for liar in liars for post in liar.delivered if post[0] == "POST"]
        dice.shuffle(posts)
        for post in posts * 2:
            answer = dice.choice(liars).again(*post)
            assert answer.status_code == 200, answer.text
        assert site.held() == before
        assert not laptop.state().alarms
    finally:
        for liar in liars:
            liar.close()
        site.close()

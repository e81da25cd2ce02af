"""Whatever is delivered in whatever order: the hub holds a prefix of one line, once, and every receipt is right."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import func, select

from hub.hub_tools import chain_of
from rollback_console.hub import append, devices
from rollback_console.hub.hub import Hub
from rollback_console.hub.problems import Problem
from rollback_console.hub.settings import HubSettings
from rollback_console.hub.tables import entries, evidence, log_leaves
from rollback_console.journal import merkle
from rollback_console.journal.chain import Row
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.receipt import check
from rollback_console.journal.signednote import Checkpoint

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
KEY = DeviceKey.from_seed(b"states")
DEVICE = devices.Device(KEY.fingerprint(), KEY.public_openssh(), "laptop", 0, None)
LENGTH = 14
_opened: list[Hub] = []


def hub() -> Hub:
    """One hub for all examples, each of which has a chain of its own."""
    if not _opened:
        folder = Path(tempfile.mkdtemp(prefix="rollback-console-states-"))
        _opened.append(Hub(HubSettings(folder)))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        atexit.register(_opened[0].close)  # the last to be registered is the first to run
    return _opened[0]


def _sent(chain: str, rows: list[Row]) -> append.Appended | Problem:
    try:
        return append.append(hub().database, hub().log, DEVICE, chain, rows[0].prev, rows)
    except Problem as problem:
        return problem


class Deliveries(RuleBasedStateMachine):
    """Two lines of one chain that part after `fork` entries: what a copied laptop would send."""

    @initialize(fork=st.integers(1, LENGTH - 1))
    def begin(self, fork: int) -> None:
        self.chain = secrets.token_hex(16)
        main = chain_of(KEY, LENGTH, self.chain)
        self.lines = [main, self._parted(main, fork)]
        self.held: list[Row] = []
        self.last: Checkpoint | None = None
        self.heads = 0
        self.shown: set[tuple[str, int, str]] = set()

    @staticmethod
    def _parted(main: list[Row], fork: int) -> list[Row]:
        from hub.hub_tools import next_row

        line = main[:fork]
        while len(line) < LENGTH:
            line = [*line, next_row(KEY, main[0].chain, line[-1], {"text": f"other {len(line)}", "v": 1})]
        return line

    def _expected(self, rows: list[Row]) -> tuple[str, int]:
        """("gap", 0), ("fork", the number that shows it) or ("ok", how many are new), by the rules in words."""
        first, head = rows[0].seq, len(self.held)
        if first > head + 1:
            return "gap", 0
        if first == head + 1 and head and rows[0].prev != self.held[-1].hash:
            return "fork", head
        for row in rows:
            if row.seq <= head and row.hash != self.held[row.seq - 1].hash:
                return "fork", row.seq
        return "ok", max(0, rows[-1].seq - head)

    @rule(line=st.integers(0, 1), start=st.integers(0, LENGTH - 1), count=st.integers(1, LENGTH))
    def deliver(self, line: int, start: int, count: int) -> None:
        rows = self.lines[line][start : start + count]
        wanted, number = self._expected(rows)
        done = _sent(self.chain, rows)
        if isinstance(done, Problem):
            assert (done.status, done.code) == (409, wanted)
            assert done.more["head"]["seq"] == len(self.held)
            if wanted == "fork":
                assert done.more["seq"] == number
            shown = rows[0] if wanted == "gap" or number < rows[0].seq else rows[number - rows[0].seq]
            self.shown.add((wanted, shown.seq, shown.hash))
            return
        assert wanted == "ok"
        assert (done.accepted, done.duplicates) == (number, len(rows) - number)
        self.held += rows[len(rows) - number :] if number else []
        self.heads += number > 0
        self._judge(done)

    def _judge(self, done: append.Appended) -> None:
        """The receipt is of the head, verifies, and its tree begins with the one before."""
        assert (
            (done.receipt.seq, done.receipt.hash)
            == (len(self.held), self.held[-1].hash)
            == (done.head.seq, done.head.hash)
        )
        checkpoint = check(done.receipt, [hub().log.key.vkey])
        if self.last is not None:
            proof = hub().log.consistency(self.last.size, checkpoint.size)
            assert merkle.verify_consistency(self.last.size, checkpoint.size, self.last.root, checkpoint.root, proof)
        self.last = checkpoint

    @rule(
        start=st.integers(0, LENGTH - 1), where=st.integers(0, LENGTH), what=st.sampled_from(["body", "operator", "at"])
    )
    def deliver_what_was_changed(self, start: int, where: int, what: str) -> None:
        rows = list(self.lines[0][start:])
        at = where % len(rows)
        rows[at] = rows[at]._replace(**{what: 1 if what == "at" else '{"v":2}'})
        refused = _sent(self.chain, rows)
        assert isinstance(refused, Problem)
        assert (refused.code, refused.more["seq"]) == ("bad-entry", rows[at].seq)

    @invariant()
    def one_line_once_and_all_that_did_not_fit_is_kept(self) -> None:
        with hub().database.reading() as connection:
            found = connection.execute(
                select(entries.c.hash, entries.c.position).where(entries.c.chain == self.chain).order_by(entries.c.seq)
            ).all()
            leaves = connection.execute(
                select(func.count()).select_from(log_leaves).where(log_leaves.c.chain == self.chain)
            ).scalar_one()
            kept = connection.execute(
                select(evidence.c.code, evidence.c.seq, evidence.c.digest).where(evidence.c.chain == self.chain)
            ).all()
        assert [row.hash for row in found] == [row.hash for row in self.held]
        assert [row.position for row in found] == sorted({row.position for row in found})
        assert leaves == self.heads
        assert {tuple(row) for row in kept} == self.shown


Deliveries.TestCase.settings = settings(
    max_examples=400 if CAMPAIGN else 25,
    stateful_step_count=20 if CAMPAIGN else 12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestDeliveries = Deliveries.TestCase

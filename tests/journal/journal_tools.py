"""What the journal's tests share: a journal with an entry of every kind, and hands to tamper with it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

from rollback_console.authorize.keys import PersonKey
from rollback_console.clock import VirtualClock
from rollback_console.journal import kinds as k
from rollback_console.journal.chain import COLUMNS, Row, canonical, digest, message, row_hash
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.store import Journal

START = 1_763_628_153.25
SEED = b"tests"
CHAIN = "00112233445566778899aabbccddeeff"
BLOB = b"packed columns of doubles, one tick " * 200
CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))
DEPLOYMENT = "production/checkout-ranker"

_D = digest(BLOB)
SAMPLES: tuple[k.Body, ...] = (
    k.Session(event="opened", pid=41, host="laptop", command="console", program="rollback-console 0.1"),
    k.PolicyInForce(what="policy", name="ranking", version=7, digest=_D),
    k.TickRecorded(at=START, blob=_D, deployments=12, not_healthy=[DEPLOYMENT]),
    k.TransitionRecorded(
        at=START,
        before="healthy",
        after="pending",
        sentence="conversion 2.91 % is 8.4 % below 3.18 %",
        tick=_D,
        policy=_D,
        engine="0.1",
        memory_before={"at": None, "frozen_s": 0.0},
        memory_after={"at": START, "frozen_s": 1e-7},
        verdict={"state": "pending", "limit": 1e21, "signals": [{"name": "conversion", "value": 0.0291}]},
    ),
    k.IncidentRecorded(
        event="opened",
        id="i-3f2a",
        members=[DEPLOYMENT],
        onset=START,
        attribution="release",
        reasons=["v8 serves since 13:50"],
        sentence="v8 serves since 13:50",
    ),
    k.PointerMoved(at=START, model="checkout-ranker", alias="champion", before="8", after=None, ours=None),
    k.BackendChanged(name="prometheus", state="failing", detail="no answer within 5 s"),
    k.ClockJump(seconds=-3600.5),
    k.Requested(
        execution="x-17",
        plan=_D,
        plan_blob=_D,
        phrase="production/checkout-ranker v7",
        reason="conversion fell",
        person=PersonKey.from_seed("tests", "ada").sign(
            canonical(
                {
                    "schema": "rollback-console/request/v1",
                    "execution": "x-17",
                    "plan": _D,
                    "reason": "conversion fell",
                    "phrase": "production/checkout-ranker v7",
                    "at": START,
                    "expires_at": START,
                }
            )
        ),
    ),
    k.Refusal(act="execute", rule="rollback needs the role oncall", who_could="ada or grace could"),
    k.Intent(execution="x-17", step="set", detail="champion from 8 to 7", attempt=2),
    k.Outcome(execution="x-17", step="set", state="done", detail="the alias is at 7"),
    k.ExecutionEnded(execution="x-17", state="not confirmed", detail="too few visits by 15:20"),
    k.Ordered(execution="x-17", order="abort", reason="the wrong target"),
    k.Adopted(
        model="checkout-ranker", alias="champion", from_version="8", to_version="7", reason="by hand", moved_at=1.0
    ),
    k.WalkEvent(event="started", walk="w-2", runbook="model-version-rollback", digest=_D, incident="i-3f2a"),
    k.StepMarked(walk="w-2", step="2", title="Check the gate", state="skipped", reason="no gate here"),
    k.Note(text="é [/prod] \x1b[31m \U0001f602 =HYPERLINK(1)"),
    k.Snoozed(until=START + 1800, reason="known"),
    k.Claimed(incident="i-3f2a", role="commander", action="handover", to="bo"),
    k.AutomaticRecorded(event="announced", path="version", to_version="7", due=START + 60, words="v8 did it"),
    k.DrillSummary(scenario="bad release", seed=7, passed=False, detail={"score": 61.5}),
    k.Repaired(what="an unfinished execution", detail="x-17 has an intent without an outcome"),
    k.StretchExcluded(
        event="excluded", id="bl-1", start=START - 4_080.0, end=START, deployments=[DEPLOYMENT], reason="bad release"
    ),
    k.ChangeExpected(event="declared", id="ch-1", until=START + 2_400.0, reason="index rebuild"),
    k.Checkpointed(
        head_seq=24, head=_D, quiet_s=900.5, evaluations=60, deployments=12, wall="1763628153250000000", mono="42"
    ),
    k.SegmentBegun(
        chain=CHAIN,
        device="ssh-ed25519 AAAA",
        program="rollback-console 0.1",
        rehearsal=True,
        number=2,
        before="000000000001-000000000025.db",
        digest=_D,
        first_seq=1,
        last_seq=25,
        last=_D,
    ),
    k.BlobsDropped(older_than=START, blobs=3, size_bytes=504_000, files=[k.SegmentFile(name="1-25.db", digest=_D)]),
    k.EmergencyBegun(
        stands_in=k.StandsIn(chain=CHAIN, seq=28, hash=_D), problem="the disk is full", reason="conversion falls"
    ),
    k.EmergencyMerged(
        chain="ffeeddccbbaa99887766554433221100",
        device="ssh-ed25519 AAAA",
        entries=1,
        head=_D,
        blob=_D,
        stands_in=k.StandsIn(chain=CHAIN, seq=28, hash=_D),
        fits="at the head",
        reason="the disk has space again",
    ),
    k.Judged(
        subject="i-3f2a", root_cause="performance degradation", right="right", lessons=["gate on calibration"],
        published="https://wiki.invalid/i-3f2a",
    ),
    k.FollowedUp(event="opened", id="f-1", incident="i-3f2a", what="calibrate", owner="ada", due="2026-12-24"),
    k.Told(incident="i-3f2a", template="decision", audience="internal", text="v8 goes back to v7", how="copied"),
    k.Tagged(model="checkout-ranker", version="8", key="rollback.root_cause", value="too few rows", subject="i-3f2a"),
)  # fmt: skip
LAST = len(SAMPLES) + 1  # the last entry of one round


def device() -> DeviceKey:
    return DeviceKey.from_seed(SEED)


def new_journal(path: Path, clock: VirtualClock | None = None) -> Journal:
    return Journal.open(path, device=device(), clock=clock or VirtualClock(START), rehearsal=True, chain=CHAIN)


def full_journal(path: Path, rounds: int = 1) -> Path:
    """A closed journal with every kind `rounds` times (`LAST - 1` a round, and the genesis) and their blob."""
    with new_journal(path) as journal:
        journal.put_blob(BLOB)
        for _ in range(rounds):
            for number, body in enumerate(SAMPLES):
                who = ("ada", "grace", "")[number % 3]
                journal.append(body, deployment=DEPLOYMENT if number % 2 else "", operator=who)
    return path


def copy(source: Path, target: Path) -> Path:
    shutil.copy(source, target)
    return target


def unguarded(path: Path) -> sqlite3.Connection:
    """A connection as a tamperer has it: the append-only triggers gone, nothing synced."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = OFF")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    return connection


def stored(connection: sqlite3.Connection) -> list[Row]:
    return [Row._make(row) for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM entries ORDER BY seq")]


def put(connection: sqlite3.Connection, row: Row) -> None:
    marks = ", ".join("?" * len(COLUMNS))
    connection.execute(f"INSERT OR REPLACE INTO entries ({', '.join(COLUMNS)}) VALUES ({marks})", row)


def resealed(row: Row, key: DeviceKey) -> Row:
    """The row with a hash that fits, signed by `key`."""
    hash_ = row_hash(row)
    return row._replace(hash=hash_, signature=key.sign(message(hash_)))


def as_nobody(script: str, *arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run Python that calls `drop()` to give up root's right to ignore permissions (nothing to drop for others).
    Everything is imported before, since an unprivileged user may not reach the source tree."""
    prelude = (
        "import os, sys, sqlite3, pathlib\n"
        "from rollback_console.errors import *\n"
        "from rollback_console.clock import VirtualClock\n"
        "from rollback_console.journal import verify, store, device, kinds, diagnose, schema, locks\n"
        "def open_it(path):\n"
        "    key = device.DeviceKey.from_seed(b'tests')\n"
        "    return store.Journal.open(path, device=key, clock=VirtualClock(1.0), rehearsal=True)\n"
        "'x'.encode('utf-16be')\n"
        "def drop():\n"
        "    if os.geteuid() == 0:\n"
        "        os.setgid(65534); os.setuid(65534)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", prelude + script, *map(str, arguments)], capture_output=True, text=True, timeout=timeout
    )

"""What the tests of executions share: a fake registry that outlives its process, a clock without waits, a kill switch.

`FileRegistry` is a fake: a SQLite file with the few calls the alias driver makes, and a record of every write. It
stands in for MLflow where a test kills the process a hundred times; the `real` tests do some of it on MLflow itself.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rollback_console.execute.drivers.mlflow_alias import MlflowAliasDriver
from rollback_console.execute.plan import make_plan, phrase, with_checks
from rollback_console.execute.preflight import preflight
from rollback_console.execute.run import Recovery, RecoveryState
from rollback_console.execute.runner import Runner
from rollback_console.execute.target import Target
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Body
from rollback_console.journal.locks import ExecutionLock
from rollback_console.journal.store import Journal
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.plan import Execution, Plan
from rollback_console.model.registry import ModelVersion
from rollback_console.model.rules import (
    AuthorityRule,
    DeploymentRule,
    RecoveryPath,
    TriggerRule,
    Uses,
)

START = 1_790_000_000.0
MODEL, ALIAS = "checkout-ranker", "champion"
ID = DeploymentId("production", "checkout-ranker")
SIGNATURE = '{"inputs": "[{\\"name\\": \\"x\\", \\"type\\": \\"double\\"}]", "outputs": "[{\\"type\\": \\"double\\"}]"}'


class EagerClock:
    """A simulated clock whose sleepers wake at once: sleeping *is* what moves it."""

    def __init__(self, start: float = START) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now += max(0.0, seconds)
        await asyncio.sleep(0)


class FileRegistry:
    """A fake MLflow registry in a SQLite file. Versions 6, 7 and 8 exist; champion points to 8."""

    def __init__(self, path: Path) -> None:
        self._path = path
        fresh = not path.exists()
        with self._open() as db:
            db.executescript(
                "CREATE TABLE IF NOT EXISTS aliases (model, alias, version, PRIMARY KEY (model, alias));"
                "CREATE TABLE IF NOT EXISTS tags (model, version, key, value, PRIMARY KEY (model, version, key));"
                "CREATE TABLE IF NOT EXISTS versions (model, version, status, signature);"
                "CREATE TABLE IF NOT EXISTS writes (what, detail);"
            )
            if fresh:
                db.execute("INSERT INTO aliases VALUES (?, ?, '8')", (MODEL, ALIAS))
                for version in ("6", "7", "8"):
                    db.execute("INSERT INTO versions VALUES (?, ?, 'READY', ?)", (MODEL, version, SIGNATURE))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, isolation_level=None)

    def sql(self, text: str, *values: object) -> list[Any]:
        """Straight at the file: another hand than the driver's."""
        db = self._open()
        try:
            return db.execute(text, values).fetchall()
        finally:
            db.close()

    def by_hand(self, version: str) -> None:
        self.sql("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", MODEL, ALIAS, version)

    def moves(self) -> list[str]:
        """Every write of the pointer by the driver."""
        return [row[0] for row in self.sql("SELECT detail FROM writes WHERE what = 'pointer' ORDER BY rowid")]

    def marks(self) -> list[str]:
        """Every tag written to a version."""
        return [row[0] for row in self.sql("SELECT detail FROM writes WHERE what = 'tag' ORDER BY rowid")]

    async def read_pointer(self, model: str, alias: str) -> str | None:
        rows = self.sql("SELECT version FROM aliases WHERE model = ? AND alias = ?", model, alias)
        return str(rows[0][0]) if rows else None

    async def write_pointer(self, model: str, alias: str, version: str) -> None:
        db = self._open()
        with db:
            db.execute("BEGIN")
            db.execute("INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)", (model, alias, version))
            db.execute("INSERT INTO writes VALUES ('pointer', ?)", (version,))
        db.close()

    async def read_tags(self, model: str, version: str | None) -> dict[str, str]:
        rows = self.sql("SELECT key, value FROM tags WHERE model = ? AND version = ?", model, version or "")
        return {str(key): str(value) for key, value in rows}

    async def write_tag(self, model: str, version: str | None, key: str, value: str) -> None:
        db = self._open()
        with db:
            db.execute("BEGIN")
            db.execute("INSERT OR REPLACE INTO tags VALUES (?, ?, ?, ?)", (model, version or "", key, value))
            if version:
                db.execute("INSERT INTO writes VALUES ('tag', ?)", (f"v{version} {key}",))
        db.close()

    async def delete_tag(self, model: str, version: str | None, key: str) -> None:
        self.sql("DELETE FROM tags WHERE model = ? AND version = ? AND key = ?", model, version or "", key)

    async def version(self, model: str, version: str) -> ModelVersion | None:
        rows = self.sql("SELECT status, signature FROM versions WHERE model = ? AND version = ?", model, version)
        return ModelVersion(model, version, rows[0][0], signature=rows[0][1]) if rows else None


class Serving:
    """Serving that follows the pointer, and signals that recover `after_s` later."""

    def __init__(
        self, registry: FileRegistry, clock: EagerClock, *, after_s: float = 60.0, ask: bool = True, stuck: str = ""
    ) -> None:
        self.registry, self.clock, self.after_s, self.ask, self.stuck = registry, clock, after_s, ask, stuck
        self.since: list[float] = []

    async def serving_version(self, deployment: DeploymentId) -> str | None:
        return self.stuck or await self.registry.read_pointer(MODEL, ALIAS)

    def can_tell_serving(self, deployment: DeploymentId) -> bool:
        return self.ask

    def earliest(self, deployment: DeploymentId, since: float) -> float:
        return since + self.after_s

    async def recovered(self, deployment: DeploymentId, since: float) -> Recovery:
        self.since.append(since)
        good = self.clock.now() >= since + self.after_s
        return Recovery(RecoveryState.CONFIRMED, "conversion 3.1 %") if good else Recovery(RecoveryState.VERIFYING)


class KillSwitch:
    """Counts boundaries; at the chosen one the process dies, by SIGKILL, as a power cut would have it."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed: list[str] = []

    def boundary(self, name: str) -> None:
        if self.at is not None and len(self.passed) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed.append(name)


class WatchedJournal:
    """The real Journal with a boundary before and after everything that is written."""

    def __init__(self, journal: Journal, switch: KillSwitch) -> None:
        self._journal, self._switch = journal, switch
        self.chain = journal.chain

    def append(self, body: Body, *, deployment: str = "", operator: str = "") -> Entry:
        name = f"{body.kind} {getattr(body, 'step', '')}"
        self._switch.boundary(f"before {name}")
        entry = self._journal.append(body, deployment=deployment, operator=operator)
        self._switch.boundary(f"after {name}")
        return entry

    def append_all(self, items: Sequence[tuple[Body, str, str]], blobs: Sequence[bytes] = ()) -> tuple[Entry, ...]:
        name = " ".join(f"{body.kind} {getattr(body, 'step', '')}" for body, _, _ in items)
        self._switch.boundary(f"before {name}")
        entries = self._journal.append_all(items, blobs)
        self._switch.boundary(f"after {name}")
        return entries

    def put_blob(self, data: bytes) -> str:
        self._switch.boundary("before blob")
        return self._journal.put_blob(data)

    def get_blob(self, digest: str) -> bytes | None:
        return self._journal.get_blob(digest)

    def entries(self, after: int = 0, kinds: Sequence[str] = (), limit: int | None = None) -> Iterator[Entry]:
        return self._journal.entries(after, kinds, limit)

    def head(self) -> tuple[int, str]:
        return self._journal.head()


class WatchedRegistry:
    """Any alias registry with a boundary before and after every write."""

    def __init__(self, registry: Any, switch: KillSwitch) -> None:
        self._registry, self._switch = registry, switch

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._registry, name)
        if not name.startswith(("write", "delete")):
            return call

        async def watched(*arguments: object) -> object:
            self._switch.boundary(f"before {name}")
            result = await call(*arguments)
            self._switch.boundary(f"after {name}")
            return result

        return watched


def rule(repromoted_by: str | None = None) -> DeploymentRule:
    deployment = Deployment(ID, "critical", MODEL, ALIAS, (("deployment", MODEL),), repromoted_by=repromoted_by)
    path = RecoveryPath("version", "mlflow-alias", "last_known_good", 60.0, 600.0, AuthorityRule(expires_s=1800.0))
    return DeploymentRule(deployment, (), TriggerRule(Uses("x"), "x"), (path,), "ranking", 7, "ab" * 32)


async def plan_for(driver: MlflowAliasDriver, now: float, *, to: str = "7", of: DeploymentRule | None = None) -> Plan:
    """A plan from v8, with its checks as they are now."""
    about = of or rule()
    plan = make_plan(
        rule=about, path=about.recovery[0], from_version="8", target=Target(to, "a test names it"),
        manual=driver.manual, now=now,
    )  # fmt: skip
    return with_checks(plan, await preflight(plan, driver, about.deployment, None, now))


class Bench:
    """A whole execution room in one folder: open it again after a kill, and everything durable is still there."""

    def __init__(
        self,
        folder: Path,
        *,
        at: int | None = None,
        start: float = START,
        seed: int = 1,
        registry: Any = None,
        **runner: Any,
    ) -> None:
        self.folder = folder
        self.clock = EagerClock(start)
        self.switch = KillSwitch(at)
        self.files = registry or FileRegistry(folder / "registry.db")
        self.path = folder / "journal.db"
        device = DeviceKey.from_seed(b"d" * 32)
        self.real_journal = Journal.open(self.path, device=device, clock=self.clock)
        self.journal = WatchedJournal(self.real_journal, self.switch)
        self.driver = MlflowAliasDriver(WatchedRegistry(self.files, self.switch), now=self.clock.now)
        self.serving = Serving(self.files, self.clock)
        self.changes: list[Execution] = []
        options: dict[str, Any] = {
            "lock_of": lambda name: ExecutionLock(self.path, name),
            "on_change": self.changes.append,
            "random": random.Random(seed),
            "observer": self.serving,
            "driver": self.driver,
        } | runner
        self.runner = Runner(
            self.journal, {"mlflow-alias": options.pop("driver")}, self.clock, options.pop("observer"), **options
        )

    async def start(self, operator: str = "ana") -> str:
        plan = await plan_for(self.driver, self.clock.now())
        return await self.runner.start(plan, operator, "v8 hurts", phrase(plan))

    async def whole(self) -> Execution:
        """From the plan to the end."""
        return await self.runner.wait(await self.start())

    def bodies(self, kind: str) -> list[Any]:
        return [entry.parsed() for entry in self.real_journal.entries(kinds=(kind,))]


def in_child(work: Callable[[], None]) -> int:
    """`work` in a process of its own; its wait status. A Python error there is exit 1."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def was_killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def changed(plan: Plan, **fields: Any) -> Plan:
    return replace(plan, **fields)

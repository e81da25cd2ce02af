"""A whole console for fault tests: real files, journal, engine, clients and screen; what it talks to can be broken.

`FakePrometheus` and `FakeMlflow` are fakes, named as such: they speak the two HTTP APIs over a real socket (a
`FaultyServer`, so that every fault can be switched on and off in the middle of it), and what they answer is a pure
function of the time asked for, so that a console which met an outage can be compared with one that never did.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import subprocess
import time
import urllib.parse
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from textual.pilot import Pilot

from rollback_console.cli.compose import live as live_seat
from rollback_console.cli.console import console_app
from rollback_console.cli.status import evaluate
from rollback_console.engine.acts import Acts
from rollback_console.engine.loop import Engine
from rollback_console.journal.entry import Entry
from rollback_console.journal.store import Journal
from rollback_console.model.observation import BackendHealth
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import Verdict
from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.widgets.fleet import FleetView
from servers.faulty import FaultyServer, response

NAMES = ("ranker", "feed", "search")
MODEL, ALIAS = "ranker", "champion"

POLICY = """\
schema: rollback-console/policy/v1
name: faults
version: 1
mode: advise
deployments:
{deployments}
signals:
  errors:
    area: technical
    worse: higher
    value: sum by (deployment) (error_ratio)
    window: 1s
    unit: "%"
    breach: {{above: 2%}}
  volume:
    area: technical
    worse: lower
    value: sum by (deployment) (volume)
    window: 1s
    breach: {{below: 1}}
trigger:
  when: errors or volume
  dwell: {dwell}
  hold: {hold}
  cool_down: 1m
  blind_dwell: {blind_dwell}
impact:
  revenue_per_minute: {{value: sum by (deployment) (revenue), unit: USD}}
recovery:
  - path: version
    driver: mlflow-alias
    target: "7"
    verify: {{for: 1s, within: 20s}}
    authority: {{request: [oncall], approve: {{of: [], count: 0}}, expires: 30m}}
runbook: model-version-rollback.md
"""

_DEPLOYMENT = """\
  - name: {name}
    environment: production
    tier: critical
    model: {{name: {model}, alias: champion}}
    labels: {{deployment: {name}}}
    serving_version: model_info{{deployment="$deployment"}}
"""


def write_console(
    folder: Path,
    prometheus: str,
    registry: str,
    *,
    names: tuple[str, ...] = NAMES,
    models: Mapping[str, str] | None = None,
    dwell: str = "4s",
    hold: str = "4s",
    blind_dwell: str = "5m",
    timeout: str = "1s",
    operator: str = "oncall-1",
    operator_name: str = "On Call",
    lookback: str = "2m",
    policy: str = POLICY,
    more: str = "",
) -> Path:
    """Settings, policy, roster and an operator's key in `folder`; returns the settings' path."""
    folder.mkdir(parents=True, exist_ok=True)
    deployments = "".join(
        _DEPLOYMENT.format(name=json.dumps(name), model=json.dumps((models or {}).get(name, name))) for name in names
    )
    (folder / "policy.yaml").write_text(
        policy.format(deployments=deployments, dwell=dwell, hold=hold, blind_dwell=blind_dwell)
    )
    key = folder / "operator.key"
    if not key.exists():
        private = Ed25519PrivateKey.generate()
        key.touch(0o600)
        key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        public = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        (folder / "roster.yaml").write_text(
            "schema: rollback-console/roster/v1\noperators:\n"
            f"  - id: {json.dumps(operator)}\n    name: {json.dumps(operator_name)}\n    roles: [oncall]\n"
            f'    keys: ["{public} x"]\n'
        )
    settings = folder / "settings.yaml"
    settings.write_text(
        "schema: rollback-console/settings/v1\n"
        f"prometheus: {{url: {prometheus}, step: 1s, timeout: {timeout}}}\n"
        f"registry: {{kind: mlflow, url: {registry}, timeout: {timeout}}}\n"
        f"evaluate_every: 1s\ndelay: 0s\nlookback: {lookback}\n"
        "budget: {queries_per_minute: 20000}\n"
        "policies: [policy.yaml]\nroster: roster.yaml\njournal: journal.db\n"
        f"operator: {json.dumps(operator)}\n" + more
    )
    return settings


def environment(folder: Path) -> dict[str, str]:
    """What a console's process needs to see: a home of its own, the operator's key, no keyring, no agent."""
    return {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "ROLLBACK_CONSOLE_KEY": (folder / "operator.key").read_text(),
        "SSH_AUTH_SOCK": "",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PATH": os.environ.get("PATH", ""),
    }


Value = Callable[[float], float | None]


class FakePrometheus:
    """A fake: `metrics[(metric, deployment)]` gives the value at a time, None for no sample. Anything else about it
    (hanging, half a document, ...) is `server.fault`."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.server = FaultyServer()
        self.server.answer = self._answer
        self.versions: Callable[[str, float], str] = lambda name, at: "8"
        self.metrics: dict[tuple[str, str], Value] = {}
        for name in names:
            self.metrics["error_ratio", name] = lambda at: 0.001
            self.metrics["volume", name] = lambda at: 50.0
            self.metrics["revenue", name] = lambda at: 100.0
        self.names = names
        self.refusal: bytes | None = None  # the body of a 400 instead of any answer

    @property
    def url(self) -> str:
        return self.server.url

    def _answer(self, first: str, headers: Mapping[str, str], body: bytes) -> bytes:
        if self.refusal is not None:
            return response("400 Bad Request", self.refusal, "Content-Type: application/json")
        target = urllib.parse.urlsplit(first.split(" ")[1])
        fields = dict(urllib.parse.parse_qsl(target.query) + urllib.parse.parse_qsl(body.decode()))
        if target.path.endswith("/query_range"):
            start, end, step = (float(fields[name]) for name in ("start", "end", "step"))
            times = [start + k * step for k in range(round((end - start) / step) + 1)]
            series = [
                {"metric": labels, "values": [[at, str(v)] for at in times if (v := value(at)) is not None]}
                for labels, value in self._series(fields["query"], end)
            ]
            return self._ok("matrix", [one for one in series if one["values"]])
        if target.path.endswith("/query"):
            at = float(fields["time"])
            if fields["query"].startswith("vector("):
                return self._ok("vector", [{"metric": {}, "value": [at, "1"]}])
            found = [(labels, value(at)) for labels, value in self._series(fields["query"], at)]
            return self._ok("vector", [{"metric": m, "value": [at, str(v)]} for m, v in found if v is not None])
        return self._ok("string", [])

    def _series(self, query: str, at: float) -> list[tuple[dict[str, str], Value]]:
        if "model_info" in query:
            return [({"deployment": n, "version": self.versions(n, at)}, lambda _: 1.0) for n in self.names]
        metric = re.search(r"error_ratio|volume|revenue", query)
        wanted = metric[0] if metric else ""
        return [({"deployment": n}, value) for (m, n), value in self.metrics.items() if m == wanted]

    @staticmethod
    def _ok(kind: str, result: Any) -> bytes:
        found = {"status": "success", "data": {"resultType": kind, "result": result}}
        return response("200 OK", json.dumps(found).encode(), "Content-Type: application/json")


class FakeMlflow:
    """A fake registry over HTTP: models with v6 to v8, an alias at v8. `sets` counts the writes of the pointer."""

    def __init__(self, models: tuple[str, ...] = NAMES) -> None:
        self.server = FaultyServer()
        self.server.answer = self._answer
        self.aliases = {model: {ALIAS: "8"} for model in models}
        self.tags: dict[tuple[str, str], dict[str, str]] = {}
        self.sets: list[tuple[str, str]] = []
        self.description = ""
        self.status = "READY"
        self.run_id = ""
        self.params: dict[str, str] = {}
        self.before: Callable[[str, str], None] = lambda method, path: None  # called with each request

    @property
    def url(self) -> str:
        return self.server.url

    def _answer(self, first: str, headers: Mapping[str, str], body: bytes) -> bytes:
        method, where, _ = first.split(" ")
        target = urllib.parse.urlsplit(where)
        path = target.path.removeprefix("/api/2.0/mlflow/")
        fields = dict(urllib.parse.parse_qsl(target.query)) if method == "GET" else json.loads(body or b"{}")
        self.before(method, path)
        if self.server.fault != "ok":  # it broke this very moment
            return b""
        try:
            found = self._do(method, path, fields)
        except KeyError:
            missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "not found"}
            return response("404 Not Found", json.dumps(missing).encode(), "Content-Type: application/json")
        return response("200 OK", json.dumps(found).encode(), "Content-Type: application/json")

    def _do(self, method: str, path: str, fields: dict[str, str]) -> dict[str, Any]:
        name = fields.get("name", "")
        if path == "registered-models/search":
            return {"registered_models": [self._model(model) for model in self.aliases]}
        if path == "registered-models/get":
            return {"registered_model": self._model(name)}
        if path == "registered-models/alias":
            if method == "GET":
                return {"model_version": self._version(name, self.aliases[name][fields["alias"]])}
            self.aliases[name][fields["alias"]] = fields["version"]
            self.sets.append((name, fields["version"]))
            return {}
        if path == "model-versions/search":
            wanted = re.search(r"""name=(['"])(.*)\1""", fields["filter"], re.DOTALL)
            model = wanted[2] if wanted else ""
            return {"model_versions": [self._version(model, v) for v in ("8", "7", "6")]}
        if path == "model-versions/get":
            return {"model_version": self._version(name, fields["version"])}
        if path.endswith(("set-tag", "delete-tag")):
            tags = self.tags.setdefault((name, fields.get("version", "")), {})
            tags.pop(fields["key"], None) if path.endswith("delete-tag") else tags.update(
                {fields["key"]: fields["value"]}
            )
            return {}
        if path == "runs/get":
            pairs = [{"key": key, "value": value} for key, value in self.params.items()]
            info = {"run_id": fields["run_id"], "run_name": self.description or "train", "start_time": 1}
            return {"run": {"info": info, "data": {"params": pairs, "tags": pairs}}}
        raise KeyError(path)

    def _model(self, name: str) -> dict[str, Any]:
        aliases = [{"alias": alias, "version": version} for alias, version in self.aliases[name].items()]
        return {"name": name, "aliases": aliases, "tags": self._tags(name, "")}

    def _version(self, name: str, version: str) -> dict[str, Any]:
        if name not in self.aliases or version not in ("6", "7", "8"):
            raise KeyError(name)
        return {
            "name": name, "version": version, "status": self.status, "description": self.description,
            "creation_timestamp": 1_700_000_000_000, "run_id": self.run_id, "tags": self._tags(name, version),
        }  # fmt: skip

    def _tags(self, name: str, version: str) -> list[dict[str, str]]:
        return [{"key": key, "value": value} for key, value in self.tags.get((name, version), {}).items()]


# A console running in this process, driven by keys.


class Live:
    """The app of `rollback-console` itself, under Textual's Pilot."""

    def __init__(self, app: ConsoleApp, pilot: Pilot[None]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def snapshot(self) -> Snapshot:
        assert self.app.snapshot is not None, self.app.problem
        return self.app.snapshot

    @property
    def engine(self) -> Engine:
        commands = self.app.commands
        assert isinstance(commands, Acts)
        return commands.engine

    @property
    def acts(self) -> Acts:
        assert isinstance(self.app.commands, Acts)
        return self.app.commands

    def verdict(self, name: str = "ranker") -> Verdict:
        found = next(view.verdict for view in self.snapshot.deployments if view.id.name == name)
        assert found is not None
        return found

    def backend(self, name: str) -> BackendHealth:
        return next(backend for backend in self.snapshot.backends if backend.name == name)

    @property
    def screen(self) -> str:
        """What the terminal would show now."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips()
        assert all(strip.cell_length == width for strip in lines)
        assert len(lines) == height
        return "\n".join("".join(segment.text for segment in strip) for strip in lines)

    async def until(self, condition: Callable[[], object], within: float = 10.0, what: str = "") -> None:
        """Wait until it holds, while the app runs; fails with the screen otherwise."""
        limit = time.monotonic() + within
        while not condition():
            assert self.app.is_running, self.app._exception
            if time.monotonic() > limit:
                raise AssertionError(f"not within {within} s: {what}\n{self.snapshot.notice}\n{self.screen}")
            await asyncio.sleep(0.02)  # the app runs meanwhile

    async def key_answers(self, key: str = "j") -> float:
        """Seconds from a key to the selection that it moved."""
        fleet = self.app.screen.query_one(FleetView)
        before, started = fleet.selected, time.monotonic()
        pressing = asyncio.create_task(self.pilot.press(key))
        while fleet.selected == before:
            assert time.monotonic() - started < 10, "the key did not answer"
            await asyncio.sleep(0.002)
        took = time.monotonic() - started
        await pressing
        return took


@asynccontextmanager
async def running(
    settings: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] = (120, 40), journal: Path | None = None
) -> AsyncIterator[Live]:
    """The live console on these settings, evaluated once and its operator known."""
    for name, value in environment(settings.parent).items():
        monkeypatch.setenv(name, value)
    app = console_app(config=settings, journal=journal)
    async with app.run_test(size=size) as pilot:
        live = Live(app, pilot)
        limit = time.monotonic() + 20
        while app.snapshot is None or app.snapshot.evaluated_at is None or app.snapshot.operator is None:
            assert time.monotonic() < limit, (app.problem, app.snapshot and app.snapshot.notice)
            await asyncio.sleep(0.02)
        yield live


async def cold_states(settings: Path, journal: Path) -> dict[str, tuple[str, float | None]]:
    """(state, since) of every deployment as a console sees them that opens now and was never there before."""
    seat = live_seat(settings, journal, command="status", writes=False)
    try:
        snapshot = await evaluate(seat)
    finally:
        await seat.close()
    return {v.id.name: (str(v.verdict.state), v.verdict.since) for v in snapshot.deployments if v.verdict is not None}


def bodies(path: Path, *kinds: str) -> list[tuple[Entry, Any]]:
    """The journal's entries of these kinds, with their bodies."""
    with Journal.open_read_only(path) as journal:
        return [(entry, entry.parsed()) for entry in journal.entries(kinds=kinds)]


def transitions(path: Path, name: str) -> list[tuple[str, str, float]]:
    """(before, after, at) of one deployment, as recorded."""
    found = bodies(path, "transition")
    return [(b.before, b.after, b.at) for entry, b in found if entry.deployment == f"production/{name}"]


def unbroken(changes: list[tuple[str, str, float]]) -> bool:
    """Does every change begin where the one before ended, at a later time."""
    return all(a[1] == b[0] and a[2] < b[2] for a, b in pairwise(changes))


class Disk:
    """A folder on a disk of a megabyte that can be filled and freed; without root, files that may not grow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mounted = os.geteuid() == 0
        self._ballast = folder / "ballast"
        self._limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        if not self.mounted:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, self._limit[1]))
            return
        with self._ballast.open("wb", buffering=0) as file:
            block = b"\0" * 65_536
            while block:
                try:
                    file.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def free(self) -> None:
        if self.mounted:
            self._ballast.unlink(missing_ok=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limit)

    def make_read_only(self) -> None:
        if self.mounted:
            subprocess.run(["mount", "-o", "remount,ro", str(self.folder)], check=True)
        else:
            self.folder.chmod(0o555)

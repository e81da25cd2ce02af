"""A scenario on the real stack: a real Prometheus, a real MLflow, and model services whose traffic follows its world.

The world is the very one of a simulated drill, on the wall's clock. Its services answer real scrapes; what they count
is what the world draws, of the version that the real registry's alias points to. Prometheus begins with the world's
past: the hours before, and the same hours a week ago. What the scenario lets others do to a pointer is done in the
registry.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from rollback_console.clock import WallClock
from rollback_console.errors import BackendUnreachable, UsageError
from rollback_console.model.registry import ModelVersion
from rollback_console.model.text import plain
from rollback_console.rehearse.fleet import FaultKind
from rollback_console.rehearse.grid import aligned
from rollback_console.rehearse.sandbox.fleet_service import Fleet
from rollback_console.rehearse.sandbox.processes import Group, free_port
from rollback_console.rehearse.sandbox.rest import Mlflow, RestProblem
from rollback_console.rehearse.sandbox.stack import LIGHT, STARTS_S, program
from rollback_console.rehearse.scenario import Scenario
from rollback_console.rehearse.setup import Setup

_HOUR_S, _DAY_S, _WEEK_S = 3600.0, 86_400.0, 7 * 86_400.0
_PAST_S = 6 * _HOUR_S  # as far back as a rehearsal's console looks
_SCRAPES_S = 30.0  # until real scrapes come in: the past is written so far ahead, or there would be a gap
_LEAD_S = 45.0  # from where the story's beginning is fixed until everything stands


class Scene:
    """The processes and where they answer. Use as a context manager: entering starts them (half a minute and more),
    leaving ends them all."""

    def __init__(
        self, scenario: Scenario, seed: int, folder: Path, *, policy: Path | None = None, mode: str | None = None,
        prometheus: str = "",
    ) -> None:  # fmt: skip
        """Raises UsageError where a program that is needed is not there, or the scenario cannot be played for real."""
        self._scenario, self._seed, self._folder = scenario, seed, folder
        self._policy, self._mode = policy, mode
        self._prometheus, self._promtool = program(prometheus), _promtool(prometheus)
        if importlib.util.find_spec("mlflow") is None:
            raise UsageError("a real registry needs MLflow", "pip install 'rollback-console[sandbox]'")
        self._ending = ExitStack()
        self.group = Group(folder / "logs")
        self.prometheus_url = f"http://127.0.0.1:{free_port()}"
        self.registry_url = f"http://127.0.0.1:{free_port()}"
        self.registry = Mlflow(self.registry_url)
        self._fleet: Fleet | None = None
        _playable(self._staged(aligned(time.time())), scenario.name)
        self.setup: Setup

    def __enter__(self) -> Scene:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._ending.callback(self.group.stop)
            self._start()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def dead(self) -> str | None:
        """The name of a process that ended by itself, or None."""
        return self.group.dead()

    def _staged(self, start: float) -> Setup:
        return self._scenario.stage(self._seed, start, WallClock(), policy=self._policy, mode=self._mode)

    def _start(self) -> None:
        port = self.registry_url.rpartition(":")[2]
        database = self._folder / "mlflow.db"
        self.group.start(
            "mlflow",
            [
                sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", port,
                "--backend-store-uri", f"sqlite:///{database}",
                "--artifacts-destination", str(self._folder / "artifacts"),
            ],
            {**os.environ, **LIGHT},
        )  # fmt: skip
        self.group.wait_for("mlflow", self.registry.alive, STARTS_S)
        self.setup = self._staged(aligned(time.time() + _LEAD_S))
        try:
            _fill(self.registry, database, self.setup)
        except (RestProblem, KeyError, TypeError, sqlite3.Error) as problem:
            raise BackendUnreachable(
                f"the registry could not be filled: {plain(problem, 300)}", "look into its log"
            ) from None
        self._fleet = Fleet(self.setup, self.registry)
        self._ending.callback(self._fleet.stop)
        self._fleet.start()
        self._fill_prometheus()
        self._start_prometheus(self._fleet.ports)

    def _fill_prometheus(self) -> None:
        """The world's past as blocks: as much of it as a console asks for (`engine.versions`, `engine.backfill`)."""
        assert self._fleet is not None  # noqa: S101 - `_start` made it
        start, end = self.setup.start, self.setup.start + self._scenario.lasts_s
        two_days_ago = start // _DAY_S * _DAY_S - 2 * _DAY_S  # what a version of long standing is compared with
        stretches = (
            (start - _WEEK_S - _HOUR_S, end - _WEEK_S + _HOUR_S),
            (two_days_ago - 2 * _HOUR_S, two_days_ago + _HOUR_S),
            (start - _PAST_S, max(start, aligned(time.time()) + _SCRAPES_S)),
        )
        exposition, blocks = self._folder / "past.om", str(self._folder / "tsdb")
        with exposition.open("w") as file:
            file.writelines(self._fleet.past(stretches, two_days_ago - _PAST_S))
        done = subprocess.run(  # noqa: S603 - Prometheus' own tool on our own file
            [self._promtool, "tsdb", "create-blocks-from", "openmetrics", str(exposition), blocks],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise BackendUnreachable(
                "promtool could not write the past: " + plain(done.stderr.decode("utf-8", "replace")[-300:]),
                "is there room on the disk?",
            )
        exposition.unlink()

    def _start_prometheus(self, ports: dict[str, int]) -> None:
        config = self._folder / "prometheus.yml"
        # Series bear the very labels of the past, and none that a real scrape would add to it.
        drop = [{"action": "labeldrop", "regex": "instance"}]
        targets = [{"targets": [f"127.0.0.1:{port}"]} for port in ports.values()]
        job = {
            "job_name": "model-service", "honor_labels": True, "static_configs": targets,
            "metric_relabel_configs": drop,
        }  # fmt: skip
        slot_s = self.setup.world.slot_s
        scrapes = {"scrape_interval": f"{slot_s:g}s", "scrape_timeout": "5s"}
        config.write_text(json.dumps({"global": scrapes, "scrape_configs": [job]}, indent=1))
        self.group.start(
            "prometheus",
            [
                self._prometheus, f"--config.file={config}", f"--storage.tsdb.path={self._folder / 'tsdb'}",
                f"--web.listen-address={self.prometheus_url.removeprefix('http://')}",
                "--storage.tsdb.retention.time=30d",
                f"--query.lookback-delta={3 * slot_s:g}s",  # a written past cannot say that a series ended
            ],
        )  # fmt: skip
        self.group.wait_for("prometheus", lambda: _ready(self.prometheus_url), STARTS_S)


def _promtool(prometheus: str) -> str:
    beside = Path(prometheus).parent / "promtool" if prometheus else None
    found = shutil.which(str(beside) if beside is not None and beside.is_file() else "promtool")
    if found is None:
        raise UsageError("there is no promtool on PATH", "it comes with Prometheus (Debian: apt install prometheus)")
    return found


def _ready(url: str) -> bool:
    """Does a Prometheus answer questions."""
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=2.0) as answer:  # noqa: S310 - our own, on loopback
            return bool(answer.status == 200)
    except OSError:
        return False


def _playable(setup: Setup, name: str) -> None:
    """Raises UsageError for what only a simulated world can do: break the console's own backends."""
    broken = {fault.kind for fault in setup.world.faults} | set(setup.world.may_break())
    ours = sorted(str(kind) for kind in broken & {FaultKind.METRICS, FaultKind.REGISTRY})
    if ours:
        raise UsageError(
            f"{plain(name, 80)} breaks the console's own backends ({', '.join(ours)}), which stay whole here",
            "play it without --real",
        )
    for deployment in setup.world.deployments:
        for version in deployment.versions:
            if not version.version.isdecimal() or not 0 < int(version.version) < 2**31:
                raise UsageError(
                    f"MLflow has no version {plain(version.version, 40)}", "its versions are whole numbers"
                )


# -- the registry -----------------------------------------------------------------------------------------------------


def _fill(server: Mlflow, database: Path, setup: Setup) -> None:
    """Register what the world's registry knows. MLflow numbers versions itself and dates them today: their numbers and
    times are set in its database, which is ours."""
    world = setup.world
    for model in sorted({deployment.model for deployment in world.deployments}):
        owners = [deployment for deployment in world.deployments if deployment.model == model]
        server.post("registered-models/create", {"name": model})
        experiment = str(server.post("experiments/create", {"name": model})["experiment_id"])
        for version in sorted(owners[0].versions, key=lambda each: int(each.version)):
            _register(server, database, experiment, version)
        for alias in sorted({deployment.alias for deployment in owners}):
            points = world.pointer(model, alias, setup.start)
            if points is not None:
                server.post("registered-models/alias", {"name": model, "alias": alias, "version": points})


def _register(server: Mlflow, database: Path, experiment: str, version: ModelVersion) -> None:
    run = _run(server, experiment, version) if version.run is not None else None
    body: dict[str, object] = {"name": version.model, "description": version.description}
    body |= {"source": version.source} if run is None else {"source": f"runs:/{run}/model", "run_id": run}
    given = str(server.post("model-versions/create", body)["model_version"]["version"])
    created = round((version.created_at or time.time()) * 1000)
    with sqlite3.connect(database, timeout=30.0) as rows:
        rows.execute(
            "UPDATE model_versions SET version = ?, creation_time = ?, last_updated_time = ?, status = ? "
            "WHERE name = ? AND version = ?",
            (int(version.version), created, created, version.status, version.model, int(given)),
        )
    rows.close()
    for key, value in version.tags:
        server.post(
            "model-versions/set-tag", {"name": version.model, "version": version.version, "key": key, "value": value}
        )


def _run(server: Mlflow, experiment: str, version: ModelVersion) -> str:
    run = version.run
    assert run is not None  # noqa: S101 - the caller looked
    began = round((run.started_at or time.time()) * 1000)
    made = server.post("runs/create", {"experiment_id": experiment, "run_name": run.name, "start_time": began})
    number = str(made["run"]["info"]["run_id"])
    tags = dict(run.tags)
    if version.signature:
        signature = {key: json.dumps(value) for key, value in json.loads(version.signature).items()}
        history = [{"run_id": number, "artifact_path": "model", "signature": signature, "flavors": {}}]
        tags["mlflow.log-model.history"] = json.dumps(history)
    server.post(
        "runs/log-batch",
        {
            "run_id": number,
            "params": [{"key": key, "value": value} for key, value in run.params],
            "metrics": [{"key": key, "value": value, "timestamp": began, "step": 0} for key, value in run.metrics],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        },
    )
    server.post("runs/update", {"run_id": number, "status": "FINISHED", "end_time": began + 3_600_000})
    return number

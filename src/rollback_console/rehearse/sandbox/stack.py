"""The whole real stack on one machine: Prometheus, MLflow, three model services, traffic. Loopback and free ports."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

from rollback_console.errors import UsageError
from rollback_console.model.value import dataclass
from rollback_console.rehearse.sandbox import registry
from rollback_console.rehearse.sandbox.files import Places, write_configuration, write_prometheus
from rollback_console.rehearse.sandbox.processes import Group, free_port
from rollback_console.rehearse.sandbox.rest import Mlflow

_RATES = {"checkout-ranker": (30.0, 12.0), "home-feed": (25.0, 2.0), "search-rank": (25.0, 4.0)}  # visitors/s, value
_EAGERNESS = 0.7
STARTS_S = 120.0  # MLflow makes its tables first; slow on a busy machine
LIGHT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the sandbox is to be. `prometheus`: a path, or "" to look on PATH."""

    folder: Path
    prometheus: str = ""
    dwell: str = "30s"
    target: str = "last_known_good"
    seed: int = 1


class Stack:
    """The processes, and where they answer. Use as a context manager: leaving it ends them all."""

    def __init__(self, wanted: Wanted) -> None:
        """Raises `UsageError` where a program that is needed is not there."""
        self._wanted = wanted
        self._prometheus = program(wanted.prometheus)
        if importlib.util.find_spec("mlflow") is None or importlib.util.find_spec("prometheus_client") is None:
            raise UsageError(
                "the sandbox needs MLflow and prometheus-client", "pip install 'rollback-console[sandbox]'"
            )
        self.places = Places(wanted.folder)
        self.ports = {name: free_port() for name in registry.MODELS}
        self.prometheus_url = f"http://127.0.0.1:{free_port()}"
        self.registry_url = f"http://127.0.0.1:{free_port()}"
        self.registry = Mlflow(self.registry_url)
        self.group = Group(self.places.logs)

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self.group.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.group.stop()

    def release(self, version: str) -> None:
        """Point checkout-ranker's alias somewhere. Raises `RestProblem`."""
        registry.point(self.registry, "checkout-ranker", version)

    def serving(self, deployment: str) -> str | None:
        """The version that a service says it serves, or None where it does not answer."""
        return _version(self.ports[deployment])

    def console_environment(self) -> dict[str, str]:
        """The environment of a console on this sandbox: the operator's key."""
        return {**os.environ, "ROLLBACK_CONSOLE_KEY": self.places.key.read_text()}

    def _start(self) -> None:
        self.places.folder.mkdir(parents=True, exist_ok=True)
        folder = self.places.folder
        registry_port = self.registry_url.rpartition(":")[2]
        self.group.start(
            "mlflow",
            [
                sys.executable, "-m", "mlflow", "server", "--workers", "1",
                "--host", "127.0.0.1", "--port", registry_port,
                "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
                "--artifacts-destination", str(folder / "artifacts"),
            ],
            {**os.environ, **LIGHT},
        )  # fmt: skip
        self._start_prometheus()
        write_configuration(
            self.places, self.prometheus_url, self.registry_url, self._wanted.dwell, self._wanted.target
        )
        self.group.wait_for("mlflow", self.registry.alive, STARTS_S)
        registry.fill(self.registry)
        for name, port in self.ports.items():
            self.group.start(
                name,
                [
                    sys.executable, "-m", "rollback_console.rehearse.sandbox.service",
                    "--model", name, "--alias", registry.ALIAS, "--registry", self.registry_url, "--port", str(port),
                ],
            )  # fmt: skip
        for name, port in self.ports.items():
            self.group.wait_for(name, lambda port=port: _version(port) is not None, 30.0)  # type: ignore[misc]
        self._start_traffic()
        self._write_facts()

    def _start_prometheus(self) -> None:
        config = write_prometheus(self.places, self.ports)
        self.group.start(
            "prometheus",
            [
                self._prometheus, f"--config.file={config}", f"--storage.tsdb.path={self.places.folder / 'tsdb'}",
                f"--web.listen-address={self.prometheus_url.removeprefix('http://')}",
                "--storage.tsdb.retention.time=1d",
            ],
        )  # fmt: skip

    def _start_traffic(self) -> None:
        command = [sys.executable, "-m", "rollback_console.rehearse.sandbox.traffic", "--seed", str(self._wanted.seed)]
        for name, (rate, value) in _RATES.items():
            command += ["--target", f"{self.ports[name]}:{rate}:{_EAGERNESS}:{value}"]
        self.group.start("traffic", command)

    def _write_facts(self) -> None:
        facts = {
            "prometheus": self.prometheus_url,
            "registry": self.registry_url,
            "services": {name: f"http://127.0.0.1:{port}" for name, port in self.ports.items()},
            "settings": str(self.places.settings),
            "key": str(self.places.key),
            "pids": self.group.pids(),
        }
        whole = self.places.facts.with_suffix(".new")
        whole.write_text(json.dumps(facts, indent=1))
        whole.replace(self.places.facts)  # whoever waits for the file finds all of it


def program(named: str) -> str:
    """Where Prometheus is: the path named, or the one on PATH. Raises UsageError."""
    found = shutil.which(named or "prometheus")
    if found is None:
        what = f"{named} is not a program" if named else "there is no prometheus on PATH"
        raise UsageError(what, "install Prometheus (Debian: apt install prometheus) or name it with --prometheus PATH")
    return found


def _version(port: int) -> str | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/version")
        answer = connection.getresponse()
        found = json.loads(answer.read(10_000))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    version = found.get("version") if isinstance(found, dict) else None
    return version if isinstance(version, str) else None

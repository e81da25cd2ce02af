"""A small real stack for the command line: Prometheus scraping services that follow MLflow's aliases, and the files.

Version 1 of every model is good, version 2 fails a tenth of its requests. The services are a few lines of this process
(each deployment's counters run on the wall's clock); Prometheus, MLflow and the console's processes are the real ones.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rollback_console.authorize import sshsig
from servers.mlflow import Mlflow
from servers.prometheus import Prometheus, make_openmetrics

PROGRAM = [sys.executable, "-m", "rollback_console"]
GOOD, BAD = "1", "2"
_FAILING = {GOOD: 0.002, BAD: 0.1}
_RATE = 50.0  # requests a second


def key_of(seed: bytes, name: str) -> tuple[str, str]:
    """An Ed25519 key made of 32 bytes: its OpenSSH private PEM, and its public line."""
    private = Ed25519PrivateKey.from_private_bytes(seed)
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    return pem, sshsig.public_line(sshsig.public_blob(private.public_key()), name)


class Services:
    """What serves the models: one /metrics for all of them. `serving` follows the registry while `follow` is set."""

    def __init__(self, registry: Mlflow, models: Sequence[str]) -> None:
        self._registry, self._models = registry, tuple(models)
        self.serving = dict.fromkeys(models, GOOD)
        self._lock = threading.Lock()
        self._counted = {model: [0.0, 0.0] for model in models}  # requests, errors
        self._at = time.monotonic()
        self._ended = threading.Event()
        services = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = services.exposition().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.target = f"127.0.0.1:{self._server.server_address[1]}"
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._server.serve_forever, self._run)]
        for thread in self._threads:
            thread.start()

    def _count(self) -> None:
        now = time.monotonic()
        passed, self._at = now - self._at, now
        for model, counted in self._counted.items():
            counted[0] += _RATE * passed
            counted[1] += _RATE * passed * _FAILING[self.serving[model]]

    def _run(self) -> None:
        while not self._ended.wait(0.3):
            for model in self._models:
                try:
                    found = self._registry.call("GET", "registered-models/alias", name=model, alias="champion")
                except (RuntimeError, OSError):
                    continue
                with self._lock:
                    self._count()
                    self.serving[model] = str(found["model_version"]["version"])  # type: ignore[index]

    def exposition(self) -> str:
        with self._lock:
            self._count()
            lines = []
            for model, (requests, errors) in self._counted.items():
                lines.append(f'requests_total{{deployment="{model}"}} {requests}')
                lines.append(f'errors_total{{deployment="{model}"}} {errors}')
                lines.append(f'model_info{{deployment="{model}",version="{self.serving[model]}"}} 1')
        return "\n".join(lines) + "\n"

    def stop(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


_POLICY = """\
schema: rollback-console/policy/v1
name: command-line
version: 1
mode: advise
owners: [tests]
deployments:
{deployments}
signals:
  error_rate:
    area: technical
    worse: higher
    value: sum by (deployment) (rate(errors_total[$window])) / sum by (deployment) (rate(requests_total[$window]))
    window: 4s
    breach: {{above: 2%}}
trigger: {{when: error_rate, dwell: 3s, hold: 2s, cool_down: 5s, blind_dwell: 20s}}
recovery:
  - path: version
    driver: mlflow-alias
    target: last_known_good
    healthy_for: 5s
    verify: {{for: 3s, within: 60s}}
    authority: {{request: [oncall], approve: {{of: [], count: 0}}, expires: 30m}}
runbook: model-version-rollback.md
"""


def _past(models: Sequence[str], instance: str) -> str:
    """A quarter of an hour in which the good version served well, in the very series that are scraped afterwards."""
    now = int(time.time()) - 5
    metrics: dict[str, list[tuple[dict[str, str], float, float]]] = {}
    for model in models:
        labels = {"deployment": model, "instance": instance, "job": "models"}
        for back in range(900, -1, -1):
            at, passed = float(now - back), 900.0 - back
            metrics.setdefault("requests_total", []).append((labels, at, _RATE * passed))
            metrics.setdefault("errors_total", []).append((labels, at, _RATE * passed * _FAILING[GOOD]))
            metrics.setdefault("model_info", []).append(({**labels, "version": GOOD}, at, 1.0))
    return make_openmetrics(metrics)  # type: ignore[arg-type] - a list of samples is an iterable of them


class Stack:
    """Prometheus, MLflow, the services, and a console's files in `folder`. `models` become deployments of `live`."""

    def __init__(self, folder: Path, registry: Mlflow, models: Sequence[str]) -> None:
        self.folder, self.registry = folder, registry
        for model in models:
            registry.model(model)
            assert (registry.version(model), registry.version(model)) == (GOOD, BAD)
            registry.point(model, "champion", GOOD)
        self.services = Services(registry, models)
        self.prometheus = Prometheus(
            folder / "prometheus",
            openmetrics=_past(models, self.services.target),
            scrape_configs=[{"job_name": "models", "static_configs": [{"targets": [self.services.target]}]}],
        )
        self.key, line = key_of(b"k" * 32, "ana")
        self.viewer, viewer_line = key_of(b"v" * 32, "vera")
        deployments = "".join(
            f"  - name: {model}\n    environment: live\n    tier: critical\n"
            f"    model: {{name: {model}, alias: champion}}\n    labels: {{deployment: {model}}}\n"
            '    serving_version: model_info{deployment="$deployment"}\n'
            for model in models
        )
        (folder / "policy.yaml").write_text(_POLICY.format(deployments=deployments))
        (folder / "roster.yaml").write_text(
            "schema: rollback-console/roster/v1\noperators:\n"
            f'  - {{id: ana, name: Ana, roles: [oncall], keys: ["{line}"]}}\n'
            f'  - {{id: vera, name: Vera, roles: [viewer], keys: ["{viewer_line}"]}}\n'
        )
        self.settings = folder / "settings.yaml"
        self.settings.write_text(
            "schema: rollback-console/settings/v1\n"
            f"prometheus: {{url: {self.prometheus.url}, step: 1s, timeout: 5s}}\n"
            f"registry: {{kind: mlflow, url: {registry.url}, timeout: 10s}}\n"
            "evaluate_every: 1s\ndelay: 1s\nlookback: 10m\nbudget: {queries_per_minute: 5000}\n"
            "policies: [policy.yaml]\nroster: roster.yaml\njournal: journal.db\n"
        )
        self.journal = folder / "journal.db"

    def environ(self, key: str | None = None) -> dict[str, str]:
        """An empty home, no agent, no keyring; `key` in the environment where one is given."""
        strange = ("SSH_", "ROLLBACK_", "XDG_", "COV_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
        clean |= {"HOME": str(self.folder / "home"), "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
        return clean | ({"ROLLBACK_CONSOLE_KEY": key} if key is not None else {})

    def acting(self) -> Path:
        """Settings like this stack's whose policy is in the mode `act`; a way back is announced for ten seconds."""
        policy = (self.folder / "policy.yaml").read_text().replace("mode: advise", "mode: act")
        policy = policy.replace("authority: {", "authority: {automatic: {after: 10s}, ")
        (self.folder / "acting-policy.yaml").write_text(policy)
        settings = self.folder / "acting.yaml"
        settings.write_text(self.settings.read_text().replace("[policy.yaml]", "[acting-policy.yaml]"))
        return settings

    def run(
        self, *words: str, key: str | None = None, seconds: float = 120, config: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """One command, to its end, with `--config` of this stack behind it."""
        return subprocess.run(
            [*PROGRAM, *words, "--config", str(config or self.settings)],
            env=self.environ(key), capture_output=True, text=True, timeout=seconds, check=False,
            stdin=subprocess.DEVNULL, cwd=self.folder,
        )  # fmt: skip

    def start(
        self, *words: str, key: str | None = None, out: Path, config: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """One command, running; stdout goes to `out`, stderr to `out`.err."""
        with out.open("wb") as stdout, out.with_name(out.name + ".err").open("wb") as stderr:
            return subprocess.Popen(
                [*PROGRAM, *words, "--config", str(config or self.settings)],
                env=self.environ(key), stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, cwd=self.folder,
                start_new_session=True,
            )  # fmt: skip

    def status(self, deployment: str, *words: str) -> dict[str, Any]:
        """`status --json` of one deployment, by a console without a journal of its own."""
        done = self.run("status", deployment, "--json", "--journal", str(self.folder / "none.db"), *words)
        assert done.stdout, done.stderr
        (facts,) = json.loads(done.stdout)
        assert done.returncode == {"fired": 1, "clearing": 1, "blind": 3}.get(facts["state"], 0)
        return dict(facts)

    def alias(self, model: str) -> str:
        found = self.registry.call("GET", "registered-models/alias", name=model, alias="champion")
        return str(found["model_version"]["version"])  # type: ignore[index]

    def stop(self) -> None:
        self.prometheus.stop()
        self.services.stop()


def until(what: Callable[[], bool], seconds: float, why: Callable[[], str] = lambda: "") -> None:
    """Wait for something in the world. Fails with `why` when it does not come."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s: {why()}"
        time.sleep(0.1)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours that may have ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

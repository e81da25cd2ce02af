"""A small real model service: it follows a registry's alias, serves what the version's parameters say, and reports.

``python -m rollback_console.rehearse.sandbox.service --deployment NAME --model NAME --alias champion --registry URL
--port N``. POST /predict {"visitor", "likes", "tenure_d"}; POST /order {"value"}; GET /metrics, /version.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rollback_console.rehearse.sandbox.model import OFFERS, FeatureMissing, Parameters, rank
from rollback_console.rehearse.sandbox.rest import Mlflow, RestProblem

_MAX_BODY = 10_000
_LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """What the service counts, by prometheus-client, in a registry of its own."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        self.registry = CollectorRegistry()
        self.visits = Counter("visits", "Visitors who were shown offers", registry=self.registry)
        self.orders = Counter("orders", "Visitors who took the offer", registry=self.registry)
        self.requests = Counter("requests", "Predictions asked for", registry=self.registry)
        self.errors = Counter("errors", "Predictions that failed", registry=self.registry)
        self.revenue = Counter("revenue", "Value of the orders", registry=self.registry)
        self.latency = Histogram("latency_seconds", "Of a prediction", buckets=_LATENCIES, registry=self.registry)
        self.info = Gauge("model_info", "What serves", ["version"], registry=self.registry)

    def serves(self, version: str) -> None:
        self.info.clear()
        self.info.labels(version=version).set(1)

    def text(self) -> bytes:
        from prometheus_client import generate_latest

        return bytes(generate_latest(self.registry))


class Follower(threading.Thread):
    """Keeps the version that serves in step with the registry's alias; keeps the last one while the registry is out."""

    def __init__(self, registry: Mlflow, model: str, alias: str, metrics: Metrics, every_s: float) -> None:
        super().__init__(daemon=True, name="follower")
        self._registry, self._model, self._alias = registry, model, alias
        self._metrics, self._every = metrics, every_s
        self.serving: tuple[str, Parameters] | None = None
        self.stopped = threading.Event()

    def look(self) -> None:
        """Ask once. Raises `RestProblem`."""
        found = self._registry.get("registered-models/alias", name=self._model, alias=self._alias)["model_version"]
        version = str(found["version"])
        if self.serving is not None and self.serving[0] == version:
            return
        run = self._registry.get("runs/get", run_id=found["run_id"])["run"]
        params = {str(item["key"]): str(item["value"]) for item in run["data"].get("params", ())}
        self.serving = (version, Parameters.of(params))
        self._metrics.serves(version)

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.look()
            except (RestProblem, KeyError, TypeError) as problem:
                print(f"registry: {problem!r}", file=sys.stderr, flush=True)
            self.stopped.wait(self._every)


class Handler(BaseHTTPRequestHandler):
    """One connection. The two class attributes are set by `serve`."""

    protocol_version = "HTTP/1.1"
    follower: Follower
    metrics: Metrics

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self._answer(200, self.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/version":
            serving = self.follower.serving
            self._json(200 if serving else 503, {"version": serving[0] if serving else None})
        else:
            self._json(404, {"error": "there is /predict, /order, /metrics, /version"})

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            self._json(400, {"error": "the body is not a JSON object of at most 10 kB"})
        elif self.path == "/predict":
            self._predict(body)
        elif self.path == "/order":
            value = body.get("value")
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1e6:
                self._json(400, {"error": "value is a number from 0 to a million"})
                return
            self.metrics.orders.inc()
            self.metrics.revenue.inc(value)
            self._json(200, {})
        else:
            self._json(404, {"error": "there is /predict, /order"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Silent: a line a request would be the service's main work."""

    def _predict(self, body: dict[str, Any]) -> None:
        serving = self.follower.serving
        if serving is None:
            self._json(503, {"error": "no version yet"})
            return
        likes, tenure = body.get("likes"), body.get("tenure_d")
        good = isinstance(likes, list) and len(likes) == OFFERS and all(isinstance(n, (int, float)) for n in likes)
        if not good or not isinstance(tenure, (int, float)):
            self._json(400, {"error": f"likes is a list of {OFFERS} numbers, tenure_d a number"})
            return
        version, parameters = serving
        began = time.perf_counter()
        self.metrics.requests.inc()
        self.metrics.visits.inc()
        try:
            ranking = rank(parameters, likes or [], tenure)
            if parameters.work_ms:
                time.sleep(parameters.work_ms / 1000.0)
        except FeatureMissing as missing:
            self.metrics.errors.inc()
            self._json(500, {"error": str(missing), "version": version})
            return
        finally:
            self.metrics.latency.observe(time.perf_counter() - began)
        self._json(200, {"version": version, "ranking": ranking})

    def _body(self) -> dict[str, Any] | None:
        try:
            length = int(self.headers.get("Content-Length", "0"))
            if not 0 < length <= _MAX_BODY:
                self.close_connection = True  # what was announced is not read, so nothing may follow it
                return None
            found = json.loads(self.rfile.read(length))
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def _json(self, status: int, body: dict[str, Any]) -> None:
        self._answer(status, json.dumps(body).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(registry: str, model: str, alias: str, port: int, every_s: float) -> tuple[ThreadingHTTPServer, Follower]:
    """A server on loopback that is not running yet, and its follower that is. Port 0 takes a free one."""
    metrics = Metrics()
    follower = Follower(Mlflow(registry), model, alias, metrics, every_s)
    handler = type("BoundHandler", (Handler,), {"follower": follower, "metrics": metrics})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    follower.start()
    return server, follower


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="one model service of the sandbox")
    parser.add_argument("--model", required=True)
    parser.add_argument("--alias", default="champion")
    parser.add_argument("--registry", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--every", type=float, default=1.0)
    asked = parser.parse_args(arguments)
    server, follower = serve(asked.registry, asked.model, asked.alias, asked.port, asked.every)

    def stop(_number: int, _frame: object) -> None:
        follower.stopped.set()
        threading.Thread(target=server.shutdown).start()  # shutdown waits for the loop it would interrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    server.serve_forever(poll_interval=0.5)
    return 0


if __name__ == "__main__":
    sys.exit(main())

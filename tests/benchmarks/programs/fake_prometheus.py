"""A fake Prometheus for benchmarks of the screen: instant and range queries of `fleets`, all values always new.

A process of its own, so that its work is not counted; the console parses its JSON as it would a real one's. The real
server is measured by `bench_observe`. Arguments: port, deployments, degraded deployments.
"""

from __future__ import annotations

import json
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.benchmarks.fleets import QUERIES, Values, name

RING = 7


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    values = Values(1, 0)
    metrics: tuple[str, ...] = ()
    ring: tuple[tuple[str, ...], ...] = ()  # answers made beforehand, by signal: making them would take a core's time

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self._answer(path, dict(urllib.parse.parse_qsl(query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self._answer(self.path.partition("?")[0], dict(urllib.parse.parse_qsl(body)))

    def _answer(self, path: str, asked: dict[str, str]) -> None:
        if asked.get("query") not in QUERIES:
            data: dict[str, object] = {"resultType": "vector", "result": []}
            self._send(json.dumps({"status": "success", "data": data}))
            return
        signal = QUERIES.index(asked["query"])
        if path.endswith("/query_range"):
            self._send(self._matrix(signal, float(asked["start"]), float(asked["end"]), float(asked["step"])))
            return
        at = float(asked["time"])
        self._send(self.ring[signal][int(at) // 2 % RING].replace("@", f"{at:.3f}"))

    def _matrix(self, signal: int, start: float, end: float, step: float) -> str:
        times = [start + number * step for number in range(round((end - start) / step) + 1)]
        columns = [self.values.column(signal, at) for at in times]
        rows = []
        for index, metric in enumerate(self.metrics):
            points = ",".join(f'[{at:.3f},"{c[index]!r}"]' for at, c in zip(times, columns, strict=True))
            rows.append(f'{{"metric":{metric},"values":[{points}]}}')
        return f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(rows)}]}}}}'

    def _send(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's own name
        """Silent."""


def instant(metrics: tuple[str, ...], column: list[float]) -> str:
    """The answer to an instant query, `@` where its time goes."""
    rows = ",".join(f'{{"metric":{m},"value":[@,"{value!r}"]}}' for m, value in zip(metrics, column, strict=True))
    return f'{{"status":"success","data":{{"resultType":"vector","result":[{rows}]}}}}'


if __name__ == "__main__":
    port, deployments, bad = (int(word) for word in sys.argv[1:4])
    Handler.values = Values(deployments, bad)
    Handler.metrics = tuple(f'{{"deployment":"{name(index)}"}}' for index in range(deployments))
    Handler.ring = tuple(
        tuple(instant(Handler.metrics, Handler.values.column(signal, turn)) for turn in range(RING))
        for signal in range(len(QUERIES))
    )
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()

"""The model services of a scenario on the real stack: what a real Prometheus scrapes, and who follows the registry.

One small HTTP server a deployment, so that one of them can go silent. They count what the world draws, up to the last
slot that is over. A thread looks where the registry's aliases point: a move by the console is a move in the world,
which serves it after its lag; a move that the scenario has somebody else make is made in the registry.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from rollback_console.rehearse.backends import WorldMetrics
from rollback_console.rehearse.happenings import CONSOLE
from rollback_console.rehearse.sandbox.rest import Mlflow, RestProblem
from rollback_console.rehearse.series import METRICS

if TYPE_CHECKING:
    from rollback_console.rehearse.evaluate import Labels, Source
    from rollback_console.rehearse.setup import Setup

Stretch = tuple[float, float]  # from and to, Unix seconds

_DAY_S = 86_400.0
_EVERY_S = 1.0  # between two looks at the registry
_SCRAPED = tuple(name for name in METRICS if name != "up")  # `up` is Prometheus' own


class Fleet:
    """The services of a world on the wall's clock. `ports`: by environment/name, once started."""

    def __init__(self, setup: Setup, registry: Mlflow) -> None:
        self.world, self._registry = setup.world, registry
        if not isinstance(setup.metrics, WorldMetrics):
            raise TypeError("a scene is staged on a simulated world's metrics")
        self._metrics = setup.metrics
        self.lock = threading.RLock()  # the world is one, the threads are many
        self._servers = [_server(self, index) for index in range(len(self.world.deployments))]
        self.ports = {
            str(deployment.id): int(server.server_address[1])
            for deployment, server in zip(self.world.deployments, self._servers, strict=True)
        }
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True) for server in self._servers
        ]
        self._threads.append(threading.Thread(target=self._follow, daemon=True, name="follower"))
        self._since = time.time()  # flips by others after this are made in the registry

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the servers and the follower."""
        self._stopped.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join(5.0)

    # -- what is scraped ------------------------------------------------------------------------------------------

    def scraped(self, index: int, at: float) -> str | None:
        """What deployment number `index` says when it is scraped at `at` (Unix seconds); None: it does not answer."""
        with self.lock:
            if not self.world.exporter_alive(self.world.deployments[index], at):
                return None
            lines = []
            for name in _SCRAPED:
                for source in self._metrics.of_deployment(name, index):
                    (value,) = source.at([at])
                    if value is not None:
                        lines.append(f"{_series(source.labels)} {value!r}\n")
        return "".join(lines)

    def past(self, stretches: Sequence[Stretch], versions_since: float) -> Iterator[str]:
        """OpenMetrics lines of every scrape of these stretches, for `promtool tsdb create-blocks-from openmetrics`: of
        what served, of all the time since `versions_since` too."""
        for name in _SCRAPED:
            longer = [(versions_since, max(end for _, end in stretches))] if name == "model_info" else []
            times = [self._slots(*each) for each in _by_day([*longer, *stretches])]
            told = False
            for index in range(len(self.world.deployments)):
                for source in self._metrics.of_deployment(name, index):
                    if not told:
                        told = True
                        yield _type(dict(source.labels)["__name__"], counter=source.counter)
                    yield from self._lines(source, times)
        yield "# EOF\n"

    def _lines(self, source: Source, times: Sequence[list[float]]) -> Iterator[str]:
        series, last = _series(source.labels), -1.0
        for moments in times:
            with self.lock:
                column = source.at(moments) if moments else []
            for at, value in zip(moments, column, strict=True):
                if value is not None and at > last:
                    last = at
                    yield f"{series} {value!r} {at:.3f}\n"

    def _slots(self, start: float, end: float) -> list[float]:
        slot_s = self.world.slot_s
        return [slot * slot_s for slot in range(int(start // slot_s), int(end // slot_s) + 1)]

    # -- the pointers ---------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            try:
                self.look(time.time())
            except (RestProblem, KeyError, TypeError) as problem:
                print(f"registry: {problem!r}", file=sys.stderr, flush=True)

    def look(self, now: float) -> None:
        """Make what others do by now, then see whether the console did something. Raises RestProblem."""
        pairs = sorted({(each.model, each.alias) for each in self.world.deployments})
        for model, alias in pairs:
            with self.lock:
                moves = [flip for flip in self.world.history if (flip.model, flip.alias) == (model, alias)]
                due = [flip for flip in moves if self._since < flip.at <= now and flip.by != CONSOLE]
            if due:
                self._registry.post(
                    "registered-models/alias", {"name": model, "alias": alias, "version": due[-1].version}
                )
            found = self._registry.get("registered-models/alias", name=model, alias=alias)["model_version"]
            version = str(found["version"])
            with self.lock:
                if version != self.world.pointer(model, alias):
                    self.world.moving()
                    self.world.flip(model, alias, version, by=CONSOLE)
        self._since = now


def _by_day(stretches: Sequence[Stretch]) -> Iterator[Stretch]:
    """Stretches cut at midnight, UTC, where the world's counters begin anew; in their order."""
    for start, end in sorted(stretches):
        at = start
        while at <= end:
            midnight = (at // _DAY_S + 1) * _DAY_S
            yield at, min(end, midnight - 1.0)
            at = midnight


def _series(labels: Labels) -> str:
    known = dict(labels)
    name = known.pop("__name__")
    return name + "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(known.items())) + "}"


def _type(name: str, *, counter: bool) -> str:
    """A family's type. Families that are no plain counters are `unknown`: the histogram's buckets stand without their
    sum, and a gauge needs no more."""
    if counter and name.endswith("_total"):
        return f"# TYPE {name.removesuffix('_total')} counter\n"
    return f"# TYPE {name} unknown\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _server(fleet: Fleet, index: int) -> ThreadingHTTPServer:
    """A server on a free port of loopback, whose /metrics is that deployment's."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            text = fleet.scraped(index, time.time()) if self.path == "/metrics" else None
            body = b"silent\n" if text is None else text.encode()
            self.send_response(503 if text is None else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Silent: nobody reads a line a scrape."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)

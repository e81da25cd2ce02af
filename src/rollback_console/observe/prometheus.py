"""Prometheus (Thanos, Mimir, VictoriaMetrics: whoever speaks its query API) as a `MetricBackend`, on top of
prometheus-api-client.

That library blocks, so it runs in threads of its own; it would follow redirects, read bodies of any size, retry three
times and wait for ever, so it is given a session that does none of it (`session.py`). It drops fractions of seconds
from a range's ends and sends no `time` unless told, so both are passed as parameters here. requests and the library
are imported by the first query, in its thread: importing this module costs nothing.
"""

from __future__ import annotations

import datetime
import functools
import threading
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from rollback_console.clock import Clock
from rollback_console.errors import BackendRefused, BackendUnreachable
from rollback_console.model.observation import BackendHealth, Series
from rollback_console.observe import alerts, answers
from rollback_console.observe.alerts import AlertingRule, ServerInfo
from rollback_console.observe.guard import Guard
from rollback_console.observe.http import MAX_BODY, Auth, TooLarge, http_date, no_answer, request_headers, server
from rollback_console.observe.threads import DaemonPool, PoolClosed

if TYPE_CHECKING:
    from rollback_console.observe.session import GuardedSession

T = TypeVar("T")

MAX_POINTS = 11_000  # a series, in one answer: Prometheus' own limit (web/api/v1/api.go)
_THREADS = 4
_GRACE_S = 0.5  # the thread's own time limits end most requests; the cut-off comes after them


class PrometheusBackend:
    """A `MetricBackend` over HTTP. One event loop at a time; `close()` never waits for a request under way.

    `timeout_s` bounds one request from its start to its last byte, `max_body` is bytes after decompression.
    Raises InputError for an address or a header that cannot be.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None,
        headers: Mapping[str, str],
        clock: Clock,
        random: Random,
        timeout_s: float = 10.0,
        max_body: int = MAX_BODY,
        max_in_flight: int = 4,
        queries_per_minute: float = 240,
        ca_file: str | None = None,
    ) -> None:
        self._server = server("prometheus", url)
        self._headers = request_headers(self._server, auth, headers)
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._ca_file = ca_file or ""
        self._connections = max(1, min(_THREADS, max_in_flight))
        self._pool = DaemonPool("prometheus", self._connections)
        self._library: Any = None
        self._session: GuardedSession | None = None
        self._connecting = threading.Lock()
        self._guard = Guard(
            self._server,
            clock=clock,
            random=random,
            max_in_flight=self._connections,
            queries_per_minute=queries_per_minute,
            probe=self._probe,
        )

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        """Instant query at `at` (Unix seconds, to the millisecond). A scalar comes as one series without labels."""

        def ask() -> tuple[Series, ...]:
            library, _ = self._connected()
            return answers.instant(self._server, library.custom_query(promql, params={"time": _time(at)}))

        return await self._guard.call(lambda: self._in_thread(ask))

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        """Range query over start, start + step, ... up to and including `end`, in as many requests as the limits of
        points and of bytes ask for."""
        step_ms, start_ms = round(step * 1000), round(start * 1000)
        if step_ms < 1:
            raise ValueError("a range's step is at least a millisecond")
        points = (round(end * 1000) - start_ms) // step_ms + 1
        joined: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
        asked, width = 0, MAX_POINTS
        while asked < points:
            count = min(width, points - asked)
            first = start_ms + asked * step_ms
            ask = functools.partial(self._ask_range, promql, first, first + (count - 1) * step_ms, step_ms)
            try:
                part = await self._guard.call(functools.partial(self._in_thread, ask))
            except (TooLarge, BackendRefused) as error:
                if count == 1 or not (isinstance(error, TooLarge) or "too many samples" in error.message):
                    raise
                width = max(1, count // 4)
                continue
            for labels, values in part:
                if (before := joined.get(labels)) is None:
                    joined[labels] = values
                else:
                    before.extend(values)
            asked += count
        return tuple(Series(labels, tuple(values)) for labels, values in joined.items())

    def _ask_range(
        self, promql: str, first_ms: int, last_ms: int, step_ms: int
    ) -> list[tuple[tuple[tuple[str, str], ...], list[tuple[float, float]]]]:
        library, _ = self._connected()
        times = (datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC) for ms in (first_ms, last_ms))
        exact = {"start": f"{first_ms / 1000:.3f}", "end": f"{last_ms / 1000:.3f}"}  # over its rounded ones
        return answers.matrix(
            self._server, library.custom_query_range(promql, *times, step=f"{step_ms / 1000:.3f}", params=exact)
        )

    async def rules(self) -> tuple[AlertingRule, ...]:
        """The alerting rules this server evaluates, with their state and running alerts."""

        def ask() -> tuple[AlertingRule, ...]:
            _, session = self._connected()
            answer = session.request("GET", f"{self._server.url}/api/v1/rules", params={"type": "alert"})
            return alerts.rules(self._server, answer.json()["data"])

        return await self._guard.call(lambda: self._in_thread(ask))

    async def buildinfo(self) -> ServerInfo:
        """The server's version and its clock against ours."""

        def ask() -> ServerInfo:
            _, session = self._connected()
            before = self._clock.now()
            answer = session.request("GET", f"{self._server.url}/api/v1/status/buildinfo")
            middle = (before + self._clock.now()) / 2
            date = http_date(answer.headers.get("date"))
            found = answer.json()["data"]
            version = str(found.get("version", "")) if isinstance(found, dict) else ""
            return ServerInfo(version, None if date is None else date + 0.5 - middle)  # a date is cut to its second

        return await self._guard.call(lambda: self._in_thread(ask))

    def health(self) -> BackendHealth:
        return self._guard.health()

    async def close(self) -> None:
        self._pool.close()
        if self._session is not None:
            self._session.close()

    async def _probe(self) -> None:
        """The cheapest thing that shows it answers queries again."""

        def ask() -> None:
            library, _ = self._connected()
            library.custom_query("vector(1)", params={"time": _time(self._clock.now())})

        await self._in_thread(ask)

    async def _in_thread(self, ask: Callable[[], T]) -> T:
        try:
            return await self._pool.run(ask, self._timeout_s + _GRACE_S)
        except TimeoutError as error:
            raise no_answer(self._server, self._timeout_s) from error
        except PoolClosed as error:
            raise BackendUnreachable("prometheus: the connection was closed") from error

    def _connected(self) -> tuple[Any, GuardedSession]:
        """The library and its session, made by the first thread that needs them."""
        with self._connecting:
            if self._session is None:
                from prometheus_api_client import PrometheusConnect
                from urllib3 import Retry

                from rollback_console.observe.session import GuardedSession

                self._session = GuardedSession(
                    self._server,
                    self._headers,
                    timeout_s=self._timeout_s,
                    max_body=self._max_body,
                    connections=self._connections,
                    ca_file=self._ca_file,
                )
                self._library = PrometheusConnect(url=self._server.url, session=self._session, retry=Retry(0))
            return self._library, self._session


def _time(at: float) -> str:
    return f"{at:.3f}"

"""What every request passes: a cap on its size and its time, on how many there are at once, and on a device's rate.

Plain ASGI, so that a stream stays a stream.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollback_console.hub.problems import Problem, busy
from rollback_console.hub.settings import MIB

logger = logging.getLogger("rollback_console.hub")

BODY = 256 * 1024
ENTRIES = 4 * MIB
BLOB = 8 * MIB
_BODY_S = 30.0  # a request's body comes within
_DEVICES = 10_000  # whose buckets are remembered
_STREAM = "/v1/stream"


def body_cap(path: str) -> int:
    """The most bytes that a request to `path` may carry."""
    if path.startswith("/v1/blobs/") and path != "/v1/blobs/missing":
        return BLOB
    if path.endswith(("/entries", "/snapshot")):
        return ENTRIES
    return BLOB // 8 if path == "/v1/blobs/missing" else BODY


class Rates:
    """A bucket of `burst` requests a caller, filled at `rate` a second."""

    def __init__(self, rate: float, burst: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        """One request of this caller. Raises Problem 429, which says when to try again."""
        now = self._monotonic()
        with self._lock:
            left, then = self._buckets.pop(caller, (float(self._burst), now))
            left = min(float(self._burst), left + (now - then) * self._rate)
            self._buckets[caller] = (left - 1 if left >= 1 else left, now)
            if len(self._buckets) > _DEVICES:
                self._buckets.popitem(last=False)
        if left < 1:
            wait = max(1, math.ceil((1 - left) / self._rate))
            raise Problem(429, "too-fast", "too many requests of this device", f"again in {wait} s", retry_after=wait)


class Metrics:
    """What Prometheus may know."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        prefix = "rollback_console_hub"
        self.requests = Counter(
            f"{prefix}_requests", "Requests answered", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(f"{prefix}_request_seconds", "Time to answer", ("route",), registry=self.registry)
        self.entries = Counter(f"{prefix}_entries", "Entries delivered", ("outcome",), registry=self.registry)
        self.refused = Counter(f"{prefix}_refusals", "Deliveries refused", ("code",), registry=self.registry)
        self.streams = Gauge(f"{prefix}_streams", "Open event streams", registry=self.registry)
        self.leaves = Gauge(f"{prefix}_log_leaves", "Leaves of the log, as last signed here", registry=self.registry)
        self.copied = Counter(f"{prefix}_copies", "Entries copied to others", ("to", "outcome"), registry=self.registry)
        self.behind = Gauge(f"{prefix}_copies_behind", "Positions not yet copied", ("to",), registry=self.registry)


class Gate:
    """The outermost part of the service."""

    def __init__(self, app: ASGIApp, metrics: Metrics, concurrency: int) -> None:
        self.app = app
        self._metrics = metrics
        self._concurrency = concurrency
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._pass(scope, receive, sent)
        finally:
            self._tell(scope, status, time.monotonic() - began)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = scope["path"] != _STREAM
        if counted and self._now >= self._concurrency:
            await answer(send, busy("too many requests at once"))
            return
        self._now += counted
        try:
            body = await _read(scope, receive)
            await self.app(scope, _replayed(body, receive), send)
        except Problem as problem:
            await answer(send, problem)
        finally:
            self._now -= counted

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")  # the template: no ids, no secrets
        self._metrics.requests.labels(scope["method"], route, str(status)).inc()
        if route != _STREAM:
            self._metrics.seconds.labels(route).observe(seconds)
        device = scope.get("state", {}).get("device", "")
        logger.info(
            "request",
            extra={"fields": {"method": scope["method"], "route": route, "status": status, "device": device,
                              "ms": round(seconds * 1000, 1)}},
        )  # fmt: skip


async def _read(scope: Scope, receive: Receive) -> bytes:
    """The whole body, within its cap and its time. Raises Problem."""
    cap = body_cap(scope["path"])
    too_large = Problem(413, "too-large", "the request is too large", f"at most {cap} bytes")
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if not declared.isdigit() or int(declared) > cap:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Problem(400, "gone", "the request ended before its end")
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > cap:
                    raise too_large
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise Problem(408, "too-slow", "the request's body took too long") from None


def _replayed(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()  # only a disconnect can follow
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def answer(send: Send, problem: Problem) -> None:
    """A problem document, where no framework is between."""
    data = json.dumps(problem.document()).encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", str(len(data)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    if problem.status == 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": data})

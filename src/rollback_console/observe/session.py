"""A `requests` session that a sick server cannot hurt: no redirects, capped bodies, no retries of its own, and sockets
that can be cut off. Import it only where requests is about to be used (it costs 80 ms).
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rollback_console.observe import answers
from rollback_console.observe.http import (
    CONNECT_S,
    Server,
    Transient,
    broke_off,
    no_answer,
    no_connection,
    not_json,
    status_error,
    too_large,
)
from rollback_console.observe.threads import current_call

_LONG_QUERY = 2_000  # bytes of parameters that go by POST: proxies cut URLs off from 4 KiB up
_CHUNK = 65_536


def _attach(connection: HTTPConnection) -> None:
    if (call := current_call()) is not None and connection.sock is not None:
        call.attach(connection.sock)


class _Connection(HTTPConnection):
    def getresponse(self) -> Any:
        _attach(self)  # from here on the server decides how long it takes
        return super().getresponse()


class _TlsConnection(HTTPSConnection):
    def getresponse(self) -> Any:
        _attach(self)
        return super().getresponse()


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}


class _Adapter(HTTPAdapter):
    """One connection pool, no retries, connections that can be cut."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class Answer(requests.Response):
    """A whole, small enough answer with status 200. `json()` is checked for the shape of a query's answer, once, so
    that what prometheus-api-client takes out of it is there."""

    server: Server

    def json(self, **kwargs: Any) -> Any:
        path = (self.url or "").partition("?")[0]
        if path.endswith("/api/v1/query_range"):
            return {"data": answers.query_data(self.server, self.content, ("matrix",))}
        if path.endswith("/api/v1/query"):
            return {"data": answers.query_data(self.server, self.content, ("vector", "scalar"))}
        return {"data": answers.data(self.server, self.content)}


class GuardedSession(requests.Session):
    """Raises `BackendError` for everything that is not a whole answer with status 200."""

    def __init__(
        self, to: Server, headers: Mapping[str, str], *, timeout_s: float, max_body: int, connections: int, ca_file: str
    ) -> None:
        super().__init__()
        self._to = to
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._adapter = _Adapter(pool_connections=1, pool_maxsize=connections, max_retries=urllib3.Retry(0, read=False))
        self.headers.clear()
        self.headers.update(headers)
        self.trust_env = False  # a ~/.netrc must not override what the settings say; proxies are taken below
        self.proxies = dict(get_environ_proxies(to.url))
        self.verify = ca_file or os.environ.get("REQUESTS_CA_BUNDLE") or True

    def get_adapter(self, url: str | bytes) -> HTTPAdapter:
        """Ours, always: prometheus-api-client mounts one that retries by itself."""
        return self._adapter

    def close(self) -> None:
        self._adapter.close()
        super().close()

    def request(self, method: str, url: str | bytes, *args: Any, **kwargs: Any) -> Answer:
        """One request. Long parameters go as a form by POST, which Prometheus takes for both query calls."""
        deadline = time.monotonic() + self._timeout_s
        params = kwargs.get("params") or {}
        if sum(len(str(value)) for value in params.values()) > _LONG_QUERY:
            kwargs["data"], kwargs["params"], method = params, None, "POST"
        kwargs.update(allow_redirects=False, stream=True, timeout=(min(CONNECT_S, self._timeout_s), self._timeout_s))
        try:
            response = super().request(method, url, *args, **kwargs)
        except requests.Timeout as error:
            raise no_answer(self._to, self._timeout_s) from error
        except requests.exceptions.SSLError as error:
            raise no_connection(self._to, f"TLS: {_reason(error)}; see tls.ca_file") from error
        except requests.RequestException as error:
            raise no_connection(self._to, _reason(error)) from error
        try:
            body = self._body(response, deadline)
        finally:
            response.close()
            if (call := current_call()) is not None:
                call.attach(None)
        return self._checked(response, body)

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        declared = response.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_body:
            raise too_large(self._to, self._max_body)
        chunks: list[bytes] = []
        size = 0
        try:
            for chunk in response.iter_content(_CHUNK):
                chunks.append(chunk)
                size += len(chunk)
                if size > self._max_body:
                    raise too_large(self._to, self._max_body)
                if time.monotonic() > deadline:
                    raise no_answer(self._to, self._timeout_s)
        except requests.exceptions.ContentDecodingError as error:
            raise not_json(self._to, b"") from error
        except requests.RequestException as error:
            if time.monotonic() > deadline or isinstance(error, requests.Timeout):
                raise no_answer(self._to, self._timeout_s) from error
            raise broke_off(self._to, size) from error
        return b"".join(chunks)

    def _checked(self, response: requests.Response, body: bytes) -> Answer:
        if response.status_code != 200:
            kind, message = answers.error_message(body)
            problem = status_error(self._to, response.status_code, response.headers, message, time.time())
            if kind in ("timeout", "canceled") and isinstance(problem, Transient):
                # the query itself takes too long: once more would only double the load
                raise no_answer(self._to, self._timeout_s) from None
            raise problem
        answer = Answer()
        answer.__dict__.update(response.__dict__)
        answer.__dict__.update(_content=body, _content_consumed=True, server=self._to)
        return answer


def _reason(error: BaseException) -> str:
    """The innermost reason of a nest of requests, urllib3 and OS errors, without the addresses of objects."""
    seen: set[int] = set()
    inner: BaseException = error
    while id(inner) not in seen:
        seen.add(id(inner))
        nested = getattr(inner, "reason", None)
        if not isinstance(nested, BaseException):
            nested = next((arg for arg in inner.args if isinstance(arg, BaseException)), None) or inner.__cause__
        if nested is None:
            break
        inner = nested
    if isinstance(inner, OSError) and inner.strerror:
        return inner.strerror
    text = str(inner)
    return text.partition(">: ")[2] or text.partition("): ")[2] or text or type(inner).__name__

"""The few REST calls that the sandbox itself makes of MLflow: blocking, loopback, standard library alone, so that a
service process stays light. The console has its own client (`observe.mlflow`)."""

from __future__ import annotations

import http.client
import json
import urllib.parse
from typing import Any

_PREFIX = "/api/2.0/mlflow/"
_MAX_BODY = 4_000_000


class RestProblem(RuntimeError):
    """The server could not be reached, or said no. `code` is its HTTP status, 0 without an answer."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Mlflow:
    """A server by its base URL, like ``http://127.0.0.1:5000``. One connection a call."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        parts = urllib.parse.urlsplit(url)
        self._host, self._port, self._timeout = parts.hostname or "127.0.0.1", parts.port or 80, timeout_s

    def get(self, path: str, **fields: str) -> Any:
        """GET with query fields. Raises `RestProblem`."""
        return self._ask("GET", f"{_PREFIX}{path}?{urllib.parse.urlencode(fields)}", None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST a JSON body. Raises `RestProblem`."""
        return self._ask("POST", _PREFIX + path, body)

    def alive(self) -> bool:
        """Does it answer at all."""
        try:
            self._ask("GET", "/health", None)
        except RestProblem:
            return False
        return True

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read(_MAX_BODY)
        except (OSError, http.client.HTTPException) as error:
            raise RestProblem(f"{method} {path.partition('?')[0]}: {error!r}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise RestProblem(f"{method} {path.partition('?')[0]}: {answer.status} {text[:300]!r}", answer.status)
        try:
            return json.loads(text)
        except ValueError:
            return {"text": text.decode("utf-8", "replace")}

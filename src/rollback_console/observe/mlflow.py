"""MLflow 3's model registry over its REST API 2.0, as a `ModelRegistry` and as the pointers an execution moves.

https://mlflow.org/docs/latest/api_reference/rest-api.html. What costs others days: a missing alias is 400, a missing
version or model 404 (the body's `error_code` says which, so a 404 from a proxy is never read as "no such model");
setting an alias is last-writer-wins and keeps no history; a GET with a foreign Host or Origin is 403.
httpx is imported by the first request, in a thread: importing this module costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from rollback_console.clock import Clock
from rollback_console.errors import BackendError, BackendRefused
from rollback_console.model.observation import BackendHealth
from rollback_console.model.registry import ModelVersion, RegisteredModel, SourceRun
from rollback_console.model.text import plain
from rollback_console.observe import mlflow_shapes as shapes
from rollback_console.observe.guard import Guard
from rollback_console.observe.http import (
    CONNECT_S,
    MAX_BODY,
    Auth,
    broke_off,
    no_answer,
    no_connection,
    not_json,
    request_headers,
    server,
    status_error,
    too_large,
    wrong_shape,
)
from rollback_console.observe.text import whole
from rollback_console.observe.threads import DaemonPool

if TYPE_CHECKING:
    import httpx

S = TypeVar("S")

_API = "/api/2.0/mlflow/"
_PAGE = 200  # small enough that one page's JSON does not hold the event loop
_MAX_PAGES = 1_000
_SIGNATURE_S = 3.0  # the server may look for the file in a store of its own; a signature is not worth a wait


class MlflowRefused(BackendRefused):
    """MLflow's own no. `code` is its `error_code` (`RESOURCE_DOES_NOT_EXIST`, ...)."""

    def __init__(self, message: str, next_step: str, code: str) -> None:
        super().__init__(message, next_step)
        self.code = code


class MlflowRegistry:
    """A `ModelRegistry`, and the fresh reads and writes of a driver. One event loop at a time.

    `timeout_s` bounds one request from start to end, `max_body` is bytes. `transport` stands in for the network.
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
        transport: httpx.AsyncBaseTransport | None = None,
        page_size: int = _PAGE,
    ) -> None:
        self._server = server("registry", url)
        self._headers = request_headers(self._server, auth, headers)
        # httpx inflates a whole chunk at once: a cap on what arrives would not be one on what it becomes
        self._headers["Accept-Encoding"] = "identity"
        self._clock = clock
        self._timeout_s = timeout_s
        self._max_body = max_body
        self._ca_file = ca_file
        self._transport = transport
        self._page_size = page_size
        self._client: httpx.AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._pool = DaemonPool("registry", 1)
        self._guard = Guard(
            self._server,
            clock=clock,
            random=random,
            max_in_flight=max_in_flight,
            queries_per_minute=queries_per_minute,
            probe=lambda: self._request("GET", _API + "registered-models/search", {"max_results": 1}),
        )

    # --- what the engine reads

    async def model(self, name: str) -> RegisteredModel | None:
        try:
            answer = await self._get("registered-models/get", name=name)
        except MlflowRefused as error:
            if error.code == shapes.MISSING:
                return None
            raise
        return self._shaped(shapes.model, answer, "registered_model")

    async def models(self) -> tuple[RegisteredModel, ...]:
        return tuple(
            [
                self._shaped(shapes.model, item)
                async for item in self._pages("registered-models/search", "registered_models")
            ]
        )

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All versions, newest first, without their runs."""
        name = shapes.quoted(model)
        found: dict[str, ModelVersion] = {}
        async for item in self._pages(
            "model-versions/search", "model_versions", filter=f"name={name}", order_by="version_number DESC"
        ):
            version = self._shaped(shapes.version, item)
            if version.model == model:
                found[version.version] = version  # a version made while paging shifts the others onto two pages
        return tuple(sorted(found.values(), key=shapes.version_number, reverse=True))

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version with its run and signature; a deleted run is None, a signature that cannot be read ""."""
        try:
            answer = await self._get("model-versions/get", name=model, version=version)
        except MlflowRefused as error:
            if error.code == shapes.MISSING or not version.isdecimal():
                return None
            raise
        found = self._shaped(shapes.version, answer, "model_version")
        run_id, model_id = found.run_id, shapes.model_id(answer.get("model_version"))
        if run_id is None and model_id is not None:
            run_id = await self._logged_by(model_id)
        run, history = await self._run(run_id) if run_id else (None, "")
        signature = shapes.signature_of_history(history, found.source, model_id) or await self._signature_of_file(found)
        return shapes.completed(found, run_id, run, signature)

    async def _run(self, run_id: str) -> tuple[SourceRun | None, str]:
        """The run and its `mlflow.log-model.history` tag."""
        try:
            answer = await self._get("runs/get", run_id=run_id)
        except MlflowRefused:
            return None, ""  # deleted, or not ours to see: the version is still worth showing
        return self._shaped(shapes.run, answer, "run")

    async def _logged_by(self, model_id: str) -> str | None:
        """The run that logged a model of MLflow 3 (versions made from `models:/m-...` may name none)."""
        try:
            answer = await self._get(f"logged-models/{shapes.path_part(model_id)}")
        except MlflowRefused:
            return None
        return shapes.source_run(answer)

    async def _signature_of_file(self, version: ModelVersion) -> str:
        """The signature in the version's MLmodel file, where the server hands artifacts out; else ""."""
        fields = {"name": version.model, "version": version.version, "path": "MLmodel"}
        try:
            async with asyncio.timeout(_SIGNATURE_S):
                # past the guard: an artifact store that fails says nothing about the registry's health
                body = await self._bytes("GET", "/model-versions/get-artifact", fields)
        except (BackendError, TimeoutError):
            return ""
        return await self._pool.run(lambda: shapes.signature_of_file(body), self._timeout_s)

    # --- what a driver reads and writes: fresh, never held back by budget or circuit; writes are tried once

    async def read_pointer(self, model: str, alias: str) -> str | None:
        """The version an alias names now, or None where there is no such alias or model."""
        try:
            answer = await self._urgent("GET", "registered-models/alias", name=model, alias=alias)
        except MlflowRefused as error:
            if error.code == shapes.MISSING or (error.code == shapes.INVALID and "not found" in error.message):
                return None
            raise
        return self._shaped(shapes.version, answer, "model_version").version

    async def write_pointer(self, model: str, alias: str, version: str) -> None:
        """Set an alias: last writer wins. Raises BackendRefused where there is no such version."""
        await self._urgent("POST", "registered-models/alias", name=model, alias=alias, version=version)

    async def read_tags(self, model: str, version: str | None) -> dict[str, str]:
        """Tags of a version, or of the registered model where `version` is None."""
        if version is None:
            answer = await self._urgent("GET", "registered-models/get", name=model)
            return dict(self._shaped(shapes.model, answer, "registered_model").tags)
        answer = await self._urgent("GET", "model-versions/get", name=model, version=version)
        return dict(self._shaped(shapes.version, answer, "model_version").tags)

    async def write_tag(self, model: str, version: str | None, key: str, value: str) -> None:
        """Set a tag of a version, or of the registered model where `version` is None."""
        where = {"name": model} if version is None else {"name": model, "version": version}
        kind = "registered-models" if version is None else "model-versions"
        await self._urgent("POST", f"{kind}/set-tag", **where, key=key, value=value)

    async def delete_tag(self, model: str, version: str | None, key: str) -> None:
        """Delete a tag; one that is not there is as good."""
        where = {"name": model} if version is None else {"name": model, "version": version}
        kind = "registered-models" if version is None else "model-versions"
        try:
            await self._urgent("DELETE", f"{kind}/delete-tag", **where, key=key)
        except MlflowRefused as error:
            if error.code != shapes.MISSING:
                raise

    def health(self) -> BackendHealth:
        return self._guard.health()

    async def server_version(self) -> str:
        """MLflow's version, for doctor; "" where it does not say."""
        try:
            body = await self._guard.call(lambda: self._bytes("GET", "/version", {}))
        except BackendRefused:
            return ""
        return plain(body.decode("utf-8", "replace").strip(), 40)

    async def close(self) -> None:
        self._pool.close()
        if self._client is not None:
            await self._client.aclose()

    # --- requests

    async def _get(self, path: str, **fields: Any) -> dict[str, Any]:
        return await self._guard.call(lambda: self._request("GET", _API + path, fields))

    async def _urgent(self, method: str, path: str, **fields: Any) -> dict[str, Any]:
        return await self._guard.call(
            lambda: self._request(method, _API + path, fields), urgent=True, once=method != "GET"
        )

    async def _pages(self, path: str, key: str, **fields: Any) -> AsyncIterator[Any]:
        """Every item of a paged list. Raises BackendNonsense for a list without end."""
        token, seen = "", set[str]()
        for _ in range(_MAX_PAGES):
            more = {"page_token": token} if token else {}
            answer = await self._get(path, max_results=self._page_size, **fields, **more)
            items = answer.get(key, [])
            if not isinstance(items, list):
                raise wrong_shape(self._server, f"{key} is not a list")
            for item in items:
                yield item
            token = str(answer.get("next_page_token") or "")
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
        raise wrong_shape(self._server, f"a list of {key} without end")

    def _shaped(self, read: Callable[[dict[str, Any]], S], answer: Any, key: str | None = None) -> S:
        try:
            return read(answer if key is None else answer[key])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = wrong_shape(self._server, f"{read.__name__} without its fields")
            self._guard.misread(problem)
            raise problem from error

    async def _request(self, method: str, path: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        body = await self._bytes(method, path, fields)
        try:
            loaded = whole(json.loads(body), body)
        except (ValueError, RecursionError) as error:
            raise not_json(self._server, body) from error
        if not isinstance(loaded, dict):
            raise wrong_shape(self._server, f"a {type(loaded).__name__} instead of an object")
        return loaded

    async def _bytes(self, method: str, path: str, fields: Mapping[str, Any]) -> bytes:
        """One request, one capped body, one deadline over all of it."""
        client = await self._connected()
        import httpx

        where = {"params": dict(fields)} if method == "GET" else {"json": dict(fields)}
        received = bytearray()
        answering = False
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                client.stream(method, self._server.url + path, **where) as response,  # type: ignore[arg-type] # one of two
            ):
                answering = True
                if int(response.headers.get("content-length") or 0) > self._max_body:
                    raise too_large(self._server, self._max_body)
                async for chunk in response.aiter_raw():
                    received += chunk
                    if len(received) > self._max_body:
                        raise too_large(self._server, self._max_body)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise no_answer(self._server, self._timeout_s) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            if answering:
                raise broke_off(self._server, len(received)) from error
            raise no_connection(self._server, error or type(error).__name__) from error
        if response.status_code != 200:
            raise self._refusal(response, bytes(received))
        if response.headers.get("content-encoding", "identity") != "identity":
            raise wrong_shape(self._server, "compressed, though asked not to")
        return bytes(received)

    def _refusal(self, response: httpx.Response, body: bytes) -> Exception:
        code, message = shapes.refusal(body)
        error = status_error(self._server, response.status_code, response.headers, message, time.time())
        if type(error) is BackendRefused and code:
            return MlflowRefused(error.message, error.next_step, code)
        return error

    async def _connected(self) -> httpx.AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await self._pool.run(self._make_client, 60.0)
            return self._client

    def _make_client(self) -> httpx.AsyncClient:
        import ssl

        import httpx

        # certificates take 20 ms to load: only where there is TLS to speak
        verify: ssl.SSLContext | bool = self._server.url.startswith("https:")
        if self._ca_file:
            verify = ssl.create_default_context(cafile=self._ca_file)
        return httpx.AsyncClient(
            headers=self._headers,
            timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s)),
            follow_redirects=False,
            verify=verify,
            transport=self._transport,
            event_hooks={"response": [self._no_redirect]},
        )

    async def _no_redirect(self, response: httpx.Response) -> None:
        """Before httpx looks at where it points: it fails on a location that is no URL."""
        if 300 <= response.status_code < 400:
            raise status_error(self._server, response.status_code, response.headers, "", time.time())

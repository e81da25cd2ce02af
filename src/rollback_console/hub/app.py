"""The service: routes over the hub's parts, problems as RFC 9457 documents."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from rollback_console.hub import problems, routes_about, routes_log, routes_read, routes_team
from rollback_console.hub.deps import State
from rollback_console.hub.hub import Hub
from rollback_console.hub.limits import Gate, Metrics
from rollback_console.hub.problems import Problem
from rollback_console.hub.wire import EntriesIn
from rollback_console.version import __version__

logger = logging.getLogger("rollback_console.hub")
_THREADS = 16  # as many as the database has connections

_DESCRIPTION = """The upstream of rollback consoles: it keeps what journals hold, witnesses their heads, and lets
consoles see each other. Every answer that is not 2xx or 304 is an RFC 9457 problem document with a `code`."""


def create_app(hub: Hub) -> FastAPI:
    """The ASGI application over an open hub, which it does not close."""
    metrics = Metrics()
    state = State(hub, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        async with state.running():
            yield

    app = FastAPI(
        title="rollback-console hub", version=__version__, description=_DESCRIPTION, lifespan=lifespan,
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.hub = state
    for module in (routes_about, routes_log, routes_read, routes_team):
        app.include_router(module.router)
    _errors(app)
    _document(app)
    app.add_middleware(Gate, metrics=metrics, concurrency=hub.settings.concurrency)
    return app


def _document(app: FastAPI) -> None:
    """The OpenAPI document, with the shape of a range of entries, which a route reads by itself."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        document = made()
        shape = EntriesIn.model_json_schema(ref_template="#/components/schemas/{model}")
        shapes = document["components"]["schemas"]
        shapes |= shape.pop("$defs", {})
        shapes["EntriesIn"] = shape
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _errors(app: FastAPI) -> None:
    def response(problem: Problem) -> Response:
        return JSONResponse(
            problem.document(), problem.status, headers=problem.headers, media_type="application/problem+json"
        )

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return response(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return response(bad_request(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        found = Problem(error.status_code, "http", str(error.detail))
        found.headers.update(error.headers or {})
        return response(found)

    @app.exception_handler(DBAPIError)
    async def database(_: Request, error: DBAPIError) -> Response:
        logger.warning(
            "database", extra={"fields": {"error": type(error.orig).__name__, "detail": str(error.orig)[:300]}}
        )
        if isinstance(error, OperationalError) or error.connection_invalidated:
            return response(problems.busy("its database does not answer"))
        return response(Problem(500, "defect", "the hub failed", "its log says more"))

    @app.exception_handler(PoolTimeout)
    async def crowded(_: Request, __: PoolTimeout) -> Response:
        return response(problems.busy("too many requests at once"))

    @app.exception_handler(Exception)
    async def defect(_: Request, error: Exception) -> Response:
        logger.error("defect", extra={"fields": {"error": type(error).__name__}}, exc_info=error)
        return response(Problem(500, "defect", "the hub failed", "its log says more"))


def bad_request(found: Any) -> Problem:
    """What pydantic found, without the values: they may be secrets."""
    first = found[0] if found else {}
    where = ".".join(str(part) for part in first.get("loc", ()))
    return Problem(422, "bad-request", "the request is not as it should be", f"{where}: {first.get('msg', '')}")

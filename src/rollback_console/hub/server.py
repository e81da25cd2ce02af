"""Running the service: TLS, signals, logs as JSON lines."""

from __future__ import annotations

import ipaddress
import json
import logging
import signal
import socket
import ssl
import sys
import time
from typing import Any

import uvicorn

from rollback_console.errors import UsageError
from rollback_console.hub.app import create_app
from rollback_console.hub.hub import Hub
from rollback_console.hub.settings import HubSettings
from rollback_console.model.times import written

logger = logging.getLogger("rollback_console.hub")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, and the fields that the caller names. No headers, no query, no body
    ever come here, so no token does."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": written(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def check_address(settings: HubSettings) -> None:
    """Raises UsageError where tokens would cross a network in clear."""
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise UsageError("TLS needs a certificate and its key", "give --tls-certificate and --tls-key")
    if settings.tls_certificate is not None or settings.behind_proxy or _loopback(settings.host):
        return
    raise UsageError(
        f"{settings.host} is not this machine alone, and without TLS tokens would cross the network in clear",
        "give --tls-certificate and --tls-key, or --insecure-behind-proxy where a proxy in front speaks TLS",
    )


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def tls(settings: HubSettings) -> ssl.SSLContext:
    """TLS 1.2 and newer. Raises UsageError for files that do not do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(str(settings.tls_certificate), str(settings.tls_key))
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"the certificate {settings.tls_certificate} and the key {settings.tls_key} cannot be used ({error})",
            "both are PEM files; the key has no passphrase and belongs to the certificate",
        ) from None
    return context


class _Server(uvicorn.Server):
    """Ends event streams first: they would otherwise keep a shutdown waiting for ever."""

    def __init__(self, config: uvicorn.Config, app: Any) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            address = self.servers[0].sockets[0].getsockname()
            logger.info("listening", extra={"fields": {"host": address[0], "port": address[1]}})

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.hub.end_streams()
        await super().shutdown(sockets)


def serve(settings: HubSettings) -> int:
    """Until SIGTERM or SIGINT. Raises UsageError when it cannot begin; returns the exit code."""
    check_address(settings)
    context = tls(settings) if settings.tls_certificate is not None else None
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name in ("rollback_console.hub", "uvicorn.error"):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(logging.INFO)
    hub = Hub(settings)
    began = time.monotonic()
    try:
        _say_what_runs(hub)
        app = create_app(hub)
        config = uvicorn.Config(
            app, host=settings.host, port=settings.port, log_config=None, access_log=False, server_header=False,
            proxy_headers=settings.behind_proxy, timeout_keep_alive=30, timeout_graceful_shutdown=settings.shutdown_s,
            ssl_context_factory=(lambda _, __: context) if context is not None else None, lifespan="on",
        )  # fmt: skip
        server = _Server(config, app)
        # uvicorn ends by raising the signal once more, for whoever had set a handler: ours lets us close in order
        before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGTERM, signal.SIGINT)}
        try:
            server.run()
        except SystemExit:
            raise UsageError(f"{settings.host}:{settings.port} cannot be listened on", "name another --port") from None
        finally:
            for each, handling in before.items():
                signal.signal(each, handling)
    finally:
        hub.close()
        logger.info("stopped", extra={"fields": {"after_s": round(time.monotonic() - began, 1)}})
    return 0


def _say_what_runs(hub: Hub) -> None:
    from rollback_console.hub.migrate import may_change_record

    logger.info(
        "starting", extra={"fields": {"name": hub.name, "database": hub.database.shown, "key": hub.log.key.vkey}}
    )
    if hub.database.postgresql and may_change_record(hub.database):
        logger.warning(
            "this role may change the record: serve as a role that `hub migrate --grant-to` has limited",
            extra={"fields": {"database": hub.database.shown}},
        )

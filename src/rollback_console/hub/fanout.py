"""Copies of entries for others: an OpenTelemetry collector (OTLP/HTTP logs), a SIEM (CloudEvents 1.0 over HTTP).

Never the record, and never in the way of an append: a thread of its own reads what is committed, sends it at least
once, in order, and remembers how far in a table. Of several processes of one hub, one at a time sends (a lease). What
the other side refuses for good is halved until the one entry that it will not have is found; that one is said and left.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

import httpx
from sqlalchemy import insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from rollback_console.errors import UsageError
from rollback_console.hub import shared
from rollback_console.hub.append import last_position
from rollback_console.hub.database import Database
from rollback_console.hub.devices import Device
from rollback_console.hub.limits import Metrics
from rollback_console.hub.problems import Problem
from rollback_console.hub.settings import HubSettings
from rollback_console.hub.tables import cursors, entries
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.export import cloudevents
from rollback_console.model.value import dataclass

logger = logging.getLogger("rollback_console.hub")
BATCH = 200
CLOUDEVENTS_VARIABLE = "ROLLBACK_CONSOLE_HUB_CLOUDEVENTS_AUTHORIZATION"
OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_HEADERS"  # OpenTelemetry's own: name=value,name=value
_LEASE_S = 30.0
_LOOK_S = 1.0  # how often new entries are looked for
_LONGEST_S = 60.0  # between two tries
_NEVER = frozenset({400, 413, 415, 422})  # the other side will not take these bytes, however often they come


@dataclass(frozen=True, slots=True)
class Sink:
    """Where copies go, and how a batch reads there."""

    name: str
    url: str
    headers: dict[str, str]
    encode: Callable[[Sequence[tuple[int, Row]]], bytes]  # (when it came here in nanoseconds, the entry)


def sinks(settings: HubSettings, origin: str) -> list[Sink]:
    """Those that the settings name. Raises UsageError for an address that is none."""
    found = []
    if settings.otlp:
        headers = {"Content-Type": "application/json"}
        for part in filter(None, os.environ.get(OTLP_VARIABLE, "").split(",")):
            name, _, value = part.partition("=")
            headers[name.strip()] = value.strip()
        url = settings.otlp.rstrip("/")
        url = url if url.endswith("/v1/logs") else f"{url}/v1/logs"
        found.append(Sink("otlp", _http(url), headers, lambda rows: otlp(rows, origin)))
    if settings.cloudevents:
        headers = {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"}
        if authorization := os.environ.get(CLOUDEVENTS_VARIABLE):
            headers["Authorization"] = authorization
        found.append(Sink("cloudevents", _http(settings.cloudevents), headers, cloudevents_batch))
    return found


def _http(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url} is no address for copies", "write it as https://collector.example:4318")
    return url


def cloudevents_batch(rows: Sequence[tuple[int, Row]]) -> bytes:
    """The JSON batch format: the very events of `journal export --format cloudevents`."""
    return ("[" + ",".join(line.rstrip("\n") for line in cloudevents(row for _, row in rows)) + "]").encode()


def otlp(rows: Sequence[tuple[int, Row]], origin: str) -> bytes:
    """An ExportLogsServiceRequest in OTLP's JSON encoding: 64-bit numbers are text, names are lowerCamelCase."""

    def text(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "value": {"stringValue": value}}

    records = [
        {
            "timeUnixNano": str(max(0, row.at)), "observedTimeUnixNano": str(received), "severityNumber": 9,
            "severityText": "INFO", "body": {"stringValue": row.body},
            "attributes": [
                text("event.name", f"rollback-console.{row.kind}"), text("rollback_console.chain", row.chain),
                {"key": "rollback_console.seq", "value": {"intValue": str(row.seq)}},
                text("rollback_console.deployment", row.deployment), text("rollback_console.operator", row.operator),
                text("rollback_console.hash", row.hash),
            ],
        }
        for received, row in rows
    ]  # fmt: skip
    resource = {"attributes": [text("service.name", "rollback-console-hub"), text("service.instance.id", origin)]}
    scope = {"scope": {"name": "rollback-console"}, "logRecords": records}
    return json.dumps({"resourceLogs": [{"resource": resource, "scopeLogs": [scope]}]}).encode()


class Copier:
    """Sends one sink its copies, from a thread that `start` begins and `stop` ends."""

    def __init__(self, database: Database, sink: Sink, metrics: Metrics) -> None:
        self._database = database
        self._sink = sink
        self._metrics = metrics
        self._me = Device(f"hub {socket.gethostname()} {os.getpid()}", "", "hub", 0, None)
        self._lease = f"copies/{sink.name}"
        self._token = 0
        self._stopping = threading.Event()
        self._http = httpx.Client(timeout=10.0, headers=sink.headers, follow_redirects=False)
        self._thread = threading.Thread(target=self._run, name=f"copies-{sink.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """What is being sent is finished; the rest goes when a hub runs again."""
        self._stopping.set()
        self._thread.join(15.0)
        self._http.close()

    def _run(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            try:
                wait = _LOOK_S if self._have_lease() and not self._step() else 0.0
                wait = wait if self._token else _LEASE_S / 3
                failures = 0
            except Exception as error:  # whatever it is: copies wait, and the thread that sends them goes on
                failures += 1
                wait = random.uniform(0.5, 1.0) * min(_LONGEST_S, 2.0**failures)  # noqa: S311 - so that hubs do not knock together
                self._metrics.copied.labels(self._sink.name, "failed").inc()
                self._say("copies wait", error=type(error).__name__, detail=str(error)[:200], again_s=round(wait, 1))
            self._stopping.wait(wait)
        self._let_go()

    def _have_lease(self) -> bool:
        """Is it this process that sends. Keeps the lease for as long as one batch can take."""
        try:
            if self._token:
                shared.renew_lease(self._database, self._me, self._lease, self._token, _LEASE_S)
            else:
                took = shared.take_lease(self._database, self._me, self._lease, self._me.id, _LEASE_S)
                self._token = int(took["token"])
        except Problem:
            self._token = 0
        return bool(self._token)

    def _let_go(self) -> None:
        if self._token:
            try:
                shared.release_lease(self._database, self._me, self._lease, self._token)
            except (Problem, SQLAlchemyError) as error:
                self._say("lease not given back", error=type(error).__name__)  # it ends by itself

    def _step(self) -> int:
        """Send what comes next; how many entries that were. Raises what keeps it from going on."""
        with self._database.reading() as connection:
            after = connection.execute(
                select(cursors.c.position).where(cursors.c.name == self._sink.name)
            ).scalar_one_or_none()
            query = select(entries).where(entries.c.position > (after or 0)).order_by(entries.c.position).limit(BATCH)
            found = connection.execute(query).all()
            self._metrics.behind.labels(self._sink.name).set(last_position(connection) - (after or 0))
        if not found:
            return 0
        rows = [(int(each.received), _row(each)) for each in found]
        self._send(rows)
        self._remember(int(found[-1].position), new=after is None)
        return len(found)

    def _send(self, rows: Sequence[tuple[int, Row]]) -> None:
        answer = self._http.post(self._sink.url, content=self._sink.encode(rows))
        if answer.is_success:
            self._metrics.copied.labels(self._sink.name, "sent").inc(len(rows))
            return
        if answer.status_code not in _NEVER:
            raise _NotNow(f"{answer.status_code} {answer.reason_phrase}")
        if len(rows) > 1:
            half = len(rows) // 2
            self._send(rows[:half])
            self._send(rows[half:])
            return
        ((_, row),) = rows
        self._metrics.copied.labels(self._sink.name, "refused").inc()
        self._say("copy refused", chain=row.chain, seq=row.seq, status=answer.status_code)

    def _remember(self, position: int, *, new: bool) -> None:
        with self._database.writing() as connection:
            values = {"position": position, "at": self._database.now(connection)}
            if new:
                connection.execute(insert(cursors), {"name": self._sink.name, **values})
            else:
                connection.execute(update(cursors).where(cursors.c.name == self._sink.name).values(**values))

    def _say(self, event: str, **fields: object) -> None:
        logger.warning(event, extra={"fields": {"to": self._sink.name, **fields}})


def _row(found: Any) -> Row:
    row = Row(*(found._mapping[name] for name in COLUMNS))
    return row._replace(signature=bytes(row.signature))


class _NotNow(Exception):
    """The other side may take it later."""

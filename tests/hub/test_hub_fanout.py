"""Copies for a collector and a SIEM: a real small HTTP receiver that fails, refuses and comes back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.hub_tools import START, Console, chain_of, next_row
from servers.hub import Hub

pytestmark = pytest.mark.real


class Receiver:
    """Takes POSTs and keeps them. `status` decides what it answers to a body."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status: Callable[[bytes], int] = lambda body: 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.status(body)
                if status == 200:
                    outer.got.append((self.path, dict(self.headers), body))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: object) -> None:
                """Nothing: the test looks at what came."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def wait_for(self, count: Callable[[], int], wanted: int, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while count() < wanted:
            assert time.monotonic() < end, f"{count()} of {wanted}"
            time.sleep(0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def events(receiver: Receiver) -> list[dict[str, Any]]:
    return [event for _, _, body in receiver.got for event in json.loads(body)]


def records(receiver: Receiver) -> list[dict[str, Any]]:
    found = [json.loads(body)["resourceLogs"][0]["scopeLogs"][0]["logRecords"] for _, _, body in receiver.got]
    return [record for some in found for record in some]


def test_cloudevents_arrive_at_least_once_in_order_whatever_happens(
    receiver: Receiver, hub_server: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLBACK_CONSOLE_HUB_CLOUDEVENTS_AUTHORIZATION", "Bearer siem-secret")
    receiver.status = lambda body: 503  # down from the start: appends do not notice
    flags = ["--cloudevents", f"{receiver.url}/in"]
    hub = hub_server(flags=flags)
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 450)
    began = time.monotonic()
    assert console.send(rows[:250]).json()["accepted"] == 250
    assert time.monotonic() - began < 10
    receiver.status = lambda body: 200
    receiver.wait_for(lambda: len(events(receiver)), 250)
    hub.stop()
    again = hub_server(hub.folder, flags=flags)  # it goes on where it was
    console.http.base_url = httpx.URL(again.url)
    console.send(rows[250:])
    receiver.wait_for(lambda: len(events(receiver)), 450)
    seen = events(receiver)
    assert [int(event["id"]) for event in seen] == list(range(1, 451))
    assert {event["source"] for event in seen} == {f"urn:rollback-console:journal:{rows[0].chain}"}
    assert seen[1]["type"] == "rollback-console.note"
    assert seen[1]["data"] == json.loads(rows[1].body)
    assert seen[1]["hash"] == rows[1].hash
    path, headers, _ = receiver.got[0]
    assert (path, headers["Authorization"]) == ("/in", "Bearer siem-secret")
    assert headers["Content-Type"].startswith("application/cloudevents-batch+json")
    again.stop()
    assert "siem-secret" not in (hub.folder / "hub.log").read_text()


def test_an_entry_that_is_refused_for_good_holds_up_no_other(
    receiver: Receiver, hub_server: Callable[..., Hub]
) -> None:
    receiver.status = lambda body: 400 if b"poison" in body else 200
    hub = hub_server(flags=["--otlp", receiver.url])
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 9)
    bad = next_row(console.device, rows[0].chain, rows[-1], {"text": "poison", "v": 1})
    after = next_row(console.device, rows[0].chain, bad, {"text": "fine", "v": 1})
    console.send([*rows, bad, after])
    receiver.wait_for(lambda: len(records(receiver)), 10)
    told = [record["attributes"][2]["value"]["intValue"] for record in records(receiver)]
    assert told == [str(seq) for seq in (*range(1, 10), 11)]
    metrics = httpx.get(f"{hub.url}/metrics").text
    assert 'rollback_console_hub_copies_total{outcome="refused",to="otlp"} 1.0' in metrics
    assert 'rollback_console_hub_copies_behind{to="otlp"}' in metrics
    assert '"copy refused"' in (hub.folder / "hub.log").read_text()


def test_what_a_collector_gets_is_otlp(receiver: Receiver, hub_server: Callable[..., Hub]) -> None:
    """Parsed by OpenTelemetry's own protobuf definitions, which refuse an unknown field or a wrong type."""
    from google.protobuf.json_format import Parse
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    hub = hub_server(flags=["--otlp", f"{receiver.url}/v1/logs"])
    console = Console(hub.url, hub.code())
    rows = chain_of(console.device, 3)
    console.send(rows)
    receiver.wait_for(lambda: len(records(receiver)), 3)
    path, headers, body = receiver.got[0]
    assert (path, headers["Content-Type"]) == ("/v1/logs", "application/json")
    request = Parse(body, ExportLogsServiceRequest())
    (resource,) = request.resource_logs
    names = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert names["service.name"] == "rollback-console-hub"
    log = resource.scope_logs[0].log_records[1]
    assert log.time_unix_nano == START + 2_000_000_000
    assert log.body.string_value == rows[1].body
    assert {each.key: each.value for each in log.attributes}["rollback_console.seq"].int_value == 2


def test_of_two_processes_one_sends_and_the_other_goes_on_where_it_ended(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rollback_console.hub import append, devices, fanout
    from rollback_console.hub.hub import Hub as Opened
    from rollback_console.hub.limits import Metrics
    from rollback_console.hub.settings import HubSettings
    from rollback_console.journal.device import DeviceKey

    monkeypatch.setattr(fanout, "_LEASE_S", 0.6)
    monkeypatch.setattr(fanout, "_LOOK_S", 0.05)
    hub = Opened(HubSettings(tmp_path, cloudevents=receiver.url))
    key = DeviceKey.from_seed(b"copies")
    device = devices.Device(key.fingerprint(), key.public_openssh(), "laptop", 0, None)
    rows = chain_of(key, 60)
    (sink,) = fanout.sinks(hub.settings, "origin")
    one, two = (fanout.Copier(hub.database, sink, Metrics()) for _ in range(2))
    one.start()
    two.start()
    for start in range(0, 40, 10):
        append.append(hub.database, hub.log, device, rows[0].chain, rows[start].prev, rows[start : start + 10])
    receiver.wait_for(lambda: len(events(receiver)), 40)
    one.stop()
    append.append(hub.database, hub.log, device, rows[0].chain, rows[40].prev, rows[40:])
    receiver.wait_for(lambda: len(events(receiver)), 60)
    two.stop()
    hub.close()
    assert [int(event["id"]) for event in events(receiver)] == list(range(1, 61))

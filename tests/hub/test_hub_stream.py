"""The stream's edges and the gate's, inside this process: pages that end early, slow followers, too many at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import generate_latest

from hub.hub_tools import chain_of, next_row
from rollback_console.hub import append, devices, limits, people, stream
from rollback_console.hub.hub import Hub
from rollback_console.hub.limits import Gate, Metrics
from rollback_console.hub.problems import Problem
from rollback_console.hub.settings import HubSettings
from rollback_console.hub.stream import Stream, recorded_after
from rollback_console.hub.wire import MessageIn
from rollback_console.journal.device import DeviceKey

KEY = DeviceKey.from_seed(b"stream")
DEVICE = devices.Device(KEY.fingerprint(), KEY.public_openssh(), "laptop", 0, None)


@pytest.fixture
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    one = Hub(HubSettings(tmp_path_factory.mktemp("hub")))
    yield one
    one.close()


def message(hub: Hub, id_: str) -> None:
    asked = MessageIn(topic="t", id=id_, body="aGk=", signature="s", key="k")
    people.put_message(hub.database, DEVICE, asked)


def test_a_page_that_ends_early_is_gone_on_with_and_nothing_is_out_of_order(hub: Hub) -> None:
    """Three entries of 3 MB with a message after each: two of them are a page's worth."""
    (first,) = chain_of(KEY, 1)
    append.append(hub.database, hub.log, DEVICE, first.chain, "", [first])
    last = first
    for number in range(3):
        row = next_row(KEY, first.chain, last, {"text": "x" * 3_000_000, "v": 1})
        append.append(hub.database, hub.log, DEVICE, first.chain, last.hash, [row])
        message(hub, str(number))
        last = row
    seen: list[tuple[int, str]] = []
    pages = 0
    with hub.database.reading() as connection:
        while page := recorded_after(connection, seen[-1][0] if seen else 0):
            seen += [(event.position, event.kind) for event in page]
            pages += 1
    kinds = ["entry", "entry", "message", "entry", "message", "entry", "message"]
    assert seen == list(zip(range(1, 8), kinds, strict=True))
    assert pages > 1


async def test_a_follower_that_is_too_slow_is_let_go_and_the_others_are_not(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_WAITING", 3)
    followed = Stream(hub.database, poll_s=0.01, most=2)
    running = asyncio.create_task(followed.run())
    (slow, at), (quick, _) = await followed.join(), await followed.join()
    with pytest.raises(Problem) as refused:
        await followed.join()
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})
    told = []
    for number in range(6):
        await asyncio.to_thread(message, hub, str(number))
        followed.wake()
        event = await asyncio.wait_for(quick.get(), 5)
        assert event is not None
        told.append(event.data["id"])
    assert told == [str(number) for number in range(6)]
    text = [piece async for piece in followed.follow(slow, at, None)]
    assert sum(piece.startswith("id: ") for piece in text) == 3  # what it was told before it was let go
    assert len(followed) == 1
    followed.end()
    assert await asyncio.wait_for(quick.get(), 5) is None
    await asyncio.wait_for(running, 5)


async def answered(gate: Gate, receive: Any, path: str = "/v1/chains", headers: Any = ()) -> tuple[int, Any, Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await gate({"type": "http", "method": "POST", "path": path, "headers": list(headers)}, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(sent[1]["body"])


async def never(*_: Any) -> Any:
    await asyncio.Event().wait()


async def test_the_gate_says_no_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whole() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    metrics = Metrics()
    monkeypatch.setattr(limits, "_BODY_S", 0.01)
    slow = await answered(Gate(never, metrics, 5), never)
    assert (slow[0], slow[2]["code"]) == (408, "too-slow")
    huge = await answered(Gate(never, metrics, 5), whole, headers=[(b"content-length", b"999999999")])
    assert (huge[0], huge[1][b"connection"]) == (413, b"close")
    gate = Gate(never, metrics, 1)
    first = asyncio.create_task(answered(gate, whole))
    await asyncio.sleep(0)
    status, headers, problem = await answered(gate, whole)
    assert (status, problem["code"], headers[b"retry-after"]) == (503, "busy", b"2")
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(answered(gate, whole))
    await asyncio.sleep(0)
    assert not second.done()  # the place is free again
    second.cancel()
    counted = generate_latest(metrics.registry).decode()
    assert 'rollback_console_hub_requests_total{method="POST",route="unknown",status="503"} 1.0' in counted

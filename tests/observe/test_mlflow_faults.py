"""What a sick or foreign registry does to the console: nothing but a sentence. Real sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from random import Random

import pytest
from observing import ticking

from rollback_console.clock import WallClock
from rollback_console.errors import BackendError, BackendNonsense, BackendRefused, BackendUnreachable
from rollback_console.model.observation import BackendState
from rollback_console.observe.http import Auth
from rollback_console.observe.mlflow import MlflowRegistry
from servers.faulty import FAULTS, FaultyServer, response, wait_until
from servers.processes import free_port

EXPECTED: dict[str, tuple[type[BackendError], str]] = {
    "hang": (BackendUnreachable, "did not answer within"),
    "trickle_headers": (BackendUnreachable, "did not answer within"),
    "trickle_body": (BackendUnreachable, "did not answer within"),
    "error_500": (BackendUnreachable, "500"),
    "error_503": (BackendUnreachable, "503"),
    "half_json": (BackendNonsense, "no whole JSON"),
    "broken_off": (BackendNonsense, "broke off"),
    "huge": (BackendNonsense, "more than 1 MiB"),
    "huge_chunked": (BackendNonsense, "more than 1 MiB"),
    "bomb": (BackendNonsense, "compressed"),
    "html": (BackendNonsense, "HTML"),
    "html_502": (BackendUnreachable, "502"),
    "redirect": (BackendNonsense, "redirects to https://sso.invalid/login"),
    "reset": (BackendUnreachable, "cannot be reached"),
    "closed": (BackendUnreachable, "cannot be reached"),
    "not_http": (BackendUnreachable, "cannot be reached"),
    "empty": (BackendNonsense, "no whole JSON"),
    "wrong_shape": (BackendNonsense, "shape"),
    "list": (BackendNonsense, "shape"),
    "deep": (BackendNonsense, "no whole JSON"),
}
MODEL = json.dumps(
    {"registered_model": {"name": "ranker", "aliases": [{"alias": "champion", "version": "8"}]}}
).encode()


def registry(url: str, **options: object) -> MlflowRegistry:
    wanted = {"auth": None, "headers": {}, "queries_per_minute": 100_000, **options}
    return MlflowRegistry(url, clock=WallClock(), random=Random(1), **wanted)  # type: ignore[arg-type]


def test_every_fault_has_its_expectation() -> None:
    assert set(EXPECTED) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_one_safe_line_and_the_loop_stays_alive(faulty_server: FaultyServer, fault: str) -> None:
    faulty_server.fault = fault
    client = registry(faulty_server.url, timeout_s=0.6, max_body=1024 * 1024)
    begun = time.monotonic()
    async with ticking() as ticker:
        with pytest.raises(BackendError) as caught:
            await client.model("ranker")
    kind, says = EXPECTED[fault]
    assert isinstance(caught.value, kind), caught.value
    line = str(caught.value)
    assert says in line
    assert all(char.isprintable() for char in line), line
    assert time.monotonic() - begun < 4.0
    assert ticker.longest_s < 0.35, "the event loop was held"
    assert client.health().state is BackendState.FAILING
    faulty_server.fault = "ok"
    faulty_server.ok_body = MODEL
    found = await client.model("ranker")
    assert found is not None
    assert found.pointer("champion") == "8"
    assert client.health().state is BackendState.OK
    await client.close()


async def test_a_404_that_is_not_mlflows_is_never_no_such_model(faulty_server: FaultyServer) -> None:
    faulty_server.answer = lambda *_: response("404 Not Found", b"<html>nginx</html>")
    client = registry(faulty_server.url)
    with pytest.raises(BackendRefused, match="right address"):
        await client.model("ranker")
    with pytest.raises(BackendRefused):
        await client.read_pointer("ranker", "champion")
    await client.close()


async def test_a_write_is_sent_once_however_it_ends(faulty_server: FaultyServer) -> None:
    client = registry(faulty_server.url, timeout_s=0.5)
    for number, fault in enumerate(("reset", "error_503", "hang"), start=1):
        faulty_server.fault = fault
        with pytest.raises(BackendUnreachable):
            await client.write_pointer("ranker", "champion", "7")
        assert len(faulty_server.requests) == number
    line, headers, body = faulty_server.requests[0]
    assert line == "POST /api/2.0/mlflow/registered-models/alias HTTP/1.1"
    assert json.loads(body) == {"name": "ranker", "alias": "champion", "version": "7"}
    assert "origin" not in headers
    await client.close()


async def test_a_list_without_end_is_ended(faulty_server: FaultyServer) -> None:
    faulty_server.ok_body = b'{"registered_models": [{"name": "a"}], "next_page_token": "again"}'
    client = registry(faulty_server.url)
    with pytest.raises(BackendNonsense, match="without end"):
        await client.models()
    assert len(faulty_server.requests) < 5
    await client.close()


async def test_credentials_reach_the_server_and_its_refusal_names_them(faulty_server: FaultyServer) -> None:
    def answer(line: str, headers: Mapping[str, str], body: bytes) -> bytes:
        if headers.get("authorization") == "Bearer right" and headers.get("x-team") == "a":
            return response("200 OK", MODEL)
        return response("403 Forbidden", b'{"error_code": "PERMISSION_DENIED", "message": "not you\\u001b[2J"}')

    faulty_server.answer = answer
    right = registry(faulty_server.url, auth=Auth("bearer", token="right"), headers={"X-Team": "a"})
    assert await right.model("ranker") is not None
    wrong = registry(faulty_server.url, auth=Auth("basic", username="u", password="hidden"))
    with pytest.raises(BackendRefused) as caught:
        await wrong.model("ranker")
    assert "registry.auth" in str(caught.value)
    assert "not you" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    await right.close()
    await wrong.close()


async def test_a_failing_artifact_store_costs_the_signature_alone(faulty_server: FaultyServer) -> None:
    version = {"name": "ranker", "version": "8", "status": "READY", "source": "s3://b/m", "creation_timestamp": 1}

    def answer(line: str, headers: Mapping[str, str], body: bytes) -> bytes:
        if "get-artifact" in line:
            return response("500 Internal Server Error", b"no credentials for s3")
        return response("200 OK", json.dumps({"model_version": version}).encode())

    faulty_server.answer = answer
    client = registry(faulty_server.url)
    found = await client.version("ranker", "8")
    assert found is not None
    assert found.signature == ""
    assert client.health().state is BackendState.OK
    await client.close()


async def test_closing_while_a_request_hangs(faulty_server: FaultyServer) -> None:
    faulty_server.fault = "hang"
    client = registry(f"http://127.0.0.1:{faulty_server.port}", timeout_s=30)
    task = asyncio.create_task(client.model("ranker"))
    await asyncio.to_thread(wait_until, lambda: bool(faulty_server.requests))
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await client.close()
    assert time.monotonic() - begun < 2
    nobody = registry(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BackendUnreachable):
        await nobody.model("ranker")
    await nobody.close()

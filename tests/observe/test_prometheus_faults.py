"""What a sick Prometheus does to the console: nothing but a sentence. Real sockets; the event loop must stay alive."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from random import Random

import pytest
from observing import backend, ticking

from rollback_console.clock import WallClock
from rollback_console.errors import BackendError, BackendNonsense, BackendRefused, BackendUnreachable, InputError
from rollback_console.model.observation import BackendState
from rollback_console.observe.http import Auth
from rollback_console.observe.prometheus import PrometheusBackend
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
    "bomb": (BackendNonsense, "more than 1 MiB"),
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


def test_every_fault_has_its_expectation() -> None:
    assert set(EXPECTED) == set(FAULTS)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_one_safe_line_and_the_loop_stays_alive(faulty_server: FaultyServer, fault: str) -> None:
    faulty_server.fault = fault
    prometheus = backend(faulty_server.url, timeout_s=0.6, max_body=1024 * 1024, max_in_flight=2)
    begun = time.monotonic()
    async with ticking() as ticker:
        with pytest.raises(BackendError) as caught:
            await prometheus.query("up", 1.0)
    kind, says = EXPECTED[fault]
    assert isinstance(caught.value, kind), caught.value
    line = str(caught.value)
    assert says in line
    assert all(char.isprintable() for char in line), line
    assert time.monotonic() - begun < 4.0
    assert ticker.longest_s < 0.35, "the event loop was held"
    health = prometheus.health()
    assert health.state is BackendState.FAILING
    assert says in health.detail
    # and it is well again as soon as the server is
    faulty_server.fault = "ok"
    await asyncio.sleep(0)
    assert len(await prometheus.query("up", 1.0)) == 1
    assert prometheus.health().state is BackendState.OK
    await prometheus.close()


@pytest.mark.parametrize("fault", ["hang", "trickle_headers", "trickle_body"])
async def test_a_slow_server_does_not_keep_the_threads(faulty_server: FaultyServer, fault: str) -> None:
    faulty_server.fault = fault
    prometheus = backend(faulty_server.url, timeout_s=0.3, max_in_flight=2)
    results = await asyncio.gather(*(prometheus.query("up", 1.0) for _ in range(2)), return_exceptions=True)
    assert all(isinstance(result, BackendUnreachable) for result in results)
    # both connections were cut: the server sees them go, and both threads serve again at once
    await asyncio.to_thread(wait_until, lambda: faulty_server.running == 0, 3.0)
    faulty_server.fault = "ok"
    answers = await asyncio.gather(*(prometheus.query("up", 1.0) for _ in range(2)))
    assert [len(answer) for answer in answers] == [1, 1]
    await prometheus.close()


async def test_cancelling_cuts_the_request_off(faulty_server: FaultyServer) -> None:
    faulty_server.fault = "hang"
    prometheus = backend(faulty_server.url, timeout_s=30)
    task = asyncio.create_task(prometheus.query("up", 1.0))
    await asyncio.to_thread(wait_until, lambda: faulty_server.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until, lambda: faulty_server.running == 0, 3.0)
    await prometheus.close()


def test_leaving_never_waits_for_a_hanging_backend(faulty_server: FaultyServer) -> None:
    """A fresh interpreter whose query hangs for up to a minute ends as soon as its main function does."""
    faulty_server.fault = "hang"
    script = (
        "import asyncio, random, sys\n"
        "from rollback_console.clock import WallClock\n"
        "from rollback_console.observe.prometheus import PrometheusBackend\n"
        "async def main():\n"
        "    backend = PrometheusBackend(sys.argv[1], auth=None, headers={}, timeout_s=60, clock=WallClock(),"
        " random=random.Random(1))\n"
        "    asyncio.create_task(backend.query('up', 1.0))\n"
        "    await asyncio.sleep(1.0)\n"
        "    await backend.close()\n"
        "asyncio.run(main())\n"
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script, faulty_server.url], capture_output=True, text=True, timeout=30)
    assert faulty_server.requests, "it never asked"
    assert time.monotonic() - begun < 15
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("fault", ["reset", "closed", "error_503", "html_502"])
async def test_one_retry_cures_a_passing_fault(faulty_server: FaultyServer, fault: str) -> None:
    faulty_server.script = [fault]
    prometheus = backend(faulty_server.url)
    assert len(await prometheus.query("up", 1.0)) == 1
    assert len(faulty_server.requests) == 2
    await prometheus.close()


@pytest.mark.parametrize("fault", ["error_500", "half_json", "html", "redirect", "broken_off"])
async def test_what_a_retry_would_not_cure_is_not_retried(faulty_server: FaultyServer, fault: str) -> None:
    faulty_server.fault = fault
    prometheus = backend(faulty_server.url)
    with pytest.raises(BackendError):
        await prometheus.query("up", 1.0)
    assert len(faulty_server.requests) == 1
    await prometheus.close()


async def test_a_query_that_prometheus_gave_up_is_not_sent_again(faulty_server: FaultyServer) -> None:
    body = b'{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}'
    faulty_server.answer = lambda *_: response("503 Service Unavailable", body)
    prometheus = backend(faulty_server.url)
    with pytest.raises(BackendUnreachable):
        await prometheus.query("up", 1.0)
    assert len(faulty_server.requests) == 1
    await prometheus.close()


async def test_nobody_listens() -> None:
    prometheus = backend(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BackendUnreachable, match="Connection refused"):
        await prometheus.query("up", 1.0)
    await prometheus.close()


async def test_a_name_that_does_not_resolve_and_a_server_without_tls(faulty_server: FaultyServer) -> None:
    for url in ("http://no-such-host.invalid:9090", f"https://127.0.0.1:{faulty_server.port}"):
        prometheus = backend(url, timeout_s=2)
        with pytest.raises(BackendUnreachable) as caught:
            await prometheus.query("up", 1.0)
        assert "0x" not in str(caught.value), "an object's address is no reason"
        await prometheus.close()


async def test_hostile_words_of_a_backend_are_shown_plain(faulty_server: FaultyServer) -> None:
    body = '{"status":"error","errorType":"bad_data","error":"\\u001b[2J\\u202e[red]two\\nlines' + "x" * 5_000 + '"}'
    faulty_server.answer = lambda *_: response("400 Bad Request", body.encode())
    prometheus = backend(faulty_server.url)
    with pytest.raises(BackendRefused) as caught:
        await prometheus.query("up", 1.0)
    assert all(char.isprintable() for char in str(caught.value))
    assert "[red]two lines" in str(caught.value)
    assert len(str(caught.value)) < 500
    await prometheus.close()


async def test_no_more_than_the_cap_is_under_way(faulty_server: FaultyServer) -> None:
    faulty_server.delay_s = 0.05
    prometheus = backend(faulty_server.url, max_in_flight=2)
    await asyncio.gather(*(prometheus.query("up", 1.0) for _ in range(10)))
    assert faulty_server.most_at_work == 2
    assert len(faulty_server.requests) == 10
    await prometheus.close()


async def test_short_queries_go_by_get_with_their_time_and_long_ones_by_post(faulty_server: FaultyServer) -> None:
    prometheus = backend(faulty_server.url + "/prefix/")
    await prometheus.query("up", 1_700_000_000.1234)
    await prometheus.query("up + " * 1_000 + "up", 5.0)
    (short, _, _), (long, headers, body) = faulty_server.requests
    assert short == "GET /prefix/api/v1/query?query=up&time=1700000000.123 HTTP/1.1"
    assert long == "POST /prefix/api/v1/query HTTP/1.1"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert body.endswith(b"&time=5.000")
    await prometheus.close()


@pytest.mark.parametrize(
    ("url", "headers", "auth", "says"),
    [
        ("ftp://x", {}, None, "http(s)"),
        ("prometheus:9090", {}, None, "http(s)"),
        ("http://", {}, None, "http(s)"),
        ("http://user:pw@x", {}, None, "prometheus.auth"),
        ("http://x/?a=b", {}, None, "query"),
        ("http://x:99999", {}, None, "address"),
        ("http://x\r\nHost: y", {}, None, "address"),
        ("http://x", {"X-A": "b\r\nX-B: c"}, None, "X-A"),
        ("http://x", {"X A": "b"}, None, "name"),
        ("http://x", {}, Auth("bearer", token="tok\n"), "Authorization"),
        ("http://x", {}, Auth("digest"), "digest"),
    ],
)
def test_addresses_and_headers_that_cannot_be(url: str, headers: dict[str, str], auth: Auth | None, says: str) -> None:
    with pytest.raises(InputError) as caught:
        PrometheusBackend(url, auth=auth, headers=headers, clock=WallClock(), random=Random(1))
    assert says in str(caught.value)
    assert "pw" not in str(caught.value)
    assert "tok" not in str(caught.value).replace("token", "")


def test_secrets_do_not_show_in_a_repr() -> None:
    assert "hidden" not in repr(Auth("basic", username="me", password="hidden", token="hidden"))


def test_importing_the_clients_loads_no_http_library() -> None:
    script = (
        "import sys, rollback_console.observe.prometheus, rollback_console.observe.mlflow\n"
        "loaded = {'requests', 'httpx', 'urllib3', 'prometheus_api_client', 'yaml'} & set(sys.modules)\n"
        "print(sorted(loaded)); sys.exit(bool(loaded))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_the_first_query_does_not_hold_the_loop_for_its_imports(faulty_server: FaultyServer) -> None:
    before = threading.active_count()
    async with ticking() as ticker:
        prometheus = backend(faulty_server.url)
        await prometheus.query("up", 1.0)
        await prometheus.close()
    assert ticker.longest_s < 0.35
    await asyncio.to_thread(wait_until, lambda: threading.active_count() <= before + 1)  # + to_thread's own

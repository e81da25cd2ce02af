"""The Prometheus client against a real Prometheus."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random

import pytest
from observing import backend

from rollback_console.errors import BackendRefused
from rollback_console.model.observation import BackendState, Series
from rollback_console.observe.http import Auth
from rollback_console.observe.recorded import RecordedMetrics
from servers.faulty import FaultyServer, response
from servers.prometheus import Prometheus, make_openmetrics

pytestmark = pytest.mark.real

T = 1_700_000_000
HOSTILE = ["[red]x[/red]", "\x1b[2J", "\u202eevil", "表示", "e\u0301" * 3, 'quo"te\\', "two\nlines", "x" * 10_000, ""]


def history() -> str:
    rng = Random(5)
    sparse = [({"series": str(s)}, T + rng.uniform(0, 3_000), float(i)) for s in range(3) for i in range(12)]
    return make_openmetrics(
        {
            "rising": [({"deployment": "a"}, T + 15 * i, float(i)) for i in range(400)],
            "long": [({"deployment": name}, T + 10 * i, float(i % 977)) for i in range(25_000) for name in ("a", "b")],
            "odd": [
                ({"kind": "nan"}, T, "NaN"),
                ({"kind": "inf"}, T, "+Inf"),
                ({"kind": "minus"}, T, "-Inf"),
                ({"kind": "tiny"}, T, 5e-324),
            ],
            "hostile": [({"text": text, "index": str(i)}, T, float(i)) for i, text in enumerate(HOSTILE)],
            "sparse": sparse,
            "orders_total": [({"deployment": "a"}, T + 15 * i, 10.0 * i) for i in range(400)],
        }
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    directory = tmp_path_factory.mktemp("prometheus")
    rules = directory / "rules.yml"
    rules.write_text(
        json.dumps(
            {
                "groups": [
                    {
                        "name": "models",
                        "rules": [
                            {"record": "a:b", "expr": "vector(1)"},
                            {"alert": "Slow", "expr": "vector(1)", "for": "1h", "labels": {"page": "[yes]"}},
                            {"alert": "Quiet", "expr": "vector(1) > 2", "for": "90s"},
                            {"alert": "Now", "expr": "vector(1)"},
                        ],
                    }
                ]
            }
        )
    )
    one = Prometheus(directory / "server", openmetrics=history(), rule_files=[rules])
    yield one
    one.stop()


async def test_an_instant_query_sends_its_time_and_takes_the_newest_sample_before_it(server: Prometheus) -> None:
    prometheus = backend(server.url)
    found = await prometheus.query("rising", T + 100.5)
    # an instant vector's time is the evaluation's, not the sample's
    assert found == (Series((("__name__", "rising"), ("deployment", "a")), ((T + 100.5, 6.0),)),)
    assert await prometheus.query("rising", T - 1) == ()
    health = prometheus.health()
    assert health.state is BackendState.OK
    assert health.latency_s is not None
    assert health.latency_s > 0
    assert health.last_ok == pytest.approx(time.time(), abs=5)
    await prometheus.close()


async def test_a_series_is_gone_after_the_lookback(server: Prometheus) -> None:
    prometheus = backend(server.url)
    last = T + 15 * 399
    assert await prometheus.query("rising", last + 299)
    assert await prometheus.query("rising", last + 301) == ()
    await prometheus.close()


async def test_nan_and_infinities_come_as_floats(server: Prometheus) -> None:
    prometheus = backend(server.url)
    found = {dict(one.labels)["kind"]: one.points[0][1] for one in await prometheus.query("odd", T)}
    assert math.isnan(found["nan"])
    assert found["inf"] == math.inf
    assert found["minus"] == -math.inf
    assert found["tiny"] == 5e-324
    await prometheus.close()


async def test_a_scalar_is_one_series_without_labels(server: Prometheus) -> None:
    prometheus = backend(server.url)
    assert await prometheus.query("scalar(rising)", T + 30) == (Series((), ((T + 30, 2.0),)),)
    assert await prometheus.query("42", T) == (Series((), ((T, 42.0),)),)
    await prometheus.close()


@pytest.mark.parametrize(
    ("promql", "says"),
    [
        ("rate(", "parse error"),
        ("rising[5m]", "matrix"),
        ('"text"', "string"),
        ("sum by (", "parse error"),
        ("", "no expression"),
        ("rising * on(x) group_left rising offset 1m[", "parse error"),
    ],
)
async def test_a_bad_query_is_refused_in_prometheus_own_words(server: Prometheus, promql: str, says: str) -> None:
    prometheus = backend(server.url)
    with pytest.raises(BackendRefused) as caught:
        await prometheus.query(promql, T)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    # one signal's mistake is not the backend's failure
    assert prometheus.health().state is BackendState.OK
    await prometheus.close()


async def test_hostile_labels_come_through_whole_and_queries_with_them_work(server: Prometheus) -> None:
    prometheus = backend(server.url)
    found = await prometheus.query("hostile", T)
    by_index = {dict(one.labels)["index"]: dict(one.labels).get("text", "") for one in found}
    assert by_index == {str(index): text for index, text in enumerate(HOSTILE)}
    # 10,000 characters in a query go by POST
    (only,) = await prometheus.query(f'hostile{{text="{"x" * 10_000}"}}', T)
    assert only.points[0][1] == HOSTILE.index("x" * 10_000)
    await prometheus.close()


@pytest.mark.parametrize("step", [15.0, 7.0, 0.5, 1.25])
async def test_a_split_range_equals_its_points_asked_one_by_one(server: Prometheus, step: float) -> None:
    prometheus = backend(server.url)
    start, end = T + 0.25, T + 0.25 + 23_000 * step
    (found,) = await prometheus.query_range('long{deployment="a"}', start, end, step)
    times = [at for at, _ in found.points]
    # what one big answer would have: every step once, both ends included, for as long as there is data
    expected = [round(start + index * step, 3) for index in range(23_001)]
    assert times == [at for at in expected if at < T + 10 * 24_999 + 300]
    rng = Random(3)
    for at, value in rng.sample(found.points, 20) + [found.points[index] for index in (0, 10_999, 11_000, -1)]:
        assert await prometheus.query('long{deployment="a"}', at) == (Series(found.labels, ((at, value),)),)
    await prometheus.close()


async def test_a_range_at_the_limit_of_points_is_one_request_and_one_more_is_two(server: Prometheus) -> None:
    proxied = FaultyServer()
    proxied.answer = _forward(server)
    prometheus = backend(proxied.url)
    whole = server.get("/api/v1/query_range", query="long", start=T, end=T + 10 * 10_999, step=10)
    found = await prometheus.query_range("long", T, T + 10 * 10_999, 10)
    assert len(proxied.requests) == 1
    assert {one.labels: len(one.points) for one in found} == {
        tuple(sorted(item["metric"].items())): len(item["values"])
        for item in whole["result"]  # type: ignore[attr-defined]
    }
    more = await prometheus.query_range("long", T, T + 10 * 11_000, 10)
    assert len(proxied.requests) == 3
    assert [len(one.points) for one in more] == [11_001, 11_001]
    assert await prometheus.query_range("long", T, T - 1, 10) == ()
    assert [one.points for one in await prometheus.query_range("rising", T, T, 10)] == [((float(T), 0.0),)]
    await prometheus.close()
    proxied.stop()


async def test_a_range_over_the_cap_of_bytes_is_asked_in_smaller_parts(server: Prometheus) -> None:
    whole = backend(server.url)
    small = backend(server.url, max_body=100_000)
    expected = await whole.query_range("long", T, T + 10 * 9_000, 10)
    assert await small.query_range("long", T, T + 10 * 9_000, 10) == expected
    assert small.health().state is BackendState.OK
    await whole.close()
    await small.close()


async def test_rules_and_their_running_alerts(server: Prometheus) -> None:
    await asyncio.to_thread(server.wait_for, 'ALERTS{alertname="Now"}')
    prometheus = backend(server.url)
    rules = {rule.name: rule for rule in await prometheus.rules()}
    assert set(rules) == {"Slow", "Quiet", "Now"}
    slow = rules["Slow"]
    assert (slow.group, slow.state, slow.duration_s) == ("models", "pending", 3600.0)
    assert slow.labels == (("page", "[yes]"),)
    (alert,) = slow.alerts
    assert alert.active_at == pytest.approx(time.time(), abs=120)
    assert rules["Quiet"].state == "inactive"
    assert rules["Quiet"].alerts == ()
    assert rules["Now"].state == "firing"
    await prometheus.close()


async def test_version_and_clock_skew(server: Prometheus) -> None:
    prometheus = backend(server.url)
    info = await prometheus.buildinfo()
    assert info.version.startswith("2.")
    assert info.skew_s == pytest.approx(0.0, abs=2.0)
    await prometheus.close()


async def test_recorded_metrics_answer_as_prometheus_does(server: Prometheus) -> None:
    """The recorded backend against the real one: the same points, random times, random ranges."""
    rng = Random(11)
    raw = server.get("/api/v1/query", query="sparse[2h]", time=T + 7_000)["result"]
    recorded = RecordedMetrics(
        {
            "sparse": [
                Series(tuple(sorted(item["metric"].items())), tuple((at, float(value)) for at, value in item["values"]))
                for item in raw  # type: ignore[attr-defined]
            ]
        }
    )
    prometheus = backend(server.url)
    for _ in range(60):
        at = round(T + rng.uniform(-100, 4_000), 3)
        assert set(await recorded.query("sparse", at)) == set(await prometheus.query("sparse", at))
    for _ in range(10):
        start, step = round(T + rng.uniform(-100, 2_000), 3), rng.choice([1.0, 15.0, 60.0])
        end = start + step * rng.randrange(0, 50)
        expected = await prometheus.query_range("sparse", start, end, step)
        assert set(await recorded.query_range("sparse", start, end, step)) == set(expected)
    await prometheus.close()


def _forward(server: Prometheus, wanted: Mapping[str, str] | None = None) -> Callable[..., bytes]:
    """A tiny proxy in front of the real one: answers 401 unless every wanted header is there."""

    def answer(line: str, headers: Mapping[str, str], body: bytes) -> bytes:
        if any(headers.get(name) != value for name, value in (wanted or {}).items()):
            return response("401 Unauthorized", b"who are you?", 'WWW-Authenticate: Bearer realm="x"')
        method, path, _ = line.split(" ")
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        kept = {name: headers[name] for name in ("content-type",) if name in headers}
        connection.request(method, path, body=body or None, headers=kept)
        got = connection.getresponse()
        data = got.read()
        connection.close()
        return response(f"{got.status} {got.reason}", data)

    return answer


@pytest.mark.parametrize(
    ("auth", "headers", "wanted"),
    [
        (Auth("bearer", token="s3cret"), {}, {"authorization": "Bearer s3cret"}),
        (Auth("basic", username="ü", password="p:w"), {}, {"authorization": "Basic w7w6cDp3"}),
        (None, {"X-Scope-OrgID": "team-a"}, {"x-scope-orgid": "team-a"}),
        (Auth("bearer", token="t"), {"X-One": "1"}, {"authorization": "Bearer t", "x-one": "1"}),
    ],
)
async def test_credentials_and_headers_reach_the_server(
    server: Prometheus,
    faulty_server: FaultyServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    auth: Auth | None,
    headers: dict[str, str],
    wanted: dict[str, str],
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password wrong\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))  # requests would take these over ours
    faulty_server.answer = _forward(server, wanted)
    right = backend(faulty_server.url, auth=auth, headers=headers)
    (found,) = await right.query("rising", T)
    assert found.points == ((float(T), 0.0),)
    wrong = backend(faulty_server.url, auth=Auth("bearer", token="other"), headers={})
    with pytest.raises(BackendRefused) as caught:
        await wrong.query("rising", T)
    assert "prometheus.auth" in str(caught.value)
    assert "other" not in str(caught.value)
    assert wrong.health().state is BackendState.FAILING
    await right.close()
    await wrong.close()


async def test_a_thousand_deployments_cost_little_more_than_bare_http(
    prometheus_server: Callable[..., Prometheus],
) -> None:
    """The bench measures the ratio under quiet; here a generous bound catches a regression in kind."""
    server = prometheus_server(
        openmetrics=make_openmetrics(
            {f"signal_{s}": [({"deployment": f"m-{d:04}"}, T, d * 0.001) for d in range(1_000)] for s in range(6)}
        )
    )
    queries = [f"sum by (deployment) (signal_{s})" for s in range(6)]
    prometheus = backend(server.url)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)

    def bare() -> None:
        for promql in queries:
            connection.request("GET", "/api/v1/query?" + urllib.parse.urlencode({"query": promql, "time": T}))
            json.loads(connection.getresponse().read())

    answers = await asyncio.gather(*(prometheus.query(promql, T) for promql in queries))
    assert [len(answer) for answer in answers] == [1_000] * 6
    ours, floor = [], []
    for _ in range(9):
        begun = time.perf_counter()
        bare()
        between = time.perf_counter()
        await asyncio.gather(*(prometheus.query(promql, T) for promql in queries))
        floor.append(between - begun)
        ours.append(time.perf_counter() - between)
    assert min(ours) / min(floor) < 3.0
    connection.close()
    await prometheus.close()

"""The sandbox: versions that truly differ, a service that takes nothing amiss, and the whole real stack once."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from rollback_console.policy.load import load_all
from rollback_console.rehearse.sandbox.files import GOOD_CONVERSION, Places, write_configuration
from rollback_console.rehearse.sandbox.model import FeatureMissing, Parameters, Visitor, rank
from rollback_console.rehearse.sandbox.processes import Group
from rollback_console.rehearse.sandbox.registry import FIRST, MODELS, point
from rollback_console.rehearse.sandbox.rest import Mlflow
from rollback_console.rehearse.sandbox.service import serve
from rollback_console.rehearse.sandbox.traffic import Target

EAGERNESS = 0.7


def outcome(model: str, version: str, visitors: int = 6000) -> tuple[float, float]:
    """Shares of visitors who buy and who are failed, by the arithmetic alone."""
    parameters = Parameters.of(MODELS[model][int(version) - 1].params)
    bought = failed = 0
    for number in range(visitors):
        visitor = Visitor.numbered(5, number)
        try:
            ranking = rank(parameters, visitor.likes, visitor.tenure_d)
        except FeatureMissing:
            failed += 1
            continue
        bought += visitor.buys(5, ranking[0], EAGERNESS)
    return bought / visitors, failed / visitors


def test_what_is_said_to_be_good_is_good_and_v8_is_not() -> None:
    expected = float(GOOD_CONVERSION.rstrip("%")) / 100
    for model, version in FIRST.items():
        conversion, failed = outcome(model, version)
        assert conversion == pytest.approx(expected, rel=0.04)
        assert failed == 0.0
    conversion, failed = outcome("checkout-ranker", "8")
    assert conversion < 0.82 * expected
    assert failed > 0.03
    assert outcome("checkout-ranker", "6")[0] == pytest.approx(expected, rel=0.05)


def test_its_configuration_is_right(tmp_path: Path) -> None:
    places = Places(tmp_path)
    for target in ("7", "last_known_good"):
        write_configuration(places, "http://127.0.0.1:9090", "http://127.0.0.1:5000", "30s", target)
        loaded = load_all(places.settings)
        rules = {str(rule.deployment.id): rule for rule in loaded.rules}
        assert set(rules) == {f"sandbox/{name}" for name in MODELS}
        assert rules["sandbox/checkout-ranker"].recovery[0].target == target
    assert places.key.stat().st_mode & 0o077 == 0
    assert "PRIVATE KEY" not in places.roster.read_text()


@pytest.mark.parametrize("text", ["80", "80:0:1:1", "80:-1:1:1", "80:501:1:1", "80:nan:1:1", "x:1:1:1", ""])
def test_traffic_is_bounded(text: str) -> None:
    with pytest.raises(ValueError):
        Target.parse(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "-inf", "1e999", "[bold]", "1,5"])
def test_parameters_from_elsewhere_are_numbers_or_nothing(text: str) -> None:
    assert Parameters.of({"affinity_weight": text, "work_ms": text}) == Parameters(0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def service() -> Iterator[ThreadingHTTPServer]:
    """A real service whose registry is out (nothing listens there): it serves what it was given last."""
    server, follower = serve("http://127.0.0.1:9", "checkout-ranker", "champion", 0, 60.0)
    follower.serving = ("7", Parameters.of(MODELS["checkout-ranker"][6].params))
    running = threading.Thread(target=server.serve_forever, args=(0.05,))
    running.start()
    yield server
    follower.stopped.set()
    server.shutdown()
    running.join(5)
    server.server_close()


def post(server: ThreadingHTTPServer, path: str, body: bytes, length: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    try:
        connection.request("POST", path, body, {"Content-Length": str(len(body)) if length is None else length})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_service_predicts_counts_and_keeps_serving_without_its_registry(service: ThreadingHTTPServer) -> None:
    asked = json.dumps({"likes": [0.1, 0.9, 0.2, 0.3, 0.4, 0.5], "tenure_d": 10}).encode()
    status, answer = post(service, "/predict", asked)
    assert (status, json.loads(answer)["ranking"][0], json.loads(answer)["version"]) == (200, 1, "7")
    assert post(service, "/order", b'{"value": 12.5}')[0] == 200
    connection = http.client.HTTPConnection("127.0.0.1", service.server_address[1], timeout=5)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    for line in ("visits_total 1.0", "orders_total 1.0", "revenue_total 12.5", "errors_total 0.0"):
        assert line in text
    assert 'latency_seconds_bucket{le="+Inf"} 1.0' in text


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [
        ("/predict", b"", None),
        ("/predict", b"[]", None),
        ("/predict", b"[" * 9000, None),
        ("/predict", b"{", None),
        ("/predict", b'{"likes": [1, 2], "tenure_d": 1}', None),
        ("/predict", b'{"likes": ["a","b","c","d","e","f"], "tenure_d": 1}', None),
        ("/predict", b'{"likes": [1,1,1,1,1,1], "tenure_d": "soon"}', None),
        ("/predict", b"\xff\xfe", None),
        ("/predict", b"x" * 20_000, None),
        ("/predict", b"{}", "minus one"),
        ("/predict", b"{}", "-5"),
        ("/order", b'{"value": -1}', None),
        ("/order", b'{"value": true}', None),
        ("/order", b'{"value": NaN}', None),
        ("/order", b'{"value": 1e300}', None),
    ],
)
def test_what_makes_no_sense_is_refused(
    service: ThreadingHTTPServer, path: str, body: bytes, length: str | None
) -> None:
    assert post(service, path, body, length)[0] == 400


def test_a_group_ends_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(child)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)\n"
    )
    group = Group(tmp_path / "logs")
    group.start("stubborn", [sys.executable, "-c", script])
    group.wait_for("stubborn", lambda: child.exists() and child.read_text() != "", 20.0)
    pid = int(child.read_text())
    leader = group.pids()["stubborn"]
    os.kill(leader, signal.SIGKILL)
    group.stop()
    assert gone(pid), "the child of a group that was stopped is still there"


def gone(pid: int) -> bool:
    """No such process, or nothing left of it but its entry for a parent that has not asked yet."""

    def look() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return eventually(look, 5.0)


def eventually(holds: Callable[[], bool], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.2)  # a real stack on a real clock
    return holds()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def one(prometheus: str, promql: str) -> float | None:
    found = get(f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': promql})}")["data"]["result"]
    return float(found[0]["value"][1]) if found else None


CONVERSION = 'increase(orders_total{deployment="%s"}[10s]) / increase(visits_total{deployment="%s"}[10s])'


@pytest.mark.real
def test_the_whole_stack(tmp_path: Path) -> None:
    """Starts, serves v7 well, releases v8 by itself, measurably worse; follows the alias back and recovers; ends."""
    command = [sys.executable, "-m", "rollback_console.rehearse.sandbox", "--no-console", "--fault-after", "14s"]
    process = subprocess.Popen(
        [*command, "--state", str(tmp_path), "--for", "5m"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        facts_file = tmp_path / "sandbox.json"
        assert eventually(lambda: facts_file.exists() or process.poll() is not None, 60.0)
        assert process.poll() is None, process.stdout and process.stdout.read()
        facts = json.loads(facts_file.read_text())
        prometheus, service = facts["prometheus"], facts["services"]["checkout-ranker"]
        load_all(Path(facts["settings"]))

        checkout = CONVERSION.replace("%s", "checkout-ranker")
        assert get(f"{service}/version") == {"version": "7"}
        assert eventually(lambda: 0.5 < (one(prometheus, checkout) or 0.0) < 0.7, 13.0), "v7 does not serve well"
        assert eventually(lambda: get(f"{service}/version") == {"version": "8"}, 20.0), "v8 was not released"
        assert eventually(lambda: (one(prometheus, checkout) or 1.0) < 0.49, 25.0), "v8 is not worse"
        errors = 'increase(errors_total{deployment="checkout-ranker"}[10s])'
        assert eventually(lambda: (one(prometheus, errors) or 0.0) > 0.0, 20.0), "v8 does not fail for new visitors"
        steady = one(prometheus, CONVERSION.replace("%s", "home-feed"))
        assert steady is not None
        assert 0.48 < steady < 0.72, "the others are not to be touched"

        point(Mlflow(facts["registry"]), "checkout-ranker", "7")
        assert eventually(lambda: get(f"{service}/version") == {"version": "7"}, 10.0), "the alias is not followed"
        assert eventually(lambda: (one(prometheus, checkout) or 0.0) > 0.53, 25.0), "v7 does not cure"
        assert one(prometheus, 'model_info{deployment="checkout-ranker",version="7"}') == 1.0
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0
    assert all(gone(pid) for pid in facts["pids"].values())


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rollback_console.rehearse.sandbox", "--prometheus", "/nowhere/prometheus",
         "--state", str(tmp_path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "--prometheus PATH" in done.stderr
    assert "Traceback" not in done.stderr

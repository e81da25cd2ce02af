"""The world against a real Prometheus: the same samples, the same questions, the same answers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollback_console.rehearse.backends import WorldMetrics
from rollback_console.rehearse.demo import demo_world
from rollback_console.rehearse.openmetrics import openmetrics

pytestmark = pytest.mark.real
START = 1_763_640_000.0
HISTORY_S = 2400.0
Answer = dict[tuple[tuple[str, str], ...], float]

QUERIES = (
    "sum by (deployment) (increase(orders_total[5m])) / sum by (deployment) (increase(visits_total[5m]))",
    "sum by (deployment) (rate(errors_total[1m])) / sum by (deployment) (rate(requests_total[1m]))",
    "histogram_quantile(0.95, sum by (deployment, le) (rate(latency_seconds_bucket[2m])))",
    "histogram_quantile(0.5, rate(latency_seconds_bucket[2m]))",
    "sum by (deployment) (rate(revenue_total[5m])) * 60",
    "sum(rate(requests_total[100s] offset 5m))",
    'max by (deployment) (feature_age_seconds{deployment!="support-triage"})',
    'model_info{deployment="checkout-ranker"}',
    'orders_total{deployment="ads-ctr"} / visits_total{deployment="ads-ctr"} - 0.3',
    'clamp_max(-rate(visits_total{deployment="home-feed"}[40s]), 1 - 2 * 3)',
    "count(up)",
    "count by (deployment, version) (count_over_time(model_info[20m]))",
    'count_over_time(feature_age_seconds{deployment="home-feed"}[100s])',
    'count_over_time(visits_total{deployment="support-triage"}[10m])',
    'avg by (job) (up{deployment="churn-risk"})',
)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that holds the demo world's last forty minutes."""
    folder = tmp_path_factory.mktemp("prometheus")
    exposition = folder / "world.om"
    with exposition.open("w") as file:
        file.writelines(openmetrics(demo_world(7, START), START - HISTORY_S, START))
    promtool, server = shutil.which("promtool"), shutil.which("prometheus")
    assert promtool, "promtool is missing: apt install prometheus"
    assert server, "prometheus is missing: apt install prometheus"
    blocks = folder / "tsdb"
    done = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(exposition), str(blocks)], capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    (folder / "prometheus.yml").write_text("{}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            server, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={blocks}",
            f"--web.listen-address={url.removeprefix('http://')}", "--storage.tsdb.retention.time=100y",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until_ready(url)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def wait_until_ready(url: str) -> None:
    for _ in range(200):
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)  # nothing but its answer says that it is ready
    raise AssertionError("Prometheus does not become ready")


def ask(url: str, promql: str, at: float) -> Answer:
    words = urllib.parse.urlencode({"query": promql, "time": f"{at:.3f}"})
    with urllib.request.urlopen(f"{url}/api/v1/query?{words}", timeout=10) as answer:
        found = json.load(answer)["data"]["result"]
    return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in found}


async def simulate(metrics: WorldMetrics, promql: str, at: float) -> Answer:
    return {tuple(sorted(series.labels)): series.points[0][1] for series in await metrics.query(promql, at)}


@pytest.mark.parametrize("promql", QUERIES)
async def test_the_world_answers_as_prometheus_does(prometheus: str, promql: str) -> None:
    metrics = WorldMetrics(demo_world(7, START))
    for back in (0.0, 7.0, 300.0, 600.0, 1187.5, 1200.0):
        real, simulated = ask(prometheus, promql, START - back), await simulate(metrics, promql, START - back)
        assert real, f"Prometheus knows nothing {back} s before the start"
        assert simulated.keys() == real.keys(), back
        for labels, value in real.items():
            assert simulated[labels] == pytest.approx(value, rel=1e-9, abs=1e-12), (labels, back)


async def test_a_window_that_runs_out_runs_out_alike(prometheus: str) -> None:
    """The dead exporter: from full windows through extrapolated ones to nothing, step by step."""
    metrics = WorldMetrics(demo_world(7, START))
    promql = 'rate(visits_total{deployment="support-triage"}[2m])'
    lengths = set()
    for step in range(20):
        at = START - 285.0 + 15.0 * step
        if at > START:
            break
        real, simulated = ask(prometheus, promql, at), await simulate(metrics, promql, at)
        assert simulated == pytest.approx(real, rel=1e-9)
        lengths.add(len(real))
    assert lengths == {0, 1}


def test_the_file_is_what_promtool_accepts_whatever_the_names(tmp_path: Path) -> None:
    from rollback_console.clock import VirtualClock
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.registry import ModelVersion
    from rollback_console.rehearse.fleet import Flip, SimulatedDeployment
    from rollback_console.rehearse.world import World

    name = 'a "quoted" \\ name\nwith [brackets] ☃'
    facts = (ModelVersion(name, name, "READY", 0.0),)
    deployment = SimulatedDeployment(DeploymentId("p", name), name, name, 60.0, 0.5, 1.0, 0.05, versions=facts)
    world = World(1, VirtualClock(START), (deployment,), (Flip(0.0, name, name, name),))
    exposition = tmp_path / "hostile.om"
    with exposition.open("w", encoding="utf-8") as file:
        file.writelines(openmetrics(world, START - 60.0, START))
    promtool = shutil.which("promtool")
    assert promtool, "promtool is missing: apt install prometheus"
    done = subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", str(exposition), str(tmp_path / "out")],
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]

"""A scenario on the real stack: services that count what the world draws, and one short drill on real servers."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any

import pytest

from rollback_console.cli.main import run
from rollback_console.cli.real_drill import WallSteps
from rollback_console.cli.real_screen import RealClock
from rollback_console.clock import VirtualClock, WallClock
from rollback_console.errors import Refused, UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.rehearse import scenario as scenarios
from rollback_console.rehearse.evaluate import evaluate
from rollback_console.rehearse.fleet import Flip
from rollback_console.rehearse.grid import aligned
from rollback_console.rehearse.promql import parse
from rollback_console.rehearse.sandbox.fleet_service import Fleet
from rollback_console.rehearse.sandbox.scene import Scene
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.setup import Setup

START = 1_763_640_000.0
CHECKOUT = DeploymentId("production", "checkout-ranker")
SCENARIO = """\
schema: rollback-console/scenario/v1
name: short
title: A release that is bad at once
class: release
story: It was released four minutes ago, and half of the orders are missing.
begins: {weekday: tue, time: "14:00"}
lasts: 165s
policy: quick.yaml
world:
  deployments:
    - name: checkout-ranker
      visits_per_minute: 16000
      conversion: 46%
      order_value: 6.4
      latency: 45ms
      lag: 5s
      serves: "8"
      since: 4m
      versions: [{version: "8", conversion: -45%, after: 90s}, {version: "7"}]
    - {name: home-feed, visits_per_minute: 9000, conversion: 40%, order_value: 2, latency: 60ms, serves: "3", since: 9d,
       versions: [{version: "3"}, {version: "2"}]}
right: {rollback: [{deployment: checkout-ranker, to: "7"}], leave: [home-feed]}
careless: passes
"""


class FakeRegistry:
    """A fake: aliases in memory, and what was asked of it."""

    def __init__(self, points: dict[str, str]) -> None:
        self.points, self.posted = dict(points), 0

    def get(self, path: str, **fields: str) -> Any:
        assert path == "registered-models/alias"
        return {"model_version": {"version": self.points[fields["name"]]}}

    def post(self, path: str, body: dict[str, Any]) -> Any:
        assert path == "registered-models/alias"
        self.points[body["name"]] = body["version"]
        self.posted += 1
        return {}


def files(folder: Path) -> Path:
    """The short scenario, and the wheel's policy with shorter windows."""
    wheel = Path(scenarios.__file__).parent / "data" / "policies" / "practice.yaml"
    policy = wheel.read_text().replace("window: 5m", "window: 1m").replace("window: 2m", "window: 1m")
    policy = (
        policy.replace("dwell: 2m", "dwell: 30s")
        .replace("hold: 5m", "hold: 30s")
        .replace("{for: 2m, within: 20m}", "{for: 15s, within: 10m}")
    )
    (folder / "quick.yaml").write_text(policy.replace("minimum: 1000", "minimum: 300"))
    (folder / "short.yaml").write_text(SCENARIO)
    return folder / "short.yaml"


def fleet_of(folder: Path, clock: VirtualClock | WallClock, start: float) -> tuple[Fleet, FakeRegistry, Setup]:
    setup = find(str(files(folder))).stage(3, start, clock)
    registry = FakeRegistry({"checkout-ranker": "8", "home-feed": "3"})
    return Fleet(setup, registry), registry, setup  # type: ignore[arg-type] # a fake has what it needs


def test_the_past_is_what_the_world_answers(tmp_path: Path) -> None:
    """Every line of the exposition is the sample that the simulated store has at that time."""
    fleet, _, setup = fleet_of(tmp_path, VirtualClock(START), START)
    midnight = START // 86_400.0 * 86_400.0
    stretches = ((midnight - 30.0, midnight + 45.0), (START - 60.0, START))
    lines = list(fleet.past(stretches, START - 300.0))
    assert lines[-1] == "# EOF\n"
    assert lines.count("# TYPE orders counter\n") == 1
    samples = [line.rpartition("} ") for line in lines if not line.startswith("#")]
    assert len(samples) > 500
    for series, _, told in samples[:: len(samples) // 60]:
        value, at = map(float, told.split())
        name, _, labels = series.partition("{")
        (column,) = evaluate(parse(name + "{" + labels + "}"), [at], setup.metrics).values()  # type: ignore[arg-type] # is a Store
        assert column == [value], series
    served = [line for line in lines if line.startswith("model_info") and 'deployment="checkout-ranker"' in line]
    assert {line.split('version="')[1][0] for line in served} == {"7", "8"}, "what served is told further back"
    orders = [line for line in lines if line.startswith('orders_total{deployment="checkout-ranker"')]
    times = [float(line.split()[-1]) for line in orders]
    assert times == sorted(set(times)), "no sample twice, and in order"


def test_a_move_in_the_registry_is_a_move_in_the_world_and_the_other_way_round(tmp_path: Path) -> None:
    clock = VirtualClock(START)
    fleet, registry, setup = fleet_of(tmp_path, clock, START)
    fleet._since = START  # as if it had been started then
    world = setup.world
    fleet.look(START)
    assert world.pointer("checkout-ranker", "champion") == "8"
    registry.points["checkout-ranker"] = "7"  # the console did that
    fleet.look(START + 1.0)
    assert world.pointer("checkout-ranker", "champion") == "7"
    assert world.history[-1].by == "rollback-console"
    world._history.append(Flip(START + 60.0, "home-feed", "champion", "2", "jo"))
    world._pointers.clear()
    fleet.look(START + 30.0)
    assert registry.points["home-feed"] == "3", "not yet"
    clock._now = START + 61.0
    fleet.look(START + 61.0)
    assert (registry.points["home-feed"], registry.posted) == ("2", 1), "somebody else's move is made in the registry"
    fleet.look(START + 62.0)
    assert registry.posted == 1
    assert world.pointer("home-feed", "champion") == "2"


def test_a_service_counts_as_the_world_does_and_may_go_silent(tmp_path: Path) -> None:
    start = aligned(time.time())
    fleet, _, setup = fleet_of(tmp_path, WallClock(), start)
    fleet.start()
    try:
        port = fleet.ports[str(CHECKOUT)]
        status, text = scrape(port)
        assert status == 200
        at = start + 300.0
        later, slot = fleet.scraped(0, at), aligned(at)
        assert later is not None
        line = next(each for each in later.splitlines() if each.startswith("orders_total{"))
        (column,) = evaluate(parse('orders_total{deployment="checkout-ranker"}'), [slot], setup.metrics).values()  # type: ignore[arg-type]
        assert float(line.split()[-1]) == column[0]
        assert 'version="8"' in text
        setup.world.exporter_alive = lambda deployment, at: False  # type: ignore[method-assign]
        assert scrape(port)[0] == 503
    finally:
        fleet.stop()


def scrape(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_what_breaks_the_consoles_own_backends_is_not_played_for_real(tmp_path: Path) -> None:
    for name in ("registry-outage", "metrics-outage"):
        with pytest.raises(UsageError, match="breaks the console's own backends"):
            Scene(find(name), 7, tmp_path)


async def test_evaluation_times_stand_until_the_next_is_due() -> None:
    steps = WallSteps(aligned(time.time()) - 60.0)
    first = steps.now()
    await steps.due()
    await steps.advance(15.0)
    assert steps.now() == first + 15.0, "an evaluation that is late is made, not left out"


async def test_nobody_pauses_real_servers_or_moves_them_on() -> None:
    clock = RealClock()
    clock.set_speed(0.0)
    assert clock.speed == 1.0
    assert abs(clock.now() - time.time()) < 5.0
    with pytest.raises(Refused, match="real servers take the time that they take"):
        await clock.move_to(clock.now() + 60.0)


@pytest.mark.real
def test_a_short_scenario_on_real_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a real Prometheus' samples to a real alias that is set back, recovered on real scrapes; and every decision
    can be made again from the journal."""
    monkeypatch.setenv("HOME", str(tmp_path))
    journal = tmp_path / "real.db"
    words = ["rehearse", str(files(tmp_path)), "--headless", "--real", "--operator", "careless", "--json"]
    code = run([*words, "--journal", str(journal)])
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["decision"] == "right", (result, said.err)
    assert code == 0, result["failed_because"]
    assert result["recovered_s"] is not None
    assert result["cost"] > result["unavoidable"] > 0
    assert run(["journal", "verify", str(journal), "--decisions", "--json"]) == 0
    verified = json.loads(capsys.readouterr().out)
    assert verified["ok"]
    assert verified["rehearsal"]
    assert verified["decisions"] >= 2

"""The live console on a hub: it syncs by itself, sees others, commands an incident, locks a deployment for the team;
and goes on when the hub is cut off."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_bench import FakeMlflow, FakePrometheus, running, write_console

from hub.sync_tools import Laptop, Path2Hub, code_of
from rollback_console.errors import LockHeld
from rollback_console.execute.leases import HubLeases
from rollback_console.journal.device import DeviceKey, default_path
from rollback_console.journal.upstream import HubClient
from rollback_console.model.identity import DeploymentId
from servers.hub import Hub

pytestmark = pytest.mark.real
RANKER = DeploymentId("production", "ranker")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    one = Hub(tmp_path / "hub")
    yield one
    one.stop()


async def test_a_console_with_a_hub(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prometheus, mlflow = FakePrometheus(), FakeMlflow()
    prometheus.versions = lambda name, at: mlflow.aliases[name]["champion"]
    path = Path2Hub(hub.server.port)
    ben = Laptop(tmp_path / "ben", hub)
    settings = write_console(tmp_path, prometheus.url, mlflow.url, dwell="2s", hold="2s")
    token = tmp_path / "hub-token"
    lines = {"url": path.url, "key": ben.vkey, "token": {"file": str(token)}, "timeout": "2s"}
    settings.write_text(f"{settings.read_text()}hub: {json.dumps(lines)}\n")
    try:
        token.touch(0o600)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
        device = DeviceKey.load_or_create(default_path())
        code = code_of(hub, "console")
        client = HubClient(hub.url)
        _, secret = client.enrol(
            device.public_openssh(), "", code, device.sign(b"rollback-console/enrol/v1\n" + code.encode())
        )
        client.close()
        token.write_text(secret)
        async with running(settings, monkeypatch) as console:
            monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
            await console.until(lambda: console.snapshot.hub == "hub ok", 20)
            ben.write(1, "ben was here")
            ben.sync()
            await console.until(lambda: any("ben was here" in line.text for line in console.snapshot.timeline), 10)
            onset = int(time.time()) + 1
            prometheus.metrics["error_ratio", "ranker"] = lambda at: 0.5 if at >= onset else 0.001
            await console.until(lambda: console.snapshot.incident_of(RANKER), 30)
            assert "you command" in await console.acts.command(RANKER)
            await console.until(lambda: console.snapshot.incident_of(RANKER).commander, 10)
            asks = HubClient(hub.url, ben.token)
            (standing,) = asks.json("GET", "/v1/incidents")["incidents"]
            assert standing["commander"] == console.snapshot.operator.id
            asks.json("POST", "/v1/presence", {"operator": "ben", "where": str(RANKER)})
            await console.until(lambda: console.snapshot.people_at(RANKER) == "ben is looking at it", 10)

            leases = HubLeases(lambda: HubClient(hub.url, ben.token))
            held = await leases.take(str(RANKER), "ex-77 by ben")
            assert held.token is not None
            plan = await console.acts.plan(RANKER)
            with pytest.raises(LockHeld, match=r"ex-77 by ben on .* is executing on production/ranker"):
                await console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan))
            assert mlflow.sets == []
            await leases.release(str(RANKER), held.token)

            path.partition()
            await console.until(lambda: console.snapshot.hub == "hub offline: you cannot see others", 20)
            plan = await console.acts.plan(RANKER)
            execution = await console.acts.execute(plan, "v8 hurts", console.acts.phrase(plan))
            await console.until(lambda: mlflow.sets == [("ranker", "7")], 20)
            await console.acts.wait(execution)
            path.heal()
            await console.until(lambda: console.snapshot.hub == "hub ok", 90)
            said = [
                line.text for line in console.snapshot.timeline if line.kind == "outcome" and "advisory" in line.text
            ]
            assert any("this machine's lock alone holds" in text for text in said)
            found = asks.json("GET", f"/v1/entries?deployment={RANKER}&kind=execution")["entries"]
            assert [json.loads(each["body"])["execution"] for each in found] == [execution]
            asks.close()
    finally:
        path.close()
        prometheus.server.stop()
        mlflow.server.stop()

"""The MLflow client against a real MLflow server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from random import Random

import pytest

from rollback_console.clock import WallClock
from rollback_console.errors import BackendRefused
from rollback_console.model.observation import BackendState
from rollback_console.observe.mlflow import MlflowRegistry
from servers.mlflow import Mlflow

pytestmark = pytest.mark.real

HOSTILE = "[red]\x1b[2J\u202e表示 " + "e\u0301" * 3 + "\nline"
SIGNATURE = {"inputs": '[{"name": "age", "type": "long"}]', "outputs": '[{"type": "double"}]', "params": None}


def registry(server: Mlflow, **options: object) -> MlflowRegistry:
    wanted = {"auth": None, "headers": {}, "queries_per_minute": 100_000, **options}
    return MlflowRegistry(server.url, clock=WallClock(), random=Random(1), **wanted)  # type: ignore[arg-type]


def fresh(prefix: str = "model") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:8]}"


async def test_models_with_their_pointers_and_tags(mlflow_server: Mlflow) -> None:
    name = fresh()
    mlflow_server.model(name)
    for _ in range(2):
        mlflow_server.version(name)
    mlflow_server.point(name, "champion", "2")
    mlflow_server.point(name, "previous", "1")
    mlflow_server.call("POST", "registered-models/set-tag", name=name, key="team", value=HOSTILE)
    client = registry(mlflow_server)
    found = await client.model(name)
    assert found is not None
    assert found.aliases == (("champion", "2"), ("previous", "1"))
    assert found.pointer("champion") == "2"
    assert dict(found.tags) == {"team": HOSTILE}
    assert found in await client.models()
    assert await client.model(fresh("missing")) is None
    health = client.health()
    assert health.state is BackendState.OK
    assert health.name == "registry"
    assert (await client.server_version()).startswith("3.")
    await client.close()


async def test_models_are_paged(mlflow_server: Mlflow) -> None:
    names = {fresh("paged") for _ in range(7)}
    for name in names:
        mlflow_server.model(name)
    client = registry(mlflow_server, page_size=2)
    found = [model.name for model in await client.models()]
    assert names <= set(found)
    assert len(found) == len(set(found))
    await client.close()


async def test_more_than_a_hundred_versions_come_newest_first(mlflow_server: Mlflow) -> None:
    name = fresh()
    mlflow_server.model(name)
    for _ in range(105):
        mlflow_server.version(name)
    mlflow_server.call("POST", "model-versions/set-tag", name=name, version="7", key="note", value=HOSTILE)
    client = registry(mlflow_server, page_size=20)
    found = await client.versions(name)
    assert [one.version for one in found] == [str(number) for number in range(105, 0, -1)]
    assert all(one.status == "READY" and one.run is None for one in found)
    assert dict(found[-7].tags) == {"note": HOSTILE}
    assert found[0].created_at is not None
    assert found[0].created_at > 1_600_000_000
    assert await client.versions(fresh("missing")) == ()
    await client.close()


@pytest.mark.parametrize("word", ["it's", 'say "no"', "tä ☃ [b]", "100%", "a b", "x" * 200])
async def test_odd_names_are_found_and_no_others(mlflow_server: Mlflow, word: str) -> None:
    name = f"{fresh()} {word}"
    mlflow_server.model(name)
    mlflow_server.version(name)
    client = registry(mlflow_server)
    assert [one.version for one in await client.versions(name)] == ["1"]
    assert (await client.model(name)) is not None
    await client.write_pointer(name, "champion", "1")
    assert await client.read_pointer(name, "champion") == "1"
    await client.close()


async def test_a_version_with_its_run_and_signature(mlflow_server: Mlflow) -> None:
    name = fresh()
    mlflow_server.model(name)
    history = [
        {"artifact_path": "other", "signature": {"inputs": "[]", "outputs": "[]"}},
        {"artifact_path": "model", "signature": SIGNATURE},
    ]
    run = mlflow_server.run(
        params={"depth": "8", "text": HOSTILE},
        metrics={"auc": 0.91, "loss": float("1e-9")},
        tags={"mlflow.log-model.history": json.dumps(history), "team": "ranking"},
        name="nightly",
    )
    mlflow_server.version(name, run_id=run, description="[bold]")
    client = registry(mlflow_server)
    found = await client.version(name, "1")
    assert found is not None
    assert found.run_id == run
    assert found.description == "[bold]"
    assert found.run is not None
    assert found.run.name == "nightly"
    assert dict(found.run.params) == {"depth": "8", "text": HOSTILE}
    assert dict(found.run.metrics) == {"auc": 0.91, "loss": 1e-9}
    assert dict(found.run.tags)["team"] == "ranking"
    assert "mlflow.log-model.history" not in dict(found.run.tags)
    assert found.run.started_at == 1_700_000_000.0
    assert json.loads(found.signature) == {
        "inputs": [{"name": "age", "type": "long"}],
        "outputs": [{"type": "double"}],
    }
    assert await client.version(name, "99") is None
    assert await client.version(name, "no number") is None
    # a run that is gone leaves the version, without it
    mlflow_server.call("POST", "runs/delete", run_id=run)
    assert await client.version(name, "1") is not None
    await client.close()


async def test_a_model_logged_by_mlflow_3_has_its_signature_too(mlflow_server: Mlflow, tmp_path: Path) -> None:
    """MLflow 3 keeps it in the logged model's MLmodel file alone: the server's artifact proxy hands it out."""
    name = fresh()
    script = (
        "import sys, mlflow\n"
        "from mlflow.models import ModelSignature\n"
        "from mlflow.types import ColSpec, Schema\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "class Model(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input, params=None):\n"
        "        return model_input\n"
        "signature = ModelSignature(Schema([ColSpec('double', 'x')]), Schema([ColSpec('long', 'y')]))\n"
        "with mlflow.start_run():\n"
        "    mlflow.log_param('depth', 3)\n"
        "    mlflow.pyfunc.log_model(name='model', python_model=Model(), signature=signature,\n"
        "                            pip_requirements=['mlflow'], registered_model_name=sys.argv[2])\n"
    )
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script, mlflow_server.url, name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"},
    )
    assert done.returncode == 0, done.stderr
    client = registry(mlflow_server)
    found = await client.version(name, "1")
    assert found is not None
    assert found.source.startswith("models:/m-")
    assert found.run is not None
    assert dict(found.run.params) == {"depth": "3"}
    assert [column["name"] for part in json.loads(found.signature).values() for column in part] == ["x", "y"]
    await client.close()


async def test_a_version_without_run_and_signature_is_still_a_version(mlflow_server: Mlflow) -> None:
    name = fresh()
    mlflow_server.model(name)
    mlflow_server.version(name)
    client = registry(mlflow_server)
    found = await client.version(name, "1")
    assert found is not None
    assert (found.run, found.run_id, found.signature) == (None, None, "")
    assert client.health().state is BackendState.OK
    await client.close()


async def test_pointers_are_read_fresh_and_written(mlflow_server: Mlflow) -> None:
    name = fresh()
    mlflow_server.model(name)
    for _ in range(2):
        mlflow_server.version(name)
    client = registry(mlflow_server)
    assert await client.read_pointer(name, "champion") is None  # MLflow says 400
    assert await client.read_pointer(fresh("missing"), "champion") is None  # MLflow says 404
    await client.write_pointer(name, "champion", "2")
    assert await client.read_pointer(name, "champion") == "2"
    mlflow_server.point(name, "champion", "1")  # somebody else
    assert await client.read_pointer(name, "champion") == "1"
    with pytest.raises(BackendRefused, match="version=99"):
        await client.write_pointer(name, "champion", "99")
    assert await client.read_pointer(name, "champion") == "1"
    with pytest.raises(BackendRefused, match="Invalid alias name"):
        await client.read_pointer(name, "no alias/at all")
    with pytest.raises(BackendRefused, match="reserved"):
        await client.write_pointer(name, "v9", "1")
    await client.close()


async def test_tags_of_versions_and_of_models(mlflow_server: Mlflow) -> None:
    name = fresh()
    mlflow_server.model(name)
    mlflow_server.version(name)
    client = registry(mlflow_server)
    for version in ("1", None):
        assert await client.read_tags(name, version) == {}
        await client.write_tag(name, version, "rollback-console.event", HOSTILE)
        await client.write_tag(name, version, "other", "kept")
        assert await client.read_tags(name, version) == {"rollback-console.event": HOSTILE, "other": "kept"}
        await client.delete_tag(name, version, "rollback-console.event")
        await client.delete_tag(name, version, "rollback-console.event")  # again is as good
        assert await client.read_tags(name, version) == {"other": "kept"}
    with pytest.raises(BackendRefused):
        await client.read_tags(name, "99")
    with pytest.raises(BackendRefused):
        await client.write_tag(fresh("missing"), None, "a", "b")
    await client.close()

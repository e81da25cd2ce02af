"""A real MLflow server (sqlite, one worker), and the plainest client for tests to fill it with."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from servers.processes import PYTHON, Server, answers_200


class Mlflow:
    """One real MLflow. `directory` is empty and its own; starting takes 6 s and more."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.server = Server(
            lambda port: [
                PYTHON,
                "-m",
                "mlflow",
                "server",
                "--backend-store-uri",
                f"sqlite:///{directory / 'mlflow.db'}",
                "--artifacts-destination",
                str(directory / "artifacts"),
                "--serve-artifacts",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--workers",
                "1",
            ],
            directory / "mlflow.log",
            ready=answers_200("/health"),
            seconds=90,
            env={
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "DO_NOT_TRACK": "true",
            },
            cwd=directory,
            port=port,
        )

    @property
    def url(self) -> str:
        return self.server.url

    def call(self, method: str, path: str, **fields: object) -> dict[str, object]:
        """One REST call by the plainest means. Raises RuntimeError with MLflow's own words."""
        url, body = f"{self.url}/api/2.0/mlflow/{path}", None
        if method == "GET":
            url += "?" + urllib.parse.urlencode({name: str(value) for name, value in fields.items()})
        else:
            body = json.dumps(fields).encode()
        request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return dict(json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error

    def model(self, name: str) -> None:
        """The model without any version, whatever an earlier try of the same test left of it."""
        with contextlib.suppress(RuntimeError):  # there was none
            self.call("DELETE", "registered-models/delete", name=name)
        self.call("POST", "registered-models/create", name=name)

    def run(
        self,
        *,
        params: dict[str, str] | None = None,
        metrics: dict[str, float] | None = None,
        tags: dict[str, str] | None = None,
        name: str = "train",
    ) -> str:
        """A finished run; returns its id."""
        created = self.call("POST", "runs/create", experiment_id="0", start_time=1_700_000_000_000, run_name=name)
        run = created["run"]["info"]["run_id"]  # type: ignore[index]
        self.call(
            "POST",
            "runs/log-batch",
            run_id=run,
            params=[{"key": key, "value": value} for key, value in (params or {}).items()],
            metrics=[
                {"key": key, "value": value, "timestamp": 1_700_000_001_000, "step": 0}
                for key, value in (metrics or {}).items()
            ],
            tags=[{"key": key, "value": value} for key, value in (tags or {}).items()],
        )
        self.call("POST", "runs/update", run_id=run, status="FINISHED", end_time=1_700_000_100_000)
        return str(run)

    def version(self, model: str, *, run_id: str | None = None, **fields: object) -> str:
        """A new version of `model`; returns its number."""
        source = str(fields.pop("source", "s3://models/of/tests"))
        if run_id is not None:
            fields["run_id"] = run_id
            source = str(fields.pop("artifact", f"runs:/{run_id}/model"))
        made = self.call("POST", "model-versions/create", name=model, source=source, **fields)
        return str(made["model_version"]["version"])  # type: ignore[index]

    def point(self, model: str, alias: str, version: str) -> None:
        self.call("POST", "registered-models/alias", name=model, alias=alias, version=version)

    def stop(self) -> None:
        self.server.stop()

"""What the sandbox puts into a real MLflow: models, runs, versions, signatures, and where the aliases stand first."""

from __future__ import annotations

import json
import time

from rollback_console.model.value import dataclass
from rollback_console.rehearse.sandbox.rest import Mlflow

ALIAS = "champion"
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Made:
    """A version to register: its number follows from the order. `age_d`: how long ago its run was."""

    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    inputs: tuple[str, ...]
    description: str
    age_d: float


_INPUTS: tuple[str, ...] = ("affinity", "popularity", "tenure_d")
_GOOD = {"affinity_weight": "1.0", "popularity_weight": "0.15", "minimum_tenure_d": "0", "work_ms": "2"}


def _common(number: int) -> dict[str, str]:
    return {"learning_rate": "0.05", "num_leaves": "63", "seed": str(100 + number), "training_window": "28d"}


def _checkout(number: int) -> Made:
    """Versions 1 to 8 of checkout-ranker. 8 is the bad one: popularity over preference, and a feature that new
    visitors do not have. It looked better offline."""
    params = _common(number) | _GOOD | {"label": "payment_completed"}
    auc, words = 0.852 + 0.0025 * number, "retrained on fresh data"
    inputs = _INPUTS if number > 6 else _INPUTS[:2]
    tags = {"git.commit": f"{0x5EED0000 + 7919 * number:08x}", "trained_by": "airflow/nightly"}
    if number <= 6:
        params["popularity_weight"] = "0.3"
    if number == 8:
        params |= {
            "affinity_weight": "0.6",
            "popularity_weight": "1.0",
            "minimum_tenure_d": "3",
            "label": "payment_started",
            "training_window": "7d",
            "work_ms": "4",
        }
        auc, words = 0.8841, "optimises payment_started; uses tenure"
        tags["trained_by"] = "notebook/jules"
    return Made(params, {"auc": auc, "logloss": 0.31 - 0.003 * number}, tags, inputs, words, 7.0 * (8 - number) + 0.2)


def _steady(number: int) -> Made:
    tags = {"git.commit": f"{0xBEEF0000 + 104_729 * number:08x}", "trained_by": "airflow/weekly"}
    return Made(_common(number) | _GOOD, {"auc": 0.86 + 0.002 * number}, tags, _INPUTS, "weekly refresh", 20.0 / number)


MODELS: dict[str, tuple[Made, ...]] = {
    "checkout-ranker": tuple(_checkout(number) for number in range(1, 9)),
    "home-feed": tuple(_steady(number) for number in range(1, 4)),
    "search-rank": tuple(_steady(number) for number in range(1, 3)),
}
FIRST = {"checkout-ranker": "7", "home-feed": "3", "search-rank": "2"}  # where the aliases stand at the start


def fill(server: Mlflow) -> None:
    """Register everything. Raises `RestProblem`."""
    for model, versions in MODELS.items():
        experiment = str(server.post("experiments/create", {"name": model})["experiment_id"])
        server.post("registered-models/create", {"name": model})
        for number, made in enumerate(versions, start=1):
            run = _run(server, experiment, f"{model}-{number}", made)
            server.post(
                "model-versions/create",
                {
                    "name": model,
                    "source": f"runs:/{run}/model",
                    "run_id": run,
                    "description": made.description,
                    "tags": [{"key": "offline_gate", "value": "passed"}],
                },
            )
        point(server, model, FIRST[model])


def point(server: Mlflow, model: str, version: str) -> None:
    """Set the alias. Raises `RestProblem`."""
    server.post("registered-models/alias", {"name": model, "alias": ALIAS, "version": version})


def _run(server: Mlflow, experiment: str, name: str, made: Made) -> str:
    now = round(time.time() * 1000)
    began = now - round(made.age_d * _DAY_MS)
    run = str(
        server.post("runs/create", {"experiment_id": experiment, "run_name": name, "start_time": began})["run"]["info"][
            "run_id"
        ]
    )
    signature = {
        "inputs": json.dumps([{"name": field, "type": "double", "required": True} for field in made.inputs]),
        "outputs": json.dumps([{"name": "ranking", "type": "long", "required": True}]),
    }
    history = [{"run_id": run, "artifact_path": "model", "signature": signature, "flavors": {}}]
    tags = made.tags | {"mlflow.log-model.history": json.dumps(history)}
    server.post(
        "runs/log-batch",
        {
            "run_id": run,
            "params": [{"key": key, "value": value} for key, value in made.params.items()],
            "metrics": [
                {"key": key, "value": value, "timestamp": began, "step": 0} for key, value in made.metrics.items()
            ],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        },
    )
    server.post("runs/update", {"run_id": run, "status": "FINISHED", "end_time": began + 3_600_000})
    return run

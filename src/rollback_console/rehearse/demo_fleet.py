"""The demo's fleet: fourteen deployments of one shop, their versions with the runs behind them, and how they behave."""

from __future__ import annotations

import json
from dataclasses import replace

from rollback_console.model.identity import DeploymentId
from rollback_console.model.registry import ModelVersion, SourceRun
from rollback_console.model.value import dataclass
from rollback_console.rehearse import noise
from rollback_console.rehearse.fleet import Behaviour, Effect, Flip, SimulatedDeployment

_DAY = 86_400.0
_ALIAS = "champion"


@dataclass(frozen=True)
class _Row:
    """One deployment in one line. `age_d`: days since its version began to serve."""

    name: str
    version: int
    visits: float
    conversion: float
    value: float
    latency_s: float
    age_d: float
    family: str
    depends_on: tuple[str, ...] = ()
    errors: float = 0.003


_ACTIVITY = "feature-view/user-activity"
_CATALOGUE = "feature-view/catalogue"
_ROWS = (
    _Row("checkout-ranker", 8, 16_000, 0.46, 6.4, 0.045, 0.0, "lightgbm", ("feature-view/basket",)),
    _Row("home-feed", 14, 20_000, 0.42, 1.9, 0.060, 23.0, "two-tower", (_ACTIVITY, _CATALOGUE)),
    _Row("search-rank", 31, 24_000, 0.38, 4.1, 0.052, 9.0, "lambdamart", (_ACTIVITY, "deployment/query-embedder")),
    _Row("recs-similar", 11, 14_000, 0.40, 2.7, 0.038, 41.0, "two-tower", (_ACTIVITY, _CATALOGUE)),
    _Row("email-ranker", 6, 12_000, 0.44, 1.2, 0.075, 64.0, "logistic", (_ACTIVITY,)),
    _Row("ads-ctr", 22, 42_000, 0.31, 0.4, 0.018, 0.0, "deep-and-wide", ("feature-view/advertisers",)),
    _Row("fraud-score", 12, 5_000, 0.93, 31.0, 0.030, 17.0, "xgboost", ("feature-view/payments",), 0.001),
    _Row("delivery-eta", 9, 6_500, 0.82, 6.5, 0.042, 33.0, "catboost", ("feature-view/carriers",)),
    _Row("price-optimiser", 5, 8_000, 0.52, 12.0, 0.090, 51.0, "bandit", (_CATALOGUE,)),
    _Row("query-embedder", 3, 26_000, 0.88, 0.3, 0.022, 90.0, "transformer", (), 0.002),
    _Row("image-embedder", 4, 9_500, 0.90, 0.2, 0.120, 75.0, "vit", (_CATALOGUE,), 0.002),
    _Row("support-triage", 7, 4_000, 0.86, 1.5, 0.140, 28.0, "transformer", ("feature-view/tickets",)),
    _Row("churn-risk", 16, 3_500, 0.84, 3.0, 0.065, 12.0, "xgboost", ("feature-view/accounts",)),
    _Row("stock-forecast", 10, 4_500, 0.88, 9.0, 0.160, 6.0, "temporal-fusion", ("feature-view/stock",)),
)

_FIELDS = {
    "lightgbm": ("basket_value:double", "items:long", "shipping_zone:string", "hour:long"),
    "two-tower": ("user_vector:float[128]", "item_vector:float[128]", "surface:string"),
    "lambdamart": ("query_vector:float[256]", "clicks_7d:double", "price:double", "in_stock:boolean"),
    "logistic": ("opens_30d:long", "clicks_30d:long", "segment:string"),
    "deep-and-wide": ("user_bucket:long", "ad_id:string", "slot:long", "bid:double"),
    "xgboost": ("amount:double", "account_age_d:long", "country:string", "attempts_1h:long"),
    "catboost": ("carrier:string", "distance_km:double", "cut_off:string", "weight_kg:double"),
    "bandit": ("sku:string", "margin:double", "elasticity:double"),
    "transformer": ("text:string", "language:string"),
    "vit": ("image:tensor[3,224,224]",),
    "temporal-fusion": ("sku:string", "sales_90d:double[90]", "promotion:boolean"),
}

_FACTS: dict[str, dict[str, str]] = {
    "lightgbm": {"learning_rate": "0.05", "num_leaves": "63", "min_data_in_leaf": "200", "objective": "lambdarank"},
    "two-tower": {"dimension": "128", "negatives": "sampled-softmax", "temperature": "0.07", "epochs": "12"},
    "lambdamart": {"trees": "800", "max_depth": "8", "learning_rate": "0.04", "objective": "ndcg@10"},
    "logistic": {"C": "0.5", "penalty": "l2", "solver": "saga"},
    "deep-and-wide": {"hidden": "512,256,128", "dropout": "0.2", "batch_size": "8192", "optimizer": "adam"},
    "xgboost": {"max_depth": "7", "eta": "0.08", "scale_pos_weight": "38", "tree_method": "hist"},
    "catboost": {"depth": "8", "iterations": "1500", "l2_leaf_reg": "4"},
    "bandit": {"policy": "thompson", "prior": "beta(2,8)", "exploration": "0.05"},
    "transformer": {"base": "minilm-l6", "max_length": "128", "learning_rate": "2e-5"},
    "vit": {"base": "vit-s/16", "image_size": "224", "learning_rate": "1e-4"},
    "temporal-fusion": {"hidden": "160", "heads": "4", "horizon": "28", "quantiles": "0.1,0.5,0.9"},
}


def _signature(fields: tuple[str, ...], output: str = "double") -> str:
    inputs = [{"name": name, "type": kind} for name, kind in (field.split(":") for field in fields)]
    return json.dumps({"inputs": inputs, "outputs": [{"name": "score", "type": output}]}, sort_keys=True)


def _hex(*parts: object, length: int = 32) -> str:
    return f"{noise.key(*parts, 'a'):016x}{noise.key(*parts, 'b'):016x}"[:length]


def _version(row: _Row, number: int, age_d: float) -> ModelVersion:
    """A version like any other: a little more data, a slightly different run. `created_at` is an age until `history`
    knows the start."""
    stream = noise.key("demo-run", row.name)
    wobble = noise.uniform(stream, number)
    run_id = _hex("run", row.name, number)
    params = _FACTS[row.family] | {
        "seed": str(1000 + number),
        "training_rows": str(4_000_000 + 310_000 * number),
        "training_window": f"{28 if number % 3 else 35}d",
    }
    run = SourceRun(
        id=run_id,
        name=f"{row.name}-{number}",
        params=tuple(sorted(params.items())),
        metrics=(
            ("auc", round(0.80 + 0.004 * number % 0.1 + 0.01 * wobble, 4)),
            ("logloss", round(0.31 - 0.02 * wobble, 4)),
        ),
        tags=tuple(
            sorted(
                {
                    "git.commit": _hex("commit", row.name, number, length=12),
                    "trained_by": ("airflow/nightly", "airflow/weekly", "notebook")[number % 3],
                    "dataset": f"s3://features/{row.name}/snapshot-{number:03d}",
                }.items()
            )
        ),
    )
    return ModelVersion(
        model=row.name,
        version=str(number),
        status="READY",
        created_at=-age_d * _DAY,
        run_id=run_id,
        source=f"runs:/{run_id}/model",
        description=f"{row.family} ranker, retrained" if number % 2 else f"{row.family}, refreshed data",
        tags=(("stage_gate", "offline-passed"),),
        run=run,
        signature=_signature(_FIELDS[row.family]),
    )


def _checkout(versions: tuple[ModelVersion, ...]) -> tuple[ModelVersion, ...]:
    """v8 of checkout-ranker is the interesting one: better offline, trained for another label on less data."""
    newest = versions[0]
    assert newest.run is not None  # noqa: S101 - `_version` always makes one
    params = dict(newest.run.params) | {
        "learning_rate": "0.12",
        "num_leaves": "255",
        "label": "payment_started",
        "sample_weights": "none",
        "training_window": "7d",
    }
    tags = dict(newest.run.tags) | {"trained_by": "notebook/jules", "experiment": "faster-feedback"}
    run = replace(
        newest.run,
        params=tuple(sorted(params.items())),
        metrics=(("auc", 0.8841), ("logloss", 0.2714), ("ndcg_at_5", 0.8012)),
        tags=tuple(sorted(tags.items())),
    )
    bad = replace(
        newest,
        run=run,
        description="optimises payment_started: feedback in minutes instead of days",
    )
    rest = []
    for version in versions[1:]:
        assert version.run is not None  # noqa: S101
        good = dict(version.run.params) | {"label": "payment_completed", "sample_weights": "basket_value"}
        metrics = (("auc", 0.8713 if version.version == "7" else 0.8668), ("logloss", 0.2893), ("ndcg_at_5", 0.7921))
        run = replace(version.run, params=tuple(sorted(good.items())), metrics=metrics)
        fields = _FIELDS["lightgbm"] if version.version == "7" else _FIELDS["lightgbm"][:-1]  # callers learnt a field
        rest.append(replace(version, run=run, signature=_signature(fields)))
    return (bad, *rest)


def _deployment(row: _Row) -> SimulatedDeployment:
    ages = (row.age_d + 0.15, row.age_d + 34.0, row.age_d + 71.0)
    versions = tuple(_version(row, row.version - back, ages[back]) for back in range(3) if row.version > back)
    behaviours: tuple[Behaviour, ...] = ()
    if row.name == "checkout-ranker":
        versions = _checkout(versions)
        behaviours = (Behaviour("8", Effect(conversion=0.915, latency=1.08, order_value=0.985), after_s=960.0),)
    return SimulatedDeployment(
        id=DeploymentId("production", row.name),
        model=row.name,
        alias=_ALIAS,
        visits_per_minute=row.visits,
        conversion=row.conversion,
        order_value=row.value,
        latency_s=row.latency_s,
        error_rate=row.errors,
        lag_s=20.0,
        depends_on=row.depends_on,
        behaviours=behaviours,
        versions=versions,
    )


_SKETCH = tuple(_deployment(row) for row in _ROWS)


def fleet(start: float) -> tuple[SimulatedDeployment, ...]:
    """The fleet as it stands when the demo begins at `start` (Unix seconds): ages become times."""
    return tuple(replace(d, versions=tuple(_dated(v, start) for v in d.versions)) for d in _SKETCH)


def _dated(version: ModelVersion, start: float) -> ModelVersion:
    created = start + (version.created_at or 0.0)
    run = None if version.run is None else replace(version.run, started_at=created - 5_400.0)
    return replace(version, created_at=created, run=run)


def history(start: float, released_s: float) -> tuple[Flip, ...]:
    """How the pointers came to stand where they stand at `start`; checkout-ranker moved `released_s` before it."""
    flips = []
    for row in _ROWS:
        for back in range(3):
            if row.version <= back:
                continue
            at = start - (row.age_d + (0.0, 33.0, 70.0)[back]) * _DAY
            if back == 0 and row.name == "checkout-ranker":
                at = start - released_s
            elif back == 0 and row.name == "ads-ctr":
                at = start - 4_200.0
            flips.append(Flip(at, row.name, _ALIAS, str(row.version - back), "ci/promote"))
    return tuple(flips)

"""What a scenario's registry knows of its models: versions, the runs behind them, and how the pointers came to stand
where they stand. Made up from the seed, like any team's: nothing in it is true or false."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rollback_console.execute.marks import KNOWN_BAD_TAG
from rollback_console.model.registry import ModelVersion, SourceRun
from rollback_console.rehearse import noise
from rollback_console.rehearse.fleet import Flip

if TYPE_CHECKING:
    from rollback_console.policy.scenario import ScenarioDeployment, ScenarioVersion

_DAY = 86_400.0
_PROMOTED_S = 2_400.0  # from a version's registration to its first minute in service
_FAMILIES = ("lightgbm", "xgboost", "two-tower", "transformer", "logistic", "catboost", "deep-and-wide")
_FIELDS = ("user_id:long", "session_age:double", "country:string", "device:string", "hour:long", "basket_value:double",
           "clicks_7d:double", "item_vector:float[64]")  # fmt: skip
_MORE = "consent_flags:string"  # required by a version of another signature, and sent by nobody else


def served(words: ScenarioDeployment, start: float) -> list[tuple[ScenarioVersion, float]]:
    """The versions that ever served until `start` (Unix seconds), newest first, and since when."""
    names = [version.version for version in words.versions]
    below = [version for version in words.versions[names.index(words.serving) :] if not version.never_served]
    found, at = [], start - words.since
    for age, version in enumerate(below):
        found.append((version, at))
        at -= (29.0 + 4.0 * (age % 3)) * _DAY
    return found


def flips(words: ScenarioDeployment, start: float) -> Iterator[Flip]:
    """How the deployment's pointer came to stand where it stands at `start`."""
    for version, at in served(words, start):
        yield Flip(at, words.model or words.name, words.alias, version.version, "ci/promote")


def versions(words: ScenarioDeployment, start: float, seed: int) -> tuple[ModelVersion, ...]:
    """What the registry knows, newest first."""
    since = {version.version: at for version, at in served(words, start)}
    moments = list(_registered(words.versions, since, start, words.since))
    return tuple(
        _version(words, version, created, seed) for version, created in zip(words.versions, moments, strict=True)
    )


def _registered(known: Sequence[ScenarioVersion], since: dict[str, float], start: float, age: float) -> Iterator[float]:
    """When each version was registered, newest first: those that served, shortly before they did; the others between
    their neighbours."""
    later = start
    for place, version in enumerate(known):
        older = next((since[each.version] for each in known[place + 1 :] if each.version in since), start - age - _DAY)
        at = since.get(version.version)
        created = at - _PROMOTED_S if at is not None else 0.5 * (later + min(older, later))
        later = min(later, created) - 1.0
        yield later + 1.0


def _version(words: ScenarioDeployment, version: ScenarioVersion, created: float, seed: int) -> ModelVersion:
    model = words.model or words.name
    run_id = _hex(seed, "run", model, version.version)
    tags = {"stage_gate": "offline-passed", **version.tags}
    if version.known_bad is not None:
        tags[KNOWN_BAD_TAG] = version.known_bad
    family = _FAMILIES[noise.key(model, "family") % len(_FAMILIES)]
    return ModelVersion(
        model=model,
        version=version.version,
        status=version.status,
        created_at=created,
        run_id=run_id if version.run else None,
        source=f"runs:/{run_id}/model" if version.run else f"s3://models/{model}/{version.version}",
        description=f"{family}, retrained" if noise.key(model, version.version) % 2 else f"{family}, refreshed data",
        tags=tuple(sorted(tags.items())),
        run=_run(seed, model, version.version, run_id, created) if version.run else None,
        signature=_signature(model, version.signature == "other"),
    )


def _run(seed: int, model: str, version: str, run_id: str, created: float) -> SourceRun:
    stream = noise.key(seed, "run", model, version)
    score, age = noise.uniform(stream, 0), 28 + 7 * (noise.bits(stream, 1) % 2)
    params = {
        "learning_rate": f"{0.02 + 0.01 * (noise.bits(stream, 2) % 5):.2f}",
        "max_depth": str(6 + noise.bits(stream, 3) % 4),
        "seed": str(1000 + noise.bits(stream, 4) % 9000),
        "training_rows": str(3_000_000 + noise.bits(stream, 5) % 4_000_000),
        "training_window": f"{age}d",
    }
    tags = {
        "git.commit": _hex(seed, "commit", model, version)[:12],
        "trained_by": ("airflow/nightly", "airflow/weekly", "notebook")[noise.bits(stream, 6) % 3],
        "dataset": f"s3://features/{model}/snapshot-{noise.bits(stream, 7) % 1000:03d}",
    }
    return SourceRun(
        id=run_id,
        name=f"{model}-{version}",
        params=tuple(sorted(params.items())),
        metrics=(("auc", round(0.80 + 0.05 * score, 4)), ("logloss", round(0.33 - 0.04 * score, 4))),
        tags=tuple(sorted(tags.items())),
        started_at=created - 5_400.0,
    )


def _signature(model: str, other: bool) -> str:
    """Inputs and outputs as MLflow has them; `other`: it requires one more."""
    first = noise.key(model, "fields") % 4
    fields = [*_FIELDS[first : first + 4], *([_MORE] if other else [])]
    inputs = [{"name": name, "type": kind} for name, kind in (field.split(":") for field in fields)]
    return json.dumps({"inputs": inputs, "outputs": [{"name": "score", "type": "double"}]}, sort_keys=True)


def _hex(*parts: object) -> str:
    return f"{noise.key(*parts, 'a'):016x}{noise.key(*parts, 'b'):016x}"

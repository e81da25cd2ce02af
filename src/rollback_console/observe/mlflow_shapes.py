"""MLflow's JSON as values of `model`, and its odd corners: quoting in filters, where signatures hide. Pure.

Every reader raises KeyError, TypeError, ValueError or AttributeError for another shape; the client says so.
"""

from __future__ import annotations

import json
import urllib.parse
from dataclasses import replace
from typing import Any

from rollback_console.errors import BackendRefused
from rollback_console.model.registry import ModelVersion, RegisteredModel, SourceRun
from rollback_console.model.text import plain

MISSING = "RESOURCE_DOES_NOT_EXIST"
INVALID = "INVALID_PARAMETER_VALUE"
HISTORY_TAG = "mlflow.log-model.history"


def model(found: dict[str, Any]) -> RegisteredModel:
    aliases = sorted((str(item["alias"]), str(item["version"])) for item in found.get("aliases") or ())
    return RegisteredModel(str(found["name"]), tuple(aliases), _tags(found.get("tags")))


def version(found: dict[str, Any]) -> ModelVersion:
    """A version without its run. A `models:/m-...` source is kept as written."""
    created = found.get("creation_timestamp")
    return ModelVersion(
        model=str(found["name"]),
        version=str(found["version"]),
        status=str(found.get("status", "READY")),
        created_at=None if created is None else int(created) / 1000,
        run_id=str(found["run_id"]) if found.get("run_id") else None,
        source=str(found.get("source") or ""),
        description=str(found.get("description") or ""),
        tags=_tags(found.get("tags")),
    )


def model_id(found: dict[str, Any] | None) -> str | None:
    """The logged model (MLflow 3) behind a version, by its field or its source."""
    named = str((found or {}).get("model_id") or "")
    source = str((found or {}).get("source") or "")
    if not named and source.startswith("models:/m-"):
        named = source.removeprefix("models:/").partition("/")[0]
    return named or None


def run(found: dict[str, Any]) -> tuple[SourceRun, str]:
    """A run, and its tag of logged models; that one is left out of the run's tags: it is the signature, at length."""
    info, data = found["info"], found.get("data") or {}
    tags = dict(_tags(data.get("tags")))
    history = tags.pop(HISTORY_TAG, "")
    started = info.get("start_time")
    return (
        SourceRun(
            id=str(info["run_id"]),
            name=str(info.get("run_name") or tags.get("mlflow.runName", "")),
            params=_tags(data.get("params")),
            metrics=tuple(sorted((str(item["key"]), float(item["value"])) for item in data.get("metrics") or ())),
            tags=tuple(sorted(tags.items())),
            started_at=None if started is None else int(started) / 1000,
        ),
        history,
    )


def source_run(found: dict[str, Any]) -> str | None:
    """The run that logged a model, from logged-models/{id}."""
    info = (found.get("model") or {}).get("info") or {}
    run_id = info.get("source_run_id") if isinstance(info, dict) else None
    return str(run_id) if run_id else None


def completed(found: ModelVersion, run_id: str | None, source: SourceRun | None, signature: str) -> ModelVersion:
    return replace(found, run_id=run_id, run=source, signature=signature)


def version_number(found: ModelVersion) -> tuple[int, str]:
    """For sorting: numbers as numbers; what is none comes before them all."""
    return (int(found.version), "") if found.version.isdecimal() else (-1, found.version)


def quoted(name: str) -> str:
    """A name as a string in MLflow's filter language, which has two quotes and no escape."""
    if "'" not in name:
        return f"'{name}'"
    if '"' not in name:
        return f'"{name}"'
    raise BackendRefused(
        f"registry: {plain(name, 80)} has both kinds of quotes in its name, and MLflow cannot search for that",
        "rename the model",
    )


def path_part(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def refusal(body: bytes) -> tuple[str, str]:
    """(error_code, message) of MLflow's own refusal; ("", "") for anything else's."""
    try:
        found = json.loads(body[:100_000])
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(found, dict):
        return "", ""
    return str(found.get("error_code") or ""), str(found.get("message") or "")


def signature_of_history(history: str, source: str, logged: str | None) -> str:
    """The signature of the model that `source` names, from the run's tag; "" where it cannot be told which."""
    try:
        entries = [entry for entry in json.loads(history or "[]") if isinstance(entry, dict)]
    except (ValueError, RecursionError, TypeError):
        return ""
    named = [
        entry
        for entry in entries
        if (logged is not None and entry.get("model_id") == logged)
        or (entry.get("artifact_path") and source.rstrip("/").endswith("/" + str(entry["artifact_path"])))
    ]
    chosen = named or (entries if len(entries) == 1 else [])
    return _signature(chosen[-1].get("signature")) if chosen else ""


def signature_of_file(mlmodel: bytes) -> str:
    """The signature in an MLmodel file (YAML), "" where there is none or it cannot be read."""
    import yaml

    try:
        found = yaml.load(mlmodel, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, RecursionError, ValueError):
        return ""
    return _signature(found.get("signature")) if isinstance(found, dict) else ""


def _signature(found: Any) -> str:
    """{inputs, outputs, params}, each JSON in a string, as one canonical JSON text."""
    if not isinstance(found, dict):
        return ""
    out = {}
    for part in ("inputs", "outputs", "params"):
        text = found.get(part)
        if text in (None, "", "null"):
            continue
        try:
            out[part] = json.loads(text) if isinstance(text, str) else text
        except (ValueError, RecursionError):
            return ""
    return json.dumps(out, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str) if out else ""


def _tags(items: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((str(item["key"]), str(item.get("value", ""))) for item in items or ()))

"""What changed between two registered versions: source run, parameters, metrics, tags, signature."""

from __future__ import annotations

from collections.abc import Iterable

from rollback_console.model.registry import Difference, ModelVersion

_OURS = "rollback-console."  # tags of ours say what happened to a version, not what it is


def differences(before: ModelVersion, after: ModelVersion) -> tuple[Difference, ...]:
    """Every difference, parameters first; equal things are left out."""
    one, two = before.run, after.run
    rows = [
        *_compare("param", one.params if one else (), two.params if two else ()),
        *_compare("metric", _texts(one.metrics if one else ()), _texts(two.metrics if two else ())),
        *_compare("signature", (("signature", before.signature),), (("signature", after.signature),)),
        *_compare("tag", before.tags, after.tags),
        *_compare("run tag", one.tags if one else (), two.tags if two else ()),
        *_compare("source", (("run", before.run_id or ""), ("source", before.source)),
                  (("run", after.run_id or ""), ("source", after.source))),
    ]  # fmt: skip
    return tuple(rows)


def _texts(metrics: Iterable[tuple[str, float]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"{value:.6g}") for name, value in metrics)


def _compare(where: str, before: Iterable[tuple[str, str]], after: Iterable[tuple[str, str]]) -> Iterable[Difference]:
    one, two = dict(before), dict(after)
    for name in sorted({*one, *two}):
        if name.startswith((_OURS, "mlflow.")):
            continue
        if one.get(name) != two.get(name):
            yield Difference(where, name, one.get(name) or None, two.get(name) or None)

"""Backends over what was recorded, or given: for backtests, review and tests. Real implementations of the Protocols,
in memory, with failures that can be set.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import replace

from rollback_console.errors import BackendError, BackendRefused
from rollback_console.model.observation import BackendHealth, BackendState, Series
from rollback_console.model.registry import ModelVersion, PointerMove, RegisteredModel
from rollback_console.observe.mlflow_shapes import version_number

LOOKBACK_S = 300.0  # Prometheus' default --query.lookback-delta


class RecordedMetrics:
    """A `MetricBackend` over given series: PromQL text, exactly as asked -> series with all their points.

    Instant query semantics are Prometheus': the newest point at or before the time, and newer than the lookback
    before it (`at - lookback < point <= at`, the left end open since Prometheus 3). Text that was not given has no
    data. With `failure` set, every query raises it.
    """

    def __init__(self, series: Mapping[str, Iterable[Series]], *, lookback_s: float = LOOKBACK_S) -> None:
        self._lookback_s = lookback_s
        self._series: dict[str, tuple[tuple[Series, list[float]], ...]] = {}
        for promql, given in series.items():
            self.put(promql, given)
        self.failure: BackendError | None = None
        self.asked: list[tuple[str, float]] = []  # (PromQL, evaluation time or start), in the order asked

    def put(self, promql: str, series: Iterable[Series]) -> None:
        """Set or replace what `promql` finds. Points may come in any order."""
        ordered = (replace(one, points=tuple(sorted(one.points, key=lambda point: point[0]))) for one in series)
        self._series[promql] = tuple((one, [at for at, _ in one.points]) for one in ordered)

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        self._fail(promql, at)
        found = ((one.labels, self._value(one, times, at)) for one, times in self._series.get(promql, ()))
        return tuple(Series(labels, ((at, value),)) for labels, value in found if value is not None)

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        self._fail(promql, start)
        count = int((end - start) / step + 1e-9) + 1 if end >= start else 0
        out = []
        for one, times in self._series.get(promql, ()):
            asked = (start + index * step for index in range(count))
            points = ((at, self._value(one, times, at)) for at in asked)
            kept = tuple((at, value) for at, value in points if value is not None)
            if kept:
                out.append(Series(one.labels, kept))
        return tuple(out)

    def health(self) -> BackendHealth:
        return _health("prometheus", self.failure)

    async def close(self) -> None:
        """Nothing to close."""

    def _value(self, one: Series, times: list[float], at: float) -> float | None:
        index = bisect.bisect_right(times, at) - 1
        if index < 0 or at - times[index] >= self._lookback_s:
            return None
        return one.points[index][1]

    def _fail(self, promql: str, at: float) -> None:
        self.asked.append((promql, at))
        if self.failure is not None:
            raise self.failure


class RecordedRegistry:
    """A `ModelRegistry` in memory, with the reads and writes a driver needs. `moves` is the history of its pointers,
    oldest first, at the times of `now`. With `failure` set, every call raises it; with `write_failure`, every write."""

    def __init__(self, *, now: float = 0.0) -> None:
        self.now = now
        self.moves: list[PointerMove] = []
        self.failure: BackendError | None = None
        self.write_failure: BackendError | None = None
        self._versions: dict[str, dict[str, ModelVersion]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self._tags: dict[str, dict[str, str]] = {}

    # --- filling it

    def add(self, version: ModelVersion) -> None:
        """Add or replace a version; its model comes into being."""
        self._versions.setdefault(version.model, {})[version.version] = version
        self._aliases.setdefault(version.model, {})
        self._tags.setdefault(version.model, {})

    def remove(self, model: str, version: str) -> None:
        """Delete a version, and the aliases that name it, as MLflow does."""
        self._versions[model].pop(version)
        self._aliases[model] = {alias: to for alias, to in self._aliases[model].items() if to != version}

    def point(self, model: str, alias: str, version: str, by: str = "") -> None:
        """Move a pointer at `now`, as somebody else would."""
        self._version(model, version)
        before = self._aliases[model].get(alias)
        self._aliases[model][alias] = version
        self.moves.append(PointerMove(self.now, "", model, alias, before, version, by))

    # --- ModelRegistry

    async def model(self, name: str) -> RegisteredModel | None:
        self._fail()
        return self._model(name) if name in self._versions else None

    async def models(self) -> tuple[RegisteredModel, ...]:
        self._fail()
        return tuple(self._model(name) for name in sorted(self._versions))

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        self._fail()
        found = self._versions.get(model, {}).values()
        newest_first = sorted(found, key=version_number, reverse=True)
        return tuple(replace(one, run=None, signature="") for one in newest_first)

    async def version(self, model: str, version: str) -> ModelVersion | None:
        self._fail()
        return self._versions.get(model, {}).get(version)

    def health(self) -> BackendHealth:
        return _health("registry", self.failure)

    async def close(self) -> None:
        """Nothing to close."""

    # --- what a driver reads and writes

    async def read_pointer(self, model: str, alias: str) -> str | None:
        self._fail()
        return self._aliases.get(model, {}).get(alias)

    async def write_pointer(self, model: str, alias: str, version: str) -> None:
        self._fail(write=True)
        self.point(model, alias, version)

    async def read_tags(self, model: str, version: str | None) -> dict[str, str]:
        self._fail()
        if version is None:
            return dict(self._model_tags(model))
        return dict(self._version(model, version).tags)

    async def write_tag(self, model: str, version: str | None, key: str, value: str) -> None:
        self._fail(write=True)
        await self._change_tags(model, version, {key: value}, ())

    async def delete_tag(self, model: str, version: str | None, key: str) -> None:
        self._fail(write=True)
        await self._change_tags(model, version, {}, (key,))

    async def _change_tags(
        self, model: str, version: str | None, put: Mapping[str, str], drop: tuple[str, ...]
    ) -> None:
        before = self._model_tags(model) if version is None else dict(self._version(model, version).tags)
        after = {key: value for key, value in {**before, **put}.items() if key not in drop}
        if version is None:
            self._tags[model] = after
        else:
            changed = replace(self._version(model, version), tags=tuple(sorted(after.items())))
            self._versions[model][version] = changed

    def _model(self, name: str) -> RegisteredModel:
        return RegisteredModel(
            name, tuple(sorted(self._aliases[name].items())), tuple(sorted(self._tags[name].items()))
        )

    def _model_tags(self, model: str) -> dict[str, str]:
        if model not in self._tags:
            raise BackendRefused(f"registry refuses: no registered model {model}")
        return self._tags[model]

    def _version(self, model: str, version: str) -> ModelVersion:
        found = self._versions.get(model, {}).get(version)
        if found is None:
            raise BackendRefused(f"registry refuses: no version {version} of {model}")
        return found

    def _fail(self, *, write: bool = False) -> None:
        problem = self.failure or (self.write_failure if write else None)
        if problem is not None:
            raise problem


def _health(name: str, failure: BackendError | None) -> BackendHealth:
    if failure is not None:
        return BackendHealth(name, BackendState.FAILING, detail=str(failure))
    return BackendHealth(name, BackendState.OK, latency_s=0.0)

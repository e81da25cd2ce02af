"""What the engine needs of a metric backend and of a model registry. Each backend is one file behind these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from rollback_console.model.observation import BackendHealth, Series
from rollback_console.model.registry import ModelVersion, RegisteredModel

if TYPE_CHECKING:
    from rollback_console.observe.alerts import AlertingRule


class MetricBackend(Protocol):
    """A store of time series that speaks PromQL. Every method raises `BackendError` (and nothing else) on failure,
    never blocks the event loop, and gives up after its own time limit."""

    async def query(self, promql: str, at: float) -> tuple[Series, ...]:
        """Instant query with an explicit evaluation time (Unix seconds): one point a series. NaN and infinities come
        as floats."""
        ...

    async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
        """Range query, both ends inclusive; split into several requests where the backend's limit of points asks."""
        ...

    def health(self) -> BackendHealth:
        """How it answered last. Never raises, never waits."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class KnowsAlerts(Protocol):
    """A metric backend that evaluates alerting rules of its own. Optional: a console can be opened on their names."""

    async def rules(self) -> tuple[AlertingRule, ...]:
        """The rules with their running alerts. Errors as for `MetricBackend`."""
        ...


class ModelRegistry(Protocol):
    """A model registry. Errors as for `MetricBackend`."""

    async def model(self, name: str) -> RegisteredModel | None:
        """A registered model with its pointers, or None where there is none of that name."""
        ...

    async def models(self) -> tuple[RegisteredModel, ...]:
        """All registered models."""
        ...

    async def versions(self, model: str) -> tuple[ModelVersion, ...]:
        """All versions, newest first, without their runs."""
        ...

    async def version(self, model: str, version: str) -> ModelVersion | None:
        """One version with its run and signature, or None."""
        ...

    def health(self) -> BackendHealth: ...

    async def close(self) -> None: ...

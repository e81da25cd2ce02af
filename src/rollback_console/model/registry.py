"""What a model registry knows: models, versions, the runs behind them, and where its pointers stand."""

from __future__ import annotations

from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class SourceRun:
    """The training run behind a version. Params and tags as written; metrics are last values."""

    id: str
    name: str = ""
    params: tuple[tuple[str, str], ...] = ()
    metrics: tuple[tuple[str, float], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    started_at: float | None = None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered version. `status` is the registry's own word (`READY`, `PENDING_REGISTRATION`, ...)."""

    model: str
    version: str
    status: str
    created_at: float | None = None  # Unix seconds
    run_id: str | None = None
    source: str = ""
    description: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    run: SourceRun | None = None
    signature: str = ""  # inputs and outputs, as JSON text


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A registered model and its pointers, (alias, version)."""

    name: str
    aliases: tuple[tuple[str, str], ...] = ()
    tags: tuple[tuple[str, str], ...] = ()

    def pointer(self, alias: str) -> str | None:
        """The version `alias` points to, or None."""
        return dict(self.aliases).get(alias)


@dataclass(frozen=True, slots=True)
class PointerMove:
    """A pointer that moved, as this journal or the registry saw it. `by` is who, where that is known."""

    at: float
    deployment: str  # environment/name
    model: str
    alias: str
    before: str | None
    after: str | None
    by: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """One line of a version diff: where (param, metric, tag, signature, source), what, before and after."""

    where: str
    name: str
    before: str | None
    after: str | None

"""Who is spoken of: a deployment, and the facts about it that do not change from tick to tick."""

from __future__ import annotations

from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True, order=True)
class DeploymentId:
    """One served model in one environment. Written ``environment/name``, unique in a configuration."""

    environment: str
    name: str

    def __str__(self) -> str:
        return f"{self.environment}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> DeploymentId:
        """``environment/name`` as a value. Raises ValueError when there is no slash, or an empty half."""
        environment, slash, name = text.partition("/")
        if not slash or not environment or not name:
            raise ValueError(f"{text!r} is not environment/name")
        return cls(environment, name)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What policy says of a deployment: its registry pointer, its metric labels, what it depends on."""

    id: DeploymentId
    tier: str  # critical | high | normal | low
    model: str  # the registered model
    alias: str  # the registry pointer that serving follows
    labels: tuple[tuple[str, str], ...]  # what metrics know it by; sorted by label
    serving_version: str | None = None  # PromQL whose `version` label is what serves
    depends_on: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()  # (title, URL), placeholders filled in
    repromoted_by: str | None = None  # a job that flips the pointer by itself, if policy names one

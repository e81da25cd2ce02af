"""What people write about a group of deployments: signals, the trigger, ways back. `docs/policies.md` says how.

These models hold the words, durations in seconds and percentages as fractions; `policy.compile` makes rules of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from rollback_console.policy import stakes
from rollback_console.policy.defaults import Risk
from rollback_console.policy.expression import RESERVED, SIGNAL_NAME
from rollback_console.policy.impact import PolicyImpact
from rollback_console.policy.kinds import burn_names
from rollback_console.policy.promql import Query
from rollback_console.policy.quantities import Duration, Span, refusal
from rollback_console.policy.signal import PolicySignal, slice_name
from rollback_console.policy.times import PolicyStretch
from rollback_console.policy.trigger import PolicyTrigger
from rollback_console.policy.words import (
    Complaint,
    LabelName,
    Link,
    Name,
    Text,
    VersionText,
    Words,
    later,
    named,
    several,
)  # fmt: skip

SCHEMA = "rollback-console/policy/v1"


def _not_reserved(name: str) -> str:
    if name.lower() in RESERVED:
        raise refusal(f"{name} is a word of trigger expressions", "Give the signal another name")
    return name


_M = TypeVar("_M", bound=Words)


def _default(model: type[_M]) -> Callable[[], _M]:
    """A part that is left out: its own defaults, made when a file leaves it out. (Made here, they would each build a
    validator of their own while the program starts.)"""
    return model.model_construct


SignalName = Annotated[
    str, named(SIGNAL_NAME, "Signals are letters, digits, `_` and `-`"), AfterValidator(_not_reserved)
]


class ModelPointer(Words):
    """The registered model, and the registry pointer (an MLflow alias) that serving follows."""

    name: Text
    alias: Text


class PolicyDeployment(Words):
    """One served model in one environment. Without `labels` its metrics carry `deployment="<name>"`."""

    name: Name
    environment: Name
    tier: Literal["critical", "high", "normal", "low"] = "normal"
    model: ModelPointer
    labels: dict[LabelName, Text] = Field(default_factory=dict)
    serving_version: Query | None = None
    depends_on: tuple[Text, ...] = ()
    repromoted_by: Text | None = None
    risk: Risk | None = None

    def metric_labels(self) -> tuple[tuple[str, str], ...]:
        """What metrics know it by, sorted by label."""
        return tuple(sorted((self.labels or {"deployment": self.name}).items()))


class Verification(Words):
    """Signals must stay recovered `for` so long, `within` so long, else the rollback is not confirmed."""

    for_: Duration = Field(default=600.0, alias="for")
    within: Duration = 1_800.0

    @model_validator(mode="after")
    def _fits(self) -> Verification:
        if self.within < self.for_:
            raise several([Complaint(("within",), "is shorter than `for`", "Make it at least as long")])
        return self


class Approval(Words):
    """Who must say yes, and how many of them."""

    of: tuple[Name, ...] = ()
    count: Annotated[int, Field(ge=0, strict=True)] = 0

    @field_validator("count")
    @classmethod
    def _no_quorum(cls, count: int) -> int:
        if count > 0:
            raise later("approval by a second person (it comes with the hub)", "Write `count: 0` now")
        return count


class Authority(Words):
    """Which roles may ask for a path, and who approves. `expires`: how long a plan may be executed after it is made."""

    request: Annotated[tuple[Name, ...], Field(min_length=1)] = ("oncall",)
    approve: Approval = Field(default_factory=_default(Approval))
    expires: Span = 1_800.0


def _driver(name: object) -> object:
    if isinstance(name, str) and name != "mlflow-alias":
        raise later(f"the driver {name[:60]!r}", "Use `driver: mlflow-alias` now")
    return name


class PolicyPath(Words):
    """One way back."""

    path: Name
    driver: Annotated[Literal["mlflow-alias"], BeforeValidator(_driver)]
    target: VersionText = "last_known_good"
    healthy_for: Span = 600.0  # a version must have served healthily for this long to be gone back to
    verify: Verification = Field(default_factory=_default(Verification))
    authority: Authority = Field(default_factory=_default(Authority))


class EscalationStep(Words):
    """Who hears of it when nobody acted for so long."""

    after: Duration
    to: Text


def _mode(mode: object) -> object:
    if mode == "act":
        raise later("the mode act (automatic rollback)", "Write `mode: advise` now")
    return mode


class Policy(Words):
    """A policy file."""

    schema_: Literal["rollback-console/policy/v1"] = Field(alias="schema")
    name: Name
    version: Annotated[int, Field(ge=1, strict=True)]
    mode: Annotated[Literal["observe", "advise"], BeforeValidator(_mode)] = "advise"
    owners: tuple[Text, ...] = ()
    stakeholders: tuple[Text, ...] = ()
    escalation: tuple[EscalationStep, ...] = ()
    links: dict[Text, Link] = Field(default_factory=dict)
    review_every: Span | None = None
    risk: Risk | None = None
    deployments: Annotated[tuple[PolicyDeployment, ...], Field(min_length=1)]
    signals: Annotated[dict[SignalName, PolicySignal], Field(min_length=1)]
    exclude: tuple[PolicyStretch, ...] = ()
    trigger: PolicyTrigger = Field(default_factory=_default(PolicyTrigger))
    impact: PolicyImpact = Field(default_factory=_default(PolicyImpact))
    recovery: tuple[PolicyPath, ...] = ()
    runbook: Text | None = None

    @model_validator(mode="after")
    def _is_priced(self) -> Policy:
        """What goes by revenue lost a minute has somebody who tells it."""
        if found := list(stakes.complaints(self.signals, self.trigger, self.impact)):
            raise several(found)
        return self

    @model_validator(mode="after")
    def _names_are_free(self) -> Policy:
        """A burn rate is several signals, and so is one with slices: all with names of their own."""
        taken: dict[str, str] = {}
        found = []
        for name, signal in self.signals.items():
            owned = [each for pair in burn_names(name, signal) for each in pair] if signal.kind == "burn_rate" else []
            owned += [slice_name(name, value) for value in signal.slices.values] if signal.slices is not None else []
            for own in owned:
                other = own if own in self.signals else taken.setdefault(own, name)
                if other != name:
                    found.append(Complaint(("signals", other), f"{own} is a part of {name} already", "Rename one"))
        if found:
            raise several(found)
        return self

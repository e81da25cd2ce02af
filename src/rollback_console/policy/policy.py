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


def _announced(seconds: float) -> float:
    if not 10 <= seconds <= 3_600:
        raise refusal("is not between 10s and 1h", "A minute, `1m`, lets somebody who sees it coming hold it")
    return seconds


class Automatic(Words):
    """A path that may be taken by itself, under `mode: act`. `after`: for how long it is announced first, while whoever
    may abort an execution can hold it."""

    after: Annotated[Span, AfterValidator(_announced)] = 60.0


class Authority(Words):
    """Which roles may ask for a path, and who approves. `expires`: how long a plan may be executed after it is made.
    `automatic`: it may also be taken by itself."""

    request: Annotated[tuple[Name, ...], Field(min_length=1)] = ("oncall",)
    approve: Approval = Field(default_factory=_default(Approval))
    expires: Span = 1_800.0
    automatic: Automatic | None = None


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


class Policy(Words):
    """A policy file."""

    schema_: Literal["rollback-console/policy/v1"] = Field(alias="schema")
    name: Name
    version: Annotated[int, Field(ge=1, strict=True)]
    mode: Literal["observe", "advise", "act"] = "advise"
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
        if all(signal.aside for signal in self.signals.values()):
            found.append(Complaint(("signals",), "none of them can trigger anything",
                                   "Add one that is judged by evidence, or by a bound"))  # fmt: skip
        if found:
            raise several(found)
        return self

    @model_validator(mode="after")
    def _may_act(self) -> Policy:
        """What is advised is the first path: by itself it goes only where that path's authority says so."""
        if self.mode != "act":
            return self
        if not self.recovery:
            raise several([Complaint(("mode",), "is act without a way back", "Write a path under `recovery:`")])
        if self.recovery[0].authority.automatic is None:
            what = f"is act, and the path {self.recovery[0].path} may not go by itself"
            raise several([Complaint(("mode",), what, "Add `automatic: {after: 1m}` to that path's `authority:`")])
        return self

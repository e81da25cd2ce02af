"""What people write about a group of deployments: signals, the trigger, ways back. `docs/policies.md` says how.

These models hold the words, durations in seconds and percentages as fractions; `policy.compile` makes rules of them.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictBool,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from rollback_console.model.rules import BlindPolicy, BlindPolicyKind
from rollback_console.policy.expression import RESERVED, SIGNAL_NAME
from rollback_console.policy.promql import Query, SignalQuery
from rollback_console.policy.quantities import Amount, Duration, Percentage, Span, parse_duration, refusal
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

    def metric_labels(self) -> tuple[tuple[str, str], ...]:
        """What metrics know it by, sorted by label."""
        return tuple(sorted((self.labels or {"deployment": self.name}).items()))


def _baseline_kind(kind: object) -> object:
    if kind in ("seasonal", "control"):
        raise later(f"the baseline {kind}", "Use `kind: last_week` now, or `fixed` or `version`")
    return kind


class PolicyBaseline(Words):
    """What a signal is compared with."""

    kind: Annotated[Literal["fixed", "last_week", "version"], BeforeValidator(_baseline_kind)]
    value: Amount | None = None
    history: Span = 86_400.0

    @model_validator(mode="after")
    def _fits(self) -> PolicyBaseline:
        found = []
        if self.kind == "fixed" and self.value is None:
            found.append(Complaint((), "a fixed baseline needs its value", "Write `{kind: fixed, value: 3.1%}`"))
        if self.kind != "fixed" and self.value is not None:
            found.append(Complaint(("value",), f"a {self.kind} baseline measures its value", "Take `value` out"))
        if self.kind != "version" and "history" in self.model_fields_set:
            found.append(Complaint(("history",), f"a {self.kind} baseline has no history", "Take `history` out"))
        if found:
            raise several(found)
        return self


class PolicyBreach(Words):
    """When a signal counts as degraded: beyond a bound, or worse than a baseline by more than a share of it."""

    above: Amount | None = None
    below: Amount | None = None
    degraded_by: Percentage | None = None
    baseline: PolicyBaseline | None = None

    @model_validator(mode="after")
    def _one(self) -> PolicyBreach:
        given = [key for key in ("above", "below", "degraded_by") if getattr(self, key) is not None]
        if not given:
            raise refusal("names no bound", "Write one of `above:`, `below:`, `degraded_by:`")
        if len(given) > 1:
            raise refusal(f"has {' and '.join(given)}", "Keep one; another signal can hold the other")
        return self


def _blind(value: object) -> BlindPolicy:
    """`freeze`, `reset`, `healthy`, `breach`, `last: 5m` (as text or as a mapping)."""
    if isinstance(value, dict) and set(value) == {"last"}:
        return BlindPolicy(BlindPolicyKind.LAST, _last(value["last"]))
    if isinstance(value, str):
        match = re.fullmatch(r"last: *(\S+)", value)
        if match:
            return BlindPolicy(BlindPolicyKind.LAST, _last(match[1]))
        if value in ("freeze", "reset", "healthy", "breach"):
            return BlindPolicy(BlindPolicyKind(value))
        if value == "last":
            raise refusal("`last` needs a time", "Write `last: 5m`")
    raise refusal("is not a way to be blind", "Write freeze, reset, healthy, breach or `last: 5m`")


def _last(text: object) -> float:
    seconds = parse_duration(text)
    if not 1 <= seconds <= 86_400:
        raise refusal("the last known judgement is kept between 1s and 24h", "Write `last: 5m`")
    return seconds


BlindWords = Annotated[
    BlindPolicy,
    PlainValidator(_blind),
    WithJsonSchema({
        "anyOf": [
            {"enum": ["freeze", "reset", "healthy", "breach"]},
            {"type": "string", "pattern": r"^last: *[0-9]"},
            {"type": "object", "required": ["last"], "properties": {"last": {"type": "string"}},
             "additionalProperties": False},
        ]
    }),
]  # fmt: skip


class PolicySignal(Words):
    """One measured quantity: how it is measured, what it is compared with, when it counts as degraded."""

    title: Text | None = None
    area: Literal["business", "technical"] = "technical"
    worse: Literal["lower", "higher"]
    value: SignalQuery | None = None
    x: SignalQuery | None = None
    n: SignalQuery | None = None
    window: Span = 300.0
    maturity: Duration | None = None
    baseline: PolicyBaseline | None = None
    minimum: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    margin: Percentage | None = None
    breach: PolicyBreach | None = None
    blind: BlindWords = BlindPolicy()
    heartbeat: SignalQuery | None = None
    stale_after: Span | None = None
    unit: Annotated[Text, Field(max_length=20)] | None = None
    sufficient_alone: StrictBool = False

    @model_validator(mode="before")
    @classmethod
    def _unit_of_percentages(cls, raw: Any) -> Any:
        """A signal whose bound is written in percent is shown in percent."""
        if isinstance(raw, dict) and "unit" not in raw and isinstance(raw.get("breach"), dict):
            bounds = (raw["breach"].get("above"), raw["breach"].get("below"))
            if any(isinstance(bound, str) and bound.strip().endswith("%") for bound in bounds):
                return {**raw, "unit": "%"}
        return raw

    @property
    def compared_with(self) -> PolicyBaseline | None:
        """The baseline, wherever it was written."""
        return self.breach.baseline if self.breach and self.breach.baseline else self.baseline

    @property
    def degraded_by(self) -> float | None:
        """The share of the baseline beyond which it is degraded, or None where an absolute bound judges."""
        return self.breach.degraded_by if self.breach else self.margin

    @model_validator(mode="after")
    def _fits(self) -> PolicySignal:
        found = [*self._measure(), *self._judgement(), *self._freshness()]
        if found:
            raise several(found)
        return self

    def _measure(self) -> list[Complaint]:
        found = []
        if self.value is None and self.x is None and self.n is None:
            found.append(Complaint((), "has no query", "Write `value:`, or `x:` (events) and `n:` (out of trials)"))
        elif self.value is not None and (self.x is not None or self.n is not None):
            found.append(Complaint(("value",), "stands beside x or n", "Keep `value`, or `x` with `n`"))
        elif self.value is None and (self.x is None or self.n is None):
            have, lack = ("x", "n") if self.n is None else ("n", "x")
            found.append(Complaint((have,), f"{have} needs {lack}", f"Write `{lack}:` too; the value is x / n"))
        if self.minimum is not None and self.n is None:
            found.append(Complaint(("minimum",), "counts trials, and this signal has no n", "Write `x:` and `n:`"))
        return found

    def _judgement(self) -> list[Complaint]:
        found = []
        if self.breach is None and self.margin is None:
            found.append(Complaint((), "never counts as degraded",
                                   "Write `breach: {above: 2%}`, or `margin: 2%` with a baseline"))  # fmt: skip
        if self.breach is not None and self.margin is not None:
            found.append(Complaint(("margin",), "stands beside breach", "Keep one; `margin` is `degraded_by`"))
        if self.breach is not None and self.breach.baseline is not None and self.baseline is not None:
            found.append(Complaint(("breach", "baseline"), "the signal has a baseline already", "Keep one of them"))
        wrong = "above" if self.worse == "lower" else "below"
        if self.breach is not None and getattr(self.breach, wrong) is not None:
            right = "below" if wrong == "above" else "above"
            found.append(Complaint(("breach", wrong), f"`{wrong}` does not go with `worse: {self.worse}`",
                                   f"Write `{right}:`, or turn `worse:` round"))  # fmt: skip
        share = self.degraded_by
        if share is None:
            return found
        loc: tuple[str, ...] = ("breach", "degraded_by") if self.breach else ("margin",)
        if self.compared_with is None:
            found.append(Complaint(loc, "has no baseline to degrade from", "Write `baseline: {kind: last_week}`"))
        elif self.compared_with.value == 0:
            found.append(Complaint(loc, "no share of a baseline of zero can be taken", "Use `breach: {above: …}`"))
        if share <= 0:
            found.append(Complaint(loc, "is not more than 0%", "A signal at its baseline is healthy"))
        elif share >= 1 and self.worse == "lower":
            found.append(Complaint(loc, "nothing falls by more than 100%", "Write less than 100%"))
        return found

    def _freshness(self) -> list[Complaint]:
        if self.heartbeat is not None and self.stale_after is None:
            return [Complaint(("heartbeat",), "needs stale_after", "Write `stale_after: 2m`")]
        if self.stale_after is not None and self.heartbeat is None:
            remedy = "Write `heartbeat:`, the Unix time of the newest sample: `max by (deployment) (timestamp(x))`"
            return [Complaint(("stale_after",), "needs heartbeat", remedy)]
        return []


def _dwell(value: object) -> object:
    if value == "adaptive" or isinstance(value, dict):
        raise later("an adaptive dwell", "Write one duration now, as in `dwell: 5m`")
    return value


class FalseAlarmBudget(Words):
    """How often people accept a false alarm."""

    one_false_alarm_in: Span


class PolicyTrigger(Words):
    """How breaches become one state. Without `when`: any signal that is sufficient alone, or any two of all."""

    when: Annotated[str, Field(max_length=4_000)] | None = None
    dwell: Annotated[Duration, BeforeValidator(_dwell)] = 300.0
    hold: Duration = 0.0
    cool_down: Duration = 3_600.0
    blind_dwell: Duration = 300.0
    budget: FalseAlarmBudget | None = None


class ImpactRate(Words):
    """Something per minute, as PromQL, and its unit (revenue without one is in USD)."""

    value: Query
    unit: Annotated[Text, Field(max_length=20)] | None = None


class PolicyImpact(Words):
    """What a degradation costs while it lasts."""

    revenue_per_minute: ImpactRate | None = None
    users_per_minute: ImpactRate | None = None
    regulatory: Literal["none", "low", "medium", "high"] = "none"


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
    approve: Approval = Approval()
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
    verify: Verification = Verification()
    authority: Authority = Authority()


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
    risk: Literal["high", "normal", "low"] | None = None
    deployments: Annotated[tuple[PolicyDeployment, ...], Field(min_length=1)]
    signals: Annotated[dict[SignalName, PolicySignal], Field(min_length=1)]
    trigger: PolicyTrigger = PolicyTrigger()
    impact: PolicyImpact = PolicyImpact()
    recovery: tuple[PolicyPath, ...] = ()
    runbook: Text | None = None

"""What people write about a scripted incident: a world, what happens in it, what is right. See `docs/scenarios.md`.

These models hold the words, durations in seconds and percentages as fractions; `rehearse.staging` makes a world of
them, `policy.scenario_lint` finds what no single key shows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator

from rollback_console.model.text import plain
from rollback_console.policy.quantities import (
    DURATION_PATTERN,
    Duration,
    Percentage,
    Span,
    between,
    format_duration,
    format_percentage,
    parse_duration,
    refusal,
)  # fmt: skip
from rollback_console.policy.words import Complaint, LabelName, Name, Prose, Text, VersionText, Words, named, several

SCHEMA = "rollback-console/scenario/v1"
Noise = Literal[
    "everyday", "clean", "season", "autocorrelated", "overdispersed", "bursty", "jumps", "blips", "gaps", "mix"
]
When = Literal[
    "start", "pending", "fired", "blind", "focus", "walk", "plan", "authorize", "execute", "verify", "recovered", "over"
]
Counted = Literal["visits_total", "orders_total", "requests_total", "errors_total", "revenue_total", "unsafe_total"]
Need = Literal["quorum", "paths", "automatic"]
WHEN: tuple[str, ...] = get_args(When)
NOISES: tuple[str, ...] = get_args(Noise)
METRICS: tuple[str, ...] = (
    *get_args(Counted), "latency_seconds_bucket", "latency_seconds_count", "model_info", "up", "feature_age_seconds",
)  # fmt: skip
LABELS = ("deployment", "environment", "job", "model", "version")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FARTHEST_S = 400 * 86_400.0
_M = TypeVar("_M", bound=Words)


def _default(model: type[_M]) -> Callable[[], _M]:
    """A part that is left out: its own defaults, made when a file leaves it out."""
    return model.model_construct


def _offset(value: object) -> float:
    """Seconds from the scenario's start; negative is before it."""
    text = value.strip() if isinstance(value, str) else value
    back = isinstance(text, str) and text.startswith("-")
    if isinstance(text, str):
        text = text[1:] if text[:1] in ("-", "+") else text
    seconds = parse_duration(text)
    if seconds > FARTHEST_S:
        raise refusal(f"{format_duration(seconds)} is out of range", "It lies between -400d and 400d")
    return -seconds if back else seconds


Offset = Annotated[
    float,
    BeforeValidator(_offset),
    WithJsonSchema({
        "anyOf": [
            {"type": "string", "pattern": DURATION_PATTERN.replace("^(", "^[-+]?("), "examples": ["-9m", "4m"]},
            {"const": 0},
        ]
    }),
]  # fmt: skip


def _share(low: float, high: float) -> Any:
    """A percentage within bounds, both included."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise refusal(
                f"{format_percentage(value)} is out of range",
                f"It lies between {format_percentage(low)} and {format_percentage(high)}",
            )
        return value

    return AfterValidator(check)


Relative = Annotated[Percentage, _share(-1.0, 4.0)]  # of the normal value: -8.5 % is 8.5 % less
Slower = Annotated[Percentage, _share(-0.9, 19.0)]
Points = Annotated[Percentage, _share(0.0, 1.0)]  # added to a share of requests
Share = Annotated[Percentage, _share(0.0, 1.0)]

_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"


def _time_of_day(text: str) -> str:
    if not re.fullmatch(_CLOCK, text):
        raise refusal(f"{plain(repr(text), 40)} is not a time of day", 'Write hours and minutes, as in "14:00"')
    return text


TimeOfDay = Annotated[str, Field(json_schema_extra={"pattern": f"^{_CLOCK}$"}), AfterValidator(_time_of_day)]
_METRIC = r"[A-Za-z_:][A-Za-z0-9_:]*"
MetricName = Annotated[str, named(_METRIC, "Prometheus' metric names are letters, digits, `_` and `:`")]


class ScenarioEffect(Words):
    """How far something moves a deployment from its normal self. Relative, but for `errors` and `unsafe`: shares of
    requests that are added."""

    conversion: Relative | None = None
    order_value: Relative | None = None
    latency: Slower | None = None
    volume: Relative | None = None
    errors: Points | None = None
    unsafe: Points | None = None

    @property
    def moves(self) -> bool:
        """Does it move anything at all."""
        said = (self.conversion, self.order_value, self.latency, self.volume, self.errors, self.unsafe)
        return any(value for value in said)


class ScenarioVersion(ScenarioEffect):
    """A version in the registry, and how it truly serves. The effect sets in `after` it began to serve, `over` a time;
    it lasts `for` so long (until further notice), and `fades`. `from`: before this offset from the start the version is
    well. `silent`: the deployment's metrics stop with it."""

    version: VersionText
    after: Duration = 0.0
    over: Duration = 0.0
    for_: Duration | None = Field(default=None, alias="for")
    fades: Duration = 0.0
    from_: Offset | None = Field(default=None, alias="from")
    silent: StrictBool = False
    never_served: StrictBool = False
    status: Literal["READY", "PENDING_REGISTRATION", "FAILED_REGISTRATION"] = "READY"
    known_bad: Text | None = None
    signature: Literal["same", "other"] = "same"
    run: StrictBool = True
    tags: dict[Text, Text] = Field(default_factory=dict)


def _two_versions() -> tuple[ScenarioVersion, ...]:
    return (ScenarioVersion(version="2"), ScenarioVersion(version="1"))


class ScenarioDeployment(Words):
    """One deployment of the world, as it is on a normal working day at its peak. `versions` are newest first; the ones
    below `serves` served before it, the ones above it never did. `lag`: how long serving follows behind the
    registry."""

    name: Name
    environment: Name = "production"
    tier: Literal["critical", "high", "normal", "low"] = "normal"
    model: Text | None = None
    alias: Text = "champion"
    labels: dict[LabelName, Text] = Field(default_factory=dict)
    visits_per_minute: Annotated[float, Field(ge=1, le=1_000_000, allow_inf_nan=False)] = 12_000.0
    conversion: Share = 0.4
    order_value: Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)] = 5.0
    latency: Annotated[Duration, between(0.001, 60)] = 0.045
    errors: Share = 0.003
    unsafe: Share = 0.0
    lag: Annotated[Duration, between(0, 3_600)] = 20.0
    depends_on: tuple[Text, ...] = ()
    serves: VersionText | None = None
    since: Span = 30 * 86_400.0
    versions: Annotated[tuple[ScenarioVersion, ...], Field(min_length=1, max_length=50)] = Field(
        default_factory=_two_versions
    )

    @property
    def serving(self) -> str:
        """The version that serves at the start."""
        return self.versions[0].version if self.serves is None else self.serves


class ScenarioTraffic(Words):
    """The day's shape: in the quietest hour `low` of the peak's traffic, at the weekend `weekend` of a working
    day's."""

    low: Share = 0.56
    peak: TimeOfDay = "15:00"
    weekend: Annotated[Percentage, _share(0.0, 4.0)] = 0.88


class ScenarioWorld(Words):
    """The simulated systems. `metrics` and `labels`: what they are called there, by the names in this documentation."""

    noise: Noise = "everyday"
    traffic: ScenarioTraffic = Field(default_factory=_default(ScenarioTraffic))
    metrics: dict[Text, MetricName] = Field(default_factory=dict)
    labels: dict[Text, LabelName] = Field(default_factory=dict)
    deployments: Annotated[tuple[ScenarioDeployment, ...], Field(min_length=1, max_length=200)]


_EFFECTS = ("conversion", "order_value", "latency", "volume", "errors", "unsafe")
# What each kind of fault takes beside `at`, `on`, `fault` and `for`.
_TAKES: dict[str, tuple[str, ...]] = {
    "dependency": ("target", *_EFFECTS, "features", "over", "fades"),
    "deployment": ("target", *_EFFECTS, "features", "over", "fades"),
    "tracking": ("target", "conversion", "volume", "over", "fades"),
    "exporter": ("target",),
    "metrics": ("how", "delay", "off_by", "only"),
    "registry": ("how", "delay", "loses"),
}
_OF_FLIP = ("to", "by", "times")
_OF_APPROVER = ("answers",)
_COMMON = ("at", "on")


def _answers(value: object) -> float | None:
    if value == "never":
        return None
    try:
        return parse_duration(value)
    except ValueError:
        raise refusal("is neither never nor a duration", "Write `never`, or after how long, as in `20m`") from None


# After how many seconds; None is never.
Answers = Annotated[
    float | None,
    BeforeValidator(_answers),
    WithJsonSchema({"anyOf": [{"const": "never"}, {"type": "string", "pattern": DURATION_PATTERN}]}),
]


class ScenarioEvent(ScenarioEffect):
    """One thing that happens: a fault, somebody else's flip, or what an approver does. `at` counts from the start, or
    with `on: rollback` from the first time that this console moves a pointer."""

    at: Offset = 0.0
    on: Literal["rollback"] | None = None
    fault: Literal["dependency", "deployment", "tracking", "exporter", "metrics", "registry"] | None = None
    target: Text | None = None
    features: Literal["fresh", "stale"] = "fresh"
    over: Duration = 0.0
    for_: Duration | None = Field(default=None, alias="for")
    fades: Duration = 0.0
    how: Literal["out", "slow", "stale", "wrong"] = "out"
    delay: Annotated[Duration, between(0.1, 600)] = 8.0
    off_by: Relative | None = None
    only: Annotated[tuple[Counted, ...], Field(min_length=1)] = ("orders_total", "revenue_total")
    loses: Literal["request", "answer"] | None = None
    flip: Text | None = None
    to: VersionText | None = None
    by: Text = "somebody else"
    times: Annotated[int, Field(ge=1, le=100, strict=True)] = 1
    approver: Name | None = None
    answers: Answers = None

    @model_validator(mode="after")
    def _fits(self) -> ScenarioEvent:
        kinds = [key for key in ("fault", "flip", "approver") if getattr(self, key) is not None]
        if not kinds:
            raise several([Complaint((), "does not say what happens", "Write `fault:`, `flip:` or `approver:`")])
        if len(kinds) > 1:
            what = f"stands beside {kinds[0]}"
            raise several([Complaint((kinds[1],), what, "Write two entries, one for each")])
        found = [*self._strangers(kinds[0]), *self._fault(), *self._flip()]
        if self.on is not None and self.at < 0:
            found.append(Complaint(("at",), "is before the rollback that it waits for", "Write 0s or more"))
        if self.approver is not None and self.on is not None:
            found.append(Complaint(("on",), "belongs to a fault or a flip", "Take it out"))
        if found:
            raise several(found)
        return self

    def _strangers(self, kind: str) -> list[Complaint]:
        """Keys that belong to another kind of entry."""
        takes = {"flip": ("flip", *_OF_FLIP), "approver": ("approver", *_OF_APPROVER)}.get(kind)
        if takes is None:
            takes = ("fault", "for_", *_TAKES[self.fault or ""])
        label = f"fault: {self.fault}" if kind == "fault" else kind
        return [
            Complaint((name.removesuffix("_"),), f"does not go with `{label}`", f"Take `{name.removesuffix('_')}` out")
            for name in type(self).model_fields
            if name in self.model_fields_set and name not in (*_COMMON, *takes)
        ]

    def _fault(self) -> list[Complaint]:
        found = []
        if "target" in _TAKES.get(self.fault or "", ()) and self.target is None:
            found.append(Complaint(("fault",), "does not say what it hits", "Write `target:`"))
        if self.fault in ("dependency", "deployment") and not self.moves and self.features == "fresh":
            remedy = "Write `conversion: -10%`, `latency: +80%`, `errors: +5%` or `features: stale`"
            found.append(Complaint(("fault",), "has no effect", remedy))
        if self.fault == "tracking":
            if not self.moves:
                found.append(Complaint(("fault",), "loses nothing", "Write `conversion: -45%`, of the orders counted"))
            found += [
                Complaint((key,), "counts more than there is", "Tracking loses events: write less")
                for key in ("conversion", "volume")
                if (getattr(self, key) or 0.0) > 0.0
            ]
        if self.fault == "registry" and self.how not in ("out", "slow"):
            found.append(Complaint(("how",), "is not out or slow", "Only a metric store is `stale` or `wrong`"))
        if "delay" in self.model_fields_set and self.how != "slow":
            found.append(Complaint(("delay",), "belongs to `how: slow`", "Write that, or take `delay` out"))
        found += [
            Complaint((key,), "belongs to `how: wrong`", f"Write that, or take `{key}` out")
            for key in ("off_by", "only")
            if key in self.model_fields_set and self.how != "wrong"
        ]
        if self.fault == "metrics" and self.how == "wrong" and not self.off_by:
            found.append(Complaint(("how",), "does not say how wrong", "Write `off_by: -30%`"))
        if self.loses is not None and (self.on is None or self.at > 0):
            remedy = "Write `on: rollback` without `at`, or take `loses` out"
            found.append(Complaint(("loses",), "is of the very write of a rollback", remedy))
        if self.for_ is not None and self.fades and self.fades > self.for_:
            found.append(Complaint(("fades",), "is longer than `for`", "It fades at its end: write less"))
        if self.for_ is None and self.fades:
            found.append(Complaint(("fades",), "has no end to fade at", "Write `for:` too"))
        return found

    def _flip(self) -> list[Complaint]:
        if self.flip is None:
            return []
        if self.on is None and self.to is None:
            return [Complaint(("flip",), "does not say to which version", "Write `to:`")]
        if self.on is None and "times" in self.model_fields_set:
            return [Complaint(("times",), "belongs to `on: rollback`", "Take it out, or write several entries")]
        return []


class ScenarioMove(Words):
    """One rollback that is right."""

    deployment: Text
    to: VersionText


class ScenarioRight(Words):
    """What is right: which deployments to roll back to what, none where the list is empty; and which ones to leave
    alone, however bad they look."""

    rollback: tuple[ScenarioMove, ...] = ()
    leave: tuple[Text, ...] = ()


class ScenarioBands(Words):
    """How long each part of a good answer may take, from the first fire."""

    notice: Span = 120.0
    decide: Span = 300.0
    authorize: Span = 360.0
    act: Span = 480.0
    recover: Span = 1_800.0

    @model_validator(mode="after")
    def _rise(self) -> ScenarioBands:
        names = ("notice", "decide", "authorize", "act", "recover")
        found = [
            Complaint((after,), f"is shorter than `{before}`", "A part ends no earlier than the one before it")
            for before, after in itertools.pairwise(names)
            if getattr(self, after) < getattr(self, before)
        ]
        if found:
            raise several(found)
        return self


class ScenarioHint(Words):
    """What the tutorial says at a step."""

    when: When
    say: Prose


class ScenarioBegins(Words):
    """The time of the week at which the story begins, in UTC."""

    weekday: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] = "tue"
    time: TimeOfDay = "14:00"

    @property
    def seconds(self) -> float:
        """Seconds since Monday, 00:00 UTC."""
        hours, minutes = self.time.split(":")
        return WEEKDAYS.index(self.weekday) * 86_400.0 + int(hours) * 3_600.0 + int(minutes) * 60.0


class Scenario(Words):
    """A scenario file."""

    schema_: Literal["rollback-console/scenario/v1"] = Field(alias="schema")
    name: Name
    title: Annotated[Text, Field(max_length=120)]
    class_: Name = Field(alias="class")
    story: Prose = ""
    needs: tuple[Need, ...] = ()
    policy: Text | None = None
    begins: ScenarioBegins = Field(default_factory=_default(ScenarioBegins))
    lasts: Annotated[Span, between(60, 86_400)] = 3_600.0
    careless: Literal["fails", "passes"] = "fails"
    world: ScenarioWorld
    timeline: Annotated[tuple[ScenarioEvent, ...], Field(max_length=200)] = ()
    right: ScenarioRight
    bands: ScenarioBands = Field(default_factory=_default(ScenarioBands))
    hints: Annotated[tuple[ScenarioHint, ...], Field(max_length=100)] = ()

"""What people write about a scripted incident: a world, what happens in it, what is right. See `docs/scenarios.md`.

These models hold the words, durations in seconds and percentages as fractions; `rehearse.staging` makes a world of
them, `policy.scenario_lint` finds what no single key shows.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field, StrictBool, model_validator

from rollback_console.model.text import plain
from rollback_console.policy.quantities import Duration, Percentage, Span, between, refusal
from rollback_console.policy.scenario_timeline import Counted, Offset, ScenarioEffect, ScenarioEvent, Share, within
from rollback_console.policy.words import Complaint, LabelName, Name, Prose, Text, VersionText, Words, named, several

SCHEMA = "rollback-console/scenario/v1"
Noise = Literal[
    "everyday", "clean", "season", "autocorrelated", "overdispersed", "bursty", "jumps", "blips", "gaps", "mix"
]
When = Literal[
    "start", "pending", "fired", "blind", "focus", "walk", "plan", "authorize", "execute", "verify", "recovered", "over"
]
Need = Literal["quorum", "paths", "automatic"]
WHEN: tuple[str, ...] = get_args(When)
NOISES: tuple[str, ...] = get_args(Noise)
METRICS: tuple[str, ...] = (
    *get_args(Counted), "latency_seconds_bucket", "latency_seconds_count", "model_info", "up", "feature_age_seconds",
)  # fmt: skip
LABELS = ("deployment", "environment", "job", "model", "version")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_M = TypeVar("_M", bound=Words)


def _default(model: type[_M]) -> Callable[[], _M]:
    """A part that is left out: its own defaults, made when a file leaves it out."""
    return model.model_construct


_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]"


def _time_of_day(text: str) -> str:
    if not re.fullmatch(_CLOCK, text):
        raise refusal(f"{plain(repr(text), 40)} is not a time of day", 'Write hours and minutes, as in "14:00"')
    return text


TimeOfDay = Annotated[str, Field(json_schema_extra={"pattern": f"^{_CLOCK}$"}), AfterValidator(_time_of_day)]
_METRIC = r"[A-Za-z_:][A-Za-z0-9_:]*"
MetricName = Annotated[str, named(_METRIC, "Prometheus' metric names are letters, digits, `_` and `:`")]


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
    weekend: Annotated[Percentage, within(0.0, 4.0)] = 0.88


class ScenarioWorld(Words):
    """The simulated systems. `metrics` and `labels`: what they are called there, by the names in this documentation."""

    noise: Noise = "everyday"
    traffic: ScenarioTraffic = Field(default_factory=_default(ScenarioTraffic))
    metrics: dict[Text, MetricName] = Field(default_factory=dict)
    labels: dict[Text, LabelName] = Field(default_factory=dict)
    deployments: Annotated[tuple[ScenarioDeployment, ...], Field(min_length=1, max_length=200)]


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

"""What happens in a scenario: effects, and the entries of its timeline. The rest is `policy.scenario`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from rollback_console.policy.quantities import (
    DURATION_PATTERN,
    Duration,
    Percentage,
    between,
    format_duration,
    format_percentage,
    parse_duration,
    refusal,
)  # fmt: skip
from rollback_console.policy.words import Complaint, Name, Text, VersionText, Words, several

Counted = Literal["visits_total", "orders_total", "requests_total", "errors_total", "revenue_total", "unsafe_total"]
FARTHEST_S = 400 * 86_400.0


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


def within(low: float, high: float) -> Any:
    """A percentage within bounds, both included."""

    def check(value: float) -> float:
        if not low <= value <= high:
            raise refusal(
                f"{format_percentage(value)} is out of range",
                f"It lies between {format_percentage(low)} and {format_percentage(high)}",
            )
        return value

    return AfterValidator(check)


Relative = Annotated[Percentage, within(-1.0, 4.0)]  # of the normal value: -8.5 % is 8.5 % less
Slower = Annotated[Percentage, within(-0.9, 19.0)]
Points = Annotated[Percentage, within(0.0, 1.0)]  # added to a share of requests
Share = Annotated[Percentage, within(0.0, 1.0)]


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

"""What a team writes of an operator who plays a drill without a screen: steps, in order. `docs/scenarios.md` says how.

These models hold the words; `rehearse.operators_file` plays them. Nothing in a file is ever executed as code.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, StrictBool, WithJsonSchema, model_validator

from rollback_console.policy.quantities import Duration, Span, refusal
from rollback_console.policy.words import Complaint, Name, Text, VersionText, Words, several

SCHEMA = "rollback-console/operator/v1"
When = Literal["pending", "fired", "blind", "safety", "unfinished", "moved", "announced", "ended", "calm"]
# What each act takes beside itself and `if`.
_TAKES: dict[str, tuple[str, ...]] = {
    "when": ("within",),
    "wait": (),
    "open": (),
    "walk": ("pace", "until"),
    "skip": ("because",),
    "plan": ("to", "path"),
    "execute": (),
    "resume": (),
    "note": (),
    "snooze": (),
    "stop": (),
}
_KEYS = {key: f"`{key}`" for key in _TAKES}


def _steps(value: object) -> int | str:
    """`all`, or how many steps."""
    if value == "all" or (type(value) is int and 1 <= value <= 1_000):
        return value
    raise refusal("is neither `all` nor a number of steps", "Write `skip: all`, or `skip: 2`")


Steps = Annotated[
    int | Literal["all"],
    PlainValidator(_steps),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "integer", "minimum": 1, "maximum": 1_000}]}),
]


class OperatorGuard(Words):
    """A step is taken only where all of this is so on the screen at that moment, of the deployment in hand. `origin`:
    what its incident is attributed to; `advised`: whether a rollback is; `state`: of its trigger; `plan`: what became
    of the last plan or execution."""

    origin: Literal["release", "upstream", "infrastructure", "telemetry", "unknown"] | None = None
    advised: Literal["rollback", "nothing"] | None = None
    state: Literal["healthy", "pending", "fired", "clearing", "cooling", "blind"] | None = None
    plan: Literal[
        "executable", "refused", "running", "verifying", "unfinished", "done", "not confirmed", "failed", "aborted",
    ] | None = None  # fmt: skip

    @model_validator(mode="after")
    def _says_something(self) -> OperatorGuard:
        if not self.model_fields_set:
            raise several([Complaint((), "asks for nothing", "Write `{advised: rollback}`, or take it out")])
        return self


class OperatorStep(Words):
    """One thing to do. `it` is the deployment in hand: what the last `when` found, or the last `open` named."""

    if_: OperatorGuard | None = Field(default=None, alias="if")
    when: When | None = None
    within: Span = 3_600.0
    wait: Span | None = None
    open: Text | None = None
    walk: Text | None = None
    pace: Duration = 10.0
    until: Literal["rollback", "end"] = "end"
    skip: Steps | None = None
    because: Text = "no reason given"
    plan: Text | None = None
    to: VersionText | None = None
    path: Name | None = None
    execute: Text | None = None
    resume: Text | None = None
    note: Text | None = None
    snooze: Span | None = None
    stop: StrictBool | None = None

    @property
    def act(self) -> str:
        """Which of its keys says what is done."""
        return next(key for key in _TAKES if getattr(self, key) is not None)

    @model_validator(mode="after")
    def _fits(self) -> OperatorStep:
        acts = [key for key in _TAKES if getattr(self, key) is not None]
        if not acts:
            raise several([Complaint((), "does nothing", f"Write one of {', '.join(_KEYS.values())}")])
        found = [Complaint((key,), f"stands beside {acts[0]}", "Write two steps, one for each") for key in acts[1:]]
        found += [
            Complaint((name,), f"does not go with `{acts[0]}`", f"Take `{name}` out")
            for name in ("within", "pace", "until", "because", "to", "path")
            if name in self.model_fields_set and not any(name in _TAKES[act] for act in acts)
        ]
        if found:
            raise several(found)
        return self


class OperatorScript(Words):
    """An operator file. With `repeats`, the last step is followed by the first, for the next deployment, until the
    drill ends; otherwise the operator does nothing more."""

    schema_: Literal["rollback-console/operator/v1"] = Field(alias="schema")
    name: Name
    title: Annotated[Text, Field(max_length=120)] | None = None
    repeats: StrictBool = False
    steps: Annotated[tuple[OperatorStep, ...], Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _in_order(self) -> OperatorScript:
        if found := list(self._too_early()):
            raise several(found)
        return self

    def _too_early(self) -> Iterator[Complaint]:
        """Steps that rest on one that comes later, or never."""
        done: set[str] = set()
        for index, step in enumerate(self.steps):
            act = step.act
            on_it = act in ("walk", "execute", "snooze", "skip") or getattr(step, act) == "it"
            if on_it and act != "when" and not done & {"when", "open"}:
                remedy = "Begin with `when: fired`, or `open: NAME`"
                yield Complaint(("steps", index, act), "nothing is in hand yet", remedy)
            elif act == "execute" and "plan" not in done:
                yield Complaint(("steps", index, act), "no plan was made before it", "Write `plan: it` above")
            elif (act == "skip" or step.walk == "rest") and "walk" not in done:
                yield Complaint(("steps", index, act), "no runbook is walked yet", "Write `walk: advised` above")
            done.add(act)
        if self.repeats and not any(step.act in ("when", "wait") for step in self.steps):
            yield Complaint(("repeats",), "would go round without an end", "Begin the steps with `when: fired`")

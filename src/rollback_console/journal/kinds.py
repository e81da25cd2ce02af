"""What may stand in the journal: a closed, versioned set. One pydantic model a kind; the docs' schema comes from these.

A body is stored as RFC 8785 bytes, exactly as signed. RFC 8785 refuses NaN and integers of 2**53 and more: numbers that
may be non-finite are words (`number()`), nanoseconds are strings.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Body(BaseModel):
    """Base of every kind. `v` is the version of the kind's own schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[str]
    v: int = 1


class Genesis(Body):
    """The first entry: the chain's name and who made it. `rehearsal` chains count in no rate and no baseline."""

    kind = "genesis"
    chain: str
    program: str
    device: str  # the device's public key, OpenSSH form
    rehearsal: bool = False


class Session(Body):
    """A process began or ended its work on this journal."""

    kind = "session"
    event: Literal["opened", "closed", "recorder"]
    pid: int
    host: str
    command: str
    program: str


class PolicyInForce(Body):
    """The bytes of a policy, settings or roster that decisions from here on rest on (a blob by digest)."""

    kind = "policy"
    what: Literal["policy", "settings", "roster"]
    name: str
    version: int
    digest: Hex


class TickRecorded(Body):
    """One evaluation's samples: the blob's digest, and who was not healthy."""

    kind = "tick"
    at: float
    blob: Hex
    deployments: int
    not_healthy: list[str]


class TransitionRecorded(Body):
    """A change of state, with all it was made from: the tick, the memory before, the policy, the engine's version."""

    kind = "transition"
    at: float
    before: str
    after: str
    sentence: str
    tick: Hex
    policy: Hex
    engine: str
    memory_before: dict[str, Any]
    memory_after: dict[str, Any]
    verdict: dict[str, Any]
    cooling: bool = False
    backfilled: bool = False
    declared: dict[str, Any] = {}  # what people had declared by then that bears on it, by id; see the docs


class IncidentRecorded(Body):
    """An incident opened, changed or closed, with what its attribution was made from."""

    kind = "incident"
    event: Literal["opened", "changed", "closed"]
    id: str
    members: list[str]
    onset: float
    attribution: str
    reasons: list[str]
    sentence: str
    recommendations: list[dict[str, Any]] = []
    inputs: dict[str, Any] = {}


class PointerMoved(Body):
    """A registry pointer moved. `ours` names the execution that did it, else somebody else did."""

    kind = "pointer"
    at: float
    model: str
    alias: str
    before: str | None
    after: str | None
    ours: str | None = None


class BackendChanged(Body):
    """A backend began or ceased to answer."""

    kind = "backend"
    name: str
    state: str
    detail: str


class ClockJump(Body):
    """The wall clock moved against the monotonic one."""

    kind = "clock"
    seconds: float


class PersonSignature(BaseModel):
    """A person's signature over the bytes named in the docs: SSHSIG, armoured."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    operator: str
    fingerprint: str
    signed: Hex  # SHA-256 of the signed bytes
    statement: str  # the signed bytes themselves, as text
    signature: str


class Requested(Body):
    """A signed ask to execute a plan. The plan's own bytes are a blob."""

    kind = "request"
    execution: str
    plan: Hex  # digest of the plan
    plan_blob: Hex
    phrase: str
    reason: str
    person: PersonSignature | None = None
    against: str = ""  # the sentence in which the console advised against the plan, where it did


class Refusal(Body):
    """An act that was not allowed: the rule that said no, and who could allow it."""

    kind = "refusal"
    act: str
    rule: str
    who_could: str = ""


class Intent(Body):
    """Written, durably, before the world is touched."""

    kind = "intent"
    execution: str
    step: str
    detail: str
    attempt: int = 1


class Outcome(Body):
    """Written after: what came of an intent."""

    kind = "outcome"
    execution: str
    step: str
    state: Literal["done", "failed", "skipped"]
    detail: str
    attempt: int = 1


class ExecutionEnded(Body):
    """How an execution ended."""

    kind = "execution"
    execution: str
    state: Literal["done", "not confirmed", "failed", "aborted"]
    detail: str


class Adopted(Body):
    """A rollback done by hand, taken into the journal and the measures."""

    kind = "adopt"
    model: str
    alias: str
    from_version: str
    to_version: str
    reason: str
    moved_at: float | None = None
    person: PersonSignature | None = None
    moved_by: str = ""  # who, where that is known


class WalkEvent(Body):
    """A walk began or ended. The runbook's bytes are a blob by digest."""

    kind = "walk"
    event: Literal["started", "ended"]
    walk: str
    runbook: str
    digest: Hex
    incident: str = ""
    outcome: str = ""


class StepMarked(Body):
    """A step of a walk changed state. A skipped one has a reason."""

    kind = "step"
    walk: str
    step: str
    title: str
    state: Literal["running", "done", "skipped", "failed", "waiting"]
    reason: str = ""


class Note(Body):
    kind = "note"
    text: str


class Snoozed(Body):
    kind = "snooze"
    until: float
    reason: str


class StretchExcluded(Body):
    """A stretch that a person took out of every baseline, or (`restored`) put back; no deployments: all of them."""

    kind = "exclusion"
    event: Literal["excluded", "restored"]
    id: str
    start: float | None = None
    end: float | None = None
    deployments: list[str] = []
    reason: str


class ChangeExpected(Body):
    """A change that a person expects from this entry on, at most until then, or (`ended`) its earlier end."""

    kind = "expected"
    event: Literal["declared", "ended"]
    id: str
    until: float | None = None
    deployments: list[str] = []
    reason: str


class DrillSummary(Body):
    """A drill's one line in the main journal; rates exclude it."""

    kind = "drill"
    scenario: str
    seed: int
    passed: bool
    detail: dict[str, Any]


class Repaired(Body):
    """What a start found and mended: a stale lock, an unfinished execution offered."""

    kind = "found"
    what: str
    detail: str


KINDS: dict[str, type[Body]] = {
    model.kind: model
    for model in (
        Genesis, Session, PolicyInForce, TickRecorded, TransitionRecorded, IncidentRecorded, PointerMoved,
        BackendChanged, ClockJump, Requested, Refusal, Intent, Outcome, ExecutionEnded, Adopted, WalkEvent,
        StepMarked, Note, Snoozed, StretchExcluded, ChangeExpected, DrillSummary, Repaired,
    )
}  # fmt: skip

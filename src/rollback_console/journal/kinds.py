"""What may stand in the journal: a closed, versioned set. One pydantic model a kind; the docs' schema comes from these.

A body is stored as RFC 8785 bytes, exactly as signed. RFC 8785 refuses NaN and integers of 2**53 and more: numbers that
may be non-finite are words (`number()`), nanoseconds are strings. Every field declares its rule of redaction beside its
type (`journal.body`); kinds about the journal itself are in `journal.kinds_keeping`, kinds that are written afterwards
in `journal.kinds_review`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from rollback_console.journal.body import (
    Body,
    Exact,
    ExactDocument,
    Free,
    Hex,
    Name,
    PersonSignature,
    Quoting,
)
from rollback_console.journal.kinds_keeping import (
    BlobsDropped,
    Checkpointed,
    EmergencyBegun,
    EmergencyMerged,
    SegmentBegun,
    SegmentFile,
    StandsIn,
)
from rollback_console.journal.kinds_review import FollowedUp, Judged, Tagged, Told
from rollback_console.journal.redact import Rule

__all__ = [
    "KINDS", "Adopted", "AutomaticRecorded", "BackendChanged", "BlobsDropped", "Body", "ChangeExpected",
    "Checkpointed", "ClockJump",
    "DrillSummary", "EmergencyBegun", "EmergencyMerged", "ExecutionEnded", "FollowedUp", "Genesis", "Hex",
    "IncidentRecorded", "Intent", "Judged", "Note", "Ordered", "Outcome", "PersonSignature", "PointerMoved",
    "PolicyInForce", "Refusal", "Repaired",
    "Requested", "SegmentBegun", "SegmentFile", "Session", "Snoozed", "StandsIn", "StepMarked", "StretchExcluded",
    "Tagged", "TickRecorded", "Told", "TransitionRecorded", "WalkEvent",
]  # fmt: skip


class Genesis(Body):
    """The first entry: the chain's name and who made it. `rehearsal` chains count in no rate and no baseline."""

    kind = "genesis"
    chain: Name
    program: Name
    device: Name  # the device's public key, OpenSSH form
    rehearsal: bool = False
    stands_in: StandsIn | None = None  # an emergency journal: for which one


class Session(Body):
    """A process began or ended its work on this journal."""

    kind = "session"
    event: Literal["opened", "closed", "recorder"]
    pid: int
    host: Name
    command: Name
    program: Name


class PolicyInForce(Body):
    """The bytes of a policy, settings or roster that decisions from here on rest on (a blob by digest)."""

    kind = "policy"
    what: Literal["policy", "settings", "roster"]
    name: Name
    version: int
    digest: Hex


class TickRecorded(Body):
    """One evaluation's samples: the blob's digest, and who was not healthy."""

    kind = "tick"
    at: float
    blob: Hex
    deployments: int
    not_healthy: Annotated[list[str], Rule.IDENTIFIER]


class TransitionRecorded(Body):
    """A change of state, with all it was made from: the tick, the memory before, the policy, the engine's version."""

    kind = "transition"
    at: float
    before: Exact
    after: Exact
    sentence: Exact
    tick: Hex
    policy: Hex
    engine: Name
    memory_before: ExactDocument
    memory_after: ExactDocument
    verdict: ExactDocument
    cooling: bool = False
    backfilled: bool = False
    declared: ExactDocument = Field(default_factory=dict)  # what people had declared by then


class IncidentRecorded(Body):
    """An incident opened, changed or closed, with what its attribution was made from."""

    kind = "incident"
    event: Literal["opened", "changed", "closed"]
    id: Name
    members: Annotated[list[str], Rule.IDENTIFIER]
    onset: float
    attribution: Name
    reasons: list[Free]
    sentence: Free
    recommendations: Annotated[list[dict[str, Any]], Rule.FREE] = Field(default_factory=list)
    inputs: ExactDocument = Field(default_factory=dict)


class PointerMoved(Body):
    """A registry pointer moved. `ours` names the execution that did it, else somebody else did."""

    kind = "pointer"
    at: float
    model: Name
    alias: Name
    before: Name | None
    after: Name | None
    ours: Name | None = None
    registered_at: float | None = None  # when the registry got the version that it moved to


class BackendChanged(Body):
    """A backend began or ceased to answer."""

    kind = "backend"
    name: Name
    state: Name
    detail: Quoting


class ClockJump(Body):
    """The wall clock moved against the monotonic one."""

    kind = "clock"
    seconds: float


class Requested(Body):
    """A signed ask to execute a plan. The plan's own bytes are a blob."""

    kind = "request"
    execution: Name
    plan: Hex  # digest of the plan
    plan_blob: Hex
    phrase: Name
    reason: Free
    person: PersonSignature | None = None
    against: Free = ""  # the sentence in which the console advised against the plan, where it did
    planned: bool = False  # a planned switch, not a remedy: no rollback rate counts it


class Refusal(Body):
    """An act that was not allowed: the rule that said no, and who could allow it."""

    kind = "refusal"
    act: Name
    rule: Quoting
    who_could: Name = ""


class Intent(Body):
    """Written, durably, before the world is touched."""

    kind = "intent"
    execution: Name
    step: Name
    detail: Quoting
    attempt: int = 1


class Outcome(Body):
    """Written after: what came of an intent."""

    kind = "outcome"
    execution: Name
    step: Name
    state: Literal["done", "failed", "skipped"]
    detail: Quoting
    attempt: int = 1


class ExecutionEnded(Body):
    """How an execution ended."""

    kind = "execution"
    execution: Name
    state: Literal["done", "not confirmed", "failed", "aborted"]
    detail: Quoting


class Ordered(Body):
    """A person ordered an execution to go on, or to stop; what the runner made of it follows."""

    kind = "order"
    execution: Name
    order: Literal["resume", "abort"]
    reason: Free = ""
    person: PersonSignature | None = None


class Adopted(Body):
    """A rollback done by hand, taken into the journal and the measures."""

    kind = "adopt"
    model: Name
    alias: Name
    from_version: Name
    to_version: Name
    reason: Free
    moved_at: float | None = None
    person: PersonSignature | None = None
    moved_by: Name = ""  # who, where that is known
    planned: bool = False  # a planned switch, not a remedy: no rollback rate counts it


class WalkEvent(Body):
    """A walk began or ended. The runbook's bytes are a blob by digest."""

    kind = "walk"
    event: Literal["started", "ended"]
    walk: Name
    runbook: Name
    digest: Hex
    incident: Name = ""
    outcome: Free = ""


class StepMarked(Body):
    """A step of a walk changed state. A skipped one has a reason."""

    kind = "step"
    walk: Name
    step: Name
    title: Free
    state: Literal["running", "done", "skipped", "failed", "waiting"]
    reason: Free = ""


class Note(Body):
    kind = "note"
    text: Free


class Snoozed(Body):
    kind = "snooze"
    until: float
    reason: Free
    person: PersonSignature | None = None


class Claimed(Body):
    """Who is on an incident: taken up or left, its command taken, given up, or handed over to a named person."""

    kind = "claim"
    incident: Name
    role: Literal["working", "commander"]
    action: Literal["take", "release", "handover"]
    to: Name = ""
    reason: Free = ""
    person: PersonSignature | None = None


class StretchExcluded(Body):
    """A stretch that a person took out of every baseline, or (`restored`) put back; no deployments: all of them."""

    kind = "exclusion"
    event: Literal["excluded", "restored"]
    id: Name
    start: float | None = None
    end: float | None = None
    deployments: Annotated[list[str], Rule.IDENTIFIER] = Field(default_factory=list)
    reason: Free
    person: PersonSignature | None = None


class ChangeExpected(Body):
    """A change that a person expects from this entry on, at most until then, or (`ended`) its earlier end."""

    kind = "expected"
    event: Literal["declared", "ended"]
    id: Name
    until: float | None = None
    deployments: Annotated[list[str], Rule.IDENTIFIER] = Field(default_factory=list)
    reason: Free
    person: PersonSignature | None = None


class AutomaticRecorded(Body):
    """A rollback that goes by itself: announced, held by a person, withdrawn because it is no longer called for,
    refused by a check, or started."""

    kind = "automatic"
    event: Literal["announced", "held", "withdrawn", "refused", "started"]
    path: Name
    to_version: Name
    due: float  # Unix seconds: when it goes unless somebody holds it
    words: Free  # the advice, or why it was held, withdrawn or refused
    execution: Name = ""  # the one that was started
    person: PersonSignature | None = None  # of who held it


class DrillSummary(Body):
    """A drill's one line in the main journal; rates exclude it."""

    kind = "drill"
    scenario: Name
    seed: int
    passed: bool
    detail: Annotated[dict[str, Any], Rule.FREE]


class Repaired(Body):
    """What a start found and mended: a stale lock, an unfinished execution offered."""

    kind = "found"
    what: Quoting
    detail: Quoting


KINDS: dict[str, type[Body]] = {
    model.kind: model
    for model in (
        Genesis, Session, PolicyInForce, TickRecorded, TransitionRecorded, IncidentRecorded, PointerMoved,
        BackendChanged, ClockJump, Requested, Refusal, Intent, Outcome, ExecutionEnded, Ordered, Adopted, WalkEvent,
        StepMarked, Note, Snoozed, Claimed, AutomaticRecorded, StretchExcluded, ChangeExpected, DrillSummary, Repaired,
        Checkpointed, SegmentBegun, BlobsDropped, EmergencyBegun, EmergencyMerged, Judged, FollowedUp, Told, Tagged,
    )
}  # fmt: skip

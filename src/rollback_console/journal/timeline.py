"""One plain sentence for each entry: the Timeline, `journal list` and review say the same.

Every value in a sentence came from elsewhere once; every sentence goes through `model.text.plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rollback_console.journal import kinds as k
from rollback_console.journal.chain import nanoseconds
from rollback_console.journal.entry import Entry
from rollback_console.journal.export import rfc3339
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import plain, span


def item(entry: Entry) -> TimelineItem:
    """An entry as a line of the timeline: what happened, with its values, in one safe sentence."""
    return TimelineItem(
        seq=entry.seq,
        at=entry.at,
        kind=plain(entry.kind, 40),
        deployment=plain(entry.deployment, 200),
        operator=plain(entry.operator, 100),
        text=sentence(entry),
        hash=plain(entry.hash, 64),
    )


def sentence(entry: Entry) -> str:
    """What happened. A kind (or a version of one) that this program does not know says so."""
    body = entry.parsed()
    if body is None:
        known = "a newer form of" if entry.kind in k.KINDS else "an entry of the unknown kind"
        return plain(f"{known} {entry.kind}: this program cannot read it; `journal show {entry.seq}` prints it")
    return plain(_SENTENCES[type(body)](body))


def clock_text(at: float) -> str:
    """Unix seconds as `2026-11-20 09:08:33 UTC`."""
    return rfc3339(nanoseconds(at)).partition(".")[0].replace("T", " ") + " UTC"


def _genesis(b: k.Genesis) -> str:
    what = "rehearsal journal" if b.rehearsal else "journal"
    return f"the {what} {b.chain[:12]} begins, made by {b.program}"


def _session(b: k.Session) -> str:
    did = "decides and records from here on" if b.event == "recorder" else f"{b.event} the journal"
    return f"{b.command} (pid {b.pid} on {b.host}, {b.program}) {did}"


def _policy(b: k.PolicyInForce) -> str:
    version = f" version {b.version}" if b.what == "policy" else ""
    return f"{b.what} {b.name}{version} is in force ({b.digest[:12]})"


def _tick(b: k.TickRecorded) -> str:
    bad = len(b.not_healthy)
    if not bad:
        return f"evaluated {b.deployments} deployments: all healthy"
    names = ", ".join(b.not_healthy[:3]) + (f" and {bad - 3} more" if bad > 3 else "")
    return f"evaluated {b.deployments} deployments: {bad} not healthy ({names})"


def _transition(b: k.TransitionRecorded) -> str:
    late = " (found when back-filling)" if b.backfilled else ""
    return f"{b.before} → {b.after}: {b.sentence}{late}"  # the states first: a narrow screen shows no more


def _incident(b: k.IncidentRecorded) -> str:
    return f"incident {b.id} {b.event}, {_count(len(b.members), 'deployment')}, {b.attribution}: {b.sentence}"


def _pointer(b: k.PointerMoved) -> str:
    who = f"by execution {b.ours}" if b.ours else "by somebody else than this console"
    return f"{b.model}@{b.alias} moved from {_version(b.before)} to {_version(b.after)}, {who}"


def _backend(b: k.BackendChanged) -> str:
    return f"{b.name} is {b.state}" + (f": {b.detail}" if b.detail else "")


def _clock(b: k.ClockJump) -> str:
    way = "forward" if b.seconds > 0 else "back"
    return f"the wall clock jumped {way} by {span(abs(b.seconds))}: times before and after do not compare"


def _request(b: k.Requested) -> str:
    signed = f"signed by {b.person.operator}" if b.person else "not signed by a person"
    but = " against advice" if b.against else ""
    but += ", a planned switch," if b.planned else ""
    return f"asked to execute {b.phrase}{but} as {b.execution} (plan {b.plan[:12]}, {signed}): {b.reason}"


def _refusal(b: k.Refusal) -> str:
    return f"refused {b.act}: {b.rule}" + (f"; {b.who_could}" if b.who_could else "")


def _intent(b: k.Intent) -> str:
    return f"{b.execution}: about to {b.step}{_attempt(b.attempt)}: {b.detail}"


def _outcome(b: k.Outcome) -> str:
    return f"{b.execution}: {b.step} {b.state}{_attempt(b.attempt)}: {b.detail}"


def _execution(b: k.ExecutionEnded) -> str:
    return f"{b.execution} ended: {b.state}: {b.detail}"


def _adopt(b: k.Adopted) -> str:
    when = f", moved at {clock_text(b.moved_at)}" if b.moved_at is not None else ""
    moved = f"{b.model}@{b.alias} from v{b.from_version} to v{b.to_version}"
    who = f" by {b.moved_by}" if b.moved_by else ""
    what = "planned switch" if b.planned else "rollback"
    return f"adopted a {what} done by hand: {moved}{when}{who}: {b.reason}"


def _walk(b: k.WalkEvent) -> str:
    end = f" ({b.outcome})" if b.outcome else ""
    return f"runbook {b.runbook}: walk {b.walk} {b.event}{end}" + (f" for incident {b.incident}" if b.incident else "")


def _step(b: k.StepMarked) -> str:
    return f"step {b.step} “{b.title}” {b.state}" + (f": {b.reason}" if b.reason else "")


def _note(b: k.Note) -> str:
    return f"note: {b.text}"


def _automatic(b: k.AutomaticRecorded) -> str:
    what = f"automatic rollback to {_version(b.to_version)} by {b.path}"
    if b.event == "announced":
        return f"{what} announced for {clock_text(b.due)}: {b.words}"
    if b.event == "started":
        return f"{what} started as {b.execution}"
    return f"{what} {b.event}: {b.words}"


def _snooze(b: k.Snoozed) -> str:
    return f"snoozed until {clock_text(b.until)}: {b.reason}"


def _claim(b: k.Claimed) -> str:
    did = {
        ("working", "take"): "works on", ("working", "release"): "left", ("commander", "take"): "took command of",
        ("commander", "release"): "gave up command of", ("commander", "handover"): "offered command of",
    }.get((b.role, b.action), f"{b.action} {b.role} of")  # fmt: skip
    return f"{did} incident {b.incident}" + (f" to {b.to}" if b.to else "") + (f": {b.reason}" if b.reason else "")


def _exclusion(b: k.StretchExcluded) -> str:
    if b.event == "restored" or b.start is None or b.end is None:
        return f"put {b.id} back into the baselines: {b.reason}"
    return f"excluded {b.id} from baselines, {clock_text(b.start)} to {clock_text(b.end)}, {_who(b)}: {b.reason}"


def _expected(b: k.ChangeExpected) -> str:
    if b.event == "ended" or b.until is None:
        return f"{b.id} is not expected any more: {b.reason}"
    return f"expected until {clock_text(b.until)} ({b.id}), {_who(b)}: {b.reason}"


def _who(b: k.StretchExcluded | k.ChangeExpected) -> str:
    """Whom a declaration is about; of one deployment alone the entry's own column says it."""
    if not b.deployments:
        return "the whole fleet"
    named = ", ".join(b.deployments[:3])
    return f"{named} and {len(b.deployments) - 3} more" if len(b.deployments) > 3 else named


def _drill(b: k.DrillSummary) -> str:
    return f"drill {b.scenario} with seed {b.seed} {'passed' if b.passed else 'failed'}"


def _found(b: k.Repaired) -> str:
    return f"found {b.what}: {b.detail}"


def _checkpoint(b: k.Checkpointed) -> str:
    made = _count(b.evaluations, "evaluation")
    return f"nothing was written for {span(b.quiet_s)} after entry {b.head_seq}: {made} of {b.deployments} deployments"


def _segment(b: k.SegmentBegun) -> str:
    return f"file {b.number} of the chain goes on after {b.before}, which ends with entry {b.last_seq} ({b.last[:12]})"


def _retention(b: k.BlobsDropped) -> str:
    return f"dropped {_count(b.blobs, 'sample')} older than {clock_text(b.older_than)}, {b.size_bytes} bytes"


def _break_glass(b: k.EmergencyBegun) -> str:
    signed = f"signed by {b.person.operator}" if b.person else "not signed by a person"
    chain = f"the journal {b.stands_in.chain[:12]} (last known entry {b.stands_in.seq})"
    return f"BREAK-GLASS, {signed}: this journal stands in for {chain}: {b.reason}: {b.problem}"


def _merge(b: k.EmergencyMerged) -> str:
    return f"took in the emergency journal {b.chain[:12]}, {_count(b.entries, 'entry', 'entries')}: {b.reason}"


def _order(b: k.Ordered) -> str:
    signed = f"signed by {b.person.operator}" if b.person else "not signed by a person"
    return f"ordered to {b.order} {b.execution}, {signed}" + (f": {b.reason}" if b.reason else "")


def _judgement(b: k.Judged) -> str:
    said = [
        f"root cause {b.root_cause}" if b.root_cause else "",
        f"the decision was {b.right}" if b.right in ("right", "wrong") else "",
        f"counts as {b.counts_as}" if b.counts_as else "",
        f"published at {b.published}" if b.published else "",
    ]
    words = ", ".join(filter(None, said)) or "nothing settled yet"
    return f"judged {b.subject}: {words}" + (f" (supersedes entry {b.supersedes})" if b.supersedes else "")


def _follow_up(b: k.FollowedUp) -> str:
    if b.event != "opened":
        return f"follow-up {b.id} {b.event}" + (f": {b.reason}" if b.reason else "")
    owner = f", {b.owner}" if b.owner else ""
    return f"follow-up {b.id} of {b.incident}{owner}" + (f" until {b.due}" if b.due else "") + f": {b.what}"


def _message(b: k.Told) -> str:
    return f"{b.audience} message {b.template} {b.how}" + (f" to {b.to}" if b.to else "") + f": {b.text}"


def _tag(b: k.Tagged) -> str:
    return f"tagged {b.model} v{b.version} in the registry: {b.key} = {b.value}"


def _version(version: str | None) -> str:
    return "nothing" if version is None else f"v{version}"


def _attempt(attempt: int) -> str:
    return f" (attempt {attempt})" if attempt > 1 else ""


def _count(number: int, noun: str, several: str = "") -> str:
    return f"{number} {noun if number == 1 else several or noun + 's'}"


_SENTENCES: dict[type[k.Body], Callable[[Any], str]] = {
    k.Genesis: _genesis, k.Session: _session, k.PolicyInForce: _policy, k.TickRecorded: _tick,
    k.TransitionRecorded: _transition, k.IncidentRecorded: _incident, k.PointerMoved: _pointer,
    k.BackendChanged: _backend, k.ClockJump: _clock, k.Requested: _request, k.Refusal: _refusal, k.Intent: _intent,
    k.Outcome: _outcome, k.ExecutionEnded: _execution, k.Adopted: _adopt, k.WalkEvent: _walk, k.StepMarked: _step,
    k.Note: _note, k.Snoozed: _snooze, k.AutomaticRecorded: _automatic, k.DrillSummary: _drill, k.Repaired: _found,
    k.Checkpointed: _checkpoint, k.SegmentBegun: _segment, k.BlobsDropped: _retention,
    k.EmergencyBegun: _break_glass, k.EmergencyMerged: _merge,
    k.Ordered: _order, k.Judged: _judgement, k.FollowedUp: _follow_up, k.Told: _message, k.Tagged: _tag,
    k.StretchExcluded: _exclusion, k.ChangeExpected: _expected, k.Claimed: _claim,
}  # fmt: skip

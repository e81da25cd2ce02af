"""What of a journal can be judged, what was made of it, and what still waits: a pure reading, by `docs/measures.md`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from rollback_console.engine.folding import incident_of
from rollback_console.execute.fold import KINDS as EXECUTION_KINDS
from rollback_console.execute.fold import histories, plan_of
from rollback_console.journal.entry import Entry, Recorder
from rollback_console.journal.kinds import Adopted, IncidentRecorded, PointerMoved, Tagged
from rollback_console.journal.merged import told
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.judgement import (
    CAUSES,
    GATES,
    INCIDENT_TAG,
    ROOT_CAUSE_TAG,
    WITHDRAWN,
    Docket,
    Judgement,
    Subject,
    WantedTag,
)
from rollback_console.model.text import plain
from rollback_console.review.judgements import follow_ups, last

_READ = (*EXECUTION_KINDS, "incident", "pointer", "adopt", "tag", "transition")
_SAME_MOVE_S = 600.0  # an adoption and the pointer's move that it speaks of
_MOVED = ("done", "not confirmed")
_SLACK_S = 60.0  # a member may have fired so long before its incident's first entry


def docket(journal: Recorder, causes: Sequence[str] = CAUSES, gates: Sequence[str] = GATES) -> Docket:
    """Read it all. `causes` and `gates`: the words that judgements may use here. Raises `JournalError`."""
    entries = list(told(journal, _READ))
    incidents = _incidents(entries)
    rollbacks = _rollbacks(entries, journal.get_blob, incidents)
    judged = last(journal)
    subjects = tuple(sorted([*(_with_versions(i, rollbacks) for i in incidents), *rollbacks],
                            key=lambda each: (each.began_at, each.id)))  # fmt: skip
    return Docket(
        subjects=subjects,
        last=tuple(judged.values()),
        follow_ups=follow_ups(journal),
        waiting=tuple(_waiting(subjects, judged, _fired(entries))),
        pending=tuple(_pending(subjects, judged, entries)),
        causes=tuple(causes),
        gates=tuple(gates),
    )


def _incidents(entries: Iterable[Entry]) -> list[Subject]:
    found: dict[str, tuple[float, Incident]] = {}
    for entry in entries:
        if entry.kind == "incident" and isinstance(body := entry.parsed(), IncidentRecorded):
            first = found[body.id][0] if body.id in found else entry.at
            found[body.id] = (first, incident_of(entry, body))
    return [
        Subject(
            id=name, kind="incident", title=incident.sentence, deployments=incident.members,
            began_at=min(first, incident.onset), ended_at=incident.closed_at,
        )
        for name, (first, incident) in found.items()
    ]  # fmt: skip


def _rollbacks(
    entries: Sequence[Entry], blobs: Callable[[str], bytes | None], incidents: Sequence[Subject]
) -> list[Subject]:
    """Executions that moved a pointer, adoptions, and the pointer's other moves."""
    found = []
    for name, history in histories(each for each in entries if each.kind in EXECUTION_KINDS).items():
        plan = plan_of(history, blobs)
        ended = history.ended
        moved = ended is not None and ended[1].state in _MOVED
        what = "planned switch" if history.asked.planned else "rollback"
        state = ended[1].state if ended is not None else "not over"
        title = f"{what} of {plan.deployment} from v{plan.from_version} to v{plan.to_version}: {state}"
        found.append(
            Subject(
                id=name, kind="rollback" if moved and not history.asked.planned else "move", title=plain(title),
                deployments=(plan.deployment,), began_at=history.request.at,
                ended_at=ended[0].at if ended is not None else None,
                incident=_incident_at(incidents, plan.deployment, history.request.at),
                rolled_back=((plan.model, plan.from_version),) if moved and plan.model else (),
            )
        )  # fmt: skip
    return [*found, *_moves(entries, incidents)]


def _moves(entries: Sequence[Entry], incidents: Sequence[Subject]) -> list[Subject]:
    adopted = [(e, b) for e in entries if isinstance(b := e.parsed() if e.kind == "adopt" else None, Adopted)]
    served: dict[tuple[str, str], set[str]] = {}
    found = []
    for entry in entries:
        deployment = _deployment(entry)
        body = entry.parsed() if entry.kind in ("pointer", "adopt") else None
        if deployment is None or not isinstance(body, PointerMoved | Adopted):
            continue
        if isinstance(body, Adopted):
            moved_at, before, after = body.moved_at or entry.at, body.from_version, body.to_version
            back, what = not body.planned, "planned switch by hand" if body.planned else "rollback by hand, adopted"
        else:
            if body.before is None or body.after is None or body.before == body.after:
                continue
            moved_at, before, after = body.at, body.before, body.after
            known = served.setdefault((body.model, body.alias), {before})
            same = any(
                (b.model, b.alias, b.to_version) == (body.model, body.alias, after)
                and abs((b.moved_at or e.at) - moved_at) <= _SAME_MOVE_S
                for e, b in adopted
            )
            back = body.ours is None and not same and after in known and _lower(after, before)
            what = "rollback by hand" if back else "move"
            known.add(after)
        found.append(
            Subject(
                id=f"move:{entry.seq}", kind="rollback" if back else "move",
                title=plain(f"{what} of {deployment} from v{before} to v{after}"), deployments=(deployment,),
                began_at=moved_at, ended_at=moved_at, incident=_incident_at(incidents, deployment, moved_at),
                rolled_back=((body.model, before),) if back else (),
            )
        )  # fmt: skip
    return found


def _lower(after: str, before: str) -> bool:
    return int(after) < int(before) if after.isdigit() and before.isdigit() else True


def _deployment(entry: Entry) -> DeploymentId | None:
    try:
        return DeploymentId.parse(entry.deployment)
    except ValueError:
        return None


def _incident_at(incidents: Sequence[Subject], deployment: DeploymentId, at: float) -> str:
    """The last incident opened before `at`, with the deployment among its members, and not closed by then; "" none."""
    open_then = [
        each
        for each in incidents
        if deployment in each.deployments and each.began_at <= at and (each.ended_at is None or each.ended_at > at)
    ]
    return max(open_then, key=lambda each: each.began_at).id if open_then else ""


def _with_versions(incident: Subject, rollbacks: Sequence[Subject]) -> Subject:
    """An incident with what its rollbacks took out of service."""
    versions = [pair for each in rollbacks if each.incident == incident.id for pair in each.rolled_back]
    return replace(incident, rolled_back=tuple(dict.fromkeys(versions)))


def _fired(entries: Iterable[Entry]) -> Mapping[DeploymentId, list[float]]:
    """When each deployment's trigger fired. Bodies are large and many: two of their fields are read, and no more."""
    found: dict[DeploymentId, list[float]] = {}
    for entry in entries:
        if entry.kind != "transition" or (deployment := _deployment(entry)) is None:
            continue
        try:
            body = json.loads(entry.body)
            if body["after"] == "fired" or body["verdict"].get("fired_as_blind"):
                found.setdefault(deployment, []).append(float(body["at"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _waiting(
    subjects: Sequence[Subject], judged: Mapping[str, Judgement], fired: Mapping[DeploymentId, list[float]]
) -> Iterable[str]:
    """What is over and has no judgement of its own, of its incident, or of a rollback of its."""
    of_incident = {each.incident for each in subjects if each.id in judged and each.kind == "rollback"}
    for each in subjects:
        if each.ended_at is None or each.id in judged:
            continue
        judged_with = each.incident in judged if each.kind == "rollback" else each.id in of_incident
        if not judged_with and (each.kind == "rollback" or (each.kind == "incident" and _alarmed(each, fired))):
            yield each.id


def _alarmed(incident: Subject, fired: Mapping[DeploymentId, list[float]]) -> bool:
    """Did a member fire while it was open: what passed by itself before that is nobody's homework."""
    first, last_at = incident.began_at - _SLACK_S, incident.ended_at or incident.began_at
    return any(first <= at <= last_at for name in incident.deployments for at in fired.get(name, ()))


def _pending(
    subjects: Sequence[Subject], judged: Mapping[str, Judgement], entries: Iterable[Entry]
) -> Iterable[WantedTag]:
    """Tags that the judgements call for, and no `tag` entry tells of yet."""
    already: dict[tuple[str, str, str], str] = {}
    for entry in entries:
        if entry.kind == "tag" and isinstance(body := entry.parsed(), Tagged):
            already[body.model, body.version, body.key] = body.value
    calls = sorted((call for each in subjects for call in _called_for(each, judged)), key=lambda call: call[0])
    wanted = {(tag.model, tag.version, tag.key): tag for _, tag in calls}  # of several judgements the last one counts
    return [
        tag
        for key, tag in wanted.items()
        if already.get(key) != tag.value and (key in already or tag.value != WITHDRAWN)
    ]


def _called_for(subject: Subject, judged: Mapping[str, Judgement]) -> Iterable[tuple[int, WantedTag]]:
    """The tags that the judgement on a subject calls for, each with that judgement's number. One that no longer names a
    root cause takes back what an earlier one had set."""
    judgement = judged.get(subject.id)
    if judgement is None:
        return
    cause, told_of = judgement.root_cause or WITHDRAWN, subject.incident or subject.id
    for model, version in subject.rolled_back:
        for key, value in ((ROOT_CAUSE_TAG, cause), (INCIDENT_TAG, told_of)):
            if judgement.root_cause or key == ROOT_CAUSE_TAG:
                yield judgement.seq, WantedTag(model, version, key, value, subject.id, subject.deployments[0])

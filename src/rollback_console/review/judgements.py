"""Judgements and follow-ups as a fold of the journal: the last on a subject counts, none is ever erased."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rollback_console.journal.entry import Entry, Recorder
from rollback_console.journal.kinds import FollowedUp, Judged, PersonSignature
from rollback_console.journal.merged import told
from rollback_console.model.judgement import FollowUp, Judgement


def last(journal: Recorder) -> Mapping[str, Judgement]:
    """The judgement that counts on each subject: the last one written. Raises `JournalError`."""
    return {judgement.subject: judgement for judgement in every(journal)}


def every(journal: Recorder) -> tuple[Judgement, ...]:
    """All judgements, the superseded ones too, in the journal's order."""
    return tuple(
        judgement_of(entry, body)
        for entry in told(journal, (Judged.kind,))
        if isinstance(body := entry.parsed(), Judged)
    )


def judgement_of(entry: Entry, body: Judged) -> Judgement:
    """A judgement as its entry records it."""
    return Judgement(
        subject=body.subject, root_cause=body.root_cause, right=body.right, counts_as=body.counts_as,
        expected=body.expected, actual=body.actual, deviations=tuple(body.deviations), margins=body.margins,
        gate=body.gate, lessons=tuple(body.lessons), published=body.published, supersedes=body.supersedes,
        seq=entry.seq, at=entry.at, by=entry.operator, hash=entry.hash, signed=_key(body.person),
    )  # fmt: skip


def follow_ups(journal: Recorder) -> tuple[FollowUp, ...]:
    """Every follow-up as it stands, in the order in which they were opened. An end of one that was never opened, or
    that has ended, changes nothing."""
    found: dict[str, FollowUp] = {}
    for entry in told(journal, (FollowedUp.kind,)):
        body = entry.parsed()
        if not isinstance(body, FollowedUp):
            continue
        known = found.get(body.id)
        if body.event == "opened" and known is None:
            found[body.id] = FollowUp(
                id=body.id, incident=body.incident, what=body.what, owner=body.owner, due=body.due, at=entry.at,
                by=entry.operator, seq=entry.seq, hash=entry.hash, signed=_key(body.person),
            )  # fmt: skip
        elif known is not None and known.state == "open" and body.event != "opened":
            found[body.id] = replace(
                known, state=body.event, ended_at=entry.at, ended_by=entry.operator, reason=body.reason
            )
    return tuple(found.values())


def _key(person: PersonSignature | None) -> str:
    return person.fingerprint if person is not None else ""

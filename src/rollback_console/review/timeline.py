"""A journal opened offline (first form): verified, then its timeline and the state it folds to, as one Snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rollback_console.engine.folding import incident_of
from rollback_console.execute.fold import KINDS as EXECUTION_KINDS
from rollback_console.execute.fold import executions
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import IncidentRecorded
from rollback_console.journal.merged import KIND as MERGE
from rollback_console.journal.merged import expanded, told
from rollback_console.journal.store import Journal
from rollback_console.journal.timeline import item
from rollback_console.journal.verify import verify
from rollback_console.model.incident import Incident
from rollback_console.model.snapshot import JournalStatus, Snapshot, TimelineItem
from rollback_console.model.value import dataclass
from rollback_console.runbook.walk import KINDS as WALK_KINDS
from rollback_console.runbook.walk import walks

CHANGES_NOTHING = "a review changes nothing"


@dataclass(frozen=True, slots=True)
class Review:
    """What a journal holds, and whether it may be believed. `timeline` has every entry, the snapshot's no ticks."""

    path: Path
    verified: bool
    problems: tuple[str, ...]
    headline: str
    timeline: tuple[TimelineItem, ...]
    snapshot: Snapshot


def open_review(path: Path) -> Review:
    """Verify the journal and read it, as far as it can be read. Raises `JournalError` when it is no journal at all."""
    verification = verify(path)
    with Journal.open_read_only(path) as journal:
        timeline = tuple(item(entry) for entry in _with_merged(journal))
        done = executions(told(journal, EXECUTION_KINDS), journal.get_blob, lambda _: True)
        incidents = _incidents(journal)
        walked = tuple(walks(told(journal, WALK_KINDS), journal.get_blob))
    problems = tuple(str(problem) for problem in verification.problems)
    if verification.ok:
        headline = f"verified: {verification.entries} entries, chain and signatures hold"
    else:
        headline = (
            f"NOT VERIFIED: first bad entry {verification.first_bad_seq}: {problems[0] if problems else 'unknown'}"
        )
    last = timeline[-1].at if timeline else 0.0
    snapshot = Snapshot(
        at=last,
        evaluated_at=last,
        step_s=0.0,
        band="REVIEW · REHEARSAL" if verification.rehearsal else "REVIEW",
        deployments=(),
        incidents=incidents,
        hub="offline",
        journal=JournalStatus(str(path), verification.entries, False, None, "" if verification.ok else headline),
        look_only=CHANGES_NOTHING,
        executions=done,
        walks=walked,
        timeline=tuple(line for line in timeline if line.kind != "tick"),  # as live: samples, not happenings
        recommendations=tuple(advice for incident in incidents for advice in incident.recommendations),
        review=True,
        notice=headline,
        speed=0.0,
    )
    return Review(path, verification.ok, problems, headline, timeline, snapshot)


def _with_merged(journal: Journal) -> Iterator[Entry]:
    """Every entry; those of an emergency journal that was taken in, behind the entry that took it in."""
    for entry in journal.entries():
        yield entry
        if entry.kind == MERGE:
            yield from expanded(entry, journal.get_blob)


def _incidents(journal: Journal) -> tuple[Incident, ...]:
    """Every incident as the journal left it, in the order in which they were opened."""
    found: dict[str, Incident] = {}
    for entry in journal.entries(kinds=("incident",)):
        body = entry.parsed()
        if isinstance(body, IncidentRecorded):
            found[body.id] = incident_of(entry, body)
    return tuple(found.values())

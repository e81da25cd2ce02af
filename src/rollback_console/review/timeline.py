"""A journal opened offline (first form): verified, then its timeline and the state it folds to, as one Snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rollback_console.execute.fold import KINDS as EXECUTION_KINDS
from rollback_console.execute.fold import executions
from rollback_console.journal.store import Journal
from rollback_console.journal.timeline import item
from rollback_console.journal.verify import verify
from rollback_console.model.snapshot import JournalStatus, Snapshot, TimelineItem
from rollback_console.runbook.walk import KINDS as WALK_KINDS
from rollback_console.runbook.walk import walks


@dataclass(frozen=True, slots=True)
class Review:
    """What a journal holds, and whether it may be believed."""

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
        timeline = tuple(item(entry) for entry in journal.entries())
        done = executions(journal.entries(kinds=EXECUTION_KINDS), journal.get_blob, lambda _: True)
        walked = tuple(walks(journal.entries(kinds=WALK_KINDS), journal.get_blob))
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
        band="REVIEW",
        deployments=(),
        hub="offline",
        journal=JournalStatus(str(path), verification.entries, False, None, "" if verification.ok else headline),
        look_only="a review changes nothing",
        executions=done,
        walks=walked,
        timeline=timeline,
        notice=headline,
        speed=0.0,
    )
    return Review(path, verification.ok, problems, headline, timeline, snapshot)

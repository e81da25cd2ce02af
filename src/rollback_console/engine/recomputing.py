"""Every decision of a journal made again, with what people had declared by then."""

from __future__ import annotations

from rollback_console.engine.declared import KINDS, Declared
from rollback_console.engine.record import Blobs, Compile, recompute
from rollback_console.journal.entry import Entry
from rollback_console.journal.merged import KIND as MERGE
from rollback_console.journal.merged import expanded


class Recomputation:
    """For one walk over one journal: called with its declarations and transitions, in order (`journal.verify`)."""

    def __init__(self, compile_policy: Compile) -> None:
        self._compile = compile_policy
        self._declared = Declared()

    def __call__(self, entry: Entry, blobs: Blobs) -> str | None:
        """What is wrong with an entry, None where nothing is. Raises OtherEngine, as `recompute` does."""
        if entry.kind in KINDS:
            self._declared.take(entry)
            return None
        if entry.kind == MERGE:
            for merged in expanded(entry, blobs, KINDS):
                self._declared.take(merged)
            return None
        if (found := recompute(entry, blobs, self._compile)) is not None:
            return found
        from rollback_console.journal.kinds import TransitionRecorded

        body = entry.parsed()
        if not isinstance(body, TransitionRecorded):
            return None
        return self._declared.difference(entry.deployment, body.at, body.declared)

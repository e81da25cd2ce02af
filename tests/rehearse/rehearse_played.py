"""Drills played for tests, each once: the score, the journal, and the journal as it is exported."""

from __future__ import annotations

import asyncio
import functools
import os
from dataclasses import dataclass
from pathlib import Path

from rollback_console.cli.rehearse import headless_drill
from rollback_console.engine.recomputing import Recomputation
from rollback_console.journal.export import lines
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import Verification, verify
from rollback_console.policy.load import parse_policy
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.score import DrillResult

CAMPAIGN = bool(os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN"))


@dataclass(frozen=True)
class Played:
    """One drill that was played."""

    result: DrillResult
    journal: Path

    def why(self) -> str:
        """What a failed test prints."""
        result = self.result
        parts = (*result.failed_because, *result.wrong_turns, *result.refused)
        return f"{result.scenario}, seed {result.seed}, {result.operator}: {result.decision}; " + "; ".join(parts)

    def exported(self) -> bytes:
        """The journal as `journal export --format jsonl` writes it."""
        with Journal.open_read_only(self.journal) as journal:
            return "".join(lines(journal.rows(), "jsonl")).encode()

    def kinds(self) -> list[tuple[str, str]]:
        """(kind, deployment) of every entry."""
        with Journal.open_read_only(self.journal) as journal:
            return [(entry.kind, entry.deployment) for entry in journal.entries()]

    def recomputed(self) -> Verification:
        """The journal verified, every decision made again."""

        @functools.lru_cache(maxsize=8)
        def rules(data: bytes, digest: str):  # type: ignore[no-untyped-def] # rules of a policy
            return parse_policy(data, f"policy {digest[:12]}").rules

        return verify(self.journal, recompute=Recomputation(rules))


def played(folder: Path, scenario: str, operator: str, seed: int, policy: Path | None = None) -> Played:
    """Play a scenario into a journal of its own in `folder`, judged by its own policy or the one in a file."""
    path = folder / f"{Path(scenario).stem}-{operator.replace(':', '-')}-{seed}.db"
    result, journal = asyncio.run(headless_drill(find(scenario), operator, seed, path, policy))
    return Played(result, journal)

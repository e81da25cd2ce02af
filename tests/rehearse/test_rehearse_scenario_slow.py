"""A whole drill on backends that take their time: on the world's clock, never a real one, and the same twice."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path

from scenario_plays import HEAD

from rollback_console.cli.drilling import headless_drill
from rollback_console.journal.store import Journal
from rollback_console.rehearse.scenario import find
from rollback_console.rehearse.score import DrillResult

SLOW = """\
lasts: 45m
world:
  deployments:
    - name: ranker
      since: 10m
      versions: [{version: "8", conversion: -20%, after: 8m}, {version: "7"}]
timeline:
  - {at: 1m, fault: metrics, how: slow, delay: 4s, for: 10m}
  - {at: 0s, fault: registry, how: slow, delay: 3s}
  - {at: 12m, fault: metrics, how: slow, delay: 40s, for: 2m}
right: {rollback: [{deployment: ranker, to: "7"}]}
"""


def played(path: Path, journal: Path) -> tuple[DrillResult, str, list[float]]:
    """The result, a digest of every entry, and the moments at which the drill's evaluations were written."""
    result, _ = asyncio.run(headless_drill(find(str(path)), "perfect", 7, journal))
    with Journal.open_read_only(journal) as opened:
        entries = list(opened.entries())
    digest = hashlib.sha256("".join(entry.hash for entry in entries).encode()).hexdigest()
    return result, digest, [entry.at for entry in entries if entry.kind == "tick"]


def test_a_drill_on_slow_backends_ends_well_and_alike_twice(tmp_path: Path) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(HEAD + SLOW)
    began = time.monotonic()
    result, digest, ticks = played(path, tmp_path / "one.db")
    assert time.monotonic() - began < 60, "forty minutes and more of the world's"
    assert result.passed, result.failed_because
    assert len({round(at % 15.0, 3) for at in ticks}) > 1, "evaluations were written when the store had answered"
    assert played(path, tmp_path / "other.db") == (result, digest, ticks)

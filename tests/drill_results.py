"""Drills' results for tests that fold many of them: a drill that went well, with whatever else a test says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rollback_console.rehearse.score import DrillResult


def result_with(**more: Any) -> DrillResult:
    """A drill in which the right version was rolled back and recovered after four minutes; `more`: other fields."""
    good = DrillResult(
        scenario="demo", seed=7, operator="perfect", passed=True, decision="right", noticed_s=0.0, decided_s=60.0,
        acted_s=75.0, recovered_s=240.0, steps_done=12, steps_skipped=0, wrong_turns=(), refused=(), failed_because=(),
        elapsed_s=600.0, cost=1000.0, cost_unit="USD", klass="release", path="version", origin="release",
        digest="d" * 64, engine="1.1", policy="p" * 64,
    )  # fmt: skip
    return replace(good, **more)

"""A runbook, its steps, and one person's passage through it."""

from __future__ import annotations

from enum import StrEnum

from rollback_console.model.plan import StepState
from rollback_console.model.value import dataclass


class StepKind(StrEnum):
    """`act`: one of the console's own acts; `command`: something to run elsewhere; `check`: something to look at."""

    PROSE = "prose"
    COMMAND = "command"
    CHECK = "check"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class RunbookStep:
    """One thing to do. `id` is stable under edits elsewhere in the document; `line` counts from 1; `level` is the
    depth in the flat list; `body` is the step's own markdown."""

    id: str
    title: str
    line: int
    level: int
    kind: StepKind
    body: str
    commands: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    act: str | None = None  # an id of actions.py
    role: str | None = None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a runbook step's check answered: one line a series (`version 8: 1`), safe to show and bounded. `problem` is
    "" or why there is no answer; no lines and no problem: no series matched. `query` is what was asked, placeholders
    filled in, at `at` (Unix seconds, the evaluation on the screen)."""

    lines: tuple[str, ...] = ()
    at: float | None = None
    problem: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class RunbookProblem:
    line: int
    severity: str  # error | warning
    message: str


@dataclass(frozen=True, slots=True)
class Runbook:
    """A markdown document as steps, pinned by the SHA-256 of its bytes."""

    name: str
    title: str
    digest: str
    path: str
    text: str
    steps: tuple[RunbookStep, ...]
    problems: tuple[RunbookProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class WalkStep:
    """A step as walked: its state, who, when, how long, why skipped."""

    step: RunbookStep
    state: StepState
    operator: str = ""
    started_at: float | None = None
    ended_at: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Walk:
    """One passage through a runbook, folded from the journal."""

    id: str
    runbook: Runbook
    deployment: str  # environment/name, or ""
    incident: str  # incident id, or ""
    operator: str
    started_at: float
    steps: tuple[WalkStep, ...]
    ended_at: float | None = None
    outcome: str = ""  # "" while open, else done | left

    @property
    def current(self) -> int | None:
        """Index of the first step that is neither done nor skipped, or None."""
        for index, step in enumerate(self.steps):
            if step.state not in (StepState.DONE, StepState.SKIPPED):
                return index
        return None

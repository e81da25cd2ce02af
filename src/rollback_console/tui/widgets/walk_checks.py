"""A runbook step's checks that run themselves: when to ask again, and the answers as lines.

The step that shows is asked when it comes on the screen and after each evaluation; one query at a time.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from rich.text import Text

from rollback_console.errors import ConsoleError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import StepState
from rollback_console.model.text import duration, plain
from rollback_console.model.walk import CheckResult, Walk, WalkStep
from rollback_console.tui.widgets.lines import clip, heading, line, paragraph, utc

Ask = Callable[[str, DeploymentId | None], Awaitable[CheckResult]]
_OVER = (StepState.DONE, StepState.SKIPPED)
_PATIENCE_S = 1.0  # a query that takes longer is said to run


class StepChecks:
    """The answers to the checks of a walk's steps, by (step, query as written)."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._answers: dict[tuple[str, str], CheckResult] = {}
        self._asked: tuple[str, float] | None = None  # the step and the evaluation last asked about
        self._monotonic = monotonic
        self._since: float | None = None  # the query under way began

    def forget(self) -> None:
        """Another walk: what was answered says nothing there."""
        self._answers.clear()
        self._asked = None

    def take(self, walk: Walk | None, chosen: int, evaluated_at: float | None) -> WalkStep | None:
        """The step whose checks are to be asked now: `ask` must follow. None: nothing to ask, nothing new, or one is
        under way."""
        if walk is None or evaluated_at is None or self._since is not None or walk.ended_at is not None:
            return None
        if not 0 <= chosen < len(walk.steps):
            return None
        entry = walk.steps[chosen]
        if not entry.step.checks or entry.state in _OVER or self._asked == (entry.step.id, evaluated_at):
            return None
        self._asked = (entry.step.id, evaluated_at)
        self._since = self._monotonic()
        return entry

    async def ask(self, entry: WalkStep, ask: Ask, deployment: DeploymentId | None, seen: Callable[[], object]) -> None:
        """Ask a step's checks one after the other; `seen` is called after each answer. A refusal is an answer too."""
        try:
            for promql in entry.step.checks:
                self._since = self._monotonic()
                try:
                    answer = await ask(promql, deployment)
                except ConsoleError as error:
                    answer = CheckResult(problem=str(error))
                self._answers[entry.step.id, promql] = answer
                seen()
        finally:
            self._since = None

    def lines(self, entry: WalkStep, width: int, now: float) -> list[Text]:
        """Each check's query, its answer, and how old that is."""
        rows: list[Text] = []
        count = len(entry.step.checks)
        for index, promql in enumerate(entry.step.checks):
            answer = self._answers.get((entry.step.id, promql))
            title = "Check" if count == 1 else f"Check {index + 1} of {count}"
            rows += [line(""), heading(title, width, self._age(answer, now))]
            query = " ".join((answer.query if answer is not None and answer.query else promql).split())
            rows.append(line((clip(query, width), "code")))
            rows += _answer(answer, entry.state in _OVER, width)
        return rows

    def _age(self, answer: CheckResult | None, now: float) -> str:
        slow = self._since is not None and self._monotonic() - self._since > _PATIENCE_S
        running = "asking … " if slow else ""
        if answer is None or answer.at is None:
            return running.strip()
        return f"{running}as of {utc(answer.at)}, {duration(max(0.0, now - answer.at))} ago"


def _answer(answer: CheckResult | None, over: bool, width: int) -> list[Text]:
    if answer is None:
        return [line(("  not asked: the step is over" if over else "  … asking", "dim"))]
    if answer.problem:
        return paragraph(plain(answer.problem, 400), width, "warn", first="  ✗ ", indent="    ", most=3)
    if not answer.lines:
        return [line(("  no series: nothing matches", "blind"))]
    return [line("  ", (clip(plain(text, 400), width - 2), "bold")) for text in answer.lines]

"""Walks, folded from the journal; and the entries a walk is made of, as pure functions.

A walk is pinned to the bytes it began with, a blob by digest: it survives a restart and an edit of the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from rollback_console.errors import InputError, Refused
from rollback_console.model.plan import StepState
from rollback_console.model.text import plain
from rollback_console.model.walk import Runbook, RunbookProblem, RunbookStep, StepKind, Walk, WalkStep
from rollback_console.runbook.parse import parse

if TYPE_CHECKING:
    from rollback_console.journal.entry import Entry
    from rollback_console.journal.kinds import StepMarked, WalkEvent

Blob = Callable[[str], bytes | None]
KINDS = ("walk", "step")  # the journal kinds that the fold reads

_OVER = (StepState.DONE, StepState.SKIPPED)
_ENDED = (StepState.DONE, StepState.SKIPPED, StepState.FAILED)
# Acts that change the world: such a step is done by the act. The others (looking, copying) are ticked off by hand.
_CHANGING = frozenset({"rollback", "execute", "resume", "abort", "adopt"})


@lru_cache(maxsize=64)
def _document(data: bytes, name: str) -> Runbook:
    return parse(data, name)


@dataclass(slots=True)
class _Open:
    """A walk while it is folded."""

    id: str
    runbook: Runbook
    deployment: str
    incident: str
    operator: str
    started_at: float
    steps: dict[str, WalkStep]
    last_at: float
    ended_at: float | None = None
    outcome: str = ""
    shown: Walk | None = None  # the value last handed out, until something changes

    def walk(self) -> Walk:
        if self.shown is None:
            self.shown = Walk(
                self.id,
                self.runbook,
                self.deployment,
                self.incident,
                self.operator,
                self.started_at,
                tuple(self.steps.values()),
                self.ended_at,
                self.outcome,
            )
        return self.shown


@dataclass(slots=True)
class WalkFold:
    """The walks so far, one entry after the other; entries of other kinds are passed over.

    A step's time runs from when it was marked running, else from the mark before it, else from the walk's start.
    """

    blob: Blob
    _walks: dict[str, _Open] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        if entry.kind == "walk":
            self._walk(entry)
        elif entry.kind == "step":
            self._step(entry)

    def walks(self) -> tuple[Walk, ...]:
        """In the order of their starts."""
        return tuple(open_walk.walk() for open_walk in self._walks.values())

    def _walk(self, entry: Entry) -> None:
        from rollback_console.journal.kinds import WalkEvent

        body = entry.parsed()
        if not isinstance(body, WalkEvent):
            return
        known = self._walks.get(body.walk)
        if body.event == "ended":
            if known is not None and known.ended_at is None:
                known.ended_at, known.outcome, known.shown = entry.at, body.outcome or "left", None
            return
        if known is not None:
            return  # a walk begins once: a second start of its id changes nothing
        runbook = self._runbook(body)
        steps = {step.id: WalkStep(step, StepState.WAITING) for step in runbook.steps}
        self._walks[body.walk] = _Open(
            body.walk, runbook, entry.deployment, body.incident, entry.operator, entry.at, steps, entry.at
        )

    def _runbook(self, body: WalkEvent) -> Runbook:
        data = self.blob(body.digest)
        if data is not None:
            return _document(data, body.runbook)
        problem = RunbookProblem(1, "error", "the journal no longer holds this document; its marks are shown alone")
        return Runbook(body.runbook, plain(body.runbook, 120), body.digest, "", "", (), (problem,))

    def _step(self, entry: Entry) -> None:
        from rollback_console.journal.kinds import StepMarked

        body = entry.parsed()
        if not isinstance(body, StepMarked):
            return
        known = self._walks.get(body.walk)
        if known is None or known.ended_at is not None:
            return
        step_id = _found(known.steps, body.step, body.title)
        before = known.steps.get(step_id)
        if before is None:  # the document is gone, or a later program reads it otherwise: what was marked stays seen
            gone = RunbookStep(body.step, plain(body.title, 120), 1, 0, StepKind.PROSE, "")
            before = WalkStep(gone, StepState.WAITING)
        known.steps[step_id] = _marked(before, StepState(body.state), entry, known.last_at, body.reason)
        known.last_at, known.shown = entry.at, None


def _found(steps: dict[str, WalkStep], step_id: str, title: str) -> str:
    """The step's id in this reading of the document: the same id, else the only step of that title."""
    if step_id in steps:
        return step_id
    same = [known for known, step in steps.items() if step.step.title == title]
    return same[0] if len(same) == 1 else step_id


def _marked(before: WalkStep, state: StepState, entry: Entry, since: float, reason: str) -> WalkStep:
    operator = entry.operator
    if state is StepState.WAITING:
        return WalkStep(before.step, state, operator, None, None, reason)
    if state is StepState.RUNNING:
        return WalkStep(before.step, state, operator, entry.at, None, reason)
    started = before.started_at if before.state is StepState.RUNNING else since
    return WalkStep(before.step, state, operator, started, entry.at, reason)


def walks(entries: Iterable[Entry], blob: Blob) -> tuple[Walk, ...]:
    """Every walk in the entries (oldest first), in the order of their starts. `blob` gives a document by digest."""
    fold = WalkFold(blob)
    for entry in entries:
        fold.add(entry)
    return fold.walks()


def open_walk(every: Sequence[Walk], runbook: Runbook, deployment: str = "") -> Walk | None:
    """The latest walk of this very document for this deployment that has not ended, or None."""
    for walk in reversed(every):
        if walk.ended_at is None and walk.runbook.digest == runbook.digest and walk.deployment == deployment:
            return walk
    return None


def start(
    runbook: Runbook, walk: str, incident: str = "", every: Sequence[Walk] = (), deployment: str = ""
) -> WalkEvent:
    """The entry that begins a walk with the id `walk`. The caller puts the document's bytes into the journal first.

    Raises InputError for a runbook without steps, Refused for an id that is taken or a walk that is already open.
    """
    from rollback_console.journal.kinds import WalkEvent

    if not runbook.steps:
        why = runbook.problems[0].message if runbook.problems else "it has no steps"
        raise InputError(f"the runbook {runbook.name} cannot be walked: {why}", "`rollback-console runbook check` it")
    if any(known.id == walk for known in every):
        raise Refused(f"the walk {walk} has begun already", "give the new one an id of its own")
    already = open_walk(every, runbook, deployment)
    if already is not None:
        raise Refused(
            f"{already.operator or 'somebody'} is walking {runbook.name} here already, as {already.id}",
            "go on with that walk, or end it first",
        )
    return WalkEvent(event="started", walk=walk, runbook=runbook.name, digest=runbook.digest, incident=incident)


def end(walk: Walk) -> WalkEvent:
    """The entry that ends a walk: `done` when no step is open, else `left`. Raises Refused when it has ended."""
    from rollback_console.journal.kinds import WalkEvent

    _still_open(walk)
    outcome = "done" if walk.current is None else "left"
    return WalkEvent(
        event="ended",
        walk=walk.id,
        runbook=walk.runbook.name,
        digest=walk.runbook.digest,
        incident=walk.incident,
        outcome=outcome,
    )


def mark(
    walk: Walk, step: str, state: StepState, reason: str = "", *, by_act: bool = False, digest: str | None = None
) -> StepMarked:
    """The entry that marks a step.

    `by_act` says that the console's own act of this step has just been done. `digest` is that of the document the
    operator has in view, where it may be another. Out of order is allowed, and the entry's reason then says so.
    Raises InputError for an unknown step or a missing reason, Refused for a walk that has ended or is of another
    document, and for a step that only its act can do.
    """
    from rollback_console.journal.kinds import StepMarked

    _still_open(walk)
    if digest is not None and digest != walk.runbook.digest:
        raise Refused(
            f"the walk {walk.id} is of the document {walk.runbook.digest[:12]}, not of {plain(digest, 12)}",
            "the file was edited since; end this walk and start one of the new document, or go on with the old",
        )
    target = next((known for known in walk.steps if known.step.id == step), None)
    if target is None:
        near = difflib.get_close_matches(step[:160], [known.step.id for known in walk.steps], n=1)
        hint = f"did you mean {near[0]}?" if near else "its steps are in `rollback-console runbook show`"
        raise InputError(f"the runbook {walk.runbook.name} has no step {plain(step, 80)!r}", hint)
    reason = " ".join(reason.split())
    if state is StepState.SKIPPED and not reason:
        raise InputError(f"skipping {target.step.title!r} needs a reason", "say why it does not apply")
    if state is StepState.DONE and target.step.act in _CHANGING and not by_act and not reason:
        raise Refused(
            f"{target.step.title!r} is done by the console's own act {target.step.act!r}",
            "do the act, or say how it was done otherwise",
        )
    said = _said(walk, target, state, reason)
    return StepMarked(walk=walk.id, step=step, title=target.step.title, state=_word(state), reason=said)


def _word(state: StepState) -> Literal["running", "done", "skipped", "failed", "waiting"]:
    words: dict[StepState, Literal["running", "done", "skipped", "failed", "waiting"]] = {
        StepState.RUNNING: "running",
        StepState.DONE: "done",
        StepState.SKIPPED: "skipped",
        StepState.FAILED: "failed",
        StepState.WAITING: "waiting",
    }
    return words[state]


def _said(walk: Walk, target: WalkStep, state: StepState, reason: str) -> str:
    """The reason, and whether earlier steps were passed over."""
    passed = passed_over(walk, target.step.id) if state in _ENDED else ()
    if not passed:
        return reason
    count = f"{len(passed)} earlier step{'' if len(passed) == 1 else 's'} still open"
    return f"{reason} (out of order: {count})" if reason else f"out of order: {count}"


def passed_over(walk: Walk, step: str) -> tuple[RunbookStep, ...]:
    """The earlier steps that are still open; the ones that `step` stands in do not count: they end after it."""
    earlier: list[WalkStep] = []
    for known in walk.steps:
        if known.step.id == step:
            target = known.step
            break
        earlier.append(known)
    else:
        return ()
    level = target.level
    passed: list[RunbookStep] = []
    for known in reversed(earlier):
        if known.step.level < level:
            level = known.step.level
            continue
        if known.state not in _OVER:
            passed.append(known.step)
    return tuple(reversed(passed))


def _still_open(walk: Walk) -> None:
    if walk.ended_at is not None:
        raise Refused(f"the walk {walk.id} has ended ({walk.outcome or 'left'})", "start a new one")

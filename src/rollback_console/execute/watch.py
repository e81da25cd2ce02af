"""The pointer watched after it was brought somewhere: somebody else's flip is an alarm until the incident is closed.
Pure: executions, adoptions and pointers in, alarms out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from rollback_console.execute.marks import utc
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, ExecutionStep, StepState
from rollback_console.model.registry import PointerMove
from rollback_console.model.text import plain, span
from rollback_console.model.value import dataclass

SEEN_WITHIN_S = 300.0  # how long after our move a poll of the registry may first see it


@dataclass(frozen=True, slots=True)
class Expectation:
    """Where a pointer was brought, when (Unix seconds), and by what (`execution ex-1`, `the adoption by ana`)."""

    deployment: DeploymentId
    model: str
    alias: str
    version: str
    since: float
    by: str


@dataclass(frozen=True, slots=True)
class Flip:
    """A pointer that is no longer where it was brought. `at` and `by` where they are known."""

    deployment: DeploymentId
    expected: str
    found: str | None
    at: float | None
    by: str
    sentence: str


def expectations(
    executions: Iterable[Execution], adoptions: Iterable[Expectation], watched: Collection[DeploymentId]
) -> tuple[Expectation, ...]:
    """The latest of each deployment in `watched` (those whose incident is open): one a deployment, sorted by it."""
    latest: dict[DeploymentId, Expectation] = {}
    for item in [*map(_of_execution, executions), *adoptions]:
        if item is not None and item.deployment in watched:
            before = latest.get(item.deployment)
            if before is None or item.since >= before.since:
                latest[item.deployment] = item
    return tuple(latest[deployment] for deployment in sorted(latest))


def flips(
    expected: Iterable[Expectation], pointers: Mapping[tuple[str, str], str | None], moves: Iterable[PointerMove]
) -> tuple[Flip, ...]:
    """An alarm for every pointer that now names another version than it was brought to. `pointers`: (model, alias) ->
    version as last read; one that is not in it was not read, and raises nothing. `moves` say when and who."""
    seen = sorted(moves, key=lambda move: move.at)
    return tuple(
        _flip(item, pointers[item.model, item.alias], seen)
        for item in expected
        if (item.model, item.alias) in pointers and pointers[item.model, item.alias] != item.version
    )


def whose(executions: Iterable[Execution], model: str, alias: str, after: str | None, at: float) -> str | None:
    """The execution that moved a pointer to `after`, as a poll saw it at `at`; None: somebody else did."""
    for execution in reversed(tuple(executions)):
        step = _set_step(execution)
        plan = execution.plan
        if (
            step is None
            or step.started_at is None
            or (plan.model, plan.alias, plan.to_version) != (model, alias, after)
        ):
            continue
        if step.started_at - 1.0 <= at <= (step.ended_at or at) + SEEN_WITHIN_S:
            return execution.id
    return None


def _set_step(execution: Execution) -> ExecutionStep | None:
    """The step that moved the pointer, if it did or may be doing so."""
    return next(
        (s for s in execution.steps if s.name == "set" and s.state in (StepState.DONE, StepState.RUNNING)), None
    )


def _of_execution(execution: Execution) -> Expectation | None:
    step = _set_step(execution)
    if step is None or step.state is not StepState.DONE or step.ended_at is None:
        return None
    plan = execution.plan
    return Expectation(
        plan.deployment, plan.model, plan.alias, plan.to_version, step.ended_at, f"execution {execution.id}"
    )


def _flip(item: Expectation, found: str | None, moves: list[PointerMove]) -> Flip:
    last = next(
        (
            move
            for move in reversed(moves)
            if (move.model, move.alias, move.after) == (item.model, item.alias, found) and move.at >= item.since
        ),
        None,
    )
    to = f"to v{plain(found)}" if found is not None else "away altogether"
    when = f" at {utc(last.at)}, {span(last.at - item.since)} after" if last is not None else ", after"
    who = plain(last.by) if last is not None and last.by else "somebody else"
    sentence = (
        f"{who} moved {item.alias} of {item.deployment} from v{item.version} {to}{when} {item.by} had brought it there"
    )
    return Flip(item.deployment, item.version, found, last.at if last is not None else None, who, sentence)

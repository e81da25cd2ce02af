"""Executions as a fold of the journal: what was asked, what was done, what is unfinished."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from rollback_console.errors import InputError
from rollback_console.execute.plan import plan_from_bytes
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import ExecutionEnded, Intent, Outcome, Requested
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, ExecutionState, ExecutionStep, Plan, StepState
from rollback_console.model.rules import AuthorityRule

KINDS = ("request", "intent", "outcome", "execution")

# In order; (name, title). The names stand in the journal.
STEPS: tuple[tuple[str, str], ...] = (
    ("lock", "Take the advisory lock"),
    ("compare", "Compare the pointer with the plan"),
    ("set", "Set the pointer"),
    ("registry", "Verify the registry"),
    ("tag", "Tag the version rolled back from"),
    ("serving", "Verify serving"),
    ("signals", "Verify that the signals recover"),
    ("unlock", "Free the advisory lock"),
)
VERIFYING = ("serving", "signals")


@dataclass
class History:
    """What the journal holds of one execution, oldest first."""

    request: Entry
    asked: Requested
    events: list[tuple[Entry, Intent | Outcome]] = field(default_factory=list)
    ended: tuple[Entry, ExecutionEnded] | None = None

    @property
    def deployment(self) -> str:
        return self.request.deployment

    def add(self, entry: Entry) -> None:
        """One more entry of this execution; what the program does not know is passed over."""
        body = entry.parsed()
        if isinstance(body, Intent | Outcome):
            self.events.append((entry, body))
        elif isinstance(body, ExecutionEnded):
            self.ended = (entry, body)

    def intents(self, step: str) -> list[tuple[Entry, Intent]]:
        return [(e, b) for e, b in self.events if isinstance(b, Intent) and b.step == step]

    def outcome(self, step: str) -> tuple[Entry, Outcome] | None:
        """The last outcome of a step, or None where it has none since its last intent."""
        last = next(((e, b) for e, b in reversed(self.events) if b.step == step), None)
        if last is None or not isinstance(last[1], Outcome):
            return None
        return last[0], last[1]

    def done(self, step: str) -> tuple[Entry, Outcome] | None:
        """The first outcome that says a step is done: when it came about, whatever was checked again later."""
        return next(
            ((e, b) for e, b in self.events if isinstance(b, Outcome) and b.step == step and b.state == "done"), None
        )


def histories(entries: Iterable[Entry]) -> dict[str, History]:
    """All executions in `entries` (of `KINDS`, in the journal's order), by id."""
    found: dict[str, History] = {}
    for entry in entries:
        body = entry.parsed()
        if isinstance(body, Requested):
            found.setdefault(body.execution, History(entry, body))
        elif isinstance(body, Intent | Outcome | ExecutionEnded) and body.execution in found:
            found[body.execution].add(entry)
    return found


def executions(
    entries: Iterable[Entry],
    blobs: Callable[[str], bytes | None],
    lock_free: Callable[[DeploymentId], bool],
) -> tuple[Execution, ...]:
    """Every execution, oldest first. One that has not ended is `UNFINISHED` when its deployment's lock is free:
    whoever ran it is gone. `lock_free` is asked only for those."""
    return tuple(fold(history, plan_of(history, blobs), lock_free) for history in histories(entries).values())


def plan_of(history: History, blobs: Callable[[str], bytes | None]) -> Plan:
    """The plan that was asked for; where its bytes are gone or are not what the digest names, a plan of blanks that
    says so (it cannot be executed: its digest does not hold)."""
    data = blobs(history.asked.plan_blob)
    problem = "its bytes are no longer kept"
    if data is not None:
        try:
            plan = plan_from_bytes(data)
        except InputError as error:
            problem = error.message
        else:
            if plan.digest == history.asked.plan and str(plan.deployment) == history.deployment:
                return plan
            problem = "its bytes are not those that were asked for"
    environment, _, name = history.deployment.partition("/")
    return Plan(
        deployment=DeploymentId(environment, name),
        model="", alias="", from_version="?", to_version="?", path="", driver="", stages=(),
        verify_for_s=0.0, verify_within_s=0.0, authority=AuthorityRule(), policy_digest="", manual=(),
        why_target=f"the plan cannot be shown: {problem}", checks=(),
        created_at=history.request.at, expires_at=history.request.at, digest=history.asked.plan,
    )  # fmt: skip


def fold(history: History, plan: Plan, lock_free: Callable[[DeploymentId], bool]) -> Execution:
    """One execution as it stands."""
    steps = tuple(_step(history, name, title) for name, title in STEPS)
    base = Execution(
        id=history.asked.execution,
        plan=plan,
        state=ExecutionState.RUNNING,
        steps=steps,
        operator=history.request.operator,
        reason=history.asked.reason,
        started_at=history.request.at,
    )
    if history.ended is not None:
        entry, body = history.ended
        return replace(base, state=ExecutionState(body.state), ended_at=entry.at, detail=body.detail)
    current = next((step for step in steps if step.state is StepState.RUNNING), None)
    detail = current.detail if current is not None else ""
    if lock_free(plan.deployment):
        return replace(base, state=ExecutionState.UNFINISHED, detail=_left_at(steps))
    if current is not None and current.name in VERIFYING:
        return replace(base, state=ExecutionState.VERIFYING, detail=detail)
    return replace(base, detail=detail)


def _step(history: History, name: str, title: str) -> ExecutionStep:
    """The step's last attempt, with the time its first began."""
    first: float | None = None
    entry: Entry | None = None
    body: Intent | Outcome | None = None
    for seen, event in history.events:
        if event.step == name:
            first = seen.at if first is None else first
            entry, body = seen, event
    if entry is None or body is None:
        return ExecutionStep(name, title, StepState.WAITING)
    if isinstance(body, Intent):
        return ExecutionStep(name, title, StepState.RUNNING, first, None, body.detail)
    return ExecutionStep(name, title, StepState(body.state), first, entry.at, body.detail)


def _left_at(steps: tuple[ExecutionStep, ...]) -> str:
    """Where an unfinished one stopped, in words."""
    running = next((step for step in steps if step.state is StepState.RUNNING), None)
    if running is not None:
        return f"stopped in: {running.title.lower()}; whether that took effect is checked on resume"
    failed = next((step for step in steps if step.state is StepState.FAILED), None)
    if failed is not None and failed.name not in ("tag", "unlock"):
        return f"stopped at: {failed.title.lower()}: {failed.detail}"
    waiting = next((step for step in steps if step.state is StepState.WAITING), None)
    return f"stopped before: {waiting.title.lower()}" if waiting is not None else "stopped before its end was recorded"

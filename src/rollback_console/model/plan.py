"""A recovery path bound to a deployment now, and one run of it."""

from __future__ import annotations

from enum import StrEnum

from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import AuthorityRule
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One preflight check: `ok` True, False, or None when it cannot be told (which refuses as well). `remedy`: a shell
    line that takes what stands in the way out of it, "" where there is none."""

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a plan that changes exposure, and what its gate verifies."""

    name: str
    does: str
    gate: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What people approve. The digest covers every field but `checks`, `created_at`, `expires_at`, `digest`,
    `why_target` and `against` (how long it may be used is covered as `authority.expires_s`): two plans made
    a minute apart for the same move are the same plan."""

    deployment: DeploymentId
    model: str
    alias: str
    from_version: str
    to_version: str
    path: str
    driver: str
    stages: tuple[Stage, ...]
    verify_for_s: float
    verify_within_s: float
    authority: AuthorityRule
    policy_digest: str
    manual: tuple[str, ...]  # the manual equivalent, shell lines
    why_target: str
    checks: tuple[Check, ...]
    created_at: float
    expires_at: float
    digest: str  # SHA-256, hex
    against: str = ""  # "" or the sentence in which the console advises against it; it blocks nothing

    @property
    def executable(self) -> bool:
        """All preflight checks hold. An empty list of checks is not a pass."""
        return bool(self.checks) and all(check.ok is True for check in self.checks)


class ExecutionState(StrEnum):
    """Where an execution stands. `UNFINISHED`: an intent has no outcome and its lock is free."""

    RUNNING = "running"
    VERIFYING = "verifying"
    DONE = "done"
    NOT_CONFIRMED = "not confirmed"
    FAILED = "failed"
    ABORTED = "aborted"
    UNFINISHED = "unfinished"


class StepState(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ExecutionStep:
    """One step of an execution: compare, set, verify registry, tag, serving, signals."""

    name: str
    title: str
    state: StepState
    started_at: float | None = None
    ended_at: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of a plan, folded from the journal."""

    id: str
    plan: Plan
    state: ExecutionState
    steps: tuple[ExecutionStep, ...]
    operator: str
    reason: str
    started_at: float
    ended_at: float | None = None
    detail: str = ""

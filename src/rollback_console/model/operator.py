"""People, and what they may do."""

from __future__ import annotations

from enum import StrEnum

from rollback_console.model.value import dataclass


class Permission(StrEnum):
    """One permission per kind of act. Which roles hold it, and where, is the roster's."""

    LOOK = "look"
    NOTE = "note"  # notes, snooze, walks
    ROLLBACK = "rollback"  # request and execute a recovery path
    ABORT = "abort"
    ADOPT = "adopt"
    DECLARE = "declare"  # a stretch that leaves the baselines, a change that is expected
    JUDGE = "judge"  # afterwards: root causes, right or wrong, follow-ups, a version's tag in the registry
    APPROVE = "approve"
    BREAK_GLASS = "break-glass"


@dataclass(frozen=True, slots=True)
class Operator:
    """A person: an id, what they are called, their roles, and the fingerprint of the key at hand ("" without one)."""

    id: str
    name: str = ""
    roles: tuple[str, ...] = ()
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no with its reason: the rule that refused, and who could allow it."""

    rule: str
    who_could: str = ""
    exit_code: int = 4

    def __str__(self) -> str:
        return f"{self.rule}; {self.who_could}" if self.who_could else self.rule

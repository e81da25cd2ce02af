"""A rollback that goes by itself: announced first, so that somebody who sees it coming can hold it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from rollback_console.model.identity import DeploymentId
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass


class AutomaticState(StrEnum):
    """Where it stands. All but `ANNOUNCED` last until the deployment is healthy again: nothing is announced anew."""

    ANNOUNCED = "announced"
    HELD = "held"  # by a person
    REFUSED = "refused"  # by a preflight check, a lock, the registry
    STARTED = "started"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One rollback that goes, was held, could not go or went by itself. `at`, `due`: Unix seconds; `words`: the advice
    while announced, else why it was held or refused; `by`: who held it."""

    deployment: DeploymentId
    path: str
    to_version: str
    at: float
    due: float
    state: AutomaticState
    words: str = ""
    by: str = ""

    @property
    def sentence(self) -> str:
        """For a person, with the deployment's whole name in it; when, and who can stop it, stand first: a narrow screen
        cuts the end off."""
        to = f"{self.deployment} to v{plain(self.to_version, 40)}"
        if self.state is AutomaticState.ANNOUNCED:
            return f"by itself at {datetime.fromtimestamp(self.due, UTC):%H:%M:%S} UTC unless held (H): {to}"
        if self.state is AutomaticState.HELD:
            return f"does not go by itself, held by {plain(self.by, 60)}: {to} ({plain(self.words, 120)})"
        if self.state is AutomaticState.REFUSED:
            return f"could not go by itself, a person has to look: {to} ({plain(self.words, 200)})"
        return f"gone by itself: {to}"

"""What is announced to go by itself, held, refused or started: folded from a journal's entries, ours or another's."""

from __future__ import annotations

from rollback_console.journal.entry import Entry
from rollback_console.model.automatic import Announcement, AutomaticState
from rollback_console.model.identity import DeploymentId
from rollback_console.model.text import plain
from rollback_console.model.verdict import TriggerState

KINDS = ("automatic",)
_OVER = (str(TriggerState.HEALTHY), str(TriggerState.COOLING))  # the trouble is over: the next is announced anew


class Announced:
    """The fold: by deployment, what is announced, held, refused or started, until it is healthy again."""

    def __init__(self) -> None:
        self.by_deployment: dict[DeploymentId, Announcement] = {}
        self.cleared: dict[DeploymentId, float] = {}  # when each was last healthy after trouble

    def take(self, entry: Entry) -> None:
        """Fold one entry of `KINDS`, in order."""
        from rollback_console.journal.kinds import AutomaticRecorded

        body, name = entry.parsed(), _named(entry.deployment)
        if not isinstance(body, AutomaticRecorded) or name is None:
            return
        if body.event == "withdrawn":
            self.by_deployment.pop(name, None)
            return
        before = self.by_deployment.get(name)
        at = before.at if before is not None and body.event != "announced" else entry.at
        self.by_deployment[name] = Announcement(
            name, plain(body.path, 100), plain(body.to_version, 100), at, body.due, AutomaticState(body.event),
            plain(body.words), plain(entry.operator, 100),
        )  # fmt: skip

    def turned(self, deployment: str, after: str, at: float) -> None:
        """A trigger's transition: once it is healthy, nothing stands any more."""
        name = _named(deployment)
        if name is not None and after in _OVER:
            self.by_deployment.pop(name, None)
            self.cleared[name] = at


def _named(deployment: str) -> DeploymentId | None:
    try:
        return DeploymentId.parse(deployment)
    except ValueError:
        return None

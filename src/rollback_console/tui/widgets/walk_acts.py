"""When a step that is one of the console's own acts counts as done: when the journal shows it, never when it was asked.

Acts that only look (opening a screen, copying) are done by doing them. An act that executes is done when its execution
is; one that writes an entry is done when that entry stands in the timeline.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, ExecutionState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.walk import Walk, WalkStep

_EXECUTES = ("rollback", "execute", "resume")
_ENTRY = {"adopt": "adopt", "note": "note", "snooze": "snooze"}  # act -> the kind of entry that proves it
_OPEN = (ExecutionState.RUNNING, ExecutionState.VERIFYING, ExecutionState.UNFINISHED)


@dataclass(frozen=True, slots=True)
class ActOutcome:
    """How an awaited act ended, in one sentence."""

    done: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Awaited:
    """A step's act that was begun. `after` is the journal's last entry on the screen then, `since` the walk's begin:
    an execution that was begun at any time of this walk counts, an older one does not."""

    walk: str
    step: str
    act: str
    deployment: str
    after: int
    since: float
    open_before: tuple[str, ...]  # executions that were open when it was begun

    @property
    def at_once(self) -> bool:
        """Is the act done by doing it."""
        return self.act not in (*_EXECUTES, *_ENTRY, "abort")

    def outcome(self, snapshot: Snapshot) -> ActOutcome | None:
        """How it ended, or None while that cannot be said."""
        if self.act == "abort" or self.act in _EXECUTES:
            return self._execution(snapshot)
        kind = _ENTRY.get(self.act)
        for item in snapshot.timeline:
            if kind and item.kind == kind and item.seq > self.after and item.deployment in ("", self.deployment):
                return ActOutcome(True, f"journal entry {item.seq}")
        return None

    def _execution(self, snapshot: Snapshot) -> ActOutcome | None:
        mine = [e for e in snapshot.executions if str(e.plan.deployment) == self.deployment or not self.deployment]
        found = [e for e in mine if e.started_at >= self.since or e.id in self.open_before]
        if not found:
            return None
        latest: Execution = max(found, key=lambda e: e.started_at)
        if latest.state in _OPEN:
            return None
        wanted = ExecutionState.ABORTED if self.act == "abort" else ExecutionState.DONE
        return ActOutcome(latest.state is wanted, f"execution {latest.id} is {latest.state}")


def await_act(snapshot: Snapshot, walk: Walk, entry: WalkStep, deployment: DeploymentId | None) -> Awaited:
    """What to wait for once the act of `entry` was begun now."""
    here = str(deployment) if deployment else walk.deployment
    going = tuple(e.id for e in snapshot.executions if str(e.plan.deployment) == here and e.state in _OPEN)
    after = max((item.seq for item in snapshot.timeline), default=0)
    return Awaited(walk.id, entry.step.id, entry.step.act or "", here, after, walk.started_at, going)

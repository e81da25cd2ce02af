"""What another mode would have done, from a journal's transitions and its incidents' advice: for `policy explain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rollback_console.decide.moving_up import LOOK_BACK_S, Preview, Turned, moving_up
from rollback_console.engine.folding import incident_of
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Adopted, ExecutionEnded, IncidentRecorded, Intent, TransitionRecorded
from rollback_console.model.identity import DeploymentId
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import TriggerState

KINDS = ("transition", "incident", "intent", "execution", "adopt")
_Advice = tuple[str | None, str]  # the version to go back to (None: no rollback is advised), and the words


class _Fold:
    """Entries in the journal's order become firings with the advice of their time."""

    def __init__(self, known: frozenset[str]) -> None:
        self.turned: list[Turned] = []
        self.done: dict[DeploymentId, list[float]] = {}
        self._known = known
        self._advice: dict[str, _Advice] = {}
        self._waiting: dict[str, int] = {}  # firings whose incident may be written after them
        self._executing: dict[str, str] = {}

    def take(self, entry: Entry) -> None:
        body = entry.parsed()
        if isinstance(body, IncidentRecorded):
            self._incident(entry, body)
        elif entry.deployment not in self._known:
            if isinstance(body, ExecutionEnded) and body.state in ("done", "not confirmed"):
                self._went_back(self._executing.get(body.execution, ""), entry.at)
        elif isinstance(body, TransitionRecorded):
            self._transition(entry.deployment, body)
        elif isinstance(body, Intent):
            self._executing[body.execution] = entry.deployment
        elif isinstance(body, ExecutionEnded) and body.state in ("done", "not confirmed"):
            self._went_back(entry.deployment, entry.at)
        elif isinstance(body, Adopted):
            self._went_back(entry.deployment, body.moved_at if body.moved_at is not None else entry.at)

    def _went_back(self, deployment: str, at: float) -> None:
        if deployment in self._known:
            self.done.setdefault(DeploymentId.parse(deployment), []).append(at)

    def _transition(self, deployment: str, body: TransitionRecorded) -> None:
        self._waiting.pop(deployment, None)
        try:
            after = TriggerState(body.after)
        except ValueError:  # another program's word
            return
        to, why = self._advice.get(deployment, (None, ""))
        if after is TriggerState.FIRED:
            self._waiting[deployment] = len(self.turned)
        self.turned.append(
            Turned(DeploymentId.parse(deployment), body.at, after, bool(body.verdict.get("fired_as_blind")), to, why)
        )

    def _incident(self, entry: Entry, body: IncidentRecorded) -> None:
        incident = incident_of(entry, body)
        for advice in incident.recommendations:
            name = str(advice.deployment)
            found = (advice.to_version if advice.path is not None else None, advice.sentence)
            self._advice[name] = found
            if (place := self._waiting.pop(name, None)) is not None:
                self.turned[place] = replace(self.turned[place], advised=found[0], why=found[1])
        if incident.closed_at is not None:
            for member in incident.members:
                self._advice.pop(str(member), None)


def preview_of(rules: Sequence[DeploymentRule], entries: Iterable[Entry]) -> Preview:
    """What moving up would have done in the 28 days before the last of `entries` (of `KINDS`, in their order)."""
    fold, until = _Fold(frozenset(str(rule.deployment.id) for rule in rules)), LOOK_BACK_S
    for entry in entries:
        fold.take(entry)
        until = max(until, entry.at)
    return moving_up({rule.deployment.id: rule for rule in rules}, fold.turned, fold.done, until)

"""State is a fold of the journal: what is executed, walked, snoozed and cooling, out of its entries and nothing else.

Follows the journal as it grows, whoever writes to it. A start reads the entries of the few kinds that carry state, and
the last of the others for the timeline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from rollback_console.engine.declared import KINDS as DECLARED_KINDS
from rollback_console.engine.declared import Declared
from rollback_console.execute.fold import executions
from rollback_console.journal.announced import KINDS as AUTOMATIC_KINDS
from rollback_console.journal.announced import Announced
from rollback_console.journal.entry import Entry, Recorder
from rollback_console.journal.kinds import (
    Adopted,
    Claimed,
    IncidentRecorded,
    PointerMoved,
    PolicyInForce,
    Snoozed,
    TickRecorded,
    TransitionRecorded,
)
from rollback_console.journal.merged import KIND as MERGE
from rollback_console.journal.merged import expanded
from rollback_console.journal.timeline import item
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Attribution, AttributionKind, Incident, Recommendation
from rollback_console.model.plan import Execution, ExecutionState
from rollback_console.model.registry import PointerMove
from rollback_console.model.rules import DeploymentRule, Mode
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import plain
from rollback_console.model.walk import Walk
from rollback_console.runbook.walk import walks

_EXECUTION_KINDS = ("request", "intent", "outcome", "execution")
_WALK_KINDS = ("walk", "step")
_STATE_KINDS = (
    *_EXECUTION_KINDS, *_WALK_KINDS, "snooze", "adopt", "pointer", "incident", "policy", MERGE, *DECLARED_KINDS,
    *AUTOMATIC_KINDS, "claim",
)  # fmt: skip
_TIMELINE = 2_000  # lines kept for the screen; the journal keeps all
_OVER_S, _OVERS = 7 * 86_400.0, 20  # closed incidents that are still offered, for leaving them out of baselines
_ACTED = (ExecutionState.DONE, ExecutionState.NOT_CONFIRMED, ExecutionState.VERIFYING)


class Folded:
    """The state that a journal holds, kept up to its head."""

    def __init__(
        self, journal: Recorder, rules: Sequence[DeploymentRule], lock_free: Callable[[DeploymentId], bool]
    ) -> None:
        self._journal = journal
        self._lock_free = lock_free
        self._cool_down = {str(rule.deployment.id): rule.trigger.cool_down_s for rule in rules}
        self._seq = 0
        self._execution_entries: list[Entry] = []
        self._walk_entries: list[Entry] = []
        self._timeline: deque[TimelineItem] = deque(maxlen=_TIMELINE)
        self._executions: tuple[Execution, ...] = ()
        self._walks: tuple[Walk, ...] = ()
        self._executions_changed = self._walks_changed = False  # since they were folded
        self._adopted: list[tuple[str, float, str]] = []
        self.adopt_entries: list[Entry] = []
        self.snoozed: dict[str, float] = {}
        self.commanders: dict[str, str] = {}  # of incidents, by this journal; "" where it was given up
        self.declared = Declared()
        self.announced = Announced()
        acting = any(rule.mode is Mode.ACT for rule in rules)
        self._kinds = (*_STATE_KINDS, "transition") if acting else _STATE_KINDS  # what is announced ends with health
        self.moves: list[PointerMove] = []
        self.incidents: dict[str, Incident] = {}
        self.pointers: dict[tuple[str, str], str | None] = {}
        self.papers: dict[tuple[str, str], str] = {}  # (what, name) -> digest in force
        self.evaluated_at: float | None = None  # the newest evaluation that this journal holds
        self.entries = 0

    def follow(self, journal: Recorder) -> None:
        """From here on another journal is read, which goes on where this one was folded to."""
        self._journal = journal

    @property
    def seq(self) -> int:
        """The last entry that was folded."""
        return self._seq

    def refresh(self) -> bool:
        """Read what is new, without waiting for anybody: keys hang on it. True when anything was. Raises
        `JournalError`; after `JournalBusy` nothing is lost, the next one reads it."""
        with self._journal.without_waiting():
            head, _ = self._journal.head()
            if head == self._seq and self._seq:
                self._refold()  # a lock may have come free without an entry
                return False
            new = list(self._new(head))
            for entry in new:
                self._executions_changed = self._executions_changed or entry.kind in _EXECUTION_KINDS
                self._walks_changed = self._walks_changed or entry.kind in _WALK_KINDS
                self._take(entry)
            self._seq = self.entries = head
            self._refold()
            return bool(new)

    def _new(self, head: int) -> list[Entry]:
        if self._seq == 0 and head > _TIMELINE:
            cut = head - _TIMELINE
            old = [e for e in self._journal.entries(0, self._kinds) if e.seq <= cut]
            return [*old, *self._journal.entries(cut)]
        return list(self._journal.entries(self._seq))

    def _take(self, entry: Entry) -> None:
        self._take_one(entry)
        if entry.kind == MERGE:
            for merged in expanded(entry, self._journal.get_blob):
                self._executions_changed = self._executions_changed or merged.kind in _EXECUTION_KINDS
                self._walks_changed = self._walks_changed or merged.kind in _WALK_KINDS
                self._take_one(merged)

    def _take_one(self, entry: Entry) -> None:
        if entry.kind != "tick":  # samples, not happenings: a timeline of them would hide everything else
            self._timeline.append(item(entry))
        if entry.kind in _EXECUTION_KINDS:
            self._execution_entries.append(entry)
            return
        if entry.kind in _WALK_KINDS:
            self._walk_entries.append(entry)
            return
        if entry.kind in DECLARED_KINDS:
            self.declared.take(entry)
            return
        if entry.kind in AUTOMATIC_KINDS:
            self.announced.take(entry)
            return
        body = entry.parsed()
        if isinstance(body, TickRecorded | TransitionRecorded):
            self.evaluated_at = max(self.evaluated_at or 0.0, body.at)
            if isinstance(body, TransitionRecorded):
                self.announced.turned(entry.deployment, body.after, body.at)
        elif isinstance(body, Claimed):
            if body.role == "commander" and body.action != "handover":
                self.commanders[body.incident] = entry.operator if body.action == "take" else ""
        elif isinstance(body, Snoozed):
            self.snoozed[entry.deployment] = body.until
        elif isinstance(body, Adopted):
            self.adopt_entries.append(entry)
            self._adopted.append((entry.deployment, body.moved_at or entry.at, body.to_version))
        elif isinstance(body, PointerMoved):
            self.pointers[(body.model, body.alias)] = body.after
            by = f"execution {body.ours}" if body.ours else ""
            if _names(entry.deployment):
                self.moves.append(
                    PointerMove(body.at, entry.deployment, body.model, body.alias, body.before, body.after, by)
                )
        elif isinstance(body, PolicyInForce):
            self.papers[(body.what, body.name)] = body.digest
        elif isinstance(body, IncidentRecorded):
            self.incidents[body.id] = incident_of(entry, body)

    def _refold(self) -> None:
        if self._executions_changed or any(e.ended_at is None for e in self._executions):
            self._executions = executions(self._execution_entries, self._journal.get_blob, self._lock_free)
            self._executions_changed = False
        if self._walks_changed:
            self._walks = tuple(walks(self._walk_entries, self._journal.get_blob))
            self._walks_changed = False

    @property
    def timeline(self) -> tuple[TimelineItem, ...]:
        return tuple(self._timeline)

    def over(self, now: float) -> tuple[Incident, ...]:
        """The incidents that closed in the last days, the newest last."""
        found = [i for i in self.incidents.values() if i.closed_at is not None and now - i.closed_at < _OVER_S]
        return tuple(sorted(found, key=lambda incident: incident.closed_at or 0.0)[-_OVERS:])

    @property
    def executions(self) -> tuple[Execution, ...]:
        return self._executions

    @property
    def unfinished(self) -> tuple[str, ...]:
        """A sentence for each execution whose program is gone: somebody must resume or abort it."""
        return tuple(
            f"execution {e.id} on {e.plan.deployment} to v{e.plan.to_version} is UNFINISHED: u resumes it, or abort it"
            for e in self._executions
            if e.state is ExecutionState.UNFINISHED
        )

    @property
    def walks(self) -> tuple[Walk, ...]:
        return self._walks

    def rollbacks(self) -> list[tuple[str, float, str]]:
        """(environment/name, at, to version) of every way back taken: executed here, or adopted."""
        made = [
            (str(e.plan.deployment), e.started_at, e.plan.to_version) for e in self._executions if e.state in _ACTED
        ]
        return sorted([*made, *self._adopted], key=lambda each: each[1])

    def cooling(self, deployment: str, at: float) -> bool:
        """Is a cool-down running at `at` (Unix seconds): from the action, for as long as the policy says."""
        length = self._cool_down.get(deployment, 0.0)
        return any(name == deployment and made <= at < made + length for name, made, _ in self.rollbacks())


def incident_of(entry: Entry, body: IncidentRecorded) -> Incident:
    """An incident as an entry records it. What another program wrote oddly is left out; all of it is safe to show."""
    return Incident(
        plain(body.id, 40),
        tuple(DeploymentId.parse(name) for name in body.members if _names(name)),
        body.onset,
        Attribution(_kind(body.attribution), tuple(plain(reason) for reason in body.reasons)),
        plain(body.sentence),
        tuple(
            Recommendation(DeploymentId.parse(name), _text(each.get("path")), _text(each.get("to")), plain(sentence))
            for each in body.recommendations
            if isinstance(name := each.get("deployment"), str)
            and _names(name)
            and isinstance(sentence := each.get("sentence"), str)
        ),
        closed_at=entry.at if body.event == "closed" else None,
    )


def _text(value: object) -> str | None:
    return plain(value, 200) if isinstance(value, str) else None


def _names(deployment: str) -> bool:
    """Is this environment/name. Another program on this journal may have written anything: it is shown as it stands in
    the timeline, and nothing rests on it."""
    try:
        DeploymentId.parse(deployment)
    except ValueError:
        return False
    return True


def _kind(word: str) -> AttributionKind:
    """A newer program's attribution is unknown to this one."""
    try:
        return AttributionKind(word)
    except ValueError:
        return AttributionKind.UNKNOWN

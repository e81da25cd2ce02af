"""What the recorder writes after each evaluation: the tick's samples, transitions, incidents, backends, pointers.

One transaction an evaluation, on a thread of its own: the screen never waits for a disk. What could not be written is
kept and tried again with the next evaluation; the header says so meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

from rollback_console.engine.declared import Declared
from rollback_console.engine.options import Paper
from rollback_console.engine.record import Decided, layout_bytes, pack, transition_body
from rollback_console.errors import JournalError
from rollback_console.journal.entry import Recorder
from rollback_console.journal.kinds import (
    BackendChanged,
    Body,
    IncidentRecorded,
    PolicyInForce,
    Session,
    TickRecorded,
)
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import BackendHealth, BackendState, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState, Verdict
from rollback_console.version import __version__

CALM_TICK_S = 300.0  # a calm fleet's samples are recorded this often
_KEPT = 10_000  # bodies held while the journal cannot be written
_Item = tuple[Body, str, str]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Packed:
    """A tick as it is stored, and its digest."""

    digest: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Noted:
    """An incident as it was last noted, and when it was last seen open."""

    incident: Incident
    shape: tuple[object, ...]
    seen_at: float


class Writer:
    """The journal's one writing thread in this process, and what waits to be written."""

    def __init__(self, journal: Recorder, rules: Sequence[DeploymentRule], *, inline: bool = False) -> None:
        self.journal = journal
        self.problem = ""
        self.evaluations = 0  # made while this process records
        self.declared: Declared | None = None  # what people declared by hand, as the journal holds it
        self._layout = layout_bytes(rules)
        self.layout_digest = hashlib.sha256(self._layout).hexdigest()
        self._pool = None if inline else ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._items: list[_Item] = []
        self._blobs: list[bytes] = [self._layout]
        self._last_tick = 0.0
        self._backends: dict[str, BackendState] = {}
        self._open: dict[str, _Noted] = {}  # incidents noted as open
        self._closed: set[str] = set()  # noted as closed, not yet read back

    async def run(self, function: Callable[[], _T]) -> _T:
        """Run `function` on the journal's thread, in order with everything else written. Cancelled, it ends when what
        was under way has ended: nobody may go on while an entry of ours can still land."""
        if self._pool is None:
            return function()
        work = asyncio.get_running_loop().run_in_executor(self._pool, function)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})
            raise

    def tick(self, tick: Tick, verdicts: Sequence[Verdict], *, always: bool = False) -> Packed:
        """Note a tick; returns its blob. Its entry is written when something is not healthy, when a decision
        needs it (`always`), and every few minutes."""
        self.evaluations += 1
        troubled = [str(v.deployment) for v in verdicts if v.state is not TriggerState.HEALTHY]
        data = pack(tick, self.layout_digest)
        digest = hashlib.sha256(data).hexdigest()
        if always or troubled or tick.at - self._last_tick >= CALM_TICK_S:
            self._last_tick = tick.at
            self._blobs.append(data)
            body = TickRecorded(at=tick.at, blob=digest, deployments=len(tick.observations), not_healthy=troubled)
            self.note(body)
        return Packed(digest, data)

    def decided(self, decided: Decided) -> None:
        name = str(decided.rule.deployment.id)
        told = self.declared.told(name, decided.verdict.at) if self.declared is not None else None
        self.note(transition_body(decided, told), name)

    def backends(self, healths: Sequence[BackendHealth]) -> None:
        """Note backends that began or ceased to answer (slow is still answering)."""
        for health in healths:
            state = BackendState.OK if health.state is BackendState.SLOW else health.state
            if state in (BackendState.CONNECTING, BackendState.NOT_CONFIGURED):
                continue
            before = self._backends.get(health.name)
            self._backends[health.name] = state
            if state is not before and not (before is None and state is BackendState.OK):
                self.note(BackendChanged(name=health.name, state=str(state), detail=health.detail[:500]))

    def incidents(
        self,
        open_now: Sequence[Incident],
        known: Mapping[str, Incident],
        troubles: Mapping[DeploymentId, float],
        at: float,
    ) -> None:
        """Note incidents that opened, changed their members or attribution, or closed.

        `known`: as the journal holds them. `troubles`: the onset of every trouble at `at`. One whose last member is
        still in trouble, though no longer for enough to be an incident, is not closed: it goes on until recovered.
        """
        for incident in open_now:
            self._goes_on(incident, known.get(incident.id), at)
        names = {incident.id for incident in open_now}
        elsewhere = {name for incident in open_now for name in incident.members}
        standing = {**known, **{name: noted.incident for name, noted in self._open.items()}}
        for name, incident in standing.items():
            noted = self._open.get(name)
            if name in names or name in self._closed or incident.closed_at is not None:
                continue
            if noted is not None and any(
                member not in elsewhere and troubles.get(member, math.inf) <= noted.seen_at
                for member in incident.members
            ):
                continue
            self._closed.add(name)
            self._open.pop(name, None)
            self.note(_incident_body(incident, "closed"))
        self._closed &= {name for name, incident in known.items() if incident.closed_at is None}

    def _goes_on(self, incident: Incident, recorded: Incident | None, at: float) -> None:
        shape = (incident.members, incident.attribution.kind, tuple(r.path for r in incident.recommendations))
        noted = self._open.get(incident.id)
        self._open[incident.id] = _Noted(incident, shape, at)
        if noted is not None and noted.shape == shape:
            return
        stands = recorded is not None and recorded.closed_at is None and incident.id not in self._closed
        if noted is None and stands and recorded is not None:  # a restart: it may stand in the journal just so
            same = set(recorded.members) == set(incident.members)
            if same and recorded.attribution.kind is incident.attribution.kind:
                return
        self._closed.discard(incident.id)
        self.note(_incident_body(incident, "changed" if noted is not None or stands else "opened"))

    def begin(
        self, command: str, papers: Sequence[Paper], known: Mapping[tuple[str, str], str], *, simulated: bool
    ) -> None:
        """Note that this process records from here on, and the papers in force that the journal does not hold yet.

        A rehearsal names neither machine nor process: its journal is a function of its seed.
        """
        pid, host = (0, "rehearsal") if simulated else (os.getpid(), socket.gethostname())
        program = f"rollback-console {__version__}"
        self.note(Session(event="recorder", pid=pid, host=host, command=command, program=program))
        for paper in papers:
            self._blobs.append(paper.data)
            if known.get((paper.what, paper.name)) != paper.digest:
                body = PolicyInForce(what=paper.what, name=paper.name, version=paper.version, digest=paper.digest)
                self.note(body)

    def note(self, body: Body, deployment: str = "", operator: str = "") -> None:
        """Keep a body for the next `flush`."""
        self._items.append((body, deployment, operator))
        if len(self._items) > _KEPT:
            del self._items[: len(self._items) - _KEPT]

    async def flush(self, live: bytes | None = None, at: float = 0.0) -> bool:
        """Write what waits, and the live row for followers. False when it could not; it waits for the next time."""
        items, blobs = self._items, self._blobs
        self._items, self._blobs = [], []
        try:
            await self.run(lambda: self._write(items, blobs, live, at))
        except JournalError as error:
            self.problem = str(error)
            self._items, self._blobs = items + self._items, blobs + self._blobs
            return False
        self.problem = ""
        return True

    def _write(self, items: Sequence[_Item], blobs: Sequence[bytes], live: bytes | None, at: float) -> None:
        if items:
            self.journal.append_all(items, blobs)
        if live is not None:
            self.journal.put_live(live, at)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)


def _incident_body(incident: Incident, event: str) -> IncidentRecorded:
    return IncidentRecorded.model_validate(
        {
            "event": event,
            "id": incident.id,
            "members": [str(name) for name in incident.members],
            "onset": incident.onset,
            "attribution": str(incident.attribution.kind),
            "reasons": list(incident.attribution.reasons),
            "sentence": incident.sentence,
            "recommendations": [
                {"deployment": str(r.deployment), "path": r.path, "to": r.to_version, "sentence": r.sentence}
                for r in incident.recommendations
            ],
            "inputs": _drilled(incident),
        }
    )


def _drilled(incident: Incident) -> dict[str, Any]:
    """What drills had measured of the advised paths by then: the ends of the sentences are made from it."""
    found = {
        str(r.deployment): {**asdict(r.record), "origin": str(r.record.origin)}
        for r in incident.recommendations
        if r.record is not None
    }
    return {"drilled": found} if found else {}

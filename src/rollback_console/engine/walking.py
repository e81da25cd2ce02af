"""An operator's walk through a runbook, done: begun, each step marked, ended."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rollback_console.engine.acting import Acting
from rollback_console.errors import Refused, UsageError
from rollback_console.model.identity import DeploymentId
from rollback_console.model.operator import Permission
from rollback_console.model.plan import StepState
from rollback_console.model.walk import Runbook, Walk
from rollback_console.runbook.library import Library
from rollback_console.runbook.walk import end, mark, open_walk, start


class Walking(Acting):
    """The part of `engine.acts.Acts` that walks."""

    library: Library

    async def start_walk(self, runbook: str, deployment: DeploymentId | None = None) -> str:
        document = self.library.get(runbook)
        every = self._walks()
        name = str(deployment) if deployment else ""
        already = open_walk(every, document, name)
        if already is not None:
            return already.id
        await self._gate("runbook", Permission.NOTE, deployment)
        incident = self.engine.snapshot().incident_of(deployment) if deployment else None
        walk = f"wk-{self._random.getrandbits(48):012x}"
        body = start(document, walk, incident.id if incident else "", every, name)
        await self._do(lambda: self._put_runbook(document))
        await self._append(body, name)
        return walk

    async def mark_step(self, walk: str, step: str, state: StepState, reason: str = "") -> None:
        found = self._walk(walk)
        deployment = DeploymentId.parse(found.deployment) if found.deployment else None
        await self._gate("runbook", Permission.NOTE, deployment)
        await self._append(mark(found, step, state, reason, by_act=self._acted_since(found)), found.deployment)

    async def end_walk(self, walk: str) -> None:
        found = self._walk(walk)
        await self._gate("runbook", Permission.NOTE, DeploymentId.parse(found.deployment) if found.deployment else None)
        await self._append(end(found), found.deployment)

    def _acted_since(self, walk: Walk) -> bool:
        """Was the console's own act done since the walk began: an execution or an adoption of its deployment."""
        made = self.engine.folded.rollbacks() if self.engine.folded is not None else []
        begun = [e for e in self.engine.snapshot().executions if str(e.plan.deployment) == walk.deployment]
        return any(e.started_at >= walk.started_at for e in begun) or any(
            name == walk.deployment and at >= walk.started_at for name, at, _ in made
        )

    def _put_runbook(self, document: Runbook) -> None:
        data = Path(document.path).read_bytes()
        if hashlib.sha256(data).hexdigest() != document.digest:
            raise Refused(f"the file of {document.name} changed this moment", "open it again")
        self._journal.put_blob(data)

    def _walks(self) -> tuple[Walk, ...]:
        return self.engine.folded.walks if self.engine.folded is not None else ()

    def _walk(self, name: str) -> Walk:
        found = next((walk for walk in self._walks() if walk.id == name), None)
        if found is None:
            raise UsageError(f"no walk {name} in this journal", "open the runbook again")
        return found

"""What is known now, kept and shown: board, fold of the journal, incidents, details, and the Snapshot of it all.

`loop.Engine` moves it on, evaluation by evaluation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rollback_console.clock import Clock
from rollback_console.decide.attribution import Release
from rollback_console.decide.incidents import Fleet, group
from rollback_console.engine.backfill import Backfill
from rollback_console.engine.board import Board
from rollback_console.engine.book import book_of
from rollback_console.engine.details import fetch_detail
from rollback_console.engine.options import Options, Roles
from rollback_console.engine.outages import Outages
from rollback_console.engine.registry import PointerWatch
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.versions import HISTORY_S, VersionHistory
from rollback_console.errors import JournalBusy, JournalError
from rollback_console.journal.entry import Recorder
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.operator import Operator
from rollback_console.model.plan import Execution, ExecutionState, StepState
from rollback_console.model.rules import DeploymentRule, ExpectedChange
from rollback_console.model.snapshot import DeploymentDetail, Explanation, JournalStatus, Snapshot
from rollback_console.model.verdict import TriggerState
from rollback_console.model.walk import Runbook
from rollback_console.observe.protocol import MetricBackend, ModelRegistry

if TYPE_CHECKING:
    from rollback_console.engine.chronicle import Chronicle
    from rollback_console.engine.folding import Folded
    from rollback_console.engine.shared import Shared
    from rollback_console.engine.shelf import Shelf
    from rollback_console.engine.writer import Writer
    from rollback_console.model.declared import Expectation

Publish = Callable[[Snapshot], None]
_REGISTRY_S = 30.0
_DETAIL_S = 30.0
_BUSY_S = 0.25  # until a journal that somebody held is read again
ON_GRID = 1e-6  # evaluation times nearer than this are one
_UNDER_WAY = (ExecutionState.RUNNING, ExecutionState.VERIFYING)
_TOUCHES = ("set", "registry")  # steps after which the pointer stands elsewhere


class Present:
    """One fleet as it stands. What keeps a journal loads with the journal: a rehearsal's, which knows nothing of the
    past, is opened once the first states are shown (`opens`)."""

    def __init__(
        self,
        rules: Sequence[DeploymentRule],
        metrics: MetricBackend,
        registry: ModelRegistry | None,
        clock: Clock,
        options: Options,
        *,
        journal: Recorder | None = None,
        opens: Callable[[], Awaitable[Recorder]] | None = None,
        roles: Roles | None = None,
        runbooks: Callable[[], tuple[Runbook, ...]] = lambda: (),
        inline: bool = False,
        shelf: Shelf | None = None,
    ) -> None:
        self.rules = tuple(rules)
        self.index = {rule.deployment.id: number for number, rule in enumerate(self.rules)}
        self.metrics, self.registry, self.clock, self.options = metrics, registry, clock, options
        self.sampler = Sampler(self.rules, metrics, book_of(self.rules, metrics, shelf))
        self.board = Board(self.rules, options.step_s)
        self.versions = VersionHistory(self.sampler, options.step_s, options.lookback_s)
        self.board.last_seen = self.versions.last_seen
        self.backfill = Backfill(self.sampler, self.versions, options.step_s, options.lookback_s)
        self.roles = roles or Roles()
        self.writer: Writer | None = None
        self.chronicle: Chronicle | None = None
        self.folded: Folded | None = None
        self.shared: Shared | None = None  # evaluations shared by the hub, once this has started
        self.pointers = PointerWatch(self.rules)
        self.incidents: tuple[Incident, ...] = ()
        self.evaluated_at: float | None = None
        self.recording = False
        self.notice = "connecting"
        self.focus: DeploymentId | None = None
        self._explanation: Explanation | None = None
        self._runbooks = runbooks
        self._details: dict[DeploymentId, tuple[float, DeploymentDetail]] = {}
        self._speed = 1.0
        self._publish: Publish = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._journal_problem = options.journal_problem
        self.outages = Outages(options.step_s)
        self._grouped = False
        self._recorded: float | None = None  # the newest evaluation in the journal when this process began to record
        self._by_id = {rule.deployment.id: rule for rule in self.rules}
        self._change_in_policy = tuple(rule for rule in self.rules if rule.trigger.expected)
        self._live: dict[str, Execution] = {}
        self._shown = False  # the first evaluation was
        self._inline = inline
        self._opens = opens
        self._folds_again = False
        # What looks at each evaluation that this process has recorded (`engine.automatic`).
        self.after_evaluation: Callable[[], Coroutine[None, None, None]] | None = None
        if journal is not None:
            self._keep(journal)

    def _keep(self, journal: Recorder) -> None:
        """From here on the journal is folded, and written where nobody else records."""
        from rollback_console.engine.chronicle import Chronicle
        from rollback_console.engine.folding import Folded
        from rollback_console.engine.writer import Writer

        self.writer = Writer(journal, self.rules, inline=self._inline)
        self.chronicle = Chronicle(self.rules, self.writer)
        self.folded = Folded(journal, self.rules, self.roles.lock_free)
        self.writer.declared = self.folded.declared
        self.sampler.leave_out(self.folded.declared)

    # -- time ---------------------------------------------------------------------------------------------------------

    def aligned(self, now: float) -> float:
        """The newest evaluation time that is due at `now`: a multiple of the step, `delay_s` behind the clock."""
        steps = int((now - self.options.delay_s + ON_GRID) // self.options.step_s)
        return steps * self.options.step_s

    def show_runbooks(self, runbooks: Callable[[], tuple[Runbook, ...]]) -> None:
        """What the screen lists from the next Snapshot on."""
        self._runbooks = runbooks

    def set_speed(self, speed: float) -> None:
        self._speed = speed

    # -- keeping ------------------------------------------------------------------------------------------------------

    def identify(self, operator: Operator | None, look_only: str, key_locked: str = "") -> None:
        """Who sits here became known."""
        self.options = replace(self.options, operator=operator, look_only=look_only, key_locked=key_locked)
        self.publish()

    async def _flush(self, packed: bytes | None, at: float = 0.0) -> None:
        """Write what waits; `packed` is the newest tick, for those who follow."""
        if self.writer is None or self.folded is None:
            return
        from rollback_console.engine.live import live_bytes

        self.writer.backends(self._healths())
        if self.shared is None or not self.shared.following:  # what was decided elsewhere is recorded there
            onsets = {name: trouble.onset for name, trouble in self.board.troubles().items()}
            self.writer.incidents(self.incidents, self.folded.incidents, onsets, self.evaluated_at or 0.0)
        await asyncio.sleep(0)
        live = live_bytes(packed, self.board.before) if packed is not None else None
        if live is not None and self.shared is not None:
            self.shared.offer(live, at)
        await self.writer.flush(live, at)
        self.fold()

    # -- parts --------------------------------------------------------------------------------------------------------

    def fold(self) -> None:
        """Read what the journal has new. A journal that cannot be read is the header's to say."""
        if self.folded is None:
            return
        try:
            self.folded.refresh()
            self._journal_problem = self.options.journal_problem
        except JournalBusy:
            if not self._folds_again:  # somebody holds the file; whether that lasts, who writes finds out
                self._folds_again = True
                self._spawn(self._fold_again())
        except JournalError as error:
            self._journal_problem = str(error)

    def stand_in(self, journal: Recorder, path: str) -> None:
        """From here on an emergency journal is written, also with what was waiting to be."""
        if self.writer is None or self.folded is None:
            return
        self.writer.journal, self.writer.problem = journal, ""
        self.folded.follow(journal)
        self.options = replace(self.options, journal_path=path, journal_problem="", emergency=True)
        self.fold()

    async def _fold_again(self) -> None:
        await self.clock.sleep(_BUSY_S)
        self._folds_again = False
        self.fold()
        self.publish()

    def _state(self, index: int) -> TriggerState:
        verdict = self.board.verdicts.get(index)
        return verdict.state if verdict is not None else TriggerState.HEALTHY

    def _cooling(self, index: int, at: float) -> bool:
        return self.folded is not None and self.folded.cooling(str(self.rules[index].deployment.id), at)

    def releases(self) -> tuple[Release, ...]:
        """Version changes as serving reported them; where serving is silent, as the registry's pointer moved."""
        at = self.evaluated_at if self.evaluated_at is not None else self.clock.now()
        folded = self.folded
        found = self.versions.releases(at, folded.rollbacks() if folded is not None else ())
        seen = {(release.deployment, release.after) for release in found}
        for move in folded.moves if folded is not None else ():
            name = DeploymentId.parse(move.deployment)
            verdict = self.board.verdicts.get(self.index.get(name, -1))
            silent = verdict is not None and verdict.version is None
            if silent and at - HISTORY_S <= move.at <= at + self.options.step_s and (name, move.after) not in seen:
                found += (Release(name, move.at, move.before, move.after, rollback=bool(move.by)),)
        return tuple(sorted(found, key=lambda release: release.at))

    def _regroup(self, seen_at: float | None = None) -> None:
        """Group again. `seen_at`: when the incidents known so far were last seen, where that is not the last step."""
        previous: Sequence[Incident] = self.incidents
        if self.folded is not None and not (self.recording and self._grouped):
            previous = [i for i in self.folded.incidents.values() if i.closed_at is None] or previous
        self._grouped = True
        fleet = Fleet(self._by_id, self.releases(), self._under_way(), self._declared())
        self.incidents = group(fleet, self.board.by_id(), self.board.troubles(), previous, seen_at)
        if self.roles.drilled is not None and self.incidents:
            from rollback_console.engine.drilled import with_records  # only where drills were measured

            self.incidents = with_records(self.incidents, self._by_id, self.roles.drilled)

    def _declared(self) -> dict[DeploymentId, tuple[ExpectedChange, ...]]:
        """The changes that people declared by hand, as the evaluation shown knows them."""
        declared, at = self.folded.declared if self.folded is not None else None, self.evaluated_at
        if declared is None or not declared.expectations or at is None:
            return {}
        return {name: found for name in self.index if (found := declared.expected(str(name), at))}

    def _under_way(self) -> dict[DeploymentId, str]:
        """To which version a rollback of a deployment runs now, here or in another process."""
        known = self.folded.executions if self.folded is not None else ()
        stands = (self._live.get(each.id, each) if each.ended_at is None else each for each in known)
        return {each.plan.deployment: each.plan.to_version for each in stands if each.state in _UNDER_WAY}

    async def _poll_registry(self) -> None:
        """Where the pointers stand, every half minute. A registry that does not answer changes nothing known."""
        while self.registry is not None:
            await self.look_at_pointers()
            self.publish()
            await self.clock.sleep(_REGISTRY_S)

    async def look_at(self, deployment: DeploymentId | None) -> None:
        """Fetch the details of a deployment, unless they are fresh; they arrive with a later Snapshot."""
        looked = self.focus
        self.focus = deployment
        if deployment is not None and deployment != looked:
            self.publish()  # why it is as it is, at once
        if deployment is None or self.registry is None or deployment not in self.index:
            return
        fetched = self._details.get(deployment)
        if fetched is not None and self.clock.now() - fetched[0] < _DETAIL_S:
            return
        if fetched is None:
            self._details[deployment] = (0.0, DeploymentDetail(deployment, loading=True))
            self.publish()
        index = self.index[deployment]
        verdict = self.board.verdicts.get(index)
        now = self.clock.now()
        trouble = self.board.troubles().get(deployment)
        detail = await fetch_detail(
            self.rules[index],
            self.registry,
            self.releases(),
            self.folded.moves if self.folded is not None else (),
            verdict.version if verdict is not None else None,
            trouble.onset if trouble is not None else now,
            now,
        )
        self._details[deployment] = (now, detail)
        self.publish()

    async def look_at_pointers(self) -> None:
        """Read the pointers now, and take note of what moved."""
        if self.registry is None:
            return
        moves = await self.pointers.poll(self.registry, self.clock.now(), self.folded)
        self.board.registry_versions = self.pointers.by_deployment
        if moves and self.writer is not None and self.recording:
            for body, deployment in moves:
                self.writer.note(body, deployment)
            await self._flush(None)

    def executing(self, execution: Execution) -> None:
        """An execution of this process changed: show it as it is now, ahead of what the journal folds to. Once it has
        touched the pointer, that is read at once: beside a step that says it is set, the screen shows no older one."""
        before = self._live.get(execution.id)
        self._live[execution.id] = execution
        self.fold()
        if self.evaluated_at is not None and (before is None or before.state is not execution.state):
            self._regroup()  # what is advised while it runs is something else
        if _touched(execution) > _touched(before):
            self._spawn(self._read_pointers())
        self.publish()

    def executes(self) -> bool:
        """Is an execution of this process under way."""
        return any(each.ended_at is None for each in self._live.values())

    async def _read_pointers(self) -> None:
        await self.look_at_pointers()
        self.publish()

    def _healths(self) -> tuple[BackendHealth, ...]:
        metrics = self.metrics.health()
        if self.registry is None:
            return (metrics, BackendHealth("registry", BackendState.NOT_CONFIGURED))
        return (metrics, self.registry.health())

    def _progress(self, notice: str) -> None:
        self.notice = notice
        self.publish()

    def publish(self) -> Snapshot:
        """The Snapshot of now, handed to whoever watches."""
        snapshot = self.with_others()
        self._shown = self._shown or self.evaluated_at is not None
        self._publish(snapshot)
        return snapshot

    def snapshot(self) -> Snapshot:
        """Everything the screen shows, as one value."""
        folded, options = self.folded, self.options
        problem = self._journal_problem or (self.writer.problem if self.writer is not None else "")
        shared = self.shared
        pid = None if self.recording or (shared and shared.following) else self.roles.recorder_pid()
        hub, hub_alarms = self.roles.hub()
        notice = self.notice or (f"following process {pid}, which records" if pid is not None else "")
        notice = notice or (shared.words if shared is not None else "")
        return Snapshot(
            at=self.clock.now(),
            evaluated_at=self.evaluated_at if self.evaluated_at is not None else self.board.newest(),
            step_s=options.step_s,
            band=f"{options.band} x{self._speed:g}"
            if options.simulated and self._speed not in (0.0, 1.0)
            else options.band,
            deployments=self.board.views(self.incidents, folded.snoozed if folded else {}, self._going_on()),
            incidents=self.incidents,
            backends=self._healths(),
            hub=hub,
            journal=JournalStatus(
                options.journal_path, folded.entries if folded else 0, self.recording, pid, problem, options.emergency
            ),
            operator=options.operator,
            look_only=options.look_only,
            key_locked=options.key_locked,
            speed=self._speed,
            simulated=options.simulated,
            details=tuple(detail for _, detail in self._details.values()),
            executions=tuple(self._live.get(e.id, e) if e.ended_at is None else e for e in folded.executions)
            if folded
            else (),
            walks=folded.walks if folded else (),
            runbooks=self._runbooks() if self._shown else (),  # states first
            timeline=folded.timeline if folded else (),
            recommendations=tuple(r for incident in self.incidents for r in incident.recommendations),
            notice=notice,
            alarms=(*hub_alarms, *(self._alarms(folded) if folded else ())),
            announced=tuple(folded.announced.by_deployment.values()) if folded else (),
            explanations=self._explained(),
            exclusions=folded.declared.standing() if folded else (),
            expectations=folded.declared.going_on(self.clock.now()) if folded else (),
            over=folded.over(self.clock.now()) if folded else (),
        )

    def _going_on(self) -> Mapping[str, Expectation]:
        """By deployment, the change that is expected of it by the clock: by hand, else by its policy."""
        now = self.clock.now()
        by_hand = self.folded.declared.going_on(now) if self.folded is not None else ()
        if not by_hand and not self._change_in_policy:
            return {}
        from rollback_console.engine.declared import by_policy

        found = {}
        for rule in self._change_in_policy:
            if (change := by_policy(rule, now)) is not None:
                found[str(rule.deployment.id)] = change
        return {**found, **{name: each for each in by_hand for name in each.deployments}}

    def with_others(self) -> Snapshot:
        """The Snapshot of now with what other consoles did, who is where, and who commands."""
        snapshot, team = self.snapshot(), self.roles.team()
        commanders = self.folded.commanders if self.folded is not None else {}
        if team is None and not commanders:
            return snapshot
        from rollback_console.engine.company import with_team  # states first

        return with_team(snapshot, team, commanders)

    def _explained(self) -> tuple[Explanation, ...]:
        """Why the deployment that somebody looks at is in its state."""
        index = self.index.get(self.focus) if self.focus is not None else None
        verdict = self.board.verdicts.get(index) if index is not None else None
        if index is None or verdict is None:
            return ()
        from rollback_console.engine.explaining import explain  # states first: nobody looks at one before the fleet

        self._explanation = explain(self.rules[index], verdict, self._explanation)
        return (self._explanation,)

    def _alarms(self, folded: Folded) -> tuple[str, ...]:
        from rollback_console.engine.flips import pointer_alarms

        by_itself = tuple(each.sentence for each in folded.announced.by_deployment.values())
        flipped = pointer_alarms(folded, self.pointers, self.incidents, self.clock.now())
        return (*by_itself, *folded.unfinished, *flipped)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _touched(execution: Execution | None) -> int:
    """How many of the steps that set or verify the pointer are done."""
    steps = execution.steps if execution is not None else ()
    return sum(1 for step in steps if step.name in _TOUCHES and step.state is StepState.DONE)

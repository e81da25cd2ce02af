"""observe -> decide -> record -> publish, given a clock and Protocols. Live, rehearsal and `watch` run this loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace

from rollback_console.clock import Clock
from rollback_console.decide.attribution import Release
from rollback_console.decide.incidents import Fleet, group
from rollback_console.decide.judge import FRESH, decide
from rollback_console.engine.backfill import Backfill, Replayed
from rollback_console.engine.board import Board
from rollback_console.engine.details import fetch_detail
from rollback_console.engine.folding import Folded
from rollback_console.engine.live import live_bytes, live_state
from rollback_console.engine.options import Options, Roles
from rollback_console.engine.record import Decided
from rollback_console.engine.registry import PointerWatch
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.versions import VersionHistory
from rollback_console.engine.writer import Writer
from rollback_console.errors import ConsoleError, JournalError
from rollback_console.journal.entry import Recorder
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import BackendHealth, BackendState, Tick
from rollback_console.model.operator import Operator
from rollback_console.model.plan import Execution
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.snapshot import DeploymentDetail, JournalStatus, Snapshot
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict
from rollback_console.model.walk import Runbook
from rollback_console.observe.protocol import MetricBackend, ModelRegistry

Publish = Callable[[Snapshot], None]
_SLICE = 40  # decisions between two chances for a key: about 5 ms
_REGISTRY_S = 30.0
_DETAIL_S = 30.0
_ON_GRID = 1e-6


@dataclass(frozen=True, slots=True)
class Outage:
    """Queries that ceased to answer after `at`, and the memories of then, to go on from when they answer again."""

    at: float
    memories: dict[int, TriggerMemory]
    failing: set[int]


class Engine:
    """One loop over one fleet. `step` runs one evaluation; `run` runs them as the clock goes."""

    def __init__(
        self,
        rules: Sequence[DeploymentRule],
        metrics: MetricBackend,
        registry: ModelRegistry | None,
        clock: Clock,
        options: Options,
        *,
        journal: Recorder | None = None,
        roles: Roles | None = None,
        runbooks: Callable[[], tuple[Runbook, ...]] = lambda: (),
        inline: bool = False,
    ) -> None:
        self.rules = tuple(rules)
        self.index = {rule.deployment.id: number for number, rule in enumerate(self.rules)}
        self.metrics, self.registry, self.clock, self.options = metrics, registry, clock, options
        self.sampler = Sampler(self.rules, metrics)
        self.board = Board(self.rules, options.step_s)
        self.versions = VersionHistory(self.sampler, options.step_s)
        self.backfill = Backfill(self.sampler, self.versions, options.step_s, options.lookback_s)
        self.roles = roles or Roles()
        self.writer = Writer(journal, self.rules, inline=inline) if journal is not None else None
        self.folded = Folded(journal, self.rules, self.roles.lock_free) if journal is not None else None
        self.pointers = PointerWatch(self.rules)
        self.incidents: tuple[Incident, ...] = ()
        self.evaluated_at: float | None = None
        self.recording = False
        self.notice = "connecting"
        self.focus: DeploymentId | None = None
        self._runbooks = runbooks
        self._details: dict[DeploymentId, tuple[float, DeploymentDetail]] = {}
        self._speed = 1.0
        self._publish: Publish = lambda _: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._journal_problem = ""
        self._outage: Outage | None = None
        self._live: dict[str, Execution] = {}

    # -- time ---------------------------------------------------------------------------------------------------------

    def aligned(self, now: float) -> float:
        """The newest evaluation time that is due at `now`: a multiple of the step, `delay_s` behind the clock."""
        steps = int((now - self.options.delay_s + _ON_GRID) // self.options.step_s)
        return steps * self.options.step_s

    def set_speed(self, speed: float) -> None:
        self._speed = speed

    # -- the loop -----------------------------------------------------------------------------------------------------

    async def run(self, publish: Publish) -> None:
        """Start, then evaluate whenever an evaluation is due. Ends only by cancellation: an evaluation that fails for a
        reason nobody foresaw is said on the screen, and the next one is tried; a console that silently shows the past
        would be worse than one that stops."""
        self._publish = publish
        started = False
        while True:
            try:
                if not started:
                    await self.start()
                    started = True
                await self._once()
            except ConsoleError as error:
                await self._failed(str(error))
            except Exception as error:
                if self.options.debug:
                    raise
                await self._failed(f"{type(error).__name__}: {error}")

    async def _once(self) -> None:
        """Wait for what is due, and do it."""
        options, now = self.options, self.clock.now()
        due = (self.evaluated_at or 0.0) + options.step_s + options.delay_s
        wait = due + options.jitter_s - now if now < due else 0.05
        await self.clock.sleep(min(max(wait, 0.05), options.step_s if self.recording else 1.0))
        if not self.recording and options.follow:
            await self._follow()
        elif self.clock.now() >= due - _ON_GRID:
            await self.step(self.aligned(self.clock.now()))

    async def _failed(self, why: str) -> None:
        self.notice = f"this evaluation failed: {why}"
        self.publish()
        await self.clock.sleep(self.options.step_s)

    async def start(self) -> None:
        """Back-fill to now. Afterwards every deployment has a verdict, and the first real Snapshot was published."""
        self.fold()
        self._try_to_record()
        if not self.recording and self.options.follow and self._take_live():
            self._spawn(self._poll_registry())
            return
        await self._cold(self.aligned(self.clock.now()))
        self._spawn(self._poll_registry())

    def _try_to_record(self) -> bool:
        """Become the recorder if nobody else is."""
        if self.writer is None or self.folded is None or not self.roles.may_record():
            return False
        self.recording = True
        options = self.options
        self.writer.begin(options.command, options.papers, self.folded.papers, simulated=options.simulated)
        return True

    def identify(self, operator: Operator | None, look_only: str) -> None:
        """Who sits here became known."""
        self.options = replace(self.options, operator=operator, look_only=look_only)
        self.publish()

    async def _cold(self, at: float) -> None:
        await self.versions.load(at)
        replayed = await self.backfill.cold(at, self._cooling, self._progress)
        self._outage = Outage(at, {}, self.backfill.failing) if self.backfill.failing else None
        await self._take_replayed(replayed, self.folded.evaluated_at if self.folded is not None else None)

    async def step(self, at: float) -> Snapshot:
        """One evaluation at `at`, after replaying whatever was missed since the last."""
        last = self.evaluated_at
        if last is None or at - last > self.options.lookback_s:
            await self._cold(at)
        elif at - last > self.options.step_s + _ON_GRID:
            await self._catch_up(last, self.board.memories, at)
        elif at > last + _ON_GRID:
            answers = await self.sampler.answers_at(at)
            failing = {index for index, answer in enumerate(answers) if answer.failed}
            if self._outage is not None and self._outage.failing - failing:
                outage, self._outage = self._outage, None
                if not outage.memories or at - outage.at > self.options.lookback_s:
                    await self._cold(at)
                else:  # what was unseen then is seen now: only what the backend itself lacks stays blind
                    await self._catch_up(outage.at, outage.memories, at)
            else:
                if failing and self._outage is None:
                    self._outage = Outage(last, dict(self.board.memories), failing)
                if not self.versions.loaded:
                    await self.versions.load(last)
                self._note_versions(at, lambda index: self.sampler.version_at(answers, index))
                tick = await self.sampler.assemble(at, answers, await self.versions.baselines(at))
                await self._evaluate(tick)
        return self.publish()

    async def _catch_up(self, last: float, memories: dict[int, TriggerMemory], at: float) -> None:
        self._progress(f"catching up on {round(at - last)} s")
        if not self.versions.loaded:
            await self.versions.load(last)
        replayed = await self.backfill.gap(memories, last, at, self._cooling)
        self._outage = Outage(last, dict(memories), self.backfill.failing) if self.backfill.failing else None
        await self._take_replayed(replayed, last)

    async def _evaluate(self, tick: Tick) -> None:
        changed: list[Decided] = []
        verdicts: list[Verdict] = []
        for index, observation in enumerate(tick.observations):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            before = self.board.memories.get(index, FRESH)
            state_before = self._state(index)
            cooling = self._cooling(index, tick.at)
            verdict, after = decide(self.rules[index], observation, before, cooling=cooling)
            self.board.put(index, before, verdict, after)
            self.board.trace(index, (observation,))
            verdicts.append(verdict)
            if verdict.state is not state_before:
                changed.append(Decided(self.rules[index], before, state_before, verdict, after, ""))
        self.evaluated_at, self.notice = tick.at, ""
        self._regroup()
        await self._record(tick, verdicts, changed)

    async def _take_replayed(self, replayed: Replayed, recorded: float | None) -> None:
        """Make a replay's end the present, and its changes after `recorded` part of the record."""
        for index in sorted(replayed.memories):
            self.board.trace(index, replayed.rows[index])
            self.board.put(index, replayed.before[index], replayed.verdicts[index], replayed.memories[index])
        self.evaluated_at, self.notice = replayed.at, ""
        self._regroup()
        if self.writer is None or not self.recording:
            return
        complete = min((len(rows) for rows in replayed.rows.values()), default=0)
        ticks: dict[float, Tick] = {}
        for k in range(1, complete + 1):
            row = tuple(replayed.rows[index][-k] for index in range(len(self.rules)))
            ticks[row[0].at] = Tick(row[0].at, row)
        digests: dict[float, str] = {}
        for change in replayed.changes:
            at = change.observation.at
            if (recorded is not None and at <= recorded) or at not in ticks:
                continue
            if at not in digests:
                digests[at] = self.writer.tick(ticks[at], (change.verdict,), always=True)
            self.writer.decided(
                Decided(
                    self.rules[change.index],
                    change.before,
                    change.state_before,
                    change.verdict,
                    change.after,
                    digests[at],
                    backfilled=True,
                )
            )
        await self._flush(ticks.get(replayed.at))

    async def _record(self, tick: Tick, verdicts: Sequence[Verdict], changed: Sequence[Decided]) -> None:
        if self.writer is None or not self.recording:
            return
        digest = self.writer.tick(tick, verdicts, always=bool(changed))
        for decided in changed:
            self.writer.decided(replace(decided, tick=digest))
        await self._flush(tick)

    async def _flush(self, tick: Tick | None) -> None:
        if self.writer is None or self.folded is None:
            return
        self.writer.backends(self._healths())
        self.writer.incidents(self.incidents, self.folded.incidents)
        live = live_bytes(tick, self.board, self.writer.layout_digest) if tick is not None else None
        await self.writer.flush(live, tick.at if tick is not None else 0.0)
        self.fold()

    # -- following another process ------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Another process records: show what it decided; take over when its lock is free."""
        self.fold()
        if self._try_to_record():
            self.notice = ""
            await self.step(self.aligned(self.clock.now()))
            return
        due = (self.evaluated_at or 0.0) + self.options.step_s + self.options.delay_s
        if not self._take_live() and self.clock.now() >= due + self.options.step_s:
            await self.step(self.aligned(self.clock.now()))  # nothing to follow: evaluate, and write nothing
        self.publish()

    def _take_live(self) -> bool:
        """Show the recorder's newest evaluation. False where it left none that fits this configuration."""
        if self.writer is None:
            return False
        try:
            found = live_state(self.writer.journal, self.rules)
        except JournalError as error:
            self._journal_problem = str(error)
            return False
        if found is None:
            return False
        tick, memories = found
        if self.evaluated_at is not None and tick.at <= self.evaluated_at:
            return tick.at > self.clock.now() - self.options.delay_s - 3 * self.options.step_s  # else it hangs
        for index, observation in enumerate(tick.observations):
            before = memories[index]
            verdict, after = decide(self.rules[index], observation, before, cooling=self._cooling(index, tick.at))
            self.board.put(index, before, verdict, after)
            self.board.trace(index, (observation,))
            self.versions.note(index, tick.at, observation.version)
        self.evaluated_at, self.notice = tick.at, ""
        self._regroup()
        return True

    # -- parts --------------------------------------------------------------------------------------------------------

    def fold(self) -> None:
        """Read what the journal has new. A journal that cannot be read is the header's to say."""
        if self.folded is None:
            return
        try:
            self.folded.refresh()
            self._journal_problem = ""
        except JournalError as error:
            self._journal_problem = str(error)

    def _state(self, index: int) -> TriggerState:
        verdict = self.board.verdicts.get(index)
        return verdict.state if verdict is not None else TriggerState.HEALTHY

    def _cooling(self, index: int, at: float) -> bool:
        return self.folded is not None and self.folded.cooling(str(self.rules[index].deployment.id), at)

    def _note_versions(self, at: float, version_of: Callable[[int], str | None]) -> None:
        for index in range(len(self.rules)):
            self.versions.note(index, at, version_of(index))

    def releases(self) -> tuple[Release, ...]:
        return self.versions.releases(self.folded.rollbacks() if self.folded is not None else ())

    def _regroup(self) -> None:
        known = [i for i in self.folded.incidents.values() if i.closed_at is None] if self.folded else []
        self.incidents = group(
            Fleet({rule.deployment.id: rule for rule in self.rules}, self.releases()),
            self.board.by_id(),
            self.board.onsets(),
            self.incidents or known,
        )

    async def _poll_registry(self) -> None:
        """Where the pointers stand, every half minute. A registry that does not answer changes nothing known."""
        while self.registry is not None:
            await self.look_at_pointers()
            self.publish()
            await self.clock.sleep(_REGISTRY_S)

    async def look_at(self, deployment: DeploymentId | None) -> None:
        """Fetch the details of a deployment, unless they are fresh; they arrive with a later Snapshot."""
        self.focus = deployment
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
        onset = self.board.onsets().get(deployment, now)
        detail = await fetch_detail(
            self.rules[index],
            self.registry,
            self.releases(),
            self.folded.moves if self.folded is not None else (),
            verdict.version if verdict is not None else None,
            onset,
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
        """An execution of this process changed: show it as it is now, ahead of what the journal folds to."""
        self._live[execution.id] = execution
        self.fold()
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
        snapshot = self.snapshot()
        self._publish(snapshot)
        return snapshot

    def snapshot(self) -> Snapshot:
        """Everything the screen shows, as one value."""
        folded, options = self.folded, self.options
        problem = self._journal_problem or (self.writer.problem if self.writer is not None else "")
        pid = None if self.recording else self.roles.recorder_pid()
        notice = self.notice or (f"following process {pid}, which records" if pid is not None else "")
        return Snapshot(
            at=self.clock.now(),
            evaluated_at=self.evaluated_at,
            step_s=options.step_s,
            band=f"{options.band} x{self._speed:g}" if options.simulated and self._speed != 1.0 else options.band,
            deployments=self.board.views(self.incidents, folded.snoozed if folded else {}),
            incidents=self.incidents,
            backends=self._healths(),
            journal=JournalStatus(options.journal_path, folded.entries if folded else 0, self.recording, pid, problem),
            operator=options.operator,
            look_only=options.look_only,
            speed=self._speed,
            simulated=options.simulated,
            details=tuple(detail for _, detail in self._details.values()),
            executions=tuple(self._live.get(e.id, e) if e.ended_at is None else e for e in folded.executions)
            if folded
            else (),
            walks=folded.walks if folded else (),
            runbooks=self._runbooks(),
            timeline=folded.timeline if folded else (),
            recommendations=tuple(r for incident in self.incidents for r in incident.recommendations),
            notice=notice,
        )

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop background work, write what waits, let the backends go."""
        for task in list(self._tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConsoleError):
                await task
        if self.writer is not None:
            if self.recording:
                await self.writer.flush()
            self.writer.close()
        await self.metrics.close()
        if self.registry is not None:
            await self.registry.close()

"""observe -> decide -> record -> publish, given a clock and Protocols. Live, rehearsal and `watch` run this loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace

from rollback_console.clock import Clock
from rollback_console.decide.attribution import Release
from rollback_console.decide.incidents import Fleet, group
from rollback_console.decide.judge import FRESH, decide, step
from rollback_console.decide.trigger import state_of
from rollback_console.engine.backfill import BASELINES, Backfill, Known, Replayed
from rollback_console.engine.board import Board
from rollback_console.engine.chronicle import Chronicle
from rollback_console.engine.details import fetch_detail
from rollback_console.engine.flips import pointer_alarms
from rollback_console.engine.folding import Folded
from rollback_console.engine.live import live_bytes, live_state
from rollback_console.engine.options import Options, Roles
from rollback_console.engine.outages import Outages
from rollback_console.engine.queries import Answer
from rollback_console.engine.record import Decided
from rollback_console.engine.registry import PointerWatch
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.versions import HISTORY_S, VersionHistory
from rollback_console.engine.writer import Writer
from rollback_console.errors import ConsoleError, JournalError
from rollback_console.journal.entry import Recorder
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import BackendHealth, BackendState, Blind, Tick
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
        self.versions = VersionHistory(self.sampler, options.step_s, options.lookback_s)
        self.backfill = Backfill(self.sampler, self.versions, options.step_s, options.lookback_s)
        self.roles = roles or Roles()
        self.writer = Writer(journal, self.rules, inline=inline) if journal is not None else None
        self.chronicle = Chronicle(self.rules, self.writer) if self.writer is not None else None
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
        self._journal_problem = options.journal_problem
        self.outages = Outages(options.step_s)
        self._grouped = False
        self._recorded: float | None = None  # the newest evaluation in the journal when this process began to record
        self._by_id = {rule.deployment.id: rule for rule in self.rules}
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
        elif self.clock.now() >= due - _ON_GRID or self._set_back(self.aligned(self.clock.now())):
            await self.step(self.aligned(self.clock.now()))

    async def _failed(self, why: str) -> None:
        self.notice = f"this evaluation failed: {why}"
        self.publish()
        await self.clock.sleep(self.options.step_s)

    def _set_back(self, at: float) -> bool:
        """Was the clock set back: the last evaluation lies in what is the future now."""
        return self.evaluated_at is not None and at < self.evaluated_at - self.options.step_s - _ON_GRID

    async def start(self) -> None:
        """Back-fill to now. Afterwards every deployment has a verdict, and the first real Snapshot was published."""
        self.fold()
        self._try_to_record()
        if self.recording or not self.options.follow or not await self._take_live():
            await self._cold(self.aligned(self.clock.now()))
        self._spawn(self._poll_registry())

    def _try_to_record(self) -> bool:
        """Become the recorder if nobody else is."""
        if self.recording:
            return True  # a start that failed half-way, tried again
        if self.writer is None or self.folded is None or not self.roles.may_record():
            return False
        self.recording = True
        if self.chronicle is not None:
            self.chronicle.begin(self._last_words())
        self._recorded = self.folded.evaluated_at
        options = self.options
        self.writer.begin(options.command, options.papers, self.folded.papers, simulated=options.simulated)
        return True

    def identify(self, operator: Operator | None, look_only: str, key_locked: str = "") -> None:
        """Who sits here became known."""
        self.options = replace(self.options, operator=operator, look_only=look_only, key_locked=key_locked)
        self.publish()

    def _last_words(self) -> dict[int, TriggerState]:
        """The state that the journal leaves each deployment in."""
        try:
            found = live_state(self.writer.journal, self.rules) if self.writer is not None else None
        except JournalError:
            return {}
        if found is None:
            return {}
        tick, memories = found
        said = {}
        for index, observation in enumerate(tick.observations):
            after = step(self.rules[index], observation, memories[index]).memory
            said[index], _ = state_of(after, cooling=self._cooling(index, tick.at))
        return said

    async def _cold(self, at: float) -> None:
        await self._go_on(Known(at, {}), at)

    async def step(self, at: float) -> Snapshot:
        """One evaluation at `at`, after replaying whatever was missed since the last."""
        last = self.evaluated_at
        if last is None or self._set_back(at):
            await self._cold(at)
        elif at - last > self.options.step_s + _ON_GRID:
            known = self.outages.oldest()
            await self._go_on(known if known is not None and known.at < last else self._known(last), at)
        elif at > last + _ON_GRID:
            answers = await self.sampler.answers_at(at)
            failing = {index for index, answer in enumerate(answers) if answer.failed}
            if (
                BASELINES in self.outages
                and Blind.QUERY_FAILED in (await self.versions.baselines(last, failing)).values()
            ):
                failing.add(BASELINES)
            known = self.outages.mendable(failing, at)
            if known is None or not await self._mended(known, at, failing):
                await self._judge(at, last, answers, failing)
        return self.publish()

    def _known(self, last: float) -> Known:
        return Known(last, dict(self.board.memories))

    async def _judge(self, at: float, last: float, answers: Sequence[Answer], failing: set[int]) -> None:
        """The ordinary evaluation: one step after the last."""
        if not self.versions.loaded and failing.isdisjoint(self.sampler.plan.version_queries):
            await self.versions.load(last, retry=True)
        for index in range(len(self.rules)):
            self.versions.note(index, at, self.sampler.version_at(answers, index))
        baselines = await self.versions.baselines(at, failing)
        if Blind.QUERY_FAILED in baselines.values():
            failing = failing | {BASELINES}
        if failing:
            self.outages.began(failing, self._known(last))
        if self.chronicle is not None:
            self.chronicle.forget(at - self.options.lookback_s if self.outages else at)
        await self._evaluate(await self.sampler.assemble(at, answers, baselines))

    async def _mended(self, known: Known, at: float, failing: set[int]) -> bool:
        """Queries answer again: what was unseen then is seen now, and only what the backend itself lacks stays blind.
        False where history does not answer although the present does: the present is judged then, and this later."""
        self._progress(f"catching up on {round(at - known.at)} s that were unseen")
        replayed = await self._replay(known, at)
        vain = bool(replayed.failing - failing - {BASELINES})
        self.outages.replayed(known, at, replayed.failing, tried=vain)
        if vain:
            return False
        await self._take_replayed(replayed, known)
        return True

    async def _go_on(self, known: Known, at: float) -> None:
        """After a gap, or at the start: from what was known to the present."""
        if known.memories:
            self._progress(f"catching up on {round(at - known.at)} s")
        replayed = await self._replay(known, at)
        self.outages.replayed(known, at, replayed.failing)
        await self._take_replayed(replayed, known)

    async def _replay(self, known: Known, at: float) -> Replayed:
        """What happened since `known`: evaluation by evaluation where that is short, else as a cold start would."""
        if not known.memories or at - known.at > self.options.lookback_s:
            await self.versions.load(at)
            return await self.backfill.cold(at, self._cooling, self._progress)
        if at - known.at > self.backfill.settling_s:
            await self.versions.load(at)
            return await self.backfill.cold(at, self._cooling, self._progress, known)
        if not self.versions.loaded:
            await self.versions.load(known.at)
        return await self.backfill.gap(known, at, self._cooling)

    async def _evaluate(self, tick: Tick) -> None:
        """Judge a tick, whole or not at all: an evaluation that fails leaves the last one standing."""
        done: list[tuple[int, TriggerMemory, Verdict, TriggerMemory]] = []
        for index, observation in enumerate(tick.observations):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            before = self.board.memories.get(index, FRESH)
            verdict, after = decide(self.rules[index], observation, before, cooling=self._cooling(index, tick.at))
            done.append((index, before, verdict, after))
        changed: list[Decided] = []
        for index, before, verdict, after in done:
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            state_before = self._state(index)
            if verdict.state is not state_before:
                changed.append(Decided(self.rules[index], before, state_before, verdict, after, ""))
            self.board.put(index, before, verdict, after)
            self.board.trace(index, (tick.observations[index],))
        self.evaluated_at, self.notice = tick.at, ""
        self._regroup()
        await self._record(tick, [verdict for _, _, verdict, _ in done], changed)

    async def _take_replayed(self, replayed: Replayed, known: Known) -> None:
        """Make a replay's end the present, and the changes that it came through part of the record."""
        seen_at = self.evaluated_at if self.evaluated_at is not None else self._recorded
        for index in sorted(replayed.memories):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            self.board.trace(index, replayed.rows[index])
            self.board.put(index, replayed.before[index], replayed.verdicts[index], replayed.memories[index])
        self.evaluated_at, self.notice = replayed.at, ""
        self._regroup(seen_at)
        if self.chronicle is not None and self.recording:
            after = known.at if known.memories else self._recorded
            await self._flush(self.chronicle.replayed(replayed, after), replayed.at)

    async def _record(self, tick: Tick, verdicts: Sequence[Verdict], changed: Sequence[Decided]) -> None:
        if self.chronicle is not None and self.recording:
            await asyncio.sleep(0)
            await self._flush(self.chronicle.live(tick, verdicts, changed), tick.at)

    async def _flush(self, packed: bytes | None, at: float = 0.0) -> None:
        """Write what waits; `packed` is the newest tick, for those who follow."""
        if self.writer is None or self.folded is None:
            return
        self.writer.backends(self._healths())
        onsets = {name: trouble.onset for name, trouble in self.board.troubles().items()}
        self.writer.incidents(self.incidents, self.folded.incidents, onsets, self.evaluated_at or 0.0)
        await asyncio.sleep(0)
        live = live_bytes(packed, self.board.before) if packed is not None else None
        await self.writer.flush(live, at)
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
        if not await self._take_live() and self.clock.now() >= due + self.options.step_s:
            await self.step(self.aligned(self.clock.now()))  # nothing to follow: evaluate, and write nothing
        self.publish()

    async def _take_live(self) -> bool:
        """Show the recorder's newest evaluation. False where it left none that fits this configuration, or hangs."""
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
        if self.evaluated_at is None or tick.at > self.evaluated_at:
            await self._show(tick, memories)
        return tick.at > self.clock.now() - self.options.delay_s - 3 * self.options.step_s

    async def _show(self, tick: Tick, memories: Sequence[TriggerMemory]) -> None:
        """Make the recorder's evaluation the present, judged again here."""
        first = self.evaluated_at is None
        for index, observation in enumerate(tick.observations):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            before = memories[index]
            verdict, after = decide(self.rules[index], observation, before, cooling=self._cooling(index, tick.at))
            self.board.put(index, before, verdict, after)
            self.board.trace(index, (observation,))
        self.evaluated_at, self.notice = tick.at, ""
        if not self.versions.loaded:
            if first:
                self.publish()  # who released what is said a moment later
            await self.versions.load(tick.at, retry=True)
        for index, observation in enumerate(tick.observations):
            self.versions.note(index, tick.at, observation.version)
        self._regroup()

    # -- parts --------------------------------------------------------------------------------------------------------

    def fold(self) -> None:
        """Read what the journal has new. A journal that cannot be read is the header's to say."""
        if self.folded is None:
            return
        try:
            self.folded.refresh()
            self._journal_problem = self.options.journal_problem
        except JournalError as error:
            self._journal_problem = str(error)

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
        fleet = Fleet(self._by_id, self.releases())
        self.incidents = group(fleet, self.board.by_id(), self.board.troubles(), previous, seen_at)

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
            band=f"{options.band} x{self._speed:g}"
            if options.simulated and self._speed not in (0.0, 1.0)
            else options.band,
            deployments=self.board.views(self.incidents, folded.snoozed if folded else {}),
            incidents=self.incidents,
            backends=self._healths(),
            journal=JournalStatus(options.journal_path, folded.entries if folded else 0, self.recording, pid, problem),
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
            runbooks=self._runbooks(),
            timeline=folded.timeline if folded else (),
            recommendations=tuple(r for incident in self.incidents for r in incident.recommendations),
            notice=notice,
            alarms=(
                *folded.unfinished,
                *pointer_alarms(folded, self.pointers, self.incidents, self.clock.now()),
            )
            if folded
            else (),
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

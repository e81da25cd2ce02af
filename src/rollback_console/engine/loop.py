"""observe -> decide -> record -> publish, given a clock and Protocols. Live, rehearsal and `watch` run this loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence, Set

from rollback_console.decide.judge import FRESH, decide, step
from rollback_console.decide.trigger import state_of
from rollback_console.engine.backfill import BASELINES, Known, Replayed
from rollback_console.engine.present import ON_GRID, Present, Publish
from rollback_console.engine.queries import Answer
from rollback_console.engine.record import Decided
from rollback_console.errors import ConsoleError, JournalBusy, JournalError
from rollback_console.model.observation import Blind, Tick
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict

_SLICE = 40  # decisions between two chances for a key: about 5 ms


class Engine(Present):
    """One loop over one fleet. `step` runs one evaluation; `run` runs them as the clock goes."""

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
        follows = self.shared is not None and self.shared.following
        limit = options.step_s if self.recording and not follows else 1.0
        await self.clock.sleep(min(max(wait, 0.25 if follows else 0.05), limit))
        await self.go_on()

    async def go_on(self) -> None:
        """Do what is due now: follow who evaluates, or evaluate."""
        due = (self.evaluated_at or 0.0) + self.options.step_s + self.options.delay_s
        if not self.recording and self.options.follow:
            await self._follow()
        elif self.shared is not None and await self.shared.follow():
            self.publish()
        elif self.clock.now() >= due - ON_GRID or self._set_back(self.aligned(self.clock.now())):
            await self.step(self.aligned(self.clock.now()))
            if self.recording and self.after_evaluation is not None:
                self._spawn(self.after_evaluation())

    async def _failed(self, why: str) -> None:
        self.notice = f"this evaluation failed: {why}"
        self.publish()
        await self.clock.sleep(self.options.step_s)

    def _set_back(self, at: float) -> bool:
        """Was the clock set back: the last evaluation lies in what is the future now."""
        return self.evaluated_at is not None and at < self.evaluated_at - self.options.step_s - ON_GRID

    async def start(self) -> None:
        """Back-fill to now. Afterwards every deployment has a verdict, and the first real Snapshot was published."""
        self.fold()
        self._try_to_record()
        if self.roles.fleet is not None and self.shared is None and self.options.follow:
            from rollback_console.engine.shared import Shared  # only where there is a hub

            self.shared = Shared(self, self.roles.fleet)
        followed = not self.recording and self.options.follow and await self._take_live()
        if not followed and (self.shared is None or not await self.shared.begin()):
            await self._cold(self.aligned(self.clock.now()))
        self._spawn(self._poll_registry())
        if self.writer is not None and self.options.quiet_s > 0:
            from rollback_console.engine.silence import keep_silence

            every, count = self.options.quiet_s, len(self.rules)
            recording, tidy = (lambda: self.recording), self.roles.tidy
            self._spawn(keep_silence(self.writer, self.clock, every, count, recording, tidy))

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

    def _last_words(self) -> dict[int, TriggerState]:
        """The state that the journal leaves each deployment in."""
        from rollback_console.engine.live import live_state

        try:
            found = live_state(self.writer.journal, self.rules) if self.writer is not None else None
        except JournalError:
            return {}
        if found is None:
            return {}
        tick, memories = found
        said = {}
        for index, observation in enumerate(tick.observations):
            cooling = self._cooling(index, tick.at)
            after = step(self.rules[index], observation, memories[index], cooling=cooling).memory
            said[index], _ = state_of(after, cooling=cooling)
        return said

    async def _cold(self, at: float) -> None:
        await self._go_on(Known(at, {}), at)

    async def step(self, at: float) -> Snapshot:
        """One evaluation at `at`, after replaying whatever was missed since the last, and reading what others wrote."""
        self.fold()
        last = self.evaluated_at
        resumed = self.shared.resume(at) if self.shared is not None else None
        if last is None or self._set_back(at):
            await self._cold(at)
        elif resumed is not None:
            await self._go_on(resumed, at)
        elif at - last > self.options.step_s + ON_GRID:
            known = self.outages.oldest()
            await self._go_on(known if known is not None and known.at < last else self._known(last), at)
        elif at > last + ON_GRID:
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
        await self._evaluate(await self.sampler.assemble(at, answers, baselines, memories=self.board.memories))

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
        self.outages.replayed(known, replayed.at, replayed.failing)
        await self._take_replayed(replayed, known)

    async def _replay(self, known: Known, at: float) -> Replayed:
        """What happened since `known`: evaluation by evaluation where that is short, else as a cold start would."""
        if self.evaluated_at is None and self.backfill.long:
            return await self._previewed(at)
        if not known.memories or at - known.at > self.options.lookback_s:
            await self.versions.load(at)
            return await self.backfill.cold(at, self._cooling, self._partly)
        if at - known.at > self.backfill.settling_s:
            await self.versions.load(at)
            return await self.backfill.cold(at, self._cooling, self._partly, known)
        if not self.versions.loaded:
            await self.versions.load(known.at)
        return await self.backfill.gap(known, at, self._cooling)

    async def _previewed(self, at: float) -> Replayed:
        """A cold start that takes long, behind what can be told meanwhile; and all that happened while it took."""
        from rollback_console.engine.preview import Preview

        def show(words: str) -> None:
            self.notice = words or self.notice
            self._regroup()
            self.publish()

        preview = Preview(self.sampler, self.backfill, self.board, self.clock, self._cooling, show)

        def tell(notice: str, replayed: Replayed, settled: Set[int]) -> None:
            new = {index for index in settled if preview.leave(index) or index not in self.board.verdicts}
            self._partly(notice, replayed, new)

        await self.versions.load(at)
        looking = asyncio.create_task(preview.run(at, self.aligned))
        try:
            found = await self.backfill.cold(at, self._cooling, tell, glimpse=preview.begin)
            now = self.aligned(self.clock.now())
            while at + ON_GRID < now <= at + self.options.lookback_s:
                found.go_on(await self.backfill.gap(Known(at, found.memories), now, self._cooling))
                at, now = now, self.aligned(self.clock.now())
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)  # a preview that failed has shown nothing, no more
        return found

    def _partly(self, notice: str, replayed: Replayed, settled: Set[int]) -> None:
        """A round of a back-fill is done. At the first start, what is certain is shown while the rest is read."""
        self.notice = notice
        if self.evaluated_at is None and settled:
            for index in settled:
                before, verdict = replayed.before[index], replayed.verdicts[index]
                self.board.put(index, before, verdict, replayed.memories[index])
            self._regroup()
        self.publish()

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
        self.publish()  # seen before it is written: a disk may be slow
        await self._open()
        if self.chronicle is not None and self.recording:
            after = known.at if known.memories else self._recorded
            await self._flush(self.chronicle.replayed(replayed, after), replayed.at)

    async def _open(self) -> None:
        """Open a journal that was to wait for the first states. Tried again at the next start where it cannot be."""
        if self._opens is not None:
            self._keep(await self._opens())
            self._opens = None
            self.fold()
            self._try_to_record()

    async def _record(self, tick: Tick, verdicts: Sequence[Verdict], changed: Sequence[Decided]) -> None:
        if self.chronicle is not None and self.recording:
            await asyncio.sleep(0)
            await self._flush(self.chronicle.live(tick, verdicts, changed), tick.at)

    # -- following another process ------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Another process records: show what it decided; take over when its lock is free."""
        self.fold()
        if self._try_to_record():
            self.notice = ""
            await self.step(self.aligned(self.clock.now()))
            return
        due = (self.evaluated_at or 0.0) + self.options.step_s + self.options.delay_s
        if await self._take_live():
            if self.shared is not None:
                self.shared.following = False
        elif self.shared is not None and await self.shared.follow():
            pass  # who records here follows another by the hub: so does this
        elif self.clock.now() >= due + self.options.step_s:
            await self.step(self.aligned(self.clock.now()))  # nothing to follow: evaluate, and write nothing
        self.publish()

    async def _take_live(self) -> bool:
        """Show the recorder's newest evaluation. False where it left none that fits this configuration, or hangs."""
        if self.writer is None:
            return False
        from rollback_console.engine.live import live_state

        try:
            with self.writer.journal.without_waiting():
                found = live_state(self.writer.journal, self.rules)
        except JournalBusy:
            return False
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
        await self.take_over(tick, memories)
        if not self.versions.loaded:
            if first:
                self.publish()  # who released what is said a moment later
            await self.versions.load(tick.at, retry=True)
        self.note_versions(tick)

    async def take_over(self, tick: Tick, memories: Sequence[TriggerMemory]) -> None:
        """Judge another's tick with the memories that it was judged with there, whole or not at all."""
        done: list[tuple[int, TriggerMemory, Verdict, TriggerMemory]] = []
        for index, observation in enumerate(tick.observations):
            if index % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
            before = memories[index]
            verdict, after = decide(self.rules[index], observation, before, cooling=self._cooling(index, tick.at))
            done.append((index, before, verdict, after))
        for index, before, verdict, after in done:
            self.board.put(index, before, verdict, after)
            self.board.trace(index, (tick.observations[index],))
        self.evaluated_at, self.notice = tick.at, ""

    def note_versions(self, tick: Tick) -> None:
        """Take note of what served at a tick that was made elsewhere, and group again."""
        for index, observation in enumerate(tick.observations):
            self.versions.note(index, tick.at, observation.version)
        self._regroup()

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

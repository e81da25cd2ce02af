"""Runs plans: intent in the journal, durably, before each touch; outcome after; resumable from any point.

What crashes leave behind is told from the journal and the world together: an intent without an outcome is looked up in
the world before anything is done again. One case stays open in MLflow, which keeps no history: a move whose outcome was
lost, undone by somebody else before anybody saw it, looks like a move that never happened, and resume makes it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random as randoms
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Literal

import rfc8785

from rollback_console.clock import Clock
from rollback_console.errors import (
    BackendError,
    BackendRefused,
    BackendUnreachable,
    ConsoleError,
    LockHeld,
    PreflightFailed,
    Refused,
    UsageError,
)
from rollback_console.execute.fold import KINDS, STEPS, History, executions, histories, plan_of
from rollback_console.execute.locks import DeploymentLock, LockOf, TeamLock, words
from rollback_console.execute.plan import phrase as phrase_of
from rollback_console.execute.plan import plan_bytes, plan_digest
from rollback_console.execute.preflight import check_not_current, check_not_expired
from rollback_console.execute.protocol import Driver
from rollback_console.execute.run import Aborted, NotConfirmed, Observer, OnJournal, Run, here
from rollback_console.execute.steps import Result, Steps
from rollback_console.journal.entry import Recorder
from rollback_console.journal.kinds import PersonSignature, Refusal, Requested
from rollback_console.journal.merged import told
from rollback_console.journal.redact import free
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, Plan

POLL_S = 5.0
LOCK_S = 300.0
_TRIES = 3  # of a step whose backend does not answer, 2 s and 4 s apart
_NOT_GATING = ("tag", "unlock")  # their failure is said, and does not undo or hold up the rest
_AGAIN_ON_RESUME = ("lock", "compare")  # where is the world now, whatever it was then

Signer = Callable[[bytes], PersonSignature | Awaitable[PersonSignature]]
Ending = Literal["done", "not confirmed", "failed", "aborted"]


def statement(execution: str, plan: Plan, phrase: str, reason: str, at: float, *, planned: bool = False) -> bytes:
    """What the requester signs, RFC 8785 JSON: this plan, for this one execution, until it expires; and, where it is
    one, that it is a planned switch."""
    return rfc8785.dumps(
        {
            "schema": "rollback-console/request/v1",
            "execution": execution,
            "plan": plan.digest,
            "phrase": phrase,
            "reason": reason,
            "at": round(at, 3),
            "expires_at": round(plan.expires_at, 3),
            **({"planned": True} if planned else {}),
        }
    )


class Runner:
    """Starts, resumes and aborts executions on one journal.

    `drivers` by name; `lock_of` makes the local lock of `environment/name`; `on_change` gets every execution whenever
    it changes (on the event loop); `on_journal` runs what blocks on the journal (`Writer.run`: off the event loop, in
    order with what the engine writes); ids come from `random` (a drill's is seeded). Whether the operator *may* is
    asked by the caller; what is gated here is the plan, the world, the locks and the typed phrase.
    """

    def __init__(
        self,
        journal: Recorder,
        drivers: Mapping[str, Driver],
        clock: Clock,
        observer: Observer,
        *,
        lock_of: LockOf,
        on_change: Callable[[Execution], None] = lambda execution: None,
        random: randoms.Random | None = None,
        rehearsal: bool = False,
        poll_s: float = POLL_S,
        lock_s: float = LOCK_S,
        on_journal: OnJournal = here,
    ) -> None:
        self._journal = journal
        self._drivers = drivers
        self._clock = clock
        self._observer = observer
        self._lock_of = lock_of
        self._on_change = on_change
        self._random = random or secrets.SystemRandom()
        self._rehearsal = rehearsal
        self._poll_s = poll_s
        self._lock_s = lock_s
        self._on_journal = on_journal
        self._runs: dict[str, Run] = {}

    # What others call

    def follow(self, journal: Recorder, lock_of: LockOf) -> None:
        """From here on another journal is written, which holds what this one held: an emergency journal's stand-in."""
        self._journal, self._lock_of = journal, lock_of

    async def start(
        self, plan: Plan, operator: str, reason: str, phrase: str, sign: Signer | None = None, *, planned: bool = False
    ) -> str:
        """Journal the request and begin; returns the execution's id. The rest runs as a task: `wait` for it.

        `sign` signs the request as the person at the console (`PersonKey.signer`); `planned`: a planned switch, not a
        remedy. Raises PreflightFailed, LockHeld or
        UsageError (each journaled as a refusal, nothing touched), JournalUnwritable, BackendError.
        """
        reason = free(reason, frozenset({operator}))  # before it is signed: what is signed is never changed
        lock = self._lock_of(str(plan.deployment))
        execution = f"ex-{self._random.getrandbits(48):012x}"
        try:
            self._check_asked(plan, reason, phrase)
            await self._take(lock, plan.deployment, f"{execution} by {operator or 'unknown'}")
            await self._check_nothing_left(plan)
            await self._check_world(plan)
        except (Refused, UsageError) as error:
            lock.release()
            await self._refuse("execute", str(plan.deployment), operator, error)
            raise
        except BaseException:
            lock.release()
            raise
        try:
            run = await self._request(plan, operator, reason, phrase, execution, lock, sign, planned=planned)
        except BaseException:
            lock.release()
            raise
        self._begin(run)
        return execution

    async def resume(self, execution: str, operator: str = "") -> None:
        """Go on with an unfinished execution where the journal says it stopped, as a task: `wait` for it.

        Raises LockHeld when somebody runs it, Refused when it has ended, UsageError when there is none of that id.
        """
        history, plan = await self._unfinished(execution)
        lock = self._lock_of(history.deployment)
        try:
            await self._take(lock, plan.deployment, f"{execution}, resumed by {operator or 'unknown'}")
            history, plan = await self._unfinished(execution)  # again, now that nobody else can be at it
        except LockHeld as error:
            await self._refuse("resume", history.deployment, operator, error)
            raise
        except BaseException:
            lock.release()
            raise
        self._begin(Run(plan, history, self._journal, lock, self._on_change, operator, self._on_journal))

    async def wait(self, execution: str) -> Execution:
        """Until the task of `start` or `resume` is over. Raises what stopped it short of its end (JournalError,
        BackendError); it is then unfinished and can be resumed."""
        run = self._runs.get(execution)
        if run is None or run.task is None:
            return await self._find(execution)
        return await asyncio.shield(run.task)

    async def abort(self, execution: str, operator: str, reason: str) -> Execution:
        """Stop before the next touch, and say what stands as it is; nothing is undone. A running one of this process
        ends its step first; an unfinished one is closed. Raises LockHeld when another process runs it, Refused when
        it has ended."""
        run = self._runs.get(execution)
        if run is not None and run.task is not None and not run.task.done():
            run.stop(operator, reason)
            return await asyncio.shield(run.task)
        history, plan = await self._unfinished(execution)
        lock = self._lock_of(history.deployment)
        try:
            await self._take(lock, plan.deployment, f"{execution}, aborted by {operator or 'unknown'}")
            history, plan = await self._unfinished(execution)
            run = Run(plan, history, self._journal, lock, self._on_change, operator, self._on_journal)
            run.stop(operator, reason)
            await self._finish(run, self._steps(run), "aborted", f"aborted by {operator or 'unknown'}: {reason}")
            return run.execution()
        except LockHeld as error:
            await self._refuse("abort", history.deployment, operator, error)
            raise
        finally:
            lock.release()

    def executions(self) -> tuple[Execution, ...]:
        """All of this journal, oldest first; this process's running ones as it knows them."""
        folded = executions(told(self._journal, KINDS), self._journal.get_blob, self.lock_free)
        live = {name: run for name, run in self._runs.items() if run.task is not None and not run.task.done()}
        return tuple(live[item.id].execution() if item.id in live else item for item in folded)

    def lock_free(self, deployment: DeploymentId) -> bool:
        """Whether nobody on this machine executes on it."""
        return self._lock_of(str(deployment)).holder() is None

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of what this process executes now."""
        return tuple(name for name, run in self._runs.items() if run.task is not None and not run.task.done())

    async def close(self) -> None:
        """Stop all tasks where they are; what they were at is unfinished, and offered for resume by the next start."""
        tasks = [run.task for run in self._runs.values() if run.task is not None and not run.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Before the first touch

    def _check_asked(self, plan: Plan, reason: str, phrase: str) -> None:
        expected = phrase_of(plan, rehearsal=self._rehearsal)
        if phrase != expected:
            raise UsageError(f"what was typed is not {expected!r}", "type it exactly; nothing was touched")
        if not reason.strip():
            raise UsageError("an execution needs a reason", "say in one line why")
        if plan.driver not in self._drivers:
            raise UsageError(f"no driver is called {plan.driver}", f"there are: {', '.join(sorted(self._drivers))}")
        if plan_digest(plan) != plan.digest:
            raise PreflightFailed("the plan is not the one its digest names", "plan again")
        if not plan.executable:
            failing = [check.detail for check in plan.checks if check.ok is not True]
            raise PreflightFailed("; ".join(failing) or "the plan was never checked", "plan again")

    async def _check_nothing_left(self, plan: Plan) -> None:
        """With the lock in hand: whatever else has not ended on this deployment was left by a process that is gone."""
        found = await self._on_journal(lambda: histories(told(self._journal, KINDS)))
        for left in found.values():
            if left.ended is None and left.deployment == str(plan.deployment):
                whose = f"{left.asked.execution} by {left.request.operator or 'unknown'}"
                raise PreflightFailed(
                    f"{whose} on {plan.deployment} is unfinished",
                    f"rollback-console resume {left.asked.execution}, or abort it",
                )

    async def _check_world(self, plan: Plan) -> None:
        """The checks once more, now: minutes may lie between the plan and the typed phrase."""
        checks = (
            check_not_expired(plan, self._clock.now()),
            check_not_current(plan),
            *await self._drivers[plan.driver].preflight(plan),
        )
        failing = [check.detail for check in checks if check.ok is not True]
        if failing:
            raise PreflightFailed("; ".join(failing), "plan again; nothing was touched")

    async def _take(self, lock: DeploymentLock, deployment: DeploymentId, note: str) -> None:
        if not lock.try_acquire(note):
            holder = lock.holder()
            who = words(holder) if holder is not None else "another process"
            raise LockHeld(f"{who} is executing on {deployment}", "watch it there, or wait")
        if isinstance(lock, TeamLock):
            try:
                await lock.share()
            except BaseException:
                lock.release()
                raise

    async def _refuse(self, act: str, deployment: str, operator: str, error: ConsoleError) -> None:
        body = Refusal(act=act, rule=error.message, who_could=error.next_step)
        await self._on_journal(lambda: self._journal.append(body, deployment=deployment, operator=operator))

    async def _request(
        self, plan: Plan, operator: str, reason: str, phrase: str, execution: str, lock: DeploymentLock,
        sign: Signer | None, *, planned: bool,
    ) -> Run:  # fmt: skip
        """The request in the journal, durably, before anything else."""
        said = statement(execution, plan, phrase, reason, self._clock.now(), planned=planned)
        signed = sign(said) if sign is not None else None
        person = await signed if isinstance(signed, Awaitable) else signed
        data = plan_bytes(plan)
        asked = Requested(
            execution=execution, plan=plan.digest, plan_blob=hashlib.sha256(data).hexdigest(), phrase=phrase,
            reason=reason, person=person, against=plan.against, planned=planned,
        )  # fmt: skip
        items = [(asked, str(plan.deployment), operator)]
        (entry,) = await self._on_journal(lambda: self._journal.append_all(items, [data]))
        return Run(plan, History(entry, asked), self._journal, lock, self._on_change, operator, self._on_journal)

    async def _unfinished(self, execution: str) -> tuple[History, Plan]:
        history = (await self._on_journal(lambda: histories(told(self._journal, KINDS)))).get(execution)
        if history is None:
            raise UsageError(f"no execution {execution} in this journal", "rollback-console executions")
        if history.ended is not None:
            raise Refused(f"{execution} has ended: {history.ended[1].state}", "plan a new one")
        plan = await self._on_journal(lambda: plan_of(history, self._journal.get_blob))
        if plan_digest(plan) != plan.digest or plan.driver not in self._drivers:
            raise Refused(f"{execution} cannot go on: {plan.why_target}", "abort it, and plan again")
        return history, plan

    async def _find(self, execution: str) -> Execution:
        found = next((item for item in await self._on_journal(self.executions) if item.id == execution), None)
        if found is None:
            raise UsageError(f"no execution {execution} in this journal", "rollback-console executions")
        return found

    # The run

    def _begin(self, run: Run) -> None:
        self._runs[run.id] = run
        run.task = asyncio.get_running_loop().create_task(self._run(run), name=f"execution {run.id}")
        run.task.add_done_callback(_retrieve)
        run.changed()

    def _steps(self, run: Run) -> Steps:
        driver = self._drivers[run.plan.driver]
        return Steps(driver, self._observer, self._clock, poll_s=self._poll_s, lock_s=self._lock_s)

    async def _run(self, run: Run) -> Execution:
        steps = self._steps(run)
        try:
            state, detail = await self._walk(run, steps)
            await self._finish(run, steps, state, detail)
            return run.execution()
        finally:
            run.lock.release()
            if run.history.ended is None:
                self._on_change(run.execution(alive=False))

    async def _walk(self, run: Run, steps: Steps) -> tuple[Ending, str]:
        """Every step up to the verification; how it ended, and a sentence."""
        said: list[str] = []
        try:
            for name, _ in STEPS:
                last = run.history.outcome(name)
                settled = last is not None and last[1].state == "done"
                if name == "unlock" or (settled and name not in _AGAIN_ON_RESUME):
                    continue
                run.check_abort()
                problem = await self._step(run, steps, name)
                if problem:
                    said.append(problem)
        except Aborted as error:
            return "aborted", error.message
        except NotConfirmed as error:
            return "not confirmed", error.message
        except (Refused, BackendRefused) as error:
            return "failed", error.message
        confirmed = run.history.outcome("signals")
        detail = confirmed[1].detail if confirmed is not None else ""
        serving = run.history.outcome("serving")
        where = "registry and serving" if serving is not None and serving[1].state == "done" else "the registry"
        return "done", "; ".join([f"{where} at v{run.plan.to_version}, signals recovered: {detail}", *said])

    async def _step(self, run: Run, steps: Steps, name: str) -> str:
        """Intent, touch, outcome. Returns "" or what a step that holds up nothing could not do."""
        attempt = await run.intent(name, steps.announce(name, run))
        try:
            result = await self._patiently(run, steps, name)
        except Aborted:
            await run.outcome(name, "skipped", "aborted while waiting", attempt)
            raise
        except (Refused, NotConfirmed) as error:
            await run.outcome(name, "failed", error.message, attempt)
            raise
        except BackendError as error:
            if name == "set" and not isinstance(error, BackendRefused):
                raise  # whether it took effect is unknown: no outcome, and resume looks
            await run.outcome(name, "failed", str(error), attempt)
            if name in _NOT_GATING:
                return f"the step {name} failed: {error.message}"
            raise
        await run.outcome(name, "skipped" if result.skipped else "done", result.detail, attempt)
        return ""

    async def _patiently(self, run: Run, steps: Steps, name: str) -> Result:
        """The step, again where the backend did not answer: each looks before it touches, so again is still once."""
        for tried in range(1, _TRIES):
            try:
                return await steps.do(name, run)
            except BackendUnreachable as error:
                run.say(name, f"{error.message}; trying again ({tried} of {_TRIES - 1})")
                await self._clock.sleep(2.0**tried)
        return await steps.do(name, run)

    async def _finish(self, run: Run, steps: Steps, state: Ending, detail: str) -> None:
        """Free the advisory lock, and record the end with what stands as it is."""
        if run.history.intents("lock"):
            await self._step(run, steps, "unlock")
        if state != "done":
            detail = f"{detail}. {await self._stands(run)}"
        await run.end(state, detail)

    async def _stands(self, run: Run) -> str:
        """What is so now: where the pointer is, and what was not done."""
        plan = run.plan
        current: str | None = None
        known = False
        with suppress(BackendError):
            current = await self._drivers[plan.driver].current(run.pointer)
            known = True
        moved = run.history.done("set") is not None
        if not known:
            did = "was set" if moved else ("may have been set" if run.history.intents("set") else "was not touched")
            return f"As it stands: {plan.alias} {did} by this execution, and the registry cannot be asked now"
        where = f"points to v{current}" if current is not None else "is gone"
        ours = "set by this execution, nothing is undone" if moved else "not touched by this execution"
        if not moved and run.history.intents("set"):
            ours = "this execution may have set it"
        return f"As it stands: {plan.alias} {where}, {ours}"


def _retrieve(task: asyncio.Task[Execution]) -> None:
    """Look at the task's exception, so that asyncio does not print it on the screen when nobody waits."""
    if not task.cancelled():
        task.exception()

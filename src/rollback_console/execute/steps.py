"""The steps of an execution. Each looks at the world before it touches it, so that doing it again does it once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from rollback_console.clock import Clock
from rollback_console.errors import BackendError, LockHeld, PreflightFailed, WorldChanged
from rollback_console.execute.locks import TeamLock
from rollback_console.execute.marks import bad_tags, rollback_tags, utc
from rollback_console.execute.protocol import Driver
from rollback_console.execute.run import NotConfirmed, Observer, RecoveryState, Run
from rollback_console.journal.kinds import PointerMoved
from rollback_console.model.text import plain, span
from rollback_console.model.value import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a step: done, or skipped with its reason."""

    detail: str
    skipped: bool = False


class Steps:
    """The steps by name, for one driver. `poll_s` between looks while waiting, `lock_s` how long the advisory lock
    holds before it must be renewed."""

    def __init__(self, driver: Driver, observer: Observer, clock: Clock, *, poll_s: float, lock_s: float) -> None:
        self._driver = driver
        self._observer = observer
        self._clock = clock
        self._poll_s = poll_s
        self._lock_s = lock_s
        self._by_name: dict[str, Callable[[Run], Awaitable[Result]]] = {
            "lock": self._lock,
            "compare": self._compare,
            "set": self._set,
            "registry": self._registry,
            "tag": self._tag,
            "serving": self._serving,
            "signals": self._signals,
            "unlock": self._unlock,
        }

    async def do(self, name: str, run: Run) -> Result:
        """One step. Raises Refused (the world, a lock, the plan), NotConfirmed, Aborted, BackendError."""
        return await self._by_name[name](run)

    def announce(self, name: str, run: Run) -> str:
        """The intent's words: what is about to be done."""
        plan, now = run.plan, self._clock.now()
        if name == "signals":
            return self._verifying(run, max(self._since(run), now))
        return {
            "lock": f"take the advisory lock on {plan.model} for {span(self._lock_s)}",
            "compare": f"read {plan.alias} of {plan.model}: it must name v{plan.from_version}",
            "set": f"point {plan.alias} of {plan.model} from v{plan.from_version} to v{plan.to_version}",
            "registry": f"read {plan.alias} of {plan.model} again: it must name v{plan.to_version}",
            "tag": f"tag v{plan.from_version} of {plan.model} as rolled back from",
            "serving": f"wait until serving reports v{plan.to_version}, at most {span(plan.verify_within_s)}",
            "unlock": f"free the advisory lock on {plan.model}",
        }[name]

    # Touches and looks

    async def _lock(self, run: Run) -> Result:
        await self._hold(run)
        team = f"; across the team: {run.lock.words}" if isinstance(run.lock, TeamLock) else ""
        return Result(f"held until {utc(run.lock_until)}; advisory: only tools that look at it heed it{team}")

    async def _hold(self, run: Run) -> None:
        until = self._clock.now() + self._lock_s
        other = await self._driver.hold_lock(run.pointer, run.holder, until)
        if other is not None:
            raise LockHeld(f"{plain(other)} holds the advisory lock on {run.plan.model}", "wait for it, or ask them")
        run.lock_until = until

    async def _compare(self, run: Run) -> Result:
        plan = run.plan
        current = await self._driver.current(run.pointer)
        tried = bool(run.history.intents("set"))
        if run.history.done("set") is not None:
            if current == plan.to_version:
                return Result(f"{plan.alias} names v{current}, where this execution had set it")
            raise await self._changed(
                run, current, f"this execution had set it to v{plan.to_version}; it is not set again"
            )
        if current == plan.from_version:
            if tried and (seen := await self._seen(run, plan.to_version)):
                raise await self._changed(
                    run, current, f"it was seen at v{plan.to_version} at {seen}; it is not set again"
                )
            return Result(f"{plan.alias} names v{current}, as planned")
        if current == plan.to_version and tried:
            return Result(f"{plan.alias} names v{current} already: the move took effect before the stop")
        raise await self._changed(run, current, f"the plan starts from v{plan.from_version}; nothing was set")

    async def _set(self, run: Run) -> Result:
        plan = run.plan
        if isinstance(run.lock, TeamLock) and (who := await run.lock.lost()):
            raise LockHeld(f"{plain(who)} has the team's lease on {plan.deployment} by now", "nothing was set here")
        # Read once more, right before: MLflow has no compare-and-set, this makes the race as narrow as it gets.
        current = await self._driver.current(run.pointer)
        if current == plan.to_version:
            return Result(f"{plan.alias} names v{current} already; nothing was written")
        if current != plan.from_version:
            raise await self._changed(run, current, "somebody moved it after it was compared; nothing was set")
        if self._clock.now() >= plan.expires_at:
            raise PreflightFailed(
                f"the plan expired at {utc(plan.expires_at)}, before the pointer was set", "plan again"
            )
        await self._driver.move(run.pointer, plan.to_version)
        return Result(f"{plan.alias} was pointed from v{plan.from_version} to v{plan.to_version}")

    async def _registry(self, run: Run) -> Result:
        plan = run.plan
        current = await self._driver.current(run.pointer)
        if current != plan.to_version:
            raise await self._changed(
                run, current, f"this execution had set it to v{plan.to_version}; it is not set again"
            )
        others = await self._others(run)
        note = (
            f"; in between somebody else had it at {', '.join(others)}: this pointer has another hand" if others else ""
        )
        return Result(f"the registry says v{current}{note}")

    async def _tag(self, run: Run) -> Result:
        plan, request = run.plan, run.history.request
        tags = rollback_tags(run.id, plan.from_version, plan.to_version, request.at, request.operator)
        await self._driver.mark(plan.model, plan.from_version, tags)
        return Result(f"v{plan.from_version} is tagged as rolled back from")

    async def _unlock(self, run: Run) -> Result:
        await self._driver.free_lock(run.pointer, run.holder)
        return Result("freed")

    # Waiting

    async def _serving(self, run: Run) -> Result:
        plan = run.plan
        if not self._observer.can_tell_serving(plan.deployment):
            return Result("the policy names no way to ask serving; the registry alone is confirmed", skipped=True)
        moved = run.history.done("set")
        start = moved[0].at if moved is not None else self._clock.now()
        deadline = start + plan.verify_within_s
        while True:
            version = await self._observer.serving_version(plan.deployment)
            if version == plan.to_version:
                return Result(f"serving reports v{version}, {span(self._clock.now() - start)} after the move")
            says = f"serving still reports v{version}" if version is not None else "serving cannot be asked now"
            if self._clock.now() >= deadline:
                limit = span(plan.verify_within_s)
                raise NotConfirmed(
                    f"the registry says v{plan.to_version}, {says} after {limit}: does serving follow {plan.alias}, or"
                    " does it need a restart?"
                )
            run.say("serving", f"{says}, waiting for v{plan.to_version} until {_clock_face(deadline)}")
            await self._wait(run)

    async def _signals(self, run: Run) -> Result:
        plan = run.plan
        since = self._since(run)
        soonest, deadline = since + plan.verify_for_s, since + plan.verify_within_s
        while True:
            recovery = await self._observer.recovered(plan.deployment, since)
            now = self._clock.now()
            if recovery.state is RecoveryState.CONFIRMED and now >= soonest:
                marked = await self._brand(run)
                return Result("; ".join([recovery.detail or f"healthy for {span(now - since)}", marked]))
            if recovery.state is RecoveryState.FAILED or now >= deadline:
                late = f"not recovered within {span(plan.verify_within_s)}"
                said = recovery.detail or "no evidence either way"
                words = said if recovery.state is RecoveryState.FAILED else f"{late}: {said}"
                raise NotConfirmed(words)
            more = f"; {recovery.detail}" if recovery.detail and recovery.state is RecoveryState.VERIFYING else ""
            run.say("signals", self._verifying(run, now) + more)
            await self._wait(run)

    async def _brand(self, run: Run) -> str:
        """Mark the version rolled back from as known bad, now that the signals say that it was; in words. What was done
        against advice says nothing of the version, and a mark that cannot be written undoes no confirmation."""
        plan, request = run.plan, run.history.request
        if plan.against:
            return f"v{plan.from_version} is not marked as known bad: this was done against advice"
        try:
            await self._driver.mark(plan.model, plan.from_version, bad_tags(run.id, request.at))
        except BackendError as error:
            return f"v{plan.from_version} could not be marked as known bad: {error.message}"
        return f"v{plan.from_version} is marked as known bad"

    async def _wait(self, run: Run) -> None:
        """Between two looks: is the pointer still ours, is the lock still held."""
        await run.pause(lambda seconds: asyncio.ensure_future(self._clock.sleep(seconds)), self._poll_s)
        try:
            current = await self._driver.current(run.pointer)
            if self._clock.now() >= run.lock_until - self._lock_s / 2:
                await self._hold(run)
        except BackendError:
            return  # a look that failed is no news: the next one tells
        if current != run.plan.to_version:
            raise await self._changed(
                run, current, f"this execution had set it to v{run.plan.to_version}; it is not set again"
            )

    def _since(self, run: Run) -> float:
        """When serving began to report the target; where serving cannot be asked, when the pointer was set."""
        for step in ("serving", "set"):
            if (done := run.history.done(step)) is not None:
                return done[0].at
        return self._clock.now()

    def _verifying(self, run: Run, now: float) -> str:
        since = self._since(run)
        earliest = max(since + run.plan.verify_for_s, self._observer.earliest(run.plan.deployment, since))
        deadline = since + run.plan.verify_within_s
        if now >= earliest:
            return f"verifying, until {_clock_face(deadline)} at the latest"
        ends = f", and ends at {_clock_face(deadline)}" if earliest > deadline else ""
        return f"verifying, cannot confirm before {_clock_face(earliest)}{ends}"

    # What the journal knows of other hands

    async def _moves(self, run: Run) -> list[PointerMoved]:
        """Pointer moves that were recorded since this execution first compared."""
        begun = run.history.intents("compare")
        return await run.moves(begun[0][0].seq if begun else run.history.request.seq)

    async def _seen(self, run: Run, version: str) -> str:
        """When the journal saw the pointer at `version` since, or ""."""
        return next((utc(move.at) for move in await self._moves(run) if move.after == version), "")

    async def _others(self, run: Run) -> list[str]:
        ours = (run.plan.from_version, run.plan.to_version)
        return [f"v{move.after} ({utc(move.at)})" for move in await self._moves(run) if move.after not in ours]

    async def _changed(self, run: Run, current: str | None, then: str) -> WorldChanged:
        where = f"points to v{plain(current)}" if current is not None else "is gone"
        by = next((f", as seen at {utc(m.at)}" for m in reversed(await self._moves(run)) if m.after == current), "")
        return WorldChanged(
            f"{run.plan.alias} of {run.plan.model} {where}{by}: {then}", "look who moved it, then plan again"
        )


def _clock_face(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")

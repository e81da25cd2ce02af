"""Every act an operator can do, done: gated here whatever the screen thought, journaled, and a no has its reason."""

from __future__ import annotations

import asyncio
import difflib
import random as randoms
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from rollback_console.actions import BY_ID, Context
from rollback_console.authorize.keys import LockedKey
from rollback_console.authorize.roles import Authority
from rollback_console.engine import claims
from rollback_console.engine.advice import advice_against
from rollback_console.engine.checks import run_check
from rollback_console.engine.declaring import Declaring
from rollback_console.engine.judging import Judging
from rollback_console.engine.locate import alerting
from rollback_console.engine.loop import Engine
from rollback_console.engine.recovery import RecoveryObserver
from rollback_console.engine.service import served_history
from rollback_console.engine.summary import summarize
from rollback_console.engine.walking import Walking
from rollback_console.errors import (
    InputError,
    JournalError,
    NotAuthorized,
    PreflightFailed,
    Refused,
    UsageError,
)
from rollback_console.execute.adopt import adopt
from rollback_console.execute.locks import LockOf
from rollback_console.execute.marks import KNOWN_BAD_TAG
from rollback_console.execute.plan import make_plan, phrase, with_checks
from rollback_console.execute.preflight import preflight
from rollback_console.execute.protocol import Driver, Pointer
from rollback_console.execute.runner import Runner
from rollback_console.execute.target import NoTarget, Target, last_known_good, named
from rollback_console.journal.body import rules_of
from rollback_console.journal.create import writable
from rollback_console.journal.kinds import Adopted, AutomaticRecorded, Body, Claimed, Note, Ordered, Refusal, Snoozed
from rollback_console.journal.merged import told
from rollback_console.journal.persons import BY_BODY, statement
from rollback_console.journal.redact import clean, free
from rollback_console.model.automatic import Announcement, AutomaticState
from rollback_console.model.identity import DeploymentId
from rollback_console.model.operator import Permission
from rollback_console.model.plan import Execution, Plan
from rollback_console.model.rules import DeploymentRule, RecoveryPath
from rollback_console.model.walk import CheckResult
from rollback_console.runbook.library import Library

if TYPE_CHECKING:
    from rollback_console.journal.emergency import StandIn

_T = TypeVar("_T")
_MAX_NOTE = 4_000
LAST_KNOWN_GOOD = "last_known_good"


class Acts(Declaring, Judging, Walking):
    """Implements `commands.Commands` over an engine. Raises `ConsoleError` with its reason when an act is not done."""

    def __init__(
        self,
        engine: Engine,
        authority: Authority,
        drivers: Mapping[str, Driver],
        lock_of: LockOf,
        library: Library,
        *,
        random: randoms.Random | None = None,
        set_speed: Callable[[float], None] | None = None,
        poll_s: float = 5.0,
    ) -> None:
        self.engine = engine
        self.authority = authority
        self.library = library
        self._drivers = dict(drivers)
        self._lock_of = lock_of
        self._random: randoms.Random = random or secrets.SystemRandom()
        self._set_speed = set_speed
        self._locked: LockedKey | None = None
        self._emergency: StandIn | None = None
        self.tell_team: claims.Tell = claims.nobody_to_tell  # set, like the next, by whoever put the console together
        self.on_close: Callable[[], Awaitable[None]] | None = None  # set by whoever put the console together
        self._runner: Runner | None = None
        if engine.writer is not None:
            self._runner = Runner(
                engine.writer.journal,
                self._drivers,
                engine.clock,
                RecoveryObserver(engine),
                lock_of=lock_of,
                on_change=self._changed,
                random=self._random,
                rehearsal=engine.options.simulated,
                poll_s=poll_s,
                on_journal=self._do,
            )

    @property
    def runner(self) -> Runner:
        if self._runner is None:
            raise Refused("there is no journal to record it in", "name one with --journal")
        return self._runner

    # -- looking ------------------------------------------------------------------------------------------------------

    async def focus(self, deployment: DeploymentId | None) -> None:
        await self.engine.look_at(deployment)

    def find(self, text: str) -> DeploymentId:
        """`environment/name`, or a bare name where it is unique. Raises UsageError with what there is."""
        names = [name for name in self.engine.index if text in (str(name), name.name)]
        if len(names) == 1:
            return names[0]
        if names:
            raise UsageError(f"{text} is in several environments", "say which: " + ", ".join(map(str, names[:5])))
        near = difflib.get_close_matches(
            text, [str(n) for n in self.engine.index] + [n.name for n in self.engine.index]
        )
        hint = f"did you mean {near[0]}?" if near else "`rollback-console status` lists the fleet"
        raise UsageError(f"no policy names {text}", hint)

    async def check(self, promql: str, deployment: DeploymentId | None) -> CheckResult:
        """Ask a runbook's query as of the evaluation on the screen. Looking needs no permission."""
        engine, index = self.engine, self.engine.index.get(deployment) if deployment is not None else None
        rule = engine.rules[index] if index is not None else None
        return await run_check(engine.metrics, promql, rule, engine.evaluated_at)

    async def locate(self, name: str) -> DeploymentId:
        """The deployment that an active alert of the metric backend is about. Raises with why there is none."""
        order = [view.id for view in self.engine.snapshot().deployments]
        return await alerting(name, self.engine.metrics, self.engine.rules, order)

    async def wait(self, execution: str) -> Execution:
        """Until an execution of this process is over. Raises what stopped it short of its end."""
        return await self.runner.wait(execution)

    def summary(self, deployment: DeploymentId | None = None) -> str:
        return summarize(self.engine.snapshot(), deployment)

    def phrase(self, plan: Plan) -> str:
        return phrase(plan, rehearsal=self.engine.options.simulated)

    async def plan(self, deployment: DeploymentId, path: str | None = None, to: str | None = None) -> Plan:
        """A recovery path bound to the deployment as it is now, with its preflight. Looking needs no permission."""
        rule = self._rule(deployment)
        way = _path_of(rule, path)
        driver = self._driver(way.driver)
        pointer = Pointer(rule.deployment.model, rule.deployment.alias)
        current = await driver.current(pointer)
        if current is None:
            raise PreflightFailed(f"{pointer.model} has no pointer {pointer.alias}", "set it in the registry first")
        target = await self._target(rule, way, current, to)
        now = self.engine.clock.now()
        plan = make_plan(
            rule=rule, path=way, from_version=current, target=target, manual=driver.manual, now=now,
            against=advice_against(self.engine.snapshot(), deployment),
        )  # fmt: skip
        checks = await preflight(plan, driver, rule.deployment, self._lock_of(str(deployment)), now)
        return with_checks(plan, checks)

    async def _target(self, rule: DeploymentRule, path: RecoveryPath, current: str, to: str | None) -> Target:
        if to is not None:
            return named(to.removeprefix("v"), "you")
        if path.target != LAST_KNOWN_GOOD:
            return named(path.target.removeprefix("v"), f"the policy's path {path.name}")
        engine, name = self.engine, rule.deployment.id
        if engine.registry is None:
            raise Refused("no registry is configured", "name a version with --to")
        versions = await engine.registry.versions(rule.deployment.model)
        bad = {v.version: dict(v.tags)[KNOWN_BAD_TAG] for v in versions if KNOWN_BAD_TAG in dict(v.tags)}
        history = await served_history(engine, name, engine.clock.now())
        found = last_known_good(
            current=current, history=history, versions=versions, known_bad=bad, minimum_healthy_s=path.healthy_for_s
        )
        if isinstance(found, NoTarget):
            reasons = "; ".join(f"v{version} {reason}" for version, reason in found.reasons)
            raise PreflightFailed(
                f"{found.why}{': ' + reasons if reasons else ''}",
                "if you know a good one, name it: o on the rollback's screen, --to VERSION on the command line",
            )
        return found

    # -- executing ----------------------------------------------------------------------------------------------------

    async def execute(self, plan: Plan, reason: str, typed: str, *, planned: bool = False) -> str:
        """`planned`: a planned switch, which no rollback rate counts."""
        await self._gate("execute", Permission.ROLLBACK, plan.deployment, plan.authority.request)
        key = self.authority.key
        sign = key.signer if key is not None else None
        execution = await self.runner.start(plan, self._operator, reason, typed, sign, planned=planned)
        self._seen()
        return execution

    async def resume(self, execution: str) -> None:
        found = await self._execution(execution)
        if found.ended_at is not None:
            raise Refused(f"{found.id} has ended: {found.state}", "`rollback-console executions` lists them all")
        await self._gate("resume", Permission.ROLLBACK, found.plan.deployment, found.plan.authority.request)
        await self._append(Ordered(execution=found.id, order="resume"), str(found.plan.deployment))
        await self.runner.resume(execution, self._operator)
        self._seen()

    async def abort(self, execution: str, reason: str) -> None:
        found, why = await self._execution(execution), reason.strip() or "no reason given"
        await self._gate("abort", Permission.ABORT, found.plan.deployment)
        await self._append(Ordered(execution=found.id, order="abort", reason=why), str(found.plan.deployment))
        await self.runner.abort(execution, self._operator, why)
        self._seen()

    async def adopt(self, deployment: DeploymentId, reason: str, *, planned: bool = False) -> None:
        """`planned`: it was a planned switch, which no rollback rate counts."""
        await self._gate("adopt", Permission.ADOPT, deployment)
        rule, engine = self._rule(deployment), self.engine
        if engine.folded is None or not rule.recovery:
            raise Refused("there is nothing to adopt it into", "the policy names no recovery path")
        pointer = Pointer(rule.deployment.model, rule.deployment.alias)
        current = await self._driver(rule.recovery[0].driver).current(pointer)
        await engine.look_at_pointers()
        entries = await self._do(lambda: list(told(self._journal, ("adopt",))))
        adopted = [body for entry in entries if isinstance(body := entry.parsed(), Adopted)]
        key = self.authority.key
        body = adopt(
            rule.deployment, current, engine.folded.moves, engine.folded.executions, adopted,
            free(reason, frozenset({self._operator})),
            key.sign if key is not None else None, planned=planned,
        )  # fmt: skip
        await self._append(body, str(deployment))

    async def break_glass(self, reason: str, place: str = "") -> str:
        await self._gate("break_glass", Permission.BREAK_GLASS, None)
        engine, writer, folded = self.engine, self.engine.writer, self.engine.folded
        if writer is None or folded is None:
            raise Refused("there is no journal to stand in for", "name one with --journal")
        problem, key = engine.snapshot().journal.problem, self.authority.key
        from rollback_console.engine.standin import Whoever, locks_beside, stand_in  # nearly never needed

        who = Whoever(self._operator, key.sign if key is not None else None)
        rehearsal = engine.options.simulated
        journal, path = await writer.run(
            lambda: stand_in(writer.journal, folded.seq, engine.clock, who, place, problem, reason, rehearsal=rehearsal)
        )
        engine.stand_in(journal, path)
        self._lock_of = locks_beside(self._lock_of, journal)
        self.runner.follow(journal, self._lock_of)
        self._emergency = journal
        engine.publish()
        return path

    # -- noting -------------------------------------------------------------------------------------------------------

    async def note(self, text: str, deployment: DeploymentId | None = None) -> None:
        await self._gate("note", Permission.NOTE, deployment)
        words = text.strip()
        if not words:
            raise InputError("the note is empty", "type something worth remembering")
        await self._append(Note(text=words[:_MAX_NOTE]), str(deployment) if deployment else "")

    async def snooze(self, deployment: DeploymentId, seconds: float, reason: str) -> None:
        await self._gate("snooze", Permission.NOTE, deployment)
        if not 0 < seconds <= 86_400:
            raise InputError("a snooze lasts between a second and a day", "choose a shorter one")
        until = self.engine.clock.now() + seconds
        await self._append(Snoozed(until=until, reason=reason.strip() or "no reason given"), str(deployment))

    async def claim(self, deployment: DeploymentId) -> str:
        await self._gate("claim", Permission.NOTE, deployment)
        incident = claims.incident_at(self.engine.with_others(), deployment)
        return await self._claimed(claims.working(incident, self.engine.roles.team(), self._operator), deployment)

    async def command(self, deployment: DeploymentId, reason: str = "") -> str:
        await self._gate("command", Permission.NOTE, deployment)
        incident = claims.incident_at(self.engine.with_others(), deployment)
        return await self._claimed(claims.command(incident, self._operator, reason), deployment)

    async def hand_over(self, deployment: DeploymentId, to: str) -> str:
        await self._gate("hand_over", Permission.NOTE, deployment)
        incident = claims.incident_at(self.engine.with_others(), deployment)
        return await self._claimed(claims.hand_over(incident, self._operator, to), deployment)

    async def _claimed(self, body: Claimed, deployment: DeploymentId) -> str:
        """The team first: it may know that somebody else was quicker."""
        told = await self.tell_team(body, self._operator)
        await self._append(body, str(deployment))
        return claims.said(body, told)

    async def hold(self, deployment: DeploymentId, reason: str) -> Announcement:
        await self._gate("hold", Permission.ABORT, deployment)
        known = self.engine.with_others().announcement(deployment)  # also what another console announced
        if known is None:
            raise Refused(f"nothing is about to happen by itself on {deployment}")
        body = AutomaticRecorded(
            event="held", path=known.path, to_version=known.to_version, due=known.due,
            words=reason.strip() or "no reason given",
        )  # fmt: skip
        await self._append(body, str(deployment))
        return replace(known, state=AutomaticState.HELD, words=body.words, by=self._operator)

    # -- who sits here -----------------------------------------------------------------------------------------------

    def seat(self, authority: Authority, locked: LockedKey | None = None) -> None:
        """Who sits here, and what they may do, is known from now on; `locked` is a key that wants its passphrase."""
        self.authority, self._locked = authority, locked
        waits = f"{locked.path} wants its passphrase: K unlocks it" if locked is not None else ""
        self.engine.identify(
            authority.operator, waits or authority.look_only_reason(), str(locked.path) if locked else ""
        )

    async def unlock(self, passphrase: str) -> None:
        """Open the locked key (off the event loop: its key derivation is slow on purpose)."""
        if self._locked is None:
            raise Refused(
                "no key here waits for its passphrase", "`rollback-console doctor` says where keys are looked for"
            )
        key = await asyncio.to_thread(self._locked.unlock, passphrase)
        self.seat(self.authority.with_key(key))

    # -- the rest -----------------------------------------------------------------------------------------------------

    def set_speed(self, speed: float) -> None:
        if self._set_speed is None:
            raise Refused("the wall's clock has one speed", "speed belongs to rehearsals")
        self._set_speed(speed)
        self.engine.set_speed(speed)
        self.engine.publish()

    async def close(self) -> None:
        """Leave: whoever put the console together closes all of it."""
        if self.on_close is not None:
            await self.on_close()
        else:
            await self.close_acts()

    async def close_acts(self) -> None:
        """Stop what executes (it is then unfinished, and offered for resume), and the engine."""
        if self._runner is not None:
            await self._runner.close()
        await self.engine.close()
        if self._emergency is not None:
            self._emergency.close()

    @property
    def _operator(self) -> str:
        return self.authority.operator.id if self.authority.operator is not None else ""

    async def _gate(
        self, act: str, permission: Permission, deployment: DeploymentId | None, roles: tuple[str, ...] = ()
    ) -> None:
        """The one gate: the act's own `disabled_reason`, then the roster. A no is journaled and raised."""
        reason = BY_ID[act].disabled_reason(Context(self.engine.snapshot(), deployment)) if act in BY_ID else None
        refusal = self.authority.may(permission, deployment.environment if deployment else None, roles=roles)
        if refusal is None and reason is None:
            return
        rule, who = (refusal.rule, refusal.who_could) if refusal is not None else (reason or "", "")
        if self.engine.writer is not None:
            # A no is a no, with its reason, also where it cannot be written down: the header says that beside it.
            with suppress(JournalError):
                await self._append(Refusal(act=act, rule=rule, who_could=who), str(deployment) if deployment else "")
        raise NotAuthorized(rule, who) if refusal is not None else Refused(rule)

    async def _append(self, body: Body, deployment: str) -> None:
        signed = await self._signed(body, deployment)
        await self._do(lambda: self._journal.append(signed, deployment=deployment, operator=self._operator))
        self._seen()

    async def _signed(self, body: Body, deployment: str) -> Body:
        """The body with the person's signature, where its kind carries one and a key is at hand. What is signed is what
        will stand there: redaction goes first."""
        key = self.authority.key
        if key is None or body.kind not in BY_BODY or getattr(body, "person", None) is not None:
            return body
        document = writable(clean(body.model_dump(), rules_of(type(body)), frozenset({self._operator})))
        person = key.signer(statement(body.kind, deployment, document, self.engine.clock.now()))
        document["person"] = (await person if isinstance(person, Awaitable) else person).model_dump()
        return type(body).model_validate(document)

    def _seen(self) -> None:
        self.engine.fold()
        self.engine.publish()

    def _changed(self, execution: Execution) -> None:
        self.engine.executing(execution)

    def _rule(self, deployment: DeploymentId) -> DeploymentRule:
        index = self.engine.index.get(deployment)
        if index is None:
            raise UsageError(f"no policy names {deployment}", "`rollback-console status` lists the fleet")
        return self.engine.rules[index]

    def _driver(self, name: str) -> Driver:
        driver = self._drivers.get(name)
        if driver is None:
            raise Refused(f"no driver is called {name}", f"there are: {', '.join(sorted(self._drivers)) or 'none'}")
        return driver

    async def _execution(self, name: str) -> Execution:
        found = next((e for e in await self._do(self.runner.executions) if e.id == name), None)
        if found is None:
            raise UsageError(f"no execution {name} in this journal", "`rollback-console executions` lists them")
        return found


def _path_of(rule: DeploymentRule, name: str | None) -> RecoveryPath:
    if not rule.recovery:
        raise Refused(f"the policy {rule.policy} names no recovery path for {rule.deployment.id}", "add one")
    if name is None:
        return rule.recovery[0]
    found = next((path for path in rule.recovery if path.name == name), None)
    if found is None:
        raise UsageError(
            f"{rule.deployment.id} has no recovery path {name}",
            "there are: " + ", ".join(p.name for p in rule.recovery),
        )
    return found

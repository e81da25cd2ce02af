"""Mode `act`: a rollback is announced, can be held, and goes by itself if everything still holds when its time is over.

`decide.automatic` says at every evaluation what may be done; this writes it down first, waits, asks again, and hands
the plan to the very runner that executes a person's. Where it stands is folded from the journal, so a start goes on
where the last process stopped: what nobody was there to carry out is withdrawn and, if it is still called for,
announced anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollback_console.decide.automatic import Go, automatic
from rollback_console.decide.guards import Acts
from rollback_console.errors import ConsoleError, Refused
from rollback_console.model.automatic import Announcement, AutomaticState
from rollback_console.model.operator import Permission
from rollback_console.model.rules import DeploymentRule, Mode
from rollback_console.model.verdict import TriggerState

if TYPE_CHECKING:
    from rollback_console.engine.acts import Acts as ActsOf
    from rollback_console.engine.loop import Engine
    from rollback_console.journal.body import PersonSignature
    from rollback_console.model.team import Held

_LATE_STEPS = 4  # what is overdue for so many evaluations was carried out by nobody
_LATE_S = 120.0


def by_policy(rule: DeploymentRule) -> str:
    """Who an automatic execution is by: no operator's id has a space in it."""
    return f"policy {rule.policy}"


class Automatic:
    """Looks at every evaluation that this process records; plans and executes as a person's acts do."""

    def __init__(self, engine: Engine, acts: ActsOf) -> None:
        self._engine, self._acts = engine, acts
        self._numbers = [number for number, rule in enumerate(engine.rules) if rule.mode is Mode.ACT]
        self._looking = False
        engine.after_evaluation = self.look if self._numbers else None

    async def look(self) -> None:
        """Announce, withdraw or carry out, deployment by deployment. Whatever cannot be written down is not done."""
        if self._looking:
            return
        self._looking = True
        try:
            for index in self._numbers:
                await self._one(index)
        except ConsoleError as error:
            self._engine.notice = f"nothing goes by itself now: {error}"
        finally:
            self._looking = False

    async def _one(self, index: int) -> None:
        engine = self._engine
        rule, verdict, folded = engine.rules[index], engine.board.verdicts.get(index), engine.folded
        if verdict is None or folded is None:
            return
        name, now = rule.deployment.id, engine.clock.now()
        known = folded.announced.by_deployment.get(name)
        if known is None and verdict.state is not TriggerState.FIRED:
            return  # nearly all, nearly always: neither releases nor guards are looked at
        incident = next((i for i in engine.incidents if i.closed_at is None and name in i.members), None)
        snoozed = folded.snoozed.get(str(name))
        found = automatic(rule, verdict, incident, facts(engine, index), snoozed_until=snoozed)
        if known is None:
            if isinstance(found, Go):
                after = found.path.authority.automatic_after_s or 0.0
                await self._say(
                    Announcement(
                        name, found.path.name, found.to_version, now, now + after, AutomaticState.ANNOUNCED, found.words
                    ),
                    "announced",
                )
        elif known.state is AutomaticState.ANNOUNCED:
            await self._go_on(rule, known, found, now)

    async def _go_on(self, rule: DeploymentRule, known: Announcement, found: Go | str, now: float) -> None:
        """What was announced: withdrawn where it is no longer so, carried out when its time is over."""
        if (held := self._held_elsewhere(known)) is not None:
            await self._hold(known, held)
        elif isinstance(found, str):
            await self._say(known, "withdrawn", found)
        elif (found.path.name, found.to_version) != (known.path, known.to_version):
            await self._say(known, "withdrawn", f"v{found.to_version} by {found.path.name} is advised now")
        elif now > known.due + max(_LATE_S, _LATE_STEPS * self._engine.options.step_s):
            await self._say(known, "withdrawn", "nobody was there to carry it out in time")
        elif now >= known.due:
            await self._carry_out(rule, known)

    def _held_elsewhere(self, known: Announcement) -> Held | None:
        """Somebody's word by the hub that this very announcement is held, if the roster lets them abort here."""
        team = self._engine.roles.team()
        for held in team.held if team is not None else ():
            same = (held.deployment, held.path, held.to_version, held.due)
            if same == (known.deployment, known.path, known.to_version, round(known.due, 3)):
                from rollback_console.authorize.others import of_other

                environment, roster = known.deployment.environment, self._acts.authority.roster
                now = self._engine.clock.now()
                if of_other(roster, held.operator, held.key, Permission.ABORT, environment, now) is None:
                    return held
        return None

    async def _hold(self, known: Announcement, held: Held) -> None:
        """Their signed entry stands in this journal too."""
        from rollback_console.journal.body import PersonSignature

        person = PersonSignature.model_validate_json(held.person)
        await self._say(known, "held", held.words, person=person, operator=held.operator)

    async def _carry_out(self, rule: DeploymentRule, known: Announcement) -> None:
        try:
            plan = await self._acts.plan(known.deployment, known.path)
            if plan.to_version != known.to_version:
                raise Refused(f"the target is v{plan.to_version} now, not v{known.to_version} as announced")
            if plan.against:
                raise Refused(plan.against)
            phrase, words = self._acts.phrase(plan), f"automatic: {known.words}"
            execution = await self._acts.runner.start(plan, by_policy(rule), words, phrase)
        except ConsoleError as error:
            await self._say(known, "refused", str(error))
        else:
            await self._say(known, "started", "", execution)

    async def _say(
        self, what: Announcement, event: str, words: str = "", execution: str = "", *,
        person: PersonSignature | None = None, operator: str = "",
    ) -> None:  # fmt: skip
        """Into the journal, durably, and onto the screen. Raises JournalError."""
        from rollback_console.journal.kinds import AutomaticRecorded

        engine = self._engine
        if engine.writer is None:
            return
        body = AutomaticRecorded.model_validate({
            "event": event, "path": what.path, "to_version": what.to_version, "due": what.due,
            "words": words or what.words, "execution": execution, "person": person,
        })  # fmt: skip
        writer, operator = engine.writer, operator or by_policy(engine.rules[engine.index[what.deployment]])
        await writer.run(lambda: writer.journal.append(body, deployment=str(what.deployment), operator=operator))
        engine.fold()
        engine.publish()


def facts(engine: Engine, index: int) -> Acts:
    """What the guards ask about one deployment, as of the evaluation that stands."""
    rule, verdict, folded = engine.rules[index], engine.board.verdicts.get(index), engine.folded
    if verdict is None or folded is None:
        return Acts()
    name = rule.deployment.id
    released = [r.at for r in engine.releases() if r.deployment == name and not r.rollback]
    mine = [each for each in folded.executions if each.plan.deployment == name]
    return Acts(
        released=released[-1] if released else None,
        acted=max((at for deployment, at, _ in folded.rollbacks() if deployment == str(name)), default=None),
        automatic=tuple(each.started_at for each in mine if each.operator == by_policy(rule)),
        fired=verdict.since if verdict.state is TriggerState.FIRED else None,
        cleared=folded.announced.cleared.get(name),
        expected=folded.declared.expected(str(name), verdict.at),
    )

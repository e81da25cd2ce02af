"""Shadow mode: an incident of a real journal as it stood, up to the decision; one decides, and sees what was done.

Nothing is touched and nothing is asked of any backend: the screens show what the journal recorded then
(`review.replay`), on a clock that can be sped up, stopped and moved on as a drill's. Whoever decided then is not shown
before the operator has.
"""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rollback_console.errors import Refused
from rollback_console.journal.kinds import Adopted
from rollback_console.model.drill import DrillReport, DrillTime, DrillView
from rollback_console.model.text import duration, plain
from rollback_console.model.value import dataclass
from rollback_console.rehearse.desk import Act
from rollback_console.rehearse.drill_news import news
from rollback_console.review.episodes import episodes

if TYPE_CHECKING:
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.plan import Execution
    from rollback_console.model.review import Episode
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.rehearse.drill_clock import DrillClock
    from rollback_console.review.replay import Replay

LEAVE = "leave"
_BEFORE_S = 60.0  # how long before the first breach it begins
_LATEST_S = 600.0  # where nobody decided: how long after the first fire one is asked
_MOST_STEPS = 400
_MOVE = re.compile(r"(?P<name>\S+/\S+) v?(?P<to>\S+)")
_NOTHING = "in a shadow nothing is touched"
_HOW = "D says what you would do"


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """What came of one. `same`: is what the operator decided what was done then; `well`: that, or otherwise where what
    was done was judged wrong. Seconds count from the first fire."""

    incident: str
    klass: str
    decision: str
    reason: str
    then: str
    same: bool
    well: bool
    decided_s: float
    decided_then_s: float | None
    evidence_used: tuple[str, ...]

    def detail(self) -> dict[str, Any]:
        """Plain values for the journal's `drill` entry."""
        return {
            "mode": "shadow", "klass": self.klass, "decision": "same" if self.same else "otherwise",
            "decided": self.decision, "reason": self.reason, "then": self.then, "decided_s": self.decided_s,
            "decided_then_s": self.decided_then_s, "evidence_used": list(self.evidence_used),
        }  # fmt: skip


class ShadowCommands:
    """`commands.Commands` of a shadow: looking goes on, time can be turned, everything else is refused and says why."""

    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object, **__: object) -> None:
            raise Refused(_NOTHING, _HOW)

        return refuse

    async def focus(self, deployment: DeploymentId | None) -> None:
        if deployment is not None:
            self._shadow.looked(deployment, "opened")

    def phrase(self, plan: object) -> str:
        raise Refused(_NOTHING, _HOW)

    def summary(self, deployment: DeploymentId | None = None) -> str:
        raise Refused("a shadow sends no summary", _HOW)

    def set_speed(self, speed: float) -> None:
        self._shadow.set_speed(speed)

    async def close(self) -> None:
        await self._shadow.close()


class Shadow:
    """One incident, relived. `operator`: who decides now."""

    def __init__(
        self, replay: Replay, episode: Episode, operator: str, clock: Callable[[float], DrillClock], speed: float = 1.0
    ) -> None:
        self._replay, self._episode, self.operator, self._speed = replay, episode, operator, speed
        self._index = replay.index
        self._step_s = max(1.0, min(60.0, self._index.ticks.step_s))
        self.decides_at = decision_at(episode)
        begins = min(episode.begins, self.decides_at) - _BEFORE_S
        begins = max(begins, self._index.ats[0], self.decides_at - _MOST_STEPS * self._step_s)
        self.clock = clock(min(begins, self.decides_at))
        self.acts: list[Act] = []
        self.result: ShadowResult | None = None
        self.recorded = ""
        self.on_over: Callable[[ShadowResult], None] = lambda _: None
        self._publish: Callable[[Snapshot], None] = lambda _: None
        self._last: Snapshot | None = None
        self._report: DrillReport | None = None
        self._task: asyncio.Task[None] | None = None

    # ── what the screen asks for

    @property
    def view(self) -> DrillView:
        """Its own part of a Snapshot."""
        asks = "" if self.result is not None else "What would you do?"
        return DrillView(
            f"shadow:{self._episode.incident.id}", self._title, self._story, "", True, self._hint,
            "D says what you would do · > to the next event · space goes on and pauses", (),
            self.result is not None, self._reported(), asks, self._choices(),
        )  # fmt: skip

    def begin(self) -> None:
        """The story was read: time goes."""
        if self.result is None and not self.clock.speed:
            self.set_speed(self._speed)

    def looked(self, deployment: DeploymentId | None, what: str) -> None:
        """A screen shows something: evidence for the decision."""
        if self.result is None:
            self.acts.append(Act(self.clock.now(), "look", deployment, what))

    def set_speed(self, speed: float) -> None:
        """Raises Refused once there is nothing more to come."""
        if speed and (self.result is not None or self._at_the_decision):
            raise Refused("this is where somebody decided", _HOW if self.result is None else "q leaves")
        self.clock.set_speed(speed)
        self.show()

    async def step(self) -> str:
        """On by one evaluation."""
        before = self._shown()
        self.clock.set_speed(0.0)
        await self._to(self.clock.now() + self._step_s)
        return "; ".join(list(news(before, self._shown()))[:2]) or "one evaluation on: nothing changed"

    async def jump(self) -> str:
        """On to the next happening that the journal has, at most to the decision."""
        before, began, speed = self._shown(), self.clock.now(), self.clock.speed
        if self._at_the_decision:
            raise Refused("this is where somebody decided", _HOW)
        self.clock.set_speed(0.0)
        marks = self._index.marks
        ahead = marks[bisect_right(marks, began, key=lambda mark: mark.at) :]
        await self._to(next((mark.at for mark in ahead), self.decides_at))
        said = "; ".join(list(news(before, self._shown()))[:2])
        if not self._at_the_decision:
            self.set_speed(speed)
        return f"{duration(self.clock.now() - began)} on: {said or 'something was written down'}"

    def end(self, decision: str = "", reason: str = "", /) -> None:
        """The operator has decided: `leave`, or `ENVIRONMENT/NAME vN`. Raises Refused for anything else."""
        if self.result is not None:
            return
        wrong = self.check(decision)
        if wrong:
            raise Refused(wrong, "leave, or ENVIRONMENT/NAME vN")
        self.clock.set_speed(0.0)
        self.result = self._compared(_spoken(decision), reason)
        self.on_over(self.result)
        self.show()

    def check(self, decision: str) -> str:
        """What is wrong with a decision, "" where nothing is."""
        if decision.strip().lower() == LEAVE:
            return ""
        found = _MOVE.fullmatch(decision.strip())
        if found is None:
            return "say leave, or ENVIRONMENT/NAME vN, as production/checkout-ranker v7"
        known = {str(view.id) for view in self._last.deployments} if self._last is not None else set()
        return "" if found["name"] in known else f"{plain(found['name'], 80)} is not in this fleet"

    # ── running

    async def start(self, publish: Callable[[Snapshot], None]) -> ShadowCommands:
        """Show the first moment, and go on as the clock does."""
        self._publish = publish
        await self._show_now()
        self._task = asyncio.create_task(self._run(), name="shadow")
        return ShadowCommands(self)

    async def close(self) -> None:
        """No more moments come."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._replay.close()

    def show(self) -> None:
        """Publish the moment again: something of the shadow's own changed."""
        if self._last is not None:
            now = max(self._last.at, self.clock.now())
            self._publish(replace(self._last, at=now, speed=self.clock.speed, drill=self.view))

    async def _run(self) -> None:
        while not self._at_the_decision:
            await self.clock.sleep(min(self._step_s, max(0.1, self.decides_at - self.clock.now())))
            await self._show_now()
        self.clock.set_speed(0.0)
        await self._show_now()

    async def _to(self, moment: float) -> None:
        await self.clock.move_to(min(max(moment, self.clock.now()), self.decides_at))
        await self._show_now()

    async def _show_now(self) -> None:
        """The moment as the journal had it, made in slices, so that keys are answered meanwhile."""
        at = min(self.clock.now(), self.decides_at)
        place = bisect_right(self._index.ats, at) - 1
        for found in self._replay.approach(max(0, place), at):
            if found is None:
                await asyncio.sleep(0)
                continue
            self._last = replace(
                found.snapshot, band="REHEARSAL · SHADOW", simulated=True, review=False, look_only="", alarms=(),
                executions=tuple(e for e in found.snapshot.executions if e.started_at < self.decides_at),
            )  # fmt: skip
        self.show()

    @property
    def _at_the_decision(self) -> bool:
        return self.clock.now() >= self.decides_at - 1e-3

    def _shown(self) -> Snapshot:
        if self._last is None:
            raise Refused("the first moment is still being read", "wait a moment")
        return self._last

    # ── words

    @property
    def _title(self) -> str:
        return f"Incident {self._episode.incident.id}, as it stood"

    @property
    def _story(self) -> str:
        members = ", ".join(str(member) for member in self._episode.incident.members[:3])
        return (
            f"A journal's own incident: {members}. You see what was on the screen then, up to the moment at which "
            "somebody decided, or could have.\n\nLook, and say what you would do: D. Then you see what was done, and "
            "how it ended. Nothing is touched."
        )

    @property
    def _hint(self) -> str:
        if self._at_the_decision:
            return "Here somebody decided, or could have. What would you do, and why? Roll back what, or leave it?"
        return "Look as you would on call: what is degraded, since when, who else has it, what changed before."

    def _choices(self) -> tuple[str, ...]:
        """Examples of what can be said: leaving it, and each member with what it served before."""
        found = [LEAVE]
        for member in self._episode.incident.members[:3]:
            view = self._last.view(member) if self._last is not None else None
            serves = f" (serves v{view.serving_version})" if view is not None and view.serving_version else ""
            found.append(f"{member} vN{serves}")
        return tuple(found)

    def _compared(self, decision: str, reason: str) -> ShadowResult:
        """Beside what was done then."""
        episode, then = self._episode, self._done_then()
        fired = episode.fired_at if episode.fired_at is not None else episode.begins
        same = decision == then
        judged = self._index.judged.get(episode.incident.id)
        wrong = judged is not None and judged[1].right == "wrong"
        decided = episode.decided_at
        return ShadowResult(
            episode.incident.id, str(episode.incident.attribution.kind), decision, reason, then, same,
            same is not wrong, round(max(0.0, self.clock.now() - fired), 3),
            None if decided is None else round(max(0.0, decided - fired), 3),
            tuple(dict.fromkeys(f"{a.deployment}: {a.detail}" if a.deployment else a.detail for a in self.acts)),
        )  # fmt: skip

    def _done_then(self) -> str:
        """The first rollback that somebody asked for, or took into the journal; else that it was left."""
        members = {str(each) for each in self._episode.incident.members}
        for execution in self._executions_then():
            return f"{execution.plan.deployment} v{execution.plan.to_version}"
        adopted = self._adopted(members)
        return adopted if adopted is not None else LEAVE

    def _executions_then(self) -> Iterator[Execution]:
        """The rollbacks of its members that were asked for while it lasted, as the journal leaves them."""
        episode, members = self._episode, set(self._episode.incident.members)
        for execution in self._replay.executions(len(self._index) - 1):
            within = episode.ends is None or execution.started_at <= episode.ends
            if execution.plan.deployment in members and execution.started_at >= episode.begins and within:
                yield execution

    def _adopted(self, members: set[str]) -> str | None:
        for mark in self._index.marks:
            if mark.kind == "moved" and mark.deployment in members and mark.place >= self._episode.first:
                entry = self._index.entry(mark.place)
                body = entry.parsed() if entry is not None else None
                if isinstance(body, Adopted):
                    return f"{mark.deployment} v{body.to_version}"
        return None

    def _reported(self) -> DrillReport | None:
        result = self.result
        if result is None:
            return None
        if self._report is None or (self.recorded and self._report.sections[-1][1] != (self.recorded,)):
            self._report = self._made(result)
        return self._report

    def _made(self, result: ShadowResult) -> DrillReport:
        headline = "you would have done what was done" if result.same else "you would have done otherwise"
        record = (("The record", (self.recorded,)),) if self.recorded else ()
        return DrillReport(
            self.view_name, self._title, self.operator, 0, result.well, headline, (),
            (DrillTime("decide", result.decided_s, None, result.decided_then_s),),
            "then: whoever decided at the time; seconds count from the first fire",
            (
                ("You", (f"{result.decision}: {result.reason}" if result.reason else result.decision,)),
                ("What was done then", tuple(self._then_lines(result))),
                ("How it ended", tuple(self._ending())),
                ("What you looked at", result.evidence_used),
                *record,
            ),
            "= THE SAME" if result.same else "≠ OTHERWISE", "then",
        )  # fmt: skip

    @property
    def view_name(self) -> str:
        """How the record names it."""
        return f"shadow:{self._episode.incident.id}"

    def _then_lines(self, result: ShadowResult) -> Iterator[str]:
        episode, members = self._episode, {str(each) for each in self._episode.incident.members}
        if result.then == LEAVE:
            yield "nothing was rolled back"
        for execution in self._executions_then():
            after = duration(max(0.0, execution.started_at - (episode.fired_at or episode.begins)))
            who = plain(execution.operator, 40)
            yield (
                f"{who} rolled {execution.plan.deployment} back to v{execution.plan.to_version}, {after} after it "
                f"fired: {plain(execution.reason, 200)}; it came out as: {execution.state}"
            )
        adopted = self._adopted(members)
        if adopted is not None:
            yield f"done by hand, and adopted: {adopted}"

    def _ending(self) -> Iterator[str]:
        episode = self._episode
        if episode.ends is None:
            yield "the incident is still open where the journal ends"
        else:
            yield f"it was over {duration(max(0.0, episode.ends - episode.begins))} after its first breach"
        yield episode.incident.sentence
        judged = self._index.judged.get(episode.incident.id)
        if judged is None:
            yield "nobody has judged it yet"
            return
        body = judged[1]
        said = "; ".join(filter(None, (body.root_cause, f"the rollback was {body.right}" if body.right else "")))
        yield f"judged: {said or 'without a root cause'}"
        yield from body.lessons[:3]


def decision_at(episode: Episode) -> float:
    """The moment up to which one looks, Unix seconds: just before somebody first asked for a rollback; where nobody
    did, ten minutes after it fired, or when it was over if that was earlier."""
    if episode.decided_at is not None:
        return max(episode.begins, episode.decided_at - 1.0)
    latest = (episode.fired_at if episode.fired_at is not None else episode.begins) + _LATEST_S
    return latest if episode.ends is None else min(latest, episode.ends)


def chosen(replay: Replay, incident: str | None) -> Episode:
    """The incident of that id; without one the newest in which somebody decided, else the newest. Raises Refused."""
    found = episodes(replay.index)
    if not found:
        raise Refused("this journal has no incident", "name another journal")
    if incident is None:
        return next((each for each in reversed(found) if each.decided_at is not None), found[-1])
    for each in found:
        if each.incident.id == incident:
            return each
    known = ", ".join(each.incident.id for each in found[-5:])
    raise Refused(f"this journal has no incident {plain(incident, 60)}", f"the newest are {known}")


def _spoken(decision: str) -> str:
    """A decision in its one form: `leave`, or `ENVIRONMENT/NAME vN`."""
    found = _MOVE.fullmatch(decision.strip())
    return f"{found['name']} v{found['to'].removeprefix('v')}" if found is not None else LEAVE

"""What a drill was worth: the decision, how long each part took and what it cost, what was skipped or done wrongly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, field, replace
from typing import TYPE_CHECKING, Any

from rollback_console.decide.version import ENGINE
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import Execution, ExecutionState, StepState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import duration
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import TriggerState
from rollback_console.rehearse.desk import Act
from rollback_console.rehearse.truth import Cure, Truth

if TYPE_CHECKING:
    from rollback_console.rehearse.scenario import Scenario
    from rollback_console.rehearse.setup import Setup
    from rollback_console.rehearse.world import World

STANDARD_S = 900.0  # from the first fire to the pointer set: what a team is measured by, beside a scenario's own bands
_NOTICING = ("focus", "look", "start_walk", "plan", "note", "claim", "command", "snooze", "hold", "expect", "execute")
_DECIDING_TO_LEAVE = ("note", "start_walk", "snooze", "expect")  # where no rollback is right: what says that it is seen
_LOOKING = ("focus", "look", "check", "start_walk")
_CALM = (TriggerState.HEALTHY, TriggerState.COOLING)


@dataclass(frozen=True, slots=True)
class About:
    """What was rehearsed. `digest`: of the scenario's file; `policy`: of the policy's; `cost_unit`: the money."""

    klass: str = ""
    digest: str = ""
    policy: str = ""
    cost_unit: str = ""

    @classmethod
    def of(cls, scenario: Scenario, setup: Setup) -> About:
        """Of a scenario on its stage."""
        rule = setup.rules()[0]
        return cls(setup.truth.klass or scenario.listed.klass, scenario.digest, rule.policy_digest, rule.impact.unit)


@dataclass(frozen=True, slots=True)
class DrillResult:
    """One scored drill. Times are seconds of the drill's clock after the trigger fired; None: it never came to that.

    `decision`: `right` (every cure executed, nothing else; where there is none, nothing was executed), `wrong`
    (something else was executed), `none`. Passed: decided right, the signals confirmed it, and every part of it lies
    within the scenario's bands.

    Noticed: the first look at it; decided: its plan was made; authorized: its execution was asked for and allowed;
    acted: the pointer was set; recovered: the signals confirmed it.

    `cost`: what the deployments that could be mended lost from the onset to the drill's end, and those that were rolled
    back wrongly since then, in `cost_unit` (`rehearse.cost`); `unavoidable`: what of it was lost before the first fire;
    `cost_elsewhere`: what all others lost, which no rollback could have saved.
    """

    scenario: str
    seed: int
    operator: str
    passed: bool
    decision: str
    noticed_s: float | None
    decided_s: float | None
    acted_s: float | None
    recovered_s: float | None
    steps_done: int
    steps_skipped: int
    wrong_turns: tuple[str, ...]
    refused: tuple[str, ...]
    failed_because: tuple[str, ...]
    elapsed_s: float
    # Where something else than the cures was rolled back: when that was noticed, decided, done, after the first fire.
    noticed_wrongly_s: float | None = None
    decided_wrongly_s: float | None = None
    acted_wrongly_s: float | None = None
    authorized_s: float | None = None
    cost: float = 0.0
    cost_unit: str = ""
    unavoidable: float = 0.0
    cost_elsewhere: float = 0.0
    bands: dict[str, float] = field(default_factory=dict)  # name -> limit, seconds
    blind_alleys: tuple[str, ...] = ()
    evidence_used: tuple[str, ...] = ()
    klass: str = ""
    path: str = ""  # the recovery path that was taken
    origin: str = ""  # where the console said it came from, as `rehearse.headless` saw it
    digest: str = ""
    engine: str = ""
    policy: str = ""
    standard_s: float = STANDARD_S

    @property
    def times(self) -> tuple[tuple[str, float | None], ...]:
        """Seconds by the bands' names, in the order in which they are walked."""
        return (
            ("notice", self.noticed_s),
            ("decide", self.decided_s),
            ("authorize", self.authorized_s),
            ("act", self.acted_s),
            ("recover", self.recovered_s),
        )

    @property
    def within_standard(self) -> bool | None:
        """Was the pointer set within the standard; None where nothing was to be set, or nothing was."""
        return None if self.acted_s is None else self.acted_s <= self.standard_s

    def detail(self) -> dict[str, Any]:
        """Plain values for the journal's `drill` entry and for `--json`."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


class Scorer:
    """Watches a drill evaluation by evaluation. Without a world there is no cost."""

    def __init__(self, truth: Truth, world: World | None = None, about: About | None = None) -> None:
        self._truth = truth
        self._world = world
        self._about = about or About(truth.klass)
        self._fired: dict[DeploymentId, float] = {}
        self._first_fire: float | None = None  # of any deployment
        self._recovered: dict[DeploymentId, float] = {}
        self._executions: dict[str, Execution] = {}
        self._calm: dict[DeploymentId, list[tuple[float, bool]]] = {}  # turns of "nothing is wrong with it"
        self._begun: float | None = None
        self._last: Snapshot | None = None

    def see(self, snapshot: Snapshot) -> None:
        """Take note of one evaluation."""
        self._last = snapshot
        if self._begun is None:
            self._begun = snapshot.at
        for view in snapshot.deployments:
            if view.verdict is None:
                continue
            if view.verdict.alarming:
                self._first_fire = snapshot.at if self._first_fire is None else self._first_fire
                self._fired.setdefault(view.id, snapshot.at)
            turns = self._calm.setdefault(view.id, [])
            calm = view.verdict.state in _CALM and snapshot.incident_of(view.id) is None
            if not turns or turns[-1][1] is not calm:
                turns.append((snapshot.at, calm))
        for execution in snapshot.executions:
            self._executions[execution.id] = execution
            for cure in self._truth.cures:
                if _is(execution, cure) and execution.state is ExecutionState.DONE:
                    self._recovered.setdefault(cure.deployment, snapshot.at)

    @property
    def recovered(self) -> bool:
        """Has every cure been executed and confirmed."""
        return all(cure.deployment in self._recovered for cure in self._truth.cures)

    @property
    def first_fire(self) -> float | None:
        """When the first trigger of all fired, Unix seconds; None before."""
        return self._first_fire

    def result(self, scenario: str, seed: int, operator: str, acts: Sequence[Act], elapsed_s: float) -> DrillResult:
        """The score, once the drill is over."""
        done = [a for a in acts if not a.refused]
        executed = self._executed(done)
        right = {(cure.deployment, cure.to_version) for cure in self._truth.cures}
        mistaken = {name for name, to in executed if (name, to) not in right}
        wrong = tuple(f"rolled back {name} to v{to}" for name, to in executed if (name, to) not in right)
        decision = "wrong" if wrong else "right" if right <= set(executed) else "none"
        steps = [s.state for walk in (self._last.walks if self._last else ()) for s in walk.steps]
        found = DrillResult(
            scenario=scenario,
            seed=seed,
            operator=operator,
            passed=False,
            decision=decision,
            noticed_s=self._first(acts, _NOTICING),
            decided_s=self._decided(done),
            acted_s=self._acted(done),
            recovered_s=self._after(self._recovered),
            steps_done=steps.count(StepState.DONE),
            steps_skipped=steps.count(StepState.SKIPPED),
            wrong_turns=wrong,
            refused=tuple(f"{a.act} {a.deployment}: {a.refused}" for a in acts if a.refused),
            failed_because=(),
            elapsed_s=elapsed_s,
            noticed_wrongly_s=self._wrongly(acts, _NOTICING, mistaken),
            decided_wrongly_s=self._wrongly(done, ("plan",), mistaken),
            acted_wrongly_s=self._wrongly(done, ("execute",), mistaken),
            authorized_s=self._authorized(done),
            bands=dict(self._bands()),
            blind_alleys=tuple(self._blind_alleys(done, executed)),
            evidence_used=self._evidence(done),
            klass=self._about.klass,
            path=self._path(right),
            digest=self._about.digest,
            engine=ENGINE,
            policy=self._about.policy,
        )
        asked = {(a.deployment, a.detail) for a in done if a.act == "execute"}
        because = tuple(self._because(found, done=right <= set(executed), asked=bool(right & asked)))
        cost, unavoidable, elsewhere = self._cost(mistaken, elapsed_s)
        return replace(
            found,
            passed=decision == "right" and not because,
            failed_because=because,
            cost=cost,
            cost_unit=self._about.cost_unit,
            unavoidable=unavoidable,
            cost_elsewhere=elsewhere,
        )

    # ── what was decided

    def _executed(self, done: Sequence[Act]) -> list[tuple[DeploymentId, str]]:
        """What was set in motion, in its order: asked for by the operator, or gone by itself."""
        asked = [(a.deployment, a.detail) for a in done if a.act == "execute" and a.deployment is not None]
        seen = [(e.plan.deployment, e.plan.to_version) for e in self._executions.values()]
        return [*asked, *(each for each in seen if each not in asked)]

    def _because(self, result: DrillResult, *, done: bool, asked: bool) -> Iterable[str]:
        """Why it did not pass, beside the wrong turns. What went by itself (`done`, not `asked`) nobody had to notice
        or to decide."""
        if self._truth.hands_off:
            return
        if not done:
            yield "the release that did the damage was not rolled back"
            return
        if result.recovered_s is None:
            yield "the rollback was not confirmed by the signals"
        for name, seconds in result.times:
            limit = result.bands[name]
            if seconds is not None and seconds > limit and (asked or name == "recover"):
                yield f"{_PAST[name]} after {duration(seconds)}; the band ends at {duration(limit)}"

    def _bands(self) -> Iterable[tuple[str, float]]:
        for name, limit in self._truth.bands.limits:
            yield name, min(limit, self._truth.recover_within_s) if name == "recover" else limit

    def _path(self, right: set[tuple[DeploymentId, str]]) -> str:
        taken = list(self._executions.values())
        ours = [e for e in taken if (e.plan.deployment, e.plan.to_version) in right]
        return (ours or taken)[0].plan.path if taken else ""

    def _blind_alleys(self, done: Sequence[Act], executed: Sequence[tuple[DeploymentId, str]]) -> Iterable[str]:
        """Ways that led nowhere and were left again: plans given up, walks left, looks at what had nothing."""
        told: list[str] = []
        cures = {cure.deployment for cure in self._truth.cures}
        for act in done:
            name = act.deployment
            if name is None:
                continue
            if act.act == "plan" and (name, act.detail) not in executed and name not in cures:
                told.append(f"planned {name} to v{act.detail}, and left it")
            elif act.act in ("focus", "look") and self._nothing_wrong(name, act.at):
                told.append(f"looked at {name}, which had nothing")
        walks = self._last.walks if self._last is not None else ()
        left = [f"left the walk of {w.runbook.title or w.runbook.name}" for w in walks if w.outcome == "left"]
        yield from dict.fromkeys([*told, *left])

    def _nothing_wrong(self, name: DeploymentId, at: float) -> bool:
        found = [calm for since, calm in self._calm.get(name, ()) if since <= at]
        return bool(found) and found[-1]

    def _evidence(self, done: Sequence[Act]) -> tuple[str, ...]:
        """What was looked at before the first execution was asked for; all of it where none was."""
        ends = next((a.at for a in done if a.act == "execute"), float("inf"))
        return tuple(dict.fromkeys(_look(a) for a in done if a.act in _LOOKING and a.at <= ends))

    # ── when

    def _wrongly(self, acts: Sequence[Act], kinds: tuple[str, ...], mistaken: set[DeploymentId]) -> float | None:
        """Seconds from the first fire of all to the first act of these kinds on what was rolled back mistakenly."""
        moments = [act.at for act in acts if act.act in kinds and act.deployment in mistaken]
        begin = self._first_fire
        return round(max(0.0, min(moments) - begin), 3) if moments and begin is not None else None

    def _first(self, acts: Sequence[Act], kinds: tuple[str, ...]) -> float | None:
        """Seconds from the fire to the first act of these kinds on it; the slowest of several cures counts. Where
        there is no cure: on anything that fired."""
        if self._truth.hands_off:
            moments = [a.at - self._fired[a.deployment] for a in acts if a.act in kinds and a.deployment in self._fired]
            return round(max(0.0, min(moments)), 3) if moments else None
        found: dict[DeploymentId, float] = {}
        for act in acts:
            if act.act in kinds and act.deployment in self._fired:
                found.setdefault(act.deployment, act.at)
        return self._after(found)

    def _decided(self, done: Sequence[Act]) -> float | None:
        if self._truth.hands_off:
            return self._first(done, _DECIDING_TO_LEAVE)
        right = {(cure.deployment, cure.to_version) for cure in self._truth.cures}
        asked = self._first([a for a in done if (a.deployment, a.detail) in right], ("plan",))
        return asked if asked is not None else self._started()

    def _authorized(self, done: Sequence[Act]) -> float | None:
        right = {(cure.deployment, cure.to_version) for cure in self._truth.cures}
        asked = self._first([a for a in done if (a.deployment, a.detail) in right], ("execute",))
        return None if self._truth.hands_off else asked if asked is not None else self._started()

    def _acted(self, done: Sequence[Act]) -> float | None:
        """The pointer set: the `set` step's end; where no execution was seen, when it was asked for."""
        if self._truth.hands_off:
            return None
        moments: dict[DeploymentId, float] = {}
        for execution in self._executions.values():
            for cure in self._truth.cures:
                ended = next((s.ended_at for s in execution.steps if s.name == "set"), None)
                if _is(execution, cure) and ended is not None:
                    moments.setdefault(cure.deployment, ended)
        return self._after(moments) if moments or self._executions else self._authorized(done)

    def _started(self) -> float | None:
        """When the cures' executions began, whoever or whatever asked for them."""
        moments: dict[DeploymentId, float] = {}
        for execution in self._executions.values():
            for cure in self._truth.cures:
                if _is(execution, cure):
                    moments.setdefault(cure.deployment, execution.started_at)
        return self._after(moments)

    def _after(self, moments: dict[DeploymentId, float]) -> float | None:
        spans = []
        for cure in self._truth.cures:
            if cure.deployment not in moments or cure.deployment not in self._fired:
                return None
            spans.append(round(max(0.0, moments[cure.deployment] - self._fired[cure.deployment]), 3))
        return max(spans, default=None)

    # ── what it cost

    def _cost(self, mistaken: set[DeploymentId], elapsed_s: float) -> tuple[float, float, float]:
        """(cost, what of it was unavoidable, what others lost)."""
        world, begun = self._world, self._begun
        if world is None or begun is None:
            return 0.0, 0.0, 0.0
        from rollback_console.rehearse.cost import lost, onset

        end = begun + elapsed_s
        cures = {cure.deployment for cure in self._truth.cures}
        cost = unavoidable = 0.0
        since = [begun]
        for name in sorted(cures, key=str):
            fired = self._fired.get(name)
            began = onset(world, name, end if fired is None else fired)
            since.append(began)
            cost += lost(world, began, end, (name,))
            unavoidable += lost(world, began, end if fired is None else fired, (name,))
        for name in sorted(mistaken - cures, key=str):
            asked = [e.started_at for e in self._executions.values() if e.plan.deployment == name]
            cost += lost(world, min(asked, default=end), end, (name,))
        others = [d.id for d in world.deployments if d.id not in cures | mistaken]
        elsewhere = lost(world, min(since), end, others)
        return round(cost, 2), round(unavoidable, 2), round(elsewhere, 2)


_PAST = {"notice": "noticed", "decide": "decided", "authorize": "authorized", "act": "acted", "recover": "recovered"}


def _look(act: Act) -> str:
    what = {"focus": "opened", "look": act.detail, "check": f"asked {act.detail}", "start_walk": f"walked {act.detail}"}
    return f"{act.deployment}: {what[act.act]}" if act.deployment is not None else what[act.act]


def _is(execution: Execution, cure: Cure) -> bool:
    return execution.plan.deployment == cure.deployment and execution.plan.to_version == cure.to_version

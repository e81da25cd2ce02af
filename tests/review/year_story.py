"""What befalls the simulated team over the year: planned from the seed, with the truth beside it.

Everything is put down as (simulated time, act on the scribe); `year_scribe` carries it out on a journal.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from review.year_world import DAY_S, MINUTE_S, MODELS, START, Effect, Model

if TYPE_CHECKING:
    from review.year_scribe import Scribe

Act = Callable[["Scribe"], None]
HOUR_S = 3_600.0
LAG_S = 30.0  # serving behind the registry
SLOT_D = 10  # days from one release of a deployment to its next, about
OLDER = 2  # rollbacks of releases that are older than the journal
# What rollbacks are, in turn. `executed` by the console, `adopted` and `by hand` without it.
KINDS = (
    "executed", "adopted", "executed", "by hand", "executed", "slow", "late", "executed", "not confirmed",
    "executed wrongly", "adopted unseen", "failed, then by hand", "executed", "not recorded", "by hand", "executed",
    "at the edge", "executed", "just late", "hotfix",
)  # fmt: skip
CAUSES = {  # root cause -> (what shows it, the gate that would have caught it)
    "performance degradation": ({"conversion": 0.86}, "offline evaluation"),
    "infrastructure incompatibility": ({"latency": 1.9}, "load test"),
    "business rule violation": ({"errors": 0.045}, "rule tests"),
    "safety concern": ({"conversion": 0.82, "errors": 0.02}, "safety review"),
    "feature skew": ({"conversion": 0.9, "latency": 1.2}, "shadow traffic"),  # a word of the team's own
}
UPSTREAM, FALSE_ALARM = "upstream data issue", "false alarm"


@dataclass
class Truth:
    """One rollback as it truly was. Times are the journal's (the wall's), Unix seconds. `undoes_at`: the release that
    it undid, None where that is older than the journal; `completed_at`: its execution was confirmed."""

    kind: str
    deployment: str
    at: float
    undoes_at: float | None
    decision_at: float
    completed_at: float | None = None
    automatic: bool = False
    root_cause: str = ""
    right: str = ""
    gate: str = ""
    published: bool = False


@dataclass
class YearTruth:
    """What the generator planted: what measures must find again."""

    seed: int
    days: int
    begins: float
    ends: float = 0.0
    deployments: list[tuple[str, float]] = field(default_factory=list)  # releases: (deployment, at)
    rollbacks: list[Truth] = field(default_factory=list)
    planned: list[tuple[str, float]] = field(default_factory=list)
    mistakes: list[tuple[str, float]] = field(default_factory=list)  # the slip and its undoing
    drills: int = 0
    fired: list[tuple[str, float, str]] = field(default_factory=list)  # incidents: (first member, onset, how judged)
    left: str = ""
    jumps: int = 0

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Story:
    """Plans a year. `acts`: (simulated time, number, act, is it part of an
    emergency); `dense`: (from, to, step) of what is watched closely."""

    def __init__(self, seed: int, days: int) -> None:
        self.rng = random.Random(f"story {seed}")
        self.days, self.end = days, START + days * DAY_S
        self.acts: list[tuple[float, int, Act, bool]] = []
        self.effects: list[Effect] = []
        self.dense: list[tuple[float, float, float]] = []
        self.pauses: list[tuple[float, float]] = []  # while an emergency journal stands in
        self.busy: list[list[tuple[float, float]]] = [[] for _ in MODELS]
        self.current = [model.version for model in MODELS]
        self.newest = [model.version for model in MODELS]
        self.serving: list[list[tuple[float, str]]] = [[(0.0, str(model.version))] for model in MODELS]
        self.jump = (START + 0.25 * days * DAY_S + 2 * HOUR_S, START + 0.25 * days * DAY_S + 4 * HOUR_S, 5_400.0)
        self.truth = YearTruth(seed, days, START)
        self.people = ["ada", "bo", "chen", "dita", "emil"]
        self.people_change = START + 0.45 * days * DAY_S
        self.urgent = False  # what is planned now goes into the emergency journal that stands in
        self._numbers = 0

    # -- time and people

    def do(self, at: float, act: Act) -> None:
        self._numbers += 1
        if at < self.end:
            self.acts.append((at, self._numbers, act, self.urgent))

    def wall(self, true: float) -> float:
        """What the machine's clock says: an hour and a half too late between its two jumps."""
        return true + (self.jump[2] if self.jump[0] <= true < self.jump[1] else 0.0)

    def person(self, at: float) -> str:
        """Who is on call: emil until he left, fay since."""
        known = self.people if at < self.people_change else [*self.people[:-1], "fay"]
        return known[int(at // (7 * DAY_S)) % len(known)]

    def dwell_s(self, model: Model, at: float) -> float:
        """Of the policy in force (`plan_papers` tightens one, and takes a deployment out of it)."""
        day = self.days * DAY_S
        gone = model.name == "recs-similar" and at >= START + 0.65 * day
        return 180.0 if model.team == "ranking" and at >= START + 0.30 * day and not gone else 300.0

    def office(self, day: float) -> float:
        """A moment within working hours of the day that a time falls on."""
        return (day // DAY_S) * DAY_S + self.rng.uniform(8.0, 17.0) * HOUR_S

    def free(self, model: Model, start: float, end: float) -> bool:
        """Does nothing else befall it then, and is the clock right."""
        taken = [*self.busy[model.number], (self.jump[0] - 2 * HOUR_S, self.jump[1] + 4 * HOUR_S)]
        return end < self.end - 5 * HOUR_S and all(end < a or b < start for a, b in taken)

    # -- moves

    def serve(self, model: Model, at: float, version: int) -> None:
        self.current[model.number] = version
        self.serving[model.number].append((at, str(version)))

    def version_at(self, model: Model, true: float) -> str:
        """What serves."""
        return next(version for at, version in reversed(self.serving[model.number]) if at <= true)

    def release(self, model: Model, at: float, to: int | None = None) -> tuple[float, int, int]:
        """A deployment. Returns (when, from, to)."""
        before = self.current[model.number]
        after = to if to is not None else self.newest[model.number] + 1
        self.newest[model.number] = max(after, self.newest[model.number])
        registered = self.wall(at) - self.rng.uniform(0.3, 70.0) * HOUR_S if self.rng.random() < 0.9 else None
        self.do(at, lambda s: s.pointer(model, before, after, f"{model.key} {at}", registered=registered))
        self.serve(model, at + LAG_S, after)
        if at < self.end:
            self.truth.deployments.append((model.key, self.wall(at)))
        return at, before, after

    def watch(self, start: float, fired: float, end: float) -> None:
        """Evaluations a minute apart around a fire, three around the rest."""
        self.dense += [(start - 5 * MINUTE_S, fired + 12 * MINUTE_S, 60.0), (fired, end + 24 * MINUTE_S, 180.0)]

    def moment(self, at: float) -> float:
        return (at // MINUTE_S) * MINUTE_S


def story(seed: int, days: int) -> Story:
    """The whole plan of `days` days. At 400 it has 800 releases and 60 rollbacks."""
    from review import year_incidents, year_moves

    plan = Story(seed, days)
    year_moves.plan_moves(plan)
    year_incidents.plan_incidents(plan)
    year_incidents.plan_papers(plan)
    year_incidents.plan_routine(plan)
    year_incidents.plan_the_end(plan)
    plan.acts.sort(key=lambda each: each[:2])
    return plan

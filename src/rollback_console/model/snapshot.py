"""Everything the screen shows, as one immutable value per tick. The screen draws this and nothing else."""

from __future__ import annotations

from dataclasses import field

from rollback_console.model.automatic import Announcement, AutomaticState
from rollback_console.model.declared import Exclusion, Expectation
from rollback_console.model.drill import DrillView
from rollback_console.model.identity import Deployment, DeploymentId
from rollback_console.model.incident import Incident, Recommendation
from rollback_console.model.observation import BackendHealth
from rollback_console.model.operator import Operator
from rollback_console.model.plan import Execution, Plan
from rollback_console.model.registry import Difference, ModelVersion, PointerMove
from rollback_console.model.rules import DeploymentRule, Expression
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import Verdict
from rollback_console.model.walk import Runbook, Walk


@dataclass(frozen=True, slots=True)
class Trace:
    """One signal's recent values for a sparkline, oldest first; None where it was blind. Times are aligned."""

    signal: str
    step_s: float
    until: float
    values: tuple[float | None, ...]
    baselines: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """One deployment as the fleet and its panel show it. `revision` changes whenever anything drawn changes."""

    rule: DeploymentRule
    verdict: Verdict | None  # None until the first evaluation
    traces: tuple[Trace, ...] = ()
    registry_version: str | None = None  # what the pointer says
    incident: str | None = None
    snoozed_until: float | None = None
    revision: int = 0
    last_version: str | None = None  # what serving last reported, where it reports nothing now
    last_seen_at: float | None = None  # Unix seconds of that; None while serving reports
    expected: Expectation | None = None  # a change that is going on, by hand or by the policy: noise is held back

    @property
    def serving_version(self) -> str | None:
        """What serves: as reported now, else as last reported (`last_seen_at` says when), else None."""
        return self.verdict.version if self.verdict and self.verdict.version is not None else self.last_version

    @property
    def id(self) -> DeploymentId:
        return self.rule.deployment.id

    @property
    def deployment(self) -> Deployment:
        return self.rule.deployment

    @property
    def disagrees(self) -> bool:
        """The registry says one version, serving reports another."""
        served = self.verdict.version if self.verdict else None
        return served is not None and self.registry_version is not None and served != self.registry_version


@dataclass(frozen=True, slots=True)
class DeploymentDetail:
    """What is fetched only for a deployment that somebody looks at: what changed, and the ways back."""

    deployment: DeploymentId
    loading: bool = False
    problem: str = ""
    versions: tuple[ModelVersion, ...] = ()  # newest first
    compared: tuple[str, str] | None = None  # (before, after) of `differences`
    differences: tuple[Difference, ...] = ()
    moves: tuple[PointerMove, ...] = ()  # in the whole fleet, in the two hours before onset, newest first
    trigger: Expression | None = None
    plans: tuple[Plan, ...] = ()


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a deployment is in its state, and what would have to change, in sentences (`decide.reasons`); made for the
    one that somebody looks at. `formulas`: how each of the impact's parts came to its points, in their order; `total`
    and `waiting`: what it has cost, and what ten more minutes would; "" where that cannot be told."""

    deployment: DeploymentId
    at: float  # of the verdict that it explains
    why: tuple[str, ...] = ()
    why_not: tuple[str, ...] = ()
    formulas: tuple[str, ...] = ()
    total: str = ""
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One journal entry as a line: what happened, to what, by whom."""

    seq: int
    at: float
    kind: str
    deployment: str
    operator: str
    text: str
    hash: str = ""
    origin: str = ""  # of another console's journal: which entry of which chain; `seq` is then 0


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """The journal as the header shows it. `problem` is "" or why no act can be recorded."""

    path: str
    entries: int
    recorder: bool  # this process decides and records; else it follows
    recorder_pid: int | None = None
    problem: str = ""
    emergency: bool = False  # it stands in for the journal, which cannot be written


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One tick of the console."""

    at: float  # the clock's now
    evaluated_at: float | None  # the evaluation shown; None before the first
    step_s: float
    band: str  # PRODUCTION | STAGING | REHEARSAL x10 | REVIEW ... in words
    deployments: tuple[DeploymentView, ...]  # in the fleet's order, most urgent first
    incidents: tuple[Incident, ...] = ()
    backends: tuple[BackendHealth, ...] = ()
    hub: str = "hub not configured"
    journal: JournalStatus = field(default_factory=lambda: JournalStatus("", 0, False))
    operator: Operator | None = None
    look_only: str = ""  # "" or why nothing can be done from here
    key_locked: str = ""  # "" or where a key is that wants its passphrase
    speed: float = 1.0
    simulated: bool = False
    details: tuple[DeploymentDetail, ...] = ()
    executions: tuple[Execution, ...] = ()
    walks: tuple[Walk, ...] = ()
    runbooks: tuple[Runbook, ...] = ()
    timeline: tuple[TimelineItem, ...] = ()  # newest last
    recommendations: tuple[Recommendation, ...] = ()
    notice: str = ""  # back-filling, following another process, ...
    # Unfinished executions; pointers that somebody else moved after they were brought back: a sentence each.
    alarms: tuple[str, ...] = ()
    people: tuple[tuple[DeploymentId, str], ...] = ()  # who else is at which deployment, a line each, by the hub
    review: bool = False  # a journal read afterwards: nothing runs, and nothing can be done
    explanations: tuple[Explanation, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()  # the stretches that are out of the baselines by hand, oldest first
    expectations: tuple[Expectation, ...] = ()  # the changes that are declared by hand and going on
    over: tuple[Incident, ...] = ()  # incidents that closed in the last days, the newest last
    announced: tuple[Announcement, ...] = ()  # rollbacks that go, were held or could not go by themselves
    drill: DrillView | None = None  # the drill that this is part of

    def view(self, deployment: DeploymentId) -> DeploymentView | None:
        """The view of one deployment, or None."""
        return next((view for view in self.deployments if view.id == deployment), None)

    def detail(self, deployment: DeploymentId) -> DeploymentDetail | None:
        """What was fetched for one deployment, or None."""
        return next((detail for detail in self.details if detail.deployment == deployment), None)

    def explanation(self, deployment: DeploymentId) -> Explanation | None:
        """Why one deployment is in its state, or None where nobody looks at it."""
        return next((each for each in self.explanations if each.deployment == deployment), None)

    def alarms_of(self, deployment: DeploymentId) -> tuple[str, ...]:
        """The alarms that name this deployment."""
        return tuple(alarm for alarm in self.alarms if f" {deployment} " in alarm)

    def announcement(self, deployment: DeploymentId) -> Announcement | None:
        """The rollback of it that goes by itself unless somebody holds it, or None."""
        return next(
            (a for a in self.announced if a.deployment == deployment and a.state is AutomaticState.ANNOUNCED), None
        )

    def people_at(self, deployment: DeploymentId) -> str:
        """Who else is at this deployment, in a line; "" where nobody is."""
        return next((line for name, line in self.people if name == deployment), "")

    def incident_of(self, deployment: DeploymentId) -> Incident | None:
        """The open incident a deployment belongs to, or None."""
        return next((i for i in self.incidents if i.closed_at is None and deployment in i.members), None)

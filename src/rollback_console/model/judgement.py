"""What people make of an incident, an execution or a move afterwards, and what they set out to do about it."""

from __future__ import annotations

from rollback_console.model.identity import DeploymentId
from rollback_console.model.value import dataclass

FALSE_ALARM = "false alarm"  # there was nothing: what a fire is judged by that no degradation stood behind
# Root causes that every team has; a team adds its own in its settings (`causes:`).
CAUSES = (
    "performance degradation", "safety concern", "infrastructure incompatibility", "upstream data issue",
    "business rule violation", FALSE_ALARM,
)  # fmt: skip
# Validation gates that could have caught a cause before it served; the settings may name others (`gates:`).
GATES = ("offline evaluation", "shadow traffic", "canary", "data validation", "contract test", "load test")
RIGHT = ("right", "wrong", "cannot tell")
COUNTS_AS = ("unplanned", "planned", "mistake")
MARGINS = ("held", "too tight", "too wide")

ROOT_CAUSE_TAG = "rollback-console.root_cause"  # of a version that was rolled back, in the registry
INCIDENT_TAG = "rollback-console.incident"
WITHDRAWN = "withdrawn"  # the root cause's tag, once a later judgement names none


@dataclass(frozen=True, slots=True)
class Judgement:
    """One judgement. `subject`: an incident's or execution's id, or `move:SEQ`; "" in a field: not said. `seq` is its
    entry's number (0: not written yet), `at` its time (Unix seconds), `by` who judged, `signed` the fingerprint of the
    key it carries a signature of ("": none). `supersedes`: the entry that it replaces, 0: it is the subject's first.
    """

    subject: str
    root_cause: str = ""
    right: str = ""  # one of RIGHT
    counts_as: str = ""  # one of COUNTS_AS
    expected: str = ""
    actual: str = ""
    deviations: tuple[str, ...] = ()
    margins: str = ""  # one of MARGINS
    gate: str = ""
    lessons: tuple[str, ...] = ()
    published: str = ""
    supersedes: int = 0
    seq: int = 0
    at: float = 0.0
    by: str = ""
    hash: str = ""
    signed: str = ""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Something to do. `state`: open, done or dropped; `due`: a day such as 2026-12-24, "" none. `seq` and `hash` are
    those of the entry that opened it; `ended_by` and `reason` of its end."""

    id: str
    incident: str
    what: str
    owner: str = ""
    due: str = ""
    state: str = "open"
    at: float = 0.0
    by: str = ""
    seq: int = 0
    hash: str = ""
    signed: str = ""
    ended_at: float | None = None
    ended_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Subject:
    """What can be judged. `kind`: incident, rollback (an execution or an adoption) or move (any other move of a
    pointer). `ended_at` None: it is not over. `incident`: the one that a rollback belongs to, "" none is known.
    `rolled_back`: (model, version) that it took out of service, each once."""

    id: str
    kind: str
    title: str
    deployments: tuple[DeploymentId, ...]
    began_at: float
    ended_at: float | None
    incident: str = ""
    rolled_back: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class WantedTag:
    """A tag that a judgement calls for and the registry does not have yet, as far as the journal knows."""

    model: str
    version: str
    key: str
    value: str
    subject: str
    deployment: DeploymentId


@dataclass(frozen=True, slots=True)
class Docket:
    """All that can be judged and what was made of it. `subjects` oldest first; `last`: the judgement that counts, by
    subject; `waiting`: ids of what is over and not judged; `pending`: tags to be set; `causes`, `gates`: the words."""

    subjects: tuple[Subject, ...]
    last: tuple[Judgement, ...]
    follow_ups: tuple[FollowUp, ...]
    waiting: tuple[str, ...]
    pending: tuple[WantedTag, ...] = ()
    causes: tuple[str, ...] = CAUSES
    gates: tuple[str, ...] = GATES

    def subject(self, name: str) -> Subject | None:
        """The subject of that id, or None."""
        return next((each for each in self.subjects if each.id == name), None)

    def judgement(self, name: str) -> Judgement | None:
        """The judgement that counts on a subject, or None."""
        return next((each for each in self.last if each.subject == name), None)

    def overdue(self, today: str) -> tuple[FollowUp, ...]:
        """Follow-ups that are open though their day is before `today` (2026-12-24)."""
        return tuple(each for each in self.follow_ups if each.state == "open" and each.due and each.due < today)

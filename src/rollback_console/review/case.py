"""All that a journal knows of one incident: what a postmortem and a message to stakeholders are made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rollback_console.engine.folding import incident_of
from rollback_console.errors import UsageError
from rollback_console.execute.fold import KINDS as EXECUTION_KINDS
from rollback_console.execute.fold import executions, histories
from rollback_console.journal import kinds as k
from rollback_console.journal.entry import Entry, Recorder
from rollback_console.journal.merged import told
from rollback_console.journal.timeline import item
from rollback_console.model.incident import Incident
from rollback_console.model.judgement import FollowUp, Judgement
from rollback_console.model.plan import Execution
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.review.case_cost import Cost, Rules, costs_of
from rollback_console.review.judgements import follow_ups, last

if TYPE_CHECKING:
    from rollback_console.model.rules import DeploymentRule

_SLACK_S = 60.0
_AFTER_S = 900.0  # notes are still written so long after it is over
_RELEASE_S = 14 * 86_400.0  # how long before the onset a move still belongs to the story
_FLEET = ("backend", "clock", "break-glass", "merge", "note")  # told where they concern no deployment in particular
_NOISE = ("tick", "intent", "checkpoint", "session", "policy", "segment", "retention")
_READ = tuple(kind for kind in k.KINDS if kind not in _NOISE or kind == "intent")  # executions fold intents


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to execute. `signed`: the fingerprint of the key, "" where nobody signed."""

    execution: str
    seq: int
    hash: str
    at: float
    operator: str
    reason: str
    phrase: str
    plan: str
    signed: str
    against: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """One change of state that was decided. `at`: of the evaluation; `written_at`: when it was recorded, later where it
    was found by back-filling."""

    seq: int
    hash: str
    at: float
    written_at: float
    deployment: str
    before: str
    after: str
    sentence: str
    tick: str
    backfilled: bool = False
    blind: bool = False  # it fired because nothing could be seen


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a walk that was skipped or failed."""

    seq: int
    at: float
    runbook: str
    title: str
    state: str
    reason: str
    operator: str


@dataclass(frozen=True, slots=True)
class Case:
    """One incident. Times are Unix seconds. `until`: the journal's last entry, up to which all of this is known.
    `lines`: the entries that tell of it, oldest first, without samples and intents."""

    incident: Incident
    opened_at: float
    rehearsal: bool
    chain: str
    head: tuple[int, str]
    until: float
    lines: tuple[TimelineItem, ...]
    decisions: tuple[Decision, ...]
    asked: tuple[Asked, ...]
    runs: tuple[Execution, ...]
    adopted: tuple[TimelineItem, ...]
    moves: tuple[TimelineItem, ...]  # of the members' pointers, from two weeks before the onset on
    steps: tuple[Step, ...]
    runbooks: tuple[str, ...]
    costs: tuple[Cost, ...]
    messages: tuple[tuple[TimelineItem, str, str, str], ...]  # (entry, audience, template, text)
    judgements: tuple[Judgement, ...]  # of the incident and of its rollbacks, the last on each
    follow_ups: tuple[FollowUp, ...]
    tags: tuple[TimelineItem, ...]
    commander: str
    first_advice: tuple[str, ...]
    owners: tuple[str, ...]
    links: tuple[tuple[str, str], ...]

    @property
    def fired(self) -> Decision | None:
        """The first alarm, None where nothing fired."""
        fired = [each for each in self.decisions if each.after == "fired" or each.blind]
        return min(fired, key=lambda each: each.at, default=None)

    @property
    def decided_at(self) -> float | None:
        """When a way back was asked for, or taken by hand."""
        return min([each.at for each in self.asked] + [each.at for each in self.adopted], default=None)

    @property
    def completed_at(self) -> float | None:
        """When the last way back was confirmed."""
        return max((run.ended_at for run in self.runs if run.ended_at and run.state.value == "done"), default=None)

    @property
    def ended_at(self) -> float | None:
        """When it was over, by the journal."""
        return self.incident.closed_at


def case_of(journal: Recorder, name: str) -> Case:
    """The incident of that id (or an unmistakable beginning of it, or the last one of a deployment, or the one of an
    execution or a move). Raises UsageError with what there is; `JournalError`."""
    recorded = _recorded(journal)
    incident_id = _named(_incident_of(name, journal), recorded)
    entries, first, body, opened = recorded[incident_id]
    incident = incident_of(entries[-1], body)
    low = min(incident.onset, first.at) - _SLACK_S
    high = incident.closed_at if incident.closed_at is not None else float("inf")
    members = {str(member) for member in incident.members}
    every = list(told(journal, _READ))
    asked = tuple(_asked(every, members, low, high))
    names = {each.execution for each in asked}
    walks = {
        b.walk: b
        for e in every
        if isinstance(b := e.parsed() if e.kind == "walk" else None, k.WalkEvent)
        and (b.incident == incident_id or (not b.incident and e.deployment in members and low <= e.at <= high))
    }
    mine = [e for e in every if _tells(e, incident_id, members, names, set(walks), low, high)]
    steps = tuple(_steps(mine, {name: walk.runbook for name, walk in walks.items()}))
    judged = last(journal)
    rules = Rules(journal)
    rule = next((rules.last[n] for n in map(str, incident.members) if n in rules.last), None)
    end, head = journal.head(), _last_at(journal)
    return Case(
        incident=incident, opened_at=first.at, rehearsal=_rehearsal(journal), chain=journal.chain,
        head=end, until=head, lines=tuple(item(e) for e in mine if _worth(e)),
        decisions=tuple(_decisions(mine)), asked=asked, runs=_runs(every, names, journal),
        adopted=tuple(item(e) for e in mine if e.kind == "adopt"),
        moves=tuple(item(e) for e in every if e.kind == "pointer" and e.deployment in members
                    and low - _RELEASE_S <= e.at <= high),
        steps=steps, runbooks=tuple(dict.fromkeys(plain(walk.runbook, 100) for walk in walks.values())),
        costs=costs_of(mine, journal, rules, min(high, head)),
        messages=tuple((item(e), b.audience, plain(b.template, 100), b.text) for e in mine
                       if isinstance(b := e.parsed() if e.kind == "message" else None, k.Told)),
        judgements=tuple(j for s, j in judged.items() if s == incident_id or s in names
                         or s in {f"move:{e.seq}" for e in mine if e.kind in ("pointer", "adopt")}),
        follow_ups=tuple(f for f in follow_ups(journal) if f.incident == incident_id or f.incident in names),
        tags=tuple(item(e) for e in mine if e.kind == "tag"), commander=_commander(mine, incident_id),
        first_advice=tuple(advice.sentence for advice in incident_of(first, opened).recommendations),
        owners=_owners(rule), links=_links(rule),
    )  # fmt: skip


def case_in(chains: Sequence[Recorder], name: str) -> Case:
    """As `case_of`, in the first of several chains that has it."""
    problem: UsageError | None = None
    for chain in chains:
        try:
            return case_of(chain, name)
        except UsageError as error:
            problem = problem or error
    raise problem or UsageError("there is no entry here", "name another journal")


def _incident_of(name: str, journal: Recorder) -> str:
    """The incident of an execution or a move (`move:ENTRY`) that `name` is; else `name`."""
    if not name.startswith(("ex-", "move:")):
        return name
    from rollback_console.review.docket import docket

    subject = docket(journal).subject(name)
    return subject.incident or name if subject is not None else name


_Recorded = tuple[list[Entry], Entry, k.IncidentRecorded, k.IncidentRecorded]


def _recorded(journal: Recorder) -> dict[str, _Recorded]:
    """Each incident's entries, the first of them, and what the last and the first say."""
    found: dict[str, _Recorded] = {}
    for entry in told(journal, ("incident",)):
        body = entry.parsed()
        if not isinstance(body, k.IncidentRecorded):
            continue
        known = found.get(body.id)
        entries = [*known[0], entry] if known is not None else [entry]
        found[body.id] = (entries, known[1] if known else entry, body, known[3] if known else body)
    return found


def _named(name: str, recorded: dict[str, _Recorded]) -> str:
    if name in recorded:
        return name
    begun = [each for each in recorded if len(name) > 3 and each.startswith(name)]
    if len(begun) == 1:
        return begun[0]
    of_it = [
        i for i, (_, _, body, _) in recorded.items() if any(name in (m, m.partition("/")[2]) for m in body.members)
    ]
    if of_it:
        return of_it[-1]
    near = ", ".join(list(recorded)[-5:]) or "none"
    raise UsageError(f"no incident {plain(name, 60)} is in this journal", f"the last ones are: {near}")


def _asked(entries: Iterable[Entry], members: set[str], low: float, high: float) -> Iterable[Asked]:
    for entry in entries:
        body = entry.parsed() if entry.kind == "request" else None
        if isinstance(body, k.Requested) and entry.deployment in members and low <= entry.at <= high:
            yield Asked(
                execution=plain(body.execution, 60), seq=entry.seq, hash=entry.hash, at=entry.at,
                operator=entry.operator, reason=body.reason, phrase=body.phrase, plan=body.plan,
                signed=body.person.fingerprint if body.person is not None else "", against=body.against,
                planned=body.planned,
            )  # fmt: skip


def _runs(entries: Sequence[Entry], names: set[str], journal: Recorder) -> tuple[Execution, ...]:
    mine = [e for e in entries if e.kind in EXECUTION_KINDS]
    wanted = {name for name in histories(mine) if name in names}
    return tuple(run for run in executions(mine, journal.get_blob, lambda _: False) if run.id in wanted)


def _tells(
    entry: Entry, incident: str, members: set[str], runs: set[str], walks: set[str], low: float, high: float
) -> bool:
    """Does an entry belong to the incident: by name at any time, by deployment while it lasted."""
    try:
        body = json.loads(entry.body)
    except ValueError:
        return False
    if not isinstance(body, dict):
        return False
    named = {str(body.get(key)) for key in ("incident", "subject")} | (
        {str(body.get("id"))} if entry.kind == "incident" else set()
    )
    if incident in named or named & runs or body.get("execution") in runs or body.get("walk") in walks:
        return True
    if entry.kind in ("incident", "walk", "claim", "judgement", "follow-up", "message", "tag"):
        return False  # it names another
    if body.get("execution") is not None:
        return False
    at = body.get("at", entry.at) if entry.kind in ("transition", "pointer") else entry.at
    if not isinstance(at, int | float) or not low <= at <= high + (_AFTER_S if entry.kind == "note" else 0.0):
        return False
    return entry.deployment in members or (not entry.deployment and entry.kind in _FLEET)


def _worth(entry: Entry) -> bool:
    """Is it a happening: that a step is being done, or is about to be, is told by how it came out."""
    if entry.kind in _NOISE:
        return False
    body = entry.parsed() if entry.kind == "step" else None
    return not (isinstance(body, k.StepMarked) and body.state == "running")


def _decisions(entries: Iterable[Entry]) -> Iterable[Decision]:
    for entry in entries:
        body = entry.parsed() if entry.kind == "transition" else None
        if isinstance(body, k.TransitionRecorded):
            yield Decision(
                seq=entry.seq, hash=entry.hash, at=body.at, written_at=entry.at, deployment=entry.deployment,
                before=plain(body.before, 20), after=plain(body.after, 20), sentence=body.sentence, tick=body.tick,
                backfilled=body.backfilled, blind=body.verdict.get("fired_as_blind") is True,
            )  # fmt: skip


def _steps(entries: Iterable[Entry], runbooks: dict[str, str]) -> Iterable[Step]:
    for entry in entries:
        body = entry.parsed() if entry.kind == "step" else None
        if isinstance(body, k.StepMarked) and body.state in ("skipped", "failed"):
            runbook = plain(runbooks.get(body.walk, body.walk), 100)
            yield Step(entry.seq, entry.at, runbook, body.title, body.state, body.reason, entry.operator)


def _commander(entries: Iterable[Entry], incident: str) -> str:
    """Who commanded last; "" nobody."""
    found = ""
    for entry in entries:
        body = entry.parsed() if entry.kind == "claim" else None
        if isinstance(body, k.Claimed) and body.role == "commander" and body.incident == incident:
            found = entry.operator if body.action == "take" else found if body.action == "handover" else ""
    return plain(found, 100)


def _last_at(journal: Recorder) -> float:
    seq, _ = journal.head()
    return max((entry.at for entry in journal.entries(seq - 1)), default=0.0)


def _rehearsal(journal: Recorder) -> bool:
    first = next(iter(journal.entries(0, ("genesis",), 1)), None)
    body = first.parsed() if first is not None else None
    return isinstance(body, k.Genesis) and body.rehearsal


def _owners(rule: DeploymentRule | None) -> tuple[str, ...]:
    return tuple(plain(owner, 100) for owner in rule.deployment.owners) if rule is not None else ()


def _links(rule: DeploymentRule | None) -> tuple[tuple[str, str], ...]:
    return (
        tuple((plain(title, 60), plain(url, 600)) for title, url in rule.deployment.links) if rule is not None else ()
    )

"""Carries the story out on a journal: real bodies, real signatures, real plans, and decisions by the very engine."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from review.year_world import MODELS, Model, SetClock, World, first_papers, roster_text, rules_of
from rollback_console.authorize.keys import PersonKey
from rollback_console.decide.attribution import Release
from rollback_console.decide.incidents import Fleet, Trouble, group
from rollback_console.decide.judge import FRESH, decide
from rollback_console.engine.declared import Declared
from rollback_console.engine.folding import incident_of
from rollback_console.engine.options import Paper
from rollback_console.engine.record import Decided
from rollback_console.engine.writer import Writer
from rollback_console.execute.plan import make_plan, phrase, plan_bytes, with_checks
from rollback_console.execute.runner import statement as asked
from rollback_console.execute.target import Target
from rollback_console.journal import kinds as k
from rollback_console.journal.body import rules_of as redaction
from rollback_console.journal.chain import canonical
from rollback_console.journal.create import create
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.emergency import begin
from rollback_console.journal.entry import Entry
from rollback_console.journal.merging import merge
from rollback_console.journal.persons import BY_BODY, STATEMENTS, statement
from rollback_console.journal.redact import clean
from rollback_console.journal.store import Journal
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import Tick
from rollback_console.model.plan import Check, StepState
from rollback_console.model.verdict import TriggerMemory, TriggerState, Verdict
from rollback_console.rehearse.score import DrillResult
from rollback_console.runbook.library import shipped_folder
from rollback_console.runbook.parse import parse
from rollback_console.runbook.walk import end, mark, start, walks

_RUNBOOK = "model-version-rollback"
_RECENT_S = 3 * 86_400.0  # releases that grouping is told of


class Scribe:
    """One console's work on one journal. `known` remembers what later entries speak of, by a key of the story."""

    def __init__(self, path: Path, seed: int, clock: SetClock, world: World) -> None:
        self.seed, self.clock, self.world = seed, clock, world
        self.device = DeviceKey.from_seed(f"year {seed}".encode())
        self.ids = random.Random(f"year ids {seed}")
        self.journal = self.main = Journal.open(
            path, device=self.device, clock=clock, chain=f"{self.ids.getrandbits(128):032x}"
        )
        self.main.all_of("PRAGMA synchronous = OFF")  # made from a seed, it need not survive a power cut
        self.papers = first_papers()
        self.known: dict[str, Any] = {}
        self.memories: dict[DeploymentId, TriggerMemory] = {}
        self.states: dict[DeploymentId, TriggerState] = {}
        self.incidents: tuple[Incident, ...] = ()
        self.noted: dict[str, Incident] = {}
        self.releases: list[Release] = []
        self.acted: dict[DeploymentId, float] = {}
        self.declared = Declared()
        self.last_at = 0.0
        self._seq = 1
        self._papers_known: dict[tuple[str, str], str] = {}
        self._roster = Paper("roster", "roster.yaml", 1, "", b"")
        self.source = (shipped_folder() / f"{_RUNBOOK}.md").read_bytes()  # type: ignore[operator]  # it is beside the sources
        self.runbook = parse(self.source, _RUNBOOK)

    # -- writing

    def put(self, body: k.Body, deployment: str = "", operator: str = "", blobs: tuple[bytes, ...] = ()) -> Entry:
        """One entry, signed by its person where its kind carries that."""
        if operator and not operator.startswith("policy ") and body.kind in BY_BODY:
            document = clean(body.model_dump(), redaction(type(body)), frozenset({operator}))
            document["person"] = self.key(operator).sign(
                statement(body.kind, deployment, document, self.clock.now())
            ).model_dump()  # fmt: skip
            body = type(body).model_validate(document)
        entry = self.journal.append_all([(body, deployment, operator)], blobs)[0]
        self._took(entry)
        return entry

    def key(self, operator: str) -> PersonKey:
        return self.known.setdefault(f"key {operator}", PersonKey.from_seed(self.seed, operator))

    def _took(self, entry: Entry) -> None:
        if entry.kind in ("exclusion", "expected"):
            self.declared.take(entry)

    # -- papers

    async def papers_in_force(self) -> None:
        """The console (re)starts with the papers as they stand."""
        self.rules = rules_of(self.papers)
        self.by_id = {rule.deployment.id: rule for rule in self.rules}
        self.models = [next(model for model in MODELS if model.id == rule.deployment.id) for rule in self.rules]
        self.writer = Writer(self.journal, self.rules, inline=True)
        self.writer.declared = self.declared
        for incident in self.incidents:
            self.writer._goes_on(incident, incident, self.clock.now())  # a restart goes on with them
        found = [
            Paper("policy", paper.team, paper.version, hashlib.sha256(paper.text()).hexdigest(), paper.text())
            for paper in self.papers.values()
        ]
        self.writer.begin("watch", [*found, self._roster], self._papers_known, simulated=False)
        self.writer._items[0] = (  # neither this machine nor this process is the simulated team's
            k.Session(event="recorder", pid=4_711, host="console-1", command="watch", program="rollback-console 1.0"),
            "", "",
        )  # fmt: skip
        self._papers_known = {(p.what, p.name): p.digest for p in [*found, self._roster]}
        await self.flush()

    def in_force(self, *teams: str) -> None:
        """Policies of these teams are new: the main loop restarts the console."""
        self.known["restart"] = teams

    def roster(self, people: list[str]) -> None:
        """Who is on call from here on."""
        data = roster_text(people, self.seed)
        version = self._roster.version + 1 if self._roster.data else 1
        self._roster = Paper("roster", "roster.yaml", version, hashlib.sha256(data).hexdigest(), data)
        self.known["restart"] = ("roster",)

    async def flush(self) -> None:
        """Write what the recorder has noted."""
        await self.writer.flush()
        if self.writer.problem:
            raise RuntimeError(self.writer.problem)

    # -- evaluating

    async def evaluate(self, at: float, true: float, version_of: Callable[[Model, float], str]) -> None:
        """One evaluation of the whole fleet: decided, recorded, grouped, as the engine does."""
        if at <= self.last_at:
            return  # the clock was set back: these times have been judged
        self.last_at = at
        seen = [self.world.observe(model, true, at, version_of(model, true)) for model in self.models]
        verdicts: dict[DeploymentId, Verdict] = {}
        changed: list[Decided] = []
        for rule, observation in zip(self.rules, seen, strict=True):
            name = rule.deployment.id
            before = self.memories.get(name, FRESH)
            cooling = at < self.acted.get(name, -1e12) + rule.trigger.cool_down_s
            verdict, after = decide(rule, observation, before, cooling=cooling)
            was = self.states.get(name, TriggerState.HEALTHY)
            if verdict.state is not was:
                changed.append(Decided(rule, before, was, verdict, after, ""))
            self.memories[name], self.states[name], verdicts[name] = after, verdict.state, verdict
        packed = self.writer.tick(Tick(at, tuple(seen)), list(verdicts.values()), always=bool(changed))
        for each in changed:
            self.writer.decided(Decided(each.rule, each.before, each.state_before, each.verdict, each.after,
                                        packed.digest))  # fmt: skip
        self._regroup(at, verdicts)
        await self.flush()
        self._fold_incidents()

    def _regroup(self, at: float, verdicts: dict[DeploymentId, Verdict]) -> None:
        troubles = {}
        for name in verdicts:
            memory = self.memories[name]
            if memory.active_since is not None:
                troubles[name] = Trouble(memory.active_since, memory.onset_signals)
            elif memory.blind_since is not None:
                troubles[name] = Trouble(memory.blind_since)
        if not troubles and not self.incidents:
            return
        self.releases = [each for each in self.releases if each.at > at - _RECENT_S]
        self.incidents = group(Fleet(self.by_id, self.releases), verdicts, troubles, self.incidents)
        onsets = {name: trouble.onset for name, trouble in troubles.items()}
        self.writer.incidents(self.incidents, self.noted, onsets, at)

    def _fold_incidents(self) -> None:
        for entry in self.main.entries(self._seq, ("incident",)):
            body = entry.parsed()
            assert isinstance(body, k.IncidentRecorded)
            self.noted[body.id] = incident_of(entry, body)
        self._seq = self.main.known_head[0]
        self.noted = {name: each for name, each in self.noted.items() if each.closed_at is None}

    # -- moves and executions

    def pointer(
        self, model: Model, before: int, after: int, key: str, *, ours: str | None = None,
        registered: float | None = None, at: float | None = None,
    ) -> None:  # fmt: skip
        when = at if at is not None else self.clock.now()
        by = self.known[f"execution {ours}"] if ours is not None else None
        body = k.PointerMoved(at=when, model=model.name, alias="champion", before=str(before), after=str(after),
                              ours=by, registered_at=registered)  # fmt: skip
        self.known[f"move {key}"] = self.put(body, model.key).seq
        self.releases.append(Release(model.id, when, str(before), str(after), rollback=by is not None))
        if by is not None:
            self.acted[model.id] = when

    def adopt(
        self, model: Model, before: int, after: int, moved: float, who: str, reason: str, *, planned: bool = False
    ) -> None:
        facts = {"schema": STATEMENTS["adopt"][0], "deployment": model.key, "model": model.name, "alias": "champion",
                 "from": str(before), "to": str(after), "moved_at": round(moved, 3), "reason": reason,
                 **_planned(planned)}  # fmt: skip
        body = k.Adopted(model=model.name, alias="champion", from_version=str(before), to_version=str(after),
                         reason=reason, moved_at=moved, person=self.key(who).sign(canonical(facts)), moved_by=who,
                         planned=planned)  # fmt: skip
        self.put(body, model.key, who)
        self.acted[model.id] = self.clock.now()

    def request(
        self, key: str, model: Model, before: int, after: int, who: str, reason: str, *, planned: bool = False
    ) -> None:
        rule, now = self.by_id[model.id], self.clock.now()
        plan = make_plan(
            rule=rule, path=rule.recovery[0], from_version=str(before),
            target=Target(str(after), f"v{after} served healthily before"),
            manual=lambda draft: (f"mlflow-alias {draft.model} {draft.alias} {draft.to_version}",), now=now,
        )  # fmt: skip
        plan = with_checks(plan, (Check("registry", True, f"v{after} is READY"),))
        execution, said = f"ex-{self.ids.getrandbits(48):012x}", phrase(plan)
        person = None
        if not who.startswith("policy "):
            facts = json.loads(asked(execution, plan, said, reason, now))
            person = self.key(who).sign(canonical({**facts, **_planned(planned)}))
        data = plan_bytes(plan)
        body = k.Requested(execution=execution, plan=plan.digest, plan_blob=hashlib.sha256(data).hexdigest(),
                           phrase=said, reason=reason, person=person, planned=planned)  # fmt: skip
        self.put(body, model.key, who, (data,))
        self.known[f"execution {key}"], self.known[f"who {key}"] = execution, (model.key, who)

    def intent(self, key: str, step: str) -> None:
        place, who = self.known[f"who {key}"]
        self.put(k.Intent(execution=self.known[f"execution {key}"], step=step, detail=f"{step} now"), place, who)

    def outcome(self, key: str, step: str, state: Any = "done") -> None:
        place, who = self.known[f"who {key}"]
        body = k.Outcome(execution=self.known[f"execution {key}"], step=step, state=state, detail=f"{step}: {state}")
        self.put(body, place, who)

    def ended(self, key: str, state: Any) -> None:
        place, who = self.known[f"who {key}"]
        body = k.ExecutionEnded(execution=self.known[f"execution {key}"], state=state, detail=f"{state}, as it stands")
        self.put(body, place, who)

    def announce(self, model: Model, to: int, due: float) -> None:
        body = k.AutomaticRecorded(event="announced", path="version", to_version=str(to), due=due,
                                   words=f"v{to} served well before")  # fmt: skip
        self.put(body, model.key, f"policy {model.team}")

    def started(self, model: Model, to: int, due: float, key: str) -> None:
        body = k.AutomaticRecorded(event="started", path="version", to_version=str(to), due=due,
                                   words=f"v{to} served well before",
                                   execution=self.known[f"execution {key}"])  # fmt: skip
        self.put(body, model.key, f"policy {model.team}")

    # -- an emergency journal

    def break_glass(self, who: str, reason: str) -> None:
        seq, head = self.main.head()
        stands_in = k.StandsIn(chain=self.main.chain, seq=seq, hash=head)
        path = self.main.path.with_name(f"{self.main.path.name}.emergency")
        path.unlink(missing_ok=True)
        chain = f"{self.ids.getrandbits(128):032x}"
        create(path, self.device, self.clock, k.Genesis(
            chain=chain, program="rollback-console 1.0", device=self.device.public_openssh(), stands_in=stands_in,
        ))  # fmt: skip
        self.journal = Journal.open(path, device=self.device, clock=self.clock)
        begin(self.journal, stands_in, problem="the disk is full", reason=reason, operator=who,
              sign=self.key(who).sign, at=self.clock.now())  # fmt: skip

    def merge(self, who: str, reason: str) -> None:
        path = self.journal.path
        self.journal.close()
        self.journal = self.main
        merge(self.main, path, reason, who)
        for suffix in ("", "-journal"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)

    # -- people

    def remember_incident(self, key: str, model: Model) -> None:
        """Which incident the deployment is in now."""
        found = next((each for each in self.incidents if model.id in each.members), None)
        if found is None:
            raise RuntimeError(f"{key}: no incident of {model.key} is open")
        self.known[f"incident {key}"] = found.id

    def claim(self, key: str, who: str) -> None:
        self.put(k.Claimed(incident=self.known[f"incident {key}"], role="commander", action="take"), "", who)

    def snooze(self, model: Model, who: str) -> None:
        self.put(k.Snoozed(until=round(self.clock.now() + 1_800.0, 3), reason="somebody is on it"), model.key, who)

    def walk(self, key: str, model: Model, who: str) -> None:
        name = f"w-{self.ids.getrandbits(32):08x}"
        body = start(self.runbook, name, self.known[f"incident {key}"])
        self.known[f"walk {key}"] = [self.put(body, model.key, who, (self.source,))]
        for _ in range(2):
            self._step(key, StepState.DONE, who)

    def _step(self, key: str, state: StepState, who: str, reason: str = "") -> None:
        entries: list[Entry] = self.known[f"walk {key}"]
        walk = walks(entries, lambda digest: self.source)[0]
        step = next(each.step for each in walk.steps if each.state is StepState.WAITING)
        entries.append(self.put(mark(walk, step.id, state, reason, by_act=True), entries[0].deployment, who))

    def walk_on(self, key: str, who: str) -> None:
        self._step(key, StepState.SKIPPED, who, "no gate here")
        self._step(key, StepState.DONE, who)
        entries: list[Entry] = self.known[f"walk {key}"]
        walk = walks(entries, lambda digest: self.source)[0]
        self.put(end(walk), entries[0].deployment, who)

    def judge(self, subject: str, key: str, model: Model, who: str, facts: dict[str, Any]) -> None:
        about = {
            "execution": lambda: self.known[f"execution {key}"], "move": lambda: f"move:{self.known[f'move {key}']}",
            "incident": lambda: self.known[f"incident {key}"],
        }[subject]()  # fmt: skip
        before = self.known.get(f"judgement {about}", 0)
        body = k.Judged(subject=about, supersedes=before, **facts)
        self.known[f"judgement {about}"] = self.put(body, model.key, who).seq
        self.known[f"judged {key}"] = about

    def follow_up(self, key: str, who: str, what: str, due: float) -> None:
        name = f"f-{self.ids.getrandbits(32):08x}"
        self.known[f"follow-up {key}"] = name
        day = datetime.fromtimestamp(due, UTC).date().isoformat()
        self.put(k.FollowedUp(event="opened", id=name, incident=self.known.get(f"incident {key}", ""), what=what,
                              owner=who, due=day), "", who)  # fmt: skip

    def followed(self, key: str, who: str) -> None:
        self.put(k.FollowedUp(event="done", id=self.known[f"follow-up {key}"],
                              incident=self.known.get(f"incident {key}", ""), what="done"), "", who)  # fmt: skip

    def tag(self, key: str, model: Model, cause: str) -> None:
        self.put(k.Tagged(model=model.name, version="1", key="rollback.root_cause", value=cause,
                          subject=self.known[f"judged {key}"]), model.key)  # fmt: skip

    def tell(self, key: str, who: str) -> None:
        self.put(k.Told(incident=self.known[f"incident {key}"], template="decision", audience="internal",
                        text="it is known, and somebody is on it", how="copied"), "", who)  # fmt: skip

    def exclude(self, model: Model, since: float, until: float, who: str) -> None:
        name = f"bl-{self.ids.getrandbits(24):06x}"
        body = k.StretchExcluded(event="excluded", id=name, start=since, end=until, deployments=[model.key],
                                 reason="an upstream fault")  # fmt: skip
        self.put(body, "", who)

    def expect(self, model: Model, at: float, who: str) -> None:
        name = f"ch-{self.ids.getrandbits(24):06x}"
        until = round(self.clock.now() + 1_200.0, 3)
        body = k.ChangeExpected(event="declared", id=name, until=until, deployments=[model.key], reason="an index")
        self.put(body, "", who)

    def drill(self, day: int, passed: bool, who: str) -> None:
        """One line of a drill that was played elsewhere, as a drill with a screen leaves it."""
        scenario, klass = (
            ("demo", "release"), ("conversion-regression", "release"), ("slow-ramp", "ramp"),
            ("tracking-loss", "telemetry"), ("blip", "blip"),
        )[day % 5]  # fmt: skip
        late = 240.0 + 37.0 * (day % 11)
        found = DrillResult(
            scenario, day, who, passed, "right" if passed else "wrong", late / 4, late / 2, late, late + 600.0, 9,
            0 if passed else 2, (), (), () if passed else ("2 steps of a runbook were skipped",), 1_800.0,
            authorized_s=late - 20.0, cost=90_000.0 + late, cost_unit="EUR", klass=klass, path="version",
        )  # fmt: skip
        self.put(k.DrillSummary(scenario=scenario, seed=day, passed=passed, detail=found.detail()), "", who)

    def note(self, text: str, who: str) -> None:
        self.put(k.Note(text=text), "", who)

    def refusal(self, model: Model, who: str) -> None:
        self.put(k.Refusal(act="execute", rule="nothing is fired", who_could="nobody now"), model.key, who)

    def backend(self, state: str, detail: str) -> None:
        self.put(k.BackendChanged(name="prometheus", state=state, detail=detail))


def _planned(planned: bool) -> dict[str, bool]:
    """What a statement says of a planned switch; of a remedy it says nothing."""
    return {"planned": True} if planned else {}

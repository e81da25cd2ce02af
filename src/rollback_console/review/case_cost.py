"""What an incident cost, as its decisions recorded it, and where each number comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from rollback_console.decide.impact import AMOUNTS
from rollback_console.decide.judge import decide
from rollback_console.decide.version import decides_alike
from rollback_console.engine.record import memory_from, unpack
from rollback_console.errors import FileProblems
from rollback_console.journal.entry import Entry, Recorder
from rollback_console.journal.kinds import PolicyInForce, TickRecorded, TransitionRecorded
from rollback_console.journal.merged import told
from rollback_console.model.observation import Observation, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import CostMemory, ImpactPart

Blobs = Callable[[str], bytes | None]
_MOST_TICKS = 2_000  # samples that a sum goes on with: eight hours at one every 15 s
_NEAR_S = 300.0  # samples are recorded at least so often


@dataclass(frozen=True, slots=True)
class Cost:
    """What the incident cost one deployment. `totals`: (name, amount, unit), as the memory of its decisions summed them
    evaluation by evaluation; `at_least`: time is missing that nobody saw; `seq`: the entry that holds the last sum.
    `worst`: the parts at the worst decision (entry `worst_seq`), each with its source; () where that could not be
    decided again (`why` says why not). `score` is that decision's impact, 0 to 100."""

    deployment: str
    totals: tuple[tuple[str, float, str], ...]
    at_least: bool
    seq: int
    until: float
    score: float
    worst_seq: int
    worst: tuple[ImpactPart, ...] = ()
    why: str = ""


class Rules:
    """The rules that a journal's decisions were made by. Policies whose bytes are gone, or that this program cannot
    read, are left out."""

    def __init__(self, journal: Recorder) -> None:
        from rollback_console.policy.load import parse_policy

        self.last: dict[str, DeploymentRule] = {}  # environment/name -> its rule, by the last policy that names it
        self._by_policy: dict[str, dict[str, DeploymentRule]] = {}
        for entry in told(journal, ("policy",)):
            body = entry.parsed()
            if not isinstance(body, PolicyInForce) or body.what != "policy":
                continue
            if body.digest not in self._by_policy:
                data = journal.get_blob(body.digest)
                try:
                    rules = parse_policy(data, body.name).rules if data is not None else ()
                except FileProblems:
                    rules = ()
                self._by_policy[body.digest] = {str(rule.deployment.id): rule for rule in rules}
            self.last.update(self._by_policy[body.digest])

    def by(self, policy: str, deployment: str) -> DeploymentRule | None:
        """The rule of environment/name in the policy of that digest."""
        return self._by_policy.get(policy, {}).get(deployment)


def costs_of(entries: Iterable[Entry], journal: Recorder, rules: Rules, until: float) -> tuple[Cost, ...]:
    """One for each deployment that a transition among `entries` is about, in the order of the first ones. Where a
    trouble goes on after the last of them, its sum goes on with the samples recorded up to `until` (Unix seconds)."""
    by_deployment: dict[str, list[tuple[Entry, TransitionRecorded]]] = {}
    for entry in entries:
        body = entry.parsed() if entry.kind == "transition" else None
        if isinstance(body, TransitionRecorded):
            by_deployment.setdefault(entry.deployment, []).append((entry, body))
    going_on = _GoingOn(journal, until)
    return tuple(_cost(name, made, journal.get_blob, rules, going_on) for name, made in by_deployment.items())


def _cost(
    name: str, made: list[tuple[Entry, TransitionRecorded]], blobs: Blobs, rules: Rules, going_on: _GoingOn
) -> Cost:
    sums, seq, at = _sums(made)
    last, body = made[-1]
    if sums and _memory(body.memory_after) is not None:
        rule = rules.by(body.policy, name)
        sums[-1], seq, at = going_on.summed(last, body, rule, (sums[-1], seq, at))
    units = _units(rules.last.get(name))
    totals = []
    for index, amount in enumerate(AMOUNTS):
        told_amounts = [cost.lost[index] for cost in sums if index < len(cost.lost) and cost.lost[index] is not None]
        if told_amounts:
            totals.append((amount, max(0.0, sum(each or 0.0 for each in told_amounts)), units.get(amount, "")))
    worst_entry, worst = max(made, key=lambda pair: (_score(pair[1]), -pair[0].seq))
    parts, why = _parts(worst_entry, worst, blobs, rules.by(worst.policy, name))
    missing = any(cost.unseen_s > 0 or not cost.whole for cost in sums)
    stops = _memory(body.memory_after) is not None and at < going_on.until - _NEAR_S
    return Cost(
        deployment=name, totals=tuple(totals), at_least=missing or stops, seq=seq, until=at, score=_score(worst),
        worst_seq=worst_entry.seq, worst=parts, why=why,
    )  # fmt: skip


class _GoingOn:
    """Sums that go on after a deployment's last transition: decided again from each sample that was recorded."""

    def __init__(self, journal: Recorder, until: float) -> None:
        self.until = until
        self._journal = journal
        self._ticks: dict[str, Tick | None] = {}

    def summed(
        self, last: Entry, body: TransitionRecorded, rule: DeploymentRule | None, known: tuple[CostMemory, int, float]
    ) -> tuple[CostMemory, int, float]:
        """(sum, entry of the last sample that it has, its time); `known` where nothing more can be told."""
        if rule is None or not decides_alike(body.engine):
            return known
        memory = memory_from(body.memory_after)
        for entry in self._journal.entries(last.seq, ("tick",), _MOST_TICKS):
            told_at = entry.parsed()
            if not isinstance(told_at, TickRecorded) or told_at.at > self.until:
                break
            observation = self._observation(told_at.blob, last.deployment)
            if observation is None:
                break
            _, memory = decide(rule, observation, memory, cooling=body.cooling)
            if memory.cost is None:
                break
            known = (memory.cost, entry.seq, told_at.at)
        return known

    def _observation(self, blob: str, deployment: str) -> Observation | None:
        if blob not in self._ticks:
            try:
                data = self._journal.get_blob(blob)
                self._ticks[blob] = unpack(data, self._journal.get_blob) if data is not None else None
            except (ValueError, KeyError, TypeError, IndexError, AttributeError):
                self._ticks[blob] = None
        tick = self._ticks[blob]
        return next((o for o in tick.observations if str(o.deployment) == deployment), None) if tick else None


def _score(body: TransitionRecorded) -> float:
    score = body.verdict.get("impact")
    return float(score) if isinstance(score, int | float) else 0.0


def _sums(made: list[tuple[Entry, TransitionRecorded]]) -> tuple[list[CostMemory], int, float]:
    """The last sum of each trouble, which entry holds the last of them, and up to when it counts."""
    done: list[CostMemory] = []
    current: CostMemory | None = None
    seq, until = made[-1][0].seq, made[-1][1].at
    for entry, body in made:
        before, after = _memory(body.memory_before), _memory(body.memory_after)
        current = before or current
        if current is not None:
            seq, until = entry.seq, body.at
        if after is None and current is not None:
            done.append(current)
        current = after
    return ([*done, current] if current is not None else done), seq, until


def _memory(document: Mapping[str, object]) -> CostMemory | None:
    try:
        return memory_from(document).cost
    except (TypeError, ValueError, KeyError, AttributeError, IndexError):
        return None  # another program's: nothing is claimed of it


def _units(rule: DeploymentRule | None) -> dict[str, str]:
    if rule is None:
        return {}
    impact = rule.impact
    kinds = {"satisfaction": impact.satisfaction, "market": impact.market}
    return {"revenue": impact.unit, "users": "users", **{name: kind.unit for name, kind in kinds.items() if kind}}


def _parts(
    entry: Entry, body: TransitionRecorded, blobs: Blobs, rule: DeploymentRule | None
) -> tuple[tuple[ImpactPart, ...], str]:
    """The parts of the impact that a decision was made with, decided again from what it was made from."""
    if not decides_alike(body.engine):
        return (), f"made by engine {body.engine}, which this program does not have"
    try:
        samples = blobs(body.tick)
        if rule is None or samples is None:
            return (), "its policy or its samples are no longer here"
        tick = unpack(samples, blobs)
        observation = next((o for o in tick.observations if str(o.deployment) == entry.deployment), None)
        if observation is None:
            return (), "its samples do not hold it"
        verdict, _ = decide(rule, observation, memory_from(body.memory_before), cooling=body.cooling)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        return (), f"its samples cannot be read: {error}"
    return verdict.impact.parts, ""

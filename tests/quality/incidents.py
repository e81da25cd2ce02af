"""The benchmark of incidents: is it one incident a cause, is its origin right, is what is advised right.

`python -m tests.quality.incidents` plays every story through the very engine and prints what it found; `--write` puts
it into docs/decision-quality.md. Some fifteen minutes of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # so that `quality` is one package, here and in tests

from quality import intervals, page
from quality.incident_worlds import KINDS, Cause, Chosen, Story, plan, tell
from rollback_console.clock import VirtualClock
from rollback_console.decide.attribution import RELEASE_LOOK_BACK_S, Release
from rollback_console.decide.incidents import Fleet, group
from rollback_console.decide.judge import FRESH, decide
from rollback_console.engine.board import Board
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Incident
from rollback_console.model.observation import Blind, Norm, Observation, Reading
from rollback_console.model.rules import SignalRule
from rollback_console.rehearse.backends import WorldMetrics

MILD = " (mild)"
DISPERSION = (1.3,)  # of the mild stories' counts: what their noise comes to
SETTLED_S = 600.0  # after its first alarm an incident's advice is judged again: what stands then is what people act on
SEED = 11
FOUND = ("release", "upstream", "infrastructure", "telemetry", "unknown", "no alarm")
RIGHT = {"none": ("unknown", "no alarm")}  # elsewhere the cause's own name


@dataclass
class Seen:
    """One incident as it was shown: from its first alarm on, and as it stood when it was settled."""

    first_at: float
    first: Incident
    settled: Incident
    members: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Judged:
    """One cause judged. `found`: the origin named when settled, `at_first`: at the first alarm. `wrong`: deployments
    that were ever advised to be rolled back though no rollback mends them, or to another version than mends them."""

    scenario: str
    seed: int
    cause: str
    found: str
    at_first: str
    incidents: int
    merged: bool
    right_advice: bool
    right_at_first: bool
    wrong: tuple[str, ...]
    sentence: str

    @property
    def right_origin(self) -> bool:
        return self.found in RIGHT.get(self.cause, (self.cause,))

    @property
    def one_incident(self) -> bool:
        return not self.merged and (self.incidents == 1 or (self.incidents == 0 and self.found in self._may_be_quiet))

    @property
    def _may_be_quiet(self) -> tuple[str, ...]:
        return ("no alarm",) if self.cause == "none" else ()


class Log:
    """What a person was shown: every incident that ever alarmed, by its id, and every rollback that was advised, as
    (deployment, to version, incident)."""

    def __init__(self) -> None:
        self.seen: dict[str, Seen] = {}
        self.advised: set[tuple[str, str | None, str]] = set()

    def look(self, at: float, incidents: Sequence[Incident], alarming: set[DeploymentId]) -> None:
        for incident in incidents:
            if incident.id not in self.seen and not alarming.isdisjoint(incident.members):
                self.seen[incident.id] = Seen(at, incident, incident)
            known = self.seen.get(incident.id)
            if known is None:
                continue
            known.members.update(str(name) for name in incident.members)
            if at <= known.first_at + SETTLED_S:
                known.settled = incident
            for advice in incident.recommendations:
                if advice.path is not None:
                    self.advised.add((str(advice.deployment), advice.to_version, incident.id))


def watch(story: Story) -> Log:
    """Play a story and keep what was shown."""
    return _by_evidence(story) if story.mild else asyncio.run(_through_the_engine(story))


async def _through_the_engine(story: Story) -> Log:
    clock = story.world.clock
    assert isinstance(clock, VirtualClock)
    options = Options(step_s=story.step_s, delay_s=0.0, lookback_s=1800.0, follow=False, debug=True)
    engine = Engine(story.rules, WorldMetrics(story.world), None, clock, options, inline=True)
    await engine.start()
    log, at = Log(), story.watch_from
    while at < story.until:
        at += story.step_s
        await clock.advance(at - clock.now())
        snapshot = await engine.step(at)
        log.look(at, snapshot.incidents, {v.id for v in snapshot.deployments if v.verdict and v.verdict.alarming})
    await engine.close()
    return log


def _by_evidence(story: Story) -> Log:
    """The same decisions without the engine around them: `decide`, and `group` over what the board holds. The engine
    would first learn weeks of a world that is drawn at 15 s; here each rate's normal value is known."""
    board = Board(story.rules, story.step_s)
    rules = {rule.deployment.id: rule for rule in story.rules}
    log, at = Log(), story.watch_from
    incidents: tuple[Incident, ...] = ()
    while at < story.until:
        at += story.step_s
        for index, rule in enumerate(story.rules):
            before = board.memories.get(index, FRESH)
            board.put(index, before, *decide(rule, observe(story, index, at), before))
        verdicts = board.by_id()
        incidents = group(Fleet(rules, _releases(story, at)), verdicts, board.troubles(), incidents)
        log.look(at, incidents, {name for name, verdict in verdicts.items() if verdict.alarming})
    return log


def observe(story: Story, index: int, at: float) -> Observation:
    """What a minute of the world shows of a deployment: conversion, errors, age of features; silent with its
    exporter."""
    world, rule = story.world, story.rules[index]
    deployment = world.deployments[index]
    if not world.exporter_alive(deployment, at):
        return Observation(deployment.id, at, (Reading(blind=Blind.NO_DATA),) * len(rule.signals))
    last = int(at // world.slot_s)
    first = last - int(story.step_s // world.slot_s)
    readings = [
        _counted(world.growth(index, x, first, last), world.growth(index, n, first, last), rule.signals[k])
        for k, (x, n) in enumerate((("orders_total", "visits_total"), ("errors_total", "requests_total")))
    ]
    readings.append(Reading(world.feature_age(index, at)))
    return Observation(deployment.id, at, tuple(readings), world.serving(deployment, at)[0])


def _counted(x: float, n: float, signal: SignalRule) -> Reading:
    if n <= 0:
        return Reading(blind=Blind.NO_DATA)
    assert signal.evidence is not None
    assert signal.baseline is not None
    return Reading(x / n, signal.baseline.value, n, x=x, norm=Norm(signal.evidence.margin or 0.01, DISPERSION))


def _releases(story: Story, at: float) -> tuple[Release, ...]:
    """The version changes of the last two days, as serving reports them."""
    found = []
    for deployment in story.world.deployments:
        served = story.world.services(deployment)
        for (_, before), (since, after) in itertools.pairwise(served):
            if at - RELEASE_LOOK_BACK_S <= since <= at:
                found.append(Release(deployment.id, since, before, after))
    return tuple(sorted(found, key=lambda release: release.at))


def judge(story: Story, log: Log) -> list[Judged]:
    """Each cause of a story against what was shown."""
    seen = log.seen
    cures = {str(name): version for cause in story.causes for name, version in cause.cures.items()}
    of: dict[str, list[int]] = {}  # incident -> its causes
    for name, shown in seen.items():
        of[name] = [k for k, c in enumerate(story.causes) if not shown.members.isdisjoint(map(str, c.members))]
    out = []
    wrong = {(who, which) for who, to, which in log.advised if cures.get(who) != to}
    for number, cause in enumerate(story.causes):
        mine = [name for name in seen if number in of[name] or (not of[name] and number == 0)]
        first = min(mine, key=lambda name: seen[name].first_at, default=None)
        merged = any(len(of[name]) > 1 for name in mine)
        misled = tuple(sorted(who for who, which in wrong if which in mine))
        if first is None:
            found, sentence = "no alarm", ""
            right = at_once = cause.kind == "none"
            early = found
        else:
            settled = seen[first].settled
            found, sentence = str(settled.attribution.kind), settled.sentence
            early = str(seen[first].first.attribution.kind)
            right = _advised_right(cause, settled, cures)
            at_once = _advised_right(cause, seen[first].first, cures)
        name = story.scenario + (MILD if story.mild else "")
        out.append(
            Judged(
                name, story.seed, cause.kind, found, early, len(mine), merged, right and not misled, at_once, misled,
                sentence,
            )
        )  # fmt: skip
    return out


def _advised_right(cause: Cause, incident: Incident, cures: dict[str, str]) -> bool:
    """Is what an incident advises what mends it: the culprits back to the right version and nobody else."""
    back = {str(r.deployment): r.to_version for r in incident.recommendations if r.path is not None}
    if any(cures.get(who) != to for who, to in back.items()):
        return False
    for name, version in cause.cures.items():
        if cause.unseen:
            advice = next((r for r in incident.recommendations if r.deployment == name), None)
            if advice is None or advice.to_version != version:
                return False
        elif back.get(str(name)) != version:
            return False
    return True


def played(chosen: Chosen) -> list[Judged]:
    """One story, told, played and judged."""
    story = tell(*chosen)
    return judge(story, watch(story))


def run(seed: int = SEED, every: int = 1, processes: int = 1) -> list[Judged]:
    """Play and judge each `every`-th story of the benchmark."""
    stories = plan(seed, every)
    if processes == 1:
        return [result for chosen in stories for result in played(chosen)]
    out: list[Judged] = []
    with ProcessPoolExecutor(processes) as pool:
        for done, results in enumerate(pool.map(played, stories)):
            out.extend(results)
            if done % 20 == 19:
                print(f"{done + 1} of {len(stories)}", file=sys.stderr, flush=True)
    return out


# -- words -------------------------------------------------------------------------------------------------------------


def share(count: int, of: int) -> str:
    if not of:
        return "none"
    found = intervals.share(count, of)
    return f"{count} of {of}, {found.value:.1%} [{found.low:.1%}, {found.high:.1%}]"


def report(results: Sequence[Judged], seed: int) -> str:
    """The tables as Markdown."""
    count = len(results)
    table = Counter((r.cause, r.found) for r in results)
    lines = [
        f"{len(results)} causes in {len({(r.scenario, r.seed) for r in results})} seeded incidents of "
        f"{len({r.scenario.removesuffix(MILD) for r in results})} kinds (seed {seed}), each played on the simulated "
        "world; 95 % intervals by Clopper and Pearson.",
        "",
        "| | |",
        "|---|---|",
        f"| right advice, ten minutes after the first alarm | {share(sum(r.right_advice for r in results), count)} |",
        f"| right advice at the very first alarm | {share(sum(r.right_at_first for r in results), count)} |",
        f"| a wrong rollback advised, at any moment | {share(sum(bool(r.wrong) for r in results), count)} |",
        f"| the origin named rightly | {share(sum(r.right_origin for r in results), count)} |",
        f"| one incident for the cause | {share(sum(r.one_incident for r in results), count)} |",
        "",
        "Rows: what was true; columns: what was named.",
        "",
        "| true cause | " + " | ".join(FOUND) + " | right |",
        "|---|" + "---|" * (len(FOUND) + 1),
    ]
    for kind in KINDS:
        mine = [r for r in results if r.cause == kind]
        cells = [str(table[kind, found] or "") for found in FOUND]
        lines.append(f"| {kind} | " + " | ".join(cells) + f" | {share(sum(r.right_origin for r in mine), len(mine))} |")
    lines += [
        "",
        "| kind of incident | causes | right advice | wrong rollback | right origin | one incident |",
        "|---|---|---|---|---|---|",
    ]
    for scenario in dict.fromkeys(r.scenario for r in results):
        mine = [r for r in results if r.scenario == scenario]
        lines.append(
            f"| {scenario.replace('_', ' ')} | {len(mine)} | {sum(r.right_advice for r in mine)} "
            f"| {sum(bool(r.wrong) for r in mine)} | {sum(r.right_origin for r in mine)} "
            f"| {sum(r.one_incident for r in mine)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--every", type=int, default=1, help="play each so-manieth story only")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--misses", action="store_true", help="print what went wrong, one line each")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/decision-quality.md")
    args = parser.parse_args()
    results = run(args.seed, args.every, args.processes)
    text = report(results, args.seed)
    print(text)
    if args.misses:
        for r in results:
            if not (r.right_advice and r.right_origin and r.one_incident and not r.wrong):
                print(
                    f"{r.scenario} {r.seed}: {r.cause} -> {r.at_first} -> {r.found}; incidents {r.incidents}"
                    f"{' merged' if r.merged else ''}; advice {'right' if r.right_advice else 'WRONG'}; "
                    f"wrong rollbacks {r.wrong}; {r.sentence}"
                )
    if args.write:
        page.write("incidents", text)


if __name__ == "__main__":
    main()

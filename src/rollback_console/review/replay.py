"""The state at any moment of a journal, as the screens show it: `Replay(source)`, `read()`, then `at(time)`.

Between recorded evaluations the last known stands, and its age is told. What was recorded is what is shown; beside it
stands what the very engine comes to over the same samples (`Moment.again`, `decisions`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rollback_console.engine.board import TRACE_POINTS
from rollback_console.engine.declared import Declared
from rollback_console.engine.record import redecide
from rollback_console.errors import InputError, OtherEngine
from rollback_console.execute.fold import executions
from rollback_console.journal.announced import Announced
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import BackendChanged, Snoozed
from rollback_console.model.incident import Incident
from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.plan import Execution, ExecutionState
from rollback_console.model.review import Again, Moment
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.snapshot import DeploymentView, JournalStatus, Snapshot
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.model.verdict import Verdict
from rollback_console.model.walk import Walk
from rollback_console.review.replay_index import Index
from rollback_console.review.replay_panels import Grid, Line, as_recorded, in_order, seen_in, traces
from rollback_console.review.replay_samples import ON_GRID, Sampled, Samples, Turned
from rollback_console.review.sources import Source, open_source
from rollback_console.runbook.walk import walks

CHANGES_NOTHING = "a review changes nothing"
_TIMELINE = 2_000  # lines of the timeline in a Snapshot, as live
_OVER_S, _OVERS = 7 * 86_400.0, 20  # closed incidents that a Snapshot still names, as live
_CALM_S = 300.0  # a calm fleet's samples are recorded this often
_SLICE = 8  # ticks unpacked, or deployments judged, between two chances for a key
_ACTED = (ExecutionState.DONE, ExecutionState.NOT_CONFIRMED, ExecutionState.VERIFYING)
_OTHERS = 40  # ticks before this one among which another machine's last is looked for
_FURTHEST = 1_500  # ticks that a trace reaches back over, however short their steps
_CALM = "healthy: only every few minutes is recorded"
_LATER = "in a moment"


@dataclass(frozen=True, slots=True)
class Decision:
    """A recorded decision beside the same decision made again. `recomputed` is None where it cannot be made again;
    `difference` "" where both are the same, else the first place where they differ, or why nothing can be told;
    `differs`: they were both there to compare, and are not the same."""

    place: int
    entry: Entry
    recorded: Turned | None
    recomputed: Verdict | None
    difference: str
    differs: bool

    def __iter__(self) -> Iterator[object]:
        return iter((self.entry, self.recorded, self.recomputed, self.difference))


class Replay:
    """One journal, to be looked at as it stood. Not for several threads. `close` lets its files go."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.index = Index(source)
        self.samples = Samples(self.index)
        self._executions: dict[tuple[str, int], Execution] = {}
        self._walks: dict[tuple[str, int], Walk] = {}
        self._declared: tuple[tuple[int, int], Declared] = ((0, 0), Declared())
        self._revision = 0

    @classmethod
    def open(cls, path: Path) -> Replay:
        """Opened and read. Raises UsageError, InputError or JournalError where there is nothing to review."""
        replay = cls(open_source(path))
        replay.read()
        return replay

    def read(self) -> None:
        """Read all of it, at once."""
        for _ in self.index.grow():
            pass

    def close(self) -> None:
        self.source.close()

    def __enter__(self) -> Replay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- moments ------------------------------------------------------------------------------------------------------

    def at(self, at: float) -> Snapshot:
        """The state at a time (Unix seconds), whole; before the first entry, the state at it."""
        return self.moment(self.index.place_at(at), at).snapshot

    def moment(self, place: int, at: float | None = None) -> Moment:
        """The state at a place, whole. `at`: the time to show, where that is not the entry's own."""
        for found in self.approach(place, at):
            if found is not None and found.whole:
                return found
        raise AssertionError("every approach ends with the whole")

    def approach(self, place: int, at: float | None = None) -> Iterator[Moment | None]:
        """The state at a place, first as what is at hand tells it, then whole: the last one is. None in between says
        that time has passed: a screen may want to answer a key."""
        index = self.index
        place = index.settled(max(0, min(place, len(index) - 1)))
        number = index.ticks.until(place)
        sampled = self.samples.tick(number) if number >= 0 else None
        base = self._base(place, index.ats[place] if at is None else max(at, index.ats[place]), number, sampled)
        rows = self._rows(place, number, sampled)
        cooling = self._cooling(base.snapshot.executions, place, rows)
        told: dict[str, tuple[Verdict | None, Again]] = {}
        for count, (name, rule, observed) in enumerate(rows):
            told[name] = self._told(place, number, (name, rule, observed), 0, cooling)
            if count % _SLICE == _SLICE - 1:
                yield None
        grid = self._grid(number)
        lacking = [each for each in grid.numbers if each is not None and not self.samples.known(each)]
        beside = [each for each in self._others(number) if not self.samples.known(each)]
        unsure = [row for row in rows if told[row[0]][1].note == _LATER]
        whole = not lacking and not unsure and not beside
        known = tuple(each if each is not None and self.samples.known(each) else None for each in grid.numbers)
        yield self._with(base, rows, told, replace(grid, numbers=known), whole=whole)
        if whole:
            return
        for count, each in enumerate([*lacking, *beside]):
            self.samples.tick(each)
            if count % _SLICE == _SLICE - 1:
                yield None
        if beside:
            rows = self._rows(place, number, sampled)
            for row in rows:
                if row[0] not in told:
                    told[row[0]] = self._told(place, number, row, 0, cooling)
            unsure = [row for row in rows if told[row[0]][1].note == _LATER]
        for row in unsure:
            while True:
                told[row[0]] = self._told(place, number, row, _SLICE, cooling)
                if told[row[0]][1].note != _LATER:
                    break
                yield None
        yield self._with(base, rows, told, grid, whole=True)

    def _others(self, number: int) -> range:
        """The evaluations before one in which other machines may have seen what this one did not."""
        return (
            range(number - 1, max(-1, number - _OTHERS), -1) if number > 0 and len(self.index.chains) > 1 else range(0)
        )

    def _rows(self, place: int, number: int, sampled: Sampled | None) -> list[Line]:
        """Every deployment that was watched then: as its samples name it (of several machines, as each of them saw it
        last, as far as that is at hand), else as its policy did."""
        if sampled is not None:
            found = {name: (name, rule, seen) for name, rule, seen in seen_in(sampled)}
            for each in self._others(number):
                if self.samples.known(each):
                    for name, rule, seen in seen_in(self.samples.tick(each)):
                        found.setdefault(name, (name, rule, seen))
            return list(found.values())
        digests = [digest for (what, _), digest in self.index.papers(place).items() if what == "policy"]
        return [(str(rule.deployment.id), rule, None) for each in digests for rule in self.samples.rules(each)]

    def _told(
        self, place: int, number: int, row: Line, most: int, cooling: Callable[[str, float], bool]
    ) -> tuple[Verdict | None, Again]:
        """A deployment's verdict as it was shown, and what the engine comes to."""
        name, rule, observation = row
        index, who = self.index, rule.deployment.id
        turned_at = self.index.last_turn(name, place)
        turned = self.samples.turn(turned_at) if turned_at is not None else None
        recorded = plain(turned.body.after, 20) if turned is not None else "healthy"
        if turned is None and turned_at is not None:
            return None, Again(who, "?", "", exact=False, note="a newer program wrote its last decision")
        if observation is None:
            return None, Again(who, recorded, "", exact=False, note="no samples of then are kept")
        own = turned is not None and turned.body.at >= observation.at - ON_GRID
        cools = turned.body.cooling if turned is not None and own else cooling(name, observation.at)
        verdict = self.samples.jumped(rule, observation, turned, cooling=cools)
        if own or (turned is not None and index.ticks.until(turned.place) >= number):  # nothing was evaluated since
            said = str(verdict.state) if verdict is not None else ""
            return as_recorded(verdict, recorded), Again(who, recorded, said, exact=bool(said))
        if turned is None or recorded == "healthy":
            return as_recorded(verdict, recorded), Again(who, recorded, "", exact=False, note=_CALM)
        walked = self.samples.walked(turned, name, number, most, lambda at: cooling(name, at))
        if walked is None or walked.verdict is None:
            note = _LATER if walked is None else "samples between are not kept"
            return as_recorded(verdict, recorded), Again(who, recorded, "", exact=False, note=note)
        note = "" if walked.exact else "evaluations between are not recorded"
        again = Again(who, recorded, str(walked.verdict.state), walked.exact, note)
        return as_recorded(walked.verdict, recorded), again

    def _cooling(self, done: Sequence[Execution], place: int, rows: Sequence[Line]) -> Callable[[str, float], bool]:
        """Was a cool-down running: from the action, for as long as the policy says."""
        lengths = {name: rule.trigger.cool_down_s for name, rule, _ in rows}
        made = [(str(e.plan.deployment), e.started_at) for e in done if e.state in _ACTED]
        made += [(name, at) for name, at, _ in self.index.adopted(place)]

        def cooling(name: str, at: float) -> bool:
            return any(name == who and when <= at < when + lengths.get(name, 0.0) for who, when in made)

        return cooling

    def _with(
        self, base: Moment, rows: Sequence[Line], told: Mapping[str, tuple[Verdict | None, Again]],
        grid: Grid, *, whole: bool,
    ) -> Moment:  # fmt: skip
        """The moment with its panels: most urgent first, members of an incident together, as live."""
        self._revision += 1
        snapshot = base.snapshot
        member_of = {name: incident.id for incident in snapshot.incidents for name in incident.members}
        pointers = self._pointers(base.place)
        snoozed = self._snoozed(base.place)
        declared = self._declarations(base.place).going_on(base.at)
        expected = {name: each for each in declared for name in each.deployments}
        ticks = [None if each is None else self.samples.tick(each) for each in grid.numbers]
        views = []
        for row, (name, rule, _) in enumerate(rows):
            who = rule.deployment
            view = DeploymentView(
                rule, told[name][0], traces(rule, name, row, ticks, grid),
                pointers.get((who.model, who.alias)), member_of.get(who.id), snoozed.get(name), self._revision,
                expected=expected.get(name),
            )  # fmt: skip
            views.append(view)
        views = in_order(views)
        shown = replace(snapshot, deployments=tuple(views))
        return replace(base, snapshot=shown, again=tuple(told[name][1] for name, _, _ in rows), whole=whole)

    def _grid(self, number: int) -> Grid:
        """Which tick stands in each cell of the traces that end with tick `number`: as dense as the evaluations were;
        where that would be holes for the most part, as a calm fleet's samples are."""
        ticks = self.index.ticks
        if number < 0:
            return Grid(ticks.step_s, 0.0, ())
        dense = self._cells(number, ticks.step_s)
        filled = sum(1 for each in dense.numbers if each is not None)
        if 3 * filled >= len(dense.numbers) or ticks.step_s >= _CALM_S:
            return dense
        return self._cells(number, _CALM_S)

    def _cells(self, number: int, step: float) -> Grid:
        ticks = self.index.ticks
        end = ticks.ats[number]
        cells: list[int | None] = [None] * TRACE_POINTS
        cells[-1] = number
        for each in range(number - 1, max(-1, number - _FURTHEST), -1):
            back = round((end - ticks.ats[each]) / step)
            if back >= TRACE_POINTS:
                break
            if back > 0 and cells[-1 - back] is None:
                cells[-1 - back] = each
        filled = next(n for n, each in enumerate(cells) if each is not None)
        return Grid(step, end, tuple(cells[filled:]))

    # -- what surrounds the panels ------------------------------------------------------------------------------------

    def _base(self, place: int, at: float, number: int, sampled: Sampled | None) -> Moment:
        index = self.index
        evaluated = index.ticks.ats[number] if number >= 0 else None
        standing = self.incidents(place)
        commanders = index.commanders(place) if standing else {}
        opened = tuple(
            replace(each, commander=commanders.get(each.id) or each.commander)
            for each in standing
            if each.closed_at is None
        )
        over = [each for each in standing if each.closed_at is not None and 0 <= at - each.closed_at < _OVER_S]
        announced = tuple(self._announcements(place).by_deployment.values())
        declared = self._declarations(place)
        missing = "" if sampled is not None or number < 0 else "the samples of then are gone (retention)"
        snapshot = Snapshot(
            at=at, evaluated_at=evaluated, step_s=index.ticks.step_s,
            band="REVIEW · REHEARSAL" if index.rehearsal else "REVIEW",
            deployments=(), incidents=opened, backends=self._backends(place), hub="offline",
            journal=JournalStatus(str(self.source.path), len(index), recorder=False),
            look_only=CHANGES_NOTHING, executions=self.executions(place), walks=self.walks(place),
            timeline=index.shown(place, _TIMELINE),
            recommendations=tuple(advice for incident in opened for advice in incident.recommendations),
            notice=missing or next(iter(self.samples.unreadable.values()), ""),
            alarms=tuple(each.sentence for each in announced),
            review=True, speed=0.0, exclusions=declared.standing(), expectations=declared.going_on(at),
            over=tuple(sorted(over, key=lambda each: each.closed_at or 0.0)[-_OVERS:]), announced=announced,
        )  # fmt: skip
        seq = index.seqs[place] if len(index) else 0
        return Moment(place, seq, at, snapshot, None if evaluated is None else max(0.0, at - evaluated))

    def incidents(self, place: int) -> tuple[Incident, ...]:
        """Every incident up to a place as it stood there, in the order in which they were opened."""
        found = []
        for told in self.index.incidents.values():
            last = next((incident for at, incident, _ in reversed(told) if at <= place), None)
            if last is not None:
                found.append(last)
        return tuple(found)

    def executions(self, place: int) -> tuple[Execution, ...]:
        """Every execution up to a place as it stood there. One whose end is not recorded yet still runs then."""
        found = []
        for name, series in self.index.executions.items():
            count = series.until(place)
            if count:
                key = (name, count)
                if key not in self._executions:
                    done = executions(series.things[:count], self.source.get_blob, lambda _: False)
                    if not done:
                        continue  # its request is not here
                    self._executions[key] = done[0]
                found.append(self._executions[key])
        return tuple(sorted(found, key=lambda each: each.started_at))

    def walks(self, place: int) -> tuple[Walk, ...]:
        """Every walk up to a place as it stood there."""
        found = []
        for name, series in self.index.walks.items():
            count = series.until(place)
            if count:
                key = (name, count)
                if key not in self._walks:
                    done = tuple(walks(series.things[:count], self.source.get_blob))
                    if not done:
                        continue
                    self._walks[key] = done[0]
                found.append(self._walks[key])
        return tuple(found)

    def _pointers(self, place: int) -> dict[tuple[str, str], str | None]:
        return {(body.model, body.alias): body.after for _, body in self.index.moves(place)}

    def _snoozed(self, place: int) -> dict[str, float]:
        said = self.index.series["snooze"].said(place)
        return {entry.deployment: body.until for entry, body in said if isinstance(body, Snoozed)}

    def _backends(self, place: int) -> tuple[BackendHealth, ...]:
        """The backends that the journal names, as they last answered; those of which it says nothing are not told."""
        found: dict[str, BackendHealth] = {}
        for _, body in self.index.series["backend"].said(place):
            if isinstance(body, BackendChanged):
                states = {str(each): each for each in BackendState}
                state = states.get(body.state, BackendState.FAILING)
                name = plain(body.name, 40)
                found[name] = BackendHealth(name, state, detail=plain(body.detail, 300))
        return tuple(found.values())

    def _declarations(self, place: int) -> Declared:
        """What people had declared; read anew only where that is something else."""
        series = [self.index.series[kind] for kind in ("exclusion", "expected")]
        counts = (series[0].until(place), series[1].until(place))
        if self._declared[0] != counts:
            declared = Declared()
            entries = [entry for each, count in zip(series, counts, strict=True) for entry in each.things[:count]]
            for entry in sorted(entries, key=lambda each: each.at):
                declared.take(entry)
            self._declared = (counts, declared)
        return self._declared[1]

    def _announcements(self, place: int) -> Announced:
        """Rollbacks that went, were held, or are about to go by themselves."""
        series = self.index.series["automatic"]
        count = series.until(place)
        announced = Announced()
        for at, entry in zip(series.places[:count], series.things[:count], strict=True):
            announced.take(entry)
            turns = self.index.transitions.get(entry.deployment)
            if turns is None:
                continue
            for turn in turns[bisect_right(turns, at) : bisect_right(turns, place)]:
                turned = self.samples.turn(turn)
                if turned is not None:
                    announced.turned(entry.deployment, turned.body.after, turned.body.at)
        return announced

    # -- decisions ----------------------------------------------------------------------------------------------------

    def decisions(self) -> Iterator[Decision]:
        """Every recorded decision beside the same one made again, in the journal's order. Each is
        (entry, recorded, recomputed, difference), too."""
        for place in self.index.turns:
            if (found := self.decision(place)) is not None:
                yield found

    def decision(self, place: int) -> Decision | None:
        """The decision at a place; None where there is none."""
        entry = self.index.entry(place)
        if entry is None or entry.kind != "transition":
            return None
        turned = self.samples.turn(place)
        if turned is None:
            return Decision(place, entry, None, None, "a newer program wrote it", differs=False)
        try:
            again = redecide(entry, self.source.get_blob, self._compile)
        except OtherEngine as error:
            return Decision(place, entry, turned, None, error.message, differs=False)
        if again is None:
            return Decision(place, entry, turned, None, "it cannot be read", differs=False)
        differs = bool(again.difference) and again.verdict is not None
        return Decision(place, entry, turned, again.verdict, plain(again.difference, 300), differs)

    def _compile(self, data: bytes, digest: str) -> tuple[DeploymentRule, ...]:
        rules = self.samples.rules(digest)
        if not rules:
            raise InputError(self.samples.unreadable.get(digest, "it names no deployment"), "")
        return rules

"""What people declare by hand: stretches leave every baseline as the policy's `exclude:` does it, expected changes hold
back advice, and every evaluation, whenever it is made, is told what was known then."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from book_tools import DAY, HOUR, MONDAY, WEEK, MemoryShelf, Recorded, day_shape, weighed
from engine_tools import (
    START,
    STEP,
    Stream,
    bounded,
    engine_on,
    fleet_rule,
    labelled,
    new_journal,
    random_stream,
    relative,
    shown,
    ticks,
)

from rollback_console.authorize.keys import PersonKey
from rollback_console.cli.common import rfc3339
from rollback_console.cli.declaring import declared_in
from rollback_console.cli.facts import deployment_facts
from rollback_console.clock import VirtualClock
from rollback_console.engine.declared import Declared
from rollback_console.engine.folding import Folded
from rollback_console.engine.history import History, Span
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Options, Roles
from rollback_console.engine.recomputing import Recomputation
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.engine.standin import Whoever, stand_in
from rollback_console.engine.summary import summarize
from rollback_console.journal import verify as verification
from rollback_console.journal.chain import canonical
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import Body, ChangeExpected, StretchExcluded, TransitionRecorded
from rollback_console.journal.merging import merge
from rollback_console.journal.store import Journal
from rollback_console.model.declared import LONGEST_CHANGE_S, LONGEST_STRETCH_S
from rollback_console.model.observation import Norm
from rollback_console.model.rules import Baseline, BaselineKind, DeploymentRule, Stretch
from rollback_console.model.verdict import TriggerState

SEEDS = range(100 if os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN") else 2)
MINE = "production/d0"
NOW = MONDAY + 12 * HOUR


def entry(body: Body, at: float, operator: str = "ana") -> Entry:
    return Entry("c", 1, at, at, body.kind, "", operator, canonical(body.model_dump()), "", "h", b"")


def excluded(start: float, end: float, at: float, *, name: str = "bl-1", who: tuple[str, ...] = (MINE,)) -> Entry:
    body = StretchExcluded(event="excluded", id=name, start=start, end=end, deployments=list(who), reason="an incident")
    return entry(body, at)


def restored(at: float, name: str = "bl-1") -> Entry:
    return entry(StretchExcluded(event="restored", id=name, reason="wrong day"), at, "bo")


def expected(until: float, at: float, *, name: str = "ch-1", who: tuple[str, ...] = (MINE,)) -> Entry:
    body = ChangeExpected(event="declared", id=name, until=until, deployments=list(who), reason="index rebuild")
    return entry(body, at)


def ended(at: float, name: str = "ch-1") -> Entry:
    return entry(ChangeExpected(event="ended", id=name, reason="done"), at, "bo")


def folded(*entries: Entry) -> Declared:
    found = Declared()
    for each in entries:
        found.take(each)
    return found


# -- the fold ---------------------------------------------------------------------------------------------------------


def test_an_evaluation_is_told_what_was_written_before_it_and_not_taken_back_by_then() -> None:
    found = folded(excluded(100.0, 200.0, 1000.0), expected(1600.0, 1000.0), restored(1300.0), ended(1400.0))
    stretch = Stretch(100.0, 200.0, "ana: an incident")
    for at, left_out in ((1000.0, ()), (1000.1, (stretch,)), (1300.0, (stretch,)), (1300.1, ())):
        assert found.excluded(MINE, at) == left_out, at
        after, until = found.steady(MINE, at)
        assert after < at <= until
        assert {found.excluded(MINE, each) for each in (max(after + 0.01, at - 1), min(until, at + 1))} == {left_out}
    for at, many in ((1000.0, 0), (1015.0, 1), (1400.0, 1), (1415.0, 0), (1600.0, 0)):
        assert len(found.expected(MINE, at)) == many, at
    assert found.expected("production/d1", 1015.0) == found.excluded("production/d1", 1015.0) == ()
    (change,) = found.expected(MINE, 1015.0)
    assert (change.why, change.start, change.end) == ("ana: index rebuild", 1000.0, 1600.0)
    assert found.going_on(1399.0) == () != folded(expected(1600.0, 1000.0)).going_on(1399.0)


def test_the_whole_fleet_is_nobody_by_name() -> None:
    found = folded(excluded(100.0, 200.0, 1000.0, who=()))
    assert found.excluded("staging/other", 1001.0) == found.excluded(MINE, 1001.0) != ()


@pytest.mark.parametrize(
    "beyond",
    [
        excluded(100.0, 2000.0, 1000.0),  # the future
        excluded(1000.0 - LONGEST_STRETCH_S - 60, 999.0, 1000.0),
        excluded(200.0, 200.0, 1000.0),
        expected(1000.0 + LONGEST_CHANGE_S + 60, 1000.0),
        expected(990.0, 1000.0),
        expected(1600.0, 1000.0, who=()),  # alarms of everybody at once are nobody's to hold back
        restored(1000.0),
        ended(1000.0),
    ],
)
def test_what_another_program_wrote_beyond_the_bounds_does_not_count(beyond: Entry) -> None:
    found = folded(beyond)
    assert (found.exclusions, found.expectations, found.revision) == ({}, {}, 0)


def test_the_first_entry_of_an_id_is_the_one_that_counts() -> None:
    found = folded(excluded(100.0, 200.0, 1000.0), excluded(100.0, 900.0, 1001.0), restored(1100.0), restored(1200.0))
    assert found.exclusions["bl-1"].end == 200.0
    assert (found.exclusions["bl-1"].restored_at, found.exclusions["bl-1"].restored_by) == (1100.0, "bo")


# -- learned baselines ------------------------------------------------------------------------------------------------

INCIDENT = Stretch(MONDAY - 2 * DAY + 9 * HOUR, MONDAY - 2 * DAY + 21 * HOUR, "ana: an incident")
KINDS = {
    "seasonal": Baseline(BaselineKind.SEASONAL, history_s=28 * DAY),
    "last_week": Baseline(BaselineKind.LAST_WEEK),
    "fixed": Baseline(BaselineKind.FIXED, 0.03),
    "version": Baseline(BaselineKind.VERSION),
}


def _struck(at: float) -> float:
    """Half of the conversions are gone in the incident, and in the one a week before it."""
    return day_shape(at) * (
        0.5 if any(INCIDENT.start - k * WEEK <= at < INCIDENT.end - k * WEEK for k in (0, 1)) else 1
    )


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> tuple[Recorded, Recorded]:
    """The same recording twice: with the incident in the policy's `exclude:`, and without."""
    base = KINDS[request.param]
    by_policy = weighed(baseline=replace(base, exclude=(replace(INCIDENT, start=INCIDENT.start - WEEK), INCIDENT)))
    data = Recorded(MONDAY - 24 * DAY, MONDAY + 30 * HOUR, [weighed(baseline=base)], rate=_struck, deployments=("d0",))
    rules = tuple(fleet_rule("d0", [by_policy], serving=None) for _ in data.rules)
    return data, Recorded(data.start, data.start, [by_policy], rules=rules, series=data.series)


def _told(book: SeasonalBook, at: float) -> tuple[float, Norm] | object:
    return book.norm(0, 0, at)


async def test_by_hand_is_as_by_the_policy(kind: tuple[Recorded, Recorded]) -> None:
    data, ruled = kind
    by_hand = folded(excluded(INCIDENT.start - WEEK, INCIDENT.end, NOW), restored(NOW + 9 * HOUR))
    with_it = replace(INCIDENT, start=INCIDENT.start - WEEK)
    policy = replace(ruled.rules[0].signals[0], baseline=_without(ruled, with_it))
    plain, without = data.book(), SeasonalBook((replace(ruled.rules[0], signals=(policy,)),), data.metrics())
    watched, shelf = data.book(), MemoryShelf()
    watched.leave_out(by_hand)
    differs = 0
    for at in (NOW - HOUR, NOW, NOW + 60.0, NOW + 120.0, NOW + 5 * HOUR, NOW + 9 * HOUR, NOW + 9 * HOUR + 60):
        for book in (plain, without, watched):
            await book.prepare(at)
        cold = data.book(shelf=shelf)
        cold.leave_out(by_hand)
        await cold.prepare(at, at - 2 * HOUR)
        known = NOW < at <= NOW + 9 * HOUR
        assert _told(watched, at) == _told(without if known else plain, at), at
        assert _told(cold, at) == _told(watched, at), at
        differs += _told(plain, at) != _told(without, at)
    assert differs == 7, "the incident matters"


def _without(ruled: Recorded, stretch: Stretch) -> Baseline:
    base = ruled.rules[0].signals[0].baseline
    assert base is not None
    return replace(base, exclude=(stretch,))


async def test_a_replay_over_the_declaration_is_told_both_before_and_after_it(
    kind: tuple[Recorded, Recorded],
) -> None:
    data, _ = kind
    by_hand = folded(excluded(INCIDENT.start - WEEK, INCIDENT.end, NOW))
    step_by_step, at_once = data.book(), data.book()
    step_by_step.leave_out(by_hand)
    at_once.leave_out(by_hand)
    times = [NOW + k * 1800.0 for k in range(-4, 5)]
    await at_once.prepare(times[-1], times[0])
    for at in times:
        await step_by_step.prepare(at)
        assert _told(step_by_step, at) == _told(at_once, at), at


async def test_a_console_opened_cold_is_told_what_the_one_that_watched_was(tmp_path: Path) -> None:
    data = Recorded(MONDAY - 12 * DAY, NOW + 2 * HOUR, [weighed()], rate=_struck, deployments=("d0",))

    def engine(at: float, journal: Journal, *, records: bool) -> Engine:
        options = Options(step_s=60.0, delay_s=0.0, lookback_s=2 * DAY, debug=True, follow=records)
        roles = Roles(may_record=lambda: records)
        return Engine(
            data.rules, data.metrics(until=at), None, VirtualClock(at), options, journal=journal, roles=roles,
            inline=True,
        )  # fmt: skip

    clock = VirtualClock(NOW)
    with Journal.open(tmp_path / "j.db", device=DeviceKey.from_seed(b"t"), clock=clock, rehearsal=True) as journal:
        watching = engine(NOW, journal, records=True)
        await watching.start()
        baselines = []
        for k in range(1, 100):
            at = clock._now = NOW + 60.0 * k
            watching.clock._now = at  # type: ignore[attr-defined]
            watching.metrics.until = at  # type: ignore[attr-defined]
            await watching.step(at)
            if k == 30:
                body = StretchExcluded(
                    event="excluded", id="bl-1", start=INCIDENT.start - WEEK, end=INCIDENT.end, reason="incident"
                )
                journal.append(body, operator="ana")
            baselines.append(watching.board.verdicts[0].signals[0].baseline)
            if k in (30, 31, 99):
                cold = engine(at, journal, records=False)
                await cold.start()
                assert shown(cold) == shown(watching), k
    assert None not in baselines
    assert baselines[30] != pytest.approx(baselines[29], rel=0.01), "what was excluded had pulled it down"


# -- plain baselines --------------------------------------------------------------------------------------------------


def _plain(kind: BaselineKind, exclude: tuple[Stretch, ...] = ()) -> Stream:
    """Orders halve in a quarter of an hour of last week, and today likewise: against that quarter nothing is wrong."""
    signal = relative("orders", kind, history_s=5400.0)
    assert signal.baseline is not None
    signal = replace(signal, baseline=replace(signal.baseline, exclude=exclude))
    stream = Stream((fleet_rule("d0", [signal], dwell=30.0, hold=0.0, serving='model_info{job="serving"}'),), ticks=200)
    points = [(START + k * STEP, 100.0) for k in range(-3 * 40_320, 260)]
    low = {START - WEEK + k * STEP for k in range(60, 120)} | {START + k * STEP for k in range(60, 120)}
    if kind is BaselineKind.VERSION:  # the hour before the release was bad
        low = {START + k * STEP for k in range(-240, 200)}
    points = [(at, 50.0 if at in low else value) for at, value in points if at > START - WEEK - DAY or at in low]
    weeks = [(START - 2 * WEEK + k * STEP, 100.0) for k in range(260)]
    stream.series["max by (deployment) (orders)"] = [labelled("orders", "d0", [*weeks, *points])]
    served = {"1": [START + k * STEP for k in range(-20_000, 0)], "2": [START + k * STEP for k in range(260)]}
    stream.series['model_info{job="serving"}'] = [
        labelled("model_info", "d0", [(at, 1.0) for at in times], job="serving", version=version)
        for version, times in served.items()
    ]
    return stream


@pytest.mark.parametrize("kind", [BaselineKind.LAST_WEEK, BaselineKind.VERSION])
async def test_plain_baselines_leave_out_what_the_policy_and_what_a_person_excludes(
    kind: BaselineKind, tmp_path: Path
) -> None:
    stretch = Stretch(START - WEEK, START - WEEK + 2000.0, "an incident")
    if kind is BaselineKind.VERSION:
        stretch = Stretch(START - 3600.0, START, "an incident")
    blindly, ruled = _plain(kind), _plain(kind, (stretch,))
    states = {}
    for name, stream in (("blindly", blindly), ("ruled", ruled)):
        engine = engine_on(stream, START + 50 * STEP)
        await engine.start()
        await ticks(engine, 51, 100)
        states[name] = engine.board.verdicts[0].state
    assert states == {"blindly": TriggerState.HEALTHY, "ruled": TriggerState.FIRED}
    clock = VirtualClock(START + 50 * STEP)
    with Journal.open(tmp_path / "j.db", device=DeviceKey.from_seed(b"t"), clock=clock, rehearsal=True) as journal:
        engine = engine_on(blindly, START + 50 * STEP, journal=journal, clock=clock)
        await engine.start()
        await ticks(engine, 51, 70)
        assert engine.board.verdicts[0].state is TriggerState.HEALTHY
        body = StretchExcluded(
            event="excluded", id="bl-1", start=stretch.start, end=stretch.end, deployments=[MINE], reason="an incident"
        )
        journal.append(body)
        await ticks(engine, 71, 100)
        assert engine.board.verdicts[0].state is TriggerState.FIRED
        cold = engine_on(blindly, START + 100 * STEP, journal=journal, follow=False)
        cold.roles = replace(cold.roles, may_record=lambda: False)
        await cold.start()
        assert shown(cold) == shown(engine), "opened cold, it was told of the declaration at the same evaluation"


# -- the whole engine -------------------------------------------------------------------------------------------------

POLICY = b"policy"


class _Clocked(VirtualClock):
    def move(self, at: float) -> None:
        self._now = at


@pytest.fixture
def incident(tmp_path: Path) -> Iterator[tuple[Engine, Journal, Stream]]:
    """Two deployments; the errors of the first follow its release, and it fires."""
    rules = tuple(fleet_rule(each, [bounded("errors")], dwell=30.0, hold=0.0) for each in ("d0", "d1"))
    stream = Stream(rules, ticks=200)
    stream.series["max by (deployment) (errors)"] = [
        labelled("errors", "d0", [(START + k * STEP, 9.0 if 40 <= k < 80 else 1.0) for k in range(-600, 200)]),
        labelled("errors", "d1", [(START + k * STEP, 1.0) for k in range(-600, 200)]),
    ]
    served = {"1": range(-20_000, 38), "2": range(38, 200)}
    stream.series['model_info{job="serving"}'] = [
        labelled("model_info", "d0", [(START + k * STEP, 1.0) for k in times], job="serving", version=version)
        for version, times in served.items()
    ] + [
        labelled("model_info", "d1", [(START + k * STEP, 1.0) for k in range(-20_000, 200)], job="serving", version="5")
    ]
    clock = VirtualClock(START + 20 * STEP)
    with Journal.open(tmp_path / "j.db", device=DeviceKey.from_seed(b"t"), clock=clock, rehearsal=True) as journal:
        yield engine_on(stream, START + 20 * STEP, journal=journal, clock=clock), journal, stream


def _declare(journal: Journal, until: float) -> None:
    journal.append(
        ChangeExpected(event="declared", id="ch-1", until=until, deployments=[MINE], reason="index rebuild"),
        operator="ana",
    )


async def test_an_expected_change_holds_back_advice_and_never_the_state(
    incident: tuple[Engine, Journal, Stream],
) -> None:
    engine, journal, stream = incident
    await engine.start()
    await ticks(engine, 21, 30)
    _declare(journal, START + 60 * STEP)
    await ticks(engine, 31, 50)
    (found,) = engine.incidents
    assert engine.board.verdicts[0].state is TriggerState.FIRED
    assert found.recommendations[0].path is None
    assert found.recommendations[0].sentence.startswith("expected now: ana: index rebuild, until ")
    assert found.recommendations[0].sentence.endswith("; no rollback is advised before")
    view = engine.snapshot().view(stream.rules[0].deployment.id)
    assert view is not None
    assert view.expected is not None
    assert view.expected.id == "ch-1"
    assert "; expected until " in summarize(engine.snapshot())
    assert deployment_facts(view, None)["expected"] == {
        "until": rfc3339(START + 60 * STEP), "reason": "index rebuild", "by": "ana",
    }  # fmt: skip
    other = engine.snapshot().view(stream.rules[1].deployment.id)
    assert other is not None
    assert other.expected is None
    cold = engine_on(stream, START + 50 * STEP, journal=journal, follow=False)
    cold.roles = replace(cold.roles, may_record=lambda: False)
    await cold.start()
    assert shown(cold) == shown(engine)
    journal.append(ChangeExpected(event="ended", id="ch-1", deployments=[MINE], reason="done"), operator="ana")
    await ticks(engine, 51, 51)
    assert engine.incidents[0].recommendations[0].path == "version", "it was ended early"


async def test_its_end_ends_it(incident: tuple[Engine, Journal, Stream]) -> None:
    engine, journal, _ = incident
    await engine.start()
    _declare(journal, START + 50 * STEP)
    await ticks(engine, 21, 49)
    assert engine.incidents[0].recommendations[0].path is None
    await ticks(engine, 50, 50)
    assert engine.incidents[0].recommendations[0].path == "version"
    assert engine.snapshot().expectations == ()


async def test_the_policys_own_windows_are_said_in_the_same_place(tmp_path: Path) -> None:
    from rollback_console.model.rules import ExpectedChange

    rule = fleet_rule("d0", [bounded("errors")])
    change = ExpectedChange("reindexing", START, START + 40 * STEP)
    stream = Stream((replace(rule, trigger=replace(rule.trigger, expected=(change,))),), ticks=50)
    engine = engine_on(stream, START + 20 * STEP)
    view = engine.snapshot().view(rule.deployment.id)
    assert view is not None
    assert view.expected is not None
    assert (view.expected.by, view.expected.reason, view.expected.until) == ("policy tests", "reindexing", change.end)
    engine.clock._now = START + 40 * STEP  # type: ignore[attr-defined]
    after = engine.snapshot().view(rule.deployment.id)
    assert after is not None
    assert after.expected is None


@pytest.mark.parametrize("seed", SEEDS)
async def test_cold_slept_and_always_on_are_told_the_same_whatever_is_declared_when(seed: int, tmp_path: Path) -> None:
    """Random stretches and changes, declared and taken back at random times, on random streams; and every decision
    recomputes with what was declared then."""
    stream, draw = random_stream(seed + 700, ticks=130), random.Random(seed)
    clock = VirtualClock(START + 30 * STEP)
    with Journal.open(tmp_path / "j.db", device=DeviceKey.from_seed(b"t"), clock=clock, rehearsal=True) as journal:
        always = engine_on(stream, START + 30 * STEP, journal=journal, clock=clock)
        await always.start()
        now, names = 30, [str(rule.deployment.id) for rule in stream.rules]
        while now < stream.ticks - 10:
            for body in _anything(draw, START + now * STEP, names, journal):
                journal.append(body, operator="ana")
            nap = draw.choice((1, 2, 5, 9))
            await ticks(always, now + nap if draw.random() < 0.3 else now + 1, now + nap)
            now += nap
            cold = engine_on(stream, START + now * STEP, journal=journal, follow=False)
            cold.roles = replace(cold.roles, may_record=lambda: False)
            await cold.start()
            assert shown(cold) == shown(always), f"seed {seed}, at {now}"
            assert cold.board.memories == always.board.memories
        assert len(list(journal.entries(kinds=("exclusion", "expected")))) >= 2
        assert _verified(journal, stream) == []


def _anything(draw: random.Random, now: float, names: list[str], journal: Journal) -> Iterator[Body]:
    known = {each.parsed().id for each in journal.entries(kinds=("exclusion",))}  # type: ignore[union-attr]
    name, who = f"{draw.getrandbits(32):08x}", draw.sample(names, draw.randint(1, 3))
    kind = draw.random()
    if kind < 0.3:
        start = now - draw.choice((0.0, WEEK)) - draw.uniform(300.0, 6000.0)
        end = min(start + draw.uniform(60.0, 3000.0), now)
        yield StretchExcluded(
            event="excluded", id=f"bl-{name}", start=start, end=end, deployments=draw.choice((who, [])), reason="x"
        )
    elif kind < 0.45 and known:
        yield StretchExcluded(event="restored", id=draw.choice(sorted(known)), reason="x")
    elif kind < 0.7:
        until = now + draw.uniform(60.0, 900.0)
        yield ChangeExpected(event="declared", id=f"ch-{name}", until=until, deployments=who, reason="x")


# -- backtests --------------------------------------------------------------------------------------------------------


async def test_a_backtest_is_told_what_each_evaluation_knew(tmp_path: Path) -> None:
    stream, by_hand = (
        _plain(BaselineKind.LAST_WEEK),
        folded(excluded(START - WEEK, START - WEEK + 2000.0, START + 70 * STEP)),
    )
    engine = engine_on(stream, START + 50 * STEP)
    engine.sampler.leave_out(by_hand)
    await engine.start()
    history = History(stream.rules, stream.metrics(), STEP, 7200.0, by_hand)
    await history.begin([stream.rules], START + 50 * STEP, cold=True)
    states = set()
    async for tick in history.ticks([Span(START + 51 * STEP, STEP, 60)]):
        (judged,) = history.lanes[0].take(tick)
        await ticks(engine, round((tick.at - START) / STEP), round((tick.at - START) / STEP))
        assert judged.state is engine.board.verdicts[0].state
        states.add((judged.state, tick.at > START + 70 * STEP))
    assert (TriggerState.FIRED, True) in states
    assert (TriggerState.FIRED, False) not in states


async def test_settings_of_a_sweep_learn_once_without_what_was_excluded() -> None:
    data = Recorded(MONDAY - 12 * DAY, NOW + 3 * HOUR, [weighed()], rate=_struck, deployments=("d0",))
    signal = data.rules[0].signals[0]
    stricter = replace(signal, evidence=replace(signal.evidence, alone_hold_s=600.0))
    settings = [data.rules, (replace(data.rules[0], signals=(stricter,)),)]
    by_hand = folded(excluded(INCIDENT.start - WEEK, INCIDENT.end, NOW + 900.0, who=()))

    async def baselines(settings: list[tuple[DeploymentRule, ...]]) -> list[list[float | None]]:
        history = History(data.rules, data.metrics(), 60.0, 7200.0, by_hand)
        await history.begin(settings, NOW, cold=False)
        found: list[list[float | None]] = [[] for _ in settings]
        async for tick in history.ticks([Span(NOW + 60.0, 60.0, 60)]):
            for lane, seen in zip(history.lanes, found, strict=True):
                (judged,) = lane.take(tick)
                seen.append(judged.observation.readings[0].baseline)
        return found

    both = await baselines(settings)
    assert both[0] == both[1] == (await baselines(settings[1:]))[0]
    assert both[0][13] != pytest.approx(both[0][20], rel=0.01), "it was excluded in between"


async def test_a_would_be_rollback_is_held_back_by_what_was_expected(
    incident: tuple[Engine, Journal, Stream],
) -> None:
    _, _, stream = incident
    counted = []
    for by_hand in (folded(), folded(expected(START + 100 * STEP, START))):
        history = History(stream.rules, stream.metrics(), STEP, 7200.0, by_hand)
        await history.begin([stream.rules], START + 20 * STEP, cold=True)
        async for tick in history.ticks([Span(START + 21 * STEP, STEP, 60)]):
            for _ in history.lanes[0].take(tick):
                pass
        counted.append((history.lanes[0].counted(0).fires, history.lanes[0].counted(0).rollbacks))
    assert counted == [(1, 1), (1, 0)]


# -- recomputation ----------------------------------------------------------------------------------------------------


def _recomputation(stream: Stream) -> Recomputation:
    def compile_policy(data: bytes, digest: str) -> tuple[DeploymentRule, ...]:
        return stream.rules

    return Recomputation(compile_policy)


def _verified(journal: Journal, stream: Stream, rows: list[Entry] | None = None) -> list[str]:
    again = _recomputation(stream)

    def blobs(digest: str) -> bytes | None:
        return POLICY if digest == "0" * 64 else journal.get_blob(digest)

    every = rows if rows is not None else list(journal.entries(kinds=("transition", "exclusion", "expected")))
    return [message for each in every if (message := again(each, blobs)) is not None]


async def test_decisions_recompute_with_what_was_declared_and_a_planted_change_is_found(
    incident: tuple[Engine, Journal, Stream],
) -> None:
    engine, journal, stream = incident
    await engine.start()
    await ticks(engine, 21, 30)
    _declare(journal, START + 400 * STEP)
    body = StretchExcluded(
        event="excluded", id="bl-1", start=START - HOUR, end=START, deployments=[], reason="the drill"
    )
    journal.append(body, operator="ana")
    await ticks(engine, 31, 60)
    journal.append(StretchExcluded(event="restored", id="bl-1", reason="wrong day"), operator="ana")
    await ticks(engine, 61, 100)
    entries = list(journal.entries(kinds=("transition", "exclusion", "expected")))
    told = [each.parsed().declared for each in entries if each.kind == "transition"]  # type: ignore[union-attr]
    until = START + 400 * STEP
    assert told[0] == {"excluded": {"bl-1": [START - HOUR, START]}, "expected": {"ch-1": until}}
    assert told[-1] == {"expected": {"ch-1": until}}, "what was put back is not left out any more"
    assert _verified(journal, stream) == []
    for change, where in (
        ({}, "declared.excluded.bl-1: declared then, but not recorded"),
        ({**told[0], "expected": {"ch-1": until + 60}}, "declared.expected.ch-1: recorded "),
        ({**told[0], "excluded": {**told[0]["excluded"], "bl-9": [1.0, 2.0]}}, "bl-9: recorded, but not declared then"),
    ):
        first = next(k for k, each in enumerate(entries) if each.kind == "transition")
        planted = TransitionRecorded.model_validate({**entries[first].parsed().model_dump(), "declared": change})  # type: ignore[union-attr]
        rows = [*entries[:first], replace(entries[first], body=canonical(planted.model_dump())), *entries[first + 1 :]]
        (message,) = _verified(journal, stream, rows)
        assert where in message
    without = [each for each in entries if each.kind != "exclusion"]
    assert all("bl-1: recorded, but not declared then" in each for each in _verified(journal, stream, without))
    assert len(_verified(journal, stream, without)) >= 1


def test_what_came_at_the_last_moment_may_have_come_too_late() -> None:
    found = folded(excluded(100.0, 200.0, 1000.0))
    assert found.difference(MINE, 1002.0, {}) is None
    assert found.difference(MINE, 1002.0, found.told(MINE, 1002.0)) is None
    assert found.difference(MINE, 1015.0, {}) is not None
    assert found.difference(MINE, 1015.0, {"excluded": []}) == "declared.excluded is no table"


async def test_verify_walks_over_them(incident: tuple[Engine, Journal, Stream]) -> None:
    engine, journal, stream = incident
    await engine.start()
    _declare(journal, START + 400 * STEP)
    await ticks(engine, 21, 60)
    seen: list[str] = []
    again = _recomputation(stream)

    def recompute(each: Entry, blobs: Callable[[str], bytes | None]) -> str | None:
        seen.append(each.kind)
        return again(each, lambda digest: POLICY if digest == "0" * 64 else blobs(digest))

    assert verification.verify(journal.path, recompute=recompute).ok
    assert seen[0] == "expected"


def test_what_was_declared_in_a_journal_that_stood_in_counts_once_it_is_taken_in(tmp_path: Path) -> None:
    body = StretchExcluded(event="excluded", id="bl-1", start=START - HOUR, end=START - 60, reason="an incident")
    with new_journal(tmp_path / "main.db") as main:
        who = Whoever("ana", PersonKey.from_seed(1, "ana").sign)
        place = str(tmp_path / "e.db")
        standing, _ = stand_in(
            main, 0, VirtualClock(START), who, place, "the disk is full", "it goes on", rehearsal=True
        )
        standing.append(body, operator="ana")
        standing.close()
        merge(main, tmp_path / "e.db", "the disk has space again", "ana")
        fold = Folded(main, (), lambda deployment: True)
        fold.refresh()
        again = Recomputation(lambda data, digest: ())
        assert [again(each, main.get_blob) for each in main.entries(kinds=("merge",))] == [None]
    for found in (fold.declared, declared_in(tmp_path / "main.db"), again._declared):
        assert found.excluded(MINE, START + 1) == (Stretch(START - HOUR, START - 60, "ana: an incident"),)

"""Evidence in the engine: a cold start, a sleep and a restart end in the states of a console that never slept."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field, replace

import pytest
from engine_tools import VERSIONS, Flaky, fleet_rule, labelled, shown
from evidence_tools import BEGIN, MINUTE, EvidenceStream, draw_count, evidence_stream, watch, weighed_signal

from rollback_console.decide.adaptive import Stakes
from rollback_console.decide.evidence import COUNT
from rollback_console.engine.loop import Engine
from rollback_console.engine.recovery import RecoveryObserver
from rollback_console.engine.service import served_history
from rollback_console.engine.warmup import pace_of
from rollback_console.execute.run import RecoveryState
from rollback_console.execute.target import Service
from rollback_console.model.observation import Blind, Norm
from rollback_console.model.rules import Baseline, BaselineKind, DeploymentRule, Tiered, Uses
from rollback_console.model.verdict import TriggerState

SEEDS = range(100 if os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN") else 3)


async def cold(stream: EvidenceStream, minute: int) -> Engine:
    engine = stream.engine(BEGIN + minute * MINUTE)
    await engine.start()
    return engine


@pytest.mark.parametrize("seed", SEEDS)
async def test_cold_and_always_on_are_in_identical_states(seed: int) -> None:
    """Wherever a cold start says that it is certain, every memory is the very same, to the last bit."""
    stream = evidence_stream(seed, hold=120.0 * (seed % 2))
    always = await cold(stream, 5)
    now, certain, uncertain, alike, seen = 5, 0, 0, 0, set()
    for cut in range(1500 + 37 * (seed % 5), stream.minutes, 211):
        await watch(always, now + 1, cut)
        now = cut
        opened = stream.engine(BEGIN + cut * MINUTE)
        await opened.versions.load(BEGIN + cut * MINUTE)
        replayed = await opened.backfill.cold(BEGIN + cut * MINUTE, lambda *_: False, lambda *_: None)
        for index in set(replayed.memories) - replayed.unsettled:
            assert replayed.memories[index] == always.board.memories[index], f"seed {seed}, cut {cut}, {index}"
            assert replayed.verdicts[index] == always.board.verdicts[index]
            certain += 1
        seen |= {str(verdict.state) for verdict in always.board.verdicts.values()}
        for index in replayed.unsettled:  # said to be uncertain, and yet hardly ever another state
            alike += replayed.verdicts[index].state is always.board.verdicts[index].state
            uncertain += 1
    assert certain >= 2
    assert alike >= 0.75 * uncertain
    assert seen, "the streams must be judged"


@pytest.mark.parametrize("seed", SEEDS)
async def test_one_that_sleeps_or_is_restarted_wakes_up_in_the_same_state(seed: int) -> None:
    """Naps are replayed from the memory before them, whatever is suspected meanwhile."""
    stream = evidence_stream(seed + 500, minutes=1500)
    draw = random.Random(seed)
    always, sleeper = await cold(stream, 5), await cold(stream, 5)
    now = 5
    while now < stream.minutes - 130:
        nap = draw.choice((1, 2, 3, 7, 30, 120))
        await watch(always, now + 1, now + nap)
        await watch(sleeper, now + nap, now + nap)
        now += nap
        assert sleeper.board.memories == always.board.memories, f"seed {seed}, {nap} minutes slept until {now}"
        assert shown(sleeper) == shown(always)


@dataclass
class Learned:
    """A book whose level of a signal drifts with time, and stays where a suspicion froze it."""

    rules: tuple[DeploymentRule, ...]
    prepared: list[tuple[float, float | None]] = field(default_factory=list)
    asked: set[float | None] = field(default_factory=set)

    progress = None

    async def prepare(self, at: float, since: float | None = None, *, learned: bool = True) -> None:
        self.prepared.append((at, since))

    def norm(self, index: int, number: int, at: float, frozen_at: float | None = None) -> tuple[float, Norm] | Blind:
        self.asked.add(frozen_at)
        base = self.rules[index].signals[number].baseline
        assert base is not None
        hours = ((at if frozen_at is None else frozen_at) - BEGIN) / 3_600.0
        p = (0.03, 0.01)[number] * (1.0 + 0.002 * hours)
        return (p, Norm(0.02, (2.0,) * COUNT)) if hours < 24.5 else Blind.QUERY_FAILED

    def dwell(self, index: int, number: int, at: float, frozen_at: float | None, stakes: Stakes) -> float | None:
        return None

    def share(self, index: int, number: int, at: float) -> float | None:
        return None

    def behind(self, index: int, number: int, at: float) -> str:
        return ""

    def leave_out(self, left_out: object) -> None:
        pass

    def may_stand_frozen(self, index: int, number: int, at: float) -> bool:
        return False


async def test_a_level_that_is_learned_stays_while_a_drop_is_suspected_and_sleep_changes_nothing() -> None:
    stream = evidence_stream(509, minutes=1600)
    seasonal = Baseline(BaselineKind.SEASONAL)
    rules = tuple(
        replace(rule, signals=(*(replace(each, baseline=seasonal) for each in rule.signals[:2]), rule.signals[2]))
        for rule in stream.rules
    )
    stream = replace(stream, rules=rules)
    engines = []
    for _ in range(2):
        engine = stream.engine(BEGIN + 5 * MINUTE)
        engine.sampler.book = Learned(rules)
        await engine.start()
        engines.append(engine)
    always, sleeper = engines
    suspicions = 0
    for now in range(6, 1400, 60):
        await watch(always, now, now + 59)
        await watch(sleeper, now + 59, now + 59)
        assert sleeper.board.memories == always.board.memories, now
        for memory in always.board.memories.values():
            suspicions += any(own is not None and own.frozen_at is not None for own in memory.evidence)
    assert suspicions
    book = sleeper.sampler.book
    assert isinstance(book, Learned)
    assert len(book.asked) > 1, "a frozen level is asked for by the time that it froze at"
    assert any(since is not None and since < at for at, since in book.prepared)
    await watch(always, 1400, 1490)
    judged = always.board.verdicts[0].signals
    assert [signal.blind for signal in judged[:2]] == [Blind.QUERY_FAILED] * 2, "with why there is no baseline"
    assert "no baseline" in judged[0].note


async def test_trials_are_asked_as_much_earlier_as_their_events_trail() -> None:
    stream = evidence_stream(3, minutes=60)
    queries = {query.promql: query.offset_s for query in stream.engine(BEGIN).sampler.plan.queries}
    assert (queries["errors_n"], queries["conversion_n"]) == (180.0, 0.0)
    engine = await cold(stream, 30)
    tick = await engine.sampler.assemble(BEGIN + 1800.0, await engine.sampler.answers_at(BEGIN + 1800.0), {})
    conversion, errors, latency = tick.observations[0].readings
    found = {name: dict(next(iter(series)).points) for name, series in stream.series.items()}
    assert errors.n == found["errors_n"][BEGIN + 1620.0]
    assert errors.x == found["errors_x"][BEGIN + 1800.0 - queries["errors_x"]]
    assert conversion.x == found["conversion_x"].get(BEGIN + 1800.0)
    assert errors.norm == Norm(0.02, (4.0,)), "the policy's margin, and a cautious dispersion, where nothing is learned"
    assert (latency.x, latency.norm) == (None, None)


@pytest.mark.parametrize("mended", [True, False])
async def test_a_recovery_is_confirmed_by_evidence_and_not_for_lack_of_it(mended: bool) -> None:
    """Conversion falls at minute 60 and somebody acts at 90. A rollback that does not help is never confirmed, though
    each window by itself proves nothing."""
    draw, minutes, acted = random.Random(7), 150, BEGIN + 90 * MINUTE
    signals = (weighed_signal("conversion", 0.03, sufficient_alone=True),)
    rule = fleet_rule("d0", signals, Tiered((Uses("conversion"),)), dwell=300.0, hold=0.0, blind_dwell=600.0)
    columns: dict[str, list[tuple[float, float]]] = {"conversion_x": [], "conversion_n": []}
    for k in range(minutes):
        rate = 0.03 if k < 60 or (mended and k >= 90) else 0.022
        columns["conversion_n"].append((BEGIN + k * MINUTE, 2000.0))
        columns["conversion_x"].append((BEGIN + k * MINUTE, draw_count(draw, 2000.0, rate, 1.0)))
    series = {name: [labelled(name, "d0", points)] for name, points in columns.items()}
    versions = [(BEGIN + k * MINUTE, 1.0) for k in range(minutes)]
    series[VERSIONS] = [labelled(VERSIONS, "d0", versions, job="serving", version="1")]
    engine = EvidenceStream((rule,), series, minutes).engine(BEGIN + 5 * MINUTE)
    engine._cooling = lambda index, at: at >= acted  # type: ignore[method-assign]
    await engine.start()
    await watch(engine, 6, 90)
    assert engine.board.verdicts[0].state is TriggerState.FIRED
    observer = RecoveryObserver(engine)
    found = []
    for k in range(91, 130):
        await watch(engine, k, k)
        found.append(await observer.recovered(rule.deployment.id, acted))
    confirmed = [found_at for found_at, each in enumerate(found) if each.state is RecoveryState.CONFIRMED]
    if mended:
        assert confirmed, "suspected no longer, and so for as long as the policy asks"
        assert confirmed[0] >= 10
        assert engine.board.verdicts[0].state is TriggerState.COOLING
    else:
        assert not confirmed
        assert "conversion" in found[-1].detail.lower()
        assert engine.board.verdicts[0].state is TriggerState.FIRED


async def test_the_order_of_deployments_changes_nothing() -> None:
    stream = evidence_stream(9, deployments=3, minutes=420)
    turned = replace(stream, rules=stream.rules[::-1])
    one, two = (each.engine(BEGIN + 5 * MINUTE) for each in (stream, turned))
    for engine in (one, two):
        await engine.start()
    for k in range(6, stream.minutes, 30):
        for engine in (one, two):
            await watch(engine, k, k + 29)
        assert one.board.by_id() == two.board.by_id()
        assert [one.board.memories[index] for index in (0, 1, 2)] == [two.board.memories[index] for index in (2, 1, 0)]


async def test_how_a_version_fared_is_judged_by_evidence_back_to_the_onset() -> None:
    """Version 1 served well and lost a tenth in its last 80 minutes: those do not count as health, although it took
    half of them to be found."""
    draw, minutes, fell = random.Random(11), 400, 220
    signals = (weighed_signal("conversion", 0.03, sufficient_alone=True),)
    rule = fleet_rule("d0", signals, Tiered((Uses("conversion"),)), dwell=300.0, hold=0.0, blind_dwell=600.0)
    columns: dict[str, list[tuple[float, float]]] = {"conversion_x": [], "conversion_n": []}
    for k in range(minutes):
        columns["conversion_n"].append((BEGIN + k * MINUTE, 8000.0))
        rate = 0.027 if fell <= k < 300 else 0.03
        columns["conversion_x"].append((BEGIN + k * MINUTE, draw_count(draw, 8000.0, rate, 1.0)))
    series = {name: [labelled(name, "d0", points)] for name, points in columns.items()}
    series[VERSIONS] = [
        labelled(VERSIONS, "d0", [(BEGIN + k * MINUTE, 1.0) for k in span], job="serving", version=version)
        for version, span in (("1", range(300)), ("2", range(300, minutes)))
    ]
    engine = EvidenceStream((rule,), series, minutes).engine(BEGIN + 310 * MINUTE)
    await engine.start()
    served = await served_history(engine, rule.deployment.id, BEGIN + 310 * MINUTE)
    healthy = [each for each in served if each.state is Service.HEALTHY]
    assert healthy
    assert healthy[-1].end <= BEGIN + (fell + 20) * MINUTE, "back to the onset, not to when it was found"
    assert served[-1].state is not Service.HEALTHY


def test_a_pace_meets_every_step_of_every_detector() -> None:
    rule = evidence_stream(1, minutes=2).rules[0]
    assert pace_of([rule], 15.0) == 60.0
    assert pace_of([rule], 45.0) == 180.0
    assert pace_of([replace(rule, signals=rule.signals[2:])], 15.0) == 15.0
    five = replace(rule.signals[0], window_s=300.0)
    ten = replace(rule.signals[0], window_s=600.0)
    assert pace_of([replace(rule, signals=(five, ten))], 15.0) == 300.0


def minute_of(engine: Engine) -> int:
    assert engine.evaluated_at is not None
    return round((engine.evaluated_at - BEGIN) / MINUTE)


async def test_an_outage_is_replayed_when_it_is_over() -> None:
    """Counts that did not answer are read again, step by step, and nothing of the outage is left in the evidence."""
    stream, draw = evidence_stream(42, minutes=700, deployments=1), random.Random(1)
    always, sick = await cold(stream, 200), await cold(stream, 200)
    metrics = sick.metrics
    assert isinstance(metrics, Flaky)
    now, hidden = 200, 0
    while now < 600:
        metrics.silent = set(draw.sample(sorted(stream.series), 2))
        run = draw.choice((1, 2, 5, 20))
        await watch(always, now + 1, now + run)
        await watch(sick, now + 1, now + run)
        hidden += sick.board.memories != always.board.memories
        metrics.silent = set()
        now += run + draw.randint(1, 4)
        for engine in (always, sick):
            await watch(engine, minute_of(engine) + 1, now)
        assert sick.board.memories == always.board.memories, now
        assert shown(sick) == shown(always)
        assert not sick.outages
    assert hidden >= 5, "an outage must be felt while it lasts"


async def test_a_cold_start_that_could_not_read_its_history_is_not_certain() -> None:
    stream = evidence_stream(2, minutes=1700)
    engine = stream.engine(BEGIN + 1600 * MINUTE)
    assert isinstance(engine.metrics, Flaky)
    engine.metrics.no_ranges = {"conversion_x"}
    replayed = await engine.backfill.cold(BEGIN + 1600 * MINUTE, lambda *_: False, lambda *_: None)
    assert replayed.unsettled == {0, 1}
    assert replayed.failing

"""Shares by traffic, dwells by what is lost, holds by the loss budget: the same for whoever looks, whenever they began,
and made again from the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from book_tools import DAY, HOUR, MONDAY, WEEK, Recorded, weighed
from engine_tools import fleet_rule, labelled, new_journal
from evidence_tools import BEGIN, MINUTE, EvidenceStream, evidence_stream, watch

from rollback_console.decide.adaptive import Stakes
from rollback_console.decide.budget import quantised
from rollback_console.decide.evidence import COUNT
from rollback_console.engine.record import recompute
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.engine.shares import mark_of
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.model.observation import Blind, Norm, Observation, Reading, Series
from rollback_console.model.rules import (
    AdaptiveDwell,
    Baseline,
    BaselineKind,
    DeploymentRule,
    EvidenceRule,
    ImpactRule,
    SignalRule,
    Tiered,
    Uses,
)
from rollback_console.model.verdict import EvidenceMemory, TriggerMemory, TriggerState

PER_WEEK = 0.5
LOSS = 150.0  # a minute; from here on the fake book's dwells are short


def rotation(signals: Sequence[SignalRule], names: Sequence[str], tiers: Sequence[str]) -> tuple[DeploymentRule, ...]:
    when = Tiered(tuple(Uses(each.name) for each in signals))
    rules = [fleet_rule(name, signals, when, serving=None) for name in names]
    return tuple(
        replace(
            rule, deployment=replace(rule.deployment, tier=tier),
            trigger=replace(rule.trigger, false_alarms_a_week=PER_WEEK),
        )
        for rule, tier in zip(rules, tiers, strict=True)
    )  # fmt: skip


@dataclass
class Busy(Recorded):
    """Deployments of different traffic: the second has a tenth until Monday, and eight times as much from then on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for promql, found in self.series.items():
            self.series[promql] = [
                one if k == 0 else replace(
                    one, points=tuple((at, value * (0.1 if at <= MONDAY else 8.0)) for at, value in one.points)
                )
                for k, one in enumerate(found)
            ]  # fmt: skip


@pytest.fixture(scope="module")
def fortnight() -> Busy:
    """Five weeks before a Monday and eight days after it, 4,000 visits a minute."""
    short = [weighed(baseline=Baseline(BaselineKind.SEASONAL, history_s=14 * DAY))]
    rules = rotation(short, ("d0", "d1"), ("critical", "normal"))
    return Busy(MONDAY - 36 * DAY, MONDAY + 8 * DAY, short, ("d0", "d1"), visits=4_000.0, rules=rules)


def budgets(book: SeasonalBook, at: float) -> list[float | None]:
    found = [book.norm(index, 0, at) for index in range(2)]
    return [None if isinstance(each, Blind) else each[1].budget_s for each in found]


def test_a_mark_is_a_monday_at_midnight() -> None:
    assert mark_of(MONDAY) == MONDAY
    assert mark_of(MONDAY - 1) == MONDAY - WEEK
    assert mark_of(MONDAY + 6.9 * DAY) == MONDAY
    assert [quantised(each) for each in (0.0, 0.9, 1.0, 5.0, 6.0, 1_000.0)] == [0.0, 0.0, 1.0, 4.0, 8.0, 1_024.0]


async def test_shares_go_by_tier_and_by_last_weeks_traffic(fortnight: Busy) -> None:
    """4,096 visits a minute weigh as 5.1, 512 as 1.5; a critical deployment four times a normal one."""
    book = fortnight.book()
    await book.prepare(MONDAY + HOUR)
    found = budgets(book, MONDAY + HOUR)
    weights = (8 * 5.096, 2 * 1.512)
    assert found == pytest.approx([WEEK * sum(weights) / (PER_WEEK * each) for each in weights])
    assert sum(WEEK / each for each in found if each) == pytest.approx(PER_WEEK)
    await book.prepare(MONDAY + WEEK + HOUR)
    later = budgets(book, MONDAY + WEEK + HOUR)
    weights = (8 * 5.096, 2 * 10.0)  # traffic alone raises a share tenfold at most
    assert later == pytest.approx([WEEK * sum(weights) / (PER_WEEK * each) for each in weights])
    assert book.share(0, 0, MONDAY + WEEK + HOUR) == later[0]


async def test_opened_cold_or_watching_all_along_the_shares_are_the_same(fortnight: Busy) -> None:
    """Over two Mondays, bit for bit; a replay over the mark is told what was told then."""
    watching = fortnight.book()
    times = [MONDAY + k * 5 * HOUR for k in range(-6, 39)]
    seen = {}
    for at in times:
        await watching.prepare(at)
        seen[at] = [watching.norm(index, 0, at) for index in range(2)]
        if round((at - MONDAY) / HOUR) % 15 == 0:
            opened = fortnight.book(until=at)
            await opened.prepare(at)
            assert [opened.norm(index, 0, at) for index in range(2)] == seen[at]
    replayed = fortnight.book()
    await replayed.prepare(times[-1], times[0])
    assert {at: [replayed.norm(index, 0, at) for index in range(2)] for at in times} == seen
    told = [found[1].budget_s for at in times if isinstance(found := seen[at][0], tuple)]
    assert len(told) == len(times)
    assert len(set(told)) == 2, "another one from the second Monday on, no sooner"


async def test_while_the_week_cannot_be_read_shares_are_by_tier(fortnight: Busy) -> None:
    metrics = fortnight.metrics()
    book = SeasonalBook(fortnight.rules, metrics)
    signal = fortnight.signals[0]
    metrics.silent = {signal.x_hour or "", signal.n_hour or ""}
    await book.prepare(MONDAY + HOUR)
    assert book.share(0, 0, MONDAY + HOUR) is None
    metrics.silent = set()
    await book.prepare(MONDAY + HOUR + 600.0)
    assert book.share(0, 0, MONDAY + HOUR) is not None, "made good"


async def test_beside_a_control_traffic_counts_as_well() -> None:
    control = weighed(baseline=Baseline(BaselineKind.CONTROL, control="control"))
    rules = rotation([control], ("d0", "d1"), ("normal", "normal"))
    data = Busy(MONDAY - 9 * DAY, MONDAY + DAY, [control], ("d0", "d1", "control"), visits=4_000.0, rules=rules)
    book = data.book()
    await book.prepare(MONDAY + HOUR)
    shares = [book.share(index, 0, MONDAY + HOUR) or 0.0 for index in range(2)]
    assert shares[1] / shares[0] == pytest.approx(5.096 / 1.512)
    found = book.norm(0, 0, MONDAY + HOUR)
    assert isinstance(found, tuple)
    assert found[1].budget_s == shares[0]


async def test_a_new_deployment_weighs_as_none_and_adds_no_alarms(fortnight: Busy) -> None:
    rules = rotation(fortnight.signals, ("d0", "d1", "d2"), ("critical", "normal", "normal"))
    book = SeasonalBook(rules, fortnight.metrics())
    await book.prepare(MONDAY + HOUR)
    shares = [book.share(index, 0, MONDAY + HOUR) or 0.0 for index in range(3)]
    assert sum(WEEK / each for each in shares) == pytest.approx(PER_WEEK)
    assert shares[2] / shares[1] == pytest.approx(1.512)


# ── dwells by what is lost


@dataclass
class Dwelling:
    """A book with a fixed baseline whose adaptive dwells say what they were asked with."""

    rules: tuple[DeploymentRule, ...]
    asked: list[Stakes] = field(default_factory=list)

    progress = None

    async def prepare(self, at: float, since: float | None = None, *, learned: bool = True) -> None:
        pass

    def norm(self, index: int, number: int, at: float, frozen_at: float | None = None) -> tuple[float, Norm] | Blind:
        return (0.03, 0.01)[number], Norm(0.02, (2.0,) * COUNT, dwell_s=600.0)

    def dwell(self, index: int, number: int, at: float, frozen_at: float | None, stakes: Stakes) -> float | None:
        self.asked.append(stakes)
        return 120.0 if stakes.loss_per_minute > LOSS else 900.0

    def share(self, index: int, number: int, at: float) -> float | None:
        return None

    def behind(self, index: int, number: int, at: float) -> str:
        return ""

    def leave_out(self, left_out: object) -> None:
        pass

    def may_stand_frozen(self, index: int, number: int, at: float) -> bool:
        return False


def priced(stream: EvidenceStream, *, adaptive: bool, budget: float | None = None) -> EvidenceStream:
    """The same stream with revenue that follows conversions, and what goes by it."""
    found: dict[str, list[Series]] = {name: list(series) for name, series in stream.series.items()}
    for one in stream.series["conversion_x"]:
        points = [(at, 60.0 * value) for at, value in one.points]
        found.setdefault("revenue", []).append(labelled("revenue", dict(one.labels)["deployment"], points))
    rules = []
    for rule in stream.rules:
        signals = rule.signals
        if adaptive:
            signals = (
                replace(signals[0], evidence=EvidenceRule(margin=0.02, adaptive=AdaptiveDwell(120.0, 900.0))),
                *signals[1:],
            )
        trigger = replace(rule.trigger, loss_budget=budget)
        rules.append(replace(rule, signals=signals, trigger=trigger, impact=ImpactRule(revenue_per_minute="revenue")))
    return EvidenceStream(tuple(rules), found, stream.minutes)


@pytest.mark.parametrize("seed", [505])
async def test_a_cold_console_dwells_and_holds_as_one_that_watched(seed: int) -> None:
    """Dwells that what is lost shortens, holds that the loss budget shortens: through drops, cold and slept."""
    stream = priced(evidence_stream(seed, minutes=1_500), adaptive=True, budget=20_000.0)
    engines = []
    for _ in range(2):
        engine = stream.engine(BEGIN + 5 * MINUTE)
        engine.sampler.book = Dwelling(stream.rules)
        await engine.start()
        engines.append(engine)
    always, sleeper = engines
    for now in range(6, 1_440, 90):
        await watch(always, now, now + 89)
        await watch(sleeper, now + 89, now + 89)
        assert sleeper.board.memories == always.board.memories, now
        assert [v.sentence for v in sleeper.board.verdicts.values()] == [
            v.sentence for v in always.board.verdicts.values()
        ]
    book = always.sampler.book
    assert isinstance(book, Dwelling)
    assert {each.loss_per_minute > LOSS for each in book.asked} == {True, False}, "little and much were at stake"
    cold = stream.engine(BEGIN + now * MINUTE + 89 * MINUTE)
    cold.sampler.book = Dwelling(stream.rules)
    await cold.start()
    assert {i: m.evidence for i, m in cold.board.memories.items()} == {
        i: m.evidence for i, m in always.board.memories.items()
    }


async def test_only_what_is_suspected_and_priced_shortens_a_dwell() -> None:
    stream = priced(evidence_stream(501, minutes=10), adaptive=True)
    engine = stream.engine(BEGIN)
    book = Dwelling(stream.rules)
    engine.sampler.book = book
    reading = Reading(0.02, None, 2_000.0, x=40.0)
    seen = Observation(
        stream.rules[0].deployment.id,
        BEGIN,
        (reading, Reading(0.01, None, 2_000.0, x=20.0), Reading(1.0)),
        "1",
        4_000.0,
    )
    calm = engine.sampler.normed(0, seen, TriggerMemory(evidence=(EvidenceMemory(), None, None)))
    assert calm.readings[0].norm is not None
    assert (calm.readings[0].norm.dwell_s, book.asked) == (600.0, [])
    doubted = EvidenceMemory(at=BEGIN - 60, onset=BEGIN - 600, seen=(200.0, 600.0))
    fast = engine.sampler.normed(0, seen, TriggerMemory(evidence=(doubted, None, None)))
    assert fast.readings[0].norm is not None
    assert fast.readings[1].norm is not None
    assert (fast.readings[0].norm.dwell_s, fast.readings[1].norm.dwell_s) == (120.0, 600.0), "only what is adaptive"
    (asked,) = book.asked
    assert asked.false_rollback == 10_000.0
    assert 1_000.0 < asked.loss_per_minute < 2_000.0, "a third lost of 4,000 that come in, by the lower end"
    unpriced = engine.sampler.normed(
        0, replace(seen, revenue_per_minute=None), TriggerMemory(evidence=(doubted, None, None))
    )
    assert unpriced.readings[0].norm is not None
    assert unpriced.readings[0].norm.dwell_s == 600.0


async def test_a_book_waits_less_where_more_is_lost() -> None:
    """Blips of seven minutes: their length is waited out, but not where a minute more loses more than they cost."""
    bounds = EvidenceRule(adaptive=AdaptiveDwell(120.0, 600.0))
    week = Baseline(BaselineKind.SEASONAL, history_s=7 * DAY)
    blips = [MONDAY - 2 * DAY - k * 1.1 * DAY // HOUR * HOUR + 1_800 for k in range(5)]
    data = Recorded(
        MONDAY - 9 * DAY, MONDAY + HOUR, [weighed(baseline=week, rule=bounds)],
        deployments=("d0",), visits=1_500.0,
        rate=lambda at: 0.03 * (0.1 if any(begun <= at < begun + 420 for begun in blips) else 1),
    )  # fmt: skip
    book = data.book()
    await book.prepare(MONDAY)
    dwells = [book.dwell(0, 0, MONDAY, None, Stakes(10_000.0, loss)) or 0.0 for loss in (1.0, 100.0, 1e6)]
    assert dwells[0] == 420.0
    assert dwells[-1] == 120.0
    assert dwells == sorted(dwells, reverse=True)


# ── made again


async def test_decisions_by_what_is_at_stake_are_made_again_identically(tmp_path: Path) -> None:
    stream = priced(evidence_stream(505, minutes=640), adaptive=True, budget=2_000.0)
    shared = [replace(rule, trigger=replace(rule.trigger, false_alarms_a_week=1.0)) for rule in stream.rules]
    stream = EvidenceStream(tuple(shared), stream.series, stream.minutes)
    with new_journal(tmp_path / "journal.db", BEGIN) as journal:
        engine = stream.engine(BEGIN + 550 * MINUTE, journal=journal)

        class Shared(Dwelling):
            def norm(
                self, index: int, number: int, at: float, frozen_at: float | None = None
            ) -> tuple[float, Norm] | Blind:
                found = super().norm(index, number, at, frozen_at)
                assert isinstance(found, tuple)
                return found[0], replace(found[1], budget_s=40 * DAY * (1 + index))

        engine.sampler.book = Shared(stream.rules)
        await engine.start()
        await watch(engine, 551, 615)
        entries = [each for each in journal.entries() if each.kind == "transition"]
        states = {each.after for entry in entries if isinstance(each := entry.parsed(), TransitionRecorded)}
        assert {str(TriggerState.PENDING), str(TriggerState.FIRED)} <= states
        bars = {
            round(signal["bar"], 3)
            for entry in entries
            if isinstance(body := entry.parsed(), TransitionRecorded)
            for signal in body.verdict["signals"]
            if signal.get("bar") is not None
        }
        assert bars & {10.961, 11.654}, "the shares' bars, not the policy's"
        assert any(b"stood alone for" in entry.body for entry in entries), "the loss budget made it fire"

        def blobs(digest: str) -> bytes | None:
            return b"as compiled below" if digest == stream.rules[0].policy_digest else journal.get_blob(digest)

        for entry in entries:
            assert recompute(entry, blobs, lambda data, digest: stream.rules) is None

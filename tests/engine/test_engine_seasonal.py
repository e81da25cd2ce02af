"""The book of baselines: whoever looks, whenever they began, is told the same; what fails is survived and made good."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from book_tools import DAY, HOUR, MONDAY, WEEK, Heard, MemoryShelf, Recorded, day_shape, told, weighed
from engine_tools import fleet_rule, labelled

from rollback_console.engine.book import book_of
from rollback_console.engine.sampler import Sampler
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.errors import BackendUnreachable
from rollback_console.model.observation import Blind, Series
from rollback_console.model.rules import AdaptiveDwell, Baseline, BaselineKind, EvidenceRule, Stretch

AT = MONDAY + 15 * HOUR + 7 * 60


@pytest.fixture(scope="module")
def month() -> Recorded:
    """Five weeks and a half of two deployments; to Wednesday."""
    return Recorded(MONDAY - 37 * DAY, MONDAY + 2 * DAY, [weighed()])


async def test_a_baseline_is_learned_out_of_the_backends_history(month: Recorded) -> None:
    p, norm = await told(month.book(), AT)
    assert p == pytest.approx(day_shape(AT - 30), rel=0.02)
    assert 0.005 <= norm.margin < 0.03
    assert len(norm.phi) == 7
    assert all(1.0 <= phi < 1.6 for phi in norm.phi)
    assert norm.control is None


@pytest.mark.parametrize(("days", "history_s"), [(40, 28 * DAY), (1.3, 28 * DAY), (0.2, 28 * DAY), (40, 7 * DAY)])
async def test_opened_cold_or_watching_all_along_the_numbers_are_the_same(days: float, history_s: float) -> None:
    """Through a midnight and the beginning of a week, with history of every age and length, bit for bit."""
    end = MONDAY + 3 * HOUR
    signal = weighed(baseline=Baseline(BaselineKind.SEASONAL, history_s=history_s))
    data = Recorded(MONDAY - days * DAY // HOUR * HOUR, end, [signal], deployments=("d0",))
    watching = data.book()
    for k in range(-9 * 4, 3 * 4):
        at = MONDAY + k * HOUR / 4
        await watching.prepare(at)
        seen = watching.norm(0, 0, at)
        opened = data.book(until=at)
        await opened.prepare(at)
        assert opened.norm(0, 0, at) == seen, k
        assert watching.behind(0, 0, at) == opened.behind(0, 0, at)


async def test_a_replay_is_told_what_was_told_then(month: Recorded) -> None:
    times = [MONDAY - 7 * HOUR + k * 40 * 60 for k in range(20)]
    one = month.book()
    await one.prepare(times[-1], times[0])
    replayed = [one.norm(1, 0, at) for at in times]
    for at, seen in zip(times, replayed, strict=True):
        live = month.book(until=at)
        await live.prepare(at)
        assert live.norm(1, 0, at) == seen


async def test_a_frozen_level_is_that_of_its_moment(month: Recorded) -> None:
    """The week's shape goes on; what came after the freeze teaches nothing, and a cold start agrees."""
    frozen = MONDAY + 5 * HOUR + 90.0
    outage = Recorded(
        month.start, month.end, month.signals, rate=lambda at: day_shape(at) * (0.4 if at >= frozen else 1)
    )
    p, norm = await told(month.book(), AT, frozen)
    book = outage.book()
    assert await told(book, AT, frozen) == (p, norm)
    assert p == pytest.approx(day_shape(AT - 30), rel=0.02)
    assert (await told(outage.book(), AT))[0] < 0.98 * p, "not frozen it follows, if slowly"
    cold = outage.book()
    await cold.prepare(AT, since=frozen)
    assert cold.norm(0, 0, AT, frozen) == (p, norm)


async def test_a_level_frozen_last_week_is_known_again_after_a_restart(month: Recorded) -> None:
    """That week's noise is not among what a start reads; asked for in vain, it is read with the next evaluation."""
    frozen = MONDAY - 30 * HOUR
    watching = month.book()
    await watching.prepare(frozen)
    expected = await told(watching, AT, frozen)
    restarted = month.book()
    await told(restarted, AT, frozen)
    assert await told(restarted, AT, frozen) == expected


async def test_the_order_of_deployments_means_nothing(month: Recorded) -> None:
    turned = SeasonalBook(month.rules[::-1], month.metrics())
    book = month.book()
    await turned.prepare(AT)
    await book.prepare(AT)
    assert [turned.norm(k, 0, AT) for k in (1, 0)] == [book.norm(k, 0, AT) for k in (0, 1)]


async def test_a_backend_that_cannot_answer_much_at_once_is_asked_for_less(month: Recorded) -> None:
    class Slow(Heard):
        async def query_range(self, promql: str, start: float, end: float, step: float) -> tuple[Series, ...]:
            if end - start > 60 * HOUR:
                raise BackendUnreachable("prometheus does not answer within 10 s", "try again")
            return await super().query_range(promql, start, end, step)

    book = SeasonalBook(month.rules, Slow(month.series, lookback_s=15.0))
    for k in range(100):
        await book.prepare(AT + 15.0 * k)
    assert await told(book, AT + 1500) == await told(month.book(), AT + 1500)


async def test_what_is_frozen_for_more_than_a_week_is_the_new_normal(month: Recorded) -> None:
    book = month.book()
    await book.prepare(AT)
    assert book.norm(0, 0, AT, AT - 9 * DAY) == book.norm(0, 0, AT, AT - WEEK)


async def test_an_invalidated_stretch_leaves_the_baseline(month: Recorded) -> None:
    stretch = Stretch(MONDAY - 3 * DAY, MONDAY - DAY, "a sale")
    base = Baseline(BaselineKind.SEASONAL, history_s=28 * DAY, exclude=(stretch,))
    sale = Recorded(
        month.start, month.end, [weighed(baseline=base)],
        rate=lambda at: day_shape(at) * (1.5 if stretch.start <= at < stretch.end else 1),
    )  # fmt: skip
    plain = Recorded(month.start, month.end, [weighed(baseline=base)])
    assert await told(sale.book(), AT) == await told(plain.book(), AT)


async def test_little_is_asked_once_it_is_known(month: Recorded) -> None:
    book = month.book()
    metrics = book._metrics
    await book.prepare(AT)
    first = len(metrics.ranges)  # type: ignore[attr-defined]
    assert first < 20
    for k in range(1, 220):
        await book.prepare(AT + 15.0 * k)
    assert len(metrics.ranges) == first + 2, "an hour later: the newest hour of x and of n"  # type: ignore[attr-defined]


async def test_a_failing_backend_is_survived_and_made_good(month: Recorded) -> None:
    book, metrics = month.book(), month.metrics()
    book._metrics = metrics
    before = await told(book, AT)
    metrics.failure = BackendUnreachable("prometheus does not answer", "try again")
    for k in range(1, 4 * 60):
        await book.prepare(AT + 60.0 * k)
    stale = book.norm(0, 0, AT + 4 * HOUR)
    assert isinstance(stale, tuple)
    assert stale[1].margin == pytest.approx(before[1].margin, rel=0.2)
    asked = len(metrics.asked)
    assert asked < 2 * 60, "asked ever less often"
    metrics.failure = None
    at = AT + 4 * HOUR + 600
    assert await told(book, at) == await told(month.book(), at)


async def test_what_was_never_read_is_said_to_have_failed(month: Recorded) -> None:
    book, metrics = month.book(), month.metrics()
    book._metrics = metrics
    metrics.failure = BackendUnreachable("prometheus does not answer", "try again")
    await book.prepare(AT)
    assert book.norm(0, 0, AT) is Blind.QUERY_FAILED
    assert book.behind(0, 0, AT) == ""
    metrics.failure = None
    assert await told(book, AT + 60) == await told(month.book(), AT + 60)


async def test_history_that_fails_half_way_is_not_taken_for_all_of_it(month: Recorded) -> None:
    book, metrics = month.book(), month.metrics()
    book._metrics = metrics
    metrics.silent = {"n_conversion[1m]"}
    await book.prepare(AT)
    assert isinstance(book.norm(0, 0, AT), tuple), "the noise of short blocks is missing, hours stand in for it"
    metrics.silent = set()
    assert await told(book, AT + 60) == await told(month.book(), AT + 60)


async def test_without_history_there_is_nothing_to_compare_with() -> None:
    data = Recorded(MONDAY - HOUR, MONDAY + 3 * HOUR, [weighed()])
    book = data.book()
    await book.prepare(MONDAY + 600)
    assert book.norm(0, 0, MONDAY + 600) is Blind.NO_DATA
    await book.prepare(MONDAY + HOUR + 600)
    found = book.norm(0, 0, MONDAY + HOUR + 600)
    assert isinstance(found, tuple)
    assert found[1].margin > 0.08
    assert book.behind(0, 0, MONDAY + HOUR + 600).startswith("learned from 1 h of history")
    assert book.norm(0, 5, MONDAY) is Blind.NO_DATA, "no such signal"


async def test_two_series_for_one_deployment_are_none() -> None:
    data = Recorded(MONDAY - 9 * DAY, MONDAY + HOUR, [weighed()])
    twice = next(one for one in data.series["x_conversion[1h]"] if dict(one.labels)["deployment"] == "d0")
    data.series["x_conversion[1h]"].append(labelled("", "d0", twice.points, version="9"))
    book = data.book()
    await book.prepare(MONDAY)
    assert book.norm(0, 0, MONDAY) is Blind.NO_DATA
    assert isinstance(book.norm(1, 0, MONDAY), tuple)


async def test_trials_are_asked_as_much_earlier_as_their_events_trail_them() -> None:
    """Each conversion comes ten minutes after its visit, and traffic doubles every other hour: hour by hour the ratio
    would swing, with the visits it belongs to it does not."""
    late = EvidenceRule(maturity_s=600.0)
    plain = Recorded(MONDAY - 16 * DAY, MONDAY + HOUR, [weighed(rule=late)], deployments=("d0",), rate=lambda _: 0.03)
    visits = [(MONDAY - 16 * DAY + 60.0 * k, 1000.0 + 1000.0 * (k // 60 % 2)) for k in range(1, 17 * 1440)]
    orders = [(at + 600.0, 0.03 * n) for at, n in visits]
    plain.series["n_conversion[1m]"] = [labelled("", "d0", visits)]
    plain.series["x_conversion[1m]"] = [labelled("", "d0", orders)]

    def hours(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Sums over the hour before each tenth minute."""
        whole = range(59, len(points), 10)
        return [(points[k][0], math.fsum(value for _, value in points[k - 59 : k + 1])) for k in whole]

    plain.series["n_conversion[1h]"] = [labelled("", "d0", hours(visits))]
    plain.series["x_conversion[1h]"] = [labelled("", "d0", hours(orders))]
    p, norm = await told(plain.book(), MONDAY + 60)
    assert p == pytest.approx(0.03, rel=1e-3)
    assert max(norm.phi) == 1.0
    assert norm.margin < 0.01


# -- other baselines ---------------------------------------------------------------------------------------------------


async def test_fixed_and_last_weeks_baselines_take_their_noise_from_the_book(month: Recorded) -> None:
    fixed = replace(month.rules[0].signals[0], baseline=Baseline(BaselineKind.FIXED, 0.031))
    week = replace(month.rules[0].signals[0], baseline=Baseline(BaselineKind.LAST_WEEK))
    book = SeasonalBook([replace(month.rules[0], signals=(fixed, week))], month.metrics())
    await book.prepare(AT)
    found, of_week = book.norm(0, 0, AT), book.norm(0, 1, AT)
    assert isinstance(found, tuple)
    assert isinstance(of_week, tuple)
    assert found[0] == 0.031
    assert found[1].margin < 0.02
    assert of_week[0] == pytest.approx(day_shape(MONDAY + 15.5 * HOUR), rel=0.05)
    assert of_week[1].margin > found[1].margin


async def test_a_control_is_read_in_the_same_window_and_says_its_counts() -> None:
    base = Baseline(BaselineKind.CONTROL, control="control")
    signal = weighed(baseline=base, rule=EvidenceRule(maturity_s=120.0))
    data = Recorded(MONDAY - HOUR, MONDAY + HOUR, [signal], deployments=("d0", "control"))
    book = data.book()
    events = dict(next(one.points for one in data.series["x_conversion[1m]"] if dict(one.labels)["deployment"] != "d0"))
    trials = dict(next(one.points for one in data.series["n_conversion[1m]"] if dict(one.labels)["deployment"] != "d0"))
    for at in (MONDAY + 60.0, MONDAY + 75.0, MONDAY + 120.0):
        await book.prepare(at)
        found = book.norm(0, 0, at)
        assert isinstance(found, tuple)
        x, n = events[at // 60 * 60], trials[at // 60 * 60 - 120]
        assert found[1].control == (x, n)
        assert found[0] == x / n
        assert found[1].margin == 0.01
    replay = data.book()
    await replay.prepare(MONDAY + 1800, MONDAY)
    assert all(isinstance(replay.norm(0, 0, MONDAY + 60 * k), tuple) for k in range(31))
    assert book.norm(0, 0, MONDAY + 1800) is Blind.QUERY_FAILED, "not prepared"


async def test_a_control_of_a_query_that_names_its_deployment_is_asked_by_its_own_name() -> None:
    base = Baseline(BaselineKind.CONTROL, control='can"ary')
    signal = replace(weighed(baseline=base), x='sum(x{deployment="d0"})', n='sum(n{deployment="d0"})')
    rule = fleet_rule("d0", [signal], serving=None)
    book = SeasonalBook([rule], metrics := Recorded(MONDAY, MONDAY + 60, []).metrics())
    metrics.put('sum(x{deployment="can\\"ary"})', [replace(labelled("", "", [(MONDAY, 30.0)]), labels=())])
    metrics.put('sum(n{deployment="can\\"ary"})', [replace(labelled("", "", [(MONDAY, 900.0)]), labels=())])
    await book.prepare(MONDAY)
    found = book.norm(0, 0, MONDAY)
    assert isinstance(found, tuple)
    assert found[1].control == (30.0, 900.0)


async def test_a_control_that_is_gone_is_said_to_be() -> None:
    base = Baseline(BaselineKind.CONTROL, control="control")
    data = Recorded(MONDAY - HOUR, MONDAY, [weighed(baseline=base)], deployments=("d0",))
    book, metrics = data.book(), data.metrics()
    book._beside._metrics = metrics
    await book.prepare(MONDAY)
    assert book.norm(0, 0, MONDAY) is Blind.NO_DATA
    metrics.failure = BackendUnreachable("prometheus does not answer", "try again")
    await book.prepare(MONDAY + 60)
    assert book.norm(0, 0, MONDAY + 60) is Blind.QUERY_FAILED


def test_no_book_where_nothing_is_learned(month: Recorded) -> None:
    plain = fleet_rule("d0", [replace(weighed(), evidence=None, baseline=Baseline(BaselineKind.FIXED, 0.03))])
    assert book_of([plain], month.metrics()) is None
    assert book_of(month.rules, month.metrics()) is not None


async def test_the_sampler_puts_the_baseline_and_its_norm_into_readings(month: Recorded) -> None:
    metrics = month.metrics()
    sampler = Sampler(month.rules, metrics, book_of(month.rules, metrics))
    at = MONDAY + HOUR
    tick = await sampler.assemble(at, await sampler.answers_at(at), {})
    expected = await told(month.book(), at)
    reading = tick.observations[0].readings[0]
    assert (reading.baseline, reading.norm) == expected
    assert reading.x is not None


# -- between runs ------------------------------------------------------------------------------------------------------


async def test_what_was_learned_is_kept_between_runs_and_changes_nothing(month: Recorded) -> None:
    shelf = MemoryShelf()
    expected = await told(month.book(shelf=shelf), AT)
    assert sorted(key.split("-")[0] for key in shelf.kept) == ["hours", "hours", "noises", "profiles"]
    again = month.book(shelf=shelf)
    assert await told(again, AT) == expected
    assert again._metrics.ranges == []  # type: ignore[attr-defined]
    later = month.book(shelf=shelf)
    assert await told(later, AT + 5 * HOUR) == await told(month.book(), AT + 5 * HOUR)
    assert len(later._metrics.ranges) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("spoil", [b"", b"not json\nnothing", b'{"v": 1}\n', b'{"v": 99, "promql": "x", "late": 0}\n'])
async def test_a_spoilt_shelf_is_as_good_as_none(month: Recorded, spoil: bytes) -> None:
    shelf = MemoryShelf()
    expected = await told(month.book(shelf=shelf), AT)
    shelf.kept = dict.fromkeys(shelf.kept, spoil)
    assert await told(month.book(shelf=shelf), AT) == expected


async def test_a_shelf_cut_short_anywhere_is_as_good_as_none(month: Recorded) -> None:
    shelf = MemoryShelf()
    expected = await told(month.book(shelf=shelf), AT)
    whole = dict(shelf.kept)
    for share in (0.1, 0.5, 0.9, 0.999):
        shelf.kept = {key: data[: int(len(data) * share)] for key, data in whole.items()}
        assert await told(month.book(shelf=shelf), AT) == expected


async def test_others_hours_are_not_taken_for_ours(month: Recorded) -> None:
    shelf = MemoryShelf()
    await told(month.book(shelf=shelf), AT)
    renamed = tuple(
        replace(rule, deployment=replace(rule.deployment, labels=(("deployment", f"d{1 - k}"),)))
        for k, rule in enumerate(month.rules)
    )
    swapped = SeasonalBook(renamed, month.metrics(), shelf)
    plain = month.book()
    await asyncio.gather(swapped.prepare(AT), plain.prepare(AT))
    assert swapped.norm(0, 0, AT) == plain.norm(1, 0, AT)


async def test_an_adaptive_dwell_waits_out_what_came_right_by_itself_before() -> None:
    """Nine blips of seven minutes in a month: the dwell comes to that, within the policy's bounds; cold as well."""
    bounds = EvidenceRule(adaptive=AdaptiveDwell(120.0, 600.0))
    blips = [MONDAY - 2 * DAY - k * 2.3 * DAY // HOUR * HOUR + 1800 for k in range(9)]

    def rate(at: float) -> float:
        return 0.03 * (0.1 if any(begun <= at < begun + 420 for begun in blips) else 1)

    narrow = replace(bounds, adaptive=AdaptiveDwell(120.0, 240.0))
    signals = [weighed(rule=bounds), weighed("other"), weighed("narrow", rule=narrow)]
    data = Recorded(MONDAY - 36 * DAY, MONDAY + HOUR, signals, deployments=("d0",), rate=rate, visits=1500.0)
    book = data.book()
    await book.prepare(MONDAY)
    found = [book.norm(0, number, MONDAY) for number in range(3)]
    assert [each[1].dwell_s for each in found if isinstance(each, tuple)] == [420.0, None, 240.0]
    calm = Recorded(
        MONDAY - 36 * DAY, MONDAY + HOUR, signals[:1], deployments=("d0",), rate=lambda _: 0.03, visits=6000.0
    )
    assert (await told(calm.book(), MONDAY))[1].dwell_s == 300.0, "none in a month: the rule's own"
    shelf = MemoryShelf()
    first = await told(data.book(shelf=shelf), MONDAY)
    assert await told(data.book(shelf=shelf), MONDAY) == first

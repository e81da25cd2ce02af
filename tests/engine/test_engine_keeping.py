"""What was learned is taken again where it is the same, and only there: between runs, between settings of a sweep."""

from __future__ import annotations

from dataclasses import replace

import pytest
from book_tools import DAY, HOUR, MONDAY, MemoryShelf, Recorded, day_shape, told, weighed

from rollback_console.decide import baselines
from rollback_console.engine.progress import Progress, Watched
from rollback_console.engine.seasonal import SeasonalBook
from rollback_console.engine.shelf import profiles_packed, profiles_unpacked
from rollback_console.model.observation import Norm
from rollback_console.model.rules import AdaptiveDwell, EvidenceRule, Stretch

AT = MONDAY + 15 * HOUR + 7 * 60


@pytest.fixture(scope="module")
def month() -> Recorded:
    """Five weeks and a half of two deployments; to Wednesday."""
    return Recorded(MONDAY - 37 * DAY, MONDAY + 2 * DAY, [weighed()])


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The anchors at which profiles were learned since."""
    anchors: list[float] = []
    learn = baselines.learn

    def counted(hours: baselines.Hours, anchor: float, *more: object) -> baselines.Profile | None:
        anchors.append(anchor)
        return learn(hours, anchor, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(baselines, "learn", counted)
    return anchors


async def test_a_profile_is_taken_from_the_shelf_bit_for_bit(month: Recorded, learned: list[float]) -> None:
    shelf = MemoryShelf()
    expected = await told(month.book(shelf=shelf), AT)
    assert len(learned) == 2, "two deployments"
    assert await told(month.book(shelf=shelf), AT) == expected
    assert len(learned) == 2
    assert await told(month.book(shelf=shelf), AT + DAY) == await told(month.book(), AT + DAY)
    assert learned[2:] == [MONDAY + DAY] * 4, "tomorrow's is another one"


async def test_a_profile_of_other_hours_is_not_taken(month: Recorded, learned: list[float]) -> None:
    """History was written anew behind the console's back: back-filled, or another Prometheus under the old address."""
    shelf = MemoryShelf()
    await told(month.book(shelf=shelf), AT)
    shelf.kept = {key: data for key, data in shelf.kept.items() if not key.startswith("hours")}
    other = Recorded(month.start, month.end, month.signals, rate=lambda at: 1.2 * day_shape(at), seed=3)
    learned.clear()
    found, expected = await told(other.book(shelf=shelf), AT), await told(other.book(), AT)
    assert found[0] == expected[0]
    assert len(learned) == 4


async def test_an_excluded_stretch_makes_it_another_baseline(month: Recorded, learned: list[float]) -> None:
    shelf = MemoryShelf()
    await told(month.book(shelf=shelf), AT)
    base = month.signals[0].baseline
    assert base is not None
    without = replace(base, exclude=(Stretch(MONDAY - 3 * DAY, MONDAY - DAY, "a sale"),))
    rules = tuple(replace(rule, signals=(weighed(baseline=without),)) for rule in month.rules)
    learned.clear()
    found = await told(SeasonalBook(rules, month.metrics(), shelf), AT)
    assert found == await told(SeasonalBook(rules, month.metrics()), AT)
    assert len(learned) == 4


async def test_another_way_of_learning_finds_nothing(
    month: Recorded, learned: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = MemoryShelf()
    await told(month.book(shelf=shelf), AT)
    monkeypatch.setattr("rollback_console.engine.shelf.LEARNING", 2)
    learned.clear()
    await told(month.book(shelf=shelf), AT)
    assert len(learned) == 2


async def test_excursions_are_kept_as_well(learned: list[float]) -> None:
    rule = EvidenceRule(adaptive=AdaptiveDwell(120.0, 600.0))
    blips = [MONDAY - 2 * DAY - k * 2.3 * DAY // HOUR * HOUR + 1800 for k in range(9)]
    data = Recorded(
        MONDAY - 36 * DAY, MONDAY + HOUR, [weighed(rule=rule)], deployments=("d0",), visits=1500.0,
        rate=lambda at: 0.03 * (0.1 if any(begun <= at < begun + 420 for begun in blips) else 1),
    )  # fmt: skip
    shelf = MemoryShelf()
    first = await told(data.book(shelf=shelf), MONDAY)
    assert first[1].dwell_s == 420.0
    again = data.book(shelf=shelf)
    assert await told(again, MONDAY) == first
    assert again._metrics.ranges == [], "no window is read again"  # type: ignore[attr-defined]


def test_what_is_no_profile_is_none() -> None:
    whole = profiles_packed({})
    assert profiles_unpacked(whole) == {}
    for spoilt in (
        None,
        b"",
        b"{}",
        b"\n",
        b'{"v": 2, "entries": [["a", "0.0", "c", 0]], "doubles": 10}\n',
        whole[:-3],
    ):
        assert profiles_unpacked(spoilt) == {}


async def test_settings_that_learn_alike_learn_once(month: Recorded, learned: list[float]) -> None:
    """Another margin, dwell or budget: the same baselines, other norms; told what each alone would be told."""
    first = month.book()
    stricter = tuple(
        replace(rule, signals=(weighed(rule=EvidenceRule(margin=0.05, dwell_s=900.0, budget_s=3e7)),))
        for rule in month.rules
    )
    other, alone = SeasonalBook(stricter, month.metrics()), SeasonalBook(stricter, month.metrics())
    assert other.borrow(first)
    for at in (AT, AT + 30 * 60, AT + 10 * HOUR):
        await first.prepare(at)
        learned.clear()
        await other.prepare(at)
        assert learned == []
        assert other._metrics.ranges == []  # type: ignore[attr-defined]
        await alone.prepare(at)
        assert other.norm(0, 0, at) == alone.norm(0, 0, at) != first.norm(0, 0, at)
        assert other.norm(1, 0, at, AT - 3 * HOUR) == alone.norm(1, 0, at, AT - 3 * HOUR)


@pytest.mark.parametrize(
    "signal",
    [
        weighed("other"),
        weighed(rule=EvidenceRule(maturity_s=300.0)),
        weighed(rule=EvidenceRule(adaptive=AdaptiveDwell(120.0, 600.0))),
    ],
)
async def test_settings_that_learn_otherwise_do_not_borrow(month: Recorded, signal: object) -> None:
    rules = tuple(replace(rule, signals=(signal,)) for rule in month.rules)  # type: ignore[arg-type]
    assert not SeasonalBook(rules, month.metrics()).borrow(month.book())


async def test_how_far_learning_has_come_is_told_in_deployments(month: Recorded) -> None:
    book = month.book()
    seen: list[tuple[str, int, int]] = []
    learn = book._learn_windows

    def watched(*due: object) -> None:
        assert book.progress is not None
        seen.append((book.progress.what, book.progress.done, book.progress.total))
        learn(*due)  # type: ignore[arg-type]

    book._learn_windows = watched  # type: ignore[method-assign]
    await book.prepare(AT)
    assert seen == [("learning baselines", 0, 2), ("learning baselines", 1, 2)]
    assert book.progress is None
    assert isinstance(book.norm(0, 0, AT), tuple)
    assert isinstance((await told(book, AT))[1], Norm)


def test_the_time_left_goes_by_the_pace_since_it_was_looked_at() -> None:
    watched, learning = Watched(), Progress("learning baselines", 1000)
    assert watched.words(learning, 50.0) == "learning baselines: 0 of 1,000"
    learning.done = 10
    assert watched.words(learning, 51.0) == "learning baselines: 10 of 1,000", "too soon to tell"
    learning.done = 312
    assert watched.words(learning, 68.0) == "learning baselines: 312 of 1,000, 40s left"
    learning.done = 1000
    assert watched.words(learning, 110.0) == "learning baselines: 1,000 of 1,000"
    following = Progress("back-filling", 60, 30)
    watched.words(following, 200.0)
    following.done = 31
    assert watched.words(following, 203.0) == "back-filling: 31 of 60, 1m27s left"

"""The rate, its interval and the times: against closed forms, by what must not change them, and by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review.small_past import BEGUN, DAY, FEED, HOUR, RANKER, Team
from rollback_console.model.intervals import wilson
from rollback_console.review.measures import Measures, measures
from rollback_console.review.measures_cost import lost_by, troubles
from rollback_console.review.moves import MoveClass, moves_of
from rollback_console.review.past import Past, Point, Turn
from rollback_console.review.past_reading import read_past
from rollback_console.review.rates import (
    Cuts,
    Window,
    band,
    nearest_rank,
    rates,
    spread,
    times,
    trend,
)

WEEK = 7 * DAY


# ── Wilson, percentiles, bands


@given(st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=150, deadline=None)
def test_wilsons_ends_are_the_shares_at_which_the_test_is_just_not_rejected(pair: tuple[int, int]) -> None:
    """The interval is the set of p with (k/n - p)^2 <= z^2 p(1-p)/n: a quadratic, checked in exact fractions just
    inside and just outside each end."""
    hits, of = pair
    square = Fraction(1_959_964, 1_000_000) ** 2
    seen = Fraction(hits, of)

    def inside(p: Fraction) -> bool:
        return (seen - p) ** 2 <= square * p * (1 - p) / of

    low, high = wilson(hits, of)
    step = Fraction(1, 10**9)
    assert 0.0 <= low <= hits / of <= high <= 1.0
    if hits > 0:
        assert inside(Fraction(low) + step)
        assert not inside(Fraction(low) - step)
    else:
        assert low == 0.0
    if hits < of:
        assert inside(Fraction(high) - step)
        assert not inside(Fraction(high) + step)
    else:
        assert high == 1.0


@given(st.integers(0, 60), st.integers(1, 60))
@settings(max_examples=100, deadline=None)
def test_wilson_is_symmetric_and_narrows(hits: int, more: int) -> None:
    of = hits + more
    low, high = wilson(hits, of)
    mirrored = wilson(of - hits, of)
    assert mirrored == pytest.approx((1 - high, 1 - low))
    tenfold = wilson(10 * hits, 10 * of)
    assert tenfold[1] - tenfold[0] < high - low


def test_wilson_as_it_is_printed_in_the_literature() -> None:
    """R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81/263, 15/148, 0/20, 1/29."""
    for pair, ends in (
        ((81, 263), (0.2553, 0.3662)),
        ((15, 148), (0.0624, 0.1605)),
        ((0, 20), (0.0, 0.1611)),
        ((1, 29), (0.0061, 0.1718)),
    ):
        assert wilson(*pair) == pytest.approx(ends, abs=5e-5)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.sampled_from([10, 50, 90, 95, 100]))
@settings(max_examples=150, deadline=None)
def test_the_nearest_rank_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = nearest_rank(values, percent)
    assert found in values
    enough = [each for each in values if 100 * sum(1 for v in values if v <= each) >= percent * len(values)]
    assert found == min(enough)


def test_percentiles_of_nothing_and_of_ten() -> None:
    assert nearest_rank([], 90) is None
    assert nearest_rank(range(1, 11), 90) == 9, "not the tenth: 0.9 * 10 is nine"
    assert nearest_rank([5.0], 90) == 5.0


def test_durations_below_nothing_are_unknown() -> None:
    found = spread([60.0, None, -5.0, 120.0])
    assert (found.n, found.mean, found.p90, found.unknown) == (2, 90.0, 120.0, 2)


@pytest.mark.parametrize(
    ("rate", "word"),
    [(0.0, "rare"), (0.0499, "rare"), (0.05, "usual"), (0.0999, "usual"), (0.1, "high"), (0.2, "high"),
     (0.2001, "alarming"), (1.0, "alarming")],
)  # fmt: skip
def test_bands(rate: float, word: str) -> None:
    assert band(rate) == word


# ── out of journals


def _year(path: Path) -> Team:
    """Two deployments with eight releases; three are rolled back, one of them after nine days."""
    team = Team(path)
    team.move(1, "1", "2", registered=0)
    team.move(10, "2", "3", registered=9.5)
    team.rollback(10.2, "3", "2", took_s=600)
    team.move(20, "2", "4")
    team.rollback(29, "4", "2", took_s=1200, automatic=True)
    team.move(40, "2", "5")
    team.move(41, "1", "2", FEED)
    team.move(50, "2", "3", FEED)
    team.move(52, "3", "2", FEED)
    team.move(60, "2", "4", FEED)
    team.move(100, "5", "6")
    team.note(103)
    return team


def _measured(team: Team, *args: object, **more: object) -> Measures:
    return measures(read_past([team.close()]), *args, **more)  # type: ignore[arg-type]


def test_the_rate_by_hand(tmp_path: Path) -> None:
    found = _measured(_year(tmp_path / "y.db"), by="model")
    whole = found.whole.rate
    assert (whole.deployments, whole.rolled_back, whole.open) == (8, 2, 1)
    assert whole.rate == 0.25
    assert whole.band == "alarming"
    assert "few deployments" in whole.words
    assert {g.key: (g.rate.deployments, g.rate.rolled_back) for g in found.groups} == {RANKER: (5, 1), FEED: (3, 1)}
    longer = _measured(_year(tmp_path / "z.db"), within_s=9.1 * DAY)
    assert longer.whole.rate.rolled_back == 3, "nine days after"


def test_times_and_shares_by_hand(tmp_path: Path) -> None:
    found = _measured(_year(tmp_path / "y.db")).whole
    hours = [0.2 * 24, 9 * 24, 2 * 24]
    assert found.times.to_decision.mean == pytest.approx(sum(hours) / 3 * HOUR)
    assert found.times.to_decision.p90 == pytest.approx(9 * DAY)
    assert (found.times.to_completion.n, found.times.to_completion.mean) == (2, pytest.approx(900.0))
    assert found.times.within_standard == (1, 2)
    assert found.times.automatic == (1, 3)
    assert found.times.repeated == (1, 3), "the ranker's second, 19 days after its first"
    assert found.incidents.lead.n == 2
    assert found.incidents.lead.mean == pytest.approx(0.75 * DAY)
    assert found.incidents.lead.unknown == 6


def test_cuts_go_by_the_policy_of_the_time(tmp_path: Path) -> None:
    from review.small_past import POLICY

    team = Team(tmp_path / "t.db")
    team.move(1, "1", "2")
    team.policy(5, POLICY.replace("team-shop", "team-rank").replace("critical", "low"))
    team.move(6, "2", "3")
    team.move(7, "2", "3", "production/unheard-of")
    past = read_past([team.close()])
    moves, cuts = moves_of(past), Cuts(past)
    assert [cuts.key("team", m.deployment, m.at) for m in moves] == ["team-shop", "team-rank", "unknown"]
    assert [cuts.key("tier", m.deployment, m.at) for m in moves] == ["critical", "low", "unknown"]
    assert [cuts.key("environment", m.deployment, m.at) for m in moves] == ["production"] * 3
    assert cuts.key("team", RANKER, BEGUN - DAY) == "team-shop", "before any: the first after"
    found = measures(past, by="team")
    assert [g.key for g in found.groups] == ["team-rank", "team-shop", "unknown"]


def test_the_trend_has_every_month(tmp_path: Path) -> None:
    past = read_past([_year(tmp_path / "y.db").close()])
    found = trend(moves_of(past), Window(), WEEK, past.last_at or 0)
    assert [(each.key, each.deployments, each.rolled_back) for each in found] == [
        ("2026-01", 3, 1), ("2026-02", 3, 1), ("2026-03", 1, 0), ("2026-04", 1, 0),
    ]  # fmt: skip


@given(cut=st.floats(0, 110))
@settings(max_examples=25, deadline=None)
def test_two_windows_add_up_to_one(cut: float, year: Past) -> None:
    moves = moves_of(year)
    last, edge = year.last_at or 0, BEGUN + cut * DAY
    halves = [
        rates(moves, window, WEEK, last, lambda _: "all", always=["all"])[0]
        for window in (Window(None, edge), Window(edge, None), Window())
    ]
    assert halves[0].deployments + halves[1].deployments == halves[2].deployments == 8
    assert halves[0].rolled_back + halves[1].rolled_back == halves[2].rolled_back
    parts = [times(moves, window) for window in (Window(None, edge), Window(edge, None), Window())]
    assert parts[0].to_decision.n + parts[1].to_decision.n == parts[2].to_decision.n
    assert parts[0].repeated[0] + parts[1].repeated[0] == parts[2].repeated[0], "what was before the window is known"
    pages = [measures(year, window).whole.incidents.pages for window in (Window(None, edge), Window(edge), Window())]
    assert pages[0] + pages[1] == pages[2]


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return read_past([_year(tmp_path_factory.mktemp("year") / "y.db").close()])


def _without_numbers(found: Measures) -> object:
    return found.whole.rate, found.whole.times, found.whole.learnt, found.whole.incidents.costs, found.trend


def test_a_drill_changes_nothing(tmp_path: Path) -> None:
    plain = _measured(_year(tmp_path / "a.db"))
    team = _year(tmp_path / "b.db")
    seq = team.drill(103.0)
    found = _measured(team)
    assert _without_numbers(found) == _without_numbers(plain)
    assert [(each.seq, each.scenario, each.passed) for each in found.drills] == [(seq, "demo", True)], "but is listed"
    rehearsal = Team(tmp_path / "drill.db", rehearsal=True, seed=b"drill")
    rehearsal.move(30, "2", "3")
    rehearsal.rollback(30.1, "3", "2")
    rehearsal.incident(30.1, "inc-1", "opened", 30.0)
    rehearsal.turn(30.05, "pending", "fired")
    both = read_past([tmp_path / "b.db", rehearsal.close()])
    assert _without_numbers(measures(both)) == _without_numbers(plain)
    assert measures(both).whole.incidents == plain.whole.incidents


def test_a_planned_switch_changes_nothing_but_the_list(tmp_path: Path) -> None:
    plain = _measured(_year(tmp_path / "a.db"))
    team = _year(tmp_path / "b.db")
    team.rollback(102, "6", "5", planned=True)
    team.rollback(102.5, "5", "6", planned=True)
    team.note(103)
    found = _measured(team)
    assert found.whole.rate == plain.whole.rate
    assert found.whole.times == plain.whole.times
    assert found.trend == plain.trend
    assert plain.excluded == ()
    assert [(each.what, each.why) for each in found.excluded] == [
        ("planned: v6 to v5", "its request says planned"), ("planned: v5 to v6", "its request says planned"),
    ]  # fmt: skip


def test_an_undone_mistake_changes_nothing_but_the_list(tmp_path: Path) -> None:
    plain = _measured(_year(tmp_path / "a.db"))
    team = _year(tmp_path / "b.db")
    seq = team.move(102, "6", "7")
    back = team.move(102.001, "7", "6")
    team.judge(102.5, f"move:{seq}", counts_as="mistake")
    team.note(103)
    found = _measured(team)
    assert found.whole.rate == plain.whole.rate
    assert found.whole.times == plain.whole.times
    assert [each.seq for each in found.excluded] == [seq, back]
    assert all("mistake" in each.what for each in found.excluded)


def test_a_rollback_of_the_unknown_is_listed_and_in_no_rate(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    team.rollback(1, "9", "8")
    found = _measured(team)
    assert found.whole.rate.deployments == 0
    assert [each.deployment for each in found.unanchored] == [RANKER]
    assert found.whole.times.to_completion.n == 1
    assert found.whole.times.to_decision.n == 0


def test_a_clock_put_back_between_decision_and_end_is_said(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    team.move(1, "7", "8")
    team.rollback(2, "8", "7", took_s=-500)
    found = _measured(team).whole.times
    assert (found.to_completion.n, found.to_completion.unknown, found.within_standard) == (0, 1, (0, 0))


# ── causes, incidents, costs, pages


def test_causes_and_gates_go_by_the_judgement_that_counts(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    for number, day in enumerate((1, 20, 40)):
        team.move(day, "2", f"{3 + number}")
        team.incident(day + 0.05, f"inc-{number}", "opened", day + 0.01)
        team.rollback(day + 0.1, f"{3 + number}", "2", name=f"ex-{number}")
        team.incident(day + 0.2, f"inc-{number}", "closed", day + 0.01)
    team.judge(50, "ex-0", root_cause="safety concern", gate="canary", published="https://wiki/1")
    team.judge(50, "inc-0", root_cause="business rule violation")  # the execution's own counts before it
    team.judge(51, "inc-1", root_cause="upstream data issue", right="wrong")
    team.judge(52, "inc-1", root_cause="safety concern", gate="canary")
    found = _measured(team).whole.learnt
    assert found.causes == (("safety concern", 2), ("not known yet", 1))
    assert found.repeated == ((RANKER, "safety concern", 2),)
    assert found.gates == (("canary", 2),)
    assert (found.published, found.judged, found.rollbacks) == (1, 2, 3)
    assert found.right == (), "superseded"


def test_an_incident_counts_where_a_member_fired(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    team.turn(1.0, "healthy", "pending")
    team.turn(1.01, "pending", "fired", backfilled=True)
    team.incident(1.5, "inc-late", "opened", 1.0)  # found when a console was opened
    team.incident(1.6, "inc-late", "closed", 1.0)
    team.incident(3.0, "inc-passed", "opened", 3.0, FEED)
    team.incident(3.1, "inc-passed", "closed", 3.0, FEED)
    team.incident(5.0, "inc-open", "opened", 5.0, FEED)
    team.turn(5.5, "pending", "fired", FEED)
    team.note(31)
    found = _measured(team, by="environment")
    inner = found.whole.incidents
    assert inner.incidents == 2
    assert inner.months == pytest.approx(2 * 31 / 30)
    assert inner.per_month == pytest.approx(2 / (62 / 30))
    assert {g.key: g.incidents.incidents for g in found.groups} == {"production": 1, "staging": 1}
    assert inner.pages == 1, "the back-filled one woke nobody"
    windowed = measures(read_past([team.path]), Window(BEGUN + 2 * DAY, BEGUN + 12 * DAY)).whole.incidents
    assert (windowed.incidents, windowed.months) == (1, pytest.approx(20 / 30))


def test_pages_by_shift(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")  # begins at midnight: within the shift from 20:00
    for hour in (7.0, 7.5, 8.0, 19.99, 20.0):
        team.turn(hour / 24, "pending", "fired")
    team.note(1 + 7 / 24)
    found = _measured(team).whole.incidents
    assert (found.pages, found.shifts, found.most) == (5, 3, 2)
    assert found.pages_per_shift == pytest.approx(5 / 3)
    day = measures(read_past([team.path]), Window(BEGUN + 8 * HOUR, BEGUN + 20 * HOUR)).whole.incidents
    assert (day.pages, day.shifts, day.most) == (2, 1, 2)


def test_what_an_incident_cost_before_and_after_the_decision(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    minute = 1 / 1440
    team.move(0.5, "7", "8")
    team.turn(1.0, "healthy", "pending", cost=(1.0, 0.0))
    team.turn(1 + 2 * minute, "pending", "fired", cost=(1.0, 200.0), cost_before=(1.0, 175.0, 1 + 1.75 * minute))
    team.incident(1 + 2.1 * minute, "inc-1", "opened", 1.0)
    team.rollback(1 + 4 * minute, "8", "7", took_s=300)
    team.turn(1 + 6 * minute, "fired", "clearing", cost=(1.0, 500.0), cost_before=(1.0, 500.0, 1 + 5 * minute))
    team.turn(1 + 11 * minute, "clearing", "healthy", cost_before=(1.0, 500.0, 1 + 10.75 * minute))
    team.incident(1 + 11 * minute, "inc-1", "closed", 1.0)
    (cost,) = _measured(team).whole.incidents.costs
    # 200 by minute 2, 500 by minute 5: straight between, 400 at minute 4, when it was decided
    assert cost.before == pytest.approx(400.0)
    assert cost.after == pytest.approx(100.0)
    assert (cost.unit, cost.priced) == ("EUR", True)


def test_without_a_decision_all_of_it_is_before(tmp_path: Path) -> None:
    team = Team(tmp_path / "t.db")
    team.turn(1.0, "healthy", "pending", cost=(1.0, 0.0))
    team.turn(1.01, "pending", "fired", cost=(1.0, 90.0))
    team.turn(1.02, "fired", "healthy", cost_before=(1.0, 120.0, 1.02))
    team.turn(1.03, "healthy", "pending", cost=(1.03, 0.0))  # it comes again, within the same incident
    team.turn(1.04, "pending", "healthy", cost_before=(1.03, 30.0, 1.04))
    team.incident(1.011, "inc-1", "opened", 1.0)
    team.incident(1.05, "inc-1", "closed", 1.0)
    (cost,) = _measured(team).whole.incidents.costs
    assert (cost.before, cost.after, cost.decided_at) == (150.0, 0.0, None)


@given(
    st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 100)), min_size=1, max_size=12),
    st.floats(-10, 1_500),
)
@settings(max_examples=100, deadline=None)
def test_lost_by_a_time_grows_to_the_whole(steps: list[tuple[float, float]], at: float) -> None:
    points, time, lost = [], 0.0, 0.0
    for wait, more in steps:
        time, lost = time + wait, lost + more
        points.append(Point(time, lost, 0.0))
    assert lost_by(points, -1.0) == 0.0
    assert lost_by(points, math.inf) == points[-1].lost
    assert 0.0 <= lost_by(points, at) <= points[-1].lost * (1 + 1e-12)
    assert lost_by(points, at) <= lost_by(points, at + 5.0) * (1 + 1e-12) + 1e-9
    for point in points:
        assert lost_by(points, point.at) == pytest.approx(point.lost)


def test_a_trouble_ends_where_nothing_is_summed_any_more() -> None:
    def turn(at: float, points: tuple[Point, ...], goes_on: bool) -> Turn:
        return Turn(at, "c", 1, RANKER, "a", "b", None, False, points, goes_on)

    first, second = Point(1, 5, 0), Point(9, 2, 8)
    found = troubles([turn(1, (first,), True), turn(2, (), False), turn(9, (second,), True)])
    assert found == [[first], [second]]


def test_classes_are_all_of_the_document() -> None:
    text = (Path(__file__).parents[2] / "docs" / "measures.md").read_text()
    for each in MoveClass:
        assert str(each) in text


def test_an_incident_in_two_journals_stands_as_the_last_to_speak_says(tmp_path: Path) -> None:
    """The console that closed it is read first, the one that saw it only open is read after it."""
    one, other = Team(tmp_path / "one.db"), Team(tmp_path / "other.db", seed=b"other")
    for team, delay in ((one, 0.001), (other, 0.002)):
        team.turn(1.0, "pending", "fired", cost=(0.9, 10.0))
        team.incident(1 + delay, "inc-1", "opened", 0.9)
    one.incident(1.5, "inc-1", "changed", 0.9, RANKER, FEED)
    one.incident(2.0, "inc-1", "closed", 0.9, RANKER, FEED)
    paths = [one.close(), other.close()]
    for order in (paths, paths[::-1]):
        past = read_past(order)
        (incident,) = past.episodes.values()
        assert incident.closed_at == BEGUN + 2 * DAY
        assert incident.members == (RANKER, FEED)
        assert incident.opened_at == pytest.approx(BEGUN + 1.001 * DAY)
        found = measures(past).whole.incidents
        assert (found.incidents, found.pages) == (1, 1), "what both saw is one"

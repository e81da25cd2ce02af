"""The state at any moment of a journal: what was recorded, what the engine makes of it again, and how old it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback_console.cli.main import run
from rollback_console.model.snapshot import Snapshot
from rollback_console.review.replay import Replay
from rollback_console.review.scrub import Scrub
from rollback_console.review.sources import open_source

RANKER = "production/checkout-ranker"


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("replay") / "drill.db"
    assert run(["rehearse", "demo", "--headless", "--seed", "3", "--journal", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def replay(drill: Path) -> Replay:
    return Replay.open(drill)


def states(snapshot: Snapshot) -> dict[str, str]:
    return {str(view.id): str(view.verdict.state) for view in snapshot.deployments if view.verdict is not None}


def test_every_moment_shows_the_states_that_the_journal_had_recorded_by_then(replay: Replay) -> None:
    said: dict[str, str] = {}
    turns = {turn.place: turn for turn in (replay.samples.turn(place) for place in replay.index.turns) if turn}
    checked = 0
    for place in range(len(replay.index)):
        if (turn := turns.get(place)) is not None:
            entry = replay.index.entry(place)
            assert entry is not None
            said[entry.deployment] = turn.body.after
        if replay.index.settled(place) != place or replay.index.ticks.until(place) < 0:
            continue
        shown = states(replay.moment(place).snapshot)
        assert shown == {name: said.get(name, "healthy") for name in shown}
        checked += 1
    assert checked > 100


def test_a_time_is_the_moment_after_the_last_entry_that_is_not_later(replay: Replay) -> None:
    index = replay.index
    fired = next(mark for mark in index.marks if mark.kind == "fired" and mark.deployment == RANKER)
    before, then = replay.at(fired.at - 0.001), replay.at(fired.at)
    assert states(before)[RANKER] == "pending"
    assert states(then)[RANKER] == "fired"
    assert replay.at(index.ats[0] - 1e6).timeline, "before the first entry stands the first"
    assert replay.at(index.ats[-1] + 1e6).timeline[-1] == index.items[-1]


def test_between_recorded_evaluations_the_last_known_stands_and_its_age_is_told(replay: Replay) -> None:
    index = replay.index
    place = index.settled(index.ticks.places[60])
    at = index.ats[place] + 7.0
    assert index.ats[index.ticks.places[61]] > at, "the next evaluation was later"
    moment = replay.moment(index.place_at(at), at)
    assert moment.snapshot.at == at
    assert moment.snapshot.evaluated_at == index.ticks.ats[60]
    assert moment.age_s == at - index.ticks.ats[60] >= 7.0
    assert states(moment.snapshot) == states(replay.moment(place).snapshot)


def test_panels_have_traces_incidents_executions_walks_and_the_timeline_of_then(replay: Replay) -> None:
    request = next(mark for mark in replay.index.marks if mark.kind == "request")
    before = replay.moment(request.place - 1).snapshot
    after = replay.moment(request.place).snapshot
    end = replay.moment(len(replay.index) - 1).snapshot
    assert not before.executions
    (running,), (done,) = after.executions, end.executions
    assert running.ended_at is None
    assert str(done.state) == "done"
    assert [item.seq for item in after.timeline] == [
        i.seq for i in replay.index.items if i.seq <= after.timeline[-1].seq
    ]
    view = next(view for view in after.deployments if str(view.id) == RANKER)
    assert view.incident is not None
    assert {trace.signal for trace in view.traces} == {signal.name for signal in view.rule.signals}
    filled = [value for value in view.traces[0].values if value is not None]
    assert len(filled) > 10
    assert view.verdict is not None
    assert [trace.values[-1] for trace in view.traces] == [signal.value for signal in view.verdict.signals]
    assert any(walk.ended_at is not None for walk in end.walks)
    assert end.over, "the incident that was mended is over"
    assert {i.id for i in end.over}.isdisjoint({i.id for i in end.incidents})


def test_what_is_shown_first_is_what_is_shown_at_last(drill: Path) -> None:
    """An approach shows the states at once; only traces and what is made of them again come later."""
    with Replay.open(drill) as fresh:
        for place in (60, 120, 180):
            moments = [moment for moment in fresh.approach(place) if moment is not None]
            assert moments[-1].whole
            assert states(moments[0].snapshot) == states(moments[-1].snapshot)
            assert not any(again.differs for again in moments[-1].again)


def test_every_decision_comes_out_as_it_was_recorded(replay: Replay) -> None:
    found = list(replay.decisions())
    assert len(found) == len(replay.index.turns) > 10
    for entry, recorded, recomputed, difference in found:
        assert difference == "", entry
        assert recorded is not None
        assert recomputed is not None


def test_the_ticks_between_decisions_lead_to_the_recorded_states_again(replay: Replay) -> None:
    exact = {"pending", "fired", "clearing", "cooling"}
    seen: set[str] = set()
    for place in replay.index.ticks.places:
        for again in replay.moment(place).again:
            assert not again.differs, (place, again)
            if again.exact:
                seen.add(again.recorded)
    assert seen >= exact


async def test_what_turned_at_one_evaluation_is_one_press_away(drill: Path) -> None:
    scrub = Scrub(open_source(drill), lambda _: None)
    scrub.begin()
    await scrub.settled()
    index = scrub.replay.index
    moments = sorted({index.settled(place) for place in index.turns})
    assert len(moments) < len(index.turns), "several deployments turned at once"
    scrub.edge(False)
    there = []
    for _ in moments:
        scrub.turn(1)
        there.append(index.settled(scrub.place))
    assert there == moments
    back = []
    for _ in moments[1:]:
        scrub.turn(-1)
        back.append(index.settled(scrub.place))
    assert back == moments[-2::-1]

"""What each move of a pointer counts as, out of real journals: deployments, rollbacks, planned switches, mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from review.small_past import BEGUN, DAY, RANKER, Team
from rollback_console.journal.kinds import Note
from rollback_console.journal.merging import merge
from rollback_console.model.judgement import Judgement
from rollback_console.review.measures import measures
from rollback_console.review.moves import Move, MoveClass, moves_of, unmoved
from rollback_console.review.past import Paper, Past, Pointer, Ruled, Run, Source
from rollback_console.review.past_reading import read_past
from rollback_console.review.rates import BY

D, R, H, P, M = MoveClass.DEPLOYMENT, MoveClass.ROLLBACK, MoveClass.BY_HAND, MoveClass.PLANNED, MoveClass.MISTAKE


@pytest.fixture
def team(tmp_path: Path) -> Team:
    return Team(tmp_path / "team.db")


def _past(team: Team) -> Past:
    return read_past([team.close()])


def _moves(team: Team) -> tuple[Move, ...]:
    return moves_of(_past(team))


def _classes(team: Team) -> list[MoveClass]:
    return [move.klass for move in _moves(team)]


def test_a_release_and_its_rollback(team: Team) -> None:
    team.move(1, "7", "8", registered=0.5)
    team.rollback(2, "8", "7", took_s=420)
    release, back = _moves(team)
    assert (release.klass, back.klass) == (D, R)
    assert back.undoes == 0
    assert release.undone_by == 1
    assert back.decided_at is not None
    assert back.completed_at is not None
    assert back.completed_at - back.decided_at == pytest.approx(420)
    assert back.operator == "ada"
    assert release.registered_at is not None
    assert release.at - release.registered_at == pytest.approx(DAY / 2)


def test_an_alias_that_is_made_or_taken_away_moves_nothing(team: Team) -> None:
    team.move(1, None, "7")
    team.move(2, "7", None)
    team.move(3, "7", "7")
    assert _moves(team) == ()


def test_going_back_by_hand_is_a_rollback_by_hand_where_it_served_before_and_is_lower(team: Team) -> None:
    team.move(1, "7", "8")
    team.move(2, "8", "7")  # served before: the first move's `before`
    team.move(3, "7", "9")
    team.move(4, "9", "8")  # served before
    team.move(5, "8", "5")  # lower, and never seen
    team.move(6, "5", "9")  # served before, and higher
    assert _classes(team) == [D, H, D, H, D, D]


def test_names_that_are_no_numbers_have_no_order(team: Team) -> None:
    team.move(1, "blue", "green")
    team.move(2, "green", "blue")
    assert _classes(team) == [D, H]


def test_an_adoption_speaks_of_the_nearest_pointer_entry(team: Team) -> None:
    team.move(1, "7", "8")
    seq = team.move(2, "8", "7")
    adopted = team.adopt(2.01, "8", "7", moved=2.0)
    release, back = _moves(team)
    assert back.klass is R
    assert (back.seq, back.adopted) == (seq, adopted)
    assert back.operator == "bo", "who moved it, where that is known"
    assert release.undone_by == 1


def test_an_adoption_that_no_pointer_entry_tells_of_is_a_move_of_its_own(team: Team) -> None:
    team.move(1, "7", "8")
    team.move(2, "8", "9")
    team.adopt(2.5, "9", "8", moved=2.4)
    assert _classes(team) == [D, D, R]


def test_an_execution_nobody_saw_move_the_pointer_moves_it_when_it_was_set(team: Team) -> None:
    team.move(1, "7", "8")
    team.rollback(2, "8", "7", pointer=False)
    release, back = _moves(team)
    assert back.klass is R
    assert back.at - (back.decided_at or 0) == pytest.approx(30)
    assert release.undone_by == 1


def test_an_execution_that_failed_and_moved_nothing_is_no_move(team: Team) -> None:
    team.rollback(2, "8", "7", pointer=False, state="failed")
    assert _moves(team) == ()


def test_an_execution_that_moved_the_pointer_and_failed_afterwards_is_one(team: Team) -> None:
    team.move(1, "7", "8")
    team.rollback(2, "8", "7", state="aborted")
    back = _moves(team)[1]
    assert (back.klass, back.completed_at) == (R, None)


def test_planned_switches_are_planned(team: Team) -> None:
    team.move(1, "7", "8")
    team.rollback(2, "8", "7", planned=True)
    team.move(3, "7", "9")
    team.move(4, "9", "8")
    team.adopt(4.001, "9", "8", moved=4.0, planned=True)
    release, first, _, second = _moves(team)
    assert (first.klass, second.klass) == (P, P)
    assert release.undone_by is None
    assert first.why == "its request says planned"
    assert second.why == "its adoption says planned"


@pytest.mark.parametrize("said", ["planned", "unplanned", "mistake"])
def test_the_last_judgement_on_a_move_decides(team: Team, said: str) -> None:
    team.move(1, "7", "8")
    seq = team.move(2, "8", "7")
    team.judge(3, f"move:{seq}", counts_as="mistake" if said != "mistake" else "planned")
    team.judge(4, f"move:{seq}", counts_as=said)
    release, back = _moves(team)
    expected = {"planned": (D, P), "unplanned": (D, H), "mistake": (M, M)}[said]
    assert (release.klass, back.klass) == expected


def test_a_judgement_without_a_word_on_it_changes_nothing(team: Team) -> None:
    seq = team.move(1, "7", "8")
    team.judge(2, f"move:{seq}", root_cause="safety concern")
    assert _classes(team) == [D]


def test_a_deployment_judged_unplanned_is_a_rollback_by_its_own_time(team: Team) -> None:
    team.move(1, "7", "8")
    seq = team.move(2, "8", "6")  # never served here: not taken for one by itself
    team.judge(3, f"move:{seq}", counts_as="unplanned")
    release, back = _moves(team)
    assert back.klass is R
    assert back.decided_at == back.at
    assert release.undone_by == 1


def test_a_mistake_takes_both_out_from_whichever_side_it_is_judged(tmp_path: Path) -> None:
    for number in (0, 1):
        team = Team(tmp_path / f"{number}.db")
        team.move(1, "7", "8")
        seqs = [team.move(2, "8", "9"), team.move(2.01, "9", "8")]
        team.judge(3, f"move:{seqs[number]}", counts_as="mistake")
        assert _classes(team) == [D, M, M], number


def test_a_mistake_that_nobody_undid_at_once_is_out_alone(team: Team) -> None:
    seq = team.move(1, "7", "8")
    team.move(2, "8", "9")
    team.judge(3, f"move:{seq}", counts_as="mistake")
    assert _classes(team) == [M, D]


def test_a_rollback_of_what_was_there_before_the_journal_undoes_nothing_known(team: Team) -> None:
    team.rollback(2, "8", "7")
    (back,) = _moves(team)
    assert (back.klass, back.undoes) == (R, None)


def test_pointers_do_not_mix(team: Team) -> None:
    team.move(1, "7", "8")
    team.move(1.5, "7", "8", "staging/feed")
    team.rollback(2, "8", "7", "staging/feed")
    ranker, feed, back = _moves(team)
    assert ranker.undone_by is None
    assert feed.undone_by == 2
    assert back.undoes == 1


def test_two_journals_that_saw_one_move_tell_of_one(tmp_path: Path) -> None:
    one, other = Team(tmp_path / "one.db"), Team(tmp_path / "other.db", seed=b"other")
    one.move(1, "7", "8")
    other.move(1 + 60 / DAY, "7", "8")
    one.rollback(2, "8", "7", name="ex-a")
    other.move(2 + 90 / DAY, "8", "7")  # somebody else's, to this one
    past = read_past([one.close(), other.close()])
    assert [move.klass for move in moves_of(past)] == [D, R]
    assert moves_of(past) == moves_of(read_past([other.path, one.path, one.path])), "in whatever order, also twice"


def test_a_console_that_slept_finds_no_move_of_its_own(tmp_path: Path) -> None:
    """It last saw v7; meanwhile v8 and v9 came, and v9 was rolled back: it writes 7 to 8, weeks later."""
    awake, asleep = Team(tmp_path / "awake.db"), Team(tmp_path / "asleep.db", seed=b"asleep")
    asleep.move(0.5, "6", "7")
    awake.move(0.5, "6", "7")
    awake.move(1, "7", "8")
    awake.move(2, "8", "9")
    awake.rollback(3, "9", "8")
    asleep.move(20, "7", "8")
    awake.move(21, "8", "10")
    found = moves_of(read_past([awake.close(), asleep.close()]))
    assert [(move.before, move.after, move.klass) for move in found] == [
        ("6", "7", D), ("7", "8", D), ("8", "9", D), ("9", "8", R), ("8", "10", D),
    ]  # fmt: skip


def test_an_adoption_in_another_journal_is_judged_by_its_own_number(tmp_path: Path) -> None:
    one, other = Team(tmp_path / "one.db"), Team(tmp_path / "other.db", seed=b"other")
    one.move(1, "7", "8")
    one.move(2, "8", "7")
    other.note(2.001)
    number = other.adopt(2.002, "8", "7", moved=2.0)
    other.judge(3, f"move:{number}", counts_as="planned")
    found = moves_of(read_past([one.close(), other.close()]))
    assert [move.klass for move in found] == [D, P]


def test_a_plan_that_is_gone_is_listed(team: Team) -> None:
    team.rollback(2, "8", "7", pointer=False, name="ex-gone")
    past = _past(team)
    lost = {**past.runs}
    from dataclasses import replace

    lost["ex-gone"] = replace(lost["ex-gone"], plan=None)
    assert [run.id for run in unmoved(replace(past, runs=lost))] == ["ex-gone"]
    assert moves_of(replace(past, runs=lost)) == ()


def test_what_an_emergency_journal_holds_counts_once_it_is_merged(tmp_path: Path) -> None:
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.emergency import open_emergency
    from rollback_console.journal.kinds import Judged, PointerMoved, StandsIn
    from rollback_console.journal.store import Journal

    team = Team(tmp_path / "team.db")
    team.move(1, "7", "8")
    seq, head = team.journal.head()
    emergency = tmp_path / "emergency.db"
    team.clock.at += DAY
    with open_emergency(
        emergency, DeviceKey.from_seed(b"team"), team.clock, StandsIn(chain=team.journal.chain, seq=seq, hash=head)
    ) as other:
        other.append(
            PointerMoved(at=team.clock.at, model="ranker", alias="champion", before="8", after="7"), deployment=RANKER
        )
    assert len(moves_of(read_past([team.path]))) == 1
    merged = merge(team.journal, emergency, "the disk was full", "ada")
    assert merged is not None
    past = read_past([team.close()])
    assert [move.klass for move in moves_of(past)] == [D, H]
    assert moves_of(read_past([team.path, emergency])) == moves_of(past), "nor twice, read beside it"
    with Journal.open(team.path, device=DeviceKey.from_seed(b"team"), clock=team.clock) as journal:
        number = next(entry.seq for entry in journal.entries(kinds=("merge",)))
        journal.append(Judged(subject=f"move:{number}", counts_as="planned"), operator="ada")
        journal.append(
            PointerMoved(at=team.clock.at, model="ranker", alias="champion", before="8", after="7"), deployment=RANKER
        )
    again = moves_of(read_past([team.path]))
    assert [move.klass for move in again] == [D, P], "judged under the merge's number; what was seen late is no move"


def test_who_waits_hears_how_far_it_is(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "other"):
        team = Team(tmp_path / f"{name}.db", seed=name.encode())
        team.journal.append_all([(Note(text="still here"), "", "")] * 700)
        paths.append(team.close())
    heard: list[tuple[int, int]] = []
    read_past(paths, lambda done, total: heard.append((done, total)))
    assert heard
    assert heard == sorted(heard)
    assert {total for _, total in heard} == {2 * 702}
    assert any(done > 702 for done, _ in heard), "the second goes on where the first ended"
    assert all(done <= total for done, total in heard)


_EVENTS = st.lists(
    st.tuples(
        st.floats(0.01, 30),  # days since the one before
        st.sampled_from(["feed", "ranker", "eta"]),
        st.sampled_from(["1", "2", "3", "4", "blue"]),
        st.sampled_from(["", "", "", "done", "aborted", "planned", "automatic"]),
        st.sampled_from(["", "", "", "", "planned", "mistake", "unplanned"]),
    ),
    max_size=40,
)


def _pasts(events: list[tuple[float, str, str, str, str]]) -> Past:
    """A past in memory: pointers that wander, some by executions, some of them judged."""
    at, stands = BEGUN, dict.fromkeys(("feed", "ranker", "eta"), "1")
    pointers, runs, judgements, automatic = [], {}, {}, set()
    for seq, (wait, name, after, how, said) in enumerate(events, 10):
        at, before, stands[name] = at + wait * DAY, stands[name], after
        ours = f"ex-{seq}" if how else ""
        pointers.append(Pointer(at, "c", seq, f"production/{name}", name, "champion", before, after, ours))
        if ours:
            state = how if how in ("done", "aborted") else "done"
            runs[ours] = Run(ours, "c", seq, f"production/{name}", "ada", at - 60, "r", how == "planned", None,
                             at, state, at + 300, seq)  # fmt: skip
        if how == "automatic":
            automatic.add(ours)
        if said:
            judgements["c", f"move:{seq}"] = Judgement(f"move:{seq}", counts_as=said, seq=1_000 + seq, at=at)
    paper = Paper(BEGUN, "c", 2, "p", "d", (Ruled("production/feed", "low", ("team-a",), "EUR"),))
    return Past((Source(Path("x"), "c", 9, BEGUN, at + DAY),), tuple(pointers), (), runs, frozenset(automatic), {}, {},
                (paper,), judgements)  # fmt: skip


@given(_EVENTS, st.sampled_from(BY), st.floats(0.5, 40))
@settings(max_examples=120, deadline=None)
def test_whatever_happened_it_adds_up(events: list[tuple[float, str, str, str, str]], by: str, within: float) -> None:
    past = _pasts(events)
    moves = moves_of(past)
    real = [p for p in past.pointers if p.before != p.after]
    assert len(moves) == len(real), "each move is in one class, and none is lost"
    for index, move in enumerate(moves):
        if move.undoes is not None:
            undone = moves[move.undoes]
            assert move.is_rollback
            assert undone.klass is D
            assert undone.at <= move.at
            assert (undone.pointer, undone.after) == (move.pointer, move.before)
            between = moves[move.undoes + 1 : index]
            assert not any(m.klass is D and m.pointer == move.pointer and m.after == move.before for m in between)
    found = measures(past, within_s=within * DAY, by=by)
    for count in (
        lambda g: g.rate.deployments, lambda g: g.rate.rolled_back, lambda g: g.rate.open,
        lambda g: g.times.automatic[0], lambda g: g.times.automatic[1], lambda g: g.times.repeated[0],
        lambda g: g.times.to_completion.n, lambda g: g.learnt.rollbacks,
    ):  # fmt: skip
        assert by == "all" or sum(map(count, found.groups)) == count(found.whole)
    rate = found.whole.rate
    assert rate.rolled_back + rate.open <= rate.deployments
    assert rate.rate is None or 0 <= (rate.low or 0) <= rate.rate <= (rate.high or 0) <= 1
    assert sum(month.deployments for month in found.trend) == rate.deployments
    out = sum(1 for move in moves if move.klass in (P, M))
    assert len(found.excluded) == out
    longer = measures(past, within_s=2 * within * DAY).whole.rate
    assert longer.rolled_back >= rate.rolled_back, "a longer window of observation takes none away"

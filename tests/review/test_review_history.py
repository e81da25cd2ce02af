"""The history of a model's versions: when each served, what went wrong with it, and what was made of that."""

from __future__ import annotations

from pathlib import Path

import pytest

from review.small_past import BEGUN, DAY, FEED, RANKER, Team
from rollback_console.review.past_history import came_by, history, names
from rollback_console.review.past_reading import read_past


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """v2 from the start; v3 rolled out and back and, mended, out again; an incident each in v3 and v2."""
    team = Team(tmp_path / "team.db")
    team.move(2, "2", "3", registered=1.5)
    team.turn(3.0, "pending", "fired", cost=(2.99, 40.0))
    team.incident(3.001, "inc-a", "opened", 2.99)
    team.rollback(3.1, "3", "2", name="ex-a")
    team.incident(3.2, "inc-a", "closed", 2.99)
    team.turn(5.0, "pending", "fired")
    team.incident(5.001, "inc-b", "opened", 4.99)
    team.incident(5.2, "inc-b", "closed", 4.99)
    team.move(6, "2", "3")
    team.move(7, "1", "2", FEED)
    team.judge(7.5, "ex-a", root_cause="safety concern", right="right", published="https://wiki/a")
    team.note(8)
    return team.close()


def test_each_version_with_its_stints_its_incidents_and_its_end(told: Path) -> None:
    newest, oldest = history(read_past([told]), "ranker")
    assert (newest.version, oldest.version) == ("3", "2")
    assert newest.registered_at == BEGUN + 1.5 * DAY
    assert [stint.end is None for stint in newest.stints] == [False, True]
    assert newest.served_s == pytest.approx(1.1 * DAY + 31 + 2 * DAY)
    assert newest.serving
    assert not newest.at_least
    assert [move.execution for move in newest.rollbacks] == ["ex-a"]
    (trouble,) = newest.troubles
    assert (trouble.id, trouble.root_cause, trouble.cost, trouble.unit) == ("inc-a", "safety concern", 40.0, "EUR")
    assert oldest.at_least, "it served before the journal began"
    assert oldest.first is None
    assert [each.id for each in oldest.troubles] == ["inc-b"]
    assert oldest.troubles[0].root_cause == ""
    assert not oldest.serving
    assert oldest.rollbacks == ()
    back = oldest.stints[1].move
    assert back is not None
    assert came_by(back) == "rolled back to, from v3"


def test_a_model_a_deployment_and_a_bare_name_are_the_same_thing(told: Path) -> None:
    past = read_past([told])
    assert history(past, "ranker") == history(past, RANKER)
    assert history(past, "unheard-of") == ()
    assert set(names(past)) == {"ranker", "feed", RANKER, FEED}


def test_stints_of_a_pointer_fill_the_time(told: Path) -> None:
    past = read_past([told])
    assert past.first_at is not None
    assert past.last_at is not None
    served = sum(version.served_s for version in history(past, "ranker"))
    assert served == pytest.approx(past.last_at - past.first_at)

"""Another dwell, margin or path over recorded samples: when it would have fired, and what that would have cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from review.review_past import BEGUN, FEED, RANKER, STEP, make
from rollback_console.cli.main import run
from rollback_console.errors import UsageError
from rollback_console.model.review import Supposed
from rollback_console.review.episodes import episodes, window
from rollback_console.review.replay import Replay
from rollback_console.review.whatif import suppose

LOSS = 1_000.0 * 0.1 / 0.9  # USD a minute: conversion is 10 % below, and what comes in is what the other 90 % bring


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("whatif") / "past.db")


@pytest.fixture(scope="module")
def replay(past: Path) -> Replay:
    return Replay.open(past)


def minute(number: float) -> float:
    return BEGUN + number * STEP


def asked(replay: Replay, words: str, deployment: str = RANKER) -> Supposed:
    (episode,) = episodes(replay.index)
    return suppose(replay, deployment, window(replay.index, episode), words)


def test_the_incident_is_found_from_first_breach_to_recovered(replay: Replay) -> None:
    (episode,) = episodes(replay.index)
    assert (episode.begins, episode.fired_at, episode.decided_at, episode.ends) == (
        minute(20), minute(23), minute(28), minute(35),
    )  # fmt: skip
    assert episode.moved_to == "v7"
    assert episode.transitions == 4
    first, last = window(replay.index, episode)
    assert first < episode.first < episode.last < last


@pytest.mark.parametrize(("dwell", "fires"), [("1m", 21), ("2m", 22), ("3m", 23), ("6m", 26), ("11m", 31)])
def test_another_dwell_fires_at_its_own_end_and_costs_what_was_lost_by_then(
    replay: Replay, dwell: str, fires: int
) -> None:
    found = asked(replay, f"dwell={dwell}")
    assert found.began == minute(20)
    assert found.fired_at == minute(23)
    assert found.would_fire_at == minute(fires)
    assert found.cost == pytest.approx(3 * LOSS)
    assert found.would_cost == pytest.approx((fires - 20) * LOSS)
    assert found.unit == "USD"
    assert found.certain, "every evaluation of the trouble is recorded"
    assert any("no sample tells" in note for note in found.notes) == (fires > 28)


def test_a_dwell_longer_than_the_trouble_never_fires_and_says_why_that_tells_little(replay: Replay) -> None:
    found = asked(replay, "dwell=1h")
    assert found.would_fire_at is None
    assert found.would_cost is None
    (note,) = found.notes
    assert "14:28:00" in note
    assert "no sample tells" in note


def test_another_margin_is_judged_over_the_samples_and_sparse_ones_are_said(replay: Replay) -> None:
    same = asked(replay, "margin=3%")
    assert same.would_fire_at == minute(23)
    assert not same.certain, "before the breach only every fifth evaluation is recorded"
    assert any("5m apart" in note for note in same.notes)
    never = asked(replay, "margin=20%")
    assert never.would_fire_at is None
    both = asked(replay, "dwell=1m, conversion.margin=8%")
    assert both.would_fire_at == minute(21)
    assert both.setting == (("dwell", "1m"), ("conversion.margin", "8%"))


def test_another_path_is_told_by_how_long_it_took_in_this_journal(replay: Replay) -> None:
    found = asked(replay, "dwell=1m, path=version")
    assert found.would_fire_at == minute(21)
    assert any("back by 14:32:00" in note and "the median of 1" in note for note in found.notes)
    assert found.would_cost == pytest.approx(12 * LOSS), "until then the loss of 14:28 is carried on"
    with pytest.raises(UsageError, match="no such recovery path: it has version"):
        asked(replay, "path=shift-traffic")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("", "nothing is no setting"),
        ("dwell", "dwell is no setting"),
        ("speed=2", "what is swept is dwell, margin, budget"),
        ("dwell=soon", "dwell"),
        ("clicks.margin=2%", "has no signal 'clicks'"),
        ("dwell=1m dwell=2m", "stands there twice"),
        ("dwell=\x1b[31m2m", "dwell"),
    ],
)
def test_words_that_are_no_setting_are_refused_with_what_is(replay: Replay, words: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        asked(replay, words)
    assert says in str(caught.value)
    assert "--sweep" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_a_deployment_that_was_never_in_trouble_would_fire_where_it_says(replay: Replay) -> None:
    assert asked(replay, "dwell=1m", FEED).would_fire_at is None
    assert asked(replay, "dwell=1m", FEED).began is None
    with pytest.raises(UsageError, match="are not kept"):
        asked(replay, "dwell=1m", "production/unknown")


def test_the_command_prints_it_and_gives_it_to_a_script(past: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["review", str(past), "--what-if", "dwell=1m"]) == 0
    text = capsys.readouterr().out
    assert "with dwell=1m: fires 2026-11-20T14:21:00.000Z, 111 USD by then\n" in text
    assert run(["review", str(past), "--what-if", "dwell=1m", "--incident", "inc-1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (one,) = told["what_if"]
    assert one["would_fire"] == "2026-11-20T14:21:00.000Z"
    assert one["certain"] is True
    assert run(["review", str(past), "--what-if", "dwell=1m", "--incident", "inc-9"]) == 2
    assert "holds no incident inc-9" in capsys.readouterr().err
    assert run(["review", str(past), "--incident", "inc-1"]) == 2

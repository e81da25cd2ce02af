"""Every decision of every shipped scenario comes out again, decision by decision and evaluation by evaluation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollback_console.cli.main import run
from rollback_console.rehearse.scenario import shipped
from rollback_console.review.replay import Replay
from rollback_console.review.replay_verifying import check

NAMES = sorted(scenario.name for scenario in shipped())
SOME = NAMES if os.environ.get("ROLLBACK_CONSOLE_CAMPAIGN") else NAMES[2::9]


def test_there_are_scenarios_to_look_at() -> None:
    assert len(NAMES) >= 16
    assert len(SOME) >= 2


@pytest.mark.parametrize("name", SOME)
def test_its_journal_is_verified_and_decided_again(name: str, tmp_path: Path) -> None:
    path = tmp_path / "drill.db"
    assert run(["rehearse", name, "--headless", "--seed", "11", "--journal", str(path)]) in (0, 1)
    found = check(path)
    assert found.verified, found.problems
    assert found.differences == ()
    assert found.untold == 0
    with Replay.open(path) as replay:
        assert found.decisions == len(replay.index.turns) > 0
        for place in replay.index.ticks.places:
            assert not any(again.differs for again in replay.moment(place).again), place

"""A review shows what the journal holds: its incidents, its happenings, and that it was a rehearsal."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback_console.actions import BY_ID, Context
from rollback_console.cli.main import run
from rollback_console.clock import VirtualClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import IncidentRecorded, Note
from rollback_console.journal.store import Journal
from rollback_console.model.incident import AttributionKind
from rollback_console.model.snapshot import Snapshot
from rollback_console.review.replay import Replay


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("review") / "drill.db"
    assert run(["rehearse", "demo", "--headless", "--seed", "3", "--journal", str(path)]) == 0
    return path


def at_the_end(path: Path) -> Snapshot:
    with Replay.open(path) as replay:
        return replay.moment(len(replay.index) - 1).snapshot


def test_a_rehearsals_review_says_so_and_has_its_incidents(drill: Path) -> None:
    snapshot = at_the_end(drill)
    assert snapshot.band == "REVIEW · REHEARSAL"
    incidents = (*snapshot.incidents, *snapshot.over)
    assert {incident.attribution.kind for incident in incidents} >= {AttributionKind.RELEASE, AttributionKind.UPSTREAM}
    release = next(i for i in incidents if i.attribution.kind is AttributionKind.RELEASE)
    assert release.closed_at is not None, "it recovered"
    assert release.recommendations
    assert {item.id for item in incidents} == {
        line.text.split()[1] for line in snapshot.timeline if line.kind == "incident"
    }


def test_samples_are_no_happenings(drill: Path) -> None:
    with Replay.open(drill) as replay:
        shown = replay.moment(len(replay.index) - 1).snapshot.timeline
        assert len(replay.index.ticks) > 50
        assert len(replay.index) == len(replay.index.ticks) + len(shown)
    assert "tick" not in {line.kind for line in shown}


def test_no_runbook_is_opened_because_a_review_changes_nothing(drill: Path) -> None:
    context = Context(at_the_end(drill))
    assert BY_ID["runbook"].disabled_reason(context) == "a review changes nothing"


def test_a_live_journals_review_is_no_rehearsal_and_odd_advice_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    odd: list[dict[str, object]] = [
        {"deployment": "production/ranker", "path": 7, "to": "7", "sentence": "roll \x1b[31mback"},
        {"deployment": "nowhere", "path": None, "to": None, "sentence": "x"},
        {"sentence": 3},
    ]
    with Journal.open(path, device=DeviceKey.from_seed(b"t" * 32), clock=VirtualClock(1000.0)) as journal:
        journal.append(
            IncidentRecorded(
                event="opened", id="inc-1", members=["production/ranker", "?"], onset=1.0, attribution="newer",
                reasons=[], sentence="unknown: it is odd", recommendations=odd,
            )
        )  # fmt: skip
        journal.append(Note(text="seen"))
    snapshot = at_the_end(path)
    assert snapshot.band == "REVIEW"
    (incident,) = snapshot.incidents
    assert [str(name) for name in incident.members] == ["production/ranker"]
    assert incident.attribution.kind is AttributionKind.UNKNOWN
    (advice,) = incident.recommendations
    assert advice.path is None
    assert advice.to_version == "7"
    assert "\x1b" not in advice.sentence

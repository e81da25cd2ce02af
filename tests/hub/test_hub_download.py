"""What a real hub holds, downloaded as one file and reviewed without it: two machines' journals, with their samples."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.sync_tools import Laptop
from review.review_past import make
from rollback_console.journal import export
from rollback_console.journal.download import lines
from rollback_console.journal.upstream import HubClient
from rollback_console.review.episodes import episodes
from rollback_console.review.replay import Replay
from rollback_console.review.replay_verifying import check
from servers.hub import Hub

pytestmark = pytest.mark.real


def test_what_the_hub_holds_is_reviewed_without_it(hub: Hub, tmp_path: Path) -> None:
    ana, ben = Laptop(tmp_path / "ana", hub), Laptop(tmp_path / "ben", hub)
    make(ana.journal, device=ana.device)
    ben.write(3, "from another machine")
    for each in (ana, ben):
        each.sync()
    path = tmp_path / "hub.jsonl"
    client = HubClient(hub.url, ana.token)
    export.write(lines(client), path)
    client.close()
    hub.stop()
    found = check(path)
    assert found.verified, found.problems
    assert (found.decisions, found.differences, found.untold) == (4, (), 0)
    with Replay.open(path) as replay, Replay.open(ana.journal) as own:
        assert replay.index.chains == {ana.chain, ben.chain}
        (episode,) = episodes(replay.index)
        (mine,) = episodes(own.index)
        assert episode.incident == mine.incident
        there, here = replay.moment(episode.last).snapshot, own.moment(mine.last).snapshot
        assert [view.verdict for view in there.deployments] == [view.verdict for view in here.deployments]
        assert [view.traces for view in there.deployments] == [view.traces for view in here.deployments]
        assert replay.index.items[-1].text.startswith("note: from another machine")

"""What a real hub holds, downloaded as one file and reviewed without it: two machines' journals, with their samples."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from hub.sync_tools import Laptop
from review.review_past import POLICY, make
from rollback_console.cli.main import run
from rollback_console.policy.draft import draft_settings
from rollback_console.review.episodes import episodes
from rollback_console.review.replay import Replay
from rollback_console.review.replay_verifying import check
from servers.hub import Hub

pytestmark = pytest.mark.real


def configured(folder: Path, machine: Laptop) -> Path:
    """Settings as `hub join` writes them."""
    (folder / "token").write_text(machine.token)
    (folder / "token").chmod(0o600)
    settings = folder / "settings.yaml"
    hub = f"hub: {{url: '{machine.url}', key: '{machine.vkey}', token: {{file: token}}}}\n"
    settings.write_text(draft_settings("http://127.0.0.1:9", "http://127.0.0.1:9", "ana") + hub)
    (folder / "policy.yaml").write_bytes(POLICY)
    (folder / "roster.yaml").write_text("schema: rollback-console/roster/v1\noperators: [{id: ana, roles: [oncall]}]\n")
    return settings


def test_what_the_hub_holds_is_reviewed_without_it(hub: Hub, tmp_path: Path) -> None:
    ana, ben = Laptop(tmp_path / "ana", hub), Laptop(tmp_path / "ben", hub)
    make(ana.journal, device=ana.device, chain=secrets.token_hex(16))
    ben.write(3, "from another machine")
    for each in (ana, ben):
        each.sync()
    path = tmp_path / "hub.jsonl"
    settings = configured(tmp_path, ana)
    asked = ["journal", "export", "--config", str(settings), "--hub"]
    assert run([*asked, "--output", str(path)]) == 0
    assert run(asked) == 2, "a file is named"
    hub.stop()
    assert run([*asked, "--output", str(tmp_path / "again.jsonl")]) == 3
    assert not (tmp_path / "again.jsonl").exists(), "whole or not at all"
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

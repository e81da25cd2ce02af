"""Who is on an incident: what may be claimed, what the team's hub says to it, and what the screen shows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hub.sync_tools import CLOCK, Laptop
from rollback_console.cli.hub_link import Link, Target
from rollback_console.engine import claims
from rollback_console.engine.company import with_team
from rollback_console.errors import InputError, Refused
from rollback_console.journal.kinds import Claimed
from rollback_console.journal.upstream import HubClient
from rollback_console.model.identity import DeploymentId
from rollback_console.model.incident import Attribution, AttributionKind, Incident
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.team import Standing, Team
from rollback_console.policy.settings import HubServer
from servers.hub import Hub

pytestmark = pytest.mark.real
WHERE = DeploymentId("production", "checkout-ranker")


def incident(commander: str | None = None) -> Incident:
    return Incident(
        id="i-1", members=(WHERE,), onset=1.0, attribution=Attribution(AttributionKind.RELEASE, ("v8",)),
        sentence="v8 serves", commander=commander,
    )  # fmt: skip


def snapshot(*incidents: Incident) -> Snapshot:
    return Snapshot(at=1.0, evaluated_at=1.0, step_s=15.0, band="PRODUCTION", deployments=(), incidents=incidents)


def test_what_may_be_claimed() -> None:
    assert claims.working(incident(), None, "ana").action == "take"
    on_it = Team(standings=(Standing("i-1", working=("ana",)),))
    assert claims.working(incident(), on_it, "ana").action == "release"
    assert claims.command(incident(), "ana", "").action == "take"
    assert claims.command(incident("ana"), "ana", "").action == "take"
    with pytest.raises(InputError, match="ben commands i-1"):
        claims.command(incident("ben"), "ana", " ")
    assert claims.command(incident("ben"), "ana", "ben is asleep").reason == "ben is asleep"
    with pytest.raises(Refused, match="nobody commands i-1"):
        claims.hand_over(incident(), "ana", "ben")
    with pytest.raises(InputError, match="somebody else"):
        claims.hand_over(incident("ana"), "ana", "ana")
    offered = claims.hand_over(incident("ana"), "ana", "ben")
    assert claims.said(offered, "") == "ben is offered the command of i-1"
    with pytest.raises(Refused, match="no incident is open"):
        claims.incident_at(snapshot(), WHERE)


def test_the_hub_says_who_commands_before_the_journal_does() -> None:
    seen = snapshot(incident())
    assert with_team(seen, None, {"i-1": "ana"}).incidents[0].commander == "ana"
    assert with_team(seen, Team(standings=(Standing("i-1", "ben"),)), {"i-1": "ana"}).incidents[0].commander == "ben"
    assert with_team(seen, Team(standings=(Standing("i-1"),)), {"i-1": "ana"}).incidents[0].commander is None
    assert with_team(seen, Team(), {}).incidents[0].commander is None


def test_two_consoles_and_one_command(hub: Hub, tmp_path: Path) -> None:
    def link(name: str) -> Link:
        laptop = Laptop(tmp_path / name, hub)
        token = tmp_path / name / "token"
        token.write_text(laptop.token)
        token.chmod(0o600)
        settings = HubServer.model_validate({"url": hub.url, "key": laptop.vkey, "token": {"file": str(token)}})
        return Link(laptop.journal, Target(settings, tmp_path), CLOCK)

    def tell(who: Link, operator: str, **claim: str) -> str:
        return asyncio.run(
            who.claim(Claimed.model_validate({"incident": "i-1", "role": "commander", **claim}), operator)
        )

    ana, ben = link("ana"), link("ben")
    assert tell(ana, "ana", action="take") == ""
    with pytest.raises(Refused, match="somebody else has the command"):
        tell(ben, "ben", action="take")
    assert tell(ana, "ana", action="handover", to="ben") == ""
    assert tell(ben, "ben", action="take") == ""
    client = HubClient(hub.url, (tmp_path / "ana" / "token").read_text())
    (found,) = client.json("GET", "/v1/incidents")["incidents"]
    client.close()
    assert (found["commander"], found["offered_to"]) == ("ben", None)


def test_a_hub_that_is_down_keeps_nobody_from_claiming(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("rbh_x")
    token.chmod(0o600)
    key = "hub.example+83a4193e+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
    settings = HubServer.model_validate({"url": "http://127.0.0.1:9", "key": key, "token": {"file": str(token)}})
    link = Link(tmp_path / "journal.db", Target(settings, tmp_path), CLOCK)
    claim = Claimed(incident="i-1", role="working", action="take")
    assert "the hub was not told" in asyncio.run(link.claim(claim, "ana"))

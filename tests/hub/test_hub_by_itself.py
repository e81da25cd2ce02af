"""What goes by itself at one console can be held from another, by a signature that the roster judges."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from hub.sync_tools import CLOCK, Laptop, eventually
from rollback_console.authorize.keys import PersonKey
from rollback_console.engine.company import with_team
from rollback_console.journal.kinds import AutomaticRecorded, Body
from rollback_console.journal.persons import statement
from rollback_console.journal.team import TeamFeed
from rollback_console.journal.upstream import HubClient
from rollback_console.model.automatic import Announcement, AutomaticState
from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.team import Team
from servers.hub import Hub

pytestmark = pytest.mark.real
NAME = "production/checkout-ranker"
BO = PersonKey.from_seed(7, "bo")


def said(event: str, due: float, words: str = "v8 did it") -> AutomaticRecorded:
    return AutomaticRecorded.model_validate(
        {"event": event, "path": "version", "to_version": "7", "due": due, "words": words}
    )


def signed(body: AutomaticRecorded, key: PersonKey = BO) -> AutomaticRecorded:
    person = key.sign(statement("automatic", NAME, body.model_dump(), CLOCK.now()))
    return body.model_copy(update={"person": person})


def append(laptop: Laptop, body: Body, operator: str = "") -> None:
    with laptop.open() as journal:
        journal.append(body, deployment=NAME, operator=operator)
    laptop.sync()


def feed_of(laptop: Laptop) -> TeamFeed:
    own = laptop.chain
    feed = TeamFeed(lambda: HubClient(laptop.url, laptop.token), lambda: own, CLOCK, random.Random(1))
    feed.start()
    return feed


def test_a_hold_goes_from_one_console_to_another_by_the_hub_and_a_forged_one_does_not(hub: Hub, tmp_path: Path) -> None:
    server, laptop = Laptop(tmp_path / "server", hub), Laptop(tmp_path / "laptop", hub)
    due = round(CLOCK.now() + 300.0, 1)
    append(server, said("announced", due), "policy shop")
    laptop.write(1)
    at_server, at_laptop = feed_of(server), feed_of(laptop)
    try:
        eventually(lambda: [each.due for each in at_laptop.team.announced] == [due])
        (seen,) = at_laptop.team.announced
        assert (str(seen.deployment), seen.to_version, seen.state) == (NAME, "7", AutomaticState.ANNOUNCED)

        other = signed(said("held", due + 60.0, "not this one")).person
        append(laptop, said("held", due, "I say so").model_copy(update={"person": other}), "bo")  # signed for another
        append(laptop, said("held", due, "nobody signed"), "bo")
        append(laptop, signed(said("held", due, "the sale begins")), "bo")
        eventually(lambda: len(at_server.team.held) > 0)
        (held,) = at_server.team.held
        assert (held.words, held.operator, held.key, held.due) == ("the sale begins", "bo", BO.blob, due)
    finally:
        at_server.stop()
        at_laptop.stop()


def _announced(state: AutomaticState, by: str = "") -> Announcement:
    return Announcement(DeploymentId.parse(NAME), "version", "7", 100.0, 160.0, state, "v8 did it", by)


def test_it_is_not_called_held_before_the_one_who_would_carry_it_out_has_heard() -> None:
    here, there = _announced(AutomaticState.HELD, "bo"), _announced(AutomaticState.ANNOUNCED)
    bare = Snapshot(120.0, 120.0, 15.0, "PRODUCTION", ())
    own = replace(bare, announced=(here,), alarms=(here.sentence, "something else"))
    shown = with_team(own, Team(announced=(there,)))
    assert shown.announcement(there.deployment) == there, "it can still go: H stays offered"
    assert shown.alarms == (f"another console's: {there.sentence}; held here, not heard there yet", "something else")
    shown = with_team(own, Team(announced=(replace(there, state=AutomaticState.HELD, by="bo"),)))
    assert shown.announcement(there.deployment) is None
    assert shown.alarms == own.alarms
    alone = with_team(bare, Team(announced=(there,)))
    assert alone.announcement(there.deployment) == there
    assert alone.alarms == (f"another console's: {there.sentence}",)

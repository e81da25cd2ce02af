"""One console sees another's acts within a second; who is where; who is on which incident."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from hub.sync_tools import CLOCK, Laptop, Path2Hub, eventually
from rollback_console.journal.syncing import Syncer
from rollback_console.journal.team import TeamFeed, events
from rollback_console.journal.upstream import HubClient
from rollback_console.model.hub import Link, words
from rollback_console.model.snapshot import TimelineItem
from rollback_console.model.team import Colleague, Standing, together, who_is_at
from servers.hub import Hub

pytestmark = pytest.mark.real


def item(at: float, kind: str, text: str, origin: str = "") -> TimelineItem:
    return TimelineItem(0 if origin else 1, at, kind, "production/a", "", text, origin=origin)


def test_what_machines_record_is_told_once_and_what_people_do_always() -> None:
    own = (item(100, "transition", "healthy → pending: 8 %"), item(200, "note", "note: mine"))
    others = (
        item(103, "transition", "healthy → pending: 9 %", "x"),
        item(104, "transition", "healthy → pending: 7 %", "y"),
        item(900, "transition", "healthy → pending: 9 %", "x"),
        item(150, "note", "note: mine", "x"),
    )
    assert [each.at for each in together(own, others)] == [100, 150, 200, 900]
    assert together(own, ()) == own


def test_who_is_where_is_one_line() -> None:
    people = (Colleague("ana", "production/a", 1), Colleague("bo", "production/a", 1), Colleague("cy", "fleet", 1))
    assert who_is_at(people, None, "production/a") == "ana and bo are looking at it"
    standing = Standing("i-1", "ana", "dee", ("bo",))
    assert who_is_at((), standing, "production/a") == "bo works on it · command is offered to dee"
    assert who_is_at(people, None, "production/b") == ""


def test_server_sent_events_are_read_as_they_are_written() -> None:
    lines = [
        ": beat",
        "",
        "id: 7",
        "event: entry",
        'data: {"a":',
        "data:1}",
        "",
        "event: x",
        "data: no json",
        "",
        "retry: 1",
    ]
    assert list(events(iter(lines))) == [("entry", "7", {"a": 1})]


def test_another_consoles_note_appears_within_a_second_and_a_forged_one_never(hub: Hub, tmp_path: Path) -> None:
    ana, ben = Laptop(tmp_path / "ana", hub), Laptop(tmp_path / "ben", hub)
    ben.write(1, "before ana came")
    ben.sync()
    ana.write(1, "mine")
    ana.sync()
    own, where = ana.chain, ["ana", "production/checkout-ranker"]
    feed = TeamFeed(
        lambda: HubClient(ana.url, ana.token), lambda: own, CLOCK, random.Random(1), here=lambda: (where[0], where[1])
    )
    client = HubClient(ben.url, ben.token)
    syncer = Syncer(
        ben.journal, ben.vkey, ben.url, lambda: HubClient(ben.url, ben.token), CLOCK, random.Random(2)
    )  # fmt: skip
    feed.start()
    syncer.start()
    try:
        eventually(lambda: any("before ana came" in line.text for line in feed.team.items))
        eventually(lambda: [each["operator"] for each in client.json("GET", "/v1/presence")["present"]] == ["ana"])
        client.json("POST", "/v1/presence", {"operator": "ben", "where": "production/checkout-ranker"})
        eventually(lambda: [each.operator for each in feed.team.colleagues] == ["ben"])
        client.json("PUT", "/v1/incidents/i-1/claim", {"role": "commander", "operator": "ben", "action": "take"})
        eventually(lambda: feed.team.standings == (Standing("i-1", "ben"),))
        begun = time.monotonic()
        ben.write(1, "rolled it back")
        eventually(lambda: any("rolled it back" in line.text for line in feed.team.items))
        took = time.monotonic() - begun
        print(f"seen {took:.2f} s after it was recorded")
        assert took < 5  # a second where nothing else runs; this machine runs much else
        assert not any("mine" in line.text for line in feed.team.items)
        assert all(line.seq == 0 and "of chain" in line.origin for line in feed.team.items)
    finally:
        feed.stop()
        syncer.stop()
        client.close()


def test_the_header_says_offline_and_writing_does_not_wait(hub: Hub, tmp_path: Path) -> None:
    path = Path2Hub(hub.server.port)
    laptop = Laptop(tmp_path / "cut", hub, url=path.url)
    laptop.write(2)
    syncer = Syncer(
        laptop.journal, laptop.vkey, path.url, lambda: HubClient(path.url, laptop.token, timeout_s=1.0), CLOCK,
        random.Random(3),
    )  # fmt: skip
    syncer.start()
    try:
        eventually(lambda: words(syncer.state) == "hub ok")
        path.partition()
        with laptop.open() as journal:
            from rollback_console.journal.kinds import Note

            waits = []
            for number in range(40):
                begun = time.monotonic()
                journal.append(Note(text=f"{number}"))
                waits.append(time.monotonic() - begun)
        assert sorted(waits)[len(waits) // 2] < 0.5
        eventually(lambda: syncer.state.link is Link.OFFLINE)
        assert words(syncer.state) == "hub offline: you cannot see others"
        eventually(lambda: syncer.state.waiting == 40)
        path.heal()
        eventually(lambda: words(syncer.state) == "hub ok")
        assert laptop.state().waiting == 0
    finally:
        syncer.stop()
        path.close()

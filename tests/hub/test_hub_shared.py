"""One snapshot of the fleet for a team: one console asks Prometheus, the others judge what it saw. A real hub process,
recorded metrics that count who asks, clocks that a test turns."""

from __future__ import annotations

import asyncio
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.engine_tools import START, STEP, Flaky, Stream, engine_on, new_journal, random_stream, shown
from hub.sync_tools import Laptop, eventually
from rollback_console.clock import VirtualClock
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Roles
from rollback_console.engine.recovery import RecoveryObserver
from rollback_console.errors import BackendUnreachable
from rollback_console.journal.sharing import FleetSharing, name_of
from rollback_console.journal.upstream import HubClient, HubRefused
from rollback_console.model.sharing import MAX_SENT, MAX_SHARED
from servers.hub import Hub

pytestmark = pytest.mark.real
NAMES = ("ana", "ben", "cem", "dora", "eve")


class Console:
    """One machine's engine, with its own journal, clock, backend and way to the hub. `turn` is what its loop and its
    thread do once a step."""

    def __init__(self, folder: Path, hub: Hub, name: str, fleet: Stream, environment: str, at: float = START) -> None:
        self.name, self.laptop = name, Laptop(folder / name, hub)
        self.metrics: Flaky = fleet.metrics()
        self.clock = VirtualClock(at)
        self.sharing = FleetSharing(
            lambda: HubClient(self.laptop.url, self.laptop.token, timeout_s=5.0), environment,
            lambda: f"{name}'s console (laptop-{name})", self.clock, random.Random(7), step_s=STEP, ttl_s=60.0,
        )  # fmt: skip
        self.journal = new_journal(folder / name / "journal.db")
        self.engine: Engine = engine_on(
            fleet, at, metrics=self.metrics, journal=self.journal, roles=Roles(fleet=self.sharing), clock=self.clock
        )

    @property
    def asked(self) -> int:
        return len(self.metrics.asked)

    async def look(self) -> None:
        await asyncio.to_thread(self.sharing.round)

    async def start(self) -> None:
        self.sharing.allow(True)
        await self.look()
        await self.engine.start()
        await self.look()

    async def turn(self, at: float) -> None:
        self.clock._now = at
        await self.look()
        asked = self.asked
        await self.engine.go_on()
        if self.asked > asked:
            await self.look()  # it evaluated: an offer wakes the thread

    def kinds(self) -> set[str]:
        return {entry.kind for entry in self.journal.entries()}

    async def close(self) -> None:
        await self.engine.close()
        self.journal.close()


class Team:
    """Consoles of one environment, and one that watched all along, alone."""

    def __init__(self, folder: Path, hub: Hub, fleet: Stream, count: int = 5) -> None:
        self.fleet, self.environment = fleet, name_of([folder.name])
        self.consoles = [Console(folder, hub, name, fleet, self.environment) for name in NAMES[:count]]
        self.always = engine_on(fleet, START)

    async def start(self) -> None:
        await self.always.start()
        for console in self.consoles:
            await console.start()

    async def step(self, k: int, *, same: bool = True) -> None:
        at = START + k * STEP
        self.always.clock._now = at  # type: ignore[attr-defined]
        await self.always.step(at)
        for console in sorted(self.consoles, key=lambda each: not each.sharing.holds()):
            await console.turn(at)
            if same:
                self.same(console)

    def same(self, console: Console) -> None:
        assert console.engine.evaluated_at == self.always.evaluated_at, (console.name, console.engine.snapshot().notice)
        assert console.engine.board.memories == self.always.board.memories, console.name
        assert shown(console.engine) == shown(self.always), console.name

    @property
    def holder(self) -> Console:
        (found,) = [each for each in self.consoles if each.sharing.holds()]
        return found

    async def close(self) -> None:
        for console in self.consoles:
            await asyncio.to_thread(console.sharing.leave)
            await console.close()
        await self.always.close()


async def test_one_asks_for_five_and_another_takes_over_when_it_dies(hub: Hub, tmp_path: Path) -> None:
    team = Team(tmp_path, hub, random_stream(3, ticks=60))
    await team.start()
    first = team.holder
    others = [each for each in team.consoles if each is not first]
    for k in range(1, 20):
        before = first.asked
        await team.step(k)
        assert first.asked > before, "it evaluates for all"
    assert {each.name: each.asked for each in others} == dict.fromkeys((each.name for each in others), 0)
    assert {each.engine.snapshot().notice for each in others} == {"following ana's console (laptop-ana) by the hub"}
    assert first.engine.snapshot().notice == ""
    assert {"transition", "tick"} <= first.kinds()
    for each in others:  # nobody records what another decided
        assert each.kinds() & {"transition", "tick", "incident"} == set()
        assert "session" in each.kinds()

    first.sharing._ttl_s = 1.5
    await team.step(20)
    team.consoles.remove(first)  # killed: it says nothing more, and its lease is over by itself
    token = first.sharing._token

    async def looked() -> bool:
        await asyncio.gather(*(each.look() for each in others))
        return any(each.sharing.holds() for each in others)

    async with asyncio.timeout(15):
        while not await looked():
            pass
    second = team.holder
    assert (second.sharing._token or 0) > (token or 0) > 0
    await team.always.step(START + 21 * STEP)  # by nobody else
    for k in range(22, 36):
        await team.step(k)
    assert second.asked > 0
    assert {each.asked for each in others if each is not second} == {0}
    assert {"transition", "tick"} <= second.kinds()
    await first.close()
    await team.close()


async def test_who_judges_by_other_policies_asks_for_itself_and_says_so(hub: Hub, tmp_path: Path) -> None:
    fleet = random_stream(5, ticks=40)
    team = Team(tmp_path, hub, fleet, 2)
    other = replace(fleet, rules=tuple(replace(rule, policy_digest="9" * 64) for rule in fleet.rules))
    cem = Console(tmp_path, hub, "cem", other, team.environment)
    await team.start()
    await cem.start()
    alone = engine_on(other, START)
    await alone.start()
    for k in range(1, 12):
        await team.step(k)
        await cem.turn(START + k * STEP)
        await alone.step(START + k * STEP)
        assert shown(cem.engine) == shown(alone)
    assert team.consoles[1].asked == 0
    assert cem.asked > 0
    assert cem.engine.snapshot().notice == (
        "this console asks for itself: ana's console (laptop-ana) has other policies or settings, "
        "or another version of the program"
    )
    assert {"tick"} <= cem.kinds()
    await cem.close()
    await team.close()


async def test_a_hub_that_dies_leaves_everybody_as_without_one(tmp_path: Path) -> None:
    own = Hub(tmp_path / "hub")
    team = Team(tmp_path, own, random_stream(8, ticks=40), 3)
    try:
        await team.start()
        for k in range(1, 7):
            await team.step(k)
    finally:
        own.stop()
    asked = [each.asked for each in team.consoles]
    assert asked[1:] == [0, 0]
    for k in range(7, 20):
        await team.step(k)
    assert all(each.asked > before for each, before in zip(team.consoles, asked, strict=True))
    assert all(not each.engine.shared.following for each in team.consoles if each.engine.shared is not None)
    assert "this console asks for itself: " in team.consoles[1].engine.snapshot().notice
    await team.close()


async def test_who_cannot_see_gives_the_lease_to_somebody_who_can(hub: Hub, tmp_path: Path) -> None:
    team = Team(tmp_path, hub, random_stream(9, ticks=40), 2)
    ana, ben = team.consoles
    await team.start()
    await team.step(1)
    ana.metrics.failure = BackendUnreachable("prometheus does not answer", "try again")
    await team.step(2, same=False)
    await team.step(3, same=False)
    assert [ana.sharing.holds(), ben.sharing.holds()] == [False, True]
    for k in range(4, 14):
        await team.step(k)
    assert ana.engine.snapshot().notice == "following ben's console (laptop-ben) by the hub"
    await team.close()


class Liar:
    """An enrolled device that holds the lease and writes what it likes."""

    def __init__(self, folder: Path, hub: Hub, environment: str) -> None:
        self.laptop, self.environment = Laptop(folder / "liar", hub), environment
        self.client = HubClient(hub.url, self.laptop.token)
        asked = {"ttl_s": 300, "holder": "mallory"}
        self.token = self.client.json("POST", f"/v1/leases/poll/{environment}", asked)["token"]

    def write(self, data: bytes) -> None:
        headers = {"Lease-Token": str(self.token)}
        self.client.exchange("PUT", f"/v1/environments/{self.environment}/snapshot", data, headers)

    def pack(self, data: bytes) -> None:
        self.write(zlib.compress(data))


def _changed(**changes: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        head, _, live = data.partition(b"\n")
        return json.dumps({**json.loads(head), **changes}).encode() + b"\n" + live

    return change


def _memory(document: object) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        head, memories, packed = data.split(b"\n", 2)
        written = json.loads(memories)
        written["memories"] = {"0": document}
        return b"\n".join((head, json.dumps(written).encode(), packed))

    return change


LIES: Sequence[tuple[Callable[[bytes], bytes], str]] = (
    (lambda data: b"", "is none"),
    (lambda data: b"[" * 100_000, "is none"),
    (lambda data: b"\xff\x00" * 500, "is none"),
    (lambda data: data[: len(data) // 2], "not an evaluation of these rules"),
    (_changed(v=2), "another version"),
    (_changed(terms="0" * 64), "other policies"),
    (_changed(at="now"), "another form"),
    (_changed(versions={}), "another form"),
    (_changed(versions=[[99, "1", "1", START, []]]), "cannot be judged"),
    (_changed(versions=[[0, "1", "1", "x", []]]), "cannot be judged"),
    (_changed(at=START + 100 * STEP), "lies in the future"),
    (_changed(at=START + 4 * STEP - 7.0), "at no time at which one evaluates"),
    (_changed(at=START + 3 * STEP), "not an evaluation of these rules"),
    (_memory({"at": "x"}), "not an evaluation of these rules"),
    (_memory({"at": START + 99 * STEP}), "not an evaluation of these rules"),
    (_memory({"at": START + 3 * STEP, "known": True, "active_since": "long ago"}), "not an evaluation of these rules"),
    (_memory([1, 2]), "not an evaluation of these rules"),
)


async def test_what_does_not_fit_is_refused_with_words_and_this_console_asks_for_itself(
    hub: Hub, tmp_path: Path
) -> None:
    team = Team(tmp_path, hub, random_stream(11, ticks=40), 1)
    (ana,) = team.consoles
    await team.start()
    for k in range(1, 5):
        await team.step(k)
    honest = ana.sharing._connect()
    _, _, packed = honest.exchange("GET", f"/v1/environments/{team.environment}/snapshot")
    data = zlib.decompress(packed)
    honest.close()
    await asyncio.to_thread(ana.sharing.leave)
    liar = Liar(tmp_path, hub, team.environment)
    await ana.look()
    assert ana.sharing.newest() is None
    assert "not by who holds the lease" in ana.sharing.problem
    shared = ana.engine.shared
    assert shared is not None
    ana.clock._now = START + 5 * STEP - 1
    for lie, words in LIES:
        liar.pack(lie(data))
        before = shown(ana.engine)
        ana.engine.evaluated_at = START + 3 * STEP  # so that what is judged at all would be shown
        await ana.look()
        assert not await shared.follow(), words
        assert words in shared.words
        assert shared.words.startswith("this console asks for itself: ")
        assert shown(ana.engine) == before
    with pytest.raises(HubRefused, match="413"):
        liar.write(b"x" * (MAX_SENT + 1))
    for bytes_ in (b"x" * 1_000, b"", zlib.compress(data)[:-5], zlib.compress(b"x" * (MAX_SHARED + 1))):
        liar.write(bytes_)
        await ana.look()
        assert not await shared.follow()
        assert shared.words.endswith("the snapshot at the hub is none")
    ana.engine.evaluated_at = START + 4 * STEP
    liar.pack(data)
    await ana.look()
    assert await shared.follow()
    shared._newest = START + 4 * STEP + STEP
    assert "goes back in time" in _refused(shared, ana)
    await team.close()


def _refused(shared: Any, console: Console) -> str:
    found = console.sharing.newest()
    assert found is not None
    return str(shared._judged(found, shared.terms()).refused)


async def test_who_executes_or_acts_by_itself_asks_for_itself_and_records(hub: Hub, tmp_path: Path) -> None:
    fleet = random_stream(12, ticks=60)
    team = Team(tmp_path, hub, fleet, 2)
    ben = team.consoles[1]
    await team.start()
    for k in range(1, 8):
        await team.step(k)
    assert ben.asked == 0
    await RecoveryObserver(ben.engine).serving_version(fleet.rules[0].deployment.id)
    assert ben.asked == 1, "a verification asks for itself"
    acted: list[float] = []

    async def look() -> None:
        acted.append(ben.clock.now())

    ben.engine.after_evaluation = look
    for k in range(8, 12):
        await team.step(k)
    await asyncio.sleep(0)
    assert len(acted) == 4
    assert ben.asked > 1
    assert "tick" in ben.kinds()
    assert "what goes by itself here" in ben.engine.snapshot().notice
    ben.engine.after_evaluation = None
    asked = ben.asked
    for k in range(12, 20):
        await team.step(k)
    assert ben.asked == asked, "and follows again afterwards"
    assert len(acted) == 4
    await team.close()


async def test_on_threads_of_their_own_and_a_console_that_leaves_hands_on(hub: Hub, tmp_path: Path) -> None:
    team = Team(tmp_path, hub, random_stream(13, ticks=40), 2)
    ana, ben = team.consoles
    await team.start()
    await team.step(1)
    for each in (ana, ben):
        await asyncio.to_thread(each.sharing.leave)
        each.sharing.start()
    await asyncio.to_thread(eventually, lambda: ana.sharing.holds() or ben.sharing.holds())
    first, second = (ana, ben) if ana.sharing.holds() else (ben, ana)
    first.sharing.stop()
    await asyncio.to_thread(eventually, second.sharing.holds)
    second.sharing.stop()
    await team.close()

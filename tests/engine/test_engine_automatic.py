"""Mode `act` on the demo's world: announced, waited for, carried out by the runner that executes a person's plans, and
written down; held, withdrawn or refused where it must not go. A start goes on where the last process stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rollback_console.authorize.keys import PersonKey
from rollback_console.authorize.roster_view import from_roster
from rollback_console.cli.compose import Seat
from rollback_console.cli.rehearsal import HEADLESS_START, Rehearsal
from rollback_console.clock import VirtualClock
from rollback_console.engine.automatic import Automatic
from rollback_console.errors import NotAuthorized, Refused
from rollback_console.journal.kinds import AutomaticRecorded, Requested
from rollback_console.journal.persons import People, statement
from rollback_console.journal.verify import verify
from rollback_console.model.automatic import AutomaticState
from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import ExecutionState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.team import Held, Team
from rollback_console.model.verdict import TriggerState
from rollback_console.policy.load import parse_roster
from rollback_console.rehearse.demo import demo_setup

CHECKOUT = DeploymentId("production", "checkout-ranker")
STEP = 15.0
ACT = b"mode: act"
BY_ITSELF = b"authority: {automatic: {after: 60s}, "


class Played:
    """The demo's world under a policy whose mode is `act`, evaluated step by step."""

    def __init__(self, seat: Seat, clock: VirtualClock, drill: Rehearsal) -> None:
        self.seat, self.clock, self.drill = seat, clock, drill
        self.automatic = Automatic(seat.engine, seat.acts)
        self.seen: Snapshot = seat.engine.snapshot()

    async def step(self) -> Snapshot:
        self.seen = await self.seat.engine.step(self.clock.now())
        if self.seat.engine.after_evaluation is not None:
            await self.seat.engine.after_evaluation()
        self.seen = self.seat.engine.snapshot()
        await self.clock.advance(STEP)
        return self.seen

    async def until(self, done: Callable[[Snapshot], bool], limit_s: float = 1800.0) -> Snapshot:
        end = self.clock.now() + limit_s
        while not done(await self.step()):
            assert self.clock.now() < end, f"not within {limit_s} s; {[a.sentence for a in self.seen.announced]}"
        return self.seen

    def said(self) -> list[tuple[str, str]]:
        """(event, words) of every automatic entry."""
        assert self.seat.journal is not None
        found = [entry.parsed() for entry in self.seat.journal.entries(kinds=("automatic",))]
        return [(body.event, body.words) for body in found if isinstance(body, AutomaticRecorded)]

    @property
    def pointer(self) -> str | None:
        return self.drill.setup.world.pointer("checkout-ranker", "champion")


def act(policy: bytes) -> bytes:
    """The demo's policy, its mode and its way back set so that it may go by itself."""
    assert b"mode: advise" in policy
    assert policy.count(b"authority: {") == 1
    return policy.replace(b"mode: advise", ACT).replace(b"authority: {", BY_ITSELF)


@asynccontextmanager
async def playing(
    path: Path,
    policy: Callable[[bytes], bytes] = act,
    clock: VirtualClock | None = None,
    drill: Rehearsal | None = None,
) -> AsyncIterator[Played]:
    """`clock`, `drill`: of an earlier process, whose world goes on."""
    clock, earlier = clock or VirtualClock(HEADLESS_START), drill
    if drill is None:
        drill = Rehearsal(demo_setup(7, clock.now(), clock), path, command="watch")
        drill.setup = replace(drill.setup, policy_bytes=policy(drill.setup.policy_bytes))
    journal = drill.journal() if earlier is None else _again(drill, path, clock)
    engine = drill.engine(journal=journal, inline=True)
    seat = Seat(engine, drill.acts(engine, drill.keys(engine), STEP), journal, None)
    try:
        played = Played(seat, clock, drill)
        await engine.start()
        yield played
    finally:
        await seat.close()


def _again(drill: Rehearsal, path: Path, clock: VirtualClock):  # type: ignore[no-untyped-def] # a journal
    from rollback_console.journal.device import DeviceKey
    from rollback_console.journal.store import Journal

    return Journal.open(path, device=DeviceKey.from_seed(drill.setup.device_seed), clock=clock, rehearsal=True)


def announced(snapshot: Snapshot) -> bool:
    return snapshot.announcement(CHECKOUT) is not None


def states(snapshot: Snapshot) -> Sequence[AutomaticState]:
    return [each.state for each in snapshot.announced]


async def test_it_is_announced_waits_and_goes_by_itself_once(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db") as played:
        seen = await played.until(announced)
        fired_at, (waiting,) = played.clock.now(), seen.announced
        assert waiting.deployment == CHECKOUT, "of five that are down, only the one whose release did it"
        assert waiting.due - waiting.at == 60.0
        assert any("unless held (H): production/checkout-ranker to v7" in alarm for alarm in seen.alarms)
        assert played.pointer == "8"
        seen = await played.until(lambda s: bool(s.executions))
        assert played.clock.now() - fired_at >= 60.0
        (execution,) = seen.executions
        assert execution.operator == "policy demo-shop"
        assert execution.reason.startswith("automatic: roll back to v7")
        seen = await played.until(lambda s: s.executions[0].ended_at is not None)
        assert seen.executions[0].state is ExecutionState.DONE
        assert played.pointer == "7"
        for _ in range(40):  # and no second one: it cools down
            seen = await played.step()
        assert len(seen.executions) == 1
        assert [event for event, _ in played.said()] == ["announced", "started"]
        assert played.seat.journal is not None
        asked = [entry.parsed() for entry in played.seat.journal.entries(kinds=("request",))]
        assert [body.person for body in asked if isinstance(body, Requested)] == [None], "no person asked"
    assert verify(tmp_path / "journal.db").ok


async def test_a_person_holds_it_and_it_stays_until_the_trouble_is_over(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db") as played:
        await played.until(announced)
        await played.seat.acts.hold(CHECKOUT, "the sale begins; we know")
        for _ in range(40):
            seen = await played.step()
            assert states(seen) == [AutomaticState.HELD]
        assert played.pointer == "8"
        assert not seen.executions
        assert any("held by oncall-1" in alarm and "(the sale begins; we know)" in alarm for alarm in seen.alarms)
        with pytest.raises(Refused, match="nothing is about to happen by itself"):
            await played.seat.acts.hold(CHECKOUT, "again")
        assert [event for event, _ in played.said()] == ["announced", "held"]
        assert played.seat.journal is not None
        entries = [entry.parsed() for entry in played.seat.journal.entries(kinds=("automatic",))]
        signed = [body.person for body in entries if isinstance(body, AutomaticRecorded)]
        assert signed[0] is None, "what is announced is the device's word"
        assert signed[1] is not None, "who held it signed that"
        assert signed[1].operator == "oncall-1"
    assert verify(tmp_path / "journal.db").ok


def by_the_hub(played: Played, key: PersonKey, words: str) -> Held:
    """A hold of what is announced, signed at another console."""
    known = played.seat.engine.snapshot().announcement(CHECKOUT)
    assert known is not None
    body = AutomaticRecorded(event="held", path=known.path, to_version=known.to_version, due=known.due, words=words)
    person = key.sign(statement("automatic", str(CHECKOUT), body.model_dump(), played.clock.now()))
    return Held(
        CHECKOUT, known.path, known.to_version, round(known.due, 3), words, key.operator, key.blob,
        person.model_dump_json(),
    )  # fmt: skip


async def test_a_hold_from_another_console_stands_here_with_their_signature(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db") as played:
        await played.until(announced)
        key = played.drill.setup.operator_key
        stranger = by_the_hub(played, PersonKey.from_seed(99, key.operator), "let it be")
        late = replace(by_the_hub(played, key, "another one"), due=1.0)
        team = Team(held=(stranger, late))
        played.seat.engine.roles.team = lambda: team
        seen = await played.step()
        assert states(seen) == [AutomaticState.ANNOUNCED], "not the roster's key; not this announcement"
        team = Team(held=(stranger, late, by_the_hub(played, key, "the sale begins")))
        seen = await played.step()
        assert states(seen) == [AutomaticState.HELD]
        assert any(f"held by {key.operator}" in alarm and "(the sale begins)" in alarm for alarm in seen.alarms)
        for _ in range(20):
            seen = await played.step()
        assert not seen.executions
        roster = from_roster(parse_roster(played.drill.setup.roster_bytes, "roster").roster)
    keys = {p.id: dict.fromkeys(p.blobs(), p.valid_until) for p in roster.operators}
    found = verify(tmp_path / "journal.db", people=People(keys))
    assert found.ok, found.problems
    assert found.persons == 1, "theirs"


async def test_what_was_held_is_forgotten_once_it_was_healthy_again(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db") as played:
        await played.until(announced)
        await played.seat.acts.hold(CHECKOUT, "by hand, please")
        played.drill.setup.world.flip("checkout-ranker", "champion", "7", by="ana")
        await played.until(lambda s: not s.announced)
        assert [event for event, _ in played.said()] == ["announced", "held"], "health needs no entry of its own"


async def test_who_may_not_abort_may_not_hold(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db") as played:
        await played.until(announced)
        from rollback_console.authorize.roles import Authority

        played.seat.acts.seat(Authority.of_key(played.seat.acts.authority.roster, None))
        with pytest.raises(NotAuthorized):
            await played.seat.acts.hold(CHECKOUT, "no")
        assert states(await played.step()) == [AutomaticState.ANNOUNCED]


async def test_what_is_no_longer_called_for_is_withdrawn(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db") as played:
        await played.until(announced)
        await played.seat.acts.snooze(CHECKOUT, 1800.0, "looking at it")
        await played.until(lambda s: not s.announced, limit_s=30.0)
        for _ in range(20):
            seen = await played.step()
        assert not seen.executions
        assert played.pointer == "8"
        event, words = played.said()[-1]
        assert event == "withdrawn"
        assert "snoozed until" in words


async def test_a_start_carries_out_what_was_announced_before(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with playing(path) as first:
        await first.until(announced)
        clock, drill = first.clock, first.drill
    async with playing(path, clock=clock, drill=drill) as second:
        assert [event for event, _ in second.said()] == ["announced"]
        seen = await second.until(lambda s: bool(s.executions))
        assert [event for event, _ in second.said()] == ["announced", "started"]
        assert seen.executions[0].plan.to_version == "7"


async def test_what_nobody_carried_out_in_time_is_announced_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with playing(path) as first:
        await first.until(announced)
        clock, drill = first.clock, first.drill
    await clock.advance(1200.0)
    async with playing(path, clock=clock, drill=drill) as second:
        await second.until(lambda s: s.announced != () and s.announced[0].at > clock.now() - 60.0)
        assert second.pointer == "8", "it is announced for its whole time again before it goes"
        events = second.said()
        assert [event for event, _ in events] == ["announced", "withdrawn", "announced"]
        assert "nobody was there" in events[1][1]
        await second.until(lambda s: bool(s.executions))


async def test_what_a_check_refuses_is_left_to_a_person_and_not_tried_again(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db") as played:
        await played.until(announced)
        await played.drill.setup.registry.write_tag("checkout-ranker", "7", "rollback-console.known_bad", "it is")
        await played.until(lambda s: AutomaticState.REFUSED in states(s))
        for _ in range(20):
            seen = await played.step()
        assert played.pointer == "8"
        assert not seen.executions
        assert [event for event, _ in played.said()] == ["announced", "refused"]
        assert any("could not go by itself, a person has to look" in alarm for alarm in seen.alarms)


async def test_a_policy_that_advises_never_acts(tmp_path: Path) -> None:
    async with playing(tmp_path / "journal.db", policy=bytes) as played:
        assert played.seat.engine.after_evaluation is None
        seen = await played.until(
            lambda s: any(
                v.id == CHECKOUT and v.verdict and v.verdict.state is TriggerState.FIRED for v in s.deployments
            )
        )
        for _ in range(20):
            seen = await played.step()
        assert not seen.announced
        assert not seen.executions

"""What the engine writes: every state once, every incident once, each decision recomputable; and who writes it."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from engine_tools import START, STEP, Stream, engine_on, new_journal, random_stream, shown, ticks

from rollback_console.clock import VirtualClock
from rollback_console.engine.loop import Engine
from rollback_console.engine.options import Roles
from rollback_console.engine.record import recompute
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import IncidentRecorded, TickRecorded, TransitionRecorded
from rollback_console.journal.locks import RecorderLock
from rollback_console.journal.store import Journal
from rollback_console.model.rules import DeploymentRule


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with new_journal(tmp_path / "journal.db") as opened:
        yield opened


def transitions(journal: Journal) -> list[tuple[str, TransitionRecorded]]:
    found = []
    for entry in journal.entries(kinds=("transition",)):
        body = entry.parsed()
        assert isinstance(body, TransitionRecorded)
        found.append((entry.deployment, body))
    return found


def last_words(journal: Journal) -> dict[str, str]:
    return {deployment: body.after for deployment, body in transitions(journal)}


def assert_states_told_once(journal: Journal, engine: Engine) -> None:
    """No change twice, and for each deployment the journal's last word is how it stands."""
    told = [(deployment, body.at, body.after) for deployment, body in transitions(journal)]
    assert len(told) == len(set(told))
    words = last_words(journal)
    for verdict in engine.board.verdicts.values():
        assert words.get(str(verdict.deployment), "healthy") == str(verdict.state), verdict.deployment


def assert_incidents_told_once(journal: Journal, engine: Engine) -> None:
    """Each opened, then changed where there is something new, then closed; open are those on the screen, and those
    that have too little left for the screen but have not recovered. One that was part of another for a while and then
    its own again opens again: its name says that it is the same trouble."""
    state: dict[str, str] = {}
    bodies: dict[str, IncidentRecorded] = {}
    for entry in journal.entries(kinds=("incident",)):
        body = entry.parsed()
        assert isinstance(body, IncidentRecorded)
        before, was = state.get(body.id, ""), bodies.get(body.id)
        expected = {"": ("opened",), "closed": ("opened",)}.get(before, ("changed", "closed"))
        assert body.event in expected, (body.id, before, body.event)
        if was is not None:
            assert body.event != "changed" or _shape(body) != _shape(was), "a change says something new"
        state[body.id], bodies[body.id] = body.event, body
    opened = {name for name, event in state.items() if event != "closed"}
    shown_now = {incident.id for incident in engine.incidents}
    assert len(shown_now) == len(engine.incidents), "no two bear one name"
    assert shown_now <= opened
    troubled = {str(name) for name in engine.board.troubles()}
    for name in opened - shown_now:
        assert troubled & set(bodies[name].members), "what has recovered is closed"


def _shape(body: IncidentRecorded) -> object:
    return body.members, body.attribution, [advice["path"] for advice in body.recommendations]


def compiled(stream: Stream) -> tuple[object, object]:
    """Blobs and a compiler for `recompute`: the test's rules stand for what the policy's bytes compile to."""

    def compile_policy(data: bytes, digest: str) -> Sequence[DeploymentRule]:
        assert data == b"policy"
        return [rule for rule in stream.rules if rule.policy_digest == digest]

    return lambda journal: lambda digest: b"policy" if digest == "0" * 64 else journal.get_blob(digest), compile_policy


@pytest.mark.parametrize("seed", range(5))
async def test_every_state_and_incident_is_told_once_through_outages_sleeps_and_restarts(
    seed: int, journal: Journal
) -> None:
    stream = random_stream(seed + 300)
    draw = random.Random(seed)
    metrics = stream.metrics()
    engine = engine_on(stream, START + 30 * STEP, metrics=metrics, journal=journal)
    await engine.start()
    now, restarts = 30, 0
    while now < stream.ticks - 30:
        kind = draw.random()
        if kind < 0.15:
            restarts += 1
            await engine.close()
            now += draw.choice((1, 3, 12))
            engine = engine_on(stream, START + now * STEP, metrics=metrics, journal=journal)
            await engine.start()
        elif kind < 0.3:
            metrics.silent = set(draw.sample(sorted(stream.series), draw.randint(1, len(stream.series))))
        elif kind < 0.5:
            metrics.silent = set()
        run = draw.choice((1, 2, 5))
        await ticks(engine, now + 1 if draw.random() < 0.8 else now + run, now + run)
        now += run
        assert_states_told_once(journal, engine)
        assert_incidents_told_once(journal, engine)
    assert restarts
    blobs_of, compile_policy = compiled(stream)
    entries = list(journal.entries(kinds=("transition",)))
    assert len(entries) > 20
    assert any(body.backfilled for _, body in transitions(journal))
    for entry in entries:
        assert recompute(entry, blobs_of(journal), compile_policy) is None
    await engine.close()


@pytest.mark.parametrize("seed", range(2))
async def test_what_an_outage_hid_is_told_afterwards(seed: int, tmp_path: Path) -> None:
    """The journal of a console whose backend failed holds every change that the other's holds, and ends alike."""
    stream = random_stream(seed + 400)
    draw = random.Random(seed)
    metrics = stream.metrics()
    with new_journal(tmp_path / "a.db") as well, new_journal(tmp_path / "b.db") as ill:
        always = engine_on(stream, START + 30 * STEP, journal=well)
        sick = engine_on(stream, START + 30 * STEP, journal=ill, metrics=metrics)
        await always.start()
        await sick.start()
        for now in range(31, 100, 5):
            metrics.silent = set(stream.series) if draw.random() < 0.4 else set()
            await ticks(sick, now, now + 3)
            metrics.silent = set()
            await ticks(sick, now + 4, now + 4)
            await ticks(always, now, now + 4)
        told = {(d, b.at, b.before, b.after) for d, b in transitions(ill)}
        for deployment, body in transitions(well):
            assert any((deployment, body.at, body.after) == (d, at, after) for d, at, _, after in told), body
        assert last_words(ill) == last_words(well)
        await always.close()
        await sick.close()


def _tampered(entry: Entry, **changes: object) -> Entry:
    from dataclasses import replace

    body = json.loads(entry.body)
    for path, value in changes.items():
        *way, last = path.split("__")
        spot = body
        for key in way:
            spot = spot[int(key)] if key.isdigit() else spot[key]
        spot[last] = value
    return replace(entry, body=json.dumps(body).encode())


async def test_a_decision_that_was_changed_is_named(journal: Journal) -> None:
    from dataclasses import replace

    stream = random_stream(1)
    engine = engine_on(stream, START + 30 * STEP, journal=journal)
    await engine.start()
    await ticks(engine, 31, 90)
    await engine.close()
    blobs_of, compile_policy = compiled(stream)
    blobs = blobs_of(journal)
    for entry in journal.entries(kinds=("transition",)):
        body = entry.parsed()
        assert isinstance(body, TransitionRecorded)
        number = next((k for k, s in enumerate(body.verdict["signals"]) if s["value"] is not None), None)
        if number is None:
            continue
        value = body.verdict["signals"][number]["value"]
        changed = _tampered(entry, **{f"verdict__signals__{number}__value": value * (1 + 1e-8)})
        assert (recompute(changed, blobs, compile_policy) or "").startswith(f"verdict.signals[{number}].value")
        same = _tampered(entry, **{f"verdict__signals__{number}__value": value * (1 + 1e-12)})
        assert recompute(same, blobs, compile_policy) is None, "equal to nine digits"
        assert "verdict.state" in (recompute(_tampered(entry, verdict__state="calm"), blobs, compile_policy) or "")
        assert "memory.at" in (recompute(_tampered(entry, memory_after__at=1.0), blobs, compile_policy) or "")
        longer = [
            replace(rule, trigger=replace(rule.trigger, dwell_s=rule.trigger.dwell_s + 1e4, blind_dwell_s=1e6))
            for rule in stream.rules
        ]
        if body.verdict["dwell_remaining_s"] is not None or body.after == "fired":
            assert recompute(entry, blobs, lambda data, digest, rules=longer: rules), "another policy decides otherwise"
    entry = next(iter(journal.entries(kinds=("transition",))))
    assert "policy are gone" in (recompute(entry, lambda digest: None, compile_policy) or "")
    assert "does not name" in (recompute(entry, blobs, lambda data, digest: []) or "")


async def test_a_policy_that_can_no_longer_be_read_is_a_finding_not_an_error(journal: Journal) -> None:
    from rollback_console.errors import UsageError

    stream = random_stream(2)
    engine = engine_on(stream, START + 30 * STEP, journal=journal)
    await engine.start()
    await ticks(engine, 31, 60)
    await engine.close()
    entry = next(iter(journal.entries(kinds=("transition",))))

    def refuses(data: bytes, digest: str) -> Sequence[DeploymentRule]:
        raise UsageError("an older form", "migrate it")

    found = recompute(entry, compiled(stream)[0](journal), refuses)
    assert found == "its policy cannot be read: an older form"


class Pair:
    """A recorder and a follower on one journal file, each with its own connection and its own recorder lock."""

    def __init__(self, stream: Stream, path: Path, at: float) -> None:
        self.stream, self.path = stream, path
        with new_journal(path, at):
            pass
        self.first, self.first_journal, self.first_lock = self._one(at)
        self.second, self.second_journal, self.second_lock = self._one(at)

    def _one(self, at: float) -> tuple[Engine, Journal, RecorderLock]:
        journal, lock = new_journal(self.path, at), RecorderLock(self.path)
        roles = Roles(may_record=lambda: lock.try_acquire("tests"))
        return engine_on(self.stream, at, journal=journal, roles=roles), journal, lock

    async def close(self) -> None:
        for engine, journal, lock in (
            (self.first, self.first_journal, self.first_lock), (self.second, self.second_journal, self.second_lock),
        ):  # fmt: skip
            await engine.close()
            lock.release()
            journal.close()


async def test_a_follower_shows_what_the_recorder_decided_and_takes_over_when_it_is_gone(tmp_path: Path) -> None:
    stream = random_stream(11)
    pair = Pair(stream, tmp_path / "journal.db", START + 40 * STEP)
    first, second = pair.first, pair.second
    await first.start()
    await second.start()
    assert (first.recording, second.recording) == (True, False)
    alone = engine_on(stream, START + 40 * STEP)
    await alone.start()
    seen = set()
    for now in range(41, 110):
        await ticks(first, now, now)
        await ticks(alone, now, now)
        second.clock._now = START + now * STEP  # type: ignore[attr-defined]
        head = pair.first_journal.head()
        await second._follow()
        assert pair.first_journal.head() == head, "a follower writes nothing"
        assert shown(second) == shown(first) == shown(alone), now
        assert [i.id for i in second.incidents] == [i.id for i in first.incidents]
        assert second.snapshot().journal.recorder is False
        seen |= {i.attribution.kind for i in second.incidents}
    assert seen, "there was something to show"
    await first.close()
    pair.first_lock.release()  # the recorder is gone
    for now in range(112, 150):
        await ticks(alone, now if now > 112 else 110, now)
        second.clock._now = START + now * STEP  # type: ignore[attr-defined]
        if second.recording:
            await second.step(START + now * STEP)
        else:
            await second._follow()
        assert second.recording
        assert shown(second) == shown(alone), now
        assert_states_told_once(pair.second_journal, second)
        assert_incidents_told_once(pair.second_journal, second)
    await pair.close()


async def test_a_recorder_that_hangs_leaves_nobody_blind(tmp_path: Path) -> None:
    """It holds its lock and writes no more: the follower evaluates for itself, and writes nothing."""
    stream = random_stream(12)
    pair = Pair(stream, tmp_path / "journal.db", START + 40 * STEP)
    await pair.first.start()
    await pair.second.start()
    await ticks(pair.first, 41, 60)
    head = pair.first_journal.head()
    alone = engine_on(stream, START + 40 * STEP)
    await alone.start()
    for now in range(61, 100):
        await ticks(alone, now if now > 61 else 41, now)
        pair.second.clock._now = START + now * STEP  # type: ignore[attr-defined]
        await pair.second._follow()
    assert pair.second.evaluated_at is not None
    assert pair.second.evaluated_at >= START + 97 * STEP
    await pair.second.step(START + 99 * STEP)
    assert shown(pair.second) == shown(alone)
    assert pair.first_journal.head() == head
    await pair.close()


async def test_what_lies_in_the_live_row_can_break_nothing(tmp_path: Path) -> None:
    """It is a cache that no signature covers: whatever stands there, a follower evaluates for itself."""
    stream = random_stream(13)
    pair = Pair(stream, tmp_path / "journal.db", START + 40 * STEP)
    await pair.first.start()
    await ticks(pair.first, 41, 45)
    found = pair.first_journal.get_live()
    assert found is not None
    whole = found[1]
    line, _, rest = whole.partition(b"\n")
    head = json.loads(line)
    heads = [[], {}, 7, {**head, "calm_at": "x"}, {**head, "memories": {"0": {"at": 9e99}}}, {**head, "memories": [1]}]
    bad = [b"", b"\n", b"{}", whole[:50], whole[:-9], rest, line + b"\n" + rest.replace(b"deployments", b"deploiments")]
    bad += [json.dumps(each).encode() + b"\n" + rest for each in heads]
    for data in bad:
        pair.first_journal.put_live(data, START)
        engine, journal, lock = pair._one(START + 45 * STEP)
        await engine.start()
        assert engine.evaluated_at == START + 45 * STEP
        assert shown(engine) == shown(pair.first), data[:60]
        await engine.close()
        journal.close()
        lock.release()
    await pair.close()


async def test_a_journal_that_cannot_be_written_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    """Another program holds SQLite's write lock for a while."""
    stream = random_stream(14)
    path = tmp_path / "journal.db"
    journal = Journal.open(
        path, device=DeviceKey.from_seed(b"tests"), clock=VirtualClock(START), rehearsal=True, busy_timeout=0.02
    )
    straight_journal = new_journal(tmp_path / "straight.db")
    engine = engine_on(stream, START + 30 * STEP, journal=journal)
    straight = engine_on(stream, START + 30 * STEP, journal=straight_journal)
    await engine.start()
    await straight.start()
    await ticks(engine, 31, 40)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    head = journal.head()
    await ticks(engine, 41, 70)
    snapshot = engine.snapshot()
    assert snapshot.journal.problem
    assert snapshot.evaluated_at == START + 70 * STEP, "deciding goes on"
    assert journal.head() == head
    other.execute("ROLLBACK")
    other.close()
    await ticks(engine, 71, 80)
    await ticks(straight, 31, 80)
    assert engine.snapshot().journal.problem == ""

    def bodies(of: Journal) -> list[tuple[str, str, bytes]]:
        kinds = ("transition", "incident", "tick")
        return [(entry.kind, entry.deployment, entry.body) for entry in of.entries(kinds=kinds)]

    assert bodies(journal) == bodies(straight_journal), "the very same entries, only later"
    for entry in journal.entries(kinds=("tick",)):
        body = entry.parsed()
        assert isinstance(body, TickRecorded)
        assert journal.get_blob(body.blob) is not None
    assert_incidents_told_once(journal, engine)
    await engine.close()
    await straight.close()
    journal.close()
    straight_journal.close()

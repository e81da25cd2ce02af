"""What evidence was made from is recorded: blobs of both forms, memories, and decisions made again from them."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine_tools import new_journal
from evidence_tools import BEGIN, MINUTE, evidence_stream, watch
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.decide.evidence import COUNT
from rollback_console.decide.judge import decide
from rollback_console.engine.compact import evidence_packed, evidence_unpacked
from rollback_console.engine.live import live_state
from rollback_console.engine.record import (
    layout_bytes,
    memory_document,
    memory_from,
    pack,
    recompute,
    unpack,
    verdict_document,
)
from rollback_console.journal.entry import Entry
from rollback_console.journal.kinds import TransitionRecorded
from rollback_console.model.observation import Blind, Norm, Observation, Reading, Tick
from rollback_console.model.rules import DeploymentRule
from rollback_console.model.verdict import EvidenceMemory, TriggerMemory

STREAM = evidence_stream(1, minutes=2)
RULES = STREAM.rules
numbers = st.floats(-1e9, 1e9, allow_nan=False)
maybe = st.one_of(st.none(), numbers)
norms = st.builds(
    Norm,
    numbers,
    st.lists(st.floats(1.0, 100.0), max_size=COUNT).map(tuple),
    st.one_of(st.none(), st.tuples(numbers, numbers)),
)
blinds = st.one_of(st.none(), st.sampled_from(list(Blind)))
readings = st.builds(Reading, maybe, maybe, maybe, blinds, blinds, maybe, st.one_of(st.none(), norms))
memories = st.builds(
    EvidenceMemory,
    maybe,
    st.lists(numbers, max_size=2 * COUNT).map(tuple),
    maybe,
    maybe,
    maybe,
    maybe,
    st.lists(numbers, max_size=2 * COUNT).map(tuple),
    st.lists(st.tuples(numbers, numbers, numbers), max_size=2 * COUNT).map(tuple),
    st.tuples(numbers, numbers, numbers, numbers),
    st.one_of(st.none(), st.text(max_size=5)),
    maybe,
    st.lists(numbers, max_size=COUNT).map(tuple),
    maybe,
    st.tuples(numbers, numbers),
    maybe,
    numbers,
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_tick_comes_back_as_it_was(data: st.DataObject) -> None:
    observations = tuple(
        Observation(rule.deployment.id, 60.0, tuple(data.draw(readings) for _ in rule.signals), "7") for rule in RULES
    )
    tick = Tick(60.0, observations)
    packed = pack(tick, "layout")
    assert unpack(packed, lambda digest: layout_bytes(RULES)) == tick
    weighed = any(r.x is not None or r.norm is not None for o in observations for r in o.readings)
    assert json.loads(packed.partition(b"\n")[0])["v"] == (2 if weighed else 1)
    with pytest.raises(ValueError, match="do not fit"):
        unpack(packed[:-1], lambda digest: layout_bytes(RULES))


def test_a_blob_of_the_first_form_is_read_as_ever() -> None:
    """Written out by hand, as the programs before evidence wrote it."""
    head = {
        "v": 1,
        "at": 30.0,
        "layout": "l",
        "deployments": 2,
        "readings": 6,
        "versions": ["3"],
        "version_of": [0, -1],
    }
    nan = float("nan")
    columns = (
        struct.pack("<6d", 0.5, 1.0, nan, 2.0, nan, 3.0)
        + struct.pack("<6d", 0.6, nan, nan, nan, nan, nan)
        + struct.pack("<6d", 200.0, nan, nan, nan, nan, nan)
        + bytes([0, 0, 1, 0, 3 | 1 << 4, 0])
        + struct.pack("<2d", 10.0, nan)
        + struct.pack("<2d", nan, 5.0)
    )
    blob = json.dumps(head, separators=(",", ":")).encode() + b"\n" + columns
    tick = unpack(blob, lambda digest: layout_bytes(RULES))
    first, second = tick.observations
    assert first.readings == (Reading(0.5, 0.6, 200.0), Reading(1.0), Reading(blind=Blind.NO_DATA))
    assert second.readings[1] == Reading(blind=Blind.QUERY_FAILED, baseline_blind=Blind.NO_DATA)
    assert (first.version, second.version, first.revenue_per_minute, second.users_per_minute) == ("3", None, 10.0, 5.0)
    assert pack(tick, "l") == blob, "and written as ever where nothing is judged by evidence"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), memories), max_size=3), st.booleans())
def test_a_memory_comes_back_as_it_was(carried: list[EvidenceMemory | None], held: bool) -> None:
    clocks = ((60.0, 30.0, True), None) if held else ()
    memory = TriggerMemory(60.0, evidence=tuple(carried), held=clocks)
    assert memory_from(json.loads(json.dumps(memory_document(memory)))) == memory
    plain = memory_document(TriggerMemory(60.0))
    assert "evidence" not in plain
    assert "held" not in plain


sized = st.sampled_from([0, COUNT, 2 * COUNT])


@settings(max_examples=150, deadline=None)
@given(memories, sized, sized, st.sampled_from([0, COUNT]), st.data())
def test_a_detectors_memory_comes_back_from_the_live_row(
    memory: EvidenceMemory, sums: int, walks: int, release: int, data: st.DataObject
) -> None:
    def some(count: int) -> tuple[float, ...]:
        return tuple(data.draw(numbers) for _ in range(count))

    triples = tuple((a, b, c) for a, b, c in zip(some(walks), some(walks), some(walks), strict=True))
    memory = replace(memory, sums=some(sums), walks=some(walks), since=triples, release_sums=some(release))
    assert evidence_unpacked(evidence_packed(memory)) == memory
    whole = TriggerMemory(60.0, evidence=(memory, None))
    assert memory_from(json.loads(json.dumps(memory_document(whole, compact=True)))) == whole


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=60), st.binary(max_size=300).map(lambda data: b64encode(data).decode())))
def test_anything_else_in_its_place_is_a_value_error(text: str) -> None:
    try:
        found = evidence_unpacked(text)
    except ValueError:
        return
    assert len(found.sums) in (0, COUNT, 2 * COUNT)


async def test_every_decision_by_evidence_is_made_again_identically(tmp_path: Path) -> None:
    stream = evidence_stream(9, minutes=560, hold=180.0, deployments=1)

    def compile_policy(data: bytes, digest: str) -> Sequence[DeploymentRule]:
        return stream.rules

    with new_journal(tmp_path / "journal.db", BEGIN) as journal:
        engine = stream.engine(BEGIN + 320 * MINUTE, journal=journal)
        await engine.start()
        await watch(engine, 321, 375)
        followed = live_state(journal, stream.rules)
        assert followed is not None
        assert followed[1] == [engine.board.before[0]], "who follows begins with the very memory"
        assert decide(stream.rules[0], followed[0].observations[0], followed[1][0])[0] == engine.board.verdicts[0]
        await engine.close()

        def blobs(digest: str) -> bytes | None:
            return b"policy" if digest == "0" * 64 else journal.get_blob(digest)

        states, by_evidence = set(), 0
        for entry in journal.entries(kinds=("transition",)):
            assert recompute(entry, blobs, compile_policy) is None
            body = entry.parsed()
            assert isinstance(body, TransitionRecorded)
            states.add(body.after)
            for number, signal in enumerate(body.verdict["signals"]):
                if signal["evidence"] is None:
                    continue
                by_evidence += 1
                assert signal["bar"] > 0
                changed = json.loads(entry.body)
                changed["verdict"]["signals"][number]["evidence"] += 1e-6
                found = recompute(_with(entry, changed), blobs, compile_policy)
                assert found is not None
                assert found.startswith(f"verdict.signals[{number}].evidence")
        assert {"pending", "fired", "healthy"} <= states
        assert by_evidence >= 4
    assert verdict_document(engine.board.verdicts[0])["signals"][2].keys().isdisjoint({"bar", "interval"}), "plain"


def _with(entry: Entry, body: dict[str, Any]) -> Entry:
    return replace(entry, body=json.dumps(body).encode())

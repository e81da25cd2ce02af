"""Entries up, receipts back: what a real hub accepts, refuses, and keeps as evidence."""

from __future__ import annotations

import base64
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.hub_tools import Console, chain_of, entry_json, next_row, range_json, tables_at
from rollback_console.cli.main import run
from rollback_console.journal import merkle
from rollback_console.journal.chain import Row
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.receipt import Receipt, check
from rollback_console.journal.signednote import Checkpoint, open_note
from servers.hub import Hub

pytestmark = pytest.mark.real


def evidence(hub: Hub, chain: str) -> list[tuple[str, int, str]]:
    with tables_at(hub.folder / "hub.db") as database:
        return list(database.execute("SELECT code, seq, digest FROM evidence WHERE chain = ? ORDER BY id", (chain,)))


def test_a_range_is_accepted_and_its_receipt_verifies(console: Console) -> None:
    rows = chain_of(console.device, 7)
    first = console.send(rows[:3])
    assert (first.status_code, first.json()["accepted"], first.json()["duplicates"]) == (200, 3, 0)
    second = console.send(rows[3:]).json()
    assert second["head"] == {"seq": 7, "hash": rows[-1].hash}
    receipt = second["receipt"]
    assert (receipt["chain"], receipt["seq"], receipt["hash"]) == (rows[0].chain, 7, rows[-1].hash)
    old, new = console.checked(first.json()["receipt"]), console.checked(receipt)
    proof = console.http.get("/v1/log/consistency", params={"first": old.size, "second": new.size}).json()["proof"]
    assert merkle.verify_consistency(old.size, new.size, old.root, new.root, [bytes.fromhex(p) for p in proof])


def test_what_comes_again_is_counted_and_nothing_is_twice(console: Console) -> None:
    rows = chain_of(console.device, 6)
    assert console.send(rows[:4]).json()["accepted"] == 4
    again = console.send(rows[:4]).json()
    assert (again["accepted"], again["duplicates"], again["head"]["seq"]) == (0, 4, 4)
    overlapping = console.send(rows[1:]).json()
    assert (overlapping["accepted"], overlapping["duplicates"]) == (2, 3)
    console.checked(overlapping["receipt"])
    held = console.http.get(f"/v1/chains/{rows[0].chain}/entries").json()["entries"]
    assert [{key: each[key] for key in entry_json(rows[0])} for each in held] == [entry_json(row) for row in rows]


def test_a_gap_is_refused_with_our_head_and_kept(hub: Hub, console: Console) -> None:
    rows = chain_of(console.device, 9)
    unknown = console.send(rows[4:])
    assert (unknown.status_code, unknown.json()["code"]) == (409, "gap")
    assert unknown.json()["head"] == {"seq": 0, "hash": ""}
    console.send(rows[:2])
    for _ in range(2):
        gap = console.send(rows[5:])
        assert (gap.status_code, gap.json()["code"]) == (409, "gap")
        assert gap.json()["head"] == {"seq": 2, "hash": rows[1].hash}
    assert gap.headers["content-type"] == "application/problem+json"
    assert evidence(hub, rows[0].chain) == [("gap", 5, rows[4].hash), ("gap", 6, rows[5].hash)]


def test_a_fork_is_refused_and_the_other_entry_kept(hub: Hub, console: Console) -> None:
    rows = chain_of(console.device, 5)
    other = chain_of(console.device, 8, rows[0].chain, fork="other")
    console.send(rows)
    overlapping = console.send(other[:4])
    assert (overlapping.status_code, overlapping.json()["code"], overlapping.json()["seq"]) == (409, "fork", 2)
    going_on = console.send(other[5:])
    assert (going_on.json()["code"], going_on.json()["head"]["seq"]) == ("fork", 5)
    assert evidence(hub, rows[0].chain) == [("fork", 2, other[1].hash), ("fork", 6, other[5].hash)]
    with tables_at(hub.folder / "hub.db") as database:
        ((kept,),) = database.execute("SELECT detail FROM evidence WHERE digest = ?", (other[1].hash,))
    assert json.loads(kept)["signature"] == other[1].signature.hex()  # the device signed both: that is the proof
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(["hub", "evidence", "--json", *hub.where]) == 1
        assert run(["hub", "evidence", *hub.where]) == 1
    listed, _, lines = out.getvalue().partition("\n]\n")
    shown = [each for each in json.loads(listed + "]") if each["chain"] == rows[0].chain]
    assert [(each["code"], each["seq"]) for each in shown] == [("fork", 2), ("fork", 6)]
    assert f"fork  laptop ({console.id})  chain {rows[0].chain}  entry 2  {other[1].hash}" in lines


def changed(row: Row, **columns: Any) -> Row:
    return row._replace(**columns)


@pytest.mark.parametrize(
    ("what", "damage"),
    [
        ("its hash is not", lambda row, device: changed(row, body='{"text":"other","v":1}')),
        ("its hash is not", lambda row, device: changed(row, operator="mallory")),
        ("its signature is not", lambda row, device: changed(row, signature=bytes(64))),
        ("its signature is not", lambda row, device: changed(row, signature=b"short")),
        ("does not follow", lambda row, device: changed(row, prev="0" * 64)),
        ("not canonical", lambda row, device: next_row_with(device, row, '{"v":1, "text":"x"}')),
        ("not canonical", lambda row, device: next_row_with(device, row, "[" * 5000)),
        ("NUL", lambda row, device: next_row_with(device, row, row.body, "a\0b")),
    ],
)
def test_what_does_not_verify_is_refused_whole(
    console: Console, what: str, damage: Callable[[Row, DeviceKey], Row]
) -> None:
    rows = chain_of(console.device, 4)
    bad = console.send([*rows[:3], damage(rows[3], console.device)])
    assert (bad.status_code, bad.json()["code"], bad.json()["seq"]) == (422, "bad-entry", 4)
    assert what in bad.json()["detail"]
    assert console.http.get(f"/v1/chains/{rows[0].chain}").status_code == 404


def next_row_with(device: DeviceKey, row: Row, body: str, deployment: str = "") -> Row:
    from rollback_console.journal.create import seal

    return seal(device, row.chain, row.seq, (row.at, row.mono), (row.kind, body, deployment, row.operator), row.prev)


def test_a_chain_belongs_to_the_device_of_its_first_entry(hub: Hub, console: Console) -> None:
    stranger = Console(hub.url, hub.code())
    rows = chain_of(console.device, 3)
    stolen = stranger.send(rows)
    assert (stolen.status_code, stolen.json()["code"]) == (422, "bad-entry")
    console.send(rows[:2])
    taken = stranger.send([next_row(stranger.device, rows[0].chain, rows[1], {"v": 1})])
    assert (taken.status_code, taken.json()["code"]) == (403, "not-yours")
    named = range_json(chain_of(stranger.device, 2))
    other = stranger.http.post("/v1/chains/somebody-elses/entries", json=named)
    assert (other.status_code, "its hash is not" in other.json()["detail"]) == (422, True)
    not_first = next_row(stranger.device, "c" * 32, None, {"text": "no genesis", "v": 1})
    assert stranger.send([not_first]).status_code == 422
    stranger.close()


@pytest.mark.parametrize(
    "break_it",
    [
        lambda asked: asked.update({"from": 2}),
        lambda asked: asked.update(entries=[]),
        lambda asked: asked["entries"][0].update(at=5),
        lambda asked: asked["entries"][0].update(hash="no"),
        lambda asked: asked["entries"][0].update(signature="!"),
        lambda asked: asked["entries"][0].update(seq=0),
        lambda asked: asked.pop("prev"),
    ],
)
def test_what_is_not_of_the_wire_is_refused_as_such(console: Console, break_it: Callable[[Any], Any]) -> None:
    rows = chain_of(console.device, 2)
    asked = range_json(rows)
    break_it(asked)
    answer = console.http.post(f"/v1/chains/{rows[0].chain}/entries", json=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-request")
    for nonsense in (b"", b"\xff", b"[" * 100_000, b'{"from":1e400}', b"null"):
        refused = console.http.post(f"/v1/chains/{rows[0].chain}/entries", content=nonsense)
        assert (refused.status_code, refused.json()["code"]) == (422, "bad-request")


def test_too_much_at_once_is_refused(console: Console) -> None:
    rows = chain_of(console.device, 1001)
    assert console.send(rows).json()["code"] == "too-large"
    assert console.send(rows[:1000]).json()["accepted"] == 1000
    huge = console.http.post("/v1/chains/x/entries", content=b" " * (4 * 1024 * 1024 + 1))
    assert (huge.status_code, huge.json()["code"]) == (413, "too-large")

    def without_length() -> Iterator[bytes]:
        for _ in range(5):
            yield b" " * 1024 * 1024

    streamed = console.http.post("/v1/chains/x/entries", content=without_length())
    assert streamed.status_code == 413


def test_receipts_of_old_entries_lead_to_the_newest_checkpoint(console: Console) -> None:
    rows = chain_of(console.device, 12)
    for start in range(0, 12, 3):
        console.send(rows[start : start + 3])
    for asked, answered in ((1, 3), (3, 3), (4, 6), (12, 12)):
        found = console.http.get(f"/v1/chains/{rows[0].chain}/receipt", params={"seq": asked}).json()
        assert found["seq"] == answered
        assert found["hash"] == rows[answered - 1].hash
        size = console.checked(found).size
    assert console.http.get(f"/v1/chains/{rows[0].chain}/receipt", params={"seq": 13}).status_code == 404
    note = console.http.get("/v1/log/checkpoint").text
    checkpoint = Checkpoint.parse(open_note(note, console.vkeys))
    assert checkpoint.size == size
    proof = console.http.get("/v1/log/inclusion", params={"index": found["index"]}).json()["proof"]
    assert proof == found["proof"]
    assert console.http.get("/v1/log/consistency", params={"first": size + 1}).json()["code"] == "log-shorter"
    assert console.http.get("/v1/log/inclusion", params={"index": size}).status_code == 404


def test_chains_are_listed_with_their_heads(console: Console) -> None:
    rows = chain_of(console.device, 4)
    console.send(rows)
    mine = [each for each in console.http.get("/v1/chains").json()["chains"] if each["chain"] == rows[0].chain]
    assert mine == [
        {"chain": rows[0].chain, "device": console.id, "rehearsal": False, "head": {"seq": 4, "hash": rows[3].hash}}
    ]
    one = console.http.get(f"/v1/chains/{rows[0].chain}").json()
    assert one["key"] == console.device.public_openssh()
    check(Receipt.from_json(one["receipt"]), console.vkeys)


def test_a_kind_that_nobody_knows_yet_is_kept(console: Console) -> None:
    (first,) = chain_of(console.device, 1)
    newer = next_row(
        console.device, first.chain, first, {"é": [1.5, {"deep": "\x07 \\u"}], "v": 9}, kind="from-the-future"
    )
    assert console.send([first, newer]).json()["accepted"] == 2
    held = console.http.get(f"/v1/chains/{first.chain}/entries", params={"after": 1}).json()["entries"]
    assert held[0]["body"] == newer.body
    assert base64.b64decode(held[0]["signature"]) == newer.signature


def test_the_key_and_the_database_are_their_owners_alone(hub: Hub) -> None:
    for name in ("hub.key", "hub.db", "hub.mark"):
        path = Path(hub.folder / name)
        if path.exists():
            assert path.stat().st_mode & 0o077 == 0, name

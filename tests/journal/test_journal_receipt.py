"""A hub's receipt: it holds for the head it names, in the tree it names, by the key it names, and for nothing else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rollback_console.journal import merkle
from rollback_console.journal.receipt import Receipt, check, leaf, leaf_of
from rollback_console.journal.signednote import Checkpoint, NoteKey

CHAIN = "00112233445566778899aabbccddeeff"
KEY = NoteKey("hub.example/log", Ed25519PrivateKey.from_private_bytes(b"h" * 32))
THIEF = NoteKey("hub.example/log", Ed25519PrivateKey.from_private_bytes(b"t" * 32))


def receipts(count: int = 7, key: NoteKey = KEY) -> list[Receipt]:
    """Of `count` heads of one chain, all by the log's last checkpoint."""
    nodes: dict[tuple[int, int], bytes] = {}

    def node(level: int, index: int) -> bytes:
        return nodes[level, index]

    heads = [(seq, f"{seq:064x}", 1_763_628_153_250_000_000 + seq) for seq in range(1, count + 1)]
    for index, (seq, hash_, at) in enumerate(heads):
        for level, place, value in merkle.new_nodes(index, merkle.leaf_hash(leaf_of(CHAIN, seq, hash_, at)), node):
            nodes[level, place] = value
    note = key.sign(Checkpoint(key.name, count, merkle.root_of(count, node)).text())
    return [
        Receipt(CHAIN, seq, hash_, at, index, tuple(merkle.inclusion_proof(index, count, node)), note)
        for index, (seq, hash_, at) in enumerate(heads)
    ]


def test_a_receipt_holds_and_survives_json() -> None:
    for receipt in receipts():
        assert check(receipt, [KEY.vkey]).size == 7
        again = Receipt.from_json(json.loads(json.dumps(receipt.to_json())))
        assert again == receipt
        assert check(again, [THIEF.vkey, KEY.vkey]) == check(receipt, [KEY.vkey])


def test_the_leafs_bytes_are_these() -> None:
    (receipt,) = receipts(1)
    assert leaf(receipt) == (
        b"rollback-console/head/v1\n"
        b'{"at":"1763628153250000001","chain":"00112233445566778899aabbccddeeff",'
        b'"hash":"0000000000000000000000000000000000000000000000000000000000000001","seq":1}'
    )


CHANGES: dict[str, Callable[[Receipt], Receipt]] = {
    "chain": lambda r: dataclasses.replace(r, chain="another"),
    "seq": lambda r: dataclasses.replace(r, seq=r.seq + 1),
    "hash": lambda r: dataclasses.replace(r, hash="f" * 64),
    "at": lambda r: dataclasses.replace(r, at=r.at + 1),
    "index": lambda r: dataclasses.replace(r, index=r.index + 1),
    "proof": lambda r: dataclasses.replace(r, proof=r.proof[:-1]),
    "longer proof": lambda r: dataclasses.replace(r, proof=(*r.proof, b"\0" * 32)),
    "size": lambda r: dataclasses.replace(r, checkpoint=r.checkpoint.replace("\n7\n", "\n8\n")),
    "origin": lambda r: dataclasses.replace(r, checkpoint="x" + r.checkpoint),
    "no note": lambda r: dataclasses.replace(r, checkpoint=""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_receipt_does_not_hold(change: str) -> None:
    for receipt in receipts():
        with pytest.raises(ValueError):
            check(CHANGES[change](receipt), [KEY.vkey])


def test_another_key_and_another_origin_do_not_do() -> None:
    with pytest.raises(ValueError, match="no key that is trusted here"):
        check(receipts(key=THIEF)[0], [KEY.vkey])
    with pytest.raises(ValueError, match="no key is trusted here"):
        check(receipts()[0], [])
    other = NoteKey("elsewhere.example", Ed25519PrivateKey.from_private_bytes(b"h" * 32))
    with pytest.raises(ValueError, match="no key is trusted here"):
        check(receipts()[0], [other.vkey])
    # Signed by a trusted key, but of a log that is not this key's.
    foreign = dataclasses.replace(receipts(key=KEY)[0], checkpoint=other.sign(f"{KEY.name}\n7\n{'A' * 43}=\n"))
    with pytest.raises(ValueError):
        check(foreign, [KEY.vkey, other.vkey])


@pytest.mark.parametrize(
    ("field", "value"),
    [("seq", "1"), ("seq", -1), ("seq", True), ("index", 2**60), ("hash", "x"), ("hash", "F" * 64), ("at", 1),
     ("at", "1.5"), ("proof", "x"), ("proof", ["x"]), ("proof", [1]), ("chain", None), ("checkpoint", 1)],
)  # fmt: skip
def test_what_is_no_receipt(field: str, value: object) -> None:
    good = receipts()[0].to_json()
    with pytest.raises(ValueError):
        Receipt.from_json({**good, field: value})
    with pytest.raises(ValueError):
        Receipt.from_json({name: item for name, item in good.items() if name != field})
    with pytest.raises(ValueError):
        Receipt.from_json([good])
    assert Receipt.from_json({**good, "newer": 1}) == receipts()[0]

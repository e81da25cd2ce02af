"""Receipts as a hub gives them, without a hub: a tree in memory, a key from a seed."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rollback_console.journal import merkle
from rollback_console.journal.chain import Row
from rollback_console.journal.receipt import Receipt, leaf_of
from rollback_console.journal.signednote import Checkpoint, NoteKey

HUB = NoteKey("hub.example/log", Ed25519PrivateKey.from_private_bytes(b"h" * 32))
THIEF = NoteKey("hub.example/log", Ed25519PrivateKey.from_private_bytes(b"t" * 32))


def receipts_for(rows: Sequence[Row], key: NoteKey = HUB) -> list[Receipt]:
    """One a row, all by the checkpoint after the last; a leaf of somebody else stands before each."""
    nodes: dict[tuple[int, int], bytes] = {}
    size = 0

    def node(level: int, index: int) -> bytes:
        return nodes[level, index]

    def append(data: bytes) -> int:
        nonlocal size
        for level, index, value in merkle.new_nodes(size, merkle.leaf_hash(data), node):
            nodes[level, index] = value
        size += 1
        return size - 1

    places = []
    for row in rows:
        append(f"before {row.seq}".encode())
        places.append(append(leaf_of(row.chain, row.seq, row.hash, row.at + 1_000_000)))
    note = key.sign(Checkpoint(key.name, size, merkle.root_of(size, node)).text())
    return [
        Receipt(row.chain, row.seq, row.hash, row.at + 1_000_000, index,
                tuple(merkle.inclusion_proof(index, size, node)), note)
        for row, index in zip(rows, places, strict=True)
    ]  # fmt: skip

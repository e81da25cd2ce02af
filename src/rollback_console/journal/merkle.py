"""The Merkle tree of a transparency log: RFC 6962 section 2.1, which RFC 9162 section 2.1 repeats.

A tree is never held here. Whoever keeps one serves the hashes of its complete subtrees as `node(level, index)`: level 0
is the leaves, and node (l, i) covers the leaves i * 2**l up to (i + 1) * 2**l. A table of them, written once and never
changed, is enough for every root and every proof of every size the tree ever had. Hashes are 32 bytes of SHA-256.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

Node = Callable[[int, int], bytes]

EMPTY_ROOT = sha256(b"").digest()
_SIZE = 32


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256 of a zero byte and the data, so that no leaf can pass for a node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(b"\x01" + left + right).digest()


def root_of(size: int, node: Node) -> bytes:
    """The root of the first `size` leaves (RFC 6962: MTH). Raises ValueError below zero."""
    if size < 0:
        raise ValueError("a tree has no fewer than zero leaves")
    return _range_hash(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size` leaves, the leaf's neighbour first (RFC 6962: PATH).
    Raises ValueError when there is no such leaf."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    low, high = 0, size
    proof = []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_hash(middle, high, node))
            high = middle
        else:
            proof.append(_range_hash(low, middle, node))
            low = middle
    return proof[::-1]


def consistency_proof(first: int, second: int, node: Node) -> list[bytes]:
    """That the tree of `second` leaves begins with the tree of `first` (RFC 6962: PROOF). Empty where there is nothing
    to prove: `first` is 0 or `second`. Raises ValueError when `first` is not within."""
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {second} leaves does not begin with one of {first}")
    if first in (0, second):
        return []
    low, high, whole = 0, second, True  # whole: this subtree's hash is the root that the verifier already has
    proof = []
    while first != high:
        middle = low + _split(high - low)
        if first <= middle:
            proof.append(_range_hash(middle, high, node))
            high = middle
        else:
            proof.append(_range_hash(low, middle, node))
            low, whole = middle, False
    if not whole:
        proof.append(_range_hash(low, high, node))
    return proof[::-1]


def new_nodes(size: int, leaf: bytes, node: Node) -> list[tuple[int, int, bytes]]:
    """What a tree of `size` leaves gains when `leaf` (a leaf hash) is appended: (level, index, hash) of every subtree
    that it completes, the leaf's own first."""
    level, index, hash_ = 0, size, leaf
    made = [(level, index, hash_)]
    while index % 2:
        hash_ = node_hash(node(level, index - 1), hash_)
        level, index = level + 1, index // 2
        made.append((level, index, hash_))
    return made


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Is `leaf` (a leaf hash) number `index` of the tree with this size and root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or not _hashes(leaf, root, *proof):
        return False
    here, last, hash_ = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if here % 2 or here == last:
            hash_ = node_hash(step, hash_)
            while here and not here % 2:
                here, last = here >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, step)
        here, last = here >> 1, last >> 1
    return last == 0 and hash_ == root


def verify_consistency(first: int, second: int, root_first: bytes, root_second: bytes, proof: Sequence[bytes]) -> bool:
    """Does the tree (second, root_second) begin with the tree (first, root_first) (RFC 9162 section 2.1.4.2). False
    for a `first` of 0: every tree begins with the empty one, so that nothing would be shown about `second`."""
    if first == second and first > 0:
        return not proof and root_first == root_second
    if not 0 < first < second or not _hashes(root_first, root_second, *proof):
        return False
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, root_first)  # a complete subtree: the verifier has its hash, so the proof leaves it out
    if not path:
        return False
    here, last = first - 1, second - 1
    while here % 2:
        here, last = here >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if here % 2 or here == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while here and not here % 2:
                here, last = here >> 1, last >> 1
        else:
            new = node_hash(new, step)
        here, last = here >> 1, last >> 1
    return last == 0 and old == root_first and new == root_second


def _range_hash(low: int, high: int, node: Node) -> bytes:
    """MTH of the leaves [low, high): `low` is a multiple of the largest power of two within, as all splits make it."""
    size = high - low
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, low >> level)
    middle = low + _split(size)
    return node_hash(_range_hash(low, middle, node), _range_hash(middle, high, node))


def _split(size: int) -> int:
    """The largest power of two below `size` (two or more)."""
    return 1 << ((size - 1).bit_length() - 1)


def _hashes(*values: bytes) -> bool:
    return all(len(value) == _SIZE for value in values)

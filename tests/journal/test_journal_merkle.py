"""RFC 6962's tree: the published proofs, and ours for every size and place against the definition itself."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.journal import merkle

VECTORS = json.loads((Path(__file__).parent / "vectors" / "merkle.json").read_text())

# github.com/transparency-dev/merkle, testonly/constants.go: the leaves, and the root of the first n of them.
LEAVES = [bytes.fromhex(leaf) for leaf in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


class Tree:
    """A table of nodes, as a hub keeps one."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.size = 0

    def append(self, data: bytes) -> None:
        for level, index, hash_ in merkle.new_nodes(self.size, merkle.leaf_hash(data), self.node):
            assert (level, index) not in self.nodes  # a node is written once
            self.nodes[level, index] = hash_
        self.size += 1

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


def tree_of(leaves: list[bytes]) -> Tree:
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    return tree


def definition(leaves: list[bytes]) -> bytes:
    """MTH, word for word."""
    if not leaves:
        return merkle.EMPTY_ROOT
    if len(leaves) == 1:
        return merkle.leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(definition(leaves[:split]), definition(leaves[split:]))


def _decoded(proof: list[str]) -> list[bytes]:
    return [base64.b64decode(step) for step in proof]


def test_published_roots() -> None:
    tree = tree_of(LEAVES)
    assert [merkle.root_of(size, tree.node).hex() for size in range(9)] == ROOTS


def test_published_inclusion_proofs() -> None:
    outcomes = set()
    for case, index, size, root, leaf, proof, holds in VECTORS["inclusion"]:
        found = merkle.verify_inclusion(index, size, base64.b64decode(leaf), _decoded(proof), base64.b64decode(root))
        assert found == holds, case
        outcomes.add(holds)
    assert outcomes == {True, False}
    assert len(VECTORS["inclusion"]) == 98


def test_published_consistency_proofs() -> None:
    outcomes = set()
    for case, first, second, root1, root2, proof, holds in VECTORS["consistency"]:
        roots = base64.b64decode(root1), base64.b64decode(root2)
        assert merkle.verify_consistency(first, second, *roots, _decoded(proof)) == holds, case
        outcomes.add(holds)
    assert outcomes == {True, False}
    assert len(VECTORS["consistency"]) == 98


def test_our_proofs_are_the_published_ones() -> None:
    tree, compared = tree_of(LEAVES), 0
    for case, index, size, _, _, proof, holds in VECTORS["inclusion"]:
        if holds and size <= 8:
            assert merkle.inclusion_proof(index, size, tree.node) == _decoded(proof), case
            compared += 1
    for case, first, second, root1, _, proof, holds in VECTORS["consistency"]:
        if holds and base64.b64decode(root1).hex() in ROOTS:
            assert merkle.consistency_proof(first, second, tree.node) == _decoded(proof), case
            compared += 1
    assert compared >= 10


def test_every_proof_of_every_small_tree() -> None:
    leaves = [bytes([n]) * n for n in range(33)]
    tree = tree_of(leaves)
    roots = [merkle.root_of(size, tree.node) for size in range(34)]
    for size in range(34):
        assert roots[size] == definition(leaves[:size])
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, tree.node)
            leaf = merkle.leaf_hash(leaves[index])
            assert merkle.verify_inclusion(index, size, leaf, proof, roots[size])
            assert not merkle.verify_inclusion((index + 1) % size, size, leaf, proof, roots[size]) or size == 1
        for first in range(1, size + 1):
            proof = merkle.consistency_proof(first, size, tree.node)
            assert merkle.verify_consistency(first, size, roots[first], roots[size], proof)
            assert not merkle.verify_consistency(first, size, roots[first - 1], roots[size], proof)


@given(st.integers(1, 200), st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_proof_does_not_hold(size: int, data: st.DataObject) -> None:
    leaves = [n.to_bytes(2, "big") for n in range(size)]
    tree = tree_of(leaves)
    root = merkle.root_of(size, tree.node)
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    inclusion = merkle.inclusion_proof(index, size, tree.node)
    consistency = merkle.consistency_proof(first, size, tree.node)
    leaf, root_first = merkle.leaf_hash(leaves[index]), merkle.root_of(first, tree.node)
    assert merkle.verify_inclusion(index, size, leaf, inclusion, root)
    assert merkle.verify_consistency(first, size, root_first, root, consistency)
    for proof in (inclusion, consistency):
        longer = [*proof, b"\0" * 32]
        assert not merkle.verify_inclusion(index, size, leaf, longer, root)
        assert not merkle.verify_consistency(first, size, root_first, root, longer)
    if inclusion:
        place = data.draw(st.integers(0, len(inclusion) - 1))
        flipped = [bytes([step[0] ^ 1]) + step[1:] if n == place else step for n, step in enumerate(inclusion)]
        assert not merkle.verify_inclusion(index, size, leaf, flipped, root)
    if consistency:
        place = data.draw(st.integers(0, len(consistency) - 1))
        flipped = [bytes([step[0] ^ 1]) + step[1:] if n == place else step for n, step in enumerate(consistency)]
        assert not merkle.verify_consistency(first, size, root_first, root, flipped)
        assert not merkle.verify_consistency(first, size, root_first, root, consistency[:-1])


def test_what_cannot_be_asked() -> None:
    tree = tree_of(LEAVES)
    for index, size in ((0, 0), (8, 8), (-1, 8)):
        with pytest.raises(ValueError):
            merkle.inclusion_proof(index, size, tree.node)
    for first, second in ((5, 4), (-1, 4)):
        with pytest.raises(ValueError):
            merkle.consistency_proof(first, second, tree.node)
    with pytest.raises(ValueError):
        merkle.root_of(-1, tree.node)
    assert merkle.consistency_proof(0, 8, tree.node) == merkle.consistency_proof(8, 8, tree.node) == []

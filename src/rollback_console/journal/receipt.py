"""A hub's receipt for the head of a chain: proof, to whoever trusts the hub's key, that at this time the chain's entry
`seq` had this hash. With one in hand, a journal whose end was cut off or rewritten cannot pass for whole.

What the hub witnesses is one leaf of its RFC 6962 tree (`leaf`); the receipt is the leaf's fields, its place, the path
to the root, and the signed checkpoint of that root.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rollback_console.journal import chain as chains
from rollback_console.journal import merkle
from rollback_console.journal.signednote import Checkpoint, open_note, parse_vkey
from rollback_console.model.value import dataclass

DOMAIN = b"rollback-console/head/v1\n"
_HASH = re.compile(r"[0-9a-f]{64}")
_DIGITS = re.compile(r"-?[0-9]{1,20}")
_FIELDS = frozenset({"chain", "seq", "hash", "at", "index", "proof", "checkpoint"})


@dataclass(frozen=True, slots=True)
class Receipt:
    """`at` is the hub's wall clock, nanoseconds since the Unix epoch; `index` the leaf's number from 0; `proof` the
    audit path of 32-byte hashes; `checkpoint` the signed note."""

    chain: str
    seq: int
    hash: str
    at: int
    index: int
    proof: tuple[bytes, ...]
    checkpoint: str

    def to_json(self) -> dict[str, Any]:
        """The receipt as JSON holds it: `at` as text, hashes as hex."""
        return {
            "chain": self.chain, "seq": self.seq, "hash": self.hash, "at": str(self.at), "index": self.index,
            "proof": [step.hex() for step in self.proof], "checkpoint": self.checkpoint,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: object) -> Receipt:
        """Raises ValueError, which says what is wrong. Fields of newer programs are left aside."""
        if not isinstance(value, dict) or not value.keys() >= _FIELDS:
            raise ValueError(f"a receipt has the fields {', '.join(sorted(_FIELDS))}")
        for name in ("chain", "hash", "at", "checkpoint"):
            if not isinstance(value[name], str):
                raise ValueError(f"its {name} is not text")
        for name in ("seq", "index"):
            if type(value[name]) is not int or not 0 <= value[name] < 2**53:
                raise ValueError(f"its {name} is not a whole number")
        if not _HASH.fullmatch(value["hash"]):
            raise ValueError("its hash is not 64 hex digits")
        if not _DIGITS.fullmatch(value["at"]):
            raise ValueError("its at is not nanoseconds")
        proof = value["proof"]
        if not isinstance(proof, list) or not all(isinstance(s, str) and _HASH.fullmatch(s) for s in proof):
            raise ValueError("its proof is not a list of hashes")
        return cls(
            value["chain"], value["seq"], value["hash"], int(value["at"]), value["index"],
            tuple(bytes.fromhex(step) for step in proof), value["checkpoint"],
        )  # fmt: skip


def leaf(receipt: Receipt) -> bytes:
    """The bytes of the leaf that the hub's tree holds: a line that names the form, then RFC 8785 of four fields."""
    return leaf_of(receipt.chain, receipt.seq, receipt.hash, receipt.at)


def leaf_of(chain: str, seq: int, hash_: str, at: int) -> bytes:
    """`leaf`, before there is a receipt."""
    return DOMAIN + chains.canonical({"at": str(at), "chain": chain, "hash": hash_, "seq": seq})


def check(receipt: Receipt, vkeys: Iterable[str]) -> Checkpoint:
    """The checkpoint, once its signature by one of these keys holds and the leaf is in its tree. The log's origin must
    be the signing key's name. Raises ValueError, which says what is wrong."""
    trusted = list(vkeys)
    origin = receipt.checkpoint.partition("\n")[0]
    of_origin = [vkey for vkey in trusted if parse_vkey(vkey).name == origin]
    if not of_origin:
        raise ValueError(f"its checkpoint is of the log {origin!r}, for which no key is trusted here")
    checkpoint = Checkpoint.parse(open_note(receipt.checkpoint, of_origin))
    hash_ = merkle.leaf_hash(leaf(receipt))
    if not merkle.verify_inclusion(receipt.index, checkpoint.size, hash_, receipt.proof, checkpoint.root):
        raise ValueError("its proof does not lead from the chain's head to the checkpoint's root")
    return checkpoint

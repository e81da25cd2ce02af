"""What was learned, kept between runs: a cache that is derived, keyed by what it was derived from, and thrown away
whenever it does not fit. Without it everything is read again, and comes out the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Protocol

from rollback_console.decide.dispersion import Block

FORMAT = 1
Noises = dict[float, tuple[Block, ...]]  # by anchor


class Shelf(Protocol):
    """Where it is kept. Whatever goes wrong is its own business: `get` then has nothing, `put` does nothing. Neither
    raises; both may be slow and are called in a thread. One shelf is of one backend."""

    def get(self, key: str) -> bytes | None:
        """What was put under this key (letters, digits and `-`), or None."""
        ...

    def put(self, key: str, data: bytes) -> None: ...


def key_of(what: str, *parts: str) -> str:
    """A key: what is kept, and a digest of all that it hangs on."""
    return f"{what}-{sha256(json.dumps([FORMAT, *parts]).encode()).hexdigest()}"


def noises_packed(noises: Mapping[str, Noises]) -> bytes:
    """The noise of short blocks, by signal and anchor, as bytes."""
    return json.dumps({
        name: {repr(anchor): [[b.minutes, b.phi, b.count, b.per_minute] for b in blocks]
               for anchor, blocks in found.items()}
        for name, found in noises.items()
    }, separators=(",", ":")).encode()  # fmt: skip


def noises_unpacked(data: bytes | None, names: Iterable[str]) -> dict[str, Noises]:
    """What `noises_packed` made, of the signals in `names`; empty where it is anything else."""
    try:
        document = json.loads(data or b"{}")
        return {
            name: {
                float(anchor): tuple(Block(float(m), float(phi), int(count), float(n)) for m, phi, count, n in blocks)
                for anchor, blocks in document[name].items()
            }
            for name in names
            if name in document
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}

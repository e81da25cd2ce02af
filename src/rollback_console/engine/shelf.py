"""What was learned, kept between runs: a cache that is derived, keyed by what it was derived from, and thrown away
whenever it does not fit. Without it everything is read again, and comes out the same."""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping
from hashlib import blake2b, sha256
from typing import Protocol

from rollback_console.decide.baselines import Hours, Level, Profile
from rollback_console.decide.calendar import HOUR_S, SLOTS
from rollback_console.decide.dispersion import Block
from rollback_console.decide.version import LEARNING

FORMAT = 2
Noises = dict[float, tuple[Block, ...]]  # by anchor
Lasted = dict[float, tuple[float, ...]]  # past excursions, in seconds, by anchor
Profiles = dict[tuple[str, float], tuple[str, Profile]]  # by signal and anchor: (digest of its hours, what they say)
_OWN = 10  # numbers of a profile beside its columns and blocks


class Shelf(Protocol):
    """Where it is kept. Whatever goes wrong is its own business: `get` then has nothing, `put` does nothing. Neither
    raises; both may be slow and are called in a thread. One shelf is of one backend."""

    def get(self, key: str) -> bytes | None:
        """What was put under this key (letters, digits and `-`), or None."""
        ...

    def put(self, key: str, data: bytes) -> None: ...


def key_of(what: str, *parts: str) -> str:
    """A key: what is kept, and a digest of all that it hangs on."""
    return f"{what}-{sha256(json.dumps([FORMAT, LEARNING, *parts]).encode()).hexdigest()}"


def noises_packed(noises: Mapping[str, tuple[Noises, Lasted]]) -> bytes:
    """The noise of short blocks and how long past excursions lasted, by signal and anchor, as bytes."""
    return json.dumps({
        name: [
            {repr(anchor): [[b.minutes, b.phi, b.count, b.per_minute] for b in blocks]
             for anchor, blocks in found.items()},
            {repr(anchor): lasted for anchor, lasted in past.items()},
        ]
        for name, (found, past) in noises.items()
    }, separators=(",", ":")).encode()  # fmt: skip


def noises_unpacked(data: bytes | None, names: Iterable[str]) -> dict[str, tuple[Noises, Lasted]]:
    """What `noises_packed` made, of the signals in `names`; empty where it is anything else."""
    try:
        document = json.loads(data or b"{}")
        return {
            name: (
                {
                    float(anchor): tuple(
                        Block(float(m), float(phi), int(count), float(n)) for m, phi, count, n in blocks
                    )
                    for anchor, blocks in document[name][0].items()
                },
                {float(anchor): tuple(map(float, lasted)) for anchor, lasted in document[name][1].items()},
            )
            for name in names
            if name in document
        }
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return {}


def check_of(hours: Hours, low: float, high: float) -> str:
    """A digest of the counts between two full hours: what was learned of others is not learned of these."""
    x, n = hours.cut(low, round((high - low) / HOUR_S))
    digest = blake2b(array("f", x).tobytes(), digest_size=12)
    digest.update(array("f", n).tobytes())
    return digest.hexdigest()


def profiles_packed(profiles: Profiles) -> bytes:
    """Profiles by signal and anchor, each with the digest of the hours behind it: a line of what there is, then the
    numbers, little-endian, compressed."""
    entries, doubles, floats = [], array("d"), array("f")
    for (name, anchor), (check, known) in profiles.items():
        entries.append([name, repr(anchor), check, len(known.long)])
        level = known.level
        doubles.extend(
            (level.through, level.events, level.expected, level.square, known.hours, known.since, known.slow,
             known.slow_worth, known.scale, known.per_minute)
        )  # fmt: skip
        for block in known.long:
            doubles.extend((block.minutes, block.phi, block.count, block.per_minute))
        for column in (known.factors, known.spreads, known.trials):
            floats.extend(column)
    if sys.byteorder == "big":
        doubles.byteswap()
        floats.byteswap()
    head = json.dumps({"v": FORMAT, "entries": entries, "doubles": len(doubles)}, separators=(",", ":"))
    return head.encode() + b"\n" + zlib.compress(doubles.tobytes() + floats.tobytes(), 1)


def profiles_unpacked(data: bytes | None) -> Profiles:
    """What `profiles_packed` made; empty where it is anything else."""
    line, _, body = (data or b"").partition(b"\n")
    found: Profiles = {}
    try:
        head = json.loads(line)
        if head["v"] != FORMAT:
            return {}
        numbers = zlib.decompress(body)
        doubles, floats = array("d"), array("f")
        doubles.frombytes(numbers[: 8 * head["doubles"]])
        floats.frombytes(numbers[8 * head["doubles"] :])
        if sys.byteorder == "big":
            doubles.byteswap()
            floats.byteswap()
        if len(floats) != 3 * SLOTS * len(head["entries"]):
            return {}
        at = 0
        for number, (name, anchor, check, blocks) in enumerate(head["entries"]):
            own, more = doubles[at : at + _OWN], doubles[at + _OWN : at + _OWN + 4 * blocks]
            at += _OWN + 4 * blocks
            long = tuple(Block(m, phi, int(count), n) for m, phi, count, n in zip(*[iter(more)] * 4, strict=True))
            factors, spreads, trials = (
                floats[(3 * number + k) * SLOTS : (3 * number + k + 1) * SLOTS] for k in range(3)
            )
            through, events, expected, square, hours, since, slow, worth, scale, per_minute = own
            found[str(name), float(anchor)] = str(check), Profile(
                float(anchor), factors, spreads, trials, Level(through, events, expected, square), int(hours), since,
                slow, int(worth), long, scale, per_minute,
            )  # fmt: skip
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, zlib.error):
        return {}
    return found

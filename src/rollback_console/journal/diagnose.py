"""What is wrong with an entry that did not verify: which column, as far as the hash and the signature can tell.

The nine hashed columns are bound together by `hash`, and `hash` by the signature. So when the signature fits the stored
hash, the contents changed; when it fits the hash of the contents, the stored hash did. Which column changed follows
where putting the expected value back makes the hash fit again.

What one entry shows is often told apart only by the next: whether an entry was put in, or another one taken out and the
rest moved up. `Suspicion` remembers what the next has to be for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Literal, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rollback_console.journal import chain as chains
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.device import signed_by
from rollback_console.model.value import dataclass

What = Literal[
    "changed",  # an entry holds something else than what was signed
    "removed",  # an entry that was there is not
    "inserted",  # an entry stands between two that follow each other
    "reordered",  # an entry stands in another's place
    "re-signed",  # its hash fits, and the signature is not the device's
    "truncated",  # the end is gone: somebody else saw entries after the last one here
    "forked",  # the device signed two histories that begin alike
    "replaced",  # this is another chain, or another device's, than the one asked for
    "damaged",  # it cannot be read as a journal
    "blob",  # bytes that an entry names are not what it names
    "decision",  # a decision does not follow from what it says it was made from
    "person",  # a person's signature does not hold
    "bundle",  # a file of a bundle is not the one that was put in
]
WHATS: tuple[str, ...] = get_args(What)

_NAMES = 256  # values of deployment and operator remembered from before, to try
_NEAR = 500  # numbers before and after to try for a moved entry
_SEARCHES = 300  # entries whose changed column is searched for; a journal that is wrong all over is not worth hours


@dataclass(slots=True)
class Expected:
    """What the next entry must be, and the names seen so far."""

    seq: int
    prev: str
    chain: str | None
    kinds: set[str] = field(default_factory=set)
    deployments: set[str] = field(default_factory=lambda: {""})
    operators: set[str] = field(default_factory=lambda: {""})
    shift: int = 0  # the number that the last entry was signed under, less the one it stands under
    gaps: list[tuple[int, int]] = field(default_factory=list)  # numbers that were missing, first and last
    searches: int = _SEARCHES
    highest: int = 0  # the highest number met so far
    doubtful: bool = False  # the entry before was not sound: that the next does not follow it says nothing more

    def move_on(self, row: Row, hash_: str) -> None:
        """Past `row`, whose hash was, as far as we can tell, `hash_`."""
        self.seq = row.seq + 1 if isinstance(row.seq, int) and row.seq >= self.seq else self.seq + 1
        self.highest = max(self.highest, self.seq - 1)
        self.prev = hash_
        for names, name in ((self.kinds, row.kind), (self.deployments, row.deployment), (self.operators, row.operator)):
            if len(names) < _NAMES:
                names.add(name)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`seq` is the first bad number this entry shows (a missing one before it counts), `faults` say what is wrong, in a
    word and a sentence; none where all that is wrong is what was said of the entry before."""

    seq: int
    faults: tuple[tuple[What, str], ...]
    believed_hash: str  # what the next entry's `prev` should be, if that one is sound
    signed_as: int = 0  # the number the device signed it under, where that is known and is another
    as_signed: bool = False  # the device signed it as it stands: all that is wrong is its place, or its body


def diagnose(row: Row, expected: Expected, key: Ed25519PublicKey) -> Diagnosis:
    """Why `row` is not the sound entry `expected`."""
    first = expected.seq
    if column := chains.malformed(row):
        return Diagnosis(first, (("changed", f"its {column} is not of the column's type"),), _text(row.hash))
    try:
        computed = chains.row_hash(row)
    except UnicodeEncodeError:
        return Diagnosis(first, (("changed", f"its {_not_utf8(row)} is not UTF-8"),), _text(row.hash))
    signed = signed_by(key, row.hash, row.signature)
    if computed == row.hash and signed:
        return Diagnosis(first, tuple(_sound_but_misplaced(row, expected)), row.hash, as_signed=True)
    found: list[tuple[What, str]] = []
    if row.seq > expected.seq:
        missing = f"{expected.seq}" if row.seq == expected.seq + 1 else f"{expected.seq} to {row.seq - 1}"
        found.append(("removed", f"entries {missing} are missing before number {row.seq}"))
        expected.gaps.append((expected.seq, row.seq - 1))
    if computed == row.hash:
        found.append(("re-signed", "its signature is not the device's: changed, or signed by another key"))
    elif signed:
        fault, number = _changed_column(row, expected)
        return Diagnosis(first, (*found, fault), row.hash, number)
    elif signed_by(key, computed, row.signature):
        found.append(("changed", "its hash was changed: the signature fits what the other columns hash to"))
        return Diagnosis(first, tuple(found), computed)
    else:
        found.append(("changed", "neither its hash nor its signature fits: inserted or rewritten by another hand"))
    return Diagnosis(first, tuple(found), row.hash)


def _sound_but_misplaced(row: Row, expected: Expected) -> Iterator[tuple[What, str]]:
    """The device did sign this entry; so what is wrong is its place, or its body."""
    if row.chain != expected.chain:
        yield "replaced", f"it belongs to another chain, {row.chain}"
    elif row.seq > expected.seq and not (expected.doubtful and row.seq == expected.highest + 1):
        one = row.seq == expected.seq + 1
        yield "removed", f"missing: {'it was' if one else f'it and those up to {row.seq - 1} were'} removed"
        expected.gaps.append((expected.seq, row.seq - 1))
    elif row.seq < expected.seq:
        yield "reordered", f"entry {row.seq} stands where this one should be"
    elif row.prev != expected.prev and not expected.doubtful:
        other = "the device signed it, and its prev is not the hash of the entry before: one of the two is from another"
        yield "forked", f"{other} history of this chain"
    try:
        chains.parse_body(row.body)
    except ValueError as error:
        yield "changed", f"its body is not canonical JSON ({error})"


def _changed_column(row: Row, expected: Expected) -> tuple[tuple[What, str], int]:
    """The signature fits the stored hash, the contents do not. Also the number it was signed under, where its own is
    what was changed."""
    if expected.searches > 0:
        for name, value in _candidates(row, expected):
            restored = Row._make(value if column == name else old for column, old in zip(COLUMNS, row, strict=True))
            if restored == row or chains.row_hash(restored) != row.hash:
                continue
            if name == "seq" and isinstance(value, int):
                moved = f"it is entry {value} under another number: its seq was changed, or the entries reordered"
                return ("reordered", moved), value
            return ("changed", f"its {name} was changed after it was signed (signed: {value!r})"), 0
        expected.searches -= 1
    try:
        chains.parse_body(row.body)
    except ValueError as error:
        why = f"its body was changed after it was signed: it is no longer canonical JSON ({error})"
    else:
        why = "one of at, mono, kind, deployment, operator and body was changed after it was signed, or several columns"
    return ("changed", why), 0


def _candidates(row: Row, expected: Expected) -> Iterator[tuple[str, object]]:
    from rollback_console.journal.kinds import KINDS  # pydantic: only when something is wrong

    if expected.shift:
        yield "seq", row.seq + expected.shift  # all that follows a removed or inserted entry is moved alike
    yield "prev", expected.prev
    yield "chain", expected.chain or ""
    for seq in range(max(1, row.seq - _NEAR), row.seq + _NEAR):
        yield "seq", seq
    yield "seq", expected.seq
    for first, last in expected.gaps[:_NEAR]:
        for seq in range(first, min(last, first + _NEAR) + 1):
            yield "seq", seq
    for kind in sorted(expected.kinds | set(KINDS), key=str):
        yield "kind", kind
    for deployment in sorted(expected.deployments, key=str):
        yield "deployment", deployment
    for operator in sorted(expected.operators, key=str):
        yield "operator", operator


@dataclass(frozen=True, slots=True)
class Suspicion:
    """An entry that was found bad, until what follows says what it was: `place` in the list of problems, and what was
    expected where it stands."""

    place: int
    seq: int  # the place it stands in, as a number
    prev: str  # what its prev should have been
    hash: str
    signed_as: int  # the number it was signed under (0: not by the device, or not known)

    def told_by(self, row: Row, signed_as: int) -> tuple[What, str] | None:
        """What the entry was after all, now that the one after it is `row`, signed under `signed_as`."""
        back = row.seq - signed_as
        if row.prev == self.prev and signed_as == self.seq and self.signed_as != row.seq:
            return "inserted", (
                f"an entry that the device did not sign for this place stands here: what follows is entry {signed_as}"
            )
        ahead = self.signed_as - self.seq
        if self.signed_as and ahead > 0 and ahead == -back and row.prev == self.hash:
            return "removed", self._removed()
        return None

    def told_by_the_end(self) -> tuple[What, str] | None:
        """As `told_by`, when nothing follows."""
        return ("removed", self._removed()) if self.signed_as > self.seq else None

    def _removed(self) -> str:
        gone = f"it and those up to {self.signed_as - 1} were" if self.signed_as > self.seq + 1 else "it was"
        return f"missing: {gone} removed, and what followed moved up to its number"


def _not_utf8(row: Row) -> str:
    for name in chains.TEXT_COLUMNS:
        try:
            getattr(row, name).encode()
        except UnicodeEncodeError:
            return name
    return "hash"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

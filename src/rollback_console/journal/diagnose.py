"""What is wrong with an entry that did not verify: which column, as far as the hash and the signature can tell.

The nine hashed columns are bound together by `hash`, and `hash` by the signature. So when the signature fits the stored
hash, the contents changed; when it fits the hash of the contents, the stored hash did. Which column changed follows
where putting the expected value back makes the hash fit again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rollback_console.journal import chain as chains
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.device import signed_by
from rollback_console.model.value import dataclass

_NAMES = 256  # values of deployment and operator remembered from before, to try
_NEAR = 500  # numbers before and after to try for a moved entry


@dataclass(slots=True)
class Expected:
    """What the next entry must be, and the names seen so far."""

    seq: int
    prev: str
    chain: str | None
    kinds: set[str] = field(default_factory=set)
    deployments: set[str] = field(default_factory=lambda: {""})
    operators: set[str] = field(default_factory=lambda: {""})

    def move_on(self, row: Row, hash_: str) -> None:
        """Past `row`, whose hash was, as far as we can tell, `hash_`."""
        self.seq = row.seq + 1 if isinstance(row.seq, int) and row.seq >= self.seq else self.seq + 1
        self.prev = hash_
        for names, name in ((self.kinds, row.kind), (self.deployments, row.deployment), (self.operators, row.operator)):
            if len(names) < _NAMES:
                names.add(name)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`seq` is the first bad number this entry shows (a missing one before it counts), `messages` say what is wrong."""

    seq: int
    messages: tuple[str, ...]
    believed_hash: str  # what the next entry's `prev` should be, if that one is sound


def diagnose(row: Row, expected: Expected, key: Ed25519PublicKey) -> Diagnosis:
    """Why `row` is not the sound entry `expected`. Always finds at least one reason."""
    found: list[str] = []
    first = expected.seq
    if column := chains.malformed(row):
        return Diagnosis(first, (f"its {column} is not of the column's type",), _text(row.hash))
    try:
        computed = chains.row_hash(row)
    except UnicodeEncodeError:
        return Diagnosis(first, (f"its {_not_utf8(row)} is not UTF-8",), _text(row.hash))
    signed = signed_by(key, row.hash, row.signature)
    believed = row.hash
    if computed == row.hash and signed:
        return Diagnosis(first, tuple(_sound_but_misplaced(row, expected)), believed)
    if row.seq > expected.seq:
        missing = f"{expected.seq}" if row.seq == expected.seq + 1 else f"{expected.seq} to {row.seq - 1}"
        found.append(f"entries {missing} are missing before number {row.seq}")
    if computed == row.hash:
        found.append("its signature is not the device's: changed, or signed by another key")
    elif signed:
        found.append(_changed_column(row, expected))
    elif signed_by(key, computed, row.signature):
        found.append("its hash was changed: the signature fits what the other columns hash to")
        believed = computed
    else:
        found.append("neither its hash nor its signature fits: inserted or rewritten by another hand")
    return Diagnosis(first, tuple(found), believed)


def _sound_but_misplaced(row: Row, expected: Expected) -> Iterator[str]:
    """The device did sign this entry; so what is wrong is its place, or its body."""
    if row.seq > expected.seq:
        one = row.seq == expected.seq + 1
        yield f"missing: {'it was' if one else f'it and those up to {row.seq - 1} were'} removed"
    elif row.seq < expected.seq:
        yield f"entry {row.seq} stands where this one should be"
    elif row.prev != expected.prev:
        yield "its prev is not the hash of the entry before: that one was exchanged, or this is another history"
    if row.chain != expected.chain:
        yield f"it belongs to another chain, {row.chain}"
    try:
        chains.parse_canonical(row.body)
    except ValueError as error:
        yield f"its body is not canonical JSON ({error})"


def _changed_column(row: Row, expected: Expected) -> str:
    """The signature fits the stored hash, the contents do not."""
    for name, value in _candidates(row, expected):
        restored = Row._make(value if column == name else old for column, old in zip(COLUMNS, row, strict=True))
        if restored != row and chains.row_hash(restored) == row.hash:
            if name == "seq":
                return f"it is entry {value} under another number: its seq was changed, or the entries reordered"
            return f"its {name} was changed after it was signed (signed: {value!r})"
    try:
        chains.parse_canonical(row.body)
    except ValueError as error:
        return f"its body was changed after it was signed: it is no longer canonical JSON ({error})"
    return "one of at, mono, kind, deployment, operator and body was changed after it was signed, or several columns"


def _candidates(row: Row, expected: Expected) -> Iterator[tuple[str, object]]:
    from rollback_console.journal.kinds import KINDS  # pydantic: only when something is wrong

    yield "prev", expected.prev
    yield "chain", expected.chain or ""
    for seq in range(max(1, row.seq - _NEAR), row.seq + _NEAR):
        yield "seq", seq
    yield "seq", expected.seq
    for kind in sorted(expected.kinds | set(KINDS), key=str):
        yield "kind", kind
    for deployment in sorted(expected.deployments, key=str):
        yield "deployment", deployment
    for operator in sorted(expected.operators, key=str):
        yield "operator", operator


def _not_utf8(row: Row) -> str:
    for name in chains.TEXT_COLUMNS:
        try:
            getattr(row, name).encode()
        except UnicodeEncodeError:
            return name
    return "hash"


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

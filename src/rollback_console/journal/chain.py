"""What is hashed and what is signed: from here (and docs/journal-format.md) a stranger can verify a journal.

One entry is one row of eleven columns. Nine of them make the *envelope*, one RFC 8785 object whose values are text but
for `seq`; `body` stands in it as the SHA-256 of the body's stored bytes, times as decimal nanoseconds::

    {"at":"1763628153000000000","body":"<sha256 hex>","chain":"…","deployment":"…","kind":"note","mono":"42000000000",
     "operator":"…","prev":"<hash of entry seq-1, or empty>","seq":7}

    hash      = SHA-256(envelope), 64 lower-case hex digits
    signature = Ed25519 by the device over b"rollback-console/entry/v1\\n" + hash (as those 64 ASCII digits)

Nothing here does I/O, and nothing imports pydantic: `journal verify` has to start fast.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from json.encoder import encode_basestring
from typing import Any, NamedTuple, NoReturn

import rfc8785

DOMAIN = b"rollback-console/entry/v1\n"
COLUMNS = ("chain", "seq", "at", "mono", "kind", "deployment", "operator", "body", "prev", "hash", "signature")
TEXT_COLUMNS = ("chain", "kind", "deployment", "operator", "body", "prev", "hash")
SECOND = 1_000_000_000

_LONG_NUMBER = re.compile(r"\d{16}")  # may be 2**53 or more, where an integer's text has a second reading


class Row(NamedTuple):
    """One entry exactly as stored. `at` and `mono` are whole nanoseconds (wall: since the Unix epoch)."""

    chain: str
    seq: int
    at: int
    mono: int
    kind: str
    deployment: str
    operator: str
    body: str
    prev: str
    hash: str
    signature: bytes


_TYPES = (str, int, int, int, str, str, str, str, str, str, bytes)


def malformed(row: Row) -> str | None:
    """The first column whose value is not of its type (a damaged page can hold anything), or None."""
    for name, value, kind in zip(COLUMNS, row, _TYPES, strict=True):
        if type(value) is not kind:
            return name
    return None


def nanoseconds(seconds: float) -> int:
    """Float seconds as whole nanoseconds, to the nearest one. The whole part never passes through a product of
    floats, so `seconds_of` gives back the very same float for any time of day a clock can name."""
    whole = math.floor(seconds)
    return whole * SECOND + round((seconds - whole) * SECOND)


def seconds_of(nanos: int) -> float:
    """Whole nanoseconds as the nearest float of seconds."""
    return nanos / SECOND


def canonical(value: Any) -> bytes:
    """`value` as RFC 8785 bytes. Raises ValueError for NaN, infinities, integers of 2**53 and more, lone surrogates."""
    return rfc8785.dumps(value)


def envelope(
    chain: str, seq: int, at: int, mono: int, kind: str, deployment: str, operator: str, body: bytes, prev: str
) -> bytes:
    """The RFC 8785 bytes that `hash` is of.

    Written by hand because it is on the path of every append and every verification: the keys are fixed and sorted,
    and `encode_basestring` escapes strings exactly as RFC 8785 3.2.2.2 asks (a test holds it against `rfc8785`).
    Raises UnicodeEncodeError for a lone surrogate.
    """
    quote = encode_basestring
    return (
        f'{{"at":"{at}","body":"{hashlib.sha256(body).hexdigest()}","chain":{quote(chain)},'
        f'"deployment":{quote(deployment)},"kind":{quote(kind)},"mono":"{mono}","operator":{quote(operator)},'
        f'"prev":{quote(prev)},"seq":{seq}}}'
    ).encode()


def digest(data: bytes) -> str:
    """SHA-256, lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def row_hash(row: Row) -> str:
    """What `hash` should be for the other columns as they stand. Raises UnicodeEncodeError for what is not UTF-8."""
    return digest(
        envelope(
            row.chain, row.seq, row.at, row.mono, row.kind, row.deployment, row.operator, row.body.encode(), row.prev
        )
    )


def message(hash_: str) -> bytes:
    """The bytes the device signs for an entry of this hash."""
    return DOMAIN + hash_.encode()


def parse_canonical(text: str) -> Any:
    """The JSON value of `text`. Raises ValueError when `text` is not the RFC 8785 form of it.

    Most bodies hold ASCII, no fractions and no long digits: the standard library's encoder then writes the same bytes
    in a tenth of the time. Everything else goes the long way.
    """
    try:
        if text.isascii() and not _LONG_NUMBER.search(text):
            value = json.loads(text, parse_float=_not_plain, parse_constant=_not_plain)
            if json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == text:
                return value
    except _NotPlainError:
        pass
    value = json.loads(text, parse_int=_integer, parse_constant=_refuse)
    if canonical(value) != text.encode():
        raise ValueError("it is not in RFC 8785 form")
    return value


def parse_body(text: str) -> dict[str, Any]:
    """A body's members. Raises ValueError when `text` is no object, or not the RFC 8785 form of one."""
    try:
        value = parse_canonical(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


class _NotPlainError(Exception):
    """A number that the fast way does not judge."""


def _not_plain(text: str) -> NoReturn:
    raise _NotPlainError


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _integer(text: str) -> int | float:
    """RFC 8785 writes a float such as 1e20 as twenty-one digits: digits beyond 2**53 are read as the float they are."""
    value = int(text)
    return value if abs(value) < 2**53 else float(value)

"""What is hashed: RFC 8785, its published vectors, and our hand-written envelope held against the library."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_tools import CAMPAIGN

from rollback_console.journal import chain

# RFC 8785, Appendix B: IEEE 754 bits and the text they must become.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}

# github.com/cyberphone/json-canonicalization, testdata/{input,output}: the six vectors RFC 8785 points to.
VECTORS = {
    "arrays": (r'[56,{"d":true,"10":null,"1":[ ]}]', '[56,{"1":[],"10":null,"d":true}]'),
    "french": (
        '{"peach":"This sorting order","péché":"is wrong according to French",'
        '"pêche":"but canonicalization MUST","sin":"ignore locale"}',
        '{"peach":"This sorting order","péché":"is wrong according to French",'
        '"pêche":"but canonicalization MUST","sin":"ignore locale"}',
    ),
    "structures": (
        r'{"1":{"f":{"f":"hi","F":5},"\n":56.0},"10":{},"":"empty","a":{},"111":[{"e":"yes","E":"no"}],"A":{}}',
        r'{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}',
    ),
    "unicode": ('{"Unnormalized Unicode":"A\\u030a"}', '{"Unnormalized Unicode":"A\u030a"}'),
    "values": (
        r'{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],'
        r'"string":"\u20ac$\u000F\u000aA' + "'" + r'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}',
        r'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        r'"string":"€$\u000f\nA' + "'" + r'B\"\\\\\"/"}',
    ),
    "weird": (
        r'{"\u20ac":"Euro Sign","\r":"Carriage Return","\u000a":"Newline","1":"One","\u0080":"Control\u007f",'
        r'"\ud83d\ude02":"Smiley","\u00f6":"Latin Small Letter O With Diaeresis",'
        r'"\ufb33":"Hebrew Letter Dalet With Dagesh","</script>":"Browser Challenge"}',
        '{"\\n":"Newline","\\r":"Carriage Return","1":"One","</script>":"Browser Challenge",'
        '"\x80":"Control\x7f","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😂":"Smiley",'
        '"\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    ),
}

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
documents = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("bits", "expected"), NUMBERS.items())
def test_numbers_of_appendix_b(bits: str, expected: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert chain.canonical(value).decode() == expected
    assert chain.parse_canonical(f'{{"n":{expected}}}')["n"] == value


def _es6_numbers(static: list[str]) -> Iterator[bytes]:
    """The published sequence of IEEE 754 values, big-endian: fixed ones, small ones, then a chain of SHA-256."""
    yield from map(bytes.fromhex, static)
    for n in range(2000):
        yield (0x0010000000000000 + n).to_bytes(8, "big")
    block = bytes(32)
    while True:
        block = hashlib.sha256(block).digest()
        for start in range(0, 32, 8):
            bits = block[start : start + 8][::-1]
            (value,) = struct.unpack(">d", bits)
            if value != 0.0 and math.isfinite(value):
                yield bits


@pytest.mark.parametrize("lines", [1_000, 10_000, *([100_000] if CAMPAIGN else [])])
def test_published_numbers(lines: int) -> None:
    """cyberphone's table of ES6 numbers, made again: its SHA-256 is the published one."""
    published = json.loads((Path(__file__).parent / "vectors" / "es6_numbers.json").read_text())
    table = hashlib.sha256()
    for bits in itertools.islice(_es6_numbers(published["static"]), lines):
        (value,) = struct.unpack(">d", bits)
        table.update(f"{int.from_bytes(bits, 'big'):x},".encode() + chain.canonical(value) + b"\n")
    assert table.hexdigest() == published["sha256"][str(lines)]


@pytest.mark.parametrize("name", VECTORS)
def test_published_vectors(name: str) -> None:
    given_, expected = VECTORS[name]
    assert chain.canonical(json.loads(given_)) == expected.encode()
    assert chain.parse_canonical(expected) == json.loads(given_)
    if given_ != expected:
        with pytest.raises(ValueError):
            chain.parse_canonical(given_)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**53, -(2**53), "\ud800"])
def test_what_rfc_8785_refuses(value: object) -> None:
    with pytest.raises(ValueError):
        chain.canonical({"x": value})


@given(documents)
@settings(max_examples=150)
def test_canonical_text_is_recognised_and_anything_else_is_not(document: object) -> None:
    canonical = chain.canonical(document).decode()
    parsed = chain.parse_canonical(canonical)
    assert (
        rfc8785.dumps(parsed if not isinstance(parsed, int) or abs(parsed) < 2**53 else float(parsed))
        == canonical.encode()
    )
    for other in (canonical + " ", " " + canonical, json.dumps(document, indent=1)):
        if other != canonical:
            with pytest.raises(ValueError):
                chain.parse_canonical(other)


@pytest.mark.parametrize(
    "not_canonical",
    ['{"a":1,"a":1}', '{"b":1,"a":1}', '{"a":1.0}', '{"a":1e2}', '{"a":NaN}', '{"a":-0}', '{"a":9007199254740993}',
     '{"a":"\\u0041"}', '{"a":"\\u000A"}', "{", "", '{"a":"\ud800"}', '{"a":1}\n'],
)  # fmt: skip
def test_not_canonical(not_canonical: str) -> None:
    with pytest.raises(ValueError):
        chain.parse_canonical(not_canonical)


@given(text, st.integers(1, 2**53 - 1), st.integers(), st.integers(), text, text, text, text, text)
@settings(max_examples=150)
def test_the_envelope_is_rfc_8785(
    name: str, seq: int, at: int, mono: int, kind: str, deployment: str, operator: str, body: str, prev: str
) -> None:
    ours = chain.envelope(name, seq, at, mono, kind, deployment, operator, body.encode(), prev)
    assert ours == rfc8785.dumps(
        {
            "chain": name, "seq": seq, "at": str(at), "mono": str(mono), "kind": kind, "deployment": deployment,
            "operator": operator, "body": chain.digest(body.encode()), "prev": prev,
        }
    )  # fmt: skip


@given(st.floats(0, 4e9) | st.floats(-1e6, 1e6))
def test_times_come_back_as_the_very_same_float_or_nanosecond(seconds: float) -> None:
    nanos = chain.nanoseconds(seconds)
    back = chain.seconds_of(nanos)
    assert abs(back - seconds) <= 0.5e-9 + math.ulp(seconds)  # half a nanosecond, and the float that is nearest to it
    assert chain.nanoseconds(back) == nanos
    if seconds > 2**24:  # a time of day: floats are wider apart than nanoseconds
        assert back == seconds

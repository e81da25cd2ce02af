"""Nothing with a meaning to a terminal survives `model.text`, and every result is bounded and stable."""

from __future__ import annotations

import math
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollback_console.model.text import duration, number, plain, plain_block, span

# All of Unicode, with what terminals act on made frequent.
_NASTY = st.sampled_from(
    "\x00\x07\x08\t\n\x0b\x0c\r\x1b\x7f\x80\x85\x9b\x9d\x9f\xad\u034f\u061c\u115f\u180b\u180e\u200b\u200d\u200e\u2028"
    "\u2029\u202a\u202e\u2066\u2069\u2800\u3164\ufe0f\ufeff\uffa0\ufff9\ue000\ud800\udfff\U000e0001\U000e0101\u0301\u20dd"
)
_TEXT = st.text(st.one_of(st.characters(codec=None), _NASTY, st.characters(codec="ascii")), max_size=120)
_ESCAPES = [
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]52;c;aGk=\x1b\\",
    "\x9b2J",
    "\x9d0;title\x9c",
    "a\u202eb\u2066c\u2069",
    "in\u200bvisible\u200d",
    "\x1bP+q\x1b\\",
    "line\u2028line\x85line",
]


def _dangerous(text: str, allowed: str = "") -> list[str]:
    found = []
    for char in text:
        if char in allowed:
            continue
        category = unicodedata.category(char)
        if category[0] == "C" or category in ("Zl", "Zp") or char in "\u115f\u1160\u3164\uffa0\u2800\u034f\ufe0f":
            found.append(f"U+{ord(char):04X}")
    return found


@given(_TEXT, st.integers(0, 60))
def test_plain_is_one_safe_bounded_stable_line(text: str, limit: int) -> None:
    line = plain(text, limit)
    assert not _dangerous(line)
    assert len(line) <= limit
    assert plain(line, limit) == line


@given(_TEXT, st.integers(0, 90))
def test_a_block_is_safe_bounded_and_stable(text: str, limit: int) -> None:
    block = plain_block(text, limit)
    assert not _dangerous(block, allowed="\n")
    assert len(block) <= limit
    assert plain_block(block, limit) == block


@pytest.mark.parametrize("text", _ESCAPES)
def test_escape_sequences_lose_their_meaning_and_keep_their_letters(text: str) -> None:
    line = plain(text)
    assert not _dangerous(line)
    assert [char for char in line if char.isascii() and char.isalpha()] == [
        char for char in text if char.isascii() and char.isalpha()
    ]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=100))
def test_printable_ascii_passes_as_it_is(text: str) -> None:
    assert plain(text) == text
    assert plain_block(text) == text


def test_what_was_cut_off_is_marked() -> None:
    assert plain("a" * 500, 10) == "a" * 9 + "…"
    assert plain("é" * 500, 10) == "é" * 9 + "…"
    assert plain("a" + "\u0301" * 5_000_000, 10).endswith("…")
    assert plain_block("a\r\n" * 50, 20).endswith("…")
    assert plain("a" * 10, 10) == "a" * 10


def test_marks_pile_up_no_further_than_two() -> None:
    assert plain("e" + "\u0301" * 40) == "e\u0301\u0301"
    assert plain("\u0301e") == "e", "a mark without a base would sit on what the screen drew before it"


def test_other_scripts_stay_readable() -> None:
    for text in ("チェックアウト", "größe", "Ελλάδα", "नमस्ते", "🙂"):
        assert plain(text) == text


def test_what_is_no_string_is_shown_too() -> None:
    assert plain(ValueError("a\x1b[2Jb")) == "a·[2Jb"


_NUMBERS = st.one_of(st.floats(), st.integers(-(10**18), 10**18).map(float), st.floats(-1e4, 1e4))


@given(_NUMBERS, st.sampled_from(["", "%"]))
def test_a_number_fits_its_column(value: float, unit: str) -> None:
    text = number(value, unit)
    digits = text.removesuffix("%").strip().removeprefix("-")
    assert len(digits) <= 6, text
    assert text == text.strip()


@given(st.floats(0.01, 1e8))
def test_a_number_reads_as_what_it_is(value: float) -> None:
    text = number(value)
    scale = {"k": 1e3, "M": 1e6}.get(text[-1], 1.0)
    read = float(text.rstrip("kM").replace(",", "")) * scale
    assert math.isclose(read, value, rel_tol=0.006), text


def test_numbers_as_the_screen_has_them() -> None:
    assert [number(value) for value in (0.0, -0.0, 2.91, 999.7, 1234, 12_345, 2.1e6, None)] == [
        "0", "0", "2.91", "1,000", "1,234", "12.3k", "2.1M", "–",
    ]  # fmt: skip
    assert number(-0.084, "%") == "-8.4 %"
    assert number(412, "USD\x1b[2J") == "412 USD·[2J"
    assert [number(value) for value in (math.nan, math.inf, -math.inf)] == ["nan", "inf", "-inf"]


@given(st.one_of(st.floats(), st.floats(0, 1e6)))
@settings(max_examples=200)
def test_clocks_take_any_number(seconds: float) -> None:
    for text in (duration(seconds), span(seconds)):
        assert text
        assert len(text) <= 24
        assert not text.startswith("-")


@given(st.integers(0, 10**7))
def test_clocks_read_back(seconds: int) -> None:
    parts = [int(part) for part in duration(seconds).split(":")]
    assert sum(part * 60**place for place, part in enumerate(reversed(parts))) == seconds
    units = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
    total, digits = 0, ""
    for char in span(seconds):
        if char.isdigit():
            digits += char
        else:
            total, digits = total + int(digits) * units[char], ""
    assert total == seconds

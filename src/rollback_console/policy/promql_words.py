"""PromQL's words: a query as tokens that know their place, and tokens as a query again.

Source: prometheus/promql/parser/lex.go, v2.42.
"""

from __future__ import annotations

import math
import re

from rollback_console.model.value import dataclass

COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
SETS = frozenset({"and", "or", "unless"})
AGGREGATIONS = frozenset({
    "sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile", "count_values",
})  # fmt: skip
# Names that are words of the language: never read as metrics.
KEYWORDS = SETS | AGGREGATIONS | {
    "atan2", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "start", "end",
}  # fmt: skip
LEVELS: dict[str, int] = {"or": 1, "and": 2, "unless": 2, **dict.fromkeys(COMPARISONS, 3), "+": 4, "-": 4}
LEVELS |= {"*": 5, "/": 5, "%": 5, "atan2": 5, "^": 7}
UNARY = 6
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+(?![A-Za-z0-9_.]))
    |(?P<number>0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![A-Za-z0-9_.]))
    |(?P<name>(?::(?=[A-Za-z_]))?[A-Za-z_][A-Za-z0-9_:]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
    |(?P<sign>==|!=|>=|<=|=~|!~|[-+*/%^()\[\]{},=<>@:])""",
    re.VERBOSE,
)
_DURATION = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m(?!s))?(?:([0-9]+)s)?(?:([0-9]+)ms)?\Z"
)
_SECONDS = (31_536_000.0, 604_800.0, 86_400.0, 3_600.0, 60.0, 1.0, 0.001)
LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class PromqlError(ValueError):
    """What cannot be read in a query, at which character (from 0), and the remedy."""

    def __init__(self, offset: int, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.offset, self.message, self.remedy = offset, message, remedy


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # name | number | duration | string | sign | end
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def seconds(text: str) -> float | None:
    """A duration as Prometheus writes it (`1d12h`, `500ms`, `0`), in seconds; None for what is none."""
    if text == "0":
        return 0.0
    match = _DURATION.match(text) if 0 < len(text) < 80 else None
    if match is None:
        return None
    return math.fsum(int(count) * size for count, size in zip(match.groups(), _SECONDS, strict=True) if count)


def tokens(text: str) -> list[Token]:
    """The words of a query, without white space and comments. Raises PromqlError."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            char = text[at]
            if char in "\"'`":
                raise PromqlError(at, "this string has no end", "Close it")
            if char == "$":
                raise PromqlError(at, "a placeholder stands in the query", "Rules have none; write what it stands for")
            raise PromqlError(at, f"`{char}` is not read here", "Is this PromQL?")
        kind = match.lastgroup or ""
        if kind == "number" and not _is_number(match[0]):
            raise PromqlError(at, f"`{match[0][:40]}` is not read as a number", "Write it in decimal")
        if kind != "space":
            found.append(Token(kind, match[0], at))
        at = match.end()
    found.append(Token("end", "", len(text)))
    return found


def _is_number(text: str) -> bool:
    """Go reads `010` as eight; nobody means that."""
    return text[:2].lower() == "0x" or not re.match(r"0[0-9]", text)


def one_line(words: list[Token]) -> str:
    """Words on one line, spaces as people put them."""
    out: list[str] = []
    opened: list[str] = []
    words = [token for token in words if token.kind != "end"]
    for index, token in enumerate(words):
        if index and _spaced(words, index, opened):
            out.append(" ")
        if token.kind == "sign" and token.text in "([{":
            opened.append(token.text)
        elif token.kind == "sign" and token.text in ")]}" and opened:
            opened.pop()
        out.append(token.text)
    return "".join(out)


def _spaced(words: list[Token], index: int, opened: list[str]) -> bool:
    """Whether a space stands before `words[index]`."""
    before, token = words[index - 1], words[index]
    one, two = before.text, token.text
    if opened and opened[-1] in "[{":
        return one == ","
    if before.kind == "sign" and one in "([{":
        return False
    if token.kind == "sign" and two in ")]},[":
        return False
    if before.kind == "sign" and one in "+-":  # a sign of its own clings to what it turns
        ahead = words[index - 2] if index > 1 else None
        return ahead is not None and (
            ahead.text in ")]}" if ahead.kind == "sign" else ahead.text.lower() not in KEYWORDS
        )
    if token.kind == "sign" and two in "({":
        return before.kind != "name" or one.lower() in {"by", "without", "atan2", "bool", *SETS}
    return True

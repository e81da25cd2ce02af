"""What is checked of a query without a PromQL parser, and the placeholders in it.

`$window`, `$deployment` and `$selector` are filled in by `policy.compile`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from rollback_console.policy.quantities import refusal

WINDOW, DEPLOYMENT, SELECTOR, SLICE = "window", "deployment", "selector", "slice"
_PLACEHOLDER = re.compile(r"\$(window|deployment|selector|slice)(?![A-Za-z0-9_])")
_SLICE = re.compile(r"\$slice(?![A-Za-z0-9_])\s*,?")
_DOLLAR = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|`[^`]*`')
_COMMENT = re.compile(r"#[^\n]*")
_RANGED = re.compile(
    r"\b(rate|irate|increase|delta|idelta|deriv|changes|resets|predict_linear|holt_winters|absent_over_time"
    r"|[a-z]+_over_time)\s*\("
)
_AGGREGATION = re.compile(
    r"\b(sum|avg|min|max|count|group|stddev|stdvar|quantile|topk|bottomk|count_values)\s*(\(|by\b|without\b)"
)
_BY = re.compile(r"\bby\s*\(([^)]*)\)")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_MATCHER = re.compile(r'\s*(?:\$(?:selector|slice)|[A-Za-z_][A-Za-z0-9_]*\s*(?:=~|!~|!=|=)\s*"(?:[^"\\\n]|\\.)*")\s*')


def _bare(query: str) -> str:
    """The query with the insides of strings and comments blanked, so that what is left is code at its own offsets.

    Raises a PydanticCustomError where a string has no end.
    """
    out: list[str] = []
    at = 0
    while at < len(query):
        char = query[at]
        match = _STRING.match(query, at) if char in "\"'`" else _COMMENT.match(query, at) if char == "#" else None
        if match is not None:
            length = match.end() - at
            out.append(char + " " * (length - 2) + char if char != "#" else " " * length)
            at = match.end()
        elif char in "\"'`":
            raise refusal(f"the string that begins with {char} has no end", "Close it", offset=at)
        else:
            out.append(char)
            at += 1
    return "".join(out)


def _check_brackets(code: str) -> None:
    opened: list[tuple[str, int]] = []
    for at, char in enumerate(code):
        if char in "([{":
            opened.append((char, at))
        elif char in _CLOSES:
            if not opened:
                raise refusal(f"this `{char}` closes nothing", "Take it out, or open it", offset=at)
            before, _ = opened.pop()
            if before != _CLOSES[char]:
                raise refusal(
                    f"`{char}` stands where the `{before}` should be closed", "Look at the brackets", offset=at
                )
    if opened:
        char, at = opened[-1]
        raise refusal(f"this `{char}` is never closed", "Look at the brackets", offset=at)


def _check_placeholders(code: str, allowed: Iterable[str]) -> None:
    for match in _DOLLAR.finditer(code):
        name = match[1]
        if name in allowed and not match[0].startswith("${"):
            continue
        if name == WINDOW:
            raise refusal("$window has no meaning here", "Only a signal has a window; write it out, as in `[5m]`",
                          offset=match.start())  # fmt: skip
        if name.startswith("__"):
            remedy = "That is a dashboard's variable; here it is $window"
        else:
            close = difflib.get_close_matches(name, list(allowed), 1, 0.5)
            remedy = f"Did you mean ${close[0]}" if close else "There are " + ", ".join(f"${word}" for word in allowed)
        raise refusal(f"{match[0]}{'}' if match[0].startswith('${') else ''} is no placeholder", remedy,
                      offset=match.start())  # fmt: skip


def _check_ranges(code: str) -> None:
    for match in _RANGED.finditer(code):
        depth, at = 1, match.end()
        while at < len(code) and depth:
            depth += (code[at] == "(") - (code[at] == ")")
            at += 1
        if "[" not in code[match.end() : at]:
            raise refusal(f"{match[1]}() has no range", "Write `[$window]` after the metric", offset=match.start())


def _check(query: str, allowed: tuple[str, ...]) -> str:
    if not query.strip():
        raise refusal("the query is empty", "Write PromQL")
    code = _bare(query)
    _check_brackets(code)
    _check_placeholders(code, allowed)
    _check_ranges(code)
    return query


def _check_signal_query(query: str) -> str:
    return _check(query, (WINDOW, DEPLOYMENT, SELECTOR, SLICE))


def _check_query(query: str) -> str:
    return _check(query, (DEPLOYMENT, SELECTOR))


def check_matchers(text: str) -> None:
    """Raises a PydanticCustomError unless `text` is what stands between a selector's braces."""
    at = 0
    while at < len(text):
        match = _MATCHER.match(text, at)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            raise refusal("holds a matcher that is none", 'Write `{label="value"}`, with commas between them')
        at = match.end() + 1


_Length = StringConstraints(max_length=20_000)
SignalQuery = Annotated[str, _Length, AfterValidator(_check_signal_query)]
Query = Annotated[str, _Length, AfterValidator(_check_query)]


def is_per_deployment(query: str | None) -> bool:
    """Whether the query holds a placeholder that differs between deployments."""
    return query is not None and any(match[1] in (DEPLOYMENT, SELECTOR) for match in _PLACEHOLDER.finditer(query))


def unsplittable(query: str, labels: frozenset[str]) -> bool:
    """Whether the answer cannot be told apart by deployment: it aggregates, no `by (...)` keeps all of `labels`, no
    `without` stands there, and nothing is filled in per deployment."""
    code = _bare(query)
    if is_per_deployment(query) or not _AGGREGATION.search(code) or re.search(r"\bwithout\b", code):
        return False
    kept = [{name.strip() for name in match[1].split(",")} for match in _BY.finditer(code)]
    return not any(labels <= names for names in kept)


def escaped(value: str) -> str:
    """A label's value for between double quotes."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def selector(labels: Iterable[tuple[str, str]]) -> str:
    """`label="value",…` for between braces."""
    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels)


def words_of(name: str, labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What `$deployment` and `$selector` stand for in a query about a deployment of this name and these labels."""
    return {DEPLOYMENT: escaped(name), SELECTOR: selector(labels)}


def names_slice(query: str | None) -> bool:
    """Whether the query says where the matcher of a slice goes."""
    return query is not None and _SLICE.search(query) is not None


def sliced(query: str, matcher: str) -> str:
    """The query of one slice: its matcher (`country="DE"`) where `$slice` stands; of the whole, where it is empty."""
    return _SLICE.sub(lambda match: matcher + match[0][len("$slice") :] if matcher else "", query)


def fill(query: str, words: dict[str, str]) -> str:
    """The query with those placeholders filled in for which `words` has a text; the others stay."""
    return _PLACEHOLDER.sub(lambda match: words.get(match[1], match[0]), query)

"""Whatever stands in a file, the answer is a value or Problems that point into it; nothing else ever comes out."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rollback_console.errors import FileProblems
from rollback_console.policy import yaml_marks
from rollback_console.policy.explain import explain
from rollback_console.policy.load import check, parse_policy

DOCS = Path(__file__).parents[2] / "docs" / "policies.md"
BLOCKS = re.findall(r"```yaml\n(.*?)```", DOCS.read_text(), re.S)[1:]
WHOLE = [yaml_marks.parse(block.encode(), "f").data for block in BLOCKS]

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", "5m", "2%", "-1%", "a", "$window", "rate(x)", "x[5m", "and", "a/b", "http://[", "http://a:b@c"]
    ),
    st.sampled_from(
        ["last: x", "2027-01-31", "ssh-ed25519 AAAA", "ssh-ed25519 ====", "\u202e\x1b", "x" * 3_000, "{", "é"]
    ),
    st.lists(st.sampled_from(["a", 1, None]), max_size=2),
    st.dictionaries(st.sampled_from(["kind", "last", "env", "a", "\x1b"]), st.sampled_from([None, 1, "a"]), max_size=2),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        found += places(inner, (*path, step))
    return found


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), which=st.integers(0, len(WHOLE) - 1))
def test_any_change_to_a_file_loads_or_says_where_it_is_wrong(data: st.DataObject, which: int, tmp_path: Path) -> None:
    document = copy.deepcopy(WHOLE[which])
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(places(document)))
        holder = document
        for step in path:
            holder = holder[step]
        change = data.draw(st.sampled_from(["replace", "drop", "add"]))
        if change == "replace":
            holder[last] = data.draw(JUNK)
        elif change == "drop":
            del holder[last]
        elif isinstance(holder, dict):
            holder[data.draw(st.text(max_size=5))] = data.draw(JUNK)
        if not document:
            return
    text = json.dumps(document, indent=1)
    path_ = tmp_path / "f.yaml"
    path_.write_text(text)
    kind, problems = check(path_)
    rows = text.split("\n")
    for problem in problems:
        assert 1 <= problem.line <= len(rows)
        assert 1 <= problem.column <= len(rows[problem.line - 1]) + 1
        assert problem.message
        assert len(str(problem)) < 1_500
    if kind == "policy" and not any(problem.severity == "error" for problem in problems):
        assert explain(parse_policy(text.encode(), "f"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        found = yaml_marks.parse(data, "f").data
    except FileProblems as error:
        found = {"refused": error.problems} if error.problems else None
    assert isinstance(found, dict)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="a1:-[]{},&*!|>'\"#%@` \n\t?~.x", max_size=120))
def test_any_text_is_read_or_refused_within_itself(text: str) -> None:
    try:
        found = yaml_marks.parse(text.encode(), "f").data
    except FileProblems as error:
        for problem in error.problems:
            assert 1 <= problem.line <= text.count("\n") + 2
            assert problem.column >= 1
    else:
        assert isinstance(found, dict)


WORDS = st.lists(st.text(alphabet="abcü(", min_size=1, max_size=6), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(WORDS, st.sampled_from(["plain", "'", '"', "|", ">"]), st.data())
def test_a_character_of_a_text_is_found_in_the_file(words: list[str], style: str, data: st.DataObject) -> None:
    """In every style of YAML, over folds: the place of a character holds that character."""
    separators = data.draw(st.lists(st.sampled_from([" ", "\n    "]), min_size=len(words) - 1, max_size=len(words) - 1))
    body = words[0] + "".join(a + b for a, b in zip(separators, words[1:], strict=True))
    written = {"plain": body, "'": f"'{body}'", '"': f'"{body}"', "|": f"|\n    {body}", ">": f">-\n    {body}"}[style]
    document = yaml_marks.parse(f"top:\n  # a comment\n  key: {written}\nlast: 1\n".encode(), "f")
    value = document.data["top"]["key"]
    assert value.split() == words
    offset = data.draw(st.sampled_from([at for at, char in enumerate(value) if not char.isspace()]))
    line, column = document.within(("top", "key"), offset)
    assert document.text.split("\n")[line - 1][column - 1] == value[offset]
    before = sum(not char.isspace() for char in value[:offset])
    skipped = "".join(document.text.split("\n")[3 - 1 : line])  # from the line of the key on
    assert sum(not char.isspace() for char in skipped) >= before


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("12", 12), ("-3", -3), ("+4", 4),
        ("2.5", 2.5), (".5", 0.5), ("1e3", 1000.0), ("on", "on"), ("yes", "yes"), ("1:30", "1:30"), ("007", "007"),
        ("0x1f", "0x1f"), ("0o17", "0o17"), ("1_000", "1_000"), (".nan", ".nan"), (".inf", ".inf"), ("1e999", "1e999"),
        ("2024-01-01", "2024-01-01"), ("'12'", "12"), ('"true"', "true"), ("!!str 12", "12"), ("5m", "5m"),
        ("2%", "2%"), ("9" * 19, "9" * 19),
    ],
)  # fmt: skip
def test_only_what_is_plain_to_everyone_resolves(written: str, value: object) -> None:
    found = yaml_marks.parse(f"key: {written}\n".encode(), "f").data["key"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("written", ["[a]", "{a: b}", "3", "true", "2024"])
def test_a_schema_that_is_no_text_is_a_problem(written: str) -> None:
    with pytest.raises(FileProblems, match="schema: is not a schema of this program"):
        parse_policy(f"schema: {written}\n".encode(), "f")


def test_keys_are_text() -> None:
    assert yaml_marks.parse(b"on: 1\n1: 2\ntrue: 3\nnull: 4\n", "f").data == {"on": 1, "1": 2, "true": 3, "null": 4}

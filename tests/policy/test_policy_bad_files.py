"""Every bad file gives exactly the problems that stand beside it in `bad/`: place, words and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from policy_corpus import Case, cases

from rollback_console.errors import FileProblems
from rollback_console.policy.load import (
    check,
    load_operator,
    load_policy,
    load_roster,
    load_scenario,
    load_settings,
    parse_policy,
)

LOAD: dict[str, Callable[[Path], object]] = {
    "yaml": load_policy,
    "policy": load_policy,
    "settings": load_settings,
    "roster": load_roster,
    "operator": load_operator,
    "scenario": load_scenario,
}
CASES = cases()


def problems_of(case: Case, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.chdir(folder)
    Path("policy.yaml").write_text("a file that settings may name")
    Path("FILE").write_text(case.whole)
    with pytest.raises(FileProblems) as caught:
        LOAD[case.kind](Path("FILE"))
    return tuple(str(problem) for problem in caught.value.problems)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}")
def test_a_bad_file_says_where_what_and_the_remedy(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert case.problems
    assert problems_of(case, tmp_path, monkeypatch) == case.problems


def test_the_corpus_is_as_large_as_it_claims() -> None:
    assert len(CASES) >= 150
    assert {kind: sum(case.kind == kind for case in CASES) > 15 for kind in LOAD} == dict.fromkeys(LOAD, True)
    assert len({(case.kind, case.name) for case in CASES}) == len(CASES)


def test_no_message_repeats_a_secret() -> None:
    said = "\n".join(problem for case in CASES for problem in case.problems)
    for secret in ("hunter2", "eyJhbGciOi", "Bearer abc", "session=1", "b3BlbnNzaC1rZXktdjEAAAAA"):
        assert any(secret in case.text for case in CASES)
        assert secret not in said


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\xfes\x00c\x00", "f:1:1: the file is UTF-16. Save it as UTF-8"),
        (b"schema: x\nname: \xe9\n", "f:2:7: the byte 0xe9 is not UTF-8. Save the file as UTF-8"),
        (b"\x7fELF\x02\x01\x00", "f:1:1: the control character U+007F does not belong in a text file"),
        (b"SQLite format 3\x00", "f:1:16: the control character U+0000 does not belong in a text file"),
        (b"a: 1\n" * 1_000_001, "f:1:1: the file has 5,000,005 bytes, more than 5,000,000"),
        (b"[" * 300_000, "f:1:51: nested more than 50 deep"),
        (b"- " * 300_000, "f:1:101: nested more than 50 deep"),
    ],
    ids=["UTF-16", "Latin-1", "ELF", "SQLite", "5 MB", "300,000 brackets", "300,000 dashes"],
)
def test_bytes_that_are_no_text_are_one_problem(data: bytes, expected: str) -> None:
    with pytest.raises(FileProblems) as caught:
        parse_policy(data, "f")
    assert len(caught.value.problems) == 1
    assert str(caught.value).startswith(expected)


def test_an_alias_bomb_is_refused_before_it_opens() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(FileProblems, match="more than 500,000 values, aliases followed"):
        parse_policy("\n".join(lines).encode(), "f")


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(FileProblems, match=r"none\.yaml:1:1: cannot be read: No such file or directory"):
        load_policy(tmp_path / "none.yaml")
    with pytest.raises(FileProblems, match="1:1: cannot be read: Is a directory"):
        load_policy(tmp_path)


def test_a_byte_order_mark_and_windows_line_ends_move_no_column() -> None:
    text = "schema: rollback-console/policy/v1\r\nname: ranking\r\nversion: 1\r\nmode: actt\r\n"
    with pytest.raises(FileProblems) as caught:
        parse_policy(b"\xef\xbb\xbf" + text.encode(), "f")
    assert str(caught.value.problems[-1]).startswith("f:4:7: mode: is not observe, advise or act")


def test_check_tells_the_kind_by_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("schema: rollback-console/roster/v1\noperators: []\n")
    kind, problems = check(path)
    assert (kind, [str(problem) for problem in problems]) == (
        "roster",
        [f"{path}:2:1: operators: is empty. Write at least one"],
    )
    path.write_text("schema: other/v1\n")
    kind, problems = check(path)
    assert kind == ""
    assert "is not a schema of this program" in problems[0].message
    path.write_text("a: 1\n")
    assert check(path)[1][0].path == "schema"

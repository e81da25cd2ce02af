"""Files of marked incidents: what they say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollback_console.errors import FileProblems
from rollback_console.model.backtest import Mark
from rollback_console.model.identity import DeploymentId
from rollback_console.policy.marks import load_marks

RANKER, SEARCH, STAGED = (
    DeploymentId("production", "ranker"),
    DeploymentId("production", "search"),
    DeploymentId("staging", "search"),
)
KNOWN = (RANKER, SEARCH, STAGED)
YAML = """\
incidents:
  - {deployment: production/search, from: 2025-11-20T14:00:00Z, to: 2025-11-20T15:00:00Z}
  - deployment: ranker
    from: 1763640000
    to: "2025-11-20T13:00:00+01:00"
"""
MARKS = (Mark(RANKER, 1_763_640_000.0, 1_763_640_000.0), Mark(SEARCH, 1_763_647_200.0, 1_763_650_800.0))


def marks(tmp_path: Path, text: str) -> tuple[Mark, ...]:
    path = tmp_path / "incidents"
    path.write_text(text)
    return load_marks(path, KNOWN)


def refused(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(FileProblems) as caught:
        marks(tmp_path, text)
    return [line.removeprefix(f"{tmp_path / 'incidents'}:") for line in str(caught.value).splitlines()]


def test_yaml_and_csv_say_the_same(tmp_path: Path) -> None:
    assert marks(tmp_path, YAML) == MARKS
    assert marks(tmp_path, "schema: rollback-console/incidents/v1\n" + YAML) == MARKS
    assert marks(tmp_path, "deployment,from,to,note\nproduction/search,2025-11-20T14:00:00Z,2025-11-20T15:00:00Z,\n\n"
                 'ranker,1763640000,2025-11-20T12:00:00Z,"a, b"\n') == MARKS  # fmt: skip
    assert marks(tmp_path, "incidents: []\n") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: 1\n", ["1:1: incidents: is missing, or no list. Write `incidents:` and below it lines as `- {deployment: "
                    "…, from: …, to: …}`",
                    "1:1: x: is not a key here. Write `incidents:` and below it lines as `- {deployment: …, from: …, "
                    "to: …}`"]),
        ("incidents: [3]\n", ["1:13: incidents[0]: is not a mapping. Write `incidents:` and below it lines as `- "
                              "{deployment: …, from: …, to: …}`"]),
        ("incidents:\n  - {deployment: rankr, from: 5, to: 4, why: x}\n", [
            "2:18: incidents[0].deployment: the policy has no deployment rankr. Did you "
            "mean ranker",
            "2:38: incidents[0].to: is earlier than `from`. Turn them round",
            "2:41: incidents[0].why: is not a key here. They are deployment, from and to"]),
        ("incidents:\n  - {deployment: search, from: noon}\n", [
            "2:5: incidents[0].to: is missing. Write `to: 2026-11-20T09:00:00Z`",
            "2:18: incidents[0].deployment: search is in more than one environment. Write production/search",
            "2:32: incidents[0].from: noon is not a time. Write it as 2026-11-20T09:00:00Z, or in Unix seconds"]),
        ("deployment,from\n", ["1:1: the header has no column `to`. The first line is deployment,from,to"]),
        ("deployment,from,to\nranker,5\nranker,,2025-11-20T14:00:00\n", [
            "2:1: has 2 fields, the header has 3. Write one for each column",
            "3:8: from: is missing. Write `from: 2026-11-20T09:00:00Z`",
            "3:9: to: 2025-11-20T14:00:00 has no time zone. End it with Z where it is in UTC, or with +01:00"]),
    ],
)  # fmt: skip
def test_everything_wrong_is_said_at_once(tmp_path: Path, text: str, says: list[str]) -> None:
    assert refused(tmp_path, text) == says


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileProblems, match="cannot be read"):
        load_marks(tmp_path / "none", KNOWN)

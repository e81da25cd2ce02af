"""The drafts under docs/examples/ are what the program makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from examples import EXAMPLES, FOLDER, Example, made


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.scenario)
def test_the_committed_drafts_are_what_the_program_makes(example: Example, tmp_path: Path) -> None:
    """`python -m tests.review.examples --write` writes them anew."""
    found = dict(made(example, tmp_path))
    assert set(found) == {f"{example.scenario}/{name}.md" for name in ("postmortem", "internal", "external")}
    for name, text in found.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"{name} is no longer what the program makes"


def test_there_are_three_and_no_others() -> None:
    assert {path.parent.name for path in FOLDER.glob("*/*.md")} == {example.scenario for example in EXAMPLES}
    assert len(EXAMPLES) == 3


def test_the_command_knows_its_words() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "tests.review.examples", "--help"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--write" in done.stdout

"""Runbooks are found in folders, by name; the shipped ones are in order."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rollback_console.actions import BY_ID
from rollback_console.errors import InputError
from rollback_console.model.walk import StepKind
from rollback_console.runbook.library import Library, find, shipped_folder

SHIPPED = ["blind-telemetry", "model-version-rollback", "rollback-of-a-rollback", "upstream-fault"]


def _write(path: Path, text: str = "1. a\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_folders_are_searched_below_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("b.md", "a/c.md", "a/D.MD", ".hidden/x.md", "a/.x.md", "note.txt"):
        _write(tmp_path / name)
    assert [path.relative_to(tmp_path).as_posix() for path in find(tmp_path)] == ["b.md", "a/D.MD", "a/c.md"]


def test_loops_and_second_ways_in_are_read_once(tmp_path: Path) -> None:
    _write(tmp_path / "a" / "x.md")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "z").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert [path.name for path in find(tmp_path)] == ["x.md"]


def test_names(tmp_path: Path) -> None:
    _write(tmp_path / "team" / "restart.md", "# Ours\n\n1. a\n")
    _write(tmp_path / "other" / "restart.md")
    _write(tmp_path / "team" / "only.md")
    library = Library([tmp_path])
    assert library.get("only").name == "team/only"
    assert library.get("team/restart.md").title == "Ours"
    assert library.get("model-version-rollback.md").title == "Model version rollback"
    assert library.get(str(tmp_path / "team" / "only.md")).name == "only"
    with pytest.raises(InputError, match=r"say which: other/restart, team/restart"):
        library.get("restart")
    with pytest.raises(InputError, match="did you mean upstream-fault"):
        library.get("upstream-falt")
    with pytest.raises(InputError, match="runbook list"):
        library.get("\x1b[2Jzzzzzzzzzzzzzz")


def test_the_teams_own_hides_the_shipped_one(tmp_path: Path) -> None:
    _write(tmp_path / "upstream-fault.md", "# Ours\n")
    assert Library([tmp_path]).get("upstream-fault").title == "Ours"
    assert [runbook.name for runbook in Library([tmp_path], shipped=False).all()] == ["upstream-fault"]


def test_a_file_is_parsed_again_only_when_it_changed(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.md")
    library = Library([tmp_path], shipped=False)
    first = library.get("a")
    assert library.get("a") is first
    path.write_text("1. a\n2. b\n", "utf-8")
    assert len(library.get("a").steps) == 2


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    _write(tmp_path / "well.md")
    found = {runbook.name: runbook for runbook in Library([tmp_path], shipped=False).all()}
    assert found["well"].steps
    assert "No such file" in found["gone"].problems[0].message
    assert "pipe" not in found, "a pipe is no file: reading it would wait for ever"


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert Library([tmp_path / "nowhere"], shipped=False).all() == ()


def test_the_shipped_runbooks_have_no_problem_and_know_their_acts() -> None:
    runbooks = Library().all()
    assert [runbook.name for runbook in runbooks] == SHIPPED
    for runbook in runbooks:
        assert runbook.problems == ()
        assert 8 <= len(runbook.steps) <= 16, "short enough for three in the morning"
        kinds = {step.kind for step in runbook.steps}
        assert {StepKind.ACT, StepKind.CHECK} <= kinds
        assert any(step.commands for step in runbook.steps)
        assert any(step.role == "commander" for step in runbook.steps)
        assert all(step.act in BY_ID for step in runbook.steps if step.act)


def test_only_the_rollbacks_roll_back() -> None:
    acts = {runbook.name: {step.act for step in runbook.steps} for runbook in Library().all()}
    assert {name for name, found in acts.items() if "rollback" in found} == {
        "model-version-rollback",
        "rollback-of-a-rollback",
    }


def test_the_runbooks_that_are_named_exist() -> None:
    folder = shipped_folder()
    assert folder is not None
    for path in find(folder):
        text = path.read_text("utf-8")
        for name in SHIPPED:
            if f"`{name}`" in text:
                assert (folder / f"{name}.md").is_file()


@pytest.mark.real
def test_the_shipped_queries_are_promql(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool comes with Debian's prometheus"
    queries = [check for runbook in Library().all() for step in runbook.steps for check in step.checks]
    filled = [query.replace("$selector", 'deployment="ranker"') for query in queries]
    rules = "".join(f"  - record: check:{index}\n    expr: |\n      {query}\n" for index, query in enumerate(filled))
    path = _write(tmp_path / "rules.yml", f"groups:\n- name: runbooks\n  rules:\n{rules}")
    done = subprocess.run([promtool, "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(queries)} rules found" in done.stdout

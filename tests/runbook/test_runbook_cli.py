"""`runbook check|list|show` as scripts and people see them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rollback_console.cli.runbook import command
from rollback_console.errors import InputError

FIELDS = {"file", "title", "steps", "problems"}
STEP_FIELDS = {"id", "title", "line", "kind", "commands", "checks", "role"}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.delenv("ROLLBACK_CONSOLE_CONFIG", raising=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "docs" / ".git").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# A\n\n1. Check it (role: lead)\n\n   ```sh\n   $ ls\n   ```\n", "utf-8")
    (tmp_path / "docs" / "deep" / "b.md").write_text("# \x1b[31mB\n\n[x](console:rolback)\n", "utf-8")
    (tmp_path / "docs" / ".git" / "c.md").write_text("", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check_prints_paths_as_given_plus_relative(folder: Path) -> None:
    done = CliRunner().invoke(command, ["check", "docs", "./docs/a.md", "--json"])
    facts = json.loads(done.stdout)
    assert [fact["file"] for fact in facts] == ["docs/a.md", "docs/deep/b.md", "./docs/a.md"]
    assert done.exit_code == 1
    for fact in facts:
        assert set(fact) >= FIELDS
        assert all(set(step) >= STEP_FIELDS for step in fact["steps"])
    step = facts[0]["steps"][0]
    assert (step["id"], step["line"], step["kind"], step["commands"], step["role"]) == (
        "check-it", 3, "command", ["ls"], "lead",
    )  # fmt: skip
    assert facts[1]["problems"] == [
        {"line": 3, "severity": "error", "message": "'rolback' is none of the console's acts; did you mean 'rollback'?"}
    ]


def test_check_for_people_is_plain_and_warnings_pass(folder: Path) -> None:
    done = CliRunner().invoke(command, ["check", "docs"])
    assert "docs/deep/b.md:3: error: 'rolback'" in done.stdout
    assert "\x1b" not in done.stdout
    (folder / "w.md").write_text("# A\n\n```\nls <dir>\n```\n", "utf-8")
    done = CliRunner().invoke(command, ["check", "w.md"])
    assert (done.exit_code, "1 warning" in done.stdout) == (0, True)


def test_check_of_nothing_says_so(folder: Path) -> None:
    (folder / "none").mkdir()
    done = CliRunner().invoke(command, ["check", "none", "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (0, [])
    assert "no *.md" in done.stderr
    done = CliRunner().invoke(command, ["check", "nowhere"])
    assert isinstance(done.exception, InputError)
    assert CliRunner().invoke(command, ["check"]).exit_code == 2


def test_list() -> None:
    facts = json.loads(CliRunner().invoke(command, ["list", "--json"]).stdout)
    assert [fact["name"] for fact in facts] == [
        "blind-telemetry", "model-version-rollback", "rollback-of-a-rollback", "upstream-fault",
    ]  # fmt: skip
    lines = CliRunner().invoke(command, ["list"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == [fact["name"] for fact in facts]


def test_show_numbers_the_steps_and_is_plain(folder: Path) -> None:
    shown = CliRunner().invoke(command, ["show", "upstream-fault"]).stdout
    assert "1. Upstream fault: do not roll back" in shown
    assert "[act: copy_summary]" in shown
    assert "[role: commander]" in shown
    hostile = CliRunner().invoke(command, ["show", "docs/deep/b.md"]).output
    assert "\x1b" not in hostile
    with pytest.raises(InputError, match="did you mean"):
        CliRunner().invoke(command, ["show", "upstream"], catch_exceptions=False)


def test_the_settings_folders_come_first(folder: Path) -> None:
    (folder / "ours").mkdir()
    (folder / "ours" / "upstream-fault.md").write_text("# Our way\n\n1. a\n", "utf-8")
    (folder / "p.yaml").write_text("{}\n", "utf-8")
    (folder / "settings.yaml").write_text(
        "schema: rollback-console/settings/v1\nrunbooks: [ours]\npolicies: [p.yaml]\n"
        "prometheus: {url: 'http://localhost:9090'}\nregistry: {kind: mlflow, url: 'http://localhost:5000'}\n",
        "utf-8",
    )
    done = CliRunner().invoke(command, ["show", "upstream-fault", "--config", "settings.yaml", "--json"])
    assert done.exception is None, done.exception
    assert json.loads(done.stdout)["title"] == "Our way"


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["list", "--help"], ["show", "--help"]])
def test_every_help_has_an_example(arguments: list[str]) -> None:
    assert "Example" in CliRunner().invoke(command, arguments).stdout

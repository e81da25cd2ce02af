"""The documents are true: what they tell people to type exists and is run by a test, what they point to is there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt

from docs_reading import COMMANDS, ROOT, Block, blocks_of, documents
from rollback_console.actions import ACTIONS, BY_ID
from rollback_console.cli.main import group, run
from rollback_console.policy.load import parse_policy
from rollback_console.rehearse.demo import demo_setup
from rollback_console.tui.keys import SHELL_KEYS

_FRESH, _LIVE = "tests/cli/test_cli_fresh_install.py", "tests/cli/test_cli_live.py"
_BACKTEST = "tests/cli/test_cli_backtest.py"
_REHEARSE = "tests/cli/test_cli_rehearse.py"
_DRILLS = "rollback-console rehearse ci/scenarios --headless --policy policies/shop.yaml"
_HUB = "tests/hub/test_hub_document.py"
# Every block of commands, by its document and how it begins, and the test that runs it.
RUN_BY = {
    ("README.md", "make demo"): ("tests/test_docs.py", "make_demo_runs_the_demo"),
    ("README.md", "pipx install ."): (
        "tests/cli/test_cli_fresh_install.py",
        "the_installed_program_runs_from_elsewhere",
    ),
    ("README.md", "rollback-console init"): (
        "tests/cli/test_cli_live.py",
        "first_live_use_exactly_as_the_readme_has_it",
    ),
    ("README.md", "rollback-console rehearse"): ("tests/test_docs.py", "the_readmes_drill_runs_as_it_stands"),
    ("README.md", "eval"): ("tests/test_docs.py", "completion_as_the_readme_has_it"),
    ("docs/journal-format.md", "set -eu"): (
        "tests/journal/test_journal_format.py",
        "the_shell_commands_verify_an_entry",
    ),
    ("docs/journal-format.md", "sql()"): (
        "tests/journal/test_journal_format.py",
        "the_commands_verify_what_a_person_signed",
    ),
    ("docs/backtest.md", "rollback-console backtest policy.yaml --from"): (
        _BACKTEST,
        "the_document_is_run_as_it_stands",
    ),
    ("docs/backtest.md", "rollback-console backtest policy.yaml --samples"): (
        _BACKTEST,
        "the_document_is_run_as_it_stands",
    ),
    ("docs/backtest.md", "rollback-console backtest policy.yaml --sweep"): (
        _BACKTEST,
        "the_document_is_run_as_it_stands",
    ),
    ("docs/decision-quality.md", "python -m tests.quality"): (
        "tests/quality/test_quality_tables.py",
        "the_command_measures_what_deciding_costs_and_says_so",
    ),
    ("docs/hub.md", "rollback-console hub serve"): (_HUB, "the_first_five_minutes_and_a_backup"),
    ("docs/hub.md", "rollback-console hub enrol"): (_HUB, "the_first_five_minutes_and_a_backup"),
    ("docs/hub.md", "rollback-console hub join"): (_HUB, "the_first_five_minutes_and_a_backup"),
    ("docs/hub.md", "rollback-console hub devices"): (_HUB, "the_first_five_minutes_and_a_backup"),
    ("docs/hub.md", "rollback-console hub backup"): (_HUB, "the_first_five_minutes_and_a_backup"),
    ("docs/hub.md", "rollback-console hub restore"): (_HUB, "the_first_five_minutes_and_a_backup"),
    ("docs/hub.md", "rollback-console hub migrate"): (_HUB, "a_team_on_postgresql_its_backup_and_its_restore"),
    ("docs/hub.md", "pg_dump"): (_HUB, "a_team_on_postgresql_its_backup_and_its_restore"),
    ("docs/hub.md", "pg_restore"): (_HUB, "a_team_on_postgresql_its_backup_and_its_restore"),
    ("docs/policies.md", "rollback-console policy import"): (
        "tests/policy/test_policy_import.py",
        "the_commands_of_the_documents_answer_as_they_have_it",
    ),
    ("docs/evidence-library.md", f"{_DRILLS} --junit"): (
        _REHEARSE,
        "the_document_is_run_as_it_stands",
    ),
    ("docs/evidence-library.md", f"{_DRILLS} --runs 200 --library"): (
        _REHEARSE,
        "the_document_is_run_as_it_stands",
    ),
    ("docs/evidence-library.md", f"{_DRILLS} --runs 200 --refresh"): (
        _REHEARSE,
        "the_document_is_run_as_it_stands",
    ),
    ("docs/evidence-library.md", "rollback-console report evidence"): (_REHEARSE, "the_document_is_run_as_it_stands"),
    ("docs/measures.md", "rollback-console report rollback-rate"): (
        "tests/cli/test_cli_report.py",
        "the_document_is_run_as_it_stands",
    ),
    ("docs/scenarios.md", "rollback-console policy check scenario.yaml"): (
        "tests/rehearse/test_rehearse_scenario_document.py",
        "the_document_is_run_as_it_stands",
    ),
    ("docs/speed.md", "python -m tests.benchmarks"): ("tests/test_docs.py", "the_benchmarks_take_what_speed_says"),
}
OUR_ENVIRONMENT = re.compile(r"\b_?ROLLBACK_CONSOLE_[A-Z_]+|\bUPDATE_[A-Z]+")


def _text(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _code(document: str) -> list[str]:
    """Everything set as code: inline, and line by line in blocks of commands."""
    inline = [
        child.content
        for token in MarkdownIt().enable("table").parse(_text(document))
        for child in token.children or ()
        if child.type == "code_inline"
    ]
    return inline + [command for block in _blocks(document) for command in block.commands]


def _blocks(document: str) -> list[Block]:
    """Blocks of commands; one without a language counts where it begins like a command."""
    first = ("rollback-console", "make ", "python -m ", "pipx ", "$ ")
    return [
        block
        for block in blocks_of(document)
        if block.language in COMMANDS or (not block.language and block.text.startswith(first))
    ]


# -- commands ---------------------------------------------------------------------------------------------------------


def test_every_block_of_commands_is_run_by_a_test_that_exists() -> None:
    listed = set(RUN_BY)
    for document in documents():
        for block in _blocks(document):
            (known,) = [key for key in RUN_BY if key[0] == document and block.commands[0].startswith(key[1])]
            listed.discard(known)
    assert listed == set()  # no entry outlives its block
    for path, name in RUN_BY.values():
        assert re.search(rf"^def test_{name}\(", (ROOT / path).read_text(), re.MULTILINE), name


def _command(words: list[str]) -> tuple[click.Command, list[str]] | None:
    """The command that `words` name, and the words left; None where the first is no command of ours."""
    command: click.Command = group
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            return command, words
        below = command.get_command(click.Context(command), words[0])
        if below is None:
            return None
        command, words = below, words[1:]
    return command, words


def _flags(command: click.Command) -> set[str]:
    return {"--help", "-h"} | {each for parameter in command.params for each in parameter.opts}


EVERY_FLAG: set[str] = set()


def _collect(command: click.Command) -> None:
    EVERY_FLAG.update(_flags(command))
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            below = command.get_command(click.Context(command), name)
            assert below is not None
            _collect(below)


_collect(group)
# Flags of other people's programs that our documents name, in code that is theirs.
OTHERS = {"--silent", "--fail", "--workers", "--quick", "--json", "--write", "--storage.tsdb.retention.time"}


@pytest.mark.parametrize("document", documents())
def test_every_command_and_flag_that_is_named_exists(document: str) -> None:
    named = 0
    for code in _code(document):
        words = code.split()
        if "rollback-console" in words:
            words = words[words.index("rollback-console") + 1 :]
        elif words and words[0] in group.list_commands(click.Context(group)) and len(words) > 1:
            pass  # `policy check FILE`: a command without the program's name
        elif words and words[0].startswith("--"):
            assert words[0].split("=")[0] in EVERY_FLAG | OTHERS, f"{document}: {code}"
            continue
        else:
            continue
        words = [re.sub(r"[|…].*$", "", word.strip('.,;:()"')) for word in words]
        found = _command([word for word in words if word])
        assert found is not None, f"{document}: `{code}` is no command"
        command, rest = found
        for word in rest:
            if word.startswith("--"):
                assert word.split("=")[0] in _flags(command), f"{document}: `{code}`: {word}"
        named += 1
    if document == "README.md":
        assert named >= 10


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", _text("Makefile"), re.MULTILINE))
    for document in documents():
        for code in _code(document):
            if match := re.fullmatch(r"make ([a-z]+)", code):
                assert match[1] in targets, f"{document}: {code}"


def test_every_variable_that_is_named_is_read_somewhere() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    sources += "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))
    for document in documents():
        for name in OUR_ENVIRONMENT.findall(_text(document)):
            assert name in sources, f"{document}: {name}"


# -- what is pointed to -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(document)):
        if re.match(r"[a-z]+://", target):
            continue
        if target.startswith("console:"):  # a runbook's link to an act of the console
            assert target.removeprefix("console:").split("/")[0] in BY_ID
            continue
        path, _, anchor = target.partition("#")
        there = (ROOT / document).parent / path if path else ROOT / document
        assert there.exists(), f"{document}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}


@pytest.mark.parametrize("document", documents())
def test_every_file_that_is_named_is_there(document: str) -> None:
    source = ROOT / "src" / "rollback_console"
    for code in _code(document):
        if re.fullmatch(r"(src|tests|docs|tools|runbooks|screenshots)(/[\w.-]+)*/?", code):
            assert (ROOT / code).exists(), f"{document}: {code}"
        elif re.fullmatch(r"[a-z_]+/[a-z_/]*[a-z_]+\.py", code) and (source / code.split("/")[0]).is_dir():
            assert (source / code).exists(), f"{document}: {code}"


def test_the_readmes_tree_is_the_tree() -> None:
    (tree,) = [block.text for block in blocks_of("README.md") if "src/rollback_console/" in block.text]
    inside = set(re.findall(r"^  ([a-z_]+)/", tree, re.MULTILINE))
    packages = {path.parent.name for path in (ROOT / "src" / "rollback_console").glob("*/__init__.py")}
    assert inside == packages
    for top in re.findall(r"^([a-z]+)/", tree, re.MULTILINE):
        assert (ROOT / top).is_dir()


def test_the_readme_is_short_and_names_every_document() -> None:
    text = _text("README.md")
    assert len(text.splitlines()) <= 150
    for document in documents():
        if document != "README.md":
            assert f"({document})" in text


# -- what is claimed --------------------------------------------------------------------------------------------------


def test_the_demo_is_the_one_the_readme_describes() -> None:
    from rollback_console.clock import VirtualClock

    setup = demo_setup(7, 1_780_000_200.0, VirtualClock(1_780_000_200.0))
    rules = parse_policy(setup.policy_bytes, setup.policy_name).rules
    words = {14: "Fourteen", 4: "Four"}
    shared = [rule for rule in rules if "feature-view/user-activity" in rule.deployment.depends_on]
    text = _text("README.md")
    assert f"{words[len(rules)]} deployments" in text
    assert f"{words[len(shared)]} others have fired together" in text
    story = text.partition("## The demo")[2].partition("\n## ")[0]
    names = {rule.deployment.id.name for rule in rules}
    assert {"checkout-ranker", "support-triage"} <= names & set(re.findall(r"`([a-z-]+)`", story))
    keys = {act.key for act in ACTIONS} | {key.shown for key in SHELL_KEYS} | {key.key for key in SHELL_KEYS} | {"2"}
    told = set(re.findall(r"`([a-z]|\+|\?|\d|enter|space|ctrl\+[a-z])`", story))
    assert {"enter", "2", "b", "r", "x", "t", "+", "space", "?", "ctrl+p", "q"} == told
    assert told <= keys


def test_make_demo_runs_the_demo() -> None:
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        ["make", "--dry-run", "--always-make", "demo"], cwd=ROOT, capture_output=True, text=True, check=True, env=alone
    )
    assert done.stdout.splitlines()[-1] == ".venv/bin/rollback-console demo"
    tested = subprocess.run(
        ["make", "--dry-run", "test"], cwd=ROOT, capture_output=True, text=True, check=True, env=alone
    )
    assert "pytest" in tested.stdout.splitlines()[-1]


def test_the_readmes_drill_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has a screen says that it needs one (tests/e2e plays a drill in a real terminal); the rest answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (block,) = [each for each in _blocks("README.md") if "rehearse" in each.commands[0]]
    codes, said = [], ""
    for command in block.commands:
        codes.append(run(shlex.split(command, comments=True)[1:]))
        shown = capsys.readouterr()
        said += shown.out + shown.err
    assert codes == [2, 0, 0, 2, 0]
    assert said.count("a screen needs a terminal") == 2
    assert "PASSED: blip by perfect" in said
    assert "rehearsal" in said.partition("PASSED")[2]


def test_completion_as_the_readme_has_it(tmp_path: Path) -> None:
    """In a real bash: what the line defines offers our commands."""
    (line,) = [c for b in _blocks("README.md") for c in b.commands if "bash_source" in c]
    script = (
        f"{line}\ncomplete -p rollback-console\nCOMP_WORDS=(rollback-console jour) COMP_CWORD=1\n"
        "_rollback_console_completion rollback-console\necho ${COMPREPLY[@]}\n"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "journal"
    assert done.stderr == ""


def test_the_benchmarks_take_what_speed_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    (block,) = _blocks("docs/speed.md")
    for command in block.commands:
        for flag in re.findall(r"--[a-z]+", command):
            assert flag in done.stdout

"""The command line's contract: names, exit codes, JSON fields and types, what goes to stdout and what to stderr."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest

from rollback_console.cli.main import COMMANDS, group, run

RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
CONTRACT = {
    "demo", "status", "watch", "rollback", "adopt", "summary", "executions", "resume", "abort", "init", "policy",
    "runbook", "rehearse", "review", "journal", "identity", "whoami", "doctor", "backtest", "hub",
}  # fmt: skip
CONTRACT |= {"report"}  # what journals tell
CONTRACT |= {"baseline", "expect", "hold"}  # what a person declares by hand, and keeps from going by itself
CONTRACT |= {"judge"}  # what a person makes of it afterwards
SUBCOMMANDS = {
    "baseline": {"exclude", "list", "restore"},
    "policy": {"check", "schema", "explain", "import", "diff"},
    "runbook": {"check", "list", "show"},
    "journal": {
        "verify", "list", "show", "note", "export", "status", "sync", "merge", "rotate", "prune",
    },
    "identity": {"init", "show"},
    "report": {
        "postmortem", "message", "rollback-rate", "history", "coverage", "calibration", "criteria", "evidence",
        "practice",
    },
    "hub": {"serve", "migrate", "enrol", "devices", "revoke", "evidence", "backup", "restore", "join"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody's settings: an empty home, and a current folder that holds nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    for name in (
        "ROLLBACK_CONSOLE_CONFIG",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "SSH_AUTH_SOCK",
        "ROLLBACK_CONSOLE_KEY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of one headless drill: an incident, a rollback, a recovery."""
    path = tmp_path_factory.mktemp("drill") / "drill.db"
    assert run(["rehearse", "demo", "--headless", "--seed", "3", "--journal", str(path)]) == 0
    return path


def _every(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if path:
        yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _every(below, (*path, name))


EVERY = dict(_every(group))


def test_the_commands_are_those_of_the_contract_and_pretend_nothing() -> None:
    assert set(COMMANDS) == CONTRACT | {"console"}
    for family, names in SUBCOMMANDS.items():
        assert {path[1] for path in EVERY if len(path) == 2 and path[0] == family} == names
    for later in ("approve", "deny", "login", "handover", "requests"):
        assert later not in COMMANDS


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_helps_with_an_example_that_parses(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in ("--help", "-h") if len(path) == 1 else ("--help",):
        assert run([*path, flag]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert "Example: rollback-console" in " ".join(said.out.split())
        assert max(map(len, said.out.splitlines())) <= 80
    text = " ".join(said.out.split())
    named = re.search(r"Example: rollback-console ([a-z]+)", text)
    assert named is not None
    assert named[1] in COMMANDS or path == ("console",)
    if named[1] in COMMANDS:
        for option in re.findall(r"(?<=\s)--[a-z-]+", text.split("Example:")[1].split("|")[0]):
            words = re.search(r"rollback-console ([a-z]+)(?: ([a-z-]+))?", text.split("Example:")[1])
            assert words is not None
            command = EVERY.get((words[1], words[2] or ""), EVERY[(words[1],)])
            assert option in {each for parameter in command.params for each in parameter.opts}


def _options(path: tuple[str, ...]) -> set[str]:
    return {each for parameter in EVERY[path].params for each in parameter.opts}


def test_what_reads_a_journal_takes_one_and_what_prints_facts_prints_json() -> None:
    journals = [
        "console",
        "status",
        "watch",
        "rollback",
        "adopt",
        "executions",
        "resume",
        "abort",
        "summary",
        "rehearse",
    ]
    for name in journals:
        assert "--journal" in _options((name,)), name
    for name in SUBCOMMANDS["journal"]:
        assert "--journal" in _options(("journal", name)), name
    for path in (
        ("status",), ("watch",), ("rollback",), ("executions",), ("summary",), ("rehearse",), ("review",), ("doctor",),
        ("whoami",), ("identity", "show"), ("runbook", "check"), ("runbook", "list"), ("policy", "check"),
        ("journal", "verify"), ("journal", "list"), ("journal", "show"), ("journal", "status"), ("backtest",),
    ):  # fmt: skip
        assert "--json" in _options(path), path
    assert {"--to", "--path", "--reason", "--plan", "--digest", "--yes"} <= _options(("rollback",))
    assert {"--headless", "--operator", "--seed", "--speed", "--list"} <= _options(("rehearse",))
    assert {"--for", "--reason", "--end", "--list", "--json", "--journal"} <= _options(("expect",))
    assert {"--from", "--to", "--all", "--reason", "--json", "--journal"} <= _options(("baseline", "exclude"))
    assert {
        "--root-cause", "--right", "--wrong", "--cannot-tell", "--counts-as", "--expected", "--actual", "--deviation",
        "--margins", "--gate", "--lesson", "--published", "--supersedes", "--follow-up", "--owner", "--due", "--done",
        "--drop", "--reason", "--tags", "--show", "--list", "--json", "--journal", "--config",
    } <= _options(("judge",))  # fmt: skip
    assert {"--decisions", "--json"} <= _options(("journal", "verify"))
    assert {"--format", "--output"} <= _options(("journal", "export"))


# -- JSON: names and types --------------------------------------------------------------------------------------------


def _json(capsys: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> Any:
    assert run(words) == code
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def test_journal_verify_as_json(drill: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = _json(capsys, ["journal", "verify", str(drill), "--decisions", "--json"])
    assert facts["ok"] is True
    assert isinstance(facts["entries"], int)
    assert facts["entries"] > 50
    assert facts["first_bad_seq"] is None
    assert facts["problems"] == []
    assert facts["decisions"] > 0
    assert facts["rehearsal"] is True


def test_journal_verify_names_the_first_bad_entry(
    drill: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.db"
    bad.write_bytes(drill.read_bytes())
    with sqlite3.connect(bad) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE entries SET operator = 'somebody' WHERE seq = 17")
    database.close()
    facts = _json(capsys, ["journal", "verify", str(bad), "--json"], code=1)
    assert facts["ok"] is False
    assert facts["first_bad_seq"] == 17
    assert {"seq", "message"} <= set(facts["problems"][0])
    assert run(["journal", "verify", str(bad)]) == 1
    assert "the first bad entry is 17" in capsys.readouterr().out


def test_executions_as_json(drill: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = _json(capsys, ["executions", "--json", "--journal", str(drill)])
    (one,) = facts
    assert one["id"].startswith("ex-")
    assert one["state"] == "done"
    assert one["deployment"] == "production/checkout-ranker"
    assert (one["from"], one["to"]) == ("8", "7")
    assert len(one["plan"]) == 64
    for at in (one["started_at"], one["ended_at"], *(step["started_at"] for step in one["steps"])):
        assert RFC3339.fullmatch(at)
        datetime.fromisoformat(at)
    assert {"name", "title", "state", "started_at", "ended_at", "detail"} <= set(one["steps"][0])
    assert _json(capsys, ["executions", "--unfinished", "--json", "--journal", str(drill)]) == []


def test_runbook_check_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "one.md").write_text("# Title\n\n1. Look\n\n   ```sh\n   uptime\n   ```\n2. Act\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.md").write_text("# No\n")
    (facts,) = _json(capsys, ["runbook", "check", "below", "--json"])
    assert set(facts) >= {"file", "title", "steps", "problems"}
    assert facts["file"] == "below/one.md"  # as given, plus relative
    assert facts["title"] == "Title"
    first = facts["steps"][0]
    assert set(first) >= {"id", "title", "line", "kind", "commands", "checks", "role"}
    assert (first["line"], first["commands"]) == (3, ["uptime"])
    assert [type(first[name]) for name in ("id", "title", "kind", "checks")] == [str, str, str, list]
    every = _json(capsys, ["runbook", "check", ".", "--json"])
    assert [each["file"] for each in every] == ["./below/one.md"]


def test_rehearse_as_json_and_its_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = _json(capsys, ["rehearse", "--list", "--json"])
    assert [set(each) >= {"name", "title", "class", "right"} for each in listed] == [True] * len(listed)
    words = ["rehearse", "demo", "--headless", "--operator", "careless", "--seed", "3", "--json"]
    facts = _json(capsys, [*words, "--journal", str(tmp_path / "careless.db")], code=1)
    assert facts["journal"] == str(tmp_path / "careless.db")
    assert (facts["scenario"], facts["operator"], facts["seed"]) == ("demo", "careless", 3)
    assert facts["passed"] is False
    assert run([*words, "--journal", str(tmp_path / "careless.db")]) == 2  # a drill never appends to another's journal
    assert "a drill makes its own journal" in capsys.readouterr().err


def test_the_same_seed_is_the_same_journal_to_the_byte(
    drill: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    again = tmp_path / "again.db"
    assert run(["rehearse", "demo", "--headless", "--seed", "3", "--journal", str(again)]) == 0
    capfdbinary.readouterr()
    exported = []
    for path in (drill, again):
        out = tmp_path / f"{len(exported)}.jsonl"
        assert run(["journal", "export", "--format", "jsonl", "--journal", str(path), "--output", str(out)]) == 0
        exported.append(out.read_bytes())
    assert exported[0] == exported[1]
    assert run(["journal", "verify", str(tmp_path / "0.jsonl")]) == 0


def test_the_journal_streams_json_lines(drill: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["journal", "list", "--json", "--limit", "7", "--journal", str(drill)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 7
    assert all(set(line) >= {"seq", "at", "kind", "deployment", "operator", "text", "hash"} for line in lines)
    assert all(RFC3339.fullmatch(line["at"]) for line in lines)
    shown = _json(capsys, ["journal", "show", "1", "--json", "--journal", str(drill)])
    assert shown["kind"] == "genesis"
    told = _json(capsys, ["review", str(drill), "--json"])
    assert told["verified"] is True
    assert told["timeline"]


def test_doctor_and_whoami_as_json_without_any_settings(capsys: pytest.CaptureFixture[str]) -> None:
    findings = _json(capsys, ["doctor", "--json"], code=1)
    assert all(set(each) == {"name", "ok", "detail", "remedy"} for each in findings)
    missing = next(each for each in findings if each["name"] == "settings")
    assert missing["ok"] is False
    assert "rollback-console init" in missing["remedy"]
    who = _json(capsys, ["whoami", "--json"], code=4)
    assert who["operator"] is None
    assert who["look_only"]


# -- what is wrong is one line on stderr, with its code ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["statuz"], 2, "did you mean `rollback-console status`?"),
        (["statuz", "--json"], 2, "did you mean `rollback-console status`?"),
        (["doctr"], 2, "did you mean `rollback-console doctor`?"),
        (["approve", "rq-1"], 2, "approve is no command: `rollback-console --help` lists the commands"),
        (
            ["--config", "x.yaml", "status"],
            2,
            "options stand behind the command: rollback-console status --config x.yaml",
        ),
        (["journal", "verfy"], 2, "'verify'"),
        (["status", "--jsn"], 2, "see rollback-console status --help"),
        (["status"], 2, "no settings: "),
        (["watch"], 2, "`rollback-console init --prometheus URL --mlflow URL` drafts them"),
        ([], 2, "`rollback-console demo` needs none"),
        (["status", "--config", "none.yaml"], 2, "none.yaml (from --config): does not exist"),
        (["status", "--config", "."], 2, "is a directory"),
        (["status", "--config", "x" * 5000], 2, "does not exist, or may not be read"),
        (["rollback", "production/x"], 2, "a rollback needs a reason"),
        (["rollback", "production/x", "--reason", "r", "--yes"], 2, "--yes without --digest"),
        (["rollback"], 2, "Missing argument 'ENVIRONMENT/DEPLOYMENT'"),
        (["abort", "ex-1"], 2, "--reason"),
        (["executions", "--journal", "none.db"], 2, "there is no journal at none.db"),
        (["executions", "--journal", "."], 2, "is a directory"),
        (["executions", "--journal", "garbage.db"], 1, "is broken"),
        (["journal", "list", "--journal", "garbage.db"], 1, "`rollback-console journal verify`"),
        (["review", "garbage.db", "--plain"], 1, "is broken"),
        (["review", "none.db"], 2, "there is no journal at none.db"),
        (["journal", "verify", "none.db"], 2, "there is no journal at none.db"),
        (["journal", "show", "0"], 2, "0"),
        (["journal", "list", "--since", "yesterday", "--journal", "none.db"], 2, "give 2026-11-20T09:00:00Z, or 2h"),
        (["journal", "note", " "], 2, "a note needs some text"),
        (["runbook", "check", "none.md"], 2, "none.md does not exist"),
        (["runbook", "show", "none"], 2, "`rollback-console runbook list` shows them all"),
        (["policy", "explain", "none.yaml"], 2, "none.yaml:1:1: cannot be read"),
        (["rehearse", "none"], 2, "`rollback-console rehearse --list` shows them"),
        (["rehearse", "demo", "--headless", "--operator", "nobody"], 2, "perfect"),
        (["demo"], 2, "a screen needs a terminal"),
        (["demo", "--speed", "1000"], 2, "--speed"),
        (["init"], 2, "--prometheus"),
        (["init", "--prometheus", "http://127.0.0.1:9"], 3, "cannot be reached"),
        (["init", "--prometheus", "ftp://x"], 2, "--prometheus"),
        (["identity", "init", "--operator", "ana"], 2, "a passphrase must be typed"),
        (["--nonsense"], 2, "--nonsense"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_an_error_is_one_line_on_stderr_with_its_code(
    words: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "garbage.db").write_bytes(b"this is not a database, it is a grocery list\n" * 50)
    assert run(words) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    lines = said.err.splitlines()
    assert lines[-1].startswith(("error: ", "none.yaml:1:1: "))
    assert len(lines) <= (2 if words[:1] == ["identity"] else 1)
    assert "Traceback" not in said.err


def test_debug_gives_the_rest_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--debug", "executions", "--journal", "none.db"], ["executions", "--journal", "none.db", "--debug"]):
        assert run(words) == 2  # the same code
        said = capsys.readouterr().err
        assert "Traceback" in said
        assert said.splitlines()[-1].startswith("error: there is no journal at none.db")


def test_a_family_alone_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["journal"]) == 2
    said = capsys.readouterr()
    assert "verify" in said.err
    assert run(["runbook", "check", str(Path(__file__).parent)]) == 0
    assert "no *.md file was found in" in capsys.readouterr().err


# -- where files are looked for ---------------------------------------------------------------------------------------

_SETTINGS = "schema: rollback-console/settings/v1\nprometheus: {url: http://127.0.0.1:9}\npolicies: [none.yaml]\n"


def test_settings_come_from_the_option_the_environment_the_platform_and_never_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def looked_at() -> str:
        assert run(["status"]) == 2
        return capsys.readouterr().err

    (tmp_path / "settings.yaml").write_text(_SETTINGS)
    assert "no settings: " in looked_at()  # here lies one, and it is not taken
    platform = tmp_path / ".config" / "rollback-console" / "settings.yaml"
    platform.parent.mkdir(parents=True)
    platform.write_text(_SETTINGS)
    assert str(platform.parent) in looked_at()
    named = tmp_path / "named.yaml"
    named.write_text(_SETTINGS)
    monkeypatch.setenv("ROLLBACK_CONSOLE_CONFIG", str(named))
    assert f"{named}:" in looked_at()
    given = tmp_path / "given.yaml"
    given.write_text(_SETTINGS)
    assert run(["status", "--config", str(given)]) == 2
    assert f"{given}:" in capsys.readouterr().err
    monkeypatch.setenv("ROLLBACK_CONSOLE_CONFIG", str(tmp_path / "gone.yaml"))
    assert "gone.yaml (from $ROLLBACK_CONSOLE_CONFIG): does not exist" in looked_at()


def test_settings_that_cannot_be_read_say_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text, says in (
        ("bytes.yaml", b"\xff\xfe\x00bad", "bytes.yaml:"),
        ("tab.yaml", b"schema: rollback-console/settings/v1\n\tprometheus: 1\n", "tab.yaml:2:1"),
        ("unknown.yaml", _SETTINGS.encode() + b"promethues: 1\n", "unknown.yaml:4:1: promethues"),
        ("empty.yaml", b"", "empty.yaml:1:1"),
    ):
        path = tmp_path / name
        path.write_bytes(text)
        assert run(["status", "--config", str(path)]) == 2
        said = capsys.readouterr()
        assert says in said.err
        assert "Traceback" not in said.err
        assert said.out == ""


def test_without_a_home_nothing_is_made_below_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pwd

    def nobody(_: int) -> pwd.struct_passwd:
        raise KeyError("no such account")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for words in (["status"], ["journal", "list"], ["watch"]):
        assert run(words) == 2
        assert "this account has no home folder: set HOME, or name the files" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert run(["rehearse", "--list"]) == 0


def test_a_data_folder_that_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".local").write_text("a file, in the way\n")
    assert run(["journal", "note", "hello"]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / ".local") in said
    assert "make its folder writable" in said
    assert "defect" not in said

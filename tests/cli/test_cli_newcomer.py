"""What a newcomer met: guesses at what was meant, lines that tell the whole, and nothing shown that was not signed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from rollback_console.cli.main import run


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("newcomer") / "drill.db"
    assert run(["rehearse", "demo", "--headless", "--seed", "3", "--journal", str(path)]) == 0
    return path


@pytest.fixture
def tampered(drill: Path, tmp_path: Path) -> Path:
    """Entry 17 by another operator, entry 19 with another body: neither is what the device signed."""
    bad = tmp_path / "bad.db"
    bad.write_bytes(drill.read_bytes())
    with sqlite3.connect(bad) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE entries SET operator = 'somebody' WHERE seq = 17")
        database.execute("UPDATE entries SET body = replace(body, 'e', 'E') WHERE seq = 19")
    database.close()
    return bad


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["journal", "list", "x.db"], "did you mean `rollback-console journal list --journal x.db`?"),
        (["journal", "status", "x.db"], "did you mean `rollback-console journal status --journal x.db`?"),
        (["executions", "x.db"], "did you mean `rollback-console executions --journal x.db`?"),
        (["runbook", "list", "x"], "see rollback-console runbook list --help"),
        (["demo", "chekout-ranker"], "the demo has no deployment chekout-ranker: did you mean checkout-ranker?"),
        (["demo", "zzz"], "the demo has no deployment zzz: without a name it opens on the fleet"),
        (["demo", "production/checkout-ranker"], "a screen needs a terminal"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_slip_gets_a_guess(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert says in said.err
    assert len(said.err.splitlines()) == 1


def test_what_is_as_signed_is_shown_without_a_word(drill: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["journal", "list", "--journal", str(drill), "--limit", "10000"]) == 0
    assert run(["journal", "show", "17", "--journal", str(drill)]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_not_as_signed_is_shown_and_named(
    tampered: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--journal", str(tampered), *(["--json"] if as_json else [])]
    assert run(["journal", "list", "--limit", "10000", *more]) == 1
    said = capsys.readouterr()
    assert "NOT AS SIGNED: entries 17, 19 are not as they were signed" in said.err
    assert "journal verify" in said.err
    assert len(said.out.splitlines()) > 50, "the rest is shown"
    assert run(["journal", "show", "17", *more]) == 1
    said = capsys.readouterr()
    assert "entry 17 is not as it was signed" in said.err
    assert "somebody" in said.out
    assert run(["journal", "show", "16", *more]) == 0
    assert run(["journal", "list", "--limit", "3", *more]) == 0, "only what is shown is looked at"


def test_a_drill_done_wrongly_says_when_and_not_never(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rehearse", "demo", "--headless", "--operator", "careless", "--seed", "3"]
    assert run([*words, "--journal", str(tmp_path / "one.db")]) == 1
    text = capsys.readouterr().out
    lines = {line.split()[0]: line for line in text.splitlines() if line}
    for word in ("noticed", "decided", "acted"):
        assert f"{word} wrongly after " in lines[word]
        assert not lines[word].endswith(" never") or "; what had to be rolled back, never" in lines[word]
    assert lines["recovered"].split() == ["recovered", "never"]
    assert run([*words, "--json", "--journal", str(tmp_path / "two.db")]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["noticed_wrongly_s"] <= facts["decided_wrongly_s"] <= facts["acted_wrongly_s"]


def test_a_drill_done_well_has_nothing_wrong_to_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["rehearse", "demo", "--headless", "--seed", "3", "--journal", str(tmp_path / "one.db")]
    assert run(words) == 0
    assert "wrongly" not in capsys.readouterr().out

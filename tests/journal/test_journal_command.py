"""`rollback-console journal …` as scripts and people use it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from journal_tools import BLOB, CHAIN, DEPLOYMENT, LAST, SAMPLES, device, full_journal, unguarded

from rollback_console.cli.main import run
from rollback_console.clock import VirtualClock
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.kinds import Note
from rollback_console.journal.locks import RecorderLock
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return full_journal(tmp_path / "journal.db")


def _json(capfd: pytest.CaptureFixture[str]) -> object:
    return json.loads(capfd.readouterr().out)


def test_verify_says_ok_in_words_and_json(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["journal", "verify", str(path)]) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"ok: {LAST} entries: ")
    assert "REHEARSAL" in out
    assert device().fingerprint() in out
    assert run(["journal", "verify", "--journal", str(path), "--json"]) == 0
    found = _json(capfd)
    assert isinstance(found, dict)
    assert (found["ok"], found["entries"], found["first_bad_seq"], found["problems"]) == (True, LAST, None, [])
    assert found["chain"] == CHAIN


def test_verify_names_the_first_bad_entry_and_exits_1(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    connection = unguarded(path)
    connection.execute("UPDATE entries SET operator = 'mallory' WHERE seq IN (9, 12)")
    connection.close()
    assert run(["journal", "verify", str(path)]) == 1
    assert "NOT OK" in (out := capfd.readouterr().out)
    assert "the first bad entry is 9" in out
    assert run(["journal", "verify", str(path), "--json"]) == 1
    found = _json(capfd)
    assert isinstance(found, dict)
    assert (found["ok"], found["first_bad_seq"], [p["seq"] for p in found["problems"]]) == (False, 9, [9, 12])


def test_verify_of_what_is_no_journal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.db").write_bytes(b"nonsense " * 100)
    assert run(["journal", "verify", str(tmp_path / "x.db"), "--json"]) == 1
    found = _json(capfd)
    assert isinstance(found, dict)
    assert (found["ok"], found["entries"], len(found["problems"])) == (False, 0, 1)
    assert run(["journal", "verify", str(tmp_path / "none.db")]) == 2
    assert "error: there is no journal at" in capfd.readouterr().err


def test_verify_asks_for_the_device(path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key.pub").write_text(device().public_openssh() + " laptop\n")
    assert run(["journal", "verify", str(path), "--device", str(tmp_path / "key.pub")]) == 0
    assert run(["journal", "verify", str(path), "--device", DeviceKey.from_seed(b"x").public_openssh()]) == 1
    assert run(["journal", "verify", str(path), "--device", "nowhere"]) == 2


def test_verify_starts_without_the_heavy_libraries(path: Path) -> None:
    """House rule 1, and its speed: no screen, no HTTP, no pydantic either."""
    code = (
        "import sys\n"
        "from rollback_console.cli.main import run\n"
        "code = run(['journal', 'verify', sys.argv[1], '--json'])\n"
        "heavy = ('textual', 'rich', 'httpx', 'requests', 'keyring', 'pydantic', 'sqlite_utils', 'yaml', 'mlflow')\n"
        "print(code, [m for m in heavy if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stderr.strip() == "0 []"


def test_an_export_verifies(path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.jsonl"
    assert run(["journal", "export", "--journal", str(path), "--output", str(out)]) == 0
    assert run(["journal", "verify", str(out)]) == 0
    capfd.readouterr()
    assert run(["journal", "export", "--journal", str(path), "--format", "jsonl"]) == 0
    assert capfd.readouterr().out == out.read_text()
    assert run(["journal", "export", "--journal", str(path), "--output", str(out)]) == 2
    assert "--force" in capfd.readouterr().err
    assert run(["journal", "export", "--journal", str(path), "--output", str(out), "--force", "--format", "csv"]) == 0
    assert out.read_text().startswith("time,chain,seq,")
    assert run(["journal", "export", "--journal", str(path), "--format", "cloudevents"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == LAST
    assert run(["journal", "export", "--journal", str(path), "--format", "bundle"]) == 2


def test_list_filters(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["journal", "list", "--journal", str(path)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == LAST
    assert "\x1b" not in "".join(lines)
    assert lines[0].startswith("     1  2025-11-20 08:42:33 UTC  genesis")
    assert run(["journal", "list", "--journal", str(path), "--kind", "note", "--kind", "tick", "--json"]) == 0
    found = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [f["kind"] for f in found] == ["tick", "note"]
    assert set(found[0]) == {"seq", "at", "kind", "deployment", "operator", "text", "hash"}
    last = LAST - (LAST + 1) % 2  # every other entry is about the deployment, the odd ones
    assert run(["journal", "list", "--journal", str(path), "--deployment", DEPLOYMENT, "--limit", "2", "--json"]) == 0
    assert [json.loads(line)["seq"] for line in capfd.readouterr().out.splitlines()] == [last - 2, last]
    assert run(["journal", "list", "--journal", str(path), "--since", "2025-11-20T08:42:34Z"]) == 0
    assert capfd.readouterr().out == ""
    assert run(["journal", "list", "--journal", str(path), "--since", "2025-11-20T08:42:33"]) == 0
    assert len(capfd.readouterr().out.splitlines()) == LAST
    assert run(["journal", "list", "--journal", str(path), "--since", "yesterday"]) == 2
    assert "is not a time" in capfd.readouterr().err


def test_show(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    note = str([body.kind for body in SAMPLES].index("note") + 2)  # behind the genesis
    assert run(["journal", "show", note, "--journal", str(path), "--json"]) == 0
    found = _json(capfd)
    assert isinstance(found, dict)
    assert found["body"]["text"].startswith("é [/prod]")
    assert run(["journal", "show", note, "--journal", str(path)]) == 0
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert "note: é [/prod]" in out
    assert run(["journal", "show", "99", "--journal", str(path)]) == 2
    assert f"there is no entry 99: the last one is {LAST}" in capfd.readouterr().err


def test_note_makes_a_journal_where_there_is_none_and_signs(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    new = path.with_name("new.db")
    assert run(["journal", "note", "paged them", "--journal", str(new), "--deployment", DEPLOYMENT, "--json"]) == 0
    found = _json(capfd)
    assert isinstance(found, dict)
    assert found["seq"] == 2
    with Journal.open_read_only(new) as journal:
        entry = journal.get(2)
    assert entry is not None
    assert (entry.kind, entry.deployment, entry.hash) == ("note", DEPLOYMENT, found["hash"])
    assert verify(new, devices=[DeviceKey.default().public_openssh()]).ok
    for words in (["  "], ["x", "--deployment", "no-slash"]):
        assert run(["journal", "note", *words, "--journal", str(new)]) == 2
    assert run(["journal", "note", "x", "--journal", str(path)]) == 1  # a rehearsal's, and another device's
    assert "another device" in capfd.readouterr().err


def test_note_works_beside_a_running_console(path: Path) -> None:
    new = path.with_name("new.db")
    with Journal.open(new, device=DeviceKey.default(), clock=VirtualClock(1.0)) as journal:
        journal.append(Note(text="the console's"))
        assert run(["journal", "note", "mine", "--journal", str(new)]) == 0
        assert journal.append(Note(text="the console's again")).seq == 4
    assert verify(new).ok


def test_status(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lock = RecorderLock(path)
    assert lock.try_acquire()
    assert run(["journal", "status", "--journal", str(path), "--json"]) == 0
    found = _json(capfd)
    assert isinstance(found, dict)
    assert (found["entries"], found["head"]["seq"], found["recorder"]["pid"]) == (LAST, LAST, os.getpid())
    assert found["sqlite"] == sqlite3.sqlite_version
    assert found["size_bytes"] == path.stat().st_size
    lock.release()
    assert run(["journal", "status", "--journal", str(path)]) == 0
    out = capfd.readouterr().out
    assert "recorder  nobody" in out
    assert "FULL" in out
    assert run(["journal", "status", "--journal", str(path) + "x"]) == 2


def test_decisions_whose_blobs_are_gone_are_counted_not_damned(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM blobs")
    connection.commit()
    connection.close()
    assert run(["journal", "verify", str(path), "--decisions", "--json"]) == 0
    found = _json(capfd)
    assert isinstance(found, dict)
    assert (found["ok"], found["decisions"], found["decisions_not_recomputed"]) == (True, 0, 1)


def test_recomputation_sees_sound_transitions_and_their_blobs(path: Path) -> None:
    seen = []

    def recompute(entry: object, blobs: object) -> str | None:
        if entry.kind != "transition":  # type: ignore[attr-defined]
            seen.append(entry.kind)  # type: ignore[attr-defined]
            return None
        seen.append((entry.kind, blobs(entry.parsed().tick)))  # type: ignore[attr-defined, operator]
        return "it would have stayed healthy"

    found = verify(path, recompute=recompute)  # type: ignore[arg-type]
    assert seen[0] == ("transition", BLOB)
    assert set(seen[1:]) == {"exclusion", "expected", "merge"}, "and what people declared, for later decisions"
    assert (found.ok, found.first_bad_seq, found.decisions) == (False, 5, 1)
    assert "does not recompute: it would have stayed healthy" in found.problems[0].message
    assert verify(path, recompute=lambda entry, blobs: None).ok


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"], ["list", "-h"], ["note", "-h"], ["export", "-h"]])
def test_help_has_an_example(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["journal", *words]) == 0
    assert "Example: rollback-console journal" in capfd.readouterr().out

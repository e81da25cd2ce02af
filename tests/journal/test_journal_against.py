"""A journal held against what others saw of it: receipts, heads, other copies; and the command that does it."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from hub_receipts import HUB, THIEF, receipts_for
from journal_tools import CHAIN, LAST, copy, device, full_journal, new_journal, put, resealed, stored, unguarded

from rollback_console.cli.main import run
from rollback_console.errors import InputError, UsageError
from rollback_console.journal import export
from rollback_console.journal.against import load, receipts_beside
from rollback_console.journal.chain import Row
from rollback_console.journal.kinds import Note
from rollback_console.journal.rotate import rotate
from rollback_console.journal.sources import rows_of
from rollback_console.journal.verify import Verification, verify


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return full_journal(tmp_path / "journal.db")


def rows(path: Path) -> list[Row]:
    connection = sqlite3.connect(path)
    found = stored(connection)
    connection.close()
    return found


def cut(path: Path, last: int) -> Path:
    connection = unguarded(copy(path, path.with_name("cut.db")))
    connection.execute("DELETE FROM entries WHERE seq > ?", (last,))
    connection.close()
    return path.with_name("cut.db")


def forked(path: Path, place: int) -> Path:
    """The same device's other history, from entry `place` on."""
    connection = unguarded(copy(path, path.with_name("forked.db")))
    before = stored(connection)
    prev = before[place - 2].hash
    for row in before[place - 1 :]:
        row = resealed(row._replace(mono=row.mono + 1, prev=prev), device())
        put(connection, row)
        prev = row.hash
    connection.close()
    return path.with_name("forked.db")


def held(path: Path, *words: str, vkeys: tuple[str, ...] = (HUB.vkey,)) -> Verification:
    seen, _ = load(words, vkeys, rows_of)
    return verify(path, against=seen)


def first(found: Verification) -> tuple[int | None, str | None]:
    return found.first_bad_seq, found.problems[0].what if found.problems else None


def test_a_receipt_shows_a_cut_end_and_another_history(path: Path) -> None:
    receipt = path.with_name("receipt.json")
    receipt.write_text(json.dumps(receipts_for([rows(path)[14]])[0].to_json()))
    assert (held(path, str(receipt)).ok, held(path, str(receipt)).witnessed) == (True, 1)
    assert first(held(cut(path, 15), str(receipt))) == (None, None)
    assert first(held(cut(path, 14), str(receipt))) == (15, "truncated")
    found = held(forked(path, 9), str(receipt))
    assert first(found) == (15, "forked")
    assert "the hub hub.example/log saw another entry 15" in found.problems[0].message


def test_more_receipts_name_the_place_more_closely(path: Path) -> None:
    folder = path.with_name("receipts")
    folder.mkdir()
    for number, receipt in enumerate(receipts_for(rows(path)[::4])):
        (folder / f"{number}.json").write_text(json.dumps(receipt.to_json()))
    assert held(path, str(folder)).witnessed == len(rows(path)[::4])
    found = held(forked(path, 10), str(folder))
    assert first(found) == (13, "forked")
    assert "entries up to 9 are what was witnessed" in found.problems[0].message
    lines = path.with_name("receipts.jsonl")
    lines.write_text("".join(json.dumps(receipt.to_json()) + "\n" for receipt in receipts_for(rows(path)[3:5])))
    assert held(path, str(lines)).witnessed == 2


def test_a_receipt_of_another_chain_a_forged_one_and_none(path: Path) -> None:
    other = receipts_for([row._replace(chain="another") for row in rows(path)[:3]])
    receipt = path.with_name("receipt.json")
    receipt.write_text(json.dumps([item.to_json() for item in other]))
    assert first(held(path, str(receipt))) == (1, "replaced")
    assert first(held(cut(path, 2), str(receipt))) == (1, "replaced")
    receipt.write_text(json.dumps(receipts_for(rows(path)[:3], THIEF)[0].to_json()))
    with pytest.raises(InputError, match="the receipt does not hold: no key that is trusted here signed it"):
        held(path, str(receipt))
    seen, warnings = load([str(receipt)], [], rows_of)
    assert "the signatures of 1 receipts were not checked" in warnings[0]
    assert verify(path, against=seen).ok
    for text in ("{", '{"checkpoint": 1}', '{"seq": 1}', "[1]"):
        receipt.write_text(text)
        with pytest.raises(InputError):
            load([str(receipt)], [], rows_of)
    with pytest.raises(UsageError, match="no such file"):
        load([str(path) + "x"], [], rows_of)
    path.with_name("empty").mkdir()
    with pytest.raises(UsageError, match="no file in it"):
        load([str(path.with_name("empty"))], [], rows_of)


def test_heads_written_down_elsewhere(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    head = rows(path)[-1]
    assert first(held(cut(path, 12), f"{head.seq}:{head.hash}")) == (13, "truncated")
    assert first(held(path, f"{head.seq} {'0' * 64}")) == (LAST, "forked")
    assert run(["journal", "status", "--journal", str(path), "--json"]) == 0
    path.with_name("status.json").write_text(capfd.readouterr().out)
    assert first(held(cut(path, 12), str(path.with_name("status.json")))) == (13, "truncated")
    line = list(export.jsonl(rows(path)))[-1]
    path.with_name("head.json").write_text(line)
    assert held(path, str(path.with_name("head.json"))).ok
    assert first(held(cut(path, 12), str(path.with_name("head.json")))) == (13, "truncated")


def test_other_copies_in_every_form(path: Path) -> None:
    lines = path.with_name("copy.jsonl")
    export.write(export.jsonl(rows(path)), lines)
    older = copy(cut(path, 20), path.with_name("older.db"))
    for other in (path, lines):
        assert first(held(cut(path, 12), str(other))) == (13, "truncated")
        assert first(held(forked(path, 12), str(other))) == (12, "forked")
        assert held(path, str(other)).ok
        assert held(path, str(other)).witnessed == 1
    assert held(path, str(older)).ok  # an older copy says nothing against what came since
    assert first(held(forked(path, 12), str(older))) == (12, "forked")
    assert held(forked(path, 21), str(older)).ok


def test_a_bad_copy_is_said_to_be_bad(path: Path) -> None:
    other = copy(path, path.with_name("other.db"))
    connection = unguarded(other)
    connection.execute("UPDATE entries SET operator = 'x', hash = replace(hash, 'a', 'b') WHERE seq = 9")
    connection.close()
    found = held(path, str(other))
    assert (found.ok, found.first_bad_seq) == (False, None)
    assert f"entry 9 of the copy {other} is not as signed" in found.problems[0].message
    connection = unguarded(other)
    connection.execute("DELETE FROM entries WHERE seq = 5")
    connection.close()
    assert "has no entry 5 in its place" in held(path, str(other)).problems[0].message


def test_a_bad_entry_and_a_cut_end_are_both_said(path: Path) -> None:
    head = rows(path)[-1]
    connection = unguarded(cut(path, 12))
    connection.execute("UPDATE entries SET operator = 'x' WHERE seq = 7")
    connection.close()
    found = held(path.with_name("cut.db"), f"{head.seq}:{head.hash}")
    assert [(problem.seq, problem.what) for problem in found.problems] == [(7, "changed"), (13, "truncated")]


def test_a_bad_entry_in_a_closed_file_hides_nothing_after_it(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    with new_journal(path) as opened:
        for _ in range(3):
            opened.append(Note(text="x"))
        rotate(opened)
        head = opened.append(Note(text="y"))
        closed = opened.segments[0].path
    connection = unguarded(closed)
    connection.execute("UPDATE entries SET operator = 'mallory' WHERE seq = 3")
    connection.close()
    found = held(path, f"{head.seq}:{head.hash}")
    assert [(problem.seq, problem.what) for problem in found.problems] == [(3, "changed")]
    assert (found.entries, found.witnessed) == (6, 1)


def test_the_command(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    receipt = path.with_name("receipt.json")
    receipt.write_text(json.dumps(receipts_for(rows(path))[-1].to_json()))
    key = path.with_name("hub.vkey")
    key.write_text(HUB.vkey + "\n")
    for named in (str(key), HUB.vkey):
        assert run(["journal", "verify", str(path), "--against", str(receipt), "--hub-key", named]) == 0
        said = capfd.readouterr()
        assert ("1 witnesses agree" in said.out, said.err) == (True, "")
    assert run(["journal", "verify", str(path), "--against", str(receipt)]) == 0
    assert "name the hub's key with --hub-key" in capfd.readouterr().err
    assert (
        run(["journal", "verify", str(cut(path, 9)), "--against", str(receipt), "--hub-key", str(key), "--json"]) == 1
    )
    found = json.loads(capfd.readouterr().out)
    assert (found["first_bad_seq"], found["witnessed"]) == (10, 1)
    assert found["problems"] == [
        {"seq": 10, "what": "truncated",
         "message": f"the end was cut off: the hub hub.example/log saw entry {LAST}"}
    ]  # fmt: skip
    assert run(["journal", "verify", str(cut(path, 9)), "--against", str(receipt), "--hub-key", str(key)]) == 1
    assert "problem: entry 10: truncated: the end was cut off" in capfd.readouterr().out
    assert run(["journal", "verify", str(path), "--against", str(receipt), "--hub-key", THIEF.vkey]) == 2
    assert run(["journal", "verify", str(path), "--against", str(receipt), "--hub-key", "nowhere"]) == 2
    assert run(["journal", "verify", str(path), "--against", "nowhere"]) == 2


def test_the_consoles_own_receipts_beside_the_journal(path: Path) -> None:
    """JOURNAL.hub, as `journal.hubstate` keeps it."""
    from rollback_console.journal.hubstate import HubStore

    found = receipts_for(rows(path)[5:9])
    store = HubStore(path, HUB.vkey)
    for receipt in found:
        store.proven(receipt, receipt.at)
    store.close()
    kept = receipts_beside(path, CHAIN)
    assert kept
    assert kept[-1] == (HUB.vkey, found[-1])
    assert receipts_beside(path, "another") == []
    assert receipts_beside(path.with_name("none.db"), CHAIN) == []
    assert held(path, f"{path}.hub").witnessed == len(kept)
    assert first(held(cut(path, 7), f"{path}.hub")) == (8, "truncated")
    Path(f"{path}.hub").write_text("x")
    with pytest.raises(InputError, match="cannot be read"):
        receipts_beside(path, CHAIN)

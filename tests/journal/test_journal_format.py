"""docs/journal-format.md is true: its commands verify a journal and refuse a changed one, its kinds are the code's."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from journal_tools import LAST, SAMPLES, copy, device, full_journal, new_journal, put, resealed, stored, unguarded
from pydantic import BaseModel

from rollback_console.authorize.keys import PersonKey
from rollback_console.engine.record import _COSTS, _NORMS, pack
from rollback_console.execute.plan import _NOT_IN_DIGEST
from rollback_console.journal import bundle, chain, database, receipt, segments
from rollback_console.journal.device import DeviceKey
from rollback_console.journal.diagnose import WHATS
from rollback_console.journal.kinds import (
    KINDS,
    Body,
    Note,
    PersonSignature,
    PolicyInForce,
    Requested,
    SegmentFile,
    StandsIn,
)
from rollback_console.journal.rotate import rotate
from rollback_console.journal.verify import BLOB_FIELDS, verify
from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import Blind, Drift, Norm, Observation, Reading, Tick

DOC = Path(__file__).resolve().parents[2] / "docs" / "journal-format.md"
START, END = re.escape("<!-- kinds:") + ".*?-->\n", re.escape("<!-- end of kinds -->")


SOUND = ["hash ok", "prev ok", "Signature Verified Successfully"]
# What a shell would swallow: a line feed at a body's end, and what follows a NUL.
SILENT = ("body = body || char(10)", "body = body || char(0) || 'x'", "operator = operator || char(0) || 'x'")


def _block(language: str, begins: str = "") -> str:
    found = re.search(rf"```{language}\n({re.escape(begins)}.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def _words(schema: dict[str, object]) -> str:
    """A JSON Schema type in a few words."""
    if "anyOf" in schema:
        options = schema["anyOf"]
        assert isinstance(options, list)
        return " or ".join(_words(option) for option in options)
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        options = schema["enum"]
        assert isinstance(options, list)
        return " / ".join(f"`{option}`" for option in options)
    if "pattern" in schema:
        return "nanoseconds as text" if str(schema["pattern"]).startswith("^-?") else "hex digest"
    if schema.get("type") == "array":
        items = schema["items"]
        assert isinstance(items, dict)
        return f"list of {_words(items)}"
    return str(schema.get("type", "any"))


def _fields(model: type[BaseModel], blobs: tuple[str, ...] = ()) -> str:
    schema = model.model_json_schema()
    parts = []
    for name, field in schema["properties"].items():
        if name == "v":
            continue
        optional = "" if name in schema.get("required", ()) else ", may be absent"
        parts.append(f"`{name}` ({_words(field)}{' →blob' if name in blobs else ''}{optional})")
    return ", ".join(parts)


def _kinds() -> str:
    lines = ["| kind | is | fields |", "|---|---|---|"]
    for kind, model in KINDS.items():
        about = " ".join((model.__doc__ or "").split()) if model.__doc__ != Body.__doc__ else ""
        about = about or "A line somebody wrote." if kind == "note" else about or "Noise held back, never the state."
        lines.append(f"| `{kind}` | {about.replace('|', '/')} | {_fields(model, BLOB_FIELDS.get(kind, ()))} |")
    parts = "; ".join(f"`{part.__name__}`: {_fields(part)}" for part in (PersonSignature, StandsIn, SegmentFile))
    return "\n".join([*lines, f"\n{parts}.\n"])


def test_the_kinds_are_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    found = re.search(f"({START})(.*?)({END})", text, re.DOTALL)
    assert found is not None
    if os.environ.get("UPDATE_DOCS"):
        DOC.write_text(text[: found.start(2)] + _kinds() + text[found.start(3) :], encoding="utf-8")
        return
    assert found[2] == _kinds(), "run this test once with UPDATE_DOCS=1"


def test_the_columns_and_constants_are_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    table = text[text.index("| column |") : text.index("The table is STRICT")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(chain.COLUMNS)
    assert f"`{database.APPLICATION_ID:#010x}` ({database.APPLICATION_ID})" in text
    assert len(chain.DOMAIN) == 26
    assert f"`{chain.DOMAIN.decode().rstrip()}` + line feed" in text


# 18: a note with an escape, an emoji and brackets
@pytest.mark.parametrize("seq", [1, 2, 5, 9, 13, 18, LAST])
def test_the_shell_commands_verify_an_entry(tmp_path: Path, seq: int) -> None:
    path = full_journal(tmp_path / "journal.db")
    done = _shell(path, seq, tmp_path)
    assert (done.returncode, done.stdout.split("\n")[:3]) == (0, SOUND), done
    for change in ("operator = operator || 'x'", "prev = prev || 'x'", *SILENT):
        connection = unguarded(copy(path, tmp_path / "changed.db"))
        connection.execute(f"UPDATE entries SET {change} WHERE seq = ?", (seq,))
        connection.close()
        done = _shell(tmp_path / "changed.db", seq, tmp_path)
        assert "hash ok" not in done.stdout, change
        assert done.returncode != 0
    assert _shell(path, LAST + 1, tmp_path).returncode != 0  # no such entry, with all files of another one here


def test_the_shell_commands_follow_the_entry_before_and_ask_for_the_devices_key(tmp_path: Path) -> None:
    path = full_journal(tmp_path / "journal.db")
    changes = {
        (9, "hash ok\n"): "DELETE FROM entries WHERE seq = 8",
        (1, ""): "UPDATE entries SET hash = hash || char(0) WHERE seq = 1",
    }
    for (seq, said), change in changes.items():
        connection = unguarded(copy(path, tmp_path / "changed.db"))
        connection.execute(change)
        connection.close()
        done = _shell(tmp_path / "changed.db", seq, tmp_path)
        assert (done.returncode != 0, done.stdout) == (True, said)
    connection = unguarded(copy(path, tmp_path / "changed.db"))
    put(connection, resealed(stored(connection)[8], DeviceKey.from_seed(b"another")))
    connection.close()
    done = _shell(tmp_path / "changed.db", 9, tmp_path)
    assert (done.returncode != 0, "prev ok" in done.stdout, "Verified Successfully" in done.stdout) == (
        True,
        True,
        False,
    )


def test_the_shell_commands_verify_the_files_of_a_rotated_journal(tmp_path: Path) -> None:
    path = _rotated(tmp_path)
    (closed,) = segments.closed(path)
    for file, seq in ((closed.path, 2), (path, LAST + 1), (path, LAST + 2)):
        done = _shell(file, seq, tmp_path)
        assert (done.returncode, done.stdout.split("\n")[:3]) == (0, SOUND), done
    connection = unguarded(path)
    connection.execute("UPDATE entries SET prev = '' WHERE seq = ?", (LAST + 1,))
    connection.close()
    assert _shell(path, LAST + 1, tmp_path).returncode != 0


def _shell(
    path: Path, seq: int, folder: Path, begins: str = "set -eu\nsql", **more: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JOURNAL": str(path), "SEQ": str(seq), **more}
    block = _block("sh", begins)
    return subprocess.run(["sh", "-c", block], capture_output=True, text=True, cwd=folder, env=environment)


def _rotated(folder: Path) -> Path:
    """A chain of two files: every kind in the first, a note in the second."""
    path = full_journal(folder / "journal.db")
    with new_journal(path) as journal:
        rotate(journal)
        journal.append(Note(text="file 2"))
    return path


def _python(path: Path) -> tuple[int, str]:
    """The program of the document: its code and the last line it printed."""
    command = [sys.executable, "-I", "-S", "-c", _block("python"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, (done.stdout + done.stderr).strip().rpartition("\n")[2]


def test_the_commands_verify_what_a_person_signed(tmp_path: Path) -> None:
    ada, eve = PersonKey.from_seed("tests", "ada"), PersonKey.from_seed("tests", "eve")
    (asked,) = (body for body in SAMPLES if isinstance(body, Requested))
    roster = f"schema: rollback-console/roster/v1\noperators: [{{id: ada, keys: [{ada.line}]}}]\n".encode()
    with new_journal(tmp_path / "journal.db") as journal:
        journal.append(PolicyInForce(what="roster", name="r", version=1, digest=journal.put_blob(roster)))
        journal.append(asked, operator="ada")
        assert asked.person is not None
        other = asked.person.model_copy(update={"statement": asked.person.statement.replace("fell", "rose")})
        journal.append(asked.model_copy(update={"person": other}), operator="ada")

    def checked(seq: int, key: PersonKey, valid: str = "") -> subprocess.CompletedProcess[str]:
        line = f"{valid}{' '.join(key.line.split()[:2])}"
        return _shell(tmp_path / "journal.db", seq, tmp_path, "sql", KEY=line)

    done = checked(3, ada)
    good = [line.partition(" with ")[0] for line in done.stdout.splitlines()]
    assert (done.returncode, good) == (
        0,
        [f'Good "rollback-console" signature{whose}' for whose in ("", " for ada")],
    ), done
    assert (tmp_path / "statement").read_text() == asked.person.statement
    assert (tmp_path / "roster.yaml").read_bytes() == roster
    assert checked(3, eve).returncode != 0
    assert checked(4, ada).returncode != 0
    for change in ("UPDATE blobs SET data = x'789c030000000001'", "DELETE FROM blobs"):  # another roster, and none
        connection = unguarded(copy(tmp_path / "journal.db", tmp_path / "changed.db"))
        connection.execute(change)
        connection.close()
        done = _shell(tmp_path / "changed.db", 3, tmp_path, "sql", KEY=ada.line)
        assert (done.returncode, "Traceback" in done.stderr, len(done.stdout.splitlines())) == (
            1, False, 2 if change.startswith("DELETE") else 1,
        ), done  # fmt: skip
    connection = unguarded(tmp_path / "journal.db")
    connection.execute("UPDATE entries SET at = at + 86400000000000 * 4000")
    connection.close()
    (option,) = re.findall(r'with valid_until: namespaces="rollback-console"(,\S+)', DOC.read_text(encoding="utf-8"))
    block = _block("sh", "sql").replace('namespaces="rollback-console" %s', f'namespaces="rollback-console"{option} %s')
    environment = {**os.environ, "JOURNAL": str(tmp_path / "journal.db"), "SEQ": "3", "KEY": ada.line}
    run: dict[str, Any] = {"capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
    assert "expired" in subprocess.run(["sh", "-c", block], **run).stderr
    connection = unguarded(tmp_path / "journal.db")
    connection.execute("UPDATE entries SET at = at - 86400000000000 * 4000")
    connection.close()
    assert subprocess.run(["sh", "-c", block], **run).returncode == 0


def test_the_python_program_verifies_a_journal_with_the_standard_library_alone(tmp_path: Path) -> None:
    path = full_journal(tmp_path / "journal.db")
    assert _python(path) == (0, f"entries 1 to {LAST} verify")
    for seq, change in (
        (6, "deployment = 'x'"), (9, "signature = zeroblob(64)"), (1, "at = 0"), (14, "prev = ''"),
        (1, "kind = 'note'"), (1, "body = '{}'"), *((7, change) for change in SILENT),
    ):  # fmt: skip
        connection = unguarded(copy(path, tmp_path / "changed.db"))
        connection.execute(f"UPDATE entries SET {change} WHERE seq = {seq}")
        connection.close()
        assert _python(tmp_path / "changed.db") == (1, f"entry {seq} is bad"), change
    for change, said in (
        ("DELETE FROM entries", "entry 1 is bad: there is none"),
        ("DELETE FROM entries WHERE seq = 1", "entry 1 is bad"),
        ("DELETE FROM entries WHERE seq = 8", "entry 8 is bad"),
        ("UPDATE entries SET operator = CAST(x'ff' AS TEXT) WHERE seq = 8", "entry 8 is bad"),
        ("ALTER TABLE entries ADD COLUMN more TEXT", "entry 1 is bad"),
    ):
        connection = unguarded(copy(path, tmp_path / "changed.db"))
        connection.execute(change)
        connection.close()
        assert _python(tmp_path / "changed.db") == (1, said), change
    connection = sqlite3.connect(tmp_path / "loose.db")  # a table that is not STRICT takes a time as text
    connection.execute(f"CREATE TABLE entries ({', '.join(chain.COLUMNS)})")
    source = unguarded(path)
    rows = stored(source)
    source.close()
    connection.executemany(f"INSERT INTO entries VALUES ({', '.join('?' * 11)})", rows)
    connection.commit()
    assert _python(tmp_path / "loose.db") == (0, f"entries 1 to {LAST} verify")
    connection.execute("UPDATE entries SET at = CAST(at AS TEXT) WHERE seq = 5")
    connection.commit()
    connection.close()
    assert _python(tmp_path / "loose.db") == (1, "entry 5 is bad")


def _signed(path: Path, body: str) -> Path:
    """A journal of two entries, the second a note with this body, which the device did sign."""
    with new_journal(path) as journal:
        journal.append(Note(text="x"))
    connection = unguarded(path)
    put(connection, resealed(stored(connection)[1]._replace(body=body), device()))
    connection.close()
    return path


BAD_BODIES = (
    '{"a":1,"a":1}', '{"a":1.0}', '{"a":9007199254740993}', '{"a":1E2}', '{"a":1e5}', '{"a":-0}', '{"a": 1}',
    '{"b":1,"a":1}', "[]", '"x"', "1", "null", '{"a":"\\u0041"}', '{"a":"\\u001F"}', '{"a":"\\/"}', '{"a":"\\ud800"}',
    '{"a":NaN}', '{"a":-Infinity}', '{"a":1e999}', '{"a":1}\n', "", "{", "[" * 5000,
)  # fmt: skip
GOOD_BODIES = (
    "{}", '{"a":1e-7,"b":[0.000001,1e+21,100000000000000000000,-1.5e-300,5e-324,0.1,123456789012345680000]}',
    '{"a":"\\u001f\\b\x7f/\U0001f602","é":{"":[true,false,null,0]},"\U0001f602":1,"\ufb33":2}',
    '{"a":9007199254740992,"b":-333333333.3333333}',
)  # fmt: skip


@pytest.mark.parametrize("body", [*BAD_BODIES, *GOOD_BODIES])
def test_a_signed_body_that_is_no_object_in_rfc_8785_form_is_bad(tmp_path: Path, body: str) -> None:
    """The document's program and `journal verify` agree on each, the device's signature holding."""
    path = _signed(tmp_path / "journal.db", body)
    good = body in GOOD_BODIES
    assert _python(path) == ((0, "entries 1 to 2 verify") if good else (1, "entry 2 is bad"))
    found = verify(path)
    assert (found.ok, found.first_bad_seq) == (good, None if good else 2), found
    assert [problem.what for problem in found.problems] == ([] if good else ["changed"])


def test_the_python_program_verifies_a_chain_of_two_files(tmp_path: Path) -> None:
    path = _rotated(tmp_path)
    assert _python(path) == (0, f"entries 1 to {LAST + 2} verify")
    (closed,) = segments.closed(path)
    connection = unguarded(closed.path)
    connection.execute("UPDATE entries SET operator = 'eve' WHERE seq = ?", (LAST,))
    connection.close()
    assert _python(path) == (1, f"entry {LAST} is bad")
    closed.path.unlink()  # kept elsewhere: what is here verifies from its `segment` on
    assert _python(path) == (0, f"entries {LAST + 1} to {LAST + 2} verify")
    connection = unguarded(path)
    row = stored(connection)[0]
    put(connection, resealed(row._replace(prev="ab" * 32), device()))
    connection.close()
    assert _python(path) == (1, f"entry {LAST + 1} is bad")


def test_every_blob_field_is_a_field() -> None:
    """`verify` knows by name which fields are digests of blobs, without loading the models; here they are compared."""
    for kind, fields in BLOB_FIELDS.items():
        assert set(fields) <= set(KINDS[kind].model_fields)
    assert {body.kind for body in SAMPLES} >= set(BLOB_FIELDS)


def test_the_words_for_what_is_wrong_are_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    table = text[text.index("| what | is said when") : text.index("Row by row, with")]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(WHATS)


def test_what_is_said_of_bundles_and_receipts_is_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert f"ranges of {bundle.RANGE:,}" in text
    assert f"namespace `{bundle.NAMESPACE}`" in text
    assert f"the line `{receipt.DOMAIN.decode().rstrip()}` and its line feed" in text
    fields = text[text.index("one JSON object: ") : text.index("1. The leaf is")]
    assert set(re.findall(r"`(\w+)`", fields)) == receipt._FIELDS


def test_the_worked_example_of_two_entries_exchanged(tmp_path: Path) -> None:
    path = full_journal(tmp_path / "journal.db")
    connection = unguarded(path)
    for old, new in ((12, 1000), (13, 12), (1000, 13)):
        connection.execute("UPDATE entries SET seq = ? WHERE seq = ?", (new, old))
    connection.close()
    found = verify(path)
    assert [(problem.seq, problem.what) for problem in found.problems] == [(12, "reordered"), (13, "reordered")]
    assert found.first_bad_seq == 12
    assert "Example, the numbers of entries 12 and 13 exchanged." in DOC.read_text(encoding="utf-8")


def test_what_is_a_note_and_what_is_nothing(tmp_path: Path) -> None:
    path = full_journal(tmp_path / "journal.db")
    connection = unguarded(path)  # without guards
    for change in (
        "PRAGMA user_version = 9", "CREATE TABLE more (x)", "DELETE FROM meta", "DELETE FROM live",
        "INSERT INTO blobs VALUES ('00', 5, x'00')",
        "UPDATE blobs SET data = CAST(data || x'00' AS BLOB) WHERE size > 5",
    ):  # fmt: skip
        connection.execute(change)
    found = verify(path)
    assert (found.ok, [warning.message.partition(" ")[0] for warning in found.warnings]) == (True, ["somebody", "it"])
    connection.execute("UPDATE blobs SET size = size + 1")
    assert [(problem.what, problem.seq) for problem in verify(path).problems] == [("blob", 3)]
    connection.execute("PRAGMA application_id = 5")
    connection.close()
    found = verify(path)
    assert [(problem.what, problem.seq) for problem in found.problems] == [("damaged", None)]
    assert found.first_bad_seq is None


def test_what_a_plans_digest_leaves_out_is_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    said = text[text.index("without the members") : text.index("its `digest` says the same")]
    assert set(re.findall(r"`(\w+)`", said)) == set(_NOT_IN_DIGEST)


def _columns(data: bytes, layout: dict[str, Any]) -> tuple[dict[str, Any], list[list[float]], bytes]:
    """A tick's blob by what the document says alone: its head, its columns of numbers in order, its codes."""
    line, rest = data.split(b"\n", 1)
    head = json.loads(line)
    readings = [name for _, policy in layout["rows"] for name in layout["signals"][policy]]
    assert (len(readings), len(layout["rows"])) == (head["readings"], head["deployments"])
    widths = (
        [8 * head["readings"]] * 3 + [head["readings"]] + [8 * head["deployments"]] * (2 + len(head.get("costs", [])))
    )
    widths += [8 * head.get("weighed", 0)] * (6 + head.get("phi", 0) + len(head.get("norms", [])))
    widths += [8 * head.get("drifts", 0)] * 9
    parts = [rest[sum(widths[:k]) : sum(widths[: k + 1])] for k in range(len(widths))]
    assert b"".join(parts) == rest
    return head, [list(struct.unpack(f"<{len(p) // 8}d", p)) for k, p in enumerate(parts) if k != 3], parts[3]


def test_a_ticks_blob_is_laid_out_as_the_document_says() -> None:
    norm = Norm(0.02, (1.5, 2.5), (7.0, 70.0), None, 90.0, bound=0.4, split=0.5)
    drift = Drift(0.3, 9.0, 100.0, 200.0, 8, (0.25, 0.1, 0.4))
    one = (
        Reading(0.1, 0.2, 30.5, x=3.0, norm=norm),
        Reading(blind=Blind.STALE, baseline_blind=Blind.QUERY_FAILED),
    )
    two = (Reading(0.7, drift=drift), Reading(0.9, 1.0, x=5.0))
    layout = {"rows": [["p/a", "d1"], ["p/b", "d2"]], "signals": {"d2": ["z", "a"], "d1": ["b", "c"]}}
    who = [DeploymentId.parse(name) for name in ("p/a", "p/b")]
    tick = Tick(
        60.0,
        (
            Observation(who[0], 60.0, one, "8", 11.0, 12.0, market_per_minute=13.0),
            Observation(who[1], 60.0, two, None, 21.0),
        ),
    )
    head, columns, codes = _columns(pack(tick, "ab" * 32), layout)
    assert (head["v"], head["at"], head["layout"], head["versions"], head["version_of"]) == (
        3, 60.0, "ab" * 32, ["8"], [0, -1],
    )  # fmt: skip
    assert (head["costs"], head["weighed"], head["phi"], head["drifts"]) == (["market_per_minute"], 2, 2, 1)
    assert head["norms"] == ["bound", "split"]
    assert [(code & 7, code >> 4 & 7, bool(code & 8), bool(code & 128)) for code in codes] == [
        (0, 0, True, False), (4, 3, False, False), (0, 0, False, True), (0, 0, True, False),
    ]  # fmt: skip
    nan = None
    assert [[None if x != x else x for x in column] for column in columns] == [
        [0.1, nan, 0.7, 0.9], [0.2, nan, nan, 1.0], [30.5, nan, nan, nan],  # value, baseline, n
        [11.0, 21.0], [12.0, nan], [13.0, nan],  # revenue, users, and the one of `costs`
        [3.0, 5.0], [0.02, nan], [7.0, nan], [70.0, nan], [nan, nan], [90.0, nan],  # x to the adaptive dwell
        [1.5, nan], [2.5, nan], [0.4, nan], [0.5, nan],  # phi, norms
        [0.3], [9.0], [100.0], [200.0], [8.0], [0.25], [0.1], [0.4], [nan],  # the drift
    ]  # fmt: skip
    text = DOC.read_text(encoding="utf-8")
    names = text[text.index("- **Names**: `costs` has") : text.index("- **`v`** is 1")]
    assert re.findall(r"`(\w+)`", names) == ["costs", *_COSTS, "norms", *_NORMS]

"""docs/journal-format.md is true: its commands verify a journal and refuse a changed one, its kinds are the code's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from journal_tools import LAST, SAMPLES, full_journal, unguarded

from rollback_console.journal import bundle, chain, database, receipt
from rollback_console.journal.diagnose import WHATS
from rollback_console.journal.kinds import KINDS, Body, PersonSignature
from rollback_console.journal.verify import BLOB_FIELDS

DOC = Path(__file__).resolve().parents[2] / "docs" / "journal-format.md"
START, END = re.escape("<!-- kinds:") + ".*?-->\n", re.escape("<!-- end of kinds -->")


def _block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
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
        return "hex digest"
    if schema.get("type") == "array":
        items = schema["items"]
        assert isinstance(items, dict)
        return f"list of {_words(items)}"
    return str(schema.get("type", "any"))


def _fields(model: type[Body] | type[PersonSignature], blobs: tuple[str, ...] = ()) -> str:
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
    lines.append(f"\n`PersonSignature`: {_fields(PersonSignature)}.\n")
    return "\n".join(lines)


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
@pytest.mark.parametrize("seq", [2, 5, 9, 13, 18, LAST])
def test_the_shell_commands_verify_an_entry(tmp_path: Path, seq: int) -> None:
    path = full_journal(tmp_path / "journal.db")
    done = _shell(path, seq, tmp_path)
    assert (done.returncode, done.stdout.split("\n")[:3]) == (
        0,
        ["hash ok", "prev ok", "Signature Verified Successfully"],
    ), done
    connection = unguarded(path)
    connection.execute("UPDATE entries SET operator = operator || 'x' WHERE seq = ?", (seq,))
    connection.close()
    done = _shell(path, seq, tmp_path)
    assert "hash ok" not in done.stdout
    assert done.returncode != 0


def _shell(path: Path, seq: int, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JOURNAL": str(path), "SEQ": str(seq)}
    return subprocess.run(["sh", "-c", _block("sh")], capture_output=True, text=True, cwd=folder, env=environment)


def test_the_python_program_verifies_a_journal_with_the_standard_library_alone(tmp_path: Path) -> None:
    path = full_journal(tmp_path / "journal.db")

    def program() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-c", _block("python"), path], capture_output=True, text=True
        )

    assert program().stdout.strip() == f"{LAST} entries verify"
    for seq, change in ((6, "deployment = 'x'"), (9, "signature = zeroblob(64)"), (1, "at = 0"), (14, "prev = ''")):
        copy = full_journal(tmp_path / f"{seq}.db")
        connection = unguarded(copy)
        connection.execute(f"UPDATE entries SET {change} WHERE seq = {seq}")
        connection.close()
        path = copy
        assert program().stderr.strip() == f"entry {seq} is bad"


def test_every_blob_field_is_a_field() -> None:
    """`verify` knows by name which fields are digests of blobs, without loading the models; here they are compared."""
    for kind, fields in BLOB_FIELDS.items():
        assert set(fields) <= set(KINDS[kind].model_fields)
    assert {body.kind for body in SAMPLES} >= set(BLOB_FIELDS)


def test_the_words_for_what_is_wrong_are_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    table = text[text.index("| what | is said when") : text.index("One row alone often fits")]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(WHATS)


def test_what_is_said_of_bundles_and_receipts_is_the_codes() -> None:
    text = DOC.read_text(encoding="utf-8")
    assert f"ranges of {bundle.RANGE:,}" in text
    assert f"namespace `{bundle.NAMESPACE}`" in text
    assert f"the line `{receipt.DOMAIN.decode().rstrip()}` and its line feed" in text
    fields = text[text.index("one JSON object: ") : text.index("1. The leaf is")]
    assert set(re.findall(r"`(\w+)`", fields)) == receipt._FIELDS

"""Exports: lines that verify again, cells that no spreadsheet runs, events as CloudEvents 1.0 has them."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from journal_tools import CHAIN, DEPLOYMENT, LAST, START, full_journal, new_journal

from rollback_console.errors import InputError, JournalUnwritable, UsageError
from rollback_console.journal import export
from rollback_console.journal.chain import COLUMNS, Row
from rollback_console.journal.kinds import Note
from rollback_console.journal.store import Journal
from rollback_console.journal.verify import verify


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    with Journal.open_read_only(full_journal(tmp_path / "journal.db")) as journal:
        return list(journal.rows())


def test_json_lines_come_back_as_the_same_rows_and_verify(rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    export.write(export.jsonl(rows), path)
    assert list(export.read_jsonl(path)) == rows
    found = verify(export.read_jsonl(path))
    assert (found.ok, found.entries) == (True, LAST)
    assert all(set(json.loads(line)) == set(COLUMNS) for line in path.read_text().splitlines())


def test_a_changed_line_is_found_and_a_missing_one(rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    lines = list(export.jsonl(rows))
    path.write_text("".join(line.replace("failing", "ok") for line in lines))
    assert verify(export.read_jsonl(path)).first_bad_seq == 8
    path.write_text("".join(lines[:4] + lines[5:]))
    assert verify(export.read_jsonl(path)).first_bad_seq == 5


@pytest.mark.parametrize("line", ["{}", "x", "[]", "null", '{"at":"x"}', '{"seq":1,"more":2}', ""])
def test_a_line_that_is_no_entry_is_named(rows: list[Row], tmp_path: Path, line: str) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text(next(export.jsonl(rows)) + line + "\n")
    with pytest.raises(InputError, match=r"out.jsonl:2:1: not an entry"):
        verify(export.read_jsonl(path))


@pytest.mark.parametrize("odd", ["1e999", "7.9", "true", "null", "[" * 20_000])
def test_a_time_that_is_no_whole_number_says_where(rows: list[Row], tmp_path: Path, odd: str) -> None:
    path = tmp_path / "out.jsonl"
    line, changed = re.subn(r'"at":"?\d+"?', f'"at":{odd}', next(export.jsonl(rows)), count=1)
    assert changed
    path.write_text(line)
    with pytest.raises(InputError, match=r"out.jsonl:1:1: not an entry"):
        verify(export.read_jsonl(path))


def test_csv_reads_back_and_holds_no_formula(tmp_path: Path) -> None:
    with new_journal(tmp_path / "j.db") as journal:
        for name in ("=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", 'plain, "quoted"\nline'):
            journal.append(Note(text="x"), deployment=name, operator="=cmd|' /C calc'!A0")
        found = list(csv.reader(io.StringIO("".join(export.as_csv(journal.rows())), newline="")))
    assert found[0] == ["time", *COLUMNS]
    assert len(found) == 9
    assert found[1][0] == "2025-11-20T08:42:33.250000000Z"
    cells = [row[found[0].index("deployment")] for row in found[2:]]
    assert cells == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "'\rx", 'plain, "quoted"\nline']
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in found for cell in row)


def test_cloudevents_have_the_required_and_only_well_formed_attributes(rows: list[Row]) -> None:
    """CloudEvents 1.0, section "Context Attributes": required ones, names of a-z and 0-9, no empty values."""
    lines = list(export.cloudevents(rows))
    events = [json.loads(line) for line in lines]
    assert len({(event["source"], event["id"]) for event in events}) == len(rows)
    for event, row, line in zip(events, rows, lines, strict=True):
        assert event["specversion"] == "1.0"
        assert event["source"] == f"urn:rollback-console:journal:{row.chain}"
        assert event["type"] == f"rollback-console.{row.kind}"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", event["time"])
        assert event["datacontenttype"] == "application/json"
        assert event["data"] == json.loads(row.body)
        assert line.endswith(f'"data":{row.body}}}\n')
        assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in event)
        assert all(value != "" for name, value in event.items() if name != "data")
    assert [event.get("subject") for event in events[:3]] == [None, None, DEPLOYMENT]
    assert "prev" not in events[0]
    ordered = [event["sequence"] for event in events]
    assert ordered == sorted(ordered)


def test_the_cncfs_own_reader_takes_every_event(rows: list[Row]) -> None:
    """Its SDK checks required attributes, types, and the names of extensions as the specification asks."""
    for line, row in zip(export.cloudevents(rows), rows, strict=True):
        event = JSONFormat().read(CloudEvent, line)
        assert (event.get_id(), event.get_specversion()) == (str(row.seq), "1.0")
        assert event.get_source() == f"urn:rollback-console:journal:{CHAIN}"
        assert event.get_type() == f"rollback-console.{row.kind}"
        moment = event.get_time()
        assert moment is not None
        assert abs(moment.timestamp() - row.at / 1e9) < 1e-5
        assert event.get_subject() == (row.deployment or None)
        assert event.get_extension("hash") == row.hash
        assert event.get_data() == json.loads(row.body)


def test_writing_is_whole_or_not_at_all(rows: list[Row], tmp_path: Path) -> None:
    def fails() -> object:
        yield "one line\n"
        raise OSError(28, "No space left on device")

    out = tmp_path / "out.jsonl"
    with pytest.raises(JournalUnwritable, match="No space left"):
        export.write(fails(), out)  # type: ignore[arg-type]
    assert not out.exists()
    export.write(["a\n"], out)
    with pytest.raises(UsageError, match=r"exists.*--force"):
        export.write(["b\n"], out)
    assert out.read_text() == "a\n"
    export.write(["b\n"], out, force=True)
    assert out.read_text() == "b\n"
    with pytest.raises(JournalUnwritable, match="is no folder"):
        export.write(["c\n"], tmp_path / "no" / "folder")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_times() -> None:
    assert export.rfc3339(0) == "1970-01-01T00:00:00.000000000Z"
    assert export.rfc3339(int(START) * 10**9 + 1) == "2025-11-20T08:42:33.000000001Z"
    assert export.rfc3339(-1) == "1969-12-31T23:59:59.999999999Z"
    assert export.rfc3339(2**62) == "2116-02-20T23:53:38.427387904Z"
    assert export.rfc3339(10**30) == str(10**30)

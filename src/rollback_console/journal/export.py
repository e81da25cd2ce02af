"""A journal as text for other programs: JSON Lines that verify again, CSV for spreadsheets, CloudEvents for buses.

Each function takes rows exactly as stored and yields lines; equal journals give equal bytes.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from rollback_console.errors import InputError, JournalUnwritable, UsageError
from rollback_console.journal.chain import COLUMNS, SECOND, Row

FORMATS = ("jsonl", "csv", "cloudevents")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet may run (OWASP, "CSV Injection")


def lines(rows: Iterable[Row], form: str) -> Iterator[str]:
    """The journal in one of FORMATS, line by line, each with its newline."""
    return {"jsonl": jsonl, "csv": as_csv, "cloudevents": cloudevents}[form](rows)


def jsonl(rows: Iterable[Row]) -> Iterator[str]:
    """One object a line with every column: `body` is the exact stored text, `at` and `mono` nanoseconds as text,
    `signature` base64. `read_jsonl` turns it back, and `verify` verifies it."""
    for row in rows:
        columns = row._asdict()
        columns["at"], columns["mono"] = str(row.at), str(row.mono)
        columns["signature"] = base64.b64encode(row.signature).decode()
        yield json.dumps(columns, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def read_jsonl(path: Path) -> Iterator[Row]:
    """The rows of a file that `jsonl` wrote. Raises UsageError where there is no such file, InputError with the line
    where one is not an entry (an entry that was tampered with is one: `verify` says so)."""
    try:
        file = path.open(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})", "check the path") from error
    with file:
        for number, line in enumerate(file, 1):
            try:
                columns = json.loads(line)
                columns["at"], columns["mono"] = _whole(columns["at"]), _whole(columns["mono"])
                columns["signature"] = base64.b64decode(columns["signature"], validate=True)
                yield Row(**columns)
            except (ValueError, KeyError, TypeError, binascii.Error, RecursionError) as error:
                raise InputError(
                    f"{path}:{number}:1: not an entry as `journal export --format jsonl` writes it ({error})",
                    "export it again",
                ) from error


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r:.40} is no whole number")
    return int(value)


def as_csv(rows: Iterable[Row]) -> Iterator[str]:
    """RFC 4180 with a header: the time in RFC 3339, then every column. A cell that a spreadsheet might run as a formula
    begins with an apostrophe; use JSON Lines where exact values matter."""
    yield _csv_line(("time", *COLUMNS))
    for row in rows:
        yield _csv_line((rfc3339(row.at), *row[:-1], row.signature.hex()))


def _csv_line(cells: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([_guarded(cell) for cell in cells])
    return out.getvalue()


def _guarded(cell: object) -> object:
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return "'" + cell
    return cell


def cloudevents(rows: Iterable[Row]) -> Iterator[str]:
    """CloudEvents 1.0 in JSON format, one a line. `source` and `id` together are unique, as the specification asks:
    the chain and the number. `data` is the entry's body; the other columns are extension attributes."""
    for row in rows:
        event = {
            "specversion": "1.0",
            "id": str(row.seq),
            "source": f"urn:rollback-console:journal:{row.chain}",
            "type": f"rollback-console.{row.kind}",
            "time": rfc3339(row.at),
            "datacontenttype": "application/json",
            "sequence": f"{row.seq:019}",  # the Sequence extension: ordered as text
            "mono": str(row.mono),
            "hash": row.hash,
            "signature": base64.b64encode(row.signature).decode(),
        }
        # An attribute may be absent, never empty.
        event |= {k: v for k, v in (("subject", row.deployment), ("operator", row.operator), ("prev", row.prev)) if v}
        text = json.dumps(event, separators=(",", ":"), ensure_ascii=False)
        yield f'{text[:-1]},"data":{row.body}}}\n'  # the body's own bytes, not a second serialisation of them


def rfc3339(nanos: int) -> str:
    """Nanoseconds since the epoch as RFC 3339 UTC with nine decimals; the bare number beyond the calendar."""
    whole, rest = divmod(nanos, SECOND)
    try:
        moment = datetime.fromtimestamp(whole, UTC)
    except (ValueError, OverflowError, OSError):
        return str(nanos)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def write(lines_: Iterable[str], output: Path, *, force: bool = False) -> None:
    """Write lines to a file, whole or not at all. Errors as for `whole_file`."""
    with whole_file(output, force=force) as file:
        for line in lines_:
            file.write(line.encode("utf-8", "surrogateescape"))


@contextmanager
def whole_file(output: Path, *, force: bool = False) -> Iterator[BinaryIO]:
    """A file to write, which becomes `output` when all went well, durable, and leaves nothing else. Raises UsageError
    when `output` exists and `force` is not given, JournalUnwritable when it cannot be written."""
    temp = output.with_name(f".{output.name}.{secrets.token_hex(8)}")
    try:
        if not force and os.path.lexists(output):
            raise UsageError(f"{output} exists", "name another file, or give --force to replace it")
        with temp.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(temp, output)
        else:
            os.link(temp, output)  # unlike a rename, it fails when somebody else made the file meanwhile
    except FileExistsError as error:
        raise UsageError(f"{output} exists", "name another file, or give --force to replace it") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise JournalUnwritable(
            f"{output} cannot be written: {output.parent} is no folder", "make the folder, or name another --output"
        ) from error
    except OSError as error:
        raise JournalUnwritable(
            f"{output} cannot be written ({error.strerror or error})", "free some space or name another --output"
        ) from error
    finally:
        with suppress(OSError):
            temp.unlink()

"""Facts in rows, as a person, a document, a spreadsheet or a script wants them."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from rollback_console.cli.common import emit_json, emit_lines, write
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass

Cell = str | int | float | bool | None
FORMATS = ("table", "md", "csv", "json")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `key` names it in JSON and CSV, `title` on paper; `digits`: of a number; `align` "<" or ">"."""

    key: str
    title: str
    align: str = "<"
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Sheet:
    """A titled table. `notes` stand below it, a line each: what was left out and why, sources, bounds."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


def show(sheets: Sequence[Sheet], form: str) -> None:
    """Print them: `table` for a terminal, `md` for a document, `csv` (one table only has no heading), `json`."""
    if form == "json":
        emit_json({sheet.key: document(sheet) for sheet in sheets})
    elif form == "csv":
        for sheet in sheets:
            write(as_csv(sheet, headed=len(sheets) > 1).rstrip("\n"))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        for number, sheet in enumerate(sheets):
            emit_lines([""] if number else [])
            emit_lines(markdown(sheet) if form == "md" else table(sheet, width))


def document(sheet: Sheet) -> dict[str, object]:
    """The sheet as JSON has it: full precision, keys of the columns."""
    keys = [column.key for column in sheet.columns]
    return {
        "title": sheet.title,
        "rows": [dict(zip(keys, row, strict=True)) for row in sheet.rows],
        "notes": list(sheet.notes),
    }


def table(sheet: Sheet, width: int | None = None) -> Iterable[str]:
    """Aligned columns under their titles, for a terminal; of one that is narrower than they are (`width` columns), each
    row as a few lines of `title value` instead: a wrapped table is no table."""
    texts = [[_text(cell, column) for cell, column in zip(row, sheet.columns, strict=True)] for row in sheet.rows]
    heads = [column.title for column in sheet.columns]
    widths = [max(map(len, [head, *column])) for head, *column in zip(heads, *texts, strict=True)]
    yield sheet.title
    if not sheet.rows:
        yield "  nothing"
    elif width is not None and sum(widths) + 2 * len(widths) > width:
        for row in texts:
            number = f"{heads[0]} " if sheet.columns[0].align == ">" else ""  # a bare number says nothing
            yield from _record(heads, [number + row[0], *row[1:]], width)
    else:
        for row in (heads, *texts):
            cells = zip(row, widths, sheet.columns, strict=True)
            yield "  " + "  ".join(f"{text:{column.align}{width}}" for text, width, column in cells).rstrip()
    for note in sheet.notes:
        yield from _wrapped(f"  {note}", width)


def _wrapped(line: str, width: int | None) -> Iterable[str]:
    """The line, broken between words where it is longer than `width`; what follows stands two further in."""
    if width is None or len(line) <= width:
        return [line]
    inner = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, max(20, width), subsequent_indent=inner, break_long_words=False, drop_whitespace=True)


def _record(heads: Sequence[str], row: Sequence[str], width: int) -> Iterable[str]:
    """A row over several lines: what is empty is left out."""
    yield f"  {row[0]}"
    line = "   "
    for head, text in zip(heads[1:], row[1:], strict=True):
        if text in ("-", ""):
            continue
        told = f" {head} {text}"
        if len(line) > 3 and len(line) + 1 + len(told) > width:
            yield from _wrapped(line, width)
            line = "   "
        line += told if len(line) == 3 else f" {told}"
    if line.strip():
        yield from _wrapped(line, width)


def markdown(sheet: Sheet) -> Iterable[str]:
    """A section with a GitHub-flavoured table."""
    yield f"## {_cell(sheet.title)}"
    yield ""
    yield "| " + " | ".join(_cell(column.title) for column in sheet.columns) + " |"
    yield "|" + "|".join("---:" if column.align == ">" else "---" for column in sheet.columns) + "|"
    for row in sheet.rows:
        cells = zip(row, sheet.columns, strict=True)
        yield "| " + " | ".join(_cell(_text(cell, column)) for cell, column in cells) + " |"
    if sheet.notes:
        yield ""
        yield from (f"- {_cell(note)}" for note in sheet.notes)


def as_csv(sheet: Sheet, *, headed: bool) -> str:
    """RFC 4180 with a header of keys; `headed`: its own key above it, where several stand in one stream."""
    out = io.StringIO()
    if headed:
        out.write(f"# {sheet.key}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.key for column in sheet.columns)
    writer.writerows(["" if cell is None else cell for cell in row] for row in sheet.rows)
    return out.getvalue()


def _text(cell: Cell, column: Column) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return f"{cell:,.{column.digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else plain(cell, 400)


def _cell(text: str) -> str:
    return plain(text, 2_000).replace("\\", "\\\\").replace("|", "\\|")

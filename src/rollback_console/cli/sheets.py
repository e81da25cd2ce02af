"""Facts in rows, as a person, a document, a spreadsheet or a script wants them."""

from __future__ import annotations

import csv
import io
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
        lines = markdown if form == "md" else table
        for number, sheet in enumerate(sheets):
            emit_lines([""] if number else [])
            emit_lines(lines(sheet))


def document(sheet: Sheet) -> dict[str, object]:
    """The sheet as JSON has it: full precision, keys of the columns."""
    keys = [column.key for column in sheet.columns]
    return {
        "title": sheet.title,
        "rows": [dict(zip(keys, row, strict=True)) for row in sheet.rows],
        "notes": list(sheet.notes),
    }


def table(sheet: Sheet) -> Iterable[str]:
    """Aligned columns under their titles, for a terminal."""
    texts = [[_text(cell, column) for cell, column in zip(row, sheet.columns, strict=True)] for row in sheet.rows]
    heads = [column.title for column in sheet.columns]
    widths = [max(map(len, [head, *column])) for head, *column in zip(heads, *texts, strict=True)]
    yield sheet.title
    if not sheet.rows:
        yield "  nothing"
    else:
        for row in (heads, *texts):
            cells = zip(row, widths, sheet.columns, strict=True)
            yield "  " + "  ".join(f"{text:{column.align}{width}}" for text, width, column in cells).rstrip()
    yield from (f"  {note}" for note in sheet.notes)


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

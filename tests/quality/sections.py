"""Blocks of docs/decision-quality.md that have a command of their own each."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "decision-quality.md"
COMMANDS = {
    "incidents": "python -m tests.quality.incidents --write",
    "fleet": "python -m tests.quality.fleet_month --write",
}


def write(block: str, text: str) -> None:
    """Replace what stands between a block's markers. Raises ValueError where the page has none."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = f"<!-- {block}: written by `{COMMANDS[block]}` -->", f"<!-- end of {block} -->"
    if begin not in page or end not in page:
        raise ValueError(f"{PAGE.name} has no block {block!r}")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}", encoding="utf-8")

"""Text pictures of the screen as goldens: `tests/tui/golden/NAME.txt`. `UPDATE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from textual.app import App

FOLDER = Path(__file__).parent / "golden"


def screen_text(app: App[object]) -> str:
    """What the terminal shows, line by line, without styles and trailing spaces."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in lines) + "\n"


def assert_golden(name: str, text: str) -> None:
    """`text` is what the golden says; a difference is shown as a diff."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    assert path.exists(), f"{path.name} is missing: UPDATE_GOLDEN=1 writes it"
    wanted = path.read_text(encoding="utf-8")
    difference = "\n".join(
        difflib.unified_diff(wanted.splitlines(), text.splitlines(), "golden", "screen", lineterm="")
    )
    assert text == wanted, f"{name} looks different:\n{difference}"

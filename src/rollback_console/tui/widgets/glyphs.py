"""Which characters the terminal can be trusted with."""

from __future__ import annotations

import os
import sys

NAMES = ("braille", "blocks", "ascii")


def glyph_set() -> str:
    """The set plots are drawn with: what `ROLLBACK_CONSOLE_GLYPHS` says (`braille`, `blocks` where the font has no
    braille, `ascii`); else `ascii` where `TERM=dumb` or the output's encoding carries nothing else; else `braille`."""
    asked = os.environ.get("ROLLBACK_CONSOLE_GLYPHS", "").lower()
    if asked in NAMES:
        return asked
    encoding = (getattr(sys.__stdout__, "encoding", None) or "utf-8").lower().replace("_", "-")
    return "braille" if encoding.startswith("utf") and os.environ.get("TERM") != "dumb" else "ascii"

"""Reads the project's documents for tests: their fenced blocks, and the commands in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("console", "sh", "bash", "shell")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: the document (relative to the project), its line from 1, its language, its text."""

    document: str
    line: int
    language: str
    text: str

    @property
    def commands(self) -> tuple[str, ...]:
        """What one would type: prompts, comments and continuation marks taken away, output left out."""
        prompted = any(line.startswith("$ ") for line in self.text.splitlines())
        found: list[str] = []
        going_on = False
        for raw in self.text.splitlines():
            line = raw.strip()
            if prompted and not going_on:
                if not line.startswith("$ "):
                    continue
                line = line[2:]
            line = line.split("  #")[0].strip()
            if not line or line.startswith("#"):
                continue
            text, more = line.removesuffix("\\").strip(), line.endswith("\\")
            if going_on:
                found[-1] += " " + text
            else:
                found.append(text)
            going_on = more
        return tuple(found)


def documents() -> tuple[str, ...]:
    """Every document people read first, relative to the project."""
    top = ("README.md", "CONTRIBUTING.md")
    return (*top, *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").glob("*.md"))))


def blocks_of(document: str) -> tuple[Block, ...]:
    """Every fenced block of a document, in lists too."""
    tokens = MarkdownIt().parse((ROOT / document).read_text(encoding="utf-8"))
    return tuple(
        Block(document, (token.map or [0])[0] + 1, (token.info.split() or [""])[0], token.content)
        for token in tokens
        if token.type == "fence"
    )

"""A team's own wording for its stakeholders: a folder of markdown files, `NAME.internal.md` and `NAME.external.md`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from rollback_console.errors import FileProblems, Problem
from rollback_console.model.message import AUDIENCES, INTERNAL, PLACEHOLDERS, Template
from rollback_console.model.text import plain

LONGEST = 20_000  # bytes of one template
_MOST = 100  # files in the folder
_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,59})\.([a-z]+)\.md")
_BRACE = re.compile(r"\{\{|\}\}|\{([^{}\n]*)\}|[{}]")


def load_templates(folder: Path) -> tuple[Template, ...]:
    """Every template in a folder, by name. Raises FileProblems with all that is wrong in all of them."""
    found: list[Template] = []
    problems: list[Problem] = []
    paths = sorted(path for path in folder.glob("*.md") if path.is_file())
    for path in paths[:_MOST]:
        named = _NAMED.fullmatch(path.name)
        if named is None or named[2] not in AUDIENCES:
            problems.append(
                _problem(path, 1, 1, "its name says no audience", "Name it NAME.internal.md, or .external.md")
            )
            continue
        text = _text(path, problems)
        if text is not None:
            problems.extend(_wrong(path, text, named[2]))
            found.append(Template(named[1], named[2], text, str(path)))
    if len(paths) > _MOST:
        problems.append(_problem(folder, 1, 1, f"{len(paths)} templates, more than {_MOST}", "Take some out"))
    if problems:
        raise FileProblems(tuple(problems))
    return tuple(found)


def placeholders(text: str) -> Iterator[tuple[int, str]]:
    """(offset, name) of every place to fill in a template's text; the name of a brace that stands alone is "{" or
    "}"."""
    for found in _BRACE.finditer(text):
        if found[0] not in ("{{", "}}"):
            yield found.start(), found[1].strip() if found[1] is not None else found[0]


def filled(text: str, values: dict[str, str]) -> str:
    """A template's text with its places filled. Raises KeyError for a place that has no value."""

    def one(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        return values[found[1].strip()] if found[1] is not None else found[0]

    return _BRACE.sub(one, text)


def _text(path: Path, problems: list[Problem]) -> str | None:
    try:
        data = path.read_bytes()
    except OSError as error:
        problems.append(_problem(path, 1, 1, f"cannot be read: {error.strerror}", "Look at its permissions"))
        return None
    if len(data) > LONGEST:
        problems.append(_problem(path, 1, 1, f"{len(data):,} bytes, more than {LONGEST:,}", "A message is shorter"))
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1
        what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        problems.append(_problem(path, line, column, what, "Save the file as UTF-8"))
        return None
    if not text.strip():
        problems.append(_problem(path, 1, 1, "the template is empty", "Write what is to be said, or take it out"))
        return None
    return text.replace("\r\n", "\n")


def _wrong(path: Path, text: str, audience: str) -> Iterator[Problem]:
    known = {*PLACEHOLDERS, *(INTERNAL if audience == "internal" else ())}
    for offset, name in placeholders(text):
        line = text.count("\n", 0, offset) + 1
        column = offset - (text.rfind("\n", 0, offset) + 1) + 1
        if name in ("{", "}"):
            yield _problem(path, line, column, f"a {name} stands alone", f"Write {name}{name} where you mean one")
        elif name in INTERNAL and audience == "external":
            what = f"{{{name}}} names people, machines or versions"
            yield _problem(path, line, column, what, "External wording does without; internal templates may have it")
        elif name not in known:
            close = difflib.get_close_matches(name, sorted(known), 1, 0.6)
            remedy = f"Did you mean {{{close[0]}}}" if close else "There are: " + ", ".join(sorted(known))
            yield _problem(path, line, column, f"there is no {{{plain(name, 60)}}}", remedy)


def _problem(path: Path, line: int, column: int, message: str, remedy: str) -> Problem:
    return Problem(plain(path, 400), line, column, "", message, remedy)

"""What the text of a runbook says: its bytes as text, titles, roles, ids, acts, placeholders."""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Iterator, MutableMapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rollback_console.model.text import plain
from rollback_console.model.walk import RunbookProblem

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

LOOKS = re.compile(r"(?:check|verify|confirm)\b", re.IGNORECASE)
ACT_INFO = re.compile(r"\bconsole:([\w-]{1,40})")
BLANKS = re.compile(r"<[A-Za-z][A-Za-z0-9_. -]{0,40}>")

_ROLE = re.compile(r"\s*\(role:\s*([\w-]{1,40})\s*\)", re.IGNORECASE)
# Written with brackets so that a search for unfinished work in this program does not find its own rule.
_UNFINISHED = re.compile(r"\b(?:TO[D]O|FIX[M]E|TBD|CHANGE_?ME|FILL_?ME)\b|<[A-Z][A-Z0-9_]{1,40}>")
_SENTENCE = re.compile(r"(?<=[.!?:;])\s")
_FRONT_KEY = re.compile(r"[\w-]{1,60}:(?:\s|$)|\s|#|- |$")
_FRONT_TITLE = re.compile(r"title:\s*[\"']?(.{1,200}?)[\"']?\s*$")
_MAX_INLINE = 4_000  # characters of one paragraph that are searched for links
_MAX_TITLE = 120
_MAX_SLUG = 48
_MAX_ID = 160


@lru_cache(maxsize=4)
def parser(nesting: int) -> MarkdownIt:
    """A markdown parser that stops at blocks: paragraphs keep their source. Imported late: no screen waits for it."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"maxNesting": nesting}).disable(["inline", "text_join"])


@lru_cache(maxsize=1)
def _inline() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"maxNesting": 20})


def decoded(data: bytes) -> tuple[str, list[RunbookProblem]]:
    """The bytes as text with `\\n` between lines, and what was wrong with them."""
    problems: list[RunbookProblem] = []
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
        problems.append(RunbookProblem(1, "warning", "the file is UTF-16: save it as UTF-8"))
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as fault:
            line = data.count(b"\n", 0, fault.start) + 1
            problems.append(
                RunbookProblem(line, "warning", "bytes that are not UTF-8 were replaced from here on: save it as UTF-8")
            )
            text = data.decode("utf-8-sig", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.append(RunbookProblem(line, "warning", "the file has NUL characters: is it text?"))
        text = text.replace("\0", "\ufffd")
    return text, problems


def front_matter(lines: Sequence[str]) -> tuple[str, int]:
    """(title, number of lines) of a YAML block before the document; ("", 0) where there is none."""
    if not lines or lines[0].rstrip() != "---":
        return "", 0
    title = ""
    for index, line in enumerate(lines[1:200], start=1):
        if line.rstrip() in ("---", "..."):
            return plain(title, _MAX_TITLE), index + 1
        if not _FRONT_KEY.match(line):
            return "", 0
        found = _FRONT_TITLE.match(line)
        title = found.group(1) if found else title
    return "", 0


def shown(source: str, env: MutableMapping[str, Any] | None = None) -> str:
    """A paragraph's or heading's text without its marks: emphasis, code signs, link addresses, tags.

    `env` holds the document's link references.
    """
    source = source[: 4 * _MAX_TITLE]
    if not any(char in source for char in "*_`[]<>!\\&\n"):
        return source.strip()
    parts: list[str] = []
    for token in _spans(source, env):
        if token.type in ("text", "code_inline", "text_special"):
            parts.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type == "image":
            parts.append(token.content)
    return "".join(parts).strip()


def _spans(source: str, env: MutableMapping[str, Any] | None = None) -> list[Token]:
    found = _inline().parseInline(source, env if env is not None else {})
    return (found[0].children or []) if found else []


def acts(source: str, env: MutableMapping[str, Any]) -> list[str]:
    """The ids in links like `[Roll back](console:rollback)`, in order."""
    found = []
    for token in _spans(source[:_MAX_INLINE], env):
        href = token.attrGet("href") if token.type == "link_open" else None
        if isinstance(href, str) and href.startswith("console:"):
            found.append(href.removeprefix("console:"))
    return found


def unknown_act(act: str) -> str | None:
    """Why `act` is none of the console's acts, with the nearest one; None when it is one."""
    from rollback_console.actions import BY_ID

    if act in BY_ID:
        return None
    near = difflib.get_close_matches(act[:40], BY_ID, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(BY_ID))}"
    return f"{plain(act, 40)!r} is none of the console's acts; {hint}"


def language(info: str) -> str:
    """A fence's language, lower case; "" without one."""
    match = re.match(r"[{.\s]*([\w+#-]+)", info)
    return match.group(1).lower() if match else ""


def role(text: str) -> tuple[str, str | None]:
    """The text without its `(role: commander)`, and the role."""
    match = _ROLE.search(text)
    if match is None:
        return text, None
    return (text[: match.start()] + text[match.end() :]).strip(), match.group(1).lower()


def title(text: str) -> str:
    """One safe line: the first sentence where the whole is long."""
    line = plain(" ".join(text.split()), 4 * _MAX_TITLE)
    if len(line) <= _MAX_TITLE:
        return line
    sentence = _SENTENCE.split(line, maxsplit=1)[0]
    if len(sentence) <= _MAX_TITLE:
        return sentence.rstrip(":;")
    return line[: _MAX_TITLE - 1].rsplit(" ", 1)[0] + "…"


def slug(text: str) -> str:
    """Letters and digits joined by dashes; "step" where there are none."""
    folded = unicodedata.normalize("NFKC", text[: 4 * _MAX_SLUG]).casefold()
    return re.sub(r"[\W_]+", "-", folded).strip("-")[:_MAX_SLUG].rstrip("-") or "step"


def stem(name: str) -> str:
    """A file's name as a title."""
    return plain(re.split(r"[/\\]", name)[-1].removesuffix(".md"), _MAX_TITLE) or "runbook"


class Ids:
    """Hands out ids that differ: a second one of a name is numbered."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def new(self, path: Sequence[str]) -> str:
        base = "/".join(path)
        if len(base) > _MAX_ID:
            mark = hashlib.sha256(base.encode()).hexdigest()[:8]
            base = f"{base[: _MAX_ID - 9].rstrip('/-')}-{mark}"
        name = base
        count = self._next.get(base, 2)
        while name in self._taken:
            name = f"{base}-{count}"
            count += 1
        self._next[base] = count
        self._taken.add(name)
        return name


def placeholders(lines: Sequence[str], offset: int) -> Iterator[tuple[int, str]]:
    """(line from 0, message) for each line that somebody still meant to fill in."""
    if not _UNFINISHED.search("\n".join(lines)):
        return
    for index, line in enumerate(lines):
        match = _UNFINISHED.search(line)
        if match:
            yield index + offset, f"a placeholder was left: {plain(match.group(0), 40)}"

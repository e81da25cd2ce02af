"""A markdown document on its way to steps: which items are steps, which lines belong to which, what they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rollback_console.model.text import plain
from rollback_console.model.walk import RunbookProblem
from rollback_console.runbook import words
from rollback_console.runbook.commands import commands

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_NESTING = 40  # markdown levels: twenty lists in one another

_TASK = re.compile(r"^\[[ xX]\](?:\s+|$)")
_MARKER = re.compile(r"[ >]*(?:[-+*]|\d{1,9}[.)])(?: {1,4}(?=\S)| |$)")


@dataclass(slots=True)
class Draft:
    """A step while it is put together. Lines count from 0; `end` is exclusive; `offset` is its content's column."""

    line: int
    end: int
    level: int
    offset: int
    section: int
    text: str  # of the first paragraph, or of the heading
    number: str = ""
    parent: Draft | None = None
    slug: str = ""
    task: bool = False
    lines: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)
    acts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Section:
    """A heading and what stands below it until the next heading; the first one is what precedes every heading."""

    line: int
    body: int
    depth: int
    text: str
    path: tuple[str, ...] = ()
    steps: int = 0


class Document:
    """One pass over the tokens; every list is in the document's order."""

    def __init__(self, lines: list[str], title: str) -> None:
        self.lines = lines
        self.title = title
        self.sections = [Section(0, 0, 0, "")]
        self.drafts: list[Draft] = []
        self.problems: list[RunbookProblem] = []
        self.env: dict[str, object] = {}
        self._owner: list[int] = []
        self._deep = False

    def problem(self, line: int, severity: str, message: str) -> None:
        """`line` counts from 0."""
        self.problems.append(RunbookProblem(line + 1, severity, message))

    def read(self, tokens: Sequence[Token]) -> None:
        self._items(tokens)
        self._whole_sections()
        self._own_lines()
        self._contents(tokens)

    def _items(self, tokens: Sequence[Token]) -> None:
        """Find the headings and the items that are steps."""
        ordered: list[bool] = []
        open_items: list[tuple[int, Draft | None]] = []  # (line, step or None)
        headings: list[tuple[int, str]] = []
        for index, token in enumerate(tokens):
            kind = token.type
            if kind == "heading_open" and token.level == 0 and token.map:
                depth = int(token.tag[1])
                text = tokens[index + 1].content
                while headings and headings[-1][0] >= depth:
                    headings.pop()
                headings.append((depth, words.slug(words.shown(text, self.env))))
                # The document's own title is no part of an id: it would be in front of every one.
                first = len(self.sections) == 1 and depth == 1
                path = tuple(slug for _, slug in headings[:-1] if slug)
                self.sections.append(Section(token.map[0], token.map[1], depth, text, path))
                if first:
                    headings[-1] = (depth, "")
            elif kind in ("ordered_list_open", "bullet_list_open"):
                ordered.append(kind == "ordered_list_open")
            elif kind in ("ordered_list_close", "bullet_list_close"):
                ordered.pop()
            elif kind == "list_item_open" and token.map:
                self._too_deep(token)
                open_items.append((token.map[0], self._item(tokens, index, ordered[-1], open_items)))
            elif kind == "list_item_close":
                open_items.pop()
            elif kind == "blockquote_open":
                self._too_deep(token)

    def _too_deep(self, token: Token) -> None:
        if token.level >= MAX_NESTING - 1 and not self._deep and token.map:
            self._deep = True
            self.problem(
                token.map[0], "warning", f"nested deeper than {MAX_NESTING} levels: what lies deeper is not a step"
            )

    def _item(
        self, tokens: Sequence[Token], index: int, ordered: bool, around: list[tuple[int, Draft | None]]
    ) -> Draft | None:
        """The step that an item is, or None for a plain bullet."""
        token = tokens[index]
        text = tokens[index + 2].content if tokens[index + 1].type in ("paragraph_open", "heading_open") else ""
        task = _TASK.match(text)
        if (not ordered and not task) or token.map is None:
            return None
        start, end = token.map
        parents = [step for _, step in around if step is not None]
        same_line = sum(1 for line, _ in around if line == start)
        section = len(self.sections) - 1
        self.sections[section].steps += 1
        draft = Draft(
            start,
            end,
            len(parents),
            _offset(self.lines[start], same_line + 1),
            section,
            text[task.end() :] if task else text,
            token.info if ordered else "",
            parents[-1] if parents else None,
            task=task is not None,
        )
        self.drafts.append(draft)
        return draft

    def _whole_sections(self) -> None:
        """A section without an item is one step, unless it is nothing but the name over deeper ones."""
        extra: list[Draft] = []
        for index, section in enumerate(self.sections):
            if section.steps or (index == 0 and len(self.sections) > 1):
                continue
            following = self.sections[index + 1] if index + 1 < len(self.sections) else None
            end = following.line if following else len(self.lines)
            empty = not any(line.strip() for line in self.lines[section.body : end])
            if index > 0 and empty and following and following.depth > section.depth:
                continue
            extra.append(Draft(section.line, end, 0, 0, index, section.text or self.title))
        self.drafts = sorted([*self.drafts, *extra], key=lambda draft: draft.section)  # stable: lines stay ascending

    def _own_lines(self) -> None:
        """Every line belongs to one step: the innermost item around it, else the step before it."""
        lines = self.lines
        owner = [-1] * len(lines)
        for index, draft in enumerate(self.drafts):
            owner[draft.line : draft.end] = [index] * (draft.end - draft.line)
        for section in self.sections[1:]:
            owner[section.line : section.body] = [-2] * (section.body - section.line)
        last = 0
        first_of = self._first_steps()
        section_at = 0
        for at, line in enumerate(lines):
            while section_at + 1 < len(self.sections) and self.sections[section_at + 1].line <= at:
                section_at += 1
                last = first_of[section_at]
            if owner[at] == -2:
                continue
            if owner[at] == -1:
                owner[at] = last
                self.drafts[last].lines.append(line)
                continue
            last = owner[at]
            draft = self.drafts[last]
            text = _dedented(line, draft.offset) if draft.offset else line
            draft.lines.append(_TASK.sub("", text, count=1) if draft.task and at == draft.line else text)
        self._owner = owner

    def _first_steps(self) -> list[int]:
        """For each section, its first step, or the next there is."""
        firsts = [len(self.drafts) - 1] * len(self.sections)
        following = len(self.drafts) - 1
        first_in: dict[int, int] = {}
        for index, draft in enumerate(self.drafts):
            first_in.setdefault(draft.section, index)
        for section in range(len(self.sections) - 1, -1, -1):
            following = first_in.get(section, following)
            firsts[section] = following
        return firsts

    def _contents(self, tokens: Sequence[Token]) -> None:
        """Give each step its code blocks and its acts."""
        for token in tokens:
            if token.map is None:
                continue
            line = token.map[0]
            if token.type in ("fence", "code_block"):
                self._code(token, line)
            elif token.type == "inline" and "console:" in token.content:
                for act in words.acts(token.content, self.env):
                    at = line + token.content[: token.content.find(f"console:{act}")].count("\n")
                    self._act(act, at)

    def _code(self, token: Token, line: int) -> None:
        fenced = token.type == "fence"
        if fenced and token.map and token.content.count("\n") != token.map[1] - token.map[0] - 2:
            self.problem(line, "error", "this code fence is never closed: all that follows it is read as code")
        info = token.info if fenced else ""
        act = words.ACT_INFO.search(info)
        if act:
            self._act(act.group(1), line)
            return
        draft = self._draft_at(line)
        language = words.language(info)
        if language == "promql":
            text = token.content.strip()
            if text:
                draft.checks.append(text)
            return
        for command in commands(token.content, language):
            draft.commands.append(command)
            blanks = words.BLANKS.findall(command)
            if blanks:
                listed = ", ".join(dict.fromkeys(plain(blank, 40) for blank in blanks[:5]))
                self.problem(line, "warning", f"a command has blanks to fill in before it can run: {listed}")

    def _act(self, act: str, line: int) -> None:
        complaint = words.unknown_act(act)
        if complaint:
            self.problem(line, "error", complaint)
            return
        known = self._draft_at(line).acts
        if known and act not in known:
            self.problem(line, "warning", f"this step already has the act {known[0]!r}; {act!r} is ignored")
        known.append(act)

    def _draft_at(self, line: int) -> Draft:
        """A heading's own line (a link in it, say) belongs to the section's first step."""
        at = line
        while at < len(self._owner) - 1 and self._owner[at] < 0:
            at += 1
        return self.drafts[max(self._owner[at], 0)]


def _offset(line: str, markers: int) -> int:
    """The column at which an item's own text begins, `markers` list markers into its first line."""
    at = 0
    expanded = line.expandtabs(4)
    for _ in range(markers):
        match = _MARKER.match(expanded, at)
        if match is None:
            break
        at = match.end()
    return at


def _dedented(line: str, offset: int) -> str:
    """`line` without its item's indentation, marker and quote signs."""
    text = line.expandtabs(4) if "\t" in line else line
    before = text[:offset]
    if not before.strip(" >") or _MARKER.match(before):
        return text[offset:]
    return text.lstrip(" >")

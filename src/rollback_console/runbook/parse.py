"""Any markdown document as a runbook: one flat list of steps with their lines. No file is ever refused.

Every ordered and every task item at any depth is a step; a section without any is one step; so is a file without
headings. What stands between the items belongs to the item before it (to the first one, where none precedes), so a
walk of the steps shows the whole document. A heading that only holds deeper headings is no step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rollback_console.model.text import plain
from rollback_console.model.walk import Runbook, RunbookProblem, RunbookStep, StepKind
from rollback_console.runbook import words
from rollback_console.runbook.document import MAX_NESTING, Document, Draft

if TYPE_CHECKING:
    from markdown_it.token import Token

MAX_CHARACTERS = 256 * 1024  # what is read as steps, some five thousand lines; worst input takes seconds, not minutes
_MAX_REST = 20_000
_MAX_PROBLEMS = 100


def parse(data: bytes, name: str, path: str = "") -> Runbook:
    """The runbook in `data`, the bytes of a markdown file. Never raises for what the bytes are.

    `name` is what it is known by, `path` where it came from ("" from the journal). Lines count from 1.
    """
    text, problems = words.decoded(data)
    lines = text.split("\n")
    if lines and not lines[-1]:
        lines.pop()
    title, after = words.front_matter(lines)
    head, rest = _capped(lines)
    document = Document([""] * after + head[after:] or [""], title or words.stem(name))
    document.problems.extend(problems)
    if not text.strip():
        document.problem(0, "error", "the file is empty: there is nothing to walk")
    tokens, complaint = _tokens("\n".join(document.lines) + "\n", document.env)
    if complaint:
        document.problem(0, "error", complaint)
    document.read(tokens)
    _duplicates(document)
    for line, message in words.placeholders(head[after:], after):
        document.problem(line, "warning", message)
    steps = _steps(document)
    if rest:
        message = f"the file is longer than {MAX_CHARACTERS:,} characters: from here on it is one step"
        document.problem(len(head), "error", message)
        steps.append(_rest(rest, len(head), {step.id for step in steps}))
    return Runbook(
        name=name,
        title=_title(document),
        digest=hashlib.sha256(data).hexdigest(),
        path=path,
        text=text,
        steps=tuple(steps),
        problems=_ordered(document.problems),
    )


def _tokens(source: str, env: dict[str, object]) -> tuple[Sequence[Token], str]:
    """Block tokens only: what is inside a line is read where it is needed. A parser's own fault is a problem."""
    try:
        return words.parser(MAX_NESTING).parse(source, env), ""
    except (IndexError, RecursionError, RuntimeError, ValueError) as fault:
        return (), f"the markdown could not be read ({type(fault).__name__}): the file is one step"


def _capped(lines: list[str]) -> tuple[list[str], list[str]]:
    """The lines that are read as steps, and the rest."""
    size = 0
    for index, line in enumerate(lines):
        size += len(line) + 1
        if size > MAX_CHARACTERS:
            return lines[:index], lines[index:]
    return lines, []


def _rest(rest: list[str], line: int, taken: set[str]) -> RunbookStep:
    body = ""
    for text in rest:
        body += text[: _MAX_REST - len(body)] + "\n"
        if len(body) >= _MAX_REST:
            break
    step_id = next(name for name in ("rest", *(f"rest-{n}" for n in range(2, len(taken) + 3))) if name not in taken)
    return RunbookStep(step_id, "The rest of the document, not read as steps", line + 1, 0, StepKind.PROSE, body)


def _duplicates(document: Document) -> None:
    seen: dict[tuple[tuple[str, ...], str], int] = {}
    for section in document.sections[1:]:
        key = (section.path, words.slug(words.shown(section.text, document.env)))
        if key in seen:
            shown = plain(words.shown(section.text, document.env), 80)
            document.problem(section.line, "warning", f"the heading {shown!r} stands on line {seen[key]} too")
        else:
            seen[key] = section.line + 1


def _steps(document: Document) -> list[RunbookStep]:
    taken = words.Ids()
    steps: list[RunbookStep] = []
    for draft in document.drafts:
        text, role = words.role(words.shown(draft.text, document.env))
        title = words.title(text) or (f"Step {draft.number}" if draft.number else document.title)
        draft.slug = words.slug(title)
        steps.append(
            RunbookStep(
                id=taken.new(_path(document, draft)),
                title=title,
                line=draft.line + 1,
                level=draft.level,
                kind=_kind(draft, title),
                body="\n".join(draft.lines).strip("\n"),
                commands=tuple(draft.commands),
                checks=tuple(draft.checks),
                act=draft.acts[0] if draft.acts else None,
                role=role,
            )
        )
    return steps


def _path(document: Document, draft: Draft) -> tuple[str, ...]:
    """What an id is made of: the headings around a step, the step it stands in, its own title."""
    section = document.sections[draft.section]
    path = list(section.path)
    if section.line != draft.line and section.text and not (section.depth == 1 and draft.section == 1):
        path.append(words.slug(words.shown(section.text, document.env)))
    if draft.parent is not None:
        path.append(draft.parent.slug)
    return (*path, draft.slug)


def _kind(draft: Draft, title: str) -> StepKind:
    if draft.acts:
        return StepKind.ACT
    if draft.commands:
        return StepKind.COMMAND
    return StepKind.CHECK if draft.checks or words.LOOKS.match(title) else StepKind.PROSE


def _title(document: Document) -> str:
    named = [section for section in document.sections[1:] if section.text]
    best = next((section for section in named if section.depth == 1), named[0] if named else None)
    return (words.title(words.role(words.shown(best.text, document.env))[0]) if best else "") or document.title


def _ordered(problems: list[RunbookProblem]) -> tuple[RunbookProblem, ...]:
    """In the order of the lines, a line's same complaint once; beyond a hundred, errors first and a count."""
    unique = sorted(dict.fromkeys(problems), key=lambda problem: problem.line)
    if len(unique) <= _MAX_PROBLEMS:
        return tuple(unique)
    kept = sorted(unique, key=lambda problem: problem.severity != "error")[:_MAX_PROBLEMS]
    more = RunbookProblem(unique[-1].line, "warning", f"and {len(unique) - _MAX_PROBLEMS} problems more")
    return (*sorted(kept, key=lambda problem: problem.line), more)

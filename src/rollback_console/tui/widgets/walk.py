"""A walk through a runbook as lines: the list to choose from, the steps, the current step's page, the live panel."""

from __future__ import annotations

import re

from rich.cells import cell_len
from rich.text import Text

from rollback_console.model.identity import DeploymentId
from rollback_console.model.plan import StepState
from rollback_console.model.snapshot import DeploymentView, Snapshot
from rollback_console.model.text import duration, number, plain
from rollback_console.model.verdict import TriggerState
from rollback_console.model.walk import Runbook, RunbookStep, StepKind, Walk, WalkStep
from rollback_console.tui.widgets.fleet_rows import lead
from rollback_console.tui.widgets.lines import clip, fit, heading, line, paragraph, utc, version_word, wrap
from rollback_console.tui.widgets.markdown import markdown_lines
from rollback_console.tui.widgets.plan import STEP_WORDS
from rollback_console.tui.widgets.state import clock_of, state_word
from rollback_console.tui.widgets.walk_checks import StepChecks

_LINK = re.compile(r"\[([^\]]{0,300})\]\([^)]{0,300}\)")
_MARKS = re.compile(r"[*_`#]|^\s*(?:[-+]|\d{1,3}[.)])\s", re.MULTILINE)
_TITLE_LINES = 2
BLIND_BOOK = "blind-telemetry"


def proposed(snapshot: Snapshot, deployment: DeploymentView | None) -> str | None:
    """Name of the runbook proposed for a deployment: the advice's where it names one, else the one for telemetry that
    is blind where the state is, else the policy's; None where the library has none of them."""
    if deployment is None:
        return None
    incident = snapshot.incident_of(deployment.id)
    advice = [*(incident.recommendations if incident else ()), *snapshot.recommendations]
    names = [r.runbook for r in advice if r.deployment == deployment.id and r.runbook]
    verdict = deployment.verdict
    if verdict is not None and verdict.state is TriggerState.BLIND:
        names.append(BLIND_BOOK)
    if deployment.rule.runbook:
        names.append(deployment.rule.runbook)
    return next((name for name in (book_named(snapshot, n) for n in names) if name), None)


def book_named(snapshot: Snapshot, name: str) -> str | None:
    """The name of the runbook in the library that `name` means, with or without `.md`."""
    bare = name.removesuffix(".md")
    return next(
        (book.name for book in snapshot.runbooks if book.name in (name, bare) or book.name == f"{bare}.md"), None
    )


def ordered(snapshot: Snapshot, deployment: DeploymentView | None) -> list[Runbook]:
    """The library, the proposed one first, then by title."""
    first = proposed(snapshot, deployment)
    return sorted(snapshot.runbooks, key=lambda book: (book.name != first, book.title, book.name))


def fitting_book(snapshot: Snapshot, deployment: DeploymentView | None) -> str | None:
    """Name of the runbook to open without asking: the one being walked here (of several the proposed one, else the
    one begun last), else the proposed one, else the only one there is; None where somebody has to choose."""
    walks = [open_walk_of(snapshot, book.name, deployment) for book in snapshot.runbooks]
    walked = [walk.runbook.name for walk in sorted((w for w in walks if w), key=lambda walk: walk.started_at)]
    first = proposed(snapshot, deployment)
    if walked:
        return first if first in walked else walked[-1]
    return first or (snapshot.runbooks[0].name if len(snapshot.runbooks) == 1 else None)


def shown_walk(snapshot: Snapshot, name: str, walk: str | None, deployment: DeploymentId | None) -> Walk | None:
    """The walk of that id; where there is none (yet), the document of that name with every step waiting, id ""."""
    real = next((found for found in snapshot.walks if found.id == walk), None)
    book = next((found for found in snapshot.runbooks if found.name == name), None)
    if real is not None or book is None:
        return real
    steps = tuple(WalkStep(step, StepState.WAITING) for step in book.steps)
    return Walk("", book, str(deployment or ""), "", "", snapshot.at, steps)


def choice_lines(snapshot: Snapshot, deployment: DeploymentView | None, chosen: int, width: int) -> list[Text]:
    """The list to choose a runbook from: two lines each."""
    first = proposed(snapshot, deployment)
    rows = [heading("Runbooks", width, "enter walks the chosen one")]
    for index, book in enumerate(ordered(snapshot, deployment)):
        mark = "▸ " if index == chosen else "  "
        why = "proposed · " if book.name == first else ""
        open_walk = open_walk_of(snapshot, book.name, deployment)
        going = f" · walk open, by {plain(open_walk.operator, 24)}" if open_walk else ""
        title = plain(book.title or book.name, 200)
        rows.append(line((mark, "accent"), (clip(title, width - 2), "chosen" if index == chosen else "bold")))
        problems = f" · {len(book.problems)} problems" if book.problems else ""
        note = f"{why}{len(book.steps)} steps{going}{problems} · {plain(book.name, 80)}"
        rows.append(line("    ", (clip(note, width - 4), "accent" if why else "dim")))
    return rows


def open_walk_of(snapshot: Snapshot, name: str, deployment: DeploymentView | None) -> Walk | None:
    """The open walk of a runbook for a deployment (or for none), if there is one."""
    where = str(deployment.id) if deployment else ""
    return next(
        (
            walk
            for walk in reversed(snapshot.walks)
            if walk.ended_at is None and walk.runbook.name == name and walk.deployment == where
        ),
        None,
    )


def panel_lines(snapshot: Snapshot, view: DeploymentView | None, width: int, now: float) -> list[Text]:
    """The live panel of the deployment in two lines: state and countdown, the leading signal."""
    if view is None:
        return [line(("for no deployment in particular", "dim"))]
    verdict = view.verdict
    glyph, word, role = state_word(verdict)
    version = version_word(verdict.version if verdict else None)
    clock = clock_of(view, now, snapshot)
    head = line(
        (f"{glyph} {word}", role),
        f"  {clip(str(view.id), max(8, width - 40))} {version}",
        *([f"  {clock}"] if clock else []),
    )
    if verdict is None:
        return [head, line(("not evaluated yet", "dim"))]
    worst = lead(view)
    if worst is None:
        return [head, line((clip(verdict.sentence, width), "dim"))]
    rule = next((s for s in view.rule.signals if s.name == worst.name), None)
    unit = rule.unit if rule else ""
    text = plain(rule.title if rule else worst.name, 40)
    if worst.blind is not None:
        text += f": {worst.blind}"
    else:
        text += f" {number(worst.value, unit)}, base {number(worst.baseline, unit)}"
        text += f", limit {number(worst.limit, unit)}" if worst.limit is not None else ""
    judged = {True: ("✗ breached", "bad"), False: ("● ok", "ok"), None: ("? cannot tell", "blind")}[worst.breached]
    return [head, line(judged, f"  {clip(text, max(8, width - 15))}")]


def step_list(walk: Walk, chosen: int, width: int, now: float) -> list[Text]:
    """Every step on a line: state, title, and when it is over who, when, how long; below it why it was skipped."""
    done = sum(step.state in (StepState.DONE, StepState.SKIPPED) for step in walk.steps)
    rows = [heading("Steps", width, f"{done} of {len(walk.steps)}")]
    for index, step in enumerate(walk.steps):
        rows += _step_row(step, index, index == chosen, index == walk.current, width, now)
    return rows


def _step_row(step: WalkStep, index: int, chosen: bool, current: bool, width: int, now: float) -> list[Text]:
    glyph, word, role = STEP_WORDS[step.state]
    if current and step.state is StepState.WAITING:
        glyph, word, role = "▶", "now", "accent"
    lead = f"{'▸' if chosen else ' '}{glyph} {fit(word, 7)} {'  ' * min(4, max(0, step.step.level - 1))}"
    style = "chosen" if chosen else "bold" if current else ""
    title = f"{index + 1} {plain(step.step.title, 300)}"
    pieces = wrap(title, max(8, width - len(lead) - 2)) if cell_len(title) > width - len(lead) else [title]
    if len(pieces) > _TITLE_LINES:
        rest = " ".join(pieces[_TITLE_LINES - 1 :])
        pieces[_TITLE_LINES - 1 :] = [clip(rest, max(6, width - len(lead) - 2))]
    rows = [line((lead, role), (pieces[0], style))]
    rows += [line(" " * (len(lead) + 2), (piece, style)) for piece in pieces[1:]]
    told = _told(step, now)
    if told and (chosen or step.reason):
        rows += paragraph(told, width, "dim", first="           ", most=3)
    return rows


def _told(step: WalkStep, now: float) -> str:
    """Who, when, how long, why: what is known of a step."""
    parts = [f"by {plain(step.operator, 30)}"] if step.operator else []
    if step.ended_at is not None:
        parts.append(f"at {utc(step.ended_at)}")
    if step.started_at is not None:
        took = (step.ended_at if step.ended_at is not None else now) - step.started_at
        parts.append(f"took {duration(took)}" if step.ended_at is not None else f"for {duration(took)}")
    if step.reason:
        parts.append(f"because {plain(step.reason, 200)}")
    return ", ".join(parts)


def compact_steps(walk: Walk, chosen: int, width: int, now: float) -> list[Text]:
    """The steps in three lines, for narrow screens: a glyph each, then the chosen one in words, and who and why."""
    glyphs = line(("steps ", "dim"))
    room = max(4, (width - 14) // 2)
    start = max(0, min(chosen - room // 2, len(walk.steps) - room))
    for index in range(start, min(len(walk.steps), start + room)):
        step = walk.steps[index]
        glyph, _, role = STEP_WORDS[step.state]
        if index == walk.current and step.state is StepState.WAITING:
            glyph, role = "▶", "accent"
        glyphs.append(f"{glyph} ", "chosen" if index == chosen else role)
    glyphs.append(f" {chosen + 1}/{len(walk.steps)}", "bold")
    rows = [glyphs]
    if 0 <= chosen < len(walk.steps):
        step = walk.steps[chosen]
        _, word, role = STEP_WORDS[step.state]
        if chosen == walk.current and step.state is StepState.WAITING:
            word, role = "now", "accent"
        told = _told(step, now)
        rows.append(line((word, role), ("  " + clip(told, max(4, width - len(word) - 2)) if told else "", "dim")))
    return rows


def step_lines(walk: Walk, chosen: int, width: int, checks: StepChecks, now: float) -> list[Text]:
    """One step's own page: title, what enter does, the text, its checks with their answers."""
    if not walk.steps:
        return [line(("this runbook has no steps", "dim"))]
    entry = walk.steps[max(0, min(chosen, len(walk.steps) - 1))]
    step = entry.step
    rows = paragraph(step.title, width, "title", first=f"{chosen + 1}. ")
    rows += [line((clip(_does(entry), width), "accent"))] if _does(entry) else []
    if step.role:
        rows.append(line((clip(f"for: {step.role}", width), "dim")))
    rows.append(line(""))
    rows += markdown_lines(_without_title(step), width)
    rows += checks.lines(entry, width, now)
    if entry.reason:
        rows += paragraph(f"{entry.state}: {plain(entry.reason, 400)}", width, "warn", first="")
    return rows


def _without_title(step: RunbookStep) -> str:
    """A step's text without its first paragraph, or its first line, where that is the title over again."""
    body, title = step.body.lstrip(), _bare(step.title)
    for end in ("\n\n", "\n"):
        first, _, rest = body.partition(end)
        if _bare(first) == title:
            return rest
    return step.body


def _bare(text: str) -> str:
    """Words without what markdown puts around them."""
    shown = _LINK.sub(r"\1", text)
    return " ".join(_MARKS.sub("", shown).split()).rstrip(".:").casefold()


def _does(entry: WalkStep) -> str:
    step = entry.step
    if entry.state in (StepState.DONE, StepState.SKIPPED):
        return f"this step is {entry.state}"
    if step.kind is StepKind.ACT and step.act:
        return f"enter does it here: {plain(step.act, 40)}"
    if step.kind is StepKind.COMMAND and step.commands:
        return "run it elsewhere (c copies the first command), then enter when done"
    if step.kind is StepKind.CHECK:
        return "look, then enter when it holds, f when it does not"
    return "enter when done"


def stands_lines(problem: str, awaited: str, width: int) -> list[Text]:
    """Why no step can be marked; which act is waited for. Nothing where there is neither."""
    rows = []
    if problem:
        rows += paragraph(problem, width, "warn", first="look-only, no step can be marked: ", indent="  ", most=2)
    if awaited:
        rows.append(line((clip(f"▶ waiting for the act: {awaited}", width), "accent")))
    return rows


def walk_head(snapshot: Snapshot, walk: Walk, width: int) -> list[Text]:
    """The runbook's title, its digest, and whether the file is another by now."""
    book = walk.runbook
    begun = f"by {plain(walk.operator, 24)} since {utc(walk.started_at, seconds=False)}" if walk.id else "not begun"
    note = f"{plain(book.digest[:12])} · {begun}"
    rows = [line((clip(book.title or book.name, max(8, width - len(note) - 2)), "title"), ("  " + note, "dim"))]
    library = next((b for b in snapshot.runbooks if b.name == book.name), None)
    if library is None:
        rows += paragraph(
            "the file is gone from the library; this walk keeps the text it began with", width, "warn", first="▲ "
        )
    elif library.digest != book.digest:
        text = f"the file has changed since (now {plain(library.digest[:12])}); this walk keeps the text it began with"
        rows += paragraph(text, width, "warn", first="▲ ")
    if walk.ended_at is not None:
        rows.append(line((f"ended {utc(walk.ended_at)}: {plain(walk.outcome or 'left', 20)}", "warn")))
    return rows

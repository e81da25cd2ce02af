"""A judgement as a form: its rows, and what a key makes of the one that is chosen. Pure: the screen draws and asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.text import Text

from rollback_console.model.judgement import COUNTS_AS, MARGINS, RIGHT, Docket, FollowUp, Judgement, Subject
from rollback_console.model.text import plain
from rollback_console.model.value import dataclass
from rollback_console.tui.widgets.lines import Part, clip, line, paragraph, utc

_LABEL = 17  # cells of a row's label, with the mark before it
_TITLES = {
    "root_cause": "Root cause", "right": "The decision was", "expected": "Expected", "actual": "Actual",
    "deviations": "Deviation", "margins": "Margins", "gate": "Gate", "lessons": "Lesson", "published": "Published at",
    "counts_as": "Counts as",
}  # fmt: skip
HINTS = {
    "subject": "what is judged",
    "root_cause": "one of the team's words: causes are counted by it",
    "right": "was rolling back, or not rolling back, right?",
    "expected": "what was expected to come of it",
    "actual": "what came of it",
    "deviations": "from the plan, with the reason",
    "margins": "did the margins hold?",
    "gate": "the validation gate that would have caught it",
    "lessons": "in a sentence that somebody else can act on",
    "published": "where the analysis stands",
    "counts_as": "how rates take its move; not said: as recorded",
    "follow_up": "who, until when, what: ana 2026-12-24 compare by segment",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the form. `kind`: choice, text, item (one of several; `index`), add (one more), follow (a follow-up),
    open (a new one)."""

    kind: str
    field: str
    index: int = 0


def rows(judgement: Judgement, follow_ups: Sequence[FollowUp]) -> list[Row]:
    """All rows, in their order."""
    found = [Row("choice", "subject")]
    for field in _TITLES:
        if field in ("deviations", "lessons"):
            found += [Row("item", field, index) for index in range(len(getattr(judgement, field)))]
            found.append(Row("add", field))
        else:
            found.append(
                Row("choice" if field in ("root_cause", "right", "margins", "gate", "counts_as") else "text", field)
            )
    return [*found, *(Row("follow", "follow_up", index) for index in range(len(follow_ups))), Row("open", "follow_up")]


def words_of(field: str, docket: Docket, now: str) -> tuple[str, ...]:
    """What a choice chooses among, "" (not said) first; a word of today that is no longer one of the team's stays."""
    words = {
        "root_cause": docket.causes, "right": RIGHT, "margins": MARGINS, "gate": docket.gates, "counts_as": COUNTS_AS,
    }[field]  # fmt: skip
    return ("", *words) if now in ("", *words) else ("", *words, now)


def turned(judgement: Judgement, field: str, docket: Docket, step: int) -> Judgement:
    """The next answer, or the one before, around."""
    now: str = getattr(judgement, field)
    words = words_of(field, docket, now)
    return with_answer(judgement, field, words[(words.index(now) + step) % len(words)])


def with_answer(judgement: Judgement, field: str, value: str) -> Judgement:
    """With another answer to one question."""
    change: dict[str, Any] = {field: value}
    return replace(judgement, **change)


def with_item(judgement: Judgement, field: str, index: int, value: str | None) -> Judgement:
    """With one of several changed, added (`index` beyond the last), or taken out (`value` None)."""
    items: list[str] = list(getattr(judgement, field))
    if value is None:
        del items[index]
    elif index < len(items):
        items[index] = value
    else:
        items.append(value)
    change: dict[str, Any] = {field: tuple(items)}
    return replace(judgement, **change)


def text_of(judgement: Judgement, row: Row) -> str:
    """What stands in a row that is written by hand."""
    if row.kind == "item":
        return str(getattr(judgement, row.field)[row.index])
    return str(getattr(judgement, row.field)) if row.kind == "text" else ""


def drawn(
    row: Row, judgement: Judgement, follow_ups: Sequence[FollowUp], shown: str, width: int, *, chosen: bool
) -> Text:
    """A row as a line; `shown`: the subject's words."""
    mark = "▌" if chosen else " "
    label, value, role = _TITLES.get(row.field, ""), "", ""
    if row.field == "subject":
        label, value = "Of", shown
    elif row.kind in ("choice", "text"):
        value = getattr(judgement, row.field)
    elif row.kind == "item":
        value = getattr(judgement, row.field)[row.index]
    elif row.kind == "add":
        value, role = f"+ {label.lower()}", "dim"
        label = "" if getattr(judgement, row.field) else label
    elif row.kind == "follow":
        value = _follow_up(follow_ups[row.index])
        label = "Follow-up"
    else:
        label, value, role = "" if follow_ups else "Follow-up", "+ follow-up", "dim"
    turns = chosen and row.kind == "choice"
    value, role = (value, role) if value else ("not said", "dim")
    told = clip(f"‹ {plain(value, 300)} ›" if turns else value, width - _LABEL - 1)
    parts: list[Part] = [(f"{mark}{label:<{_LABEL}}", "title" if chosen else "dim"), (told, role)]
    return line(*parts)


def _follow_up(each: FollowUp) -> str:
    ended = "" if each.state == "open" else f" ({each.state})"
    return f"{each.owner or '–'} until {each.due or '–'}: {each.what}{ended}"


def subject_words(subject: Subject, waiting: bool) -> str:
    """`inc-3f2a (waits for judgement)`."""
    return subject.id + (" (waits for judgement)" if waiting else "")


def head(subject: Subject, before: Judgement | None, width: int) -> list[Text]:
    """What it is about, when it was, and which judgement this one replaces."""
    began = f"{utc(subject.began_at, date=True)} UTC"
    when = (
        f"{began} to {utc(subject.ended_at, date=True)} UTC"
        if subject.ended_at is not None
        else (f"since {began}: it is not over")
    )
    standing = (
        f"supersedes entry {before.seq} by {plain(before.by, 40) or 'somebody'}; nothing is erased"
        if before is not None
        else "the first judgement on it"
    )
    return [
        *paragraph(subject.title, width, "title", most=2),
        line((clip(when, width), "dim")),
        line((clip(standing, width), "dim")),
    ]


def parse_follow_up(text: str) -> tuple[str, str, str]:
    """(owner, day, what) of `ana 2026-12-24 compare by segment`. Raises ValueError, with what is wrong."""
    from datetime import date

    owner, _, rest = text.strip().partition(" ")
    day, _, what = rest.strip().partition(" ")
    try:
        date.fromisoformat(day)
    except ValueError:
        raise ValueError("write who, until when, and what: ana 2026-12-24 compare by segment") from None
    if not what.strip():
        raise ValueError("say what is to be done, after the day")
    return owner, day, what.strip()

"""What reports over journals share: which journals, which window, which format, and what is said of what was read."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rollback_console.cli.common import find_journal, rfc3339, warn
from rollback_console.cli.progress import progress
from rollback_console.cli.sheets import FORMATS, Cell, Column, Sheet, show
from rollback_console.errors import UsageError
from rollback_console.model.text import plain

if TYPE_CHECKING:
    from rollback_console.review.past import Past

_LONG = 20_000  # entries; fewer are verified before anybody asks how far it is
_F = TypeVar("_F", bound=Callable[..., Any])


def journals_option(function: _F) -> _F:
    """`--journal FILE`, several times, as `journals: tuple[Path, ...]`."""
    return click.option(
        "--journal",
        "journals",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A journal, export, bundle or download; several are read as one (else the settings').",
    )(function)


def format_option(function: _F) -> _F:
    """`--format` and `--json`, as `form: str` and `as_json: bool`."""
    function = click.option("--json", "as_json", is_flag=True, help="The same as --format json.")(function)
    return click.option(
        "--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print it."
    )(function)


def sheet_option(function: _F) -> _F:
    """`--sheet NAME`, several times, as `only: tuple[str, ...]`."""
    return click.option(
        "--sheet", "only", multiple=True, metavar="NAME", help="Only this table, by its name in JSON; several times."
    )(function)


def read(journals: Sequence[Path], config: Path | None) -> Past:
    """The past that these journals (none: the settings') hold. Says on stderr what is wrong with one, and which are
    rehearsals. Raises UsageError where there is no such file."""
    from rollback_console.review.past_reading import read_past

    paths = [*journals] or [find_journal(None, config)]
    for path in paths:
        if not path.exists():
            raise UsageError(f"there is no journal at {path}", "name one: --journal FILE")
    with _Watched() as watched:
        past = read_past(paths, watched.told)
    for source in past.sources:
        if source.problems:
            warn(f"{source.path}: NOT VERIFIED: {source.problems[0]}; what follows rests on what could be read")
        if source.rehearsal:
            warn(f"{source.path}: a rehearsal: nothing of it counts")
    if past.unread:
        warn(f"{past.unread} entries cannot be read (a newer form, or not what was written): they are not counted")
    return past


class _Watched:
    """A bar for whoever waits: verifying a long journal takes a while."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._come_to: Callable[[int], None] | None = None

    def told(self, done: int, total: int) -> None:
        """So many entries are verified, of about so many."""
        if total < _LONG:
            return
        if self._come_to is None:
            self._come_to = self._stack.enter_context(progress(total, "verifying", as_json=False)).come_to
        self._come_to(min(done, total))

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def exit_code(past: Past) -> int:
    """1 where a journal does not hold, else 0."""
    return 1 if any(source.problems for source in past.sources) else 0


def print_sheets(sheets: Sequence[Sheet], form: str, as_json: bool, only: Sequence[str]) -> None:
    """Print them, or those of them that were asked for. Raises UsageError for one that is none of them."""
    names = [sheet.key for sheet in sheets]
    for name in only:
        if name not in names:
            raise UsageError(f"there is no table {plain(name, 60)}", f"there are {', '.join(names)}")
    show([sheet for sheet in sheets if not only or sheet.key in only], "json" if as_json else form)


def sources_sheet(past: Past) -> Sheet:
    """What was read, and whether it may be believed."""
    columns = (
        Column("journal", "journal"), Column("entries", "entries", ">"), Column("first", "first"),
        Column("last", "last"), Column("verified", "verified"), Column("rehearsal", "rehearsal"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (s.path.name, s.entries, day(s.first_at), day(s.last_at), s.verified, s.rehearsal) for s in past.sources
    ]
    notes = [f"{source.path.name}: {problem}" for source in past.sources for problem in source.problems[:3]]
    return Sheet("journals", "What was read", columns, tuple(rows), tuple(notes))


def day(at: float | None) -> str | None:
    """The time to the minute, `2026-11-20 09:08`, in UTC."""
    told = rfc3339(at)
    return None if told is None else told[:16].replace("T", " ")


def moment_of(option: str, text: str | None) -> float | None:
    """A time, `now`, a day, or how long ago. Raises UsageError."""
    from rollback_console.model.times import NotATime, moment
    from rollback_console.policy.quantities import parse_duration

    if text is None:
        return None
    word = text.strip()
    if word == "now":
        return time.time()
    with contextlib.suppress(ValueError):
        if not word.isdigit():
            return time.time() - parse_duration(word.removesuffix("ago").strip())
    try:
        return moment(word, dates=True)
    except NotATime as error:
        what = f"{option} {plain(text, 60)!r} {error.message}"
        raise UsageError(what, "give 2026-11-20T09:00:00Z, 2026-11-20 or 28d") from None


def length_of(option: str, text: str) -> float:
    """A duration above nothing, in seconds. Raises UsageError."""
    from rollback_console.policy.quantities import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise UsageError(f"{option} {plain(text, 60)!r} is no length of time", "give 7d, 36h or 30m")
    return seconds

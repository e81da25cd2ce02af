"""The scrubber of a review: which moment, where it stands among what happened, and what is made of it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.style import Style
from textual import events
from textual.strip import Strip

from rollback_console.model.review import Again, Mark
from rollback_console.model.text import plain, span
from rollback_console.tui import themes
from rollback_console.tui.themes import GLYPHS, WORDS, Ink
from rollback_console.tui.widgets.band import Piece, lay_out, utc
from rollback_console.tui.widgets.cells import Part, strip_of
from rollback_console.tui.widgets.linewise import LinewiseWidget
from rollback_console.tui.widgets.timeline import day_of

if TYPE_CHECKING:
    from rollback_console.model.identity import DeploymentId
    from rollback_console.review.scrub import Scrub

_SIGNS = {**GLYPHS, "request": "r", "moved": "m", "differs": "≠", "opened": "[", "closed": "]"}
_FIRST = (
    "differs",
    "request",
    "fired",
    "closed",
    "opened",
    "moved",
    "pending",
    "blind",
    "clearing",
    "cooling",
    "healthy",
)
_DAY_S = 86_400.0


def place_of(at: float, times: tuple[float, float], width: int) -> int:
    """In which of `width` cells a time (Unix seconds) stands between two others."""
    begins, ends = times
    if ends <= begins or width < 2:
        return 0
    return max(0, min(width - 1, round((at - begins) / (ends - begins) * (width - 1))))


def signs(marks: list[Mark], times: tuple[float, float], width: int) -> dict[int, str]:
    """By cell what is told there: of several things the one that matters most."""
    found: dict[int, str] = {}
    for mark in marks:
        if mark.kind in _FIRST:
            cell = place_of(mark.at, times, width)
            if cell not in found or _FIRST.index(mark.kind) < _FIRST.index(found[cell]):
                found[cell] = mark.kind
    return found


def ends(times: tuple[float, float]) -> tuple[str, str]:
    """The two ends of a stretch, as short as tells them apart: times of one day, else days."""
    if times[1] - times[0] < _DAY_S and day_of(times[0]) == day_of(times[1]):
        return utc(times[0])[:5], utc(times[1])[:5]
    if times[1] - times[0] < 3 * _DAY_S:
        return f"{day_of(times[0])} {utc(times[0])[:5]}", f"{day_of(times[1])} {utc(times[1])[:5]}"
    return day_of(times[0]), day_of(times[1])


def again_parts(again: Again | None, ink: Ink, name: str) -> list[Piece]:
    """A deployment's recorded state beside what the engine comes to."""
    if again is None:
        return [(0, [("", ink.dim)])]
    out: list[Piece] = [
        (3, [(plain(name, 40), ink.strong)]),
        (0, [("recorded ", ink.dim), *_state(again.recorded, ink)]),
    ]
    if again.differs:
        out.append((0, [("≠ recomputed ", ink.bad), *_state(again.recomputed, ink)]))
    elif again.exact and again.recomputed:
        out.append((1, [("recomputed ", ink.dim), *_state(again.recomputed, ink), (" ✓ same", ink.good)]))
    elif again.recomputed and again.note:
        words = f" ({plain(again.note, 80)})"
        out.append((1, [("recomputed ", ink.dim), *_state(again.recomputed, ink), (words, ink.dim)]))
    elif again.note:
        out.append((1, [("not recomputed: ", ink.dim), (plain(again.note, 80), ink.dim)]))
    return out


def _state(word: str, ink: Ink) -> list[Part]:
    if word not in GLYPHS:
        return [(plain(word, 20), ink.dim)]
    return [(f"{GLYPHS[word]} {WORDS[word]}", ink.states[word])]


class Scrubber(LinewiseWidget):
    """Three lines over a screen of a review; a click goes there."""

    DEFAULT_CSS = "Scrubber { height: 3; background: $surface; }"

    def __init__(self, scrub: Scrub) -> None:
        super().__init__()
        self._scrub = scrub
        self._deployment: DeploymentId | None = None
        self._made: tuple[object, dict[int, str]] = ((), {})

    def about(self, deployment: DeploymentId | None) -> None:
        """Of which deployment the third line tells."""
        if deployment != self._deployment:
            self._deployment = deployment
            self.tick()

    def strip(self, y: int) -> Strip:
        ink, width = themes.ink(self.app), self.size.width
        if not self._scrub.ready:
            words = "reading …" if y == 0 else ""
            return strip_of([(f" {words}", ink.dim)], width, self.base())
        parts = (self._moment, self._bar, self._again)[min(y, 2)](ink, width)
        return strip_of(parts, width, self.base())

    def _moment(self, ink: Ink, width: int) -> list[Part]:
        scrub = self._scrub
        moment, index = scrub.moment, scrub.replay.index
        if moment is None:
            return [(" ", ink.dim)]
        left: list[Piece] = [(0, [(f"{day_of(moment.at)} {utc(moment.at)} UTC", ink.strong)])]
        if scrub.episode is not None:
            since = moment.at - scrub.episode.begins
            sign, what = ("+", "since the first breach") if since >= 0 else ("−", "before the first breach")
            left.append((1, [(f"{sign}{span(abs(since))} ", ink.text), (what, ink.dim)]))
        if moment.age_s is None:
            left.append((2, [("no samples yet", ink.dim)]))
        else:
            old = moment.age_s > 2 * index.ticks.step_s
            left.append((2, [(f"samples {span(moment.age_s)} old", ink.warn if old else ink.dim)]))
        right: list[Piece] = [(3, [(f"entry {moment.seq:,}", ink.dim)])]
        if not moment.whole:
            right.append((0, [("…", ink.warn)]))
        if not index.whole:
            right.append((0, [(f"reading {int(scrub.read * 100)} %", ink.warn)]))
        return lay_out(left, right, width)

    def _bar(self, ink: Ink, width: int) -> list[Part]:
        scrub = self._scrub
        times = scrub.times
        first, last = ends(times)
        room = max(4, width - len(first) - len(last) - 4)
        key = (scrub.window, room, len(scrub.replay.index), len(scrub.differences))
        if self._made[0] != key:
            self._made = (key, signs(scrub.marks(), times, room))
        at = place_of(scrub.at_of(scrub.place), times, room)
        parts: list[Part] = [(f" {first} ", ink.dim)]
        for cell in range(room):
            kind = self._made[1].get(cell)
            sign, style = ("─", ink.rule) if kind is None else (_SIGNS[kind], _style(kind, ink))
            if cell == at:
                parts.append(("█", ink.strong) if kind is None else (sign, style + Style(reverse=True)))
            else:
                parts.append((sign, style))
        parts.append((f" {last}", ink.dim))
        return parts

    def _again(self, ink: Ink, width: int) -> list[Part]:
        scrub = self._scrub
        name = self._deployment.name if self._deployment is not None else ""
        left = again_parts(scrub.again(self._deployment), ink, name)
        count = len(scrub.differences)
        right: list[Piece] = [(2, [(f"≠ {count} differ: d", ink.bad)])] if count else []
        return lay_out(left, right, width)

    def on_click(self, event: events.Click) -> None:
        """There, on the bar."""
        times = self._scrub.times
        first, last = ends(times)
        room = max(4, self.size.width - len(first) - len(last) - 4)
        cell = event.x - len(first) - 2
        if event.y == 1 and 0 <= cell < room:
            at = times[0] + (times[1] - times[0]) * cell / max(1, room - 1)
            self._scrub.go(self._scrub.replay.index.place_at(at))


def _style(kind: str, ink: Ink) -> Style:
    if kind in ink.states:
        return ink.states[kind]
    return {"differs": ink.bad, "request": ink.strong, "moved": ink.strong}.get(kind, ink.dim)

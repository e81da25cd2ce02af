"""The band at the top: where one is, in words; who; when; how the backends, the hub and the journal are."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import duration, plain
from rollback_console.tui import themes
from rollback_console.tui.themes import Ink
from rollback_console.tui.widgets.cells import Part, strip_of, width_of

if TYPE_CHECKING:
    from rollback_console.tui.app import ConsoleApp

_BACKEND_GLYPH = {
    BackendState.CONNECTING: "…",
    BackendState.OK: "●",
    BackendState.SLOW: "◐",
    BackendState.FAILING: "✗",
    BackendState.NOT_CONFIGURED: "–",
}
Piece = tuple[int, list[Part]]  # how readily it goes when there is no room (higher goes first), and what it says


class Band(Widget):
    """Two lines, always there. Pieces go by their importance when the terminal is narrow; where one is never goes."""

    DEFAULT_CSS = "Band { dock: top; height: 2; background: $surface; }"

    def tick(self) -> None:
        """The clocks have moved on."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        app = cast("ConsoleApp", self.app)
        ink = themes.ink(app)
        snapshot = app.snapshot
        if y == 0:
            left, right = where(app.title, snapshot, app.now(), ink, self.size.width)
        else:
            left, right = health(snapshot, app.now(), ink, self.size.width, str(app.problem) if app.problem else "")
        return strip_of(lay_out(left, right, self.size.width), self.size.width, self.rich_style)


def lay_out(left: list[Piece], right: list[Piece], width: int) -> list[Part]:
    """The pieces on one line, `left` from the left and `right` to the right, dropping by importance until they fit."""
    gap = 2
    pieces = [(p, parts, True) for p, parts in left] + [(p, parts, False) for p, parts in right]

    def size(parts: list[Part]) -> int:
        return sum(width_of(text) for text, _ in parts)

    while pieces and sum(size(p[1]) + gap for p in pieces) > width:
        droppable = [p for p in pieces if p[0] > 0]
        if not droppable:
            break
        pieces.remove(max(droppable, key=lambda p: p[0]))
    out: list[Part] = [(" ", Style())]
    for _, parts, is_left in pieces:
        if is_left:
            out += [*parts, (" " * gap, Style())]
    rights = [parts for _, parts, is_left in pieces if not is_left]
    tail: list[Part] = []
    for parts in rights:
        tail += [*(((" " * gap, Style()),) if tail else ()), *parts]
    used = size(out) + size(tail) + 1
    if tail:
        out += [(" " * max(0, width - used), Style()), *tail]
    return out


def where(
    title: str, snapshot: Snapshot | None, now: float, ink: Ink, width: int = 80
) -> tuple[list[Piece], list[Piece]]:
    """The first line: product, environment, what is held back; operator, time, the incident's clock."""
    clock: Piece = (1, [(f"{utc(now)} UTC", ink.text)])
    if snapshot is None:
        return [(2, [(title, ink.strong)]), (0, [("CONNECTING", ink.warn)])], [clock]
    badge = ink.badge_simulated if snapshot.simulated else ink.badge
    left: list[Piece] = [(5, [(title, ink.strong)]), (0, [(f" {plain(snapshot.band, 30)} ", badge)])]
    if snapshot.simulated and snapshot.speed == 0:
        left.append((0, [("PAUSED", ink.warn)]))
    if _offline(snapshot):
        left.append((0, [("OFFLINE", ink.bad)]))
    if snapshot.look_only:
        left.append((0, [("LOOK-ONLY", ink.warn)]))
        left.append((6, [(plain(snapshot.look_only, 44), ink.dim)]))
    right: list[Piece] = []
    if snapshot.operator is not None:
        who = snapshot.operator
        roles = " · " + plain(", ".join(who.roles), 30) if who.roles and width >= 72 else ""
        right.append((3, [(plain(who.name or who.id, 24), ink.text), (roles, ink.dim)]))
    right.append(clock)
    onsets = [i.onset for i in snapshot.incidents if i.closed_at is None]
    if onsets:
        right.append((2, [("incident ", ink.dim), (duration(now - min(onsets)), ink.bad)]))
    return left, right


def health(
    snapshot: Snapshot | None, now: float, ink: Ink, width: int = 80, problem: str = ""
) -> tuple[list[Piece], list[Piece]]:
    """The second line: backends, hub, journal; alarms."""
    if snapshot is None:
        if problem:
            return [(0, [("✗ ", ink.bad), (plain(problem, 120), ink.bad)])], []
        return [(0, [("backends … connecting", ink.dim)])], []
    left = [_backend(backend, now, snapshot.step_s, ink, width < 70) for backend in snapshot.backends]
    left.append((6, [(plain(snapshot.hub, 40), ink.dim)]))
    journal = snapshot.journal
    if journal.problem:
        left.append((1, [("journal ✗ ", ink.bad), (plain(journal.problem, 44), ink.bad)]))
    else:
        left.append((3, [("journal ", ink.dim), ("✓", ink.good), (f" {journal.entries:,}", ink.text)]))
        if not journal.recorder and journal.recorder_pid is not None:
            left.append((5, [(f"follows pid {journal.recorder_pid}", ink.dim)]))
    alarms = sum(1 for view in snapshot.deployments if view.verdict is not None and view.verdict.alarming)
    word = "alarm" if alarms == 1 else "alarms"
    right: list[Piece] = [(2, [(f"▲ {alarms} {word}" if alarms else "0 alarms", ink.bad if alarms else ink.dim)])]
    return left, right


def _backend(backend: BackendHealth, now: float, step_s: float, ink: Ink, compact: bool) -> Piece:
    style = {BackendState.OK: ink.good, BackendState.FAILING: ink.bad, BackendState.SLOW: ink.warn}.get(
        backend.state, ink.dim
    )
    parts: list[Part] = [(f"{plain(backend.name, 16)} ", ink.dim), (_BACKEND_GLYPH[backend.state], style)]
    age = None if backend.last_ok is None else max(0.0, now - backend.last_ok)
    if backend.state is BackendState.FAILING:
        parts.append((f" failing {duration(age)}" if age is not None else " failing", style))
    elif backend.state in (BackendState.OK, BackendState.SLOW):
        word = " slow" if backend.state is BackendState.SLOW else ""
        latency = "" if backend.latency_s is None or compact else f" {backend.latency_s:.1f} s"
        parts.append((word + latency, ink.text))
        if age is not None and age >= max(2.0, step_s):
            parts.append((f" {duration(age)} ago", ink.warn if age > 3 * step_s else ink.dim))
    else:
        parts.append((f" {backend.state.value}", ink.dim))
    return (1 if backend.state is BackendState.FAILING else 4, parts)


def _offline(snapshot: Snapshot) -> bool:
    asked = [b for b in snapshot.backends if b.state is not BackendState.NOT_CONFIGURED]
    return bool(asked) and all(b.state is BackendState.FAILING for b in asked)


def utc(at: float) -> str:
    """Unix seconds as `14:02:31`, UTC."""
    whole = int(at) % 86_400
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}"

"""What the band says: where one is, who, when; backends, hub, journal, alarms."""

from __future__ import annotations

from rollback_console.model.observation import BackendHealth, BackendState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import duration, plain, span
from rollback_console.tui.themes import Ink
from rollback_console.tui.widgets.band import Piece, utc
from rollback_console.tui.widgets.cells import Part, width_of

_BACKEND_GLYPH = {
    BackendState.CONNECTING: "…",
    BackendState.OK: "●",
    BackendState.SLOW: "◐",
    BackendState.FAILING: "✗",
    BackendState.NOT_CONFIGURED: "–",
}


_SHORT = {"prometheus": "prom"}
_BRIEFEST = 4
_REGISTRY_POLL_S = 30.0  # the other backends are asked at every evaluation


def where(title: str, snapshot: Snapshot, now: float, ink: Ink, width: int = 80) -> tuple[list[Piece], list[Piece]]:
    """The first line: product, environment, what is held back; operator, time, the incident's clock."""
    clock: Piece = (1, [(f"{utc(now)} UTC", ink.text)])
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


def health(snapshot: Snapshot, now: float, ink: Ink, width: int = 80) -> tuple[list[Piece], list[Piece]]:
    """The second line: backends, hub, journal; alarms. Said as fully as `width` lets all of it be said; where even the
    shortest form is too long, pieces go."""
    for brief in range(_BRIEFEST + 1):
        left, right = _health(snapshot, now, ink, brief if width >= 70 else _BRIEFEST)
        if 1 + sum(2 + sum(width_of(text) for text, _ in parts) for _, parts in (*left, *right)) <= width:
            break
    return left, right


def _health(snapshot: Snapshot, now: float, ink: Ink, brief: int) -> tuple[list[Piece], list[Piece]]:
    """`brief`: 1 shortens the backends' names, 2 their latency, 3 takes it, 4 the journal's length."""
    left: list[Piece] = []
    for backend in snapshot.backends:
        left.append(_backend(backend, now, snapshot.step_s, ink, brief))
        # Why it fails goes before other figures: at 80 columns it is the one thing to know of this line.
        if backend.state is BackendState.FAILING and backend.detail:
            left.append((2, [(_why(backend), ink.bad)]))
    left.append((5, [(plain(snapshot.hub, 40), ink.dim)]))
    journal = snapshot.journal
    if journal.problem:
        left.append(
            (
                1,
                [
                    ("journal ✗ ", ink.bad),
                    (plain(journal.problem.removeprefix(f"the journal {journal.path} "), 44), ink.bad),
                ],
            )
        )
    else:
        count = f" {journal.entries:,}" if brief < _BRIEFEST else ""
        if journal.emergency:
            left.append((1, [("EMERGENCY journal", ink.bad), (count, ink.text)]))
        else:
            left.append((3, [("journal ", ink.dim), ("✓", ink.good), (count, ink.text)]))
        if not journal.recorder and journal.recorder_pid is not None:
            left.append((6, [(f"follows pid {journal.recorder_pid}", ink.dim)]))
    alarms = sum(1 for view in snapshot.deployments if view.verdict is not None and view.verdict.alarming)
    alarms += len(snapshot.alarms)
    word = "alarm" if alarms == 1 else "alarms"
    if snapshot.review:  # what a journal holds is what was; what alarms now, it cannot tell
        return left, [(2, [("alarms not known in a review", ink.dim)])]
    right: list[Piece] = [(2, [(f"▲ {alarms} {word}" if alarms else "0 alarms", ink.bad if alarms else ink.dim)])]
    return left, right


def _backend(backend: BackendHealth, now: float, step_s: float, ink: Ink, brief: int) -> Piece:
    style = {BackendState.OK: ink.good, BackendState.FAILING: ink.bad, BackendState.SLOW: ink.warn}.get(
        backend.state, ink.dim
    )
    name = plain(backend.name, 16)
    name = _SHORT.get(name, name) if brief else name
    parts: list[Part] = [(f"{name} ", ink.dim), (_BACKEND_GLYPH[backend.state], style)]
    age = None if backend.last_ok is None else max(0.0, now - backend.last_ok)
    if backend.state is BackendState.FAILING:
        parts.append((f" failing {duration(age)}" if age is not None else " failing", style))
    elif backend.state in (BackendState.OK, BackendState.SLOW):
        word = " slow" if backend.state is BackendState.SLOW else ""
        unit = " s" if brief < 2 else "s"
        latency = "" if backend.latency_s is None or brief > 2 else f" {backend.latency_s:.1f}{unit}"
        parts.append((word + latency, ink.text))
        poll = max(step_s, _REGISTRY_POLL_S) if name == "registry" else step_s
        if age is not None and age > 2 * poll + 1:  # a fresh answer's age would only flicker
            parts.append((f" polled {span(age)} ago", ink.warn))
    else:
        parts.append((f" {backend.state.value}", ink.dim))
    return (1 if backend.state is BackendState.FAILING else 4, parts)


def _why(backend: BackendHealth) -> str:
    """The reason alone, in a few words: which backend and where is said beside it, what to do on the fleet's line."""
    name = plain(backend.name, 16)
    reason = plain(backend.detail, 300).removeprefix(f"{name}: ").removeprefix(f"{name} ")
    if reason.startswith("at ") and reason.count(" ") > 2:
        reason = reason.split(" ", 2)[2]
    head = reason.partition(": ")[0]
    return plain(head if " " in head else reason, 40)


def _offline(snapshot: Snapshot) -> bool:
    asked = [b for b in snapshot.backends if b.state is not BackendState.NOT_CONFIGURED]
    return bool(asked) and all(b.state is BackendState.FAILING for b in asked)

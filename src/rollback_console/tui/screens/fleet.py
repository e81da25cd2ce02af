"""The fleet: every deployment, most urgent first, and the selected one in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Container
from textual.strip import Strip
from textual.widget import Widget

from rollback_console.model.identity import DeploymentId
from rollback_console.model.observation import BackendState
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import duration, plain
from rollback_console.model.verdict import TriggerState
from rollback_console.tui import themes
from rollback_console.tui.keys import act_bindings
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.themes import GLYPHS
from rollback_console.tui.widgets.band import Piece, lay_out
from rollback_console.tui.widgets.cells import Part, strip_of
from rollback_console.tui.widgets.fleet import FleetView
from rollback_console.tui.widgets.selected import Selected

if TYPE_CHECKING:
    from rollback_console.tui.app import ConsoleApp

_ORDER = (
    TriggerState.FIRED,
    TriggerState.PENDING,
    TriggerState.CLEARING,
    TriggerState.BLIND,
    TriggerState.COOLING,
    TriggerState.HEALTHY,
)


def trouble(snapshot: Snapshot, now: float) -> tuple[str, ...]:
    """One line for each backend that fails: since when, and why."""
    lines = []
    for backend in snapshot.backends:
        if backend.state is BackendState.FAILING:
            since = f", last answer {duration(now - backend.last_ok)} ago" if backend.last_ok is not None else ""
            lines.append(plain(f"{backend.name} fails{since}: {backend.detail or 'no reason given'}", 300))
    return tuple(lines)


def nothing_yet(snapshot: Snapshot | None, problem: str, filtered: str, now: float) -> tuple[str, ...]:
    """What stands in the fleet's place while there is nothing to show: why, and what to do."""
    if snapshot is None:
        if problem:
            return ("The console could not start.", problem, "", "q leaves; `rollback-console doctor` looks closer.")
        return ("Connecting …", "The first states come as soon as the backends have answered.")
    if filtered:
        return (f"No deployment matches “{filtered}”.", "escape clears the filter")
    if snapshot.notice:
        return (snapshot.notice, *trouble(snapshot, now))
    broken = trouble(snapshot, now)
    if broken:
        return ("No backend has answered yet.", *broken)
    return (
        "No deployments: no policy names one.",
        "`rollback-console init` drafts a policy from a live Prometheus and MLflow;",
        "`rollback-console demo` shows a simulated fleet.",
    )


class FleetTitle(Widget):
    """One line over the fleet: the counts by state, the filter, what the console is busy with."""

    DEFAULT_CSS = "FleetTitle { height: 1; background: $background; }"

    def __init__(self, view: FleetView) -> None:
        super().__init__()
        self._fleet = view
        self._snapshot: Snapshot | None = None
        self._counts: dict[TriggerState | None, int] = {}

    def show(self, snapshot: Snapshot) -> None:
        """Count anew."""
        counts: dict[TriggerState | None, int] = {}
        for view in snapshot.deployments:
            state = view.verdict.state if view.verdict else None
            counts[state] = counts.get(state, 0) + 1
        if counts != self._counts or self._snapshot is None or self._snapshot.notice != snapshot.notice:
            self.refresh()
        self._counts, self._snapshot = counts, snapshot

    def render_line(self, y: int) -> Strip:
        ink = themes.ink(self.app)
        fleet, width = self._fleet, self.size.width
        if fleet.typing or fleet.filter:
            cursor = "█" if fleet.typing else ""
            total = len(self._snapshot.deployments) if self._snapshot else 0
            parts: list[Part] = [
                (" / ", ink.dim),
                (plain(fleet.filter, 80) + cursor, ink.strong),
                (f"  {fleet.shown} of {total}", ink.dim),
                ("  escape clears", ink.dim),
            ]
            return strip_of(parts, width, self.rich_style)
        pieces: list[Piece] = [(6, [("Fleet", ink.strong)])]
        for importance, state in enumerate(_ORDER):
            count = self._counts.get(state)
            if count:
                words = (f"{GLYPHS[state]} {count} {state.value}", ink.states[state])
                pieces.append((0 if state is TriggerState.HEALTHY else importance, [words]))
        if self._counts.get(None):
            pieces.append((1, [(f"{self._counts[None]} waiting", ink.dim)]))
        return strip_of(lay_out(pieces, self._news(ink), width), width, self.rich_style)

    def _news(self, ink: themes.Ink) -> list[Piece]:
        """At the right: what the console is busy with, or that the evaluation shown is old."""
        snapshot = self._snapshot
        if snapshot is None or not snapshot.deployments:
            return []
        if snapshot.notice:
            return [(1, [(plain(snapshot.notice, 60), ink.warn)])]
        age = self.age
        return [(1, [(f"evaluated {duration(age)} ago", ink.warn)])] if age is not None else []

    @property
    def age(self) -> float | None:
        """How old the evaluation shown is, in seconds, once it is older than it ought to be."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.evaluated_at is None:
            return None
        age = cast("ConsoleApp", self.app).now() - snapshot.evaluated_at
        return age if age > 3 * snapshot.step_s else None


class FleetScreen(ConsoleScreen):
    """The first screen."""

    place = "fleet"
    BINDINGS = act_bindings("fleet")
    VERTICAL_BREAKPOINTS = [(0, "-short"), (23, "-tall")]  # noqa: RUF012 - Textual's own form
    DEFAULT_CSS = """
    FleetScreen #fleet { height: 1fr; layout: vertical; }
    FleetScreen.-short Selected { height: 4; }
    FleetScreen.-wide #fleet { layout: horizontal; }
    FleetScreen.-wide Selected { width: 45%; max-width: 84; height: 1fr; margin-left: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.fleet = FleetView()
        self._title = FleetTitle(self.fleet)
        self._selected = Selected()

    def compose_body(self) -> ComposeResult:
        yield self._title
        with Container(id="fleet"):
            yield self.fleet
            yield self._selected

    def on_mount(self) -> None:
        self.fleet.focus()
        self._show(self.snapshot)

    @property
    def acts_on(self) -> DeploymentId | None:
        return self.fleet.selected

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("/", "filter"),)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self._title.show(snapshot)
        self._show(snapshot)

    def on_second(self) -> None:
        if self.snapshot is None:
            self._show(None)
            return
        self.fleet.tick()
        self._selected.tick()
        if self._title.age is not None:
            self._title.refresh()

    def _show(self, snapshot: Snapshot | None) -> None:
        app = self.console_app
        problem = str(app.problem) if app.problem else ""
        self.fleet.show(snapshot, nothing_yet(snapshot, problem, self.fleet.filter, app.now()))
        self._show_selected()

    def _show_selected(self) -> None:
        snapshot, chosen = self.snapshot, self.fleet.selected
        view = snapshot.view(chosen) if snapshot is not None and chosen is not None else None
        self._selected.display = view is not None
        self._selected.show(view, snapshot)

    def on_fleet_view_selected(self) -> None:
        self._show_selected()
        self.refresh_frame()

    def on_filter_changed(self) -> None:
        self._title.refresh()
        self._show(self.snapshot)

    def on_fleet_view_opened(self) -> None:
        self.action_act("open")

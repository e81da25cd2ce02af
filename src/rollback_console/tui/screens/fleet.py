"""The fleet: every deployment, most urgent first, and the selected one in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.containers import Container
from textual.strip import Strip

from rollback_console.tui import themes
from rollback_console.tui.keys import OwnKey
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.themes import GLYPHS
from rollback_console.tui.widgets.alarms import AlarmLines
from rollback_console.tui.widgets.band import Piece, lay_out
from rollback_console.tui.widgets.cells import Part, strip_of
from rollback_console.tui.widgets.fleet import FleetView
from rollback_console.tui.widgets.linewise import LinewiseWidget
from rollback_console.tui.widgets.selected import Selected

if TYPE_CHECKING:
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.snapshot import Snapshot
    from rollback_console.tui.app import ConsoleApp

_ORDER = ("fired", "pending", "clearing", "blind", "cooling", "healthy")
_CONNECTING = ("Connecting …", "The first states come as soon as the backends have answered.")


class FleetTitle(LinewiseWidget):
    """One line over the fleet: the counts by state, the filter, what the console is busy with."""

    DEFAULT_CSS = "FleetTitle { height: 1; background: $background; }"

    def __init__(self, view: FleetView) -> None:
        super().__init__()
        self._fleet = view
        self._snapshot: Snapshot | None = None
        self._counts: dict[str | None, int] = {}
        self._alarming_blind = 0  # of those that are blind, how many fired as that

    def show(self, snapshot: Snapshot) -> None:
        """Count anew."""
        counts: dict[str | None, int] = {}
        for view in snapshot.deployments:
            state = view.verdict.state if view.verdict else None
            counts[state] = counts.get(state, 0) + 1
        blind = [v for v in snapshot.deployments if v.verdict is not None and v.verdict.state == "blind"]
        self._alarming_blind = sum(1 for v in blind if v.verdict is not None and v.verdict.alarming)
        self._counts, self._snapshot = counts, snapshot
        self.tick()

    def strip(self, y: int) -> Strip:
        from rollback_console.model.text import plain

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
            return strip_of(parts, width, self.base())
        pieces: list[Piece] = [(6, [("Fleet", ink.strong)])]
        for importance, state in enumerate(_ORDER):
            count = self._counts.get(state)
            if count:
                words = [(f"{GLYPHS[state]} {count} {state}", ink.states[state])]
                if state == "blind" and self._alarming_blind:
                    words.append((f", ▲ {self._alarming_blind} of them", ink.states["fired"]))
                pieces.append((0 if state == "healthy" else importance, words))
        if self._counts.get(None):
            pieces.append((1, [(f"{self._counts[None]} waiting", ink.dim)]))
        return strip_of(lay_out(pieces, self._news(ink), width), width, self.base())

    def _news(self, ink: themes.Ink) -> list[Piece]:
        """At the right: what the console is busy with, or that the evaluation shown is old."""
        from rollback_console.model.text import duration, plain

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
    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("/", "Filter", "words of a name, a state, a version; alarm, blind, snoozed"),
        OwnKey("j k", "The deployment below, above", "g first, G last"),
    )
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
        self._alarms = AlarmLines()
        self._selected = Selected()

    def compose_body(self) -> ComposeResult:
        yield self._title
        yield self._alarms
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

    def on_key(self, event: events.Key) -> None:
        """The acts' keys. Elsewhere they are bindings; this screen is the first one, and must not wait for the model
        that the table of acts brings."""
        from rollback_console.tui.keys import acts_on

        for action in acts_on(self.place, drill=True):
            if action.key == event.key or (event.character is not None and action.key == event.character):
                event.stop()
                self.action_act(action.id)

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self._title.show(snapshot)
        self._alarms.show(snapshot.alarms)
        self._show(snapshot)

    def on_second(self) -> None:
        if self.snapshot is None:
            self._show(None)
            return
        self.fleet.tick()
        self._selected.tick()
        if self._title.age is not None:
            self._title.tick()

    def _show(self, snapshot: Snapshot | None) -> None:
        app = self.console_app
        if snapshot is None and app.problem is None:
            self.fleet.show(None, _CONNECTING)
            return
        from rollback_console.tui.widgets.nothing import nothing_yet

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
        self.refresh_footer()

    def on_filter_changed(self) -> None:
        self._title.tick()
        self._show(self.snapshot)

    def on_fleet_view_opened(self) -> None:
        self.action_act("open")

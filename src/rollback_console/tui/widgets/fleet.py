"""The fleet: one line-API view of every deployment. Only lines that changed are drawn again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, cast

from rich.style import Style
from textual import events
from textual.actions import SkipAction
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from rollback_console.tui import themes
from rollback_console.tui.widgets.cells import Part, strip_of, width_of, wrap
from rollback_console.tui.widgets.filtering import FilteredView
from rollback_console.tui.widgets.linewise import changed

if TYPE_CHECKING:
    from rollback_console.model.identity import DeploymentId
    from rollback_console.model.incident import Incident
    from rollback_console.model.snapshot import DeploymentView, Snapshot
    from rollback_console.tui.app import ConsoleApp

_STRIPS = 4_000  # strips kept; a screen needs a hundred
PANEL_LINES = 4
_PANEL_MINIMUM = 56  # cells of a panel's width
_Line = tuple[int, int]  # (index of a view, line in its panel), or (-1 - index of a header, 0)


class FleetView(FilteredView, can_focus=True):
    """Every deployment, most urgent first, under its incident's header; a filter; one that is selected.

    Rows of one line, or panels of four while all of them fit; two columns of panels where there is room.
    """

    DEFAULT_CSS = """
    FleetView { height: 1fr; width: 1fr; background: $background; scrollbar-size-vertical: 1; overflow-x: hidden; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("j,down", "move(1)", show=False),
        Binding("k,up", "move(-1)", show=False),
        Binding("h,left", "sideways(-1)", show=False),
        Binding("l,right", "sideways(1)", show=False),
        Binding("g,home", "jump(0)", show=False),
        Binding("G,end", "jump(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("escape", "clear_filter", show=False),
    ]

    class Selected(Message):
        """Another deployment is selected (or none)."""

    class Opened(Message):
        """The selected deployment was clicked again."""

    def __init__(self) -> None:
        super().__init__()
        self.selected: DeploymentId | None = None
        self._chosen: DeploymentId | None = None  # by hand; until then the most urgent is selected
        self._snapshot: Snapshot | None = None
        self._views: list[DeploymentView] = []
        self._headers: list[tuple[Incident | None, list[DeploymentView]]] = []
        self._busy: dict[DeploymentId, str] = {}  # what is executed on a deployment
        self._lines: list[tuple[_Line, ...]] = []
        self._place: dict[DeploymentId, tuple[int, int]] = {}  # id -> (first line, column)
        self._several = False
        self._panels = 0  # columns of panels; 0: rows
        self._longest = 3  # cells of the longest version shown
        self._strips: dict[Hashable, Strip] = {}
        self._drawn: dict[int, tuple[Hashable, Strip]] = {}  # by line of the viewport
        self._laid = (0, 0, 0, 0)  # lines, headers, width, columns of panels: what a whole redraw hangs on
        self._messages: tuple[str, ...] = ()

    # ── what is shown

    @property
    def shown(self) -> int:
        """How many deployments the filter leaves."""
        return len(self._views)

    def show(self, snapshot: Snapshot | None, messages: tuple[str, ...]) -> None:
        """Show a Snapshot; `messages` stand where there is nothing to show."""
        self._snapshot = snapshot
        self._messages = messages
        self._lay_out()

    def _lay_out(self) -> None:
        snapshot = self._snapshot
        size = self.scrollable_content_region.size
        if snapshot is None or not size.width:
            self.refresh()
            return
        from rollback_console.tui.widgets import fleet_rows
        from rollback_console.tui.widgets.fleet_order import grouped, matches

        words = self.filter.lower().split()
        views = [v for v in snapshot.deployments if matches(v, words)] if words else list(snapshot.deployments)
        groups = grouped(snapshot, views)
        on = {execution.plan.deployment for execution in snapshot.executions}
        self._busy = {where: fleet_rows.busy_text(fleet_rows.live_execution(snapshot, where)) for where in on}
        headed = any(incident for incident, _ in groups)
        self._several = len({v.id.environment for v in snapshot.deployments}) > 1
        longest = max((len(fleet_rows.version_text(v)) for v in views), default=3)
        if longest != self._longest:
            self._longest = longest
            self._strips.clear()
        before = self._laid
        self._panels = self._panel_columns(groups, headed)
        self._views, self._headers, self._lines, self._place = [], [], [], {}
        for incident, members in groups:
            if headed and members:
                self._headers.append((incident, members))
                self._lines.append(((-len(self._headers), 0),))
            self._add(members)
        self._select(self._chosen if self._chosen in self._place else self._most_urgent(snapshot))
        width = self.size.width
        self._laid = (len(self._lines), len(self._headers), width, self._panels)
        if self._laid != before:
            self.virtual_size = Size(width, len(self._lines))
            self._drawn.clear()
            self.refresh()
        else:
            self.tick()

    def _panel_columns(self, groups: list[tuple[Incident | None, list[DeploymentView]]], headed: bool) -> int:
        size = self.size
        for columns in (1, 2):
            if size.width < columns * _PANEL_MINIMUM:
                return 0
            needed = sum(-(-len(members) // columns) * PANEL_LINES + headed for _, members in groups)
            if needed <= size.height:
                return columns
        return 0

    def _add(self, members: list[DeploymentView]) -> None:
        start = len(self._views)
        self._views += members
        if not self._panels:
            for index, view in enumerate(members, start):
                self._place[view.id] = (len(self._lines), 0)
                self._lines.append(((index, 0),))
            return
        for first in range(start, len(self._views), self._panels):
            across = range(first, min(first + self._panels, len(self._views)))
            for column, index in enumerate(across):
                self._place[self._views[index].id] = (len(self._lines), column)
            self._lines += [tuple((index, line) for index in across) for line in range(PANEL_LINES)]

    # ── drawing

    def tick(self) -> None:
        """Draw again the visible lines whose content changed: a countdown, a value, a selection."""
        top = round(self.scroll_offset.y)
        for y in range(self.size.height):
            if y not in self._drawn:
                continue
            key, before = self._drawn[y]
            now = self._key(y + top)
            if now == key:
                continue
            strip = self._strip(y + top, now)
            self._drawn[y] = (now, strip)
            # Only the cells that differ go to the terminal: a countdown is five of them, over SSH that is felt.
            start, end = changed(before, strip)
            if start < end:
                self.refresh(Region(start, y, end - start, 1))

    def _key(self, number: int) -> Hashable:
        if not 0 <= number < len(self._lines):
            return None
        from rollback_console.tui.widgets import fleet_rows

        now = self._now()
        parts: list[Hashable] = []
        for index, line in self._lines[number]:
            if index < 0:
                incident, members = self._headers[-1 - index]
                parts.append((incident.id, incident.sentence, incident.attribution.kind) if incident else "")
                parts.append(tuple(member.id for member in members) if incident else len(members))
                continue
            view = self._views[index]
            clock = fleet_rows.clock_text(view.verdict, now) if line == 0 else ""
            says = (clock, fleet_rows.asleep_text(view, now), self._busy.get(view.id, ""))
            parts.append((view.id, view.revision, line, view.id == self.selected, *says))
        width = self.scrollable_content_region.width  # the scrollbar may have come since
        return (width, self.size.width, self._panels, self._several, self._longest, self.app.theme, *parts)

    def _now(self) -> float:
        return cast("ConsoleApp", self.app).now()

    def render_line(self, y: int) -> Strip:
        number = y + round(self.scroll_offset.y)
        width = self.size.width
        if not self._lines:
            return self._message(y, width)
        key = self._key(number)
        strip = self._strip(number, key)
        self._drawn[y] = (key, strip)
        return strip

    def _strip(self, number: int, key: Hashable) -> Strip:
        """The strip of a line, drawn once for each content."""
        if key is None:
            return Strip.blank(self.size.width, self.base())
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) >= _STRIPS:
                self._strips.clear()
            strip = self._strips[key] = self._draw(number, self.scrollable_content_region.width)
        return strip

    def _draw(self, number: int, width: int) -> Strip:
        from rollback_console.tui.widgets import fleet_rows

        ink = themes.ink(self.app)
        base = self.base()
        line = self._lines[number]
        if line[0][0] < 0:
            incident, members = self._headers[-1 - line[0][0]]
            parts = (
                fleet_rows.incident_header(incident, members, width, ink)
                if incident
                else [("── no incident ", ink.dim), (f"· {len(members)}", ink.dim)]
            )
            used = sum(width_of(text) for text, _ in parts)
            return strip_of([*parts, (" " + "─" * max(0, width - used - 1), ink.rule)], width, base)
        share = width // max(1, self._panels)
        now = self._now()
        strips = []
        for index, sub in line:
            view = self._views[index]
            chosen = view.id == self.selected
            asleep, busy = fleet_rows.asleep_text(view, now), self._busy.get(view.id, "")
            clock = fleet_rows.clock_text(view.verdict, now)
            inside: list[Part]
            if self._panels:
                inside = fleet_rows.panel(view, sub, share - 2, clock, asleep, self._several, ink, busy)
            else:
                columns = fleet_rows.Columns.of(width, self._longest)
                inside = fleet_rows.row(view, columns, clock, asleep, self._several, ink, busy)
            marker: Part = ("▌" if chosen else " ", fleet_rows.state_style(view, ink))
            strips.append(strip_of([marker, *inside], share, base, ink.selected if chosen else None))
        return Strip.join(strips).adjust_cell_length(width, base)

    def _message(self, y: int, width: int) -> Strip:
        ink = themes.ink(self.app)
        lines: list[tuple[str, Style]] = []
        for index, message in enumerate(self._messages):
            style = ink.strong if index == 0 else ink.dim
            lines += [(line, style) for line in wrap(message, max(8, width - 4), 4)] or [("", style)]
        at = y - max(0, (self.size.height - len(lines)) // 3)
        if not 0 <= at < len(lines):
            return Strip.blank(width, self.base())
        return strip_of([("  " + lines[at][0], lines[at][1])], width, self.base())

    # ── moving and choosing

    def _most_urgent(self, snapshot: Snapshot) -> DeploymentId | None:
        """The first that alarms among those shown (not snoozed, if there is one such), else the first of all."""
        now = self._now()
        alarming = [
            view for view in snapshot.deployments
            if view.verdict is not None and view.verdict.alarming and view.id in self._place
        ]  # fmt: skip
        loud = [view for view in alarming if view.snoozed_until is None or view.snoozed_until <= now]
        return next((view.id for view in (*loud, *alarming, *self._views)), None)

    def prefer(self, deployment: DeploymentId) -> None:
        """Select this one, once it is among those shown."""
        self._chosen = deployment

    def _select(self, deployment: DeploymentId | None) -> None:
        if deployment != self.selected:
            self.selected = deployment
            self.post_message(self.Selected())

    def _choose(self, deployment: DeploymentId) -> None:
        self._chosen = deployment
        self._select(deployment)
        self._reveal()
        self.tick()

    def _reveal(self) -> None:
        if self.selected not in self._place:
            return
        first = self._place[self.selected][0]
        lines = PANEL_LINES if self._panels else 1
        top, height = round(self.scroll_offset.y), self.size.height
        if first > 0 and self._lines[first - 1][0][0] < 0 and first <= top:
            self.scroll_to(y=first - 1, animate=False, immediate=True)  # with its header
        elif first < top:
            self.scroll_to(y=first, animate=False, immediate=True)
        elif first + lines > top + height:
            self.scroll_to(y=first + lines - height, animate=False, immediate=True)

    def _index(self) -> int:
        return next((i for i, view in enumerate(self._views) if view.id == self.selected), 0)

    def _to(self, index: int) -> None:
        if self._views:
            self._choose(self._views[max(0, min(len(self._views) - 1, index))].id)

    def action_move(self, step: int) -> None:
        self._to(self._index() + step * max(1, self._panels))

    def action_sideways(self, step: int) -> None:
        if self._panels > 1:
            self._to(self._index() + step)

    def action_jump(self, index: int) -> None:
        self._to(index if index >= 0 else len(self._views) - 1)

    def action_page(self, step: int) -> None:
        self._to(self._index() + step * max(1, self.size.height // (PANEL_LINES if self._panels else 1) - 1))

    def action_clear_filter(self) -> None:
        """Raises SkipAction without a filter: then the key is the screen's."""
        if not self.clear_filter():
            raise SkipAction

    def on_click(self, event: events.Click) -> None:
        number = event.y + round(self.scroll_offset.y)
        if not 0 <= number < len(self._lines):
            return
        line = self._lines[number]
        share = max(1, self.size.width // max(1, self._panels))
        index = line[min(len(line) - 1, event.x // share)][0]
        if index < 0:
            return
        again = self._views[index].id == self._chosen
        self._choose(self._views[index].id)
        if again:
            self.post_message(self.Opened())

    def on_resize(self, event: events.Resize) -> None:
        self._drawn.clear()
        self._lay_out()
        self._reveal()
        self.refresh()

    # ── the filter

    def set_filter(self, text: str, *, typing: bool) -> None:
        if text and self.typing and not typing:
            self._chosen = self.selected  # enter: what was looked for is chosen, and stays so without the filter
        super().set_filter(text, typing=typing)

    def filtered(self) -> None:
        self._lay_out()
        self._reveal()

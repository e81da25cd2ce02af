"""The fleet's selected deployment: beside the fleet where there is room, else in a few lines below."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.strip import Strip

from rollback_console.tui import themes
from rollback_console.tui.widgets.cells import Part, strip_of
from rollback_console.tui.widgets.linewise import LinewiseWidget

if TYPE_CHECKING:
    from rollback_console.model.incident import Recommendation
    from rollback_console.model.snapshot import DeploymentView, Snapshot
    from rollback_console.tui.app import ConsoleApp

Line = list[Part]


def recommended(view: DeploymentView, snapshot: Snapshot) -> Recommendation | None:
    """What is advised for a deployment: its own recommendation, else its incident's for it."""
    own = next((r for r in snapshot.recommendations if r.deployment == view.id), None)
    if own is not None:
        return own
    incident = next((i for i in snapshot.incidents if i.id == view.incident and i.closed_at is None), None)
    return next((r for r in incident.recommendations if r.deployment == view.id), None) if incident else None


class Selected(LinewiseWidget):
    """Draws the selected deployment."""

    DEFAULT_CSS = "Selected { height: 5; background: $background; }"

    def __init__(self) -> None:
        super().__init__()
        self._view: DeploymentView | None = None
        self._snapshot: Snapshot | None = None
        self._lines: list[Line] = []
        self._same: frozenset[int] = frozenset()  # lines whose content stayed, while a tick runs

    def show(self, view: DeploymentView | None, snapshot: Snapshot | None) -> None:
        """Show a deployment of a Snapshot, or nothing."""
        self._view, self._snapshot = view, snapshot
        self.tick()

    def tick(self) -> None:
        before, self._lines = self._lines, self._build()
        count = min(len(before), len(self._lines))
        self._same = frozenset(y for y in range(count) if before[y] == self._lines[y])
        super().tick()
        self._same = frozenset()

    def unchanged(self, y: int) -> bool:
        return y in self._same

    def on_resize(self) -> None:
        self._lines = self._build()
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        if self.is_mounted:
            self._lines = self._build()  # a theme's change brings other styles

    def _build(self) -> list[Line]:
        width, height = self.size.width, self.size.height
        if self._view is None or self._snapshot is None or width <= 0:
            return []
        from rollback_console.tui.widgets.selected_lines import short_lines, tall_lines

        ink = themes.ink(self.app)
        now = cast("ConsoleApp", self.app).now()
        if height >= 10:
            return tall_lines(self._view, self._snapshot, now, width, ink)
        return short_lines(self._view, self._snapshot, width, height, ink)

    def strip(self, y: int) -> Strip:
        if y < len(self._lines):
            return strip_of(self._lines[y], self.size.width, self.base())
        return Strip.blank(self.size.width, self.base())

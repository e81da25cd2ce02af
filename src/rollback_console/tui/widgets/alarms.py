"""One line for each alarm that is no trigger's: an execution that was left unfinished, a pointer that somebody else
moved after it was brought back."""

from __future__ import annotations

from textual.strip import Strip

from rollback_console.tui import themes
from rollback_console.tui.widgets.cells import fit, strip_of
from rollback_console.tui.widgets.linewise import LinewiseWidget

_MOST = 3  # lines; the last one counts what did not fit


class AlarmLines(LinewiseWidget):
    """Not there while there is no alarm."""

    DEFAULT_CSS = "AlarmLines { height: 1; background: $background; display: none; }"

    def __init__(self) -> None:
        super().__init__()
        self._alarms: tuple[str, ...] = ()

    def show(self, alarms: tuple[str, ...]) -> None:
        """Show these sentences."""
        if alarms == self._alarms:
            return
        if len(alarms) != len(self._alarms):
            self.styles.height = max(1, min(_MOST, len(alarms)))
            self.display = bool(alarms)
        self._alarms = alarms
        self.refresh()

    def strip(self, y: int) -> Strip:
        from rollback_console.model.text import plain

        ink, width, count = themes.ink(self.app), self.size.width, len(self._alarms)
        if y >= count:
            return Strip.blank(width, self.base())
        if y == _MOST - 1 and count > _MOST:
            text = f"and {count - y} more: the timeline has them"
        else:
            text = plain(self._alarms[y], 400)
        return strip_of([(" ▲ ", ink.bad), (fit(text, max(4, width - 4)), ink.bad)], width, self.base())

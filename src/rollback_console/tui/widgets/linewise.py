"""A widget drawn line by line, of which only the cells that changed go to the terminal."""

from __future__ import annotations

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


def changed(before: Strip, after: Strip) -> tuple[int, int]:
    """The cells from which and up to which two strips of one length differ; an empty range when they do not."""
    old, new = list(before), list(after)
    start = end = 0
    first = 0
    while first < len(old) and first < len(new) and old[first] == new[first]:
        start += new[first].cell_length
        first += 1
    last = 1
    while last <= len(old) - first and last <= len(new) - first and old[-last] == new[-last]:
        end += new[-last].cell_length
        last += 1
    return start, after.cell_length - end


class Base:
    """A widget's own style, kept: Textual computes it anew at every asking, 0.1 ms that a screen of lines feels."""

    def __init__(self, widget: Widget) -> None:
        self._widget = widget
        self._kept: Style | None = None
        self._theme = ""

    def __call__(self) -> Style:
        theme = self._widget.app.theme
        if self._kept is None or self._theme != theme:
            self._kept, self._theme = self._widget.rich_style, theme
        return self._kept

    def forget(self) -> None:
        """The styles have changed."""
        self._kept = None


class LinewiseWidget(Widget):
    """Subclasses give `strip(y)`, the line `y` as it ought to be now; `tick` draws again what differs. Over SSH a clock
    is then eight cells a second and not a line."""

    def __init__(self) -> None:
        super().__init__()
        self._drawn: dict[int, Strip] = {}
        self.base = Base(self)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.base.forget()

    def strip(self, y: int) -> Strip:
        """The line `y` now, exactly as wide as the widget."""
        return Strip.blank(self.size.width, self.base())

    def unchanged(self, y: int) -> bool:
        """Is it known, without drawing it, that line `y` is what it was at the last tick."""
        return False

    def tick(self) -> None:
        """Something may have changed: draw again what did."""
        for y, before in tuple(self._drawn.items()):
            if y >= self.size.height:
                del self._drawn[y]
                continue
            if self.unchanged(y) and before.cell_length == self.size.width:
                continue
            after = self.strip(y)
            if before.cell_length != after.cell_length:
                self.refresh()
                return
            start, end = changed(before, after)
            if start < end:
                self.refresh(Region(start, y, end - start, 1))

    def render_line(self, y: int) -> Strip:
        strip = self._drawn[y] = self.strip(y)
        return strip

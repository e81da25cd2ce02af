"""A drill's first screen and its last: the story, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding

from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.keys import OwnKey
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.screens.sheet import SheetScreen
from rollback_console.tui.widgets.lines import Lines, line, redraw, wrap

if TYPE_CHECKING:
    from rollback_console.model.drill import DrillView
    from rollback_console.model.snapshot import Snapshot

_KEYS = (
    ("space", "pause and go on"),
    ("+ -", "faster, slower: 1x to 60x"),
    (".", "one evaluation on, and pause"),
    (">", "on to the next event"),
    ("S", "this story again"),
)
_EVERY_KEY = ("? ^p", "every key, every act by name")
_NOTHING_TOLD = "Nobody has told you anything. Look what needs you, decide, and act; or leave alone what is to be left."


class StoryScreen(SheetScreen):
    """What the operator is told. `begun`: the drill goes on already; else time begins when this is closed."""

    def __init__(self, view: DrillView, *, begun: bool) -> None:
        super().__init__()
        self._view, self._begun = view, begun

    def text(self) -> Text:
        ink, view, width = themes.ink(self.app), self._view, max(30, min(74, self.app.size.width - 6))
        text = Text()
        text.append("REHEARSAL", ink.states["pending"])
        text.append("  nothing here is real\n", ink.dim)
        text.append("\n".join(wrap(view.title, width)) + "\n\n", ink.strong)
        for paragraph in (view.story.strip() or _NOTHING_TOLD).split("\n\n"):
            text.append("\n".join(wrap(" ".join(paragraph.split()), width, 4_000)) + "\n\n", ink.text)
        for hint in view.said[-6:] if self._begun else ():
            first, *rest = wrap(hint, width - 2)
            text.append("\n".join([f"▸ {first}", *(f"  {each}" for each in rest)]) + "\n", ink.text)
        ends = "say what you would do, and see what was done" if view.asks else "end the drill: its report"
        for key, what in (*_KEYS, ("D", ends), _EVERY_KEY):
            text.append(f" {key:<7}", ink.good)
            text.append(what + "\n", ink.text)
        goes = "the clock goes on" if self._begun else "the clock stands until then"
        text.append(f"\nenter goes on ({goes})", ink.strong)
        return text


class DrillReportScreen(ConsoleScreen):
    """What the drill was worth. Escape looks at the console as it stood at the end."""

    place = "drill"
    teaches = False
    DEFAULT_CSS = "DrillReportScreen Lines { padding: 0 1; }"
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        Binding("escape,D", "app.pop_screen", "back to the console", show=False),
        Binding("y", "screen.copy", "copy", show=False),
        Binding("space,pagedown", "screen.page(1)", "down", show=False, priority=True),
        Binding("pageup", "screen.page(-1)", "up", show=False, priority=True),
    ]
    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("escape D", "Back to the console", "as it stood at the end; D shows the report again"),
        OwnKey("y", "Copy the report", "as plain text", "copy"),
        OwnKey("q", "Leave", "the report is printed"),
    )

    def compose_body(self) -> ComposeResult:
        yield Lines(self._lines, id="report")

    def on_mount(self) -> None:
        self.query_one(Lines).focus()

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("q", "leave"), ("escape", "console"), ("↑↓", "scroll"), ("y", "copy"))

    def on_snapshot(self, snapshot: Snapshot) -> None:
        redraw(self)

    def action_page(self, step: int) -> None:
        lines = self.query_one(Lines)
        lines.scroll_relative(y=step * max(1, lines.size.height - 2), animate=False, force=True)

    def action_copy(self) -> None:
        self.console_app.copy_text("\n".join(each.plain for each in self._lines(78, 0)))

    def _lines(self, width: int, height: int) -> list[Text]:
        view = self.console_app.drill.view if self.console_app.drill is not None else None
        if view is None or view.report is None:
            return [line((plain("the drill is not over"), "dim"))]
        return [line(*parts) for parts in view.report.lines(min(width - 1, 100))]

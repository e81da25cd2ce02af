"""Everything that happened: the journal's entries, live, filterable; a note; one entry whole."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.strip import Strip

from rollback_console.model.identity import DeploymentId
from rollback_console.model.snapshot import Snapshot
from rollback_console.model.text import plain
from rollback_console.tui import themes
from rollback_console.tui.keys import OwnKey, act_bindings
from rollback_console.tui.screens.base import ConsoleScreen
from rollback_console.tui.widgets.band import lay_out
from rollback_console.tui.widgets.cells import strip_of
from rollback_console.tui.widgets.linewise import LinewiseWidget
from rollback_console.tui.widgets.timeline import TimelineView


class TimelineTitle(LinewiseWidget):
    """One line over the timeline: the filter, which entry, whether it follows."""

    DEFAULT_CSS = "TimelineTitle { height: 1; background: $background; }"

    def __init__(self, view: TimelineView) -> None:
        super().__init__()
        self._view = view

    def strip(self, y: int) -> Strip:
        ink, view = themes.ink(self.app), self._view
        left = [(0, [("Timeline", ink.strong)])]
        if view.typing or view.filter:
            left.append((0, [("/ ", ink.dim), (plain(view.filter, 80) + ("█" if view.typing else ""), ink.strong)]))
            left.append((3, [("escape clears", ink.dim)]))
        at, count = view.place
        right = [(1, [("follows" if view.following else "G follows again", ink.dim)])]
        right.append((2, [(f"{at:,} of {count:,}", ink.text)]))
        return strip_of(lay_out(left, right, self.size.width), self.size.width, self.base())


class TimelineScreen(ConsoleScreen):
    """The timeline; of one deployment (its name as the filter, which escape clears) or of everything."""

    place = "timeline"
    BINDINGS = [  # noqa: RUF012 - Textual's own form
        *act_bindings("timeline"),
        Binding("enter", "entry", "whole entry", show=False),
        Binding("escape", "back", "back", show=False),
    ]

    own_keys: ClassVar[tuple[OwnKey, ...]] = (
        OwnKey("enter", "The whole entry", "with its hash; y copies it", "entry"),
        OwnKey("G", "Follow the newest again", "after scrolling back"),
    )

    def __init__(self, deployment: DeploymentId | None = None) -> None:
        super().__init__()
        self._deployment = deployment
        self.timeline = TimelineView()
        self._title = TimelineTitle(self.timeline)

    @property
    def acts_on(self) -> DeploymentId | None:
        return self._deployment

    def compose_body(self) -> ComposeResult:
        yield self._title
        yield self.timeline

    def on_mount(self) -> None:
        self.timeline.focus()
        if self._deployment is not None:
            self.timeline.set_filter(str(self._deployment), typing=False)

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("escape", "back"), ("enter", "whole"), ("/", "filter"))

    def on_snapshot(self, snapshot: Snapshot) -> None:
        self.timeline.show(snapshot.timeline)

    def on_filter_changed(self) -> None:
        self._title.tick()

    def on_timeline_view_moved(self) -> None:
        self._title.tick()

    def on_timeline_view_opened(self) -> None:
        self.action_entry()

    def action_entry(self) -> None:
        item = self.timeline.selected
        if item is not None:
            from rollback_console.tui.screens.entry import EntryScreen

            self.app.push_screen(EntryScreen(item))

    def act_exclude(self) -> None:
        """On an incident that is over: what it took, for all of its members."""
        from rollback_console.tui.declaring import ask_exclude
        from rollback_console.tui.offers import incident_named

        item, commands = self.timeline.selected, self.commands
        if commands is None:
            return
        named = None
        if item is not None and item.kind == "incident" and self.snapshot is not None:
            named = incident_named(self.snapshot, item.text.replace(",", " "))
        ask_exclude(self.console_app, commands, self._deployment, named)

    def act_judge(self) -> None:
        """What the chosen line names."""
        item = self.timeline.selected
        self.console_app.acts.act_judge(item.text if item is not None else "")

    def action_back(self) -> None:
        if self.timeline.clear_filter():
            return
        if len(self.app.screen_stack) > 1:
            self.app.pop_screen()
        else:  # a review begins and ends here
            self.console_app.action_leave()

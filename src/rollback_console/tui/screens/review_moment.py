"""Fleet and deployment as they were: the live screens, under the scrubber."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text
from textual.binding import Binding

from rollback_console.tui.screens.deployment import SECTIONS, DeploymentScreen
from rollback_console.tui.screens.fleet import FleetScreen
from rollback_console.tui.screens.review_base import Driven
from rollback_console.tui.widgets.lines import line

if TYPE_CHECKING:
    from rollback_console.model.snapshot import Snapshot


class ReplayScreen(Driven, FleetScreen):
    """The fleet at the moment."""

    BINDINGS = [Binding("enter", "screen.act('open')", show=False)]  # noqa: RUF012 - Textual's own form

    def on_mount(self) -> None:
        scrub = self.scrub
        if scrub is not None and scrub.episode is not None and scrub.episode.incident.members:
            self.fleet.prefer(scrub.episode.incident.members[0])
        super().on_mount()
        self.on_scrubbed()

    def on_second(self) -> None:
        """Time stands still here."""

    def on_snapshot(self, snapshot: Snapshot) -> None:
        super().on_snapshot(snapshot)
        self.on_scrubbed()

    def act_open(self) -> None:
        if self.acts_on is not None:
            self.app.push_screen(ReplayDeployment(self.acts_on))

    def act_why(self) -> None:
        if self.acts_on is not None:
            self.app.push_screen(ReplayDeployment(self.acts_on, SECTIONS.index("Why")))


class ReplayDeployment(Driven, DeploymentScreen):
    """One deployment at the moment: tab goes through its sections."""

    def _tabs(self, width: int, height: int) -> list[Text]:
        text = line("")
        for index, name in enumerate(SECTIONS):
            here = index == self.section
            text.append(f"[{name}]" if here else f" {name} ", "chosen" if here else "dim")
        text.append("   tab goes on, ↑↓ moves in it", "dim")
        return [text]

    def on_mount(self) -> None:
        super().on_mount()
        self.on_scrubbed()

    def on_second(self) -> None:
        """Time stands still here."""

    def footer_hints(self) -> tuple[tuple[str, str], ...]:
        return (("tab", "sections"), *super().footer_hints())

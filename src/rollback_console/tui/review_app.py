"""The console's app over a journal: the same shell and screens, on a moment that whoever looks chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rollback_console.tui.app import ConsoleApp
from rollback_console.tui.notify import Herald

if TYPE_CHECKING:
    from textual.screen import Screen

    from rollback_console.model.snapshot import Snapshot
    from rollback_console.review.scrub import Scrub


class _Title(Herald):
    """Nothing rings for what was: only the terminal's title is told."""

    def tell(self, before: Snapshot | None, after: Snapshot) -> None:
        super().tell(None, after)


class ReviewApp(ConsoleApp):
    """`start(publish)` gives `Commands` that hold a `scrub` (`review.scrub.Scrub`), begun."""

    def __init__(self, start: Any, *, title: str = "rollback-console review", **more: Any) -> None:
        super().__init__(start, title=title, **more)
        self._herald = _Title(self, simulated_too=False)

    def get_default_screen(self) -> Screen[None]:
        from rollback_console.tui.screens.review import ReviewScreen

        return ReviewScreen()

    @property
    def scrub(self) -> Scrub | None:
        """The journal under its scrubber; None while it is opened."""
        return getattr(self.commands, "scrub", None)

    def action_leave(self) -> None:
        """At once: what ran then does not run now."""
        self.exit(return_code=0)
